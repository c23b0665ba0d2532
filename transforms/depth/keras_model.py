"""Depth models in Keras's own formats, and what runs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.interface import PictureSize
from transforms.depth.model import (
    DepthStage,
    ModelChoice,
    Network,
    check_float32,
    check_one,
    fixed_size,
    only_float32,
)
from transforms.depth.model_files import local_copy
from transforms.quiet import quiet_stderr


class KerasModel(ModelChoice):
    """A ``.keras`` file without Python code of its own, or a SavedModel."""

    kind = "keras"
    usage = "keras:FILE.keras (or a SavedModel folder)"
    packages = ("keras", "tensorflow")

    def load(self, stage: DepthStage) -> Network:
        with local_copy(self.path, self.files) as path:
            if os.path.isdir(path):
                return _load_saved_model(stage, path)
            return load_keras_file(stage, path)


def load_keras_file(stage: DepthStage, path: str) -> Network:
    """Loads a local ``.keras`` file. Raises DepthModelError."""
    keras = import_keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        inputs, outputs = list(model.inputs), list(model.outputs)
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: not a Keras model that can be loaded: {first_line(error)}. Save a "
            "built model with model.save('NAME.keras') or, if it has layers of its own, as a "
            "SavedModel with model.export('NAME')."
        ) from error
    check_one(stage, "input", [tensor.name for tensor in inputs])
    check_one(stage, "output", [tensor.name for tensor in outputs])
    shape = tuple(inputs[0].shape)
    size = stage.input_size(fixed_size(stage, shape))
    return _keras_network(stage, model, size, batch=shape[0])


def _keras_network(stage: DepthStage, model: Any, size: PictureSize, batch: int | None) -> Network:
    """Returns a Keras model as one TensorFlow graph."""
    import keras

    if stage.settings.precision != "float32":
        # The layers that end in the depth stay in float32: 8 bits of mantissa are too few for it.
        exact = _output_layers(model)
        policy = keras.DTypePolicy(f"mixed_{stage.settings.precision}")
        for layer in model._flatten_layers(include_self=False):
            if layer not in exact:
                layer.dtype_policy = policy

    def run(values: Any) -> Any:
        (output,) = keras.tree.flatten(model(values, training=False))
        return output

    return traced_network(stage, run, size, batch)


def _output_layers(model: Any) -> set[Any]:
    """Returns the layers that make a model's output: the last ones with weights and all after."""
    import keras

    found: set[Any] = set()
    pending = list(model.outputs)
    while pending:
        operation = pending.pop()._keras_history.operation
        if operation in found:
            continue
        found.add(operation)
        if isinstance(operation, keras.Model):
            pending += operation.outputs
        elif not getattr(operation, "weights", ()) and not isinstance(
            operation, keras.layers.InputLayer
        ):
            pending += keras.tree.flatten(operation.input)
    return found


def _load_saved_model(stage: DepthStage, path: str) -> Network:
    tf = import_tensorflow()
    only_float32(stage)
    try:
        loaded = tf.saved_model.load(path)  # named, as its variables end with it
        signature = loaded.signatures["serving_default"]
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: not a SavedModel with a serving_default signature: "
            f"{first_line(error)}. Export the model with model.export('NAME')."
        ) from error
    inputs = signature.structured_input_signature[1]
    check_one(stage, "input", list(inputs))
    check_one(stage, "output", list(signature.structured_outputs))
    ((name, spec),) = inputs.items()
    check_float32(stage, spec.dtype.name)
    shape = () if spec.shape.rank is None else tuple(spec.shape)
    fixed = fixed_size(stage, shape)

    def run(values: Any) -> Any:
        (output,) = signature(**{name: values}).values()
        return output

    return traced_network(stage, run, stage.input_size(fixed), shape[0])


def traced_network(
    stage: DepthStage, function: Callable[[Any], Any], size: PictureSize, batch: int | None
) -> Network:
    """Returns a TensorFlow function as one graph.

    Turning weights into constants was 4% faster on a CPU, and doubled a worker's memory.
    """
    import tensorflow as tf

    picture = (size.height, size.width, 3)
    shape = picture if stage.interface.layout == "nhwc" else (3, *picture[:2])
    spec = tf.TensorSpec([batch, *shape], tf.float32)
    graph = tf.function(function, input_signature=[spec])
    try:
        graph.get_concrete_function()
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: the model does not take pictures of {size} pixels "
            f"({stage.interface.layout}, 3 channels): {first_line(error)}. Set depth.input or "
            "depth.model."
        ) from error

    def call(values: np.ndarray) -> np.ndarray:
        return np.asarray(tf.cast(graph(tf.constant(values)), tf.float32))

    return Network(call, size, batch)


def import_keras() -> Any:
    """Returns Keras on TensorFlow, set to compute the same bytes every time."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import_tensorflow()
    with quiet_stderr():
        import keras
    if keras.backend.backend() != "tensorflow":
        raise DepthModelError("Keras runs on another backend here: set KERAS_BACKEND=tensorflow.")
    return keras


def import_tensorflow() -> Any:
    """Returns TensorFlow, set to compute the same bytes every time."""
    with quiet_stderr():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")

    # Threads within an operation change the order of its sums. One, always, and as many worker
    # processes as cores: the same bytes with any number of workers, and no slower (benchmarks/).
    with contextlib.suppress(RuntimeError):  # this process has run TensorFlow already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    with contextlib.suppress(RuntimeError):
        for gpu in gpus:  # take what is needed, not all: a machine may run several workers
            tf.config.experimental.set_memory_growth(gpu, True)
    # On GPUs float32 has the mantissa of float16 by default, and sums are made by whichever
    # algorithm a trial happens to find fastest. Neither here.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.experimental.enable_op_determinism()
    return tf
