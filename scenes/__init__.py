"""Sample pictures drawn by code: rooms with their depth, and cut-outs to put into them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.figures import choose_kind, draw_foreground
from scenes.rooms import Room, draw_room

__all__ = ["Room", "draw_foreground", "draw_room", "write_samples"]
_ROOM, _FOREGROUND = 0, 1  # what the generator of each picture is derived from, with its index


@dataclass(frozen=True)
class _Task:
    """One picture to draw and write."""

    directory: Path
    kind: int
    index: int
    size: int
    seed: int

    def run(self) -> None:
        rng = np.random.default_rng([self.seed, self.kind, self.index])
        if self.kind == _ROOM:
            room = draw_room(rng, self.size)
            name = f"room-{self.index:04d}"
            picture = Image.fromarray(room.image)
            picture.save(self.directory / "backgrounds" / f"{name}.jpg", quality=92)
            millimetres = np.round(room.depth * 1000).astype(np.uint16)
            Image.fromarray(millimetres).save(self.directory / "depth" / f"{name}.png")
        else:
            kind = choose_kind(rng)
            cutout = Image.fromarray(draw_foreground(rng, self.size, kind))
            cutout.save(self.directory / "foregrounds" / f"{kind}-{self.index:04d}.png")


def write_samples(
    directory: Path,
    backgrounds: int,
    foregrounds: int,
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> None:
    """Draw sample inputs and write them into a new or empty directory.

    Writes `backgrounds/room-0000.jpg` (size × size pixels), `depth/room-0000.png` (16 bits, in
    millimetres along the optical axis; see `Room`) and `foregrounds/KIND-0000.png` (RGBA). Each
    picture depends on the seed and its own index only, so a larger set begins with the smaller
    one, and any number of `workers` (processes; by default one for each core) gives the same
    bytes. `progress(done, total)` is called after each picture.

    Raises ValueError for numbers out of range and FileExistsError for a directory that is not
    empty, or a file in its place.
    """
    _check("backgrounds", backgrounds, 1, None)
    _check("foregrounds", foregrounds, 1, None)
    _check("size", size, 32, 4096)
    _check("seed", seed, 0, None)
    if workers is not None:
        _check("workers", workers, 1, None)
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} is not an empty directory: name a new or an empty one")
    for name in ("backgrounds", "depth", "foregrounds"):
        (directory / name).mkdir(parents=True)
    tasks = [_Task(directory, _ROOM, k, size, seed) for k in range(backgrounds)]
    tasks += [_Task(directory, _FOREGROUND, k, size, seed) for k in range(foregrounds)]
    processes = min(workers or os.cpu_count() or 1, len(tasks))
    if processes == 1:
        for done, task in enumerate(tasks, 1):
            task.run()
            if progress is not None:
                progress(done, len(tasks))
        return
    # Spawned, as a fork would copy the locks of whatever threads the caller runs.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(task.run) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                if progress is not None:
                    progress(done, len(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _check(name: str, value: int, low: int, high: int | None) -> None:
    """Raise ValueError unless the value is a whole number from low to high."""
    right = f"{low} or more" if high is None else f"{low} to {high}"
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        raise ValueError(f"{name} is {value!r}: a whole number must be given, {right}")
