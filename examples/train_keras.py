"""Trains a small network on a dataset's depth and masks at once, with Keras and tf.data.

    python -m examples.train_keras DATASET

The dataset is one of the recipe beside this: depth in metres, splits `train` and `test`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import depthmask
from examples.results import Labels, Pictures, judge, median_depth, read

WIDTHS = (16, 32, 64, 128)  # channels at 1/2, 1/4, 1/8 and 1/16 of the picture's size
BATCH = 16
RATE = 3e-3


def train_batches(path: str) -> tf.data.Dataset:
    """Batches of pictures, float32 [n, h, w, 3], and their `depth` and `mask`, [n, h, w, 1]."""
    train = depthmask.load(path, "train", features=["image", "depth", "mask"])
    train = train.shuffle(1000).map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return train.batch(BATCH, drop_remainder=True).prefetch(2)


def augmented(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """An example cropped at random, mirrored by chance and in other light, for `fit`."""
    mask = tf.cast(example["mask"][..., :1] >= 128, tf.float32)
    planes = tf.concat([tf.cast(example["image"], tf.float32), example["depth"], mask], axis=2)
    height, width, channels = planes.shape
    planes = tf.image.random_crop(planes, (cropped(height), cropped(width), channels))
    planes = tf.image.random_flip_left_right(planes)
    image, depth, mask = tf.split(planes, (3, 1, 1), axis=2)
    gamma, gain = tf.random.uniform((), 0.7, 1.4), tf.random.uniform((3,), 0.8, 1.2)
    image = tf.clip_by_value(255 * gain * (image / 255) ** gamma, 0, 255)
    return image, {"depth": depth, "mask": mask}


def cropped(side: int) -> int:
    """About 7/8 of a side, as 16 divides it."""
    return side * 7 // 8 // 16 * 16


def conv(x: Any, filters: int, stride: int = 1) -> Any:
    """A convolution with normalisation and ReLU."""
    x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def build(median: float) -> keras.Model:
    """Returns a network from pictures, 0 … 255 [n, H, W, 3], to `depth` and `mask`, [n, H, W, 1].

    Depth is in metres; what it says untrained is about `median`. The mask is a logit: above 0 is
    foreground.
    """
    image = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 128, -1)(image)
    details = []
    for filters in WIDTHS:
        details.append(x)
        x = conv(conv(x, filters, stride=2), filters)
    # How large the room is, how wide the camera sees: of the picture as a whole.
    whole = layers.Conv2D(WIDTHS[-1], 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = conv(layers.Add()([x, whole]), WIDTHS[-1])
    for filters, detail in zip(WIDTHS[-2::-1], details[:0:-1], strict=True):
        x = layers.UpSampling2D()(layers.Conv2D(filters, 1)(x))
        x = conv(layers.Add()([x, detail]), filters)
    depth, mask = (layers.Conv2D(1, 3, padding="same")(x) for _ in range(2))
    depth, mask = (layers.UpSampling2D(interpolation="bilinear")(head) for head in (depth, mask))
    depth = layers.Activation("exponential")(layers.Rescaling(1, np.log(median))(depth))
    return keras.Model(image, {"depth": depth, "mask": mask})


def depth_loss(true: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """The mean error of depth's logarithm, where depth is known."""
    known = true > 0
    error = tf.abs(tf.math.log(tf.where(known, true, predicted)) - tf.math.log(predicted))
    return tf.reduce_sum(error) / tf.maximum(1.0, tf.reduce_sum(tf.cast(known, tf.float32)))


def train(path: str, epochs: int) -> keras.Model:
    """Returns a network, trained on the split `train`."""
    keras.utils.set_random_seed(0)
    model = build(float(median_depth(read(path, "train")[1])))
    batches = train_batches(path)
    steps = epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 10, steps, warmup_target=RATE, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.AdamW(rate),
        {"depth": depth_loss, "mask": keras.losses.BinaryCrossentropy(from_logits=True)},
    )
    model.fit(batches, epochs=epochs, shuffle=False, verbose=2)
    return model


def main() -> None:
    """Trains, scores on unseen pictures, and draws six of them."""
    parser = argparse.ArgumentParser("python -m examples.train_keras", description=main.__doc__)
    parser.add_argument("dataset", help="its folder")
    parser.add_argument("--epochs", type=int, default=2, help="(default 2)")
    parser.add_argument("--picture", type=Path, default=Path("predictions.jpg"))
    arguments = parser.parse_args()
    began = time.monotonic()
    model = train(arguments.dataset, arguments.epochs)
    print(f"trained for {time.monotonic() - began:.0f} seconds")

    def predict(images: Pictures) -> Labels:
        said = model(images, training=False)
        depth, mask = (np.asarray(said[kind])[..., 0] for kind in ("depth", "mask"))
        return Labels(depth, mask > 0)

    judge(arguments.dataset, predict, arguments.picture)


if __name__ == "__main__":
    main()
