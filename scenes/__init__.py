"""Sample pictures drawn by code: rooms with their depth, and cut-outs to put into them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.figures import choose_kind, draw_foreground
from scenes.rooms import Room, draw_room

__all__ = ["Room", "draw_foreground", "draw_room", "write_samples"]
_ROOM, _FOREGROUND = 0, 1  # what the generator of each picture is derived from, with its index
_FOLDERS = ("backgrounds", "depth", "foregrounds")
# Where pictures lie, in the directory itself, until all are drawn.
_PARTIAL = "_drawing"


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
    executor: Executor | None = None,
) -> None:
    """Draw sample inputs and write them into a new or empty directory.

    Writes `backgrounds/room-0000.jpg` (size × size pixels), `depth/room-0000.png` (16 bits, in
    millimetres along the optical axis; see `Room`) and `foregrounds/KIND-0000.png` (RGBA). Each
    picture depends on the seed and its own index only, so a larger set begins with the smaller
    one. They are drawn by the `executor`, or here, one after another. `progress(done, total)` is
    called after each picture.

    Interrupted, it is called again: a directory where it was at work counts as empty. Raises
    ValueError for numbers out of range and FileExistsError for a directory that is not empty, or a
    file in its place.
    """
    _check("backgrounds", backgrounds, 1, None)
    _check("foregrounds", foregrounds, 1, None)
    _check("size", size, 32, 4096)
    _check("seed", seed, 0, None)
    directory = Path(directory)
    partial = directory / _PARTIAL
    ours = {_PARTIAL, *_FOLDERS} if partial.is_dir() else set()
    if directory.exists() and not (
        directory.is_dir() and ours.issuperset(path.name for path in directory.iterdir())
    ):
        raise FileExistsError(f"{directory} is not an empty directory: name a new or an empty one")
    if partial.exists():
        shutil.rmtree(partial)
    for name in _FOLDERS:
        (partial / name).mkdir(parents=True)
    tasks = [_Task(partial, _ROOM, k, size, seed) for k in range(backgrounds)]
    tasks += [_Task(partial, _FOREGROUND, k, size, seed) for k in range(foregrounds)]
    for done, _ in enumerate(_drawn(tasks, executor), 1):
        if progress is not None:
            progress(done, len(tasks))
    for name in _FOLDERS:
        (directory / name).mkdir(exist_ok=True)
        for path in (partial / name).iterdir():
            path.replace(directory / name / path.name)
    shutil.rmtree(partial)


def _drawn(tasks: Iterable[_Task], executor: Executor | None) -> Iterator[None]:
    """Draws the pictures, and yields after each."""
    if executor is None:
        for task in tasks:
            task.run()
            yield
    else:
        for future in as_completed([executor.submit(task.run) for task in tasks]):
            future.result()
            yield


def _check(name: str, value: int, low: int, high: int | None) -> None:
    """Raise ValueError unless the value is a whole number from low to high."""
    right = f"{low} or more" if high is None else f"{low} to {high}"
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        raise ValueError(f"{name} is {value!r}: a whole number must be given, {right}")
