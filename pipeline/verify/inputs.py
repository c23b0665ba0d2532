"""Checks the prepared inputs that a dataset holds: each picture by itself, and their statistics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from depthmask.tally import Tally
from pipeline.dataset import Dataset
from pipeline.plan import foreground_scale
from pipeline.verify.check import Check
from transforms.cutout import Cutout
from transforms.measure import measure
from transforms.prepared import PreparedInputs, PreparedPicture, PreparedSource

# What a mask marks is drawn: real masks mark more than is seen, but not ten times more.
_LEAST_OPACITY = 0.1


def check_inputs(dataset: Dataset, source: PreparedSource) -> Check:
    """Compares the prepared inputs with the recipe, and their statistics with their pixels."""
    try:
        problems = tuple(_problems(dataset, source))
    except (OSError, ValueError, LookupError, SyntaxError) as error:  # the last is Pillow's
        problems = (f"the prepared inputs are damaged: {error}",)
    detail = (
        f"{len(source.backgrounds):,} backgrounds, {len(source.foregrounds):,} foregrounds, "
        "statistics agree exactly"
    )
    warnings = sum(finding.level == "warning" for finding in dataset.manifest.findings)
    if warnings:
        detail += f"; {warnings:,} warnings about them are in errors.jsonl"
    return Check("inputs", detail, problems)


def _problems(dataset: Dataset, source: PreparedSource) -> Iterator[str]:
    inputs = PreparedInputs(source)
    canvas, levels = dataset.recipe.canvas, dataset.recipe.drawing.levels
    parts: list[Tally] = []
    for pictures in (source.backgrounds, source.foregrounds):
        if len({picture.name for picture in pictures}) < len(pictures):
            yield "two of the prepared pictures have one name"
    for picture in source.backgrounds:
        pixels = inputs.background(picture.name)
        if pixels.shape != (canvas.height, canvas.width, canvas.channels):
            yield f"{picture.name}: is not of the canvas's size and colours"
        parts.append(Tally({"backgrounds": measure(pixels[None])}))
    for picture in source.foregrounds:
        cutout = inputs.foreground(picture.name)
        yield from _of_foreground(dataset, picture, cutout)
        pixels = np.dstack([np.asarray(cutout.colour), np.asarray(cutout.alpha)])
        mask = levels.apply(cutout.mask)
        opacity = pixels[..., -1][mask > 0].mean() / 255 if mask.any() else 0.0
        if not dataset.recipe.masks.soft and opacity < _LEAST_OPACITY:
            yield f"{picture.name}: what its mask marks is drawn at an opacity of {opacity:.1%}"
        parts.append(
            Tally({"foregrounds": measure(pixels[None]), "foreground_masks": measure(mask[None])})
        )
    stated, found = dataset.manifest.input_tally, Tally.total(parts)
    for kind, moments in found.moments.items():
        if moments != stated.moments[kind]:
            yield f"the manifest has other statistics of {kind}"
    if (stated.picture_bytes, stated.left_out, stated.empty_masks) != ({}, (), 0):
        yield "the manifest counts of the inputs what there is of examples alone"


def _of_foreground(dataset: Dataset, picture: PreparedPicture, cutout: Cutout) -> Iterator[str]:
    recipe, rules = dataset.recipe, dataset.recipe.foregrounds
    grey = recipe.canvas.channels == 1
    if (cutout.colour.mode == "L") != grey:
        yield f"{picture.name}: is not of the canvas's colours"
    if cutout.mask.shape != (cutout.colour.height, cutout.colour.width):
        yield f"{picture.name}: its mask is not of its size"
    sides = picture.width, picture.height
    largest = rules.example_scale[1]
    if cutout.colour.size != tuple(max(1, round(side * largest)) for side in sides):
        yield f"{picture.name}: is not as large as it is drawn at most"
    # A picture of that very size would be drawn so, but for the rounding of its own sides.
    factor = foreground_scale(recipe, picture.name)
    plain = [max(1, round(side / factor)) for side in sides]
    rounding = 1 + 1 / factor + max(sides) / min(sides)
    drawn = rules.drawn_size(plain[0], plain[1], recipe.canvas)
    if any(abs(a - b) > rounding for a, b in zip(drawn, plain, strict=True)):
        yield (
            f"{picture.name}: is drawn {sides[0]}×{sides[1]} pixels large, which the recipe's "
            "foregrounds.size does not make of any picture"
        )
    masks = recipe.masks
    as_alpha = not masks.without_black and masks.filter in (None, rules.filter)
    if masks.source == "alpha" and as_alpha and not cutout.mask_is_alpha:
        yield f"{picture.name}: its mask is not its transparency, from which the recipe takes it"
