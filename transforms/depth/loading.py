"""Loading a depth model, by its kind. A new kind is a function here, and nothing else changes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.interface import PictureSize
from transforms.depth.models import DepthModel, DepthStage, Network, files_of, read_model_file
from transforms.io.files import is_folder, is_local
from transforms.quiet import quiet_stderr


def load_depth_model(stage: DepthStage) -> DepthModel:
    """Loads the model that the stage names. Raises DepthModelError where it cannot be used."""
    return DepthModel(stage, _LOADERS[stage.model.kind](stage))


def builtin_path() -> str:
    """The file of the model that comes with depthmask."""
    return str(resources.files("transforms") / "models" / "builtin.keras")


def _load_builtin(stage: DepthStage) -> Network:
    return _load_keras_file(stage, builtin_path())


def _load_densedepth(stage: DepthStage) -> Network:
    _import_keras()
    from transforms.depth.densedepth import build_densedepth, depth_fraction, load_weights

    size = stage.input_size(None)
    model = build_densedepth(size)
    with _local_copy(stage.model.path) as path:
        load_weights(model, path, str(stage.model))
    return _keras_network(stage, model, size, depth_fraction)


def _load_keras(stage: DepthStage) -> Network:
    _import_keras()
    with _local_copy(stage.model.path) as path:
        if os.path.isdir(path):
            return _saved_model(stage, path)
        return _load_keras_file(stage, path)


def _load_keras_file(stage: DepthStage, path: str) -> Network:
    keras = _import_keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        inputs, outputs = list(model.inputs), list(model.outputs)
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: not a Keras model that can be loaded: {first_line(error)}. Save a "
            "built model with model.save('NAME.keras') or, if it has layers of its own, as a "
            "SavedModel with model.export('NAME')."
        ) from error
    _check_one(stage, "input", [tensor.name for tensor in inputs])
    _check_one(stage, "output", [tensor.name for tensor in outputs])
    shape = tuple(inputs[0].shape)
    size = stage.input_size(_fixed_size(stage, shape))
    return _keras_network(stage, model, size, batch=shape[0])


def _keras_network(
    stage: DepthStage,
    model: Any,
    size: PictureSize,
    finish: Callable[[Any], Any] = lambda output: output,
    batch: int | None = None,
) -> Network:
    """A Keras model, and what follows it, as one graph of TensorFlow."""
    import keras

    if stage.precision != "float32":
        # The layers that give the depth stay in float32: 8 bits of mantissa are too few for it.
        exact = _output_layers(model)
        policy = keras.DTypePolicy(f"mixed_{stage.precision}")
        for layer in model._flatten_layers(include_self=False):
            if layer not in exact:
                layer.dtype_policy = policy

    def run(values: Any) -> Any:
        (output,) = keras.tree.flatten(model(values, training=False))
        return finish(output)

    return _traced_network(stage, run, size, batch)


def _output_layers(model: Any) -> set[Any]:
    """The layers that give a model's output: from the last ones with weights on."""
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


def _saved_model(stage: DepthStage, path: str) -> Network:
    import tensorflow as tf

    _only_float32(stage)
    try:
        loaded = tf.saved_model.load(path)  # named, as its variables end with it
        signature = loaded.signatures["serving_default"]
    except Exception as error:
        raise DepthModelError(
            f"{stage.model}: not a SavedModel with a serving_default signature: "
            f"{first_line(error)}. Export the model with model.export('NAME')."
        ) from error
    inputs = signature.structured_input_signature[1]
    _check_one(stage, "input", list(inputs))
    _check_one(stage, "output", list(signature.structured_outputs))
    ((name, spec),) = inputs.items()
    _check_float32(stage, spec.dtype.name)
    shape = () if spec.shape.rank is None else tuple(spec.shape)
    fixed = _fixed_size(stage, shape)

    def run(values: Any) -> Any:
        (output,) = signature(**{name: values}).values()
        return output

    return _traced_network(stage, run, stage.input_size(fixed), shape[0])


def _traced_network(
    stage: DepthStage, function: Callable[[Any], Any], size: PictureSize, batch: int | None
) -> Network:
    """A function of TensorFlow as one graph.

    Weights made constants were 4% faster on a CPU, and doubled a worker's memory.
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


def _load_onnx(stage: DepthStage) -> Network:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise DepthModelError(
            f"{stage.model}: reading ONNX needs onnxruntime: pip install 'depthmask[onnx]'."
        ) from error
    _only_float32(stage)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # As with TensorFlow: the same sums with any number of workers.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # And as there, on a GPU: no TF32, and no way to sum that a trial finds fastest that day.
    options.use_deterministic_compute = True
    cuda = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    wanted = [("CUDAExecutionProvider", cuda), ("CPUExecutionProvider", {})]
    usable = ort.get_available_providers()
    providers = [provider for provider in wanted if provider[0] in usable]
    if "CUDAExecutionProvider" in usable:
        ort.preload_dlls()  # CUDA's libraries may lie in packages, where only Python finds them
    with _local_copy(stage.model.path) as path:
        try:
            session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:
            raise DepthModelError(
                f"{stage.model}: not an ONNX model that can be loaded: {first_line(error)}."
            ) from error
    _check_one(stage, "input", [entry.name for entry in session.get_inputs()])
    _check_one(stage, "output", [entry.name for entry in session.get_outputs()])
    (entry,) = session.get_inputs()
    _check_float32(stage, "float32" if entry.type == "tensor(float)" else entry.type)
    # What is free has a name, or a number that is no size.
    shape = tuple(
        side if isinstance(side, int) and side > 0 else None for side in entry.shape or ()
    )
    size = stage.input_size(_fixed_size(stage, shape))

    def call(values: np.ndarray) -> np.ndarray:
        (output,) = session.run(None, {entry.name: values})
        return np.asarray(output)

    return Network(call, size, shape[0])


_LOADERS: dict[str, Callable[[DepthStage], Network]] = {
    "builtin": _load_builtin,
    "densedepth": _load_densedepth,
    "keras": _load_keras,
    "onnx": _load_onnx,
}


def _import_keras() -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_stderr():
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    if keras.backend.backend() != "tensorflow":
        raise DepthModelError("Keras runs on another backend here: set KERAS_BACKEND=tensorflow.")

    # Threads within an operation change the order of its sums. One, always, and as many worker
    # processes as cores: the same bytes with any number of workers, and no slower (benchmarks/).
    with contextlib.suppress(RuntimeError):  # this process has run TensorFlow already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    with contextlib.suppress(RuntimeError):
        for gpu in gpus:  # take what is needed, not all: a machine may run several workers
            tf.config.experimental.set_memory_growth(gpu, True)
    # float32 is what it says on GPUs too, where by default it has the mantissa of float16. And of
    # ways to sum there is one, not whichever a trial finds fastest that day.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.experimental.enable_op_determinism()
    return keras


def _only_float32(stage: DepthStage) -> None:
    if stage.precision != "float32":
        raise DepthModelError(
            f"{stage.model}: runs as it was exported; only .keras files and DenseDepth can run in "
            f"{stage.precision}. Set depth.precision to float32."
        )


def _check_float32(stage: DepthStage, dtype: str) -> None:
    if dtype != "float32":
        raise DepthModelError(
            f"{stage.model}: the model takes {dtype}. Export it with an input of float32."
        )


def _check_one(stage: DepthStage, what: str, names: list[str]) -> None:
    if len(names) != 1:
        raise DepthModelError(
            f"{stage.model}: the model has {len(names)} {what}s ({', '.join(names[:5])}). It must "
            f"have one {what}: export it with that alone."
        )


def _fixed_size(stage: DepthStage, shape: tuple[int | None, ...]) -> PictureSize | None:
    """The picture size that a model's input shape prescribes, if it does."""
    if len(shape) != 4:
        raise DepthModelError(
            f"{stage.model}: the model's input has the shape {shape}; it must take "
            "[n, height, width, 3] or, with depth.model.layout nchw, [n, 3, height, width]."
        )
    nhwc = stage.interface.layout == "nhwc"
    channels, height, width = (shape[3], *shape[1:3]) if nhwc else shape[1:]
    if channels not in (3, None):
        other = "nchw" if nhwc else "nhwc"
        hint = f" Set depth.model.layout to {other}." if shape[1 if nhwc else 3] == 3 else ""
        raise DepthModelError(
            f"{stage.model}: the model's input, {shape}, has {channels} channels where "
            f"{stage.interface.layout} has its 3.{hint}"
        )
    if width is None or height is None:
        return None
    return PictureSize(width=width, height=height)


@contextlib.contextmanager
def _local_copy(path: str) -> Iterator[str]:
    """Where the model lies on this machine; it is copied here from elsewhere for the while."""
    files = files_of(path)
    if is_local(path):
        for file in files.values():
            if not os.path.exists(file):
                raise DepthModelError(f"{file}: no such depth model. Check --depth-model.")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        parent = os.path.join(folder, name) if is_folder(path) else folder
        for part, file in files.items():
            local = os.path.join(parent, part)
            os.makedirs(os.path.dirname(local), exist_ok=True)
            with open(local, "wb") as copy:
                copy.write(read_model_file(file))
        yield os.path.join(folder, name)
