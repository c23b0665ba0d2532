"""The network: pictures to depth in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

NEAREST, FARTHEST = 0.1, 20.0  # metres: what the network can say at all
_TYPICAL = 2.5  # metres: what an untrained network says
_MEAN, _SPREAD = 0.45, 0.25  # of pictures in [0, 1], about


@dataclass(frozen=True)
class Widths:
    """Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's size."""

    half: int = 16
    quarter: int = 32
    eighth: int = 64
    sixteenth: int = 96
    last: int = 128


@dataclass(frozen=True)
class _Builder:
    """Layers of the network; `normalised` with batch normalisation, or with biases instead."""

    normalised: bool

    def conv(self, x: object, filters: int, name: str, size: int = 3, stride: int = 1) -> object:
        x = layers.Conv2D(
            filters,
            size,
            stride,
            padding="same",
            use_bias=not self.normalised,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if self.normalised:
            x = layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_norm")(x)
        return x

    def active(self, x: object, filters: int, name: str, size: int = 3, stride: int = 1) -> object:
        return layers.ReLU(name=f"{name}_relu")(self.conv(x, filters, name, size, stride))

    def residual(self, x: object, filters: int, name: str) -> object:
        y = self.active(x, filters, f"{name}_a")
        y = self.conv(y, filters, f"{name}_b")
        return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))

    def merged(self, x: object, skip: object, filters: int, name: str) -> object:
        """Returns `x` doubled in size and added to what the encoder saw at that size."""
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(
            self.conv(x, filters, f"{name}_in", 1)
        )
        x = layers.Add(name=f"{name}_add")([x, self.conv(skip, filters, f"{name}_skip", 1)])
        x = layers.ReLU(name=f"{name}_relu")(x)
        return self.active(x, filters, f"{name}_out")


def build(normalised: bool, widths: Widths = Widths()) -> keras.Model:
    """Returns a network from RGB in [0, 1], [n, H, W, 3], to metres, [n, H / 2, W / 2, 1].

    H and W are multiples of 32, metres between `NEAREST` and `FARTHEST`. Train it `normalised`;
    `fold` then makes the same function without the normalisation.
    """
    make = _Builder(normalised)
    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / _SPREAD, -_MEAN / _SPREAD, name="scaled")(image)
    half = make.active(x, widths.half, "half", stride=2)
    x = make.active(half, widths.quarter, "quarter", stride=2)
    quarter = make.residual(x, widths.quarter, "quarter_1")
    x = make.active(quarter, widths.eighth, "eighth", stride=2)
    x = make.residual(x, widths.eighth, "eighth_1")
    eighth = make.residual(x, widths.eighth, "eighth_2")
    x = make.active(eighth, widths.sixteenth, "sixteenth", stride=2)
    x = make.residual(x, widths.sixteenth, "sixteenth_1")
    sixteenth = make.residual(x, widths.sixteenth, "sixteenth_2")
    x = make.active(sixteenth, widths.last, "last", stride=2)
    x = make.residual(x, widths.last, "last_1")
    # What the room is like as a whole: its size, the camera's field of view.
    whole = layers.GlobalAveragePooling2D(keepdims=True, name="whole_mean")(x)
    whole = make.active(whole, widths.last, "whole", 1)
    whole = layers.Conv2D(widths.last, 1, name="whole_out")(whole)
    x = layers.ReLU(name="last_relu_out")(layers.Add(name="last_whole")([x, whole]))
    x = make.merged(x, sixteenth, 64, "up_sixteenth")
    x = make.merged(x, eighth, 48, "up_eighth")
    x = make.merged(x, quarter, widths.quarter, "up_quarter")
    x = make.merged(x, half, widths.half, "up_half")
    # The logarithm of the depth, in float32 whatever the layers before compute in.
    ratio = math.log(FARTHEST / NEAREST)
    share = math.log(_TYPICAL / NEAREST) / ratio
    x = layers.Conv2D(
        1,
        3,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(math.log(share / (1 - share))),
        dtype="float32",
        name="score",
    )(x)
    x = layers.Activation("sigmoid", dtype="float32", name="share")(x)
    x = layers.Rescaling(ratio, math.log(NEAREST), dtype="float32", name="log_depth")(x)
    depth = layers.Activation("exponential", dtype="float32", name="depth")(x)
    return keras.Model(image, depth, name="depthmask_builtin")


def fold(model: keras.Model) -> keras.Model:
    """Returns a trained, normalised network as plain convolutions with biases."""
    folded = build(normalised=False)
    for layer in folded.layers:
        if not layer.weights:
            continue
        kernel, *bias = (np.asarray(w) for w in model.get_layer(layer.name).get_weights())
        names = {other.name for other in model.layers}
        if f"{layer.name}_norm" in names:
            norm = model.get_layer(f"{layer.name}_norm")
            gamma, beta, mean, variance = (np.asarray(w) for w in norm.get_weights())
            scale = gamma / np.sqrt(variance + norm.epsilon)
            kernel, bias = kernel * scale, [beta - mean * scale]
        layer.set_weights([kernel, *bias])
    return folded
