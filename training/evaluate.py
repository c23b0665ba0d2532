"""Scores a depth model on rooms that it has never seen."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.rooms import HELD_OUT, Rooms, draw
from transforms.depth.scores import Scores

Floats = NDArray[np.float32]

_BATCH = 16


def held_out(count: int, size: int, seed: int) -> Rooms:
    """Returns rooms that no network has been trained on, whatever the seed."""
    rooms = [draw(seed, HELD_OUT, size, index) for index in range(count)]
    return Rooms(
        np.stack([room.image for room in rooms]),
        np.stack([room.depth for room in rooms]).astype(np.float16),
    )


class Predictor:
    """A `.keras` depth model as one TensorFlow function."""

    def __init__(self, path: Path) -> None:
        import keras
        import tensorflow as tf

        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        self._function = tf.function(lambda batch: model(batch, training=False))

    def depth(self, images: NDArray[np.uint8]) -> Floats:
        """Returns metres, float32 [n, H, W], of pictures uint8 [n, H, W, 3], at their size."""
        height, width = images.shape[1:3]
        depths = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH].astype(np.float32) / 255
            for plane in np.asarray(self._function(batch))[..., 0]:
                enlarged = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
                depths.append(np.asarray(enlarged))
        return np.stack(depths)

    def milliseconds(self, size: int) -> float:
        """Returns the time per picture, size × size, in batches of 16: the median of ten runs."""
        batch = np.random.default_rng(0).random((_BATCH, size, size, 3), np.float32)
        self._function(batch)
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            np.asarray(self._function(batch))
            seconds.append(time.perf_counter() - began)
        return float(np.median(seconds)) * 1000 / _BATCH


def draw_picture(path: Path, images: NDArray[np.uint8], truth: Floats, predicted: Floats) -> None:
    """Writes pictures in a row, their true depth below, the predicted below that; near is light.

    Each picture's two maps share one scale, logarithmic from its nearest to its farthest.
    """
    columns = []
    for image, *maps in zip(images, truth, predicted, strict=True):
        near, far = np.log(maps[0].min()), np.log(maps[0].max())
        grey = [np.clip((far - np.log(plane)) / (far - near), 0, 1) for plane in maps]
        column = [image, *(np.stack([(g * 255).astype(np.uint8)] * 3, axis=-1) for g in grey)]
        columns.append(np.concatenate(column))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, quality=85, optimize=True)


def main() -> None:
    """Scores a .keras depth model on held-out rooms, and times it."""
    parser = argparse.ArgumentParser("python -m training.evaluate", description=main.__doc__)
    parser.add_argument("model", type=Path, help="the .keras file")
    parser.add_argument("--rooms", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--size", type=int, default=224, help="their size (default 224)")
    parser.add_argument("--seed", type=int, default=0, help="which rooms (default 0)")
    parser.add_argument("--picture", type=Path, help="a picture of the first six, to write")
    arguments = parser.parse_args()
    predictor = Predictor(arguments.model)
    rooms = held_out(arguments.rooms, arguments.size, arguments.seed)
    predicted, truth = predictor.depth(rooms.images), rooms.depths.astype(np.float32)
    scores = Scores.of(predicted, truth)
    if arguments.picture:
        draw_picture(arguments.picture, rooms.images[:6], truth[:6], predicted[:6])
    print(f"{arguments.rooms} rooms at {arguments.size} × {arguments.size}: {scores}")
    print(f"{predictor.milliseconds(arguments.size):.2f} ms a picture in batches of {_BATCH}")


if __name__ == "__main__":
    main()
