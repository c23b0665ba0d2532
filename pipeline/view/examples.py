"""Examples of a dataset to show, and writing what shows them: for the sheet and the gallery."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from depthmask.errors import UserError
from depthmask.manifest import ShardEntry
from depthmask.plasma import PLASMA
from depthmask.records import parse_example, read_records
from pipeline.dataset import Dataset
from transforms.depth import grey_depth, known_bounds
from transforms.elements import Placement
from transforms.io.files import open_file


@dataclass(frozen=True)
class Example:
    """An example, its pictures encoded as in its record; `depth`: None where there is none."""

    placement: Placement
    image: bytes
    mask: bytes
    depth: bytes | None


def check_is_new(path: Path) -> None:
    """Raises UserError where a file is there already, or cannot be made."""
    if path.exists():
        raise UserError(f"{path} is there already. Name another file.")
    for parent in path.parents:
        if parent.is_file():
            raise UserError(f"{parent} is a file. Name another folder.")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file and its folder; at `path` it is whole or not there.

    Raises UserError where it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def first_examples(dataset: Dataset, shard: ShardEntry, count: int) -> Iterator[Example]:
    """Yields the first examples of a shard, which are a fair sample of its split."""
    with open_file(dataset.file(shard.file)) as file:
        for record in itertools.islice(read_records(file), count):
            features: dict[str, Any] = parse_example(record)
            image, mask = features.pop("image"), features.pop("mask")
            depth = features.pop("depth", None)
            texts = {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in features.items()
            }
            yield Example(Placement.from_features(texts), image, mask, depth)


def colour_depth(stored: np.ndarray) -> Image.Image:
    """Returns a stored depth map in plasma colours, from its least to its greatest value.

    A palette image (mode P) of the map's size.
    """
    image = Image.fromarray(grey_depth(stored))
    image.putpalette(PLASMA.tobytes())
    return image


def depth_bounds(stored: np.ndarray, dataset: Dataset) -> tuple[str, str]:
    """Returns the least and the greatest depth of a stored map, in words."""
    meaning = dataset.manifest.depth
    if not (meaning and dataset.recipe.depth.absolute):
        return "least", "greatest"
    unit = " m" if meaning.unit == "metre" else ""
    low, high = (float(value) * meaning.scale for value in known_bounds(stored))
    return f"{low:.2f}{unit}", f"{high:.2f}{unit}"
