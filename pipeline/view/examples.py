"""What the contact sheet and the gallery show alike."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from depthmask.errors import UserError
from depthmask.plasma import PLASMA
from pipeline.dataset.opened import Dataset
from transforms.depth.storage import grey_depth
from transforms.io.files import open_file
from transforms.io.records import parse_example, read_records


@contextlib.contextmanager
def looking_at(path: str) -> Iterator[None]:
    """Raises UserError where what the block reads of the dataset in `path` is damaged."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {error}. Mend it by: depthmask verify --repair {path}"
        ) from error


def check_is_new(path: Path) -> None:
    """Raises UserError where a file cannot be made, or is there already."""
    if path.exists():
        raise UserError(f"{path} is there already. Name another file.")
    for parent in path.parents:
        if parent.is_file():
            raise UserError(f"{parent} is a file. Name another folder.")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file and its folder; at `path` it is whole or not there. Raises UserError."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def in_proportion(shards: Sequence[dict[str, Any]], count: int) -> list[int]:
    """How many of `count` examples each shard gives, so that all splits are seen."""
    total = sum(shard["examples"] for shard in shards)
    seen = done = 0
    counts = []
    for shard in shards:
        # Rounded over the whole, so that shares of small shards add up too.
        seen += shard["examples"]
        counts.append(-(-min(count, total) * seen // total) - done)
        done += counts[-1]
    return counts


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


def colour_depth(stored: np.ndarray) -> Image.Image:
    """A stored depth map through the plasma colours, from its least to its greatest value.

    A palette image (mode P) of the map's size.
    """
    image = Image.fromarray(grey_depth(stored))
    image.putpalette(PLASMA.tobytes())
    return image


def depth_bounds(stored: np.ndarray, dataset: Dataset) -> tuple[str, str]:
    """Returns the least and greatest depth of a stored map, in words."""
    storage = dataset.recipe.depth
    if not storage.absolute:
        return "least", "greatest"
    unit = " m" if dataset.manifest["depth"]["unit"] == "metre" else ""
    low, high = (float(value) * storage.scale for value in (stored.min(), stored.max()))
    return f"{low:.2f}{unit}", f"{high:.2f}{unit}"
