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
from transforms.cutout import SWAPS_SIDES

# The axes, which are also the counters of the random numbers for them; and that of the scale's.
_X, _Y, _SCALE = 0, 1, 2
_ALONG = ("across", "down")


@dataclass(frozen=True)
class Boxes:
    """Top left corners and sizes in pixels, int64 [n] each."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    width: NDArray[np.int64]
    height: NDArray[np.int64]


def name_key(seed: int, name: str) -> int:
    """Returns the key by which random numbers depend on a picture's name."""
    return hash_key(seed, name)


def foreground_scale(recipe: Recipe, name: str) -> float:
    """Returns the factor on the size of a foreground wherever it is placed.

    1 where each example has a factor of its own.
    """
    if recipe.foregrounds.scale_each == "example":
        return 1.0
    low, high = recipe.foregrounds.scale
    key = np.array([hash_key(recipe.seed, "scale", name)], np.uint64)
    return float(low + (high - low) * draw_unit(key, 0)[0])


def place(
    recipe: Recipe,
    background_keys: UInt64,
    foreground_keys: UInt64,
    flips: NDArray[np.bool_],
    indices: NDArray[np.int64],
    widths: NDArray[np.int64],
    heights: NDArray[np.int64],
) -> Boxes:
    """Places n examples. All arrays are [n]; widths and heights are those at scale 1, not flipped.

    Keys are `name_key`s. Adding pictures to the inputs changes no placement of the others.
    """
    rules = recipe.placements
    swaps = np.array([transform in SWAPS_SIDES for transform in rules.transforms])
    if swaps.any():
        swapped = flips & swaps[indices % len(swaps)]
        widths, heights = np.where(swapped, (heights, widths), (widths, heights))
    own = flips & (rules.flip == "own")
    pairs = draw(draw(background_keys, 0) ^ foreground_keys, own.astype(np.uint64))
    numbers = indices.astype(np.uint64)
    low, high = recipe.foregrounds.example_scale
    scales = low + (high - low) * draw_unit(draw(pairs, _SCALE), numbers)
    drawn_widths = _scaled(widths, scales)
    drawn_heights = _scaled(heights, scales)

    def coordinates(
        counter: int, lengths: NDArray[np.int64], drawn: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        keys = draw(pairs, counter)
        if rules.distinct:
            # All are dealt from one range: the coordinates that are possible at every scale.
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
    """Returns the least coordinate on `axis` for cut-outs of these lengths, and how many."""
    rules = recipe.placements
    side = (recipe.canvas.width, recipe.canvas.height)[axis]
    bounds = (rules.x, rules.y)[axis]
    if bounds is not None:
        first, last = bounds
        return np.full_like(lengths, first), np.full_like(lengths, last - first + 1)
    if rules.region == "inside":
        return np.zeros_like(lengths), side - lengths + (0 if rules.half_open else 1)
    return -(lengths // 2), np.full_like(lengths, side)


def _common_range(
    recipe: Recipe, lengths: NDArray[np.int64], axis: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the least coordinate that is possible at every scale, and how many are."""
    small, large = (
        _range(recipe, _scaled(lengths, scale), axis) for scale in recipe.foregrounds.example_scale
    )
    first = np.maximum(small[0], large[0])
    last = np.minimum(small[0] + small[1], large[0] + large[1])
    return first, last - first


def check_fits(recipe: Recipe, width: int, height: int) -> None:
    """Raises UserError where a foreground of this size (at scale 1) cannot be placed."""
    _check_fits(recipe, width, height)
    if not SWAPS_SIDES.isdisjoint(recipe.placements.transforms):
        _check_fits(recipe, height, width)


def _check_fits(recipe: Recipe, width: int, height: int) -> None:
    rules, canvas = recipe.placements, recipe.canvas
    largest = recipe.foregrounds.example_scale[1]
    for adjective, length, axis in (("wide", width, _X), ("high", height, _Y)):
        lengths = np.array([length])
        _, count = _range(recipe, _scaled(lengths, largest), axis)
        if count[0] < 1:
            short = " short of its edge" if rules.half_open else ""
            raise UserError(
                f"it is drawn {_scaled(lengths, largest)[0]} pixels {adjective} and cannot lie "
                f"inside a canvas {_size(canvas)}{short}: set foregrounds.size smaller or "
                "placements.region to anywhere"
            )
        _, count = _common_range(recipe, lengths, axis)
        if rules.distinct and count[0] < rules.per_pair:
            raise UserError(
                f"there are only {max(0, count[0])} distinct places for it {_ALONG[axis]} a canvas "
                f"{_size(canvas)}, and {rules.per_pair} are asked for: set foregrounds.size or "
                "placements.per_pair smaller, or placements.distinct to false"
            )


def _size(canvas: Canvas) -> str:
    return f"{canvas.width}×{canvas.height}"
