"""DenseDepth's network from a file: a DenseNet-169 encoder and four up-projections.

The published weights (nyu.h5, kitti.h5) are full models as Keras 2.2.4 wrote them in January 2019.
In March 2019 the authors' training code got a decoder of half the width, with a second LeakyReLU
in each up-projection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import h5py
import numpy as np
import tensorflow as tf

from depthmask.errors import DepthModelError, first_line
from transforms.depth.interface import PictureSize, Precision, Upsampling
from transforms.depth.keras2_network import (
    MAX_LAYERS,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    BilinearUpSampling2D,
    Concatenate,
    ConfigError,
    Conv2D,
    InputLayer,
    Keras2Network,
    LayerKind,
    LeakyReLU,
    MaxPooling2D,
    NetworkConfig,
    NetworkLayer,
    ZeroPadding2D,
)

_MAX_WEIGHTS = 100_000_000  # DenseDepth has 43 million


def depth_fraction(output: tf.Tensor, nearest: float) -> tf.Tensor:
    """Returns the network's output, 1000 / depth, as depth in fractions of the farthest.

    The output's depth is in thousandths of the farthest. It is clipped to `nearest` … 1. What is
    not finite becomes NaN: clipped, an overflow would be the nearest depth.
    """
    depth = tf.clip_by_value(1 / output, nearest, 1)
    return tf.where(tf.math.is_finite(output), depth, np.float32(np.nan))


def read_network(
    path: str, name: str, size: PictureSize, upsampling: Upsampling, precision: Precision
) -> Keras2Network:
    """Returns the network in the HDF5 file at `path`, as Keras 2 wrote it, for pictures of `size`.

    A full model is what the file itself describes; of weights alone, their shapes say which width
    of DenseDepth they are. `upsampling` is that of the layers ``BilinearUpSampling2D``, whose code
    is not in the file. Raises DepthModelError, which calls the file `name`.
    """
    try:
        with h5py.File(path, "r") as file:
            found = _weights(file.get("model_weights", file))
            description = file.attrs.get("model_config")
            if description is None:
                config = densedepth_config(_is_half_width(found), upsampling)
            else:
                config = NetworkConfig.parse(description, upsampling)
            _check(config.weights(size), found)
            return Keras2Network(config, found, precision)
    except ConfigError as error:
        raise DepthModelError(
            f"{name}: {error}. Give the published nyu.h5 or kitti.h5, or a network of Keras 2 with "
            "layers of the same kinds."
        ) from error
    except Exception as error:  # h5py raises what it likes for damaged files
        raise DepthModelError(
            f"{name}: not a Keras 2 HDF5 file of weights, or damaged: {first_line(error)}. Give "
            "the published nyu.h5 or kitti.h5, whole."
        ) from error


def densedepth_config(half_width: bool, upsampling: Upsampling) -> NetworkConfig:
    """Returns the network as published or, of half the width, as the later training code has it."""
    layers = [
        NetworkLayer(
            "input_1", InputLayer(batch_input_shape=(None, None, None, 3), dtype="float32"), ()
        )
    ]

    def add(name: str, kind: LayerKind, *inputs: str) -> str:
        """Adds a layer that takes the one before it, or `inputs`."""
        layers.append(NetworkLayer(name, kind, inputs or (layers[-1].name,)))
        return name

    def add_conv(name: str, filters: int, side: int, bias: bool = True, stride: int = 1) -> str:
        return add(
            name,
            Conv2D(
                filters=filters,
                kernel_size=(side, side),
                strides=(stride, stride),
                padding="same" if stride == 1 else "valid",
                use_bias=bias,
            ),
        )

    def add_pad(number: int, margin: int) -> None:
        margins = (margin, margin)
        add(f"zero_padding2d_{number}", ZeroPadding2D(padding=(margins, margins)))

    def add_normal_relu(name: str) -> str:
        add(f"{name}bn", BatchNormalization(axis=3, epsilon=1.001e-5))
        return add(f"{name}relu", Activation(activation="relu"))

    add_pad(1, 3)
    add_conv("conv1/conv", 64, 7, bias=False, stride=2)
    skips = [add_normal_relu("conv1/")]
    add_pad(2, 1)
    last = add("pool1", MaxPooling2D(pool_size=(3, 3), strides=(2, 2)))
    skips.append(last)
    channels = 64
    for block, count in enumerate((6, 12, 32, 32), 2):
        for number in range(1, count + 1):
            name = f"conv{block}_block{number}_"
            add_normal_relu(f"{name}0_")
            add_conv(f"{name}1_conv", 128, 1, bias=False)
            add_normal_relu(f"{name}1_")
            new = add_conv(f"{name}2_conv", 32, 3, bias=False)
            last = add(f"{name}concat", Concatenate(axis=3), last, new)
        channels += 32 * count
        add_normal_relu(f"pool{block}_" if block < 5 else "")
        if block < 5:
            channels //= 2
            add_conv(f"pool{block}_conv", channels, 1, bias=False)
            last = add(f"pool{block}_pool", AveragePooling2D(pool_size=(2, 2), strides=(2, 2)))
            skips.append(last)
    filters = channels // 2 if half_width else channels
    add_conv("conv2", filters, 1)
    for number, skip in enumerate(reversed(skips[:4]), 1):
        name = f"up{number}_"
        filters //= 2
        larger = add(f"{name}upsampling2d", BilinearUpSampling2D(upsampling=upsampling))
        add(f"{name}concat", Concatenate(axis=3), larger, skip)
        add_conv(f"{name}convA", filters, 3)
        if half_width:
            add(f"{name}leakyA", LeakyReLU(alpha=0.2))
        add_conv(f"{name}convB", filters, 3)
        add(f"{name}leakyB", LeakyReLU(alpha=0.2))
    output = add_conv("conv3", 1, 3)
    return NetworkConfig(tuple(layers), output)


def _weights(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Returns the weights in a Keras 2 HDF5 group, unread, by LAYER/WEIGHT.

    Raises ConfigError for what are no numbers, or too many.
    """
    found: dict[str, h5py.Dataset] = {}
    for layer in _names(group, "layer_names"):
        for weight in _names(group[layer], "weight_names"):
            key = f"{layer}/{weight.rsplit('/', 1)[-1].removesuffix(':0')}"
            data = found[key] = group[layer][weight]
            # Another file's numbers would not be in this one's checksum.
            here = data.file.filename == group.file.filename
            if data.dtype.kind != "f" or not here or data.external or data.is_virtual:
                raise ConfigError(f"{key} is no array of numbers in this file")
    if sum(math.prod(data.shape) for data in found.values()) > _MAX_WEIGHTS:
        raise ConfigError(f"it has more than {_MAX_WEIGHTS:,} weights")
    return found


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns names, which are bytes or text by the version of h5py that wrote them."""
    names = group.attrs[attribute]
    if len(names) > MAX_LAYERS:
        raise ConfigError(f"{group.name} has {len(names)} {attribute}")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _is_half_width(found: Mapping[str, h5py.Dataset]) -> bool:
    shape = found["conv2/kernel"].shape if "conv2/kernel" in found else None
    if shape not in ((1, 1, 1664, 1664), (1, 1, 1664, 832)):
        raise ConfigError(
            "it has weights alone, and not those of DenseDepth (DenseNet-169), whose conv2/kernel "
            f"has the shape (1, 1, 1664, 1664) or (1, 1, 1664, 832), not {shape}"
        )
    return bool(shape[-1] == 832)


def _check(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, h5py.Dataset]) -> None:
    """Raises ConfigError where the weights that a network needs and those in a file differ."""
    missing, left_over = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or left_over:
        listing = [
            f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if names[3:] else ''}"
            for what, names in (("it lacks", missing), ("it has besides", left_over))
            if names
        ]
        raise ConfigError(f"its weights are not those of its network: {'; '.join(listing)}")
    for key, shape in wanted.items():
        if found[key].shape != shape:
            raise ConfigError(f"{key} has the shape {found[key].shape} instead of {shape}")
