"""Depth models in the ONNX format."""

from __future__ import annotations

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.model import (
    DepthStage,
    ModelChoice,
    Network,
    check_float32,
    check_one,
    fixed_size,
    only_float32,
)
from transforms.depth.model_files import files_at, local_copy


class OnnxModel(ModelChoice):
    """A model that ONNX Runtime runs. Its weights may lie beside it, in FILE.data or FILE_data."""

    kind = "onnx"
    usage = "onnx:FILE.onnx"
    packages = ("onnxruntime",)

    @property
    def files(self) -> dict[str, str]:
        return files_at(self.path, ".data", "_data")

    def load(self, stage: DepthStage) -> Network:
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
        # And on a GPU: no TF32, and no algorithm that a trial happens to find fastest.
        options.use_deterministic_compute = True
        cuda = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        wanted = [("CUDAExecutionProvider", cuda), ("CPUExecutionProvider", {})]
        usable = ort.get_available_providers()
        providers = [provider for provider in wanted if provider[0] in usable]
        if "CUDAExecutionProvider" in usable:
            ort.preload_dlls()  # CUDA's libraries may lie in packages, where only Python finds them
        with local_copy(self.path, self.files) as path:
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
        # ONNX marks dynamic axes by a name or a non-positive number.
        shape = tuple(
            side if isinstance(side, int) and side > 0 else None for side in entry.shape or ()
        )
        size = stage.input_size(fixed_size(stage, shape))

        def call(values: np.ndarray) -> np.ndarray:
            (output,) = session.run(None, {entry.name: values})
            return np.asarray(output)

        return Network(call, size, shape[0])
