"""What the contact sheet and the gallery show alike."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from pipeline.export.pictures import grey_depth
from pipeline.verify import Dataset
from transforms.files import open_file
from transforms.plasma import PLASMA
from transforms.records import parse_example, read_records


def first_examples(dataset: Dataset, shard: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """The features of a shard's first examples, a fair sample of its split; text is decoded."""
    with open_file(dataset.file(shard["file"])) as file:
        for record in itertools.islice(read_records(file), count):
            features: dict[str, Any] = parse_example(record)
            pictures = ("image", "mask", "depth")
            yield {
                name: value.decode() if isinstance(value, bytes) and name not in pictures else value
                for name, value in features.items()
            }


def open_picture(data: bytes) -> Image.Image:
    """Decodes a picture of a record."""
    return Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])


def colour_depth(stored: np.ndarray, storage: str) -> Image.Image:
    """A stored depth map through the plasma colours, from its least to its greatest value.

    A palette image (mode P) of the map's size.
    """
    image = Image.fromarray(grey_depth(stored, storage))
    image.putpalette(PLASMA.tobytes())
    return image


def depth_bounds(stored: np.ndarray, depth: dict[str, Any]) -> tuple[str, str]:
    """The least and greatest depth of a stored map, in words; `depth`: the manifest's entry."""
    if depth["storage"] != "metric16":
        return "least", "greatest"
    unit = " m" if depth["unit"] == "metre" else ""
    low, high = (float(value) * depth["scale"] for value in (stored.min(), stored.max()))
    return f"{low:.2f}{unit}", f"{high:.2f}{unit}"
