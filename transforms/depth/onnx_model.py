"""Depth models in the ONNX format."""

from __future__ import annotations

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.model import (
    DepthStage,
    Network,
    check_float32,
    check_one,
    fixed_size,
    only_float32,
)
from transforms.depth.model_files import local_copy


def load_onnx(stage: DepthStage) -> Network:
    """Loads it. Raises DepthModelError."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise DepthModelError(
            f"{stage.model}: reading ONNX needs onnxruntime: pip install 'depthmask[onnx]'."
        ) from error
    only_float32(stage)
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
    with local_copy(stage.model.path) as path:
        try:
            session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:
            raise DepthModelError(
                f"{stage.model}: not an ONNX model that can be loaded: {first_line(error)}."
            ) from error
    check_one(stage, "input", [entry.name for entry in session.get_inputs()])
    check_one(stage, "output", [entry.name for entry in session.get_outputs()])
    (entry,) = session.get_inputs()
    check_float32(stage, "float32" if entry.type == "tensor(float)" else entry.type)
    # What is free has a name, or a number that is no size.
    shape = tuple(
        side if isinstance(side, int) and side > 0 else None for side in entry.shape or ()
    )
    size = stage.input_size(fixed_size(stage, shape))

    def call(values: np.ndarray) -> np.ndarray:
        (output,) = session.run(None, {entry.name: values})
        return np.asarray(output)

    return Network(call, size, shape[0])
