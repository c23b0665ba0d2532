"""DenseDepth: a DenseNet-169 encoder and four up-projections.

I. Alhashim and P. Wonka, "High Quality Monocular Depth Estimation via Transfer Learning" (2018),
arXiv:1812.11941. The published weights (nyu.h5, kitti.h5) are full models as Keras 2 wrote them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from depthmask.errors import DepthModelError, UserError, first_line
from transforms.depth.interface import ModelInterface, PictureSize
from transforms.depth.keras_model import import_keras, keras_network
from transforms.depth.model import DepthSettings, DepthStage, ModelChoice, Network
from transforms.depth.model_files import local_copy

if TYPE_CHECKING:  # the command line lists this kind without loading either
    import h5py
    import keras

# The sides of pictures are halved five times.
_MULTIPLE = 32
# The farthest depth, in metres, that each of the published weights was trained for: rooms, streets.
_FARTHEST = {"nyu": 10.0, "kitti": 80.0}
# The output is 1000 / depth, depth in thousandths of the farthest, which is kept in 10 … 1000.
_NEAREST, _REACH = 10.0, 1000.0
_UP_PROJECTIONS = ("pool3_pool", "pool2_pool", "pool1", "conv1_relu")


class DenseDepthModel(ModelChoice):
    """DenseDepth with weights from a file as Keras 2 wrote them."""

    kind = "densedepth"
    usage = "densedepth:FILE.h5"
    packages = ("keras", "tensorflow")

    def interface(self, settings: DepthSettings) -> ModelInterface:
        metres = self._declared_unit(settings) or self._farthest()
        if metres > settings.greatest:
            raise UserError(
                f"depth of up to {metres:g} m does not fit into 16 bits in steps of "
                f"{settings.scale:g} m: set depth.scale larger, such as 0.002."
            )
        return ModelInterface(multiple_of=_MULTIPLE, unit=metres)

    def _farthest(self) -> float:
        """Returns metres by the name of a published file: its content does not say."""
        name = posixpath.basename(self.path).lower()
        for part, metres in _FARTHEST.items():
            if part in name:
                return metres
        raise UserError(
            f"{self.path}: are these the weights for rooms or for streets? Set depth.model.unit to "
            "10 (NYU) or to 80 (KITTI), or give the file its published name."
        )

    def load(self, stage: DepthStage) -> Network:
        import_keras()
        size = stage.input_size(None)
        model = build_densedepth(size)
        with local_copy(self.path, self.files) as path:
            load_weights(model, path, str(self))
        return keras_network(stage, model, size, depth_fraction)


def build_densedepth(size: PictureSize) -> keras.Model:
    """Returns the network with random weights: float32 [n, h, w, 3] in 0 … 1 to [n, h/2, w/2, 1].

    The output is 1000 / depth, for depth in thousandths of the farthest. Upsampling is bilinear
    between pixel centres, as the authors' code does under TensorFlow 2.
    """
    import keras
    from keras import layers

    encoder = keras.applications.DenseNet169(
        include_top=False, weights=None, input_shape=(size.height, size.width, 3)
    )
    filters = encoder.output.shape[-1] // 2
    x = layers.Conv2D(filters, 1, padding="same", name="conv2")(encoder.output)
    for number, skip in enumerate(_UP_PROJECTIONS, 1):
        name = f"up{number}"
        filters //= 2
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_upsampling2d")(x)
        x = layers.Concatenate(name=f"{name}_concat")([x, encoder.get_layer(skip).output])
        for part in "AB":
            x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{part}")(x)
            x = layers.LeakyReLU(0.2)(x)
    y = layers.Conv2D(1, 3, padding="same", name="conv3")(x)
    return keras.Model(encoder.input, y, name="densedepth")


def depth_fraction(output: Any) -> Any:
    """Returns the network's output as depth, in 0.01 … 1 of the farthest, as published.

    Values that are not finite become NaN: clipped, an overflow would be the nearest depth.
    """
    from keras import ops

    depth = ops.clip(_REACH / output, _NEAREST, _REACH) / _REACH
    return ops.where(ops.isfinite(output), depth, float("nan"))


def load_weights(model: keras.Model, path: str, name: str) -> None:
    """Sets the weights of `model` from the HDF5 file at `path`, by the names of layers and weights.

    Takes full models and weights alone, as Keras 2 writes them. Raises DepthModelError, which calls
    the file `name`, where it is no such file or a weight is missing, left over or of another shape.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = dict(_weights(file.get("model_weights", file)))
    except Exception as error:  # h5py raises what it likes for damaged files
        raise DepthModelError(
            f"{name}: not a Keras 2 HDF5 file of weights, or damaged: {first_line(error)}. Give "
            "the published nyu.h5 or kitti.h5, whole."
        ) from error
    wanted = {
        f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights
    }
    missing, left_over = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or left_over:
        listing = [
            f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if names[3:] else ''}"
            for what, names in (("it lacks", missing), ("it has besides", left_over))
            if names
        ]
        raise DepthModelError(
            f"{name}: not the weights of DenseDepth (DenseNet-169): {'; '.join(listing)}. Give the "
            "published nyu.h5 or kitti.h5."
        )
    for key, weight in wanted.items():
        if found[key].shape != tuple(weight.shape):
            raise DepthModelError(
                f"{name}: {key} has the shape {found[key].shape} instead of {tuple(weight.shape)}: "
                "not the weights of DenseDepth (DenseNet-169)."
            )
        weight.assign(found[key])


def _weights(group: h5py.Group) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the weights in a Keras 2 HDF5 group, by LAYER/WEIGHT as Keras 3 names both."""
    for layer in _names(group, "layer_names"):
        for weight in _names(group[layer], "weight_names"):
            variable = weight.rsplit("/", 1)[-1].removesuffix(":0")
            # Keras 2 called the first layers conv1/conv, conv1/bn, conv1/relu.
            yield f"{layer.replace('/', '_')}/{variable}", np.asarray(group[layer][weight])


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns names, which are bytes or text by the version of h5py that wrote them."""
    names = group.attrs[attribute]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
