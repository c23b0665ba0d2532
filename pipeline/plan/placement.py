"""Where each foreground lands: a function of seed, names, flip and number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthmask.errors import UserError
from pipeline.plan.randomness import UInt64, draw, draw_below, draw_unit, hash_key, permute
from pipeline.recipes import Recipe
from pipeline.recipes.schema import Canvas

# Counters of the independent values that one example draws; the first two are its axes too.
_X, _Y, _SCALE = 0, 1, 2


@dataclass(frozen=True)
class Boxes:
    """Top left corners and sizes in pixels, int64 [n] each."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    width: NDArray[np.int64]
    height: NDArray[np.int64]


def name_key(seed: int, name: str) -> int:
    """What stands for a picture's name in the random numbers."""
    return hash_key(seed, name)


def place(
    recipe: Recipe,
    background_keys: UInt64,
    foreground_keys: UInt64,
    flips: NDArray[np.bool_],
    indices: NDArray[np.int64],
    widths: NDArray[np.int64],
    heights: NDArray[np.int64],
) -> Boxes:
    """Places n examples. All arrays are [n]; widths and heights are those at scale 1.

    Keys are `name_key`s. Adding pictures to the inputs changes no placement of the others.
    """
    rules = recipe.placements
    own = flips & (rules.flip == "own")
    pairs = draw(draw(background_keys, 0) ^ foreground_keys, own.astype(np.uint64))
    numbers = indices.astype(np.uint64)
    low, high = recipe.foregrounds.scale
    scales = low + (high - low) * draw_unit(draw(pairs, _SCALE), numbers)
    drawn_widths = _scaled(widths, scales)
    drawn_heights = _scaled(heights, scales)

    def coordinates(
        counter: int, lengths: NDArray[np.int64], drawn: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        keys = draw(pairs, counter)
        if rules.distinct:
            # Places of every scale are dealt from one range, which each of them may use.
            first, count = _common_range(recipe, lengths, counter)
            dealt = permute(numbers, count.astype(np.uint64), keys)
        else:
            first, count = _range(recipe, drawn, counter)
            dealt = draw_below(keys, numbers, count)
        return np.add(first, dealt.astype(np.int64))

    return Boxes(
        x=coordinates(_X, widths, drawn_widths),
        y=coordinates(_Y, heights, drawn_heights),
        width=drawn_widths,
        height=drawn_heights,
    )


def _scaled(
    lengths: NDArray[np.int64], scale: NDArray[np.floating[Any]] | float
) -> NDArray[np.int64]:
    return np.maximum(1, np.rint(lengths * scale)).astype(np.int64)


def _range(
    recipe: Recipe, lengths: NDArray[np.int64], axis: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First coordinate and number of coordinates for cut-outs of these lengths on `axis`."""
    rules = recipe.placements
    side = (recipe.canvas.width, recipe.canvas.height)[axis]
    bounds = (rules.x, rules.y)[axis]
    if bounds is not None:
        first, last = bounds
        return np.full_like(lengths, first), np.full_like(lengths, last - first + 1)
    if rules.region == "inside":
        return np.zeros_like(lengths), side - lengths + 1
    return -(lengths // 2), np.full_like(lengths, side)


def _common_range(
    recipe: Recipe, lengths: NDArray[np.int64], axis: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The coordinates that are in range at every scale."""
    small, large = (_range(recipe, _scaled(lengths, s), axis) for s in recipe.foregrounds.scale)
    first = np.maximum(small[0], large[0])
    last = np.minimum(small[0] + small[1], large[0] + large[1])
    return first, last - first


def check_fits(recipe: Recipe, width: int, height: int) -> None:
    """Raises UserError where a foreground of this size (at scale 1) cannot be placed."""
    rules, canvas = recipe.placements, recipe.canvas
    largest = recipe.foregrounds.scale[1]
    for adjective, length, axis in (("wide", width, _X), ("high", height, _Y)):
        lengths = np.array([length])
        _, count = _range(recipe, _scaled(lengths, largest), axis)
        if count[0] < 1:
            raise UserError(
                f"it is drawn {_scaled(lengths, largest)[0]} pixels {adjective} and cannot lie "
                f"inside a canvas {_size(canvas)}: set foregrounds.size smaller or "
                "placements.region to anywhere"
            )
        _, count = _common_range(recipe, lengths, axis)
        if rules.distinct and count[0] < rules.per_pair:
            raise UserError(
                f"it leaves {max(0, count[0])} distinct places {adjective} on a canvas "
                f"{_size(canvas)}, and {rules.per_pair} are asked for: set foregrounds.size or "
                "placements.per_pair smaller, or placements.distinct to false"
            )


def _size(canvas: Canvas) -> str:
    return f"{canvas.width}×{canvas.height}"
