"""A contact sheet: examples of a dataset in one picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from depthmask.errors import UserError
from pipeline.dataset import Dataset, in_proportion, open_dataset, reading_from
from pipeline.view.examples import (
    Example,
    check_is_new,
    colour_depth,
    first_examples,
    write_whole,
)
from transforms.codecs import open_image, to_image
from transforms.prepared import PreparedInputs, PreparedSource

_GAP = 6
_TITLE = 18
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def write_sheet(
    dataset_path: str, picture_path: Path, examples: int, beside: str | None = None
) -> int:
    """Draws a row for each example (background, composite, mask, depth) into a PNG file.

    Examples are of all shards, and so of all splits, in proportion. Depth goes from dark blue, the
    least of each map, to yellow, its greatest. `beside`: another dataset of the same examples,
    whose depth is drawn too. Returns the number of rows: `examples`, or all there are. Raises
    UserError where there is no dataset, or the picture's file is there already.
    """
    check_is_new(picture_path)
    datasets = [open_dataset(path) for path in (dataset_path, beside) if path is not None]
    titles = ["background", "composite", "mask"]
    for dataset in datasets:
        about = dataset.manifest.depth
        titles += [f"depth: {about.model or 'measured'}"] if about else []
    with reading_from(dataset_path):
        inputs = PreparedInputs(PreparedSource.of_dataset(dataset_path))
        shown = [_chosen(dataset, examples) for dataset in datasets]
        rows = [_row(alike, inputs) for alike in zip(*shown, strict=False)]
    sheet = _arrange(rows, titles)
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_whole(picture_path, data.getvalue())
    return len(rows)


def _chosen(dataset: Dataset, count: int) -> Iterator[Example]:
    for shard, wanted in in_proportion(dataset, count):
        yield from first_examples(dataset, shard, wanted)


def _row(alike: Sequence[Example], inputs: PreparedInputs) -> list[Image.Image]:
    """`alike`: one example, of one dataset after the other."""
    example = alike[0]
    if len({each.placement for each in alike}) > 1:
        raise UserError("the two datasets do not hold the same examples in the same order.")
    background = to_image(inputs.background(example.placement.background))
    pictures = [background, open_image(example.image), open_image(example.mask).convert("L")]
    pictures += [colour_depth(np.asarray(open_image(each.depth))) for each in alike if each.depth]
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
