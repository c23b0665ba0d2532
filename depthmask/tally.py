"""What is counted of examples: exact sums of pixels, bytes of pictures, and what was left out.

All of it adds up: chunk by chunk to a shard, shard by shard to a dataset, in any order to the same
digits.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from depthmask.parsing import (
    JsonObject,
    ParseError,
    between,
    count,
    dict_of,
    one_of,
    optional,
    text,
    tuple_of,
)

# The kinds of pictures that are measured, in the order in which they are shown.
KINDS = ("backgrounds", "foregrounds", "foreground_masks", "composites", "masks", "depth")
_CHANNELS = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
_PEAKS = (255, 65535)
# An image's own standard deviation is irrational; it is summed as an integer count of 2**-40.
STD_UNIT = 2**-40


@dataclass(frozen=True)
class Moments:
    """Sums over a set of pictures of one kind, from which mean and std follow exactly.

    `peak` is the largest value a pixel can have (255 or 65535). Each tuple has one entry a
    channel: the sum of values, the sum of their squares, and the sum over pictures of the
    picture's own population std of value/peak, in units of `STD_UNIT`.
    """

    images: int
    pixels: int
    peak: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]
    image_stds: tuple[int, ...]

    def __add__(self, other: Moments) -> Moments:
        if (self.peak, len(self.sums)) != (other.peak, len(other.sums)):
            raise ValueError(
                f"statistics of pictures of different kinds cannot be added: peak {self.peak} with "
                f"{len(self.sums)} channels and peak {other.peak} with {len(other.sums)} channels"
            )
        return Moments(
            images=self.images + other.images,
            pixels=self.pixels + other.pixels,
            peak=self.peak,
            sums=tuple(map(operator.add, self.sums, other.sums)),
            squares=tuple(map(operator.add, self.squares, other.squares)),
            image_stds=tuple(map(operator.add, self.image_stds, other.image_stds)),
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return _CHANNELS[len(self.sums)]

    @property
    def mean(self) -> tuple[float, ...]:
        """Per-channel mean of value/peak over all pixels."""
        return tuple(total / (self.pixels * self.peak) for total in self.sums)

    @property
    def std(self) -> tuple[float, ...]:
        """Per-channel population standard deviation of value/peak over all pixels."""
        n = self.pixels
        # The variance's numerator is an exact integer: no cancellation, whatever the size.
        return tuple(
            ((n * square - total * total) / (n * n)) ** 0.5 / self.peak
            for total, square in zip(self.sums, self.squares, strict=True)
        )

    @property
    def mean_image_std(self) -> tuple[float, ...]:
        """Per-channel mean over pictures of each picture's own std of value/peak."""
        return tuple(total * STD_UNIT / self.images for total in self.image_stds)

    def to_json(self) -> dict[str, Any]:
        """The sums, as JSON keeps them; `from_json` is its inverse."""
        return {
            "images": self.images,
            "pixels": self.pixels,
            "peak": self.peak,
            "sums": list(self.sums),
            "squares": list(self.squares),
            "image_stds": list(self.image_stds),
        }

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> Moments:
        """Raises ParseError for what cannot be the sums of any pictures."""
        get = JsonObject(data, at).get
        images, pixels = get("images", count), get("pixels", count)
        peak = get("peak", between(_PEAKS[0], _PEAKS[-1]))
        moments = cls(
            images=images,
            pixels=pixels,
            peak=peak,
            sums=get("sums", tuple_of(between(0, pixels * peak))),
            squares=get("squares", tuple_of(between(0, pixels * peak**2))),
            # Of values from 0 to 1 the standard deviation is at most a half.
            image_stds=get("image_stds", tuple_of(between(0, images * round(0.5 / STD_UNIT)))),
        )
        channels = {len(moments.sums), len(moments.squares), len(moments.image_stds)}
        if (
            peak not in _PEAKS
            or len(channels) != 1
            or not channels <= _CHANNELS.keys()
            or not (images <= pixels if images else pixels == 0)
            or any(
                pixels * square < total**2
                for total, square in zip(moments.sums, moments.squares, strict=True)
            )
        ):
            raise ParseError(f"{at or 'it'}: no pictures have these sums")
        return moments


@dataclass(frozen=True)
class LeftOut:
    """An example that could not be made, and why."""

    id: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "reason": self.reason}

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> LeftOut:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(id=get("id", text), reason=get("reason", text))


@dataclass(frozen=True)
class Tally:
    """The exact statistics of a set of examples.

    `moments`: by kind, which is one of `KINDS`. `picture_bytes`: what the encoded
    pictures of each feature (``image`` …) come to. `left_out`: in the order of the examples.
    `empty_masks`: examples of whose foreground nothing is seen; None: not counted, in datasets of
    former formats.
    """

    moments: Mapping[str, Moments] = field(default_factory=dict)
    picture_bytes: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    empty_masks: int | None = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally.total((self, other))

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Returns the sum; its `moments` are in the order of `KINDS`."""
        moments: dict[str, Moments] = {}
        picture_bytes: Counter[str] = Counter()
        left_out: list[LeftOut] = []
        empty_masks: int | None = 0
        for tally in tallies:
            for kind, more in tally.moments.items():
                moments[kind] = moments[kind] + more if kind in moments else more
            picture_bytes.update(tally.picture_bytes)
            left_out += tally.left_out
            if empty_masks is not None and tally.empty_masks is not None:
                empty_masks += tally.empty_masks
            else:
                empty_masks = None
        ordered = {kind: moments[kind] for kind in KINDS if kind in moments}
        return cls(ordered, dict(picture_bytes), tuple(left_out), empty_masks)

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it; `from_json` is its inverse."""
        return {
            "moments": {kind: m.to_json() for kind, m in sorted(self.moments.items())},
            "picture_bytes": dict(self.picture_bytes),
            "left_out": [example.to_json() for example in self.left_out],
            "empty_masks": self.empty_masks,
        }

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> Tally:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(
            moments=get("moments", dict_of(Moments.from_json, one_of(*KINDS))),
            picture_bytes=get("picture_bytes", dict_of(count)),
            left_out=get("left_out", tuple_of(LeftOut.from_json)),
            empty_masks=get("empty_masks", optional(count)),
        )
