"""Networks as Keras 2 describes them in its files, run from that description.

A full model saved by Keras 2 has an attribute ``model_config``: its layers, how each is set and
what it takes, as JSON. Layers of known kinds are run by TensorFlow's operations, others refused: no
code in a file is executed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.depth.interface import PictureSize, Precision, Upsampling

MAX_LAYERS = 1000  # DenseDepth has 617, with DenseNet-201 732
_MAX_TEXT = 4_000_000  # bytes of model_config: DenseDepth's has 350,000
# The most numbers that a layer may give for each pixel of the picture. DenseDepth's last
# concatenation gives 68.
_MAX_VALUES = 256

Shape = tuple[int, int, int]  # height, width, channels
Tensors = Mapping[str, Any]


class ConfigError(ValueError):
    """A network that is described wrongly, not understood or refused."""


# The kinds of layers. What a description says besides concerns training, and is passed over.

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Length = Annotated[int, Field(ge=1, le=64)]
_Pair = Annotated[tuple[_Length, _Length], Field(strict=False)]
_One = Annotated[tuple[Literal[1], Literal[1]], Field(strict=False)]
_Zero = Annotated[float, Field(ge=0, le=0)]
_Margin = Annotated[int, Field(ge=0, le=64)]
_Margins = Annotated[tuple[_Margin, _Margin], Field(strict=False)]
_Channels = Literal[3, -1]  # the axis


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class LayerKind(_Form):
    """A layer's settings, in Keras's own words."""

    data_format: Literal["channels_last"] = "channels_last"

    def weights(self, channels: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the layer's weights, for so many channels of input."""
        return {}

    def output(self, *inputs: Shape) -> Shape:
        """Returns the shape of its output. Raises ConfigError for inputs that it does not take."""
        (shape,) = inputs
        return shape

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        """Returns the layer's output, in the type of numbers of its inputs."""
        raise NotImplementedError


class InputLayer(LayerKind):
    """Where pictures come in: RGB in 0 … 1."""

    # Layers of all kinds take any size: the height and width in the file bind nobody.
    batch_input_shape: tuple[int | None, int | None, int | None, Literal[3]] = Field(strict=False)
    dtype: Literal["float32"]


class ZeroPadding2D(LayerKind):
    """Rows and columns of zeros around."""

    padding: tuple[_Margins, _Margins] = Field(strict=False)

    def output(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = inputs
        rows, columns = self.padding
        return height + sum(rows), width + sum(columns), channels

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return tf.pad(inputs[0], [(0, 0), *self.padding, (0, 0)])


class _Window(LayerKind):
    strides: _Pair
    padding: Literal["valid", "same"] = "valid"

    def _sides(self, shape: Shape, window: tuple[int, int]) -> tuple[int, int]:
        sides = zip(shape[:2], window, self.strides, strict=True)
        if self.padding == "same":
            height, width = (-(-side // stride) for side, _, stride in sides)
        else:
            height, width = ((side - extent) // stride + 1 for side, extent, stride in sides)
        if min(height, width) < 1:
            raise ConfigError(f"its window, {window}, is larger than its input, {shape}")
        return height, width


class Conv2D(_Window):
    """A convolution, with a bias and a rectifier where it says so."""

    filters: int = Field(ge=1)
    kernel_size: _Pair
    strides: _Pair = (1, 1)
    dilation_rate: _One = (1, 1)
    groups: Literal[1] = 1
    activation: Literal["linear", "relu"] = "linear"
    use_bias: bool = True

    def weights(self, channels: int) -> dict[str, tuple[int, ...]]:
        kernel = {"kernel": (*self.kernel_size, channels, self.filters)}
        return kernel | ({"bias": (self.filters,)} if self.use_bias else {})

    def output(self, *inputs: Shape) -> Shape:
        return *self._sides(inputs[0], self.kernel_size), self.filters

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        x = tf.nn.conv2d(inputs[0], weights["kernel"], self.strides, self.padding.upper())
        if self.use_bias:
            x = tf.nn.bias_add(x, weights["bias"])
        return tf.nn.relu(x) if self.activation == "relu" else x


class BatchNormalization(LayerKind):
    """In float32 whatever its inputs are: in 16 bits it would overflow."""

    axis: _Channels | Annotated[tuple[_Channels], Field(strict=False)]
    epsilon: _Finite = Field(0.001, gt=0)
    center: bool = True
    scale: bool = True

    def weights(self, channels: int) -> dict[str, tuple[int, ...]]:
        learnt = [name for name, used in (("gamma", self.scale), ("beta", self.center)) if used]
        return dict.fromkeys([*learnt, "moving_mean", "moving_variance"], (channels,))

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        y = tf.nn.batch_normalization(
            tf.cast(inputs[0], tf.float32),
            weights["moving_mean"],
            weights["moving_variance"],
            weights.get("beta"),
            weights.get("gamma"),
            self.epsilon,
        )
        return tf.cast(y, inputs[0].dtype)


class Activation(LayerKind):
    """A rectifier, or nothing."""

    activation: Literal["linear", "relu"]

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return tf.nn.relu(inputs[0]) if self.activation == "relu" else inputs[0]


class LeakyReLU(LayerKind):
    """A rectifier that lets `alpha` of what is negative through."""

    alpha: _Finite = 0.3

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return tf.nn.leaky_relu(inputs[0], self.alpha)


class ReLU(LayerKind):
    """A rectifier, cut off at `max_value`."""

    max_value: _Finite | None = None
    negative_slope: _Zero = 0
    threshold: _Zero = 0

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        x = tf.nn.relu(inputs[0])
        return x if self.max_value is None else tf.minimum(x, tf.cast(self.max_value, x.dtype))


class _Pooling2D(_Window):
    pool_size: _Pair

    def output(self, *inputs: Shape) -> Shape:
        return *self._sides(inputs[0], self.pool_size), inputs[0][2]


class MaxPooling2D(_Pooling2D):
    """The largest of each window."""

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return tf.nn.max_pool2d(inputs[0], self.pool_size, self.strides, self.padding.upper())


class AveragePooling2D(_Pooling2D):
    """The mean of each window."""

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return tf.nn.avg_pool2d(inputs[0], self.pool_size, self.strides, self.padding.upper())


class Concatenate(LayerKind):
    """Channels of several inputs, one after the other."""

    axis: _Channels

    def output(self, *inputs: Shape) -> Shape:
        sides = {shape[:2] for shape in inputs}
        if len(sides) != 1:
            raise ConfigError(f"its inputs are of different sizes: {', '.join(map(str, inputs))}")
        return *sides.pop(), sum(shape[2] for shape in inputs)

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return tf.concat(inputs, -1)


class UpSampling2D(LayerKind):
    """Height and width times `size`. Bilinear: the edges of the picture stay in place."""

    size: _Pair = (2, 2)
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    def output(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = inputs
        return height * self.size[0], width * self.size[1], channels

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        if self.interpolation == "nearest":
            return tf.repeat(tf.repeat(inputs[0], self.size[0], 1), self.size[1], 2)
        return self._resize(inputs[0], align_corners=False)

    def _resize(self, x: Any, align_corners: bool) -> Any:
        size = [side * times for side, times in zip(x.shape[1:3], self.size, strict=True)]
        resized = tf.raw_ops.ResizeBilinear(
            images=x, size=size, align_corners=align_corners, half_pixel_centers=not align_corners
        )
        return tf.cast(resized, x.dtype)  # the operation gives float32, whatever it takes


class BilinearUpSampling2D(UpSampling2D):
    """DenseDepth's own layer. Its code is not in the file, and changed over the years.

    Until September 2020 it kept the corner pixels in the corners (align_corners); since then it
    keeps the edges of the picture in place (half_pixel), as Keras's own upsampling does.
    """

    upsampling: Upsampling

    def run(self, inputs: Sequence[Any], weights: Tensors) -> Any:
        return self._resize(inputs[0], align_corners=self.upsampling == "align_corners")


_KINDS: dict[str, type[LayerKind]] = {
    kind.__name__: kind
    for kind in (
        InputLayer,
        ZeroPadding2D,
        Conv2D,
        BatchNormalization,
        Activation,
        ReLU,
        LeakyReLU,
        MaxPooling2D,
        AveragePooling2D,
        Concatenate,
        UpSampling2D,
        BilinearUpSampling2D,
    )
}


# The description, as it stands in the file. Zeros: the first use and the only output of a layer.

_Source = Annotated[tuple[str, Literal[0], Literal[0]], Field(strict=False)]
_NoSettings = Annotated[dict[str, Any], Field(max_length=0)]
_Argument = Annotated[tuple[str, Literal[0], Literal[0], _NoSettings], Field(strict=False)]


class _LayerForm(_Form):
    name: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9_./-]*$", max_length=100)
    class_name: str
    config: dict[str, Any]
    inbound_nodes: list[list[_Argument]] = Field(max_length=1)


class _GraphForm(_Form):
    layers: list[_LayerForm] = Field(min_length=1, max_length=MAX_LAYERS)
    input_layers: tuple[_Source]
    output_layers: tuple[_Source]


class _ModelForm(_Form):
    class_name: Literal["Model", "Functional"]
    config: _GraphForm


@dataclass(frozen=True)
class NetworkLayer:
    """One layer: its settings, and the names of the layers whose outputs it takes."""

    name: str
    kind: LayerKind
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class NetworkConfig:
    """A network of known layers, its only input first and each layer after those that it takes."""

    layers: tuple[NetworkLayer, ...]
    output: str

    @classmethod
    def parse(cls, text: str | bytes, upsampling: Upsampling) -> NetworkConfig:
        """Returns the network that ``model_config`` describes. Raises ConfigError."""
        if len(text) > _MAX_TEXT:
            raise ConfigError(f"its model_config is longer than {_MAX_TEXT:,} bytes")
        try:
            graph = _ModelForm.model_validate_json(text).config
        except ValidationError as error:
            raise ConfigError(f"its model_config is not of Keras 2: {_first(error)}") from error
        found: dict[str, NetworkLayer] = {}
        for form in graph.layers:
            layer = _layer(form, upsampling)
            if layer.name in found:
                raise ConfigError(f"two layers are called {layer.name}")
            for name in layer.inputs:
                if name not in found:
                    raise ConfigError(
                        f"layer {layer.name} takes {name}, which is none of the layers before it"
                    )
            found[layer.name] = layer
        first, last = graph.input_layers[0][0], graph.output_layers[0][0]
        inputs = [layer.name for layer in found.values() if isinstance(layer.kind, InputLayer)]
        if inputs != [first] or last not in found:
            raise ConfigError(
                f"no network from {first} to {last}: its inputs are {', '.join(inputs[:3])}"
            )
        return cls(tuple(found.values()), last)

    def weights(self, size: PictureSize) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all weights, by LAYER/WEIGHT.

        Raises ConfigError where, for pictures of `size`, a layer does not take what it gets.
        """
        shapes: dict[str, Shape] = {}
        weights: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            inputs = [shapes[name] for name in layer.inputs] or [(size.height, size.width, 3)]
            try:
                shape = shapes[layer.name] = layer.kind.output(*inputs)
            except ConfigError as error:
                raise ConfigError(f"layer {layer.name}: {error}") from error
            if math.prod(shape) > _MAX_VALUES * size.width * size.height:
                raise ConfigError(f"layer {layer.name} gives {shape} for {size} pixels: too much")
            for name, needed in layer.kind.weights(inputs[0][2]).items():
                weights[f"{layer.name}/{name}"] = needed
        return weights

    def exact_layers(self) -> set[str]:
        """Returns the layers that give the output: from the last ones with weights on."""
        found: set[str] = set()
        layers = {layer.name: layer for layer in self.layers}
        pending = [self.output]
        while pending:
            layer = layers[pending.pop()]
            if layer.name not in found and not layer.kind.weights(1):
                pending += layer.inputs
            found.add(layer.name)
        return found


class Keras2Network:
    """A network with its weights: pictures, float32 [n, h, w, 3], to what the network gives.

    In other precisions than float32 the last layers with weights, and those after them, are still
    in float32: 8 bits of mantissa are too few for depth.
    """

    def __init__(
        self, config: NetworkConfig, weights: Mapping[str, Any], precision: Precision
    ) -> None:
        self._config = config
        exact = config.exact_layers()
        self._types = {
            layer.name: tf.float32 if layer.name in exact else tf.as_dtype(precision)
            for layer in config.layers
        }
        self._weights: dict[str, dict[str, Any]] = {layer.name: {} for layer in config.layers}
        kinds = {layer.name: layer.kind for layer in config.layers}
        for key, values in weights.items():
            name, _, weight = key.rpartition("/")
            normal = isinstance(kinds[name], BatchNormalization)
            number = tf.float32 if normal else self._types[name]
            # Variables: they stay on an accelerator between calls.
            self._weights[name][weight] = tf.Variable(
                np.asarray(values), trainable=False, dtype=number
            )

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def __call__(self, pictures: Any) -> Any:
        outputs: dict[str, Any] = {}
        for layer in self._config.layers:
            taken = [tf.cast(outputs[name], self._types[layer.name]) for name in layer.inputs]
            outputs[layer.name] = (
                layer.kind.run(taken, self._weights[layer.name]) if taken else pictures
            )
        return outputs[self._config.output]


def _layer(form: _LayerForm, upsampling: Upsampling) -> NetworkLayer:
    kind = _KINDS.get(form.class_name)
    if kind is None:
        raise ConfigError(
            f"layer {form.name} is a {form.class_name[:100]!r}, which is not known here; known are "
            f"{', '.join(_KINDS)}"
        )
    inputs = tuple(name for node in form.inbound_nodes for name, *_ in node)
    least, most = {InputLayer: (0, 0), Concatenate: (2, MAX_LAYERS)}.get(kind, (1, 1))
    if not least <= len(inputs) <= most:
        raise ConfigError(f"layer {form.name} ({form.class_name}) takes {len(inputs)} inputs")
    try:
        settings = kind.model_validate(form.config | {"upsampling": upsampling})
    except ValidationError as error:
        raise ConfigError(f"layer {form.name} ({form.class_name}): {_first(error)}") from error
    return NetworkLayer(form.name, settings, inputs)


def _first(error: ValidationError) -> str:
    """The first of what pydantic found: where, and what."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
