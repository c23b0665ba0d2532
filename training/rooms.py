"""Draws the pictures that the network learns from, and keeps them in a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.processes.cores import usable_cores
from pipeline.processes.pool import WorkerPool
from scenes import Room, draw_foreground, draw_room

SHARD = 250  # pictures a file
# What the generator of a picture is derived from, with the seed and its index. `depthmask samples`
# uses 0 and 1, so no room drawn for users, and none that is held out, is ever trained on.
_SMALL, _LARGE, _FIGURE, HELD_OUT = 10, 11, 12, 13


@dataclass(frozen=True, eq=False)
class Rooms:
    """Pictures with their depth.

    `images` is uint8 [n, size, size, 3]; `depths` float16 [n, size, size], in metres.
    """

    images: NDArray[np.uint8]
    depths: NDArray[np.float16]


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size to be drawn; a larger set begins with the smaller one."""

    stream: int
    size: int
    count: int


SMALL = PictureSet(_SMALL, 160, 6000)
LARGE = PictureSet(_LARGE, 224, 1500)
FIGURES = PictureSet(_FIGURE, 200, 1000)


def draw(seed: int, stream: int, size: int, index: int) -> Room:
    """Returns one room of a stream: the same for the same arguments."""
    return draw_room(np.random.default_rng([seed, stream, index]), size)


@dataclass(frozen=True)
class _Shard:
    """One file of pictures to be drawn: `SHARD` of them, from `start` on."""

    folder: Path
    seed: int
    pictures: PictureSet
    start: int

    @property
    def path(self) -> Path:
        kind = "figures" if self.pictures.stream == _FIGURE else "rooms"
        return self.folder / f"{kind}-{self.seed}-{self.pictures.size}-{self.start:06d}.npz"

    def write(self) -> None:
        """Draws the pictures and writes them, unless the file is there; renamed when complete."""
        if self.path.exists():
            return
        indices = range(self.start, min(self.start + SHARD, self.pictures.count))
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            if self.pictures.stream == _FIGURE:
                generators = [np.random.default_rng([self.seed, _FIGURE, k]) for k in indices]
                np.savez(file, *[draw_foreground(rng, self.pictures.size) for rng in generators])
            else:
                stream, size = self.pictures.stream, self.pictures.size
                rooms = [draw(self.seed, stream, size, index) for index in indices]
                np.savez(
                    file,
                    images=np.stack([room.image for room in rooms]),
                    depths=np.stack([room.depth for room in rooms]).astype(np.float16),
                )
        partial.replace(self.path)


def _shards(folder: Path, seed: int, pictures: PictureSet) -> list[_Shard]:
    return [_Shard(folder, seed, pictures, k) for k in range(0, pictures.count, SHARD)]


def draw_missing(
    folder: Path, seed: int, sets: Sequence[PictureSet], workers: int | None = None
) -> None:
    """Draws what is missing of the sets, with `workers` processes (one for each core)."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = [s for pictures in sets for s in _shards(folder, seed, pictures)]
    missing = [shard for shard in shards if not shard.path.exists()]
    if not missing:
        return
    with WorkerPool(workers or usable_cores()) as pool:
        drawn = pool.map(_Shard.write, missing)
        for _ in tqdm(drawn, "drawing", total=len(missing), unit=f"×{SHARD} pictures"):
            pass


def load_rooms(folder: Path, seed: int, rooms: PictureSet) -> Rooms:
    """Returns the rooms of a set that `draw_missing` has drawn, in order."""
    parts = []
    for shard in _shards(folder, seed, rooms):
        with np.load(shard.path) as file:
            parts.append((file["images"], file["depths"]))
    images, depths = zip(*parts, strict=True)
    return Rooms(np.concatenate(images), np.concatenate(depths))


def load_figures(folder: Path, seed: int, figures: PictureSet) -> list[NDArray[np.uint8]]:
    """Returns the cut-outs of a set that `draw_missing` has drawn: each RGBA, uint8 [h, w, 4]."""
    cutouts: list[NDArray[np.uint8]] = []
    for shard in _shards(folder, seed, figures):
        with np.load(shard.path) as file:
            cutouts += [file[name] for name in file.files]
    return cutouts


def main() -> None:
    """Draws everything that the training needs."""
    parser = argparse.ArgumentParser("python -m training.rooms", description=main.__doc__)
    parser.add_argument("work", type=Path, help="folder to keep the pictures in")
    parser.add_argument("--seed", type=int, default=0, help="what is drawn (default 0)")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    arguments = parser.parse_args()
    sets = [FIGURES, SMALL, LARGE]
    draw_missing(arguments.work, arguments.seed, sets, arguments.workers)


if __name__ == "__main__":
    main()
