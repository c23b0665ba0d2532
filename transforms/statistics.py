"""Exact per-channel statistics: integer sums, merged in any order to the same digits."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

# An image's own standard deviation is irrational; it is summed as an integer count of 2**-40.
STD_UNIT = 2**-40

# Up to this many rows of squared uint8 values add up exactly in float32 (256 * 255**2 < 2**24).
_EXACT_ROWS = 256


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


def measure(pictures: np.ndarray) -> Moments:
    """The moments of `pictures`, uint8 or uint16 [n, H, W] or [n, H, W, C]."""
    if pictures.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"statistics are kept of uint8 and uint16 pictures, not {pictures.dtype}")
    n, height, width = pictures.shape[:3]
    channels = pictures.shape[3] if pictures.ndim == 4 else 1
    peak = int(np.iinfo(pictures.dtype).max)
    sums, squares = _column_sums(pictures.reshape(n, height, width * channels))
    sums = sums.reshape(n, width, channels).sum(axis=1)
    squares = squares.reshape(n, width, channels).sum(axis=1)
    return _moments(sums, squares, height * width, peak)


def measure_binary(pictures: np.ndarray) -> Moments:
    """What `measure` gives of pictures of 0 and 255 alone, uint8 [n, H, W], by counting."""
    n, height, width = pictures.shape
    counts = np.array([np.count_nonzero(picture) for picture in pictures], np.int64).reshape(n, 1)
    return _moments(255 * counts, 255**2 * counts, height * width, 255)


def _moments(sums: np.ndarray, squares: np.ndarray, area: int, peak: int) -> Moments:
    """From the sums of each picture of `area` pixels and of their squares, int64 [n, C]."""
    n = len(sums)
    variances = np.maximum(squares / area - (sums / area) ** 2, 0.0)
    image_stds = np.rint(np.sqrt(variances) / peak / STD_UNIT).astype(np.int64)
    return Moments(
        images=n,
        pixels=n * area,
        peak=peak,
        sums=_exact_total(sums),
        squares=_exact_total(squares),
        image_stds=tuple(image_stds.sum(axis=0).tolist()),
    )


def _exact_total(per_image: np.ndarray) -> tuple[int, ...]:
    return tuple(per_image.sum(axis=0).tolist())


def _column_sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact sums over axis 1 of `rows` [n, H, X] and of its squares, as int64 [n, X].

    uint8 goes through float32 matrix products, which are several times as fast as numpy's integer
    sums and exact while a block's sum stays below 2**24; uint16 needs float64: a column's sum stays
    below 2**53, a picture's squares need not.
    """
    n, height, columns = rows.shape
    dtype, block = (np.float32, _EXACT_ROWS) if rows.dtype == np.uint8 else (np.float64, height)
    totals = np.zeros((2, n, columns), np.int64)
    for top in range(0, height, block):
        part = rows[:, top : top + block]
        ones = np.ones(part.shape[1], dtype)
        values = np.empty(part.shape[1:], dtype)
        sums, squares = found = np.empty(totals.shape, dtype)
        for i in range(n):
            values[...] = part[i]
            np.matmul(ones, values, out=sums[i])
            np.matmul(ones, np.square(values, out=values), out=squares[i])
        totals += found.astype(np.int64)
    return totals[0], totals[1]


def merge(parts: Iterable[Mapping[str, Moments]]) -> dict[str, Moments]:
    """Adds up moments kind by kind."""
    merged: dict[str, Moments] = {}
    for part in parts:
        for kind, moments in part.items():
            merged[kind] = merged[kind] + moments if kind in merged else moments
    return merged


class MomentsCombineFn(beam.CombineFn):  # type: ignore[misc]
    """Accumulates per-channel moments kind by kind.

    Takes and gives dicts from kind (``composites``, ``masks``, ``depth``) to `Moments`. Mean and
    std are properties of what comes out.
    """

    def create_accumulator(self) -> dict[str, Moments]:
        return {}

    def add_input(
        self, accumulator: dict[str, Moments], element: dict[str, Moments]
    ) -> dict[str, Moments]:
        return merge([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[dict[str, Moments]]) -> dict[str, Moments]:
        return merge(accumulators)

    def extract_output(self, accumulator: dict[str, Moments]) -> dict[str, Moments]:
        return accumulator


class ChannelStatistics(beam.PTransform):  # type: ignore[misc]
    """From finished shards to the moments of the whole dataset, one dict by kind.

    Shards carry the exact sums of their pixels, so that a resumed or repaired run adds up to the
    same figures as one that never stopped.
    """

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return (
            shards
            | "TakeMoments" >> beam.Map(operator.attrgetter("moments"))
            | "Merge" >> beam.CombineGlobally(MomentsCombineFn())
        )
