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
    def from_json(cls, data: Mapping[str, Any]) -> Moments:
        return cls(
            images=data["images"],
            pixels=data["pixels"],
            peak=data["peak"],
            sums=tuple(data["sums"]),
            squares=tuple(data["squares"]),
            image_stds=tuple(data["image_stds"]),
        )


@dataclass(frozen=True)
class LeftOut:
    """An example that could not be made, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Tally:
    """The exact statistics of a set of examples.

    `moments`: by kind (``composites``, ``masks``, ``depth`` …). `picture_bytes`: what the encoded
    pictures of each feature (``image`` …) come to. `left_out`: in the order of the examples.
    """

    moments: Mapping[str, Moments] = field(default_factory=dict)
    picture_bytes: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally.total((self, other))

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """All of them added up."""
        moments: dict[str, Moments] = {}
        picture_bytes: Counter[str] = Counter()
        left_out: list[LeftOut] = []
        for tally in tallies:
            for kind, more in tally.moments.items():
                moments[kind] = moments[kind] + more if kind in moments else more
            picture_bytes.update(tally.picture_bytes)
            left_out += tally.left_out
        return cls(moments, dict(picture_bytes), tuple(left_out))

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it; `from_json` is its inverse."""
        return {
            "moments": {kind: m.to_json() for kind, m in sorted(self.moments.items())},
            "picture_bytes": dict(self.picture_bytes),
            "left_out": [{"id": example.id, "reason": example.reason} for example in self.left_out],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        return cls(
            moments={kind: Moments.from_json(m) for kind, m in data["moments"].items()},
            picture_bytes=dict(data["picture_bytes"]),
            left_out=tuple(LeftOut(**example) for example in data["left_out"]),
        )
