"""Depth models in the ONNX format."""

from __future__ import annotations

import mmap
import os
import posixpath
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.hub_folder import (
    CONFIG,
    PROCESSOR,
    published_input,
    published_licence,
    published_meaning,
)
from transforms.depth.interface import PictureSize
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
from transforms.depth.model_files import check_regular, local_copy
from transforms.depth.onnx_graph import GraphError, external_files
from transforms.io.files import exists, is_folder, is_local, join, read_file

GRAPH = "onnx/model.onnx"
_TYPES = {
    "float": "float32",
    "float16": "float16",
    "double": "float64",
    "uint8": "uint8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}


class OnnxModel(ModelChoice):
    """A model that ONNX Runtime runs: a file, or a folder as Hugging Face's Hub has it.

    Its weights may lie beside it, in the files that it names itself.
    """

    kind = "onnx"
    usage = "onnx:FILE.onnx (or a folder of Hugging Face's Hub)"
    packages = ("onnxruntime",)

    @property
    def files(self) -> dict[str, str]:
        try:
            if not is_folder(self.path):
                folder, name = posixpath.split(self.path)
                return self._graph_files(folder, name)
            described = {
                name: join(self.path, name)
                for name in (PROCESSOR, CONFIG)
                if exists(join(self.path, name))
            }
            return described | self._graph_files(self.path, GRAPH)
        except OSError as error:
            raise DepthModelError(f"{self.path}: cannot be read: {error}") from error

    def _graph_files(self, root: str, graph: str) -> dict[str, str]:
        """Returns the paths of a graph and of its weights by their names within `root`."""
        path = join(root, graph)
        if not exists(path):
            raise DepthModelError(f"{path}: no such depth model. Check --depth-model.")
        check_regular(path)
        found = {graph: path}
        for name in sorted(_external_files(path)):
            inner = PurePosixPath(name)
            if not inner.parts or inner.is_absolute() or {"..", "\\", ":"} & {*inner.parts, *name}:
                raise DepthModelError(
                    f"{path}: keeps weights in {name!r}, which is not in its folder. Export it "
                    "with its weights beside it."
                )
            part = str(PurePosixPath(graph).parent / inner)
            found[part] = join(root, part)
            if not exists(found[part]):
                raise DepthModelError(
                    f"{found[part]}: there is none, but {graph} keeps weights in it. Put it there."
                )
            check_regular(found[part])
        return found

    @property
    def published_licence(self) -> str | None:
        return published_licence(self.path) if is_folder(self.path) else None

    def settled(self, settings: DepthSettings, canvas: PictureSize) -> DepthSettings:
        """Of a folder: with its processor's size and values where the recipe has none."""
        if not is_folder(self.path):
            return settings
        meaning = published_meaning(self.path)
        published = published_input(self.path, canvas)
        return self.settled_by(PROCESSOR, published, meaning, settings)

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
            graph = os.path.join(path, GRAPH) if os.path.isdir(path) else path
            try:
                session = ort.InferenceSession(graph, options, providers=providers)
            except Exception as error:
                raise DepthModelError(
                    f"{stage.model}: not an ONNX model that can be loaded: {first_line(error)}."
                ) from error
        return _network(stage, session)


def _network(stage: DepthStage, session: Any) -> Network:
    inputs = {entry.name: entry for entry in session.get_inputs()}
    pictures = inputs.pop(picture_input(stage, list(inputs)))
    outputs = chosen_outputs(stage, [entry.name for entry in session.get_outputs()])
    dtype = input_type(stage, _type(pictures))
    constants = {}
    for name, entry in inputs.items():
        if _type(entry) not in _TYPES.values():
            raise DepthModelError(
                f"{stage.model}: the input {name} takes {entry.type}: no numbers."
            )
        constants[name] = constant_input(stage, name, _shape(entry), np.dtype(_type(entry)))
    shape = _shape(pictures)
    size = stage.input_size(fixed_size(stage, shape))

    def call(values: np.ndarray) -> NetworkOutput:
        found = session.run(list(outputs.values()), {pictures.name: values, **constants})
        return NetworkOutput(**dict(zip(outputs, map(np.asarray, found), strict=True)))

    return Network(call, size, shape[0] if shape else None, dtype)


def _type(entry: Any) -> str:
    """Returns the type of an input's numbers as NumPy names it, or ONNX Runtime's own word."""
    word = str(entry.type)
    return _TYPES.get(word.removeprefix("tensor(").removesuffix(")"), word)


def _shape(entry: Any) -> tuple[int | None, ...] | None:
    """Returns an input's shape; ONNX marks dynamic axes by a name or a non-positive number."""
    if not entry.shape:  # of an unknown rank, or one number
        return None
    return tuple(side if isinstance(side, int) and side > 0 else None for side in entry.shape)


def _external_files(path: str) -> frozenset[str]:
    try:
        if not is_local(path):
            return external_files(read_file(path))
        with open(path, "rb") as file:
            return external_files(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (GraphError, ValueError):  # it is no graph: whoever loads it says so
        return frozenset()
