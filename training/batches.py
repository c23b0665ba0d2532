"""Batches to learn from: rooms, cropped, with figures pasted in, photographed badly."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.rooms import Rooms

_BATCH = 20  # what the generator of a batch is derived from, with the seed and its step
_AHEAD = 4  # batches made while the network learns from one

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """What batches are made from."""

    rooms: tuple[Rooms, ...]
    figures: list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Shape:
    """A batch: `count` pictures, size × size."""

    count: int
    size: int


def make_batch(source: Source, shape: Shape, seed: int, step: int) -> tuple[Floats, Floats]:
    """Returns a step's pictures, float32 [n, s, s, 3] in [0, 1], and metres [n, s/2, s/2, 1]."""
    rng = np.random.default_rng([seed, _BATCH, step])
    half = shape.size // 2
    images = np.empty((shape.count, shape.size, shape.size, 3), np.float32)
    depths = np.empty((shape.count, half, half, 1), np.float32)
    for k in range(shape.count):
        image, depth = _view(rng, source.rooms, shape.size)
        if rng.random() < 0.55:
            for _ in range(2 if rng.random() < 0.2 else 1):
                figure = source.figures[int(rng.integers(len(source.figures)))]
                image, depth = paste(rng, image, depth, figure)
        pixels = photograph(rng, image)
        if rng.random() < 0.5:
            pixels, depth = pixels[:, ::-1], depth[:, ::-1]
        images[k], depths[k, ..., 0] = pixels, depth
    return images, depths


def batches(
    source: Source, seed: int, steps: Iterable[tuple[int, Shape]]
) -> Iterator[tuple[Floats, Floats]]:
    """Yields the batches of the given steps, in order, made ahead by threads."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[tuple[Floats, Floats]]] = deque()
        for step, shape in steps:
            waiting.append(pool.submit(make_batch, source, shape, seed, step))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _view(
    rng: np.random.Generator, rooms: tuple[Rooms, ...], size: int
) -> tuple[Image.Image, Floats]:
    """Returns most of a room, at `size`, and its depth at half of that."""
    number = int(rng.integers(sum(len(part.images) for part in rooms)))
    part = 0
    while number >= len(rooms[part].images):
        number -= len(rooms[part].images)
        part += 1
    image, depth = rooms[part].images[number], rooms[part].depths[number]
    full = image.shape[0]
    side = full * (rng.uniform(0.82, 1.0) if rng.random() < 0.5 else 1.0)
    left, top = rng.uniform(0, full - side, 2) if side < full else (0.0, 0.0)
    box = (left, top, left + side, top + side)
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box)
    # Depths are picked, not averaged: there is nothing half-way between a chair and the wall.
    plane = Image.fromarray(depth.astype(np.float32))
    picked = plane.resize((size // 2, size // 2), Image.Resampling.NEAREST, box)
    return resized, np.array(picked)


def paste(
    rng: np.random.Generator, image: Image.Image, depth: Floats, figure: NDArray[np.uint8]
) -> tuple[Image.Image, Floats]:
    """Puts a figure in front of all that it covers, standing there or floating before it.

    `image` is s × s and `depth` [s / 2, s / 2]. A figure is flat: as far away as the nearest of
    what it covers (but for a few outliers), and at times nearer.
    """
    size = image.width
    cutout = Image.fromarray(figure)
    scale = size * rng.uniform(0.2, 0.8) / max(cutout.size)
    width, height = (max(2, round(side * scale)) for side in cutout.size)
    cutout = cutout.resize((width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    x = int(rng.integers(-width // 3, size - 2 * width // 3))
    if rng.random() < 0.5:  # standing towards the bottom, where the floor is
        y = int(size * rng.uniform(0.65, 1.05)) - height
    else:
        y = int(rng.integers(-height // 3, size - 2 * height // 3))
    image.paste(cutout, (x, y), cutout)
    layer = Image.new("L", image.size)
    layer.paste(cutout.getchannel("A"), (x, y))
    covered = np.array(layer.resize((size // 2, size // 2), Image.Resampling.BOX)) >= 128
    if covered.any():
        behind = float(np.percentile(depth[covered], 4))
        depth = depth.copy()
        depth[covered] = behind * (rng.uniform(0.6, 0.97) if rng.random() < 0.3 else 0.97)
    return image, depth


def photograph(rng: np.random.Generator, image: Image.Image) -> Floats:
    """Returns a picture as a random camera would have taken and stored it: float32 in [0, 1]."""
    size = image.width
    if rng.random() < 0.15:  # small once, and enlarged
        small = round(size * rng.uniform(0.4, 0.9))
        image = image.resize((small, small), Image.Resampling.BILINEAR)
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.3) * size / 160))
    pixels = np.asarray(image, np.float32) / 255
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.07, 3)).astype(np.float32)
    if rng.random() < 0.4:  # light that falls unevenly
        cells = int(rng.integers(2, 5))
        field = np.exp(rng.normal(0, 0.22, (cells, cells))).astype(np.float32)
        spread = Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC)
        pixels = pixels * np.asarray(spread)[..., None]
    pixels = np.clip(pixels * gain, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.22)))
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.4, 1.4)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    pixels = grey[..., None] + (pixels - grey[..., None]) * np.float32(saturation)
    middle = np.float32(grey.mean())
    pixels = middle + (pixels - middle) * np.float32(rng.uniform(0.75, 1.25))
    if rng.random() < 0.5:
        noise = rng.standard_normal(pixels.shape, np.float32)
        pixels = pixels + noise * np.float32(rng.uniform(0, 0.03))
    stored = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.4:
        file = io.BytesIO()
        Image.fromarray(stored).save(file, "JPEG", quality=int(rng.integers(25, 92)))
        stored = np.asarray(Image.open(file))
    return stored.astype(np.float32) / np.float32(255)
