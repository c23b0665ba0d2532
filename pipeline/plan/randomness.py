"""Counter-based random numbers: a value is a function of its key and its counter, nothing else.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), whose n-th value can be had without the ones before it. Everything takes
and gives arrays.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FEISTEL_ROUNDS = 6


def hash_key(*parts: str | int) -> int:
    """A 64-bit key from text and numbers, different for different parts."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def draw(keys: UInt64, counters: UInt64 | int) -> UInt64:
    """64 random bits for each key and counter: the (counter + 1)-th value of SplitMix64(key)."""
    # At least one dimension: numpy warns of wrapping in scalars, and wrapping is meant here.
    state = keys + (np.atleast_1d(np.asarray(counters, np.uint64)) + np.uint64(1)) * _GAMMA
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    drawn: UInt64 = state ^ (state >> np.uint64(31))
    return drawn


def draw_below(keys: UInt64, counters: UInt64 | int, limits: NDArray[np.int64]) -> UInt64:
    """A random integer in [0, limit) for each key, uniform to within limit / 2**32."""
    return ((draw(keys, counters) >> np.uint64(32)) * limits.astype(np.uint64)) >> np.uint64(32)


def draw_unit(keys: UInt64, counters: UInt64 | int) -> NDArray[np.floating[Any]]:
    """A random float64 in [0, 1) for each key."""
    return (draw(keys, counters) >> np.uint64(11)) * 2.0**-53


def permute(indices: UInt64, sizes: UInt64, keys: UInt64) -> UInt64:
    """Where each index in [0, size) lands under the key's pseudorandom permutation of [0, size).

    A Feistel network on a grid of a × b >= size cells with cycle walking (Black and Rogaway,
    "Ciphers with arbitrary finite domains", CT-RSA 2002): any position can be had alone, and the
    permutation is never held in memory.
    """
    columns = np.ceil(np.sqrt(sizes.astype(np.float64))).astype(np.uint64)
    rows = (sizes + columns - np.uint64(1)) // columns
    result = indices.copy()
    pending = np.arange(len(result))
    while len(pending):
        values = _feistel(result[pending], columns[pending], rows[pending], keys[pending])
        result[pending] = values
        pending = pending[values >= sizes[pending]]
    return result


def _feistel(values: UInt64, columns: UInt64, rows: UInt64, keys: UInt64) -> UInt64:
    row, column = np.divmod(values, columns)
    for round_number in range(0, _FEISTEL_ROUNDS, 2):
        column = (column + draw(draw(keys, round_number), row) % columns) % columns
        row = (row + draw(draw(keys, round_number + 1), column) % rows) % rows
    return row * columns + column
