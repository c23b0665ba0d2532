"""A contact sheet: examples of a dataset side by side, to look at."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.errors import UserError
from pipeline.verify import Dataset, open_dataset
from transforms.files import read_file
from transforms.prepared import PreparedInputs, PreparedSource
from transforms.records import parse_example, unframe_records

_GAP = 6
_TITLE = 18
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def write_sheet(dataset_path: str, picture_path: Path, examples: int) -> None:
    """Draws a row an example (background, composite, mask, depth) into a PNG file.

    Depth is grey from near (light) to far (dark), each map over its own range. Raises UserError
    where there is no dataset, or the picture's file is there already.
    """
    if picture_path.exists():
        raise UserError(f"{picture_path} is there already. Name another file.")
    dataset = open_dataset(dataset_path)
    inputs = PreparedInputs(PreparedSource.of_dataset(dataset_path))
    rows = [_row(features, inputs) for features in itertools.islice(_examples(dataset), examples)]
    sheet = _arrange(rows, ["background", "composite", "mask", "depth"])
    picture_path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture_path, "PNG")


def _examples(dataset: Dataset) -> Iterator[dict[str, bytes | int]]:
    for shard in dataset.manifest["shards"]:
        yield from map(parse_example, unframe_records(read_file(dataset.file(shard["file"]))))


def _row(features: dict[str, bytes | int], inputs: PreparedInputs) -> list[Image.Image]:
    background = inputs.background(_bytes(features["background"]).decode())
    pictures = [background, _open(features["image"])]
    pictures.append(_open(features["mask"]).convert("L"))
    if "depth" in features:
        depth = _open(features["depth"])
        coloured = depth.mode == "RGB"
        pictures.append(depth if coloured else _near_is_light(np.asarray(depth, np.float64)))
    return [picture.convert("RGB").resize(pictures[0].size) for picture in pictures]


def _bytes(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"bytes are stored here, not {value!r}")
    return value


def _open(data: bytes | int) -> Image.Image:
    return Image.open(io.BytesIO(_bytes(data)))


def _near_is_light(depth: np.ndarray) -> Image.Image:
    near, far = depth.min(), depth.max()
    grey = (far - depth) / max(far - near, 1) * 255
    return Image.fromarray(grey.astype(np.uint8))


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
