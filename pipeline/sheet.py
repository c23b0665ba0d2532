"""A contact sheet: examples of a dataset side by side, to look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipeline.errors import UserError
from pipeline.looks import colour_depth, first_examples, open_picture
from pipeline.verify import Dataset, open_dataset
from transforms.prepared import PreparedInputs, PreparedSource

_GAP = 6
_TITLE = 18
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def write_sheet(dataset_path: str, picture_path: Path, examples: int) -> None:
    """Draws a row an example (background, composite, mask, depth) into a PNG file.

    Depth goes from dark blue, the least of each map, to yellow, its greatest. Raises UserError
    where there is no dataset, or the picture's file is there already.
    """
    if picture_path.exists():
        raise UserError(f"{picture_path} is there already. Name another file.")
    dataset = open_dataset(dataset_path)
    inputs = PreparedInputs(PreparedSource.of_dataset(dataset_path))
    depth = dataset.manifest["depth"]
    chosen = itertools.islice(_examples(dataset), examples)
    rows = [_row(features, inputs, depth) for features in chosen]
    sheet = _arrange(rows, ["background", "composite", "mask", "depth"])
    picture_path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture_path, "PNG")


def _examples(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for shard in dataset.manifest["shards"]:
        yield from first_examples(dataset, shard, shard["examples"])


def _row(
    features: dict[str, Any], inputs: PreparedInputs, depth: dict[str, Any] | None
) -> list[Image.Image]:
    pictures = [inputs.background(features["background"]), open_picture(features["image"])]
    pictures.append(open_picture(features["mask"]).convert("L"))
    if depth is not None:
        stored = np.asarray(open_picture(features["depth"]))
        pictures.append(colour_depth(stored, depth["storage"]))
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
