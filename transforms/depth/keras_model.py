"""Depth models in Keras's own formats, and what runs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.interface import PictureSize
from transforms.depth.keras_preset import CONVERTER, preset_input, preset_meaning
from transforms.depth.model import (
    DepthSettings,
    DepthStage,
    ModelChoice,
    Network,
    NetworkOutput,
    chosen_outputs,
    constant_input,
    fixed_size,
    input_type,
    only_float32,
    picture_input,
)
from transforms.depth.model_files import local_copy
from transforms.io.files import exists, is_folder, join
from transforms.quiet import quiet_stderr


class KerasModel(ModelChoice):
    """A ``.keras`` file without Python code of its own, or a SavedModel.

    A SavedModel may lie in the folder of its preset of KerasHub, which says how it sees pictures.
    """

    kind = "keras"
    usage = "keras:FILE.keras (or a SavedModel folder)"
    packages = ("keras", "tensorflow")

    def settled(self, settings: DepthSettings, canvas: PictureSize) -> DepthSettings:
        """Of a preset of KerasHub: with its size and values where the recipe has none."""
        if not (is_folder(self.path) and exists(join(self.path, CONVERTER))):
            return settings
        meaning = preset_meaning(self.path)
        published = preset_input(self.path, canvas)
        return self.settled_by(CONVERTER, published, meaning, settings)

    def load(self, stage: DepthStage) -> Network:
        with local_copy(self.path, self.files) as path:
            if os.path.isdir(path):
                return _load_saved_model(stage, path)
            return load_keras_file(stage, path)


def load_keras_file(stage: DepthStage, path: str) -> Network:
    """Loads a local ``.keras`` file. Raises DepthModelError."""
    with open(path, "rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise DepthModelError(
                f"{stage.model}: an HDF5 file, as Keras 2 wrote them. If it is DenseDepth, give it "
                f"as densedepth:{stage.model.path}; else save it with model.save('NAME.keras')."
            )
    keras = import_keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        inputs, outputs = (
            _named(model, model.inputs, "input"),
            _named(model, model.outputs, "output"),
        )
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: not a Keras model that can be loaded: {_reason(error)} Save a "
            "built model with model.save('NAME.keras') or, if it has layers of its own, as a "
            "SavedModel with model.export('NAME')."
        ) from error
    pictures = inputs[picture_input(stage, list(inputs))]
    chosen = chosen_outputs(stage, list(outputs))
    shape = tuple(pictures.shape)
    size = stage.input_size(fixed_size(stage, shape))
    dtype = input_type(stage, str(pictures.dtype))
    constants = {
        name: constant_input(stage, name, tuple(tensor.shape)[1:], np.dtype(tensor.dtype))
        for name, tensor in inputs.items()
        if tensor is not pictures
    }
    _set_precision(stage, model)
    order = list(outputs)

    def run(values: Any) -> dict[str, Any]:
        n = keras.ops.shape(values)[0]
        given = [
            values if tensor is pictures else keras.ops.repeat(constants[name][None], n, axis=0)
            for name, tensor in inputs.items()
        ]
        found = keras.tree.flatten(model(given if constants else values, training=False))
        return {what: found[order.index(name)] for what, name in chosen.items()}

    return traced_network(stage, run, size, shape[0], dtype)


# The first bytes of an HDF5 file.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def _named(model: Any, tensors: Sequence[Any], what: str) -> dict[str, Any]:
    """Returns a model's inputs or outputs by name: the keys where the model has a mapping of them.

    In the order in which Keras flattens them.
    """
    import keras

    structure = getattr(model, f"_{what}s_struct", None)
    if isinstance(structure, dict):
        paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
        return dict(zip(("/".join(map(str, path)) for path in paths), tensors, strict=True))
    names = [tensor.name for tensor in tensors]
    if what == "output" and len(set(getattr(model, "output_names", names))) == len(names):
        names = list(getattr(model, "output_names", names))
    return dict(zip(names, tensors, strict=True))


def _reason(error: Exception) -> str:
    """Returns the line of Keras's error that says why, without the configuration around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = [line for line in lines if line.startswith("Exception encountered:")]
    said = why[-1].removeprefix("Exception encountered:").strip() if why else first_line(error)
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
    return said if said.endswith((".", "…")) else f"{said}."


# More of an error is a configuration, not a reason.
_LONGEST = 300


def _set_precision(stage: DepthStage, model: Any) -> None:
    """Has the layers compute in the precision of the recipe, whatever the file was saved in."""
    import keras

    precision = stage.settings.precision
    layers = model._flatten_layers(include_self=False)
    if precision == "float32":
        for layer in layers:
            if layer.compute_dtype in ("float16", "bfloat16"):
                layer.dtype_policy = keras.DTypePolicy("float32")
        return
    # The layers that end in the depth stay in float32: 8 bits of mantissa are too few for it.
    exact = _output_layers(model)
    policy = keras.DTypePolicy(f"mixed_{precision}")
    for layer in layers:
        if layer not in exact:
            layer.dtype_policy = policy


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
    name = picture_input(stage, list(inputs))
    chosen = chosen_outputs(stage, list(signature.structured_outputs))
    shapes = {
        key: None if spec.shape.rank is None else tuple(spec.shape) for key, spec in inputs.items()
    }
    fixed = fixed_size(stage, shapes[name])
    dtype = input_type(stage, inputs[name].dtype.name)
    constants = {
        key: tf.constant(constant_input(stage, key, shapes[key], spec.dtype.as_numpy_dtype()))
        for key, spec in inputs.items()
        if key != name
    }

    def run(values: Any) -> dict[str, Any]:
        found = signature(**{name: values}, **constants)
        return {what: found[output] for what, output in chosen.items()}

    batch = (shapes[name] or (None,))[0]
    return traced_network(stage, run, stage.input_size(fixed), batch, dtype)


def traced_network(
    stage: DepthStage,
    function: Callable[[Any], dict[str, Any]],
    size: PictureSize,
    batch: int | None,
    dtype: type[np.generic] = np.float32,
) -> Network:
    """Returns a TensorFlow function, of tensors by the names in `NetworkOutput`, as one graph.

    Turning weights into constants was 4% faster on a CPU, and doubled a worker's memory.
    """
    import tensorflow as tf

    picture = (size.height, size.width, 3)
    shape = picture if stage.interface.layout == "nhwc" else (3, *picture[:2])
    spec = tf.TensorSpec([batch, *shape], tf.as_dtype(dtype))
    graph = tf.function(function, input_signature=[spec])
    try:
        graph.get_concrete_function()
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: the model does not take pictures of {size} pixels "
            f"({stage.interface.layout}, 3 channels): {_reason(error)} Set depth.input or "
            "depth.model."
        ) from error

    def call(values: np.ndarray) -> NetworkOutput:
        found = graph(tf.constant(values))
        return NetworkOutput(
            **{what: np.asarray(tf.cast(value, tf.float32)) for what, value in found.items()}
        )

    return Network(call, size, batch, dtype)


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
