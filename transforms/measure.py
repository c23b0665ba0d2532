"""Measuring pictures: exact integer sums of their pixels, channel by channel."""

from __future__ import annotations

import numpy as np

from depthmask.tally import STD_UNIT, Moments

# Up to this many rows of squared uint8 values add up exactly in float32 (256 * 255**2 < 2**24).
_EXACT_ROWS = 256


def measure(pictures: np.ndarray, zero_is_unknown: bool = False) -> Moments:
    """The moments of `pictures`, uint8 or uint16 [n, H, W] or [n, H, W, C].

    `zero_is_unknown`: those of one channel, of the pixels that are not 0 alone.
    """
    if pictures.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"statistics are kept of uint8 and uint16 pictures, not {pictures.dtype}")
    n, height, width = pictures.shape[:3]
    channels = pictures.shape[3] if pictures.ndim == 4 else 1
    peak = int(np.iinfo(pictures.dtype).max)
    sums, squares = _column_sums(pictures.reshape(n, height, width * channels))
    sums = sums.reshape(n, width, channels).sum(axis=1)
    squares = squares.reshape(n, width, channels).sum(axis=1)
    areas = np.full((n, 1), height * width)
    if zero_is_unknown:
        areas = np.array([[np.count_nonzero(picture)] for picture in pictures]).reshape(n, 1)
    return _moments(sums, squares, areas, peak)


def measure_binary(pictures: np.ndarray) -> Moments:
    """As `measure`, but of pictures of only 0 and 255, uint8 [n, H, W]: by counting."""
    n, height, width = pictures.shape
    counts = np.array([np.count_nonzero(picture) for picture in pictures], np.int64).reshape(n, 1)
    return _moments(255 * counts, 255**2 * counts, np.full((n, 1), height * width), 255)


def _moments(sums: np.ndarray, squares: np.ndarray, areas: np.ndarray, peak: int) -> Moments:
    """From the sums of each picture and of their squares, int64 [n, C]; `areas`: pixels, [n, 1]."""
    n = len(sums)
    variances = np.maximum(squares / areas - (sums / areas) ** 2, 0.0)
    image_stds = np.rint(np.sqrt(variances) / peak / STD_UNIT).astype(np.int64)
    return Moments(
        images=n,
        pixels=int(areas.sum()),
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
