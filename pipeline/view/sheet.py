"""A contact sheet: examples of a dataset side by side, to look at."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipeline.dataset.opened import Dataset, open_dataset
from pipeline.view.examples import (
    check_is_new,
    colour_depth,
    first_examples,
    in_proportion,
    looking_at,
    write_whole,
)
from transforms.codecs import open_image, to_image
from transforms.prepared import PreparedInputs, PreparedSource

_GAP = 6
_TITLE = 18
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def write_sheet(dataset_path: str, picture_path: Path, examples: int) -> int:
    """Draws a row an example (background, composite, mask, depth) into a PNG file.

    Depth goes from dark blue, the least of each map, to yellow, its greatest. Gives the number of
    rows: `examples`, or all there are. Raises UserError where there is no dataset, or the picture's
    file is there already.
    """
    check_is_new(picture_path)
    dataset = open_dataset(dataset_path)
    with looking_at(dataset_path):
        inputs = PreparedInputs(PreparedSource.of_dataset(dataset_path))
        depth = dataset.manifest["depth"]
        rows = [_row(features, inputs, depth) for features in _chosen(dataset, examples)]
    sheet = _arrange(rows, ["background", "composite", "mask", "depth"])
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_whole(picture_path, data.getvalue())
    return len(rows)


def _chosen(dataset: Dataset, count: int) -> Iterator[dict[str, Any]]:
    """Examples of all shards, and so of all splits, in proportion."""
    shards = dataset.manifest["shards"]
    for shard, wanted in zip(shards, in_proportion(shards, count), strict=True):
        yield from first_examples(dataset, shard, wanted)


def _row(
    features: dict[str, Any], inputs: PreparedInputs, depth: dict[str, Any] | None
) -> list[Image.Image]:
    background = to_image(inputs.background(features["background"]))
    pictures = [background, open_image(features["image"])]
    pictures.append(open_image(features["mask"]).convert("L"))
    if depth is not None:
        stored = np.asarray(open_image(features["depth"]))
        pictures.append(colour_depth(stored))
    return [picture.convert("RGB").resize(pictures[0].size) for picture in pictures]


def _arrange(rows: list[list[Image.Image]], titles: list[str]) -> Image.Image:
    width, height = rows[0][0].size
    columns = len(rows[0])
    size = (
        _GAP + columns * (width + _GAP),
        _TITLE + _GAP + len(rows) * (height + _GAP),
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles[:columns]):
        left = _GAP + column * (width + _GAP)
        draw.text((left, _GAP), title, fill=_INK)
        for number, row in enumerate(rows):
            sheet.paste(row[column], (left, _TITLE + _GAP + number * (height + _GAP)))
    return sheet
