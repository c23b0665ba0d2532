"""The kinds of depth models, by the name that the command line calls them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from depthmask.errors import UserError
from pipeline.recipes.schema import Depth
from transforms.depth.builtin import MULTIPLE, load_builtin
from transforms.depth.interface import ModelInterface
from transforms.depth.keras_model import _import_keras, _keras_network, _load_keras
from transforms.depth.model import DepthModel, DepthStage, ModelChoice, Network
from transforms.depth.model_files import local_copy
from transforms.depth.onnx_model import load_onnx

# The sides of DenseDepth's pictures halve five times.
_DENSEDEPTH_MULTIPLE = 32
# The farthest depth that the published weights of DenseDepth were trained for, in metres: of
# rooms (nyu.h5) and of streets (kitti.h5).
_FARTHEST = {"nyu": 10.0, "kitti": 80.0}


def _interface(model: ModelChoice, depth: Depth) -> ModelInterface:
    """What the model takes and gives: declared by the recipe, or known."""
    if model.kind in ("keras", "onnx"):
        return depth.model
    if depth.model.model_copy(update={"unit": None}) != ModelInterface():
        raise UserError(
            f"depth.model describes keras: and onnx: models; what {model.kind} takes and gives is "
            "known. Leave out all of depth.model but unit."
        )
    if model.kind == "builtin":
        return ModelInterface(multiple_of=MULTIPLE, unit=depth.model.unit)
    metres = depth.model.unit or _farthest(model.path)
    if depth.storage == "metric16" and metres > depth.scale * 65535:
        raise UserError(
            f"depth of up to {metres:g} m does not go into 16 bits in steps of {depth.scale:g} m: "
            "set depth.scale larger, such as 0.002."
        )
    return ModelInterface(multiple_of=_DENSEDEPTH_MULTIPLE, unit=metres)


def _farthest(path: str) -> float:
    """Metres, by the name of a published file of weights: what is in it does not say."""
    name = posixpath.basename(path).lower()
    for part, metres in _FARTHEST.items():
        if part in name:
            return metres
    raise UserError(
        f"{path}: are these the weights for rooms or for streets? Set depth.model.unit to 10 (NYU) "
        "or to 80 (KITTI), or give the file its published name."
    )


def load_depth_model(stage: DepthStage) -> DepthModel:
    """Loads the model that the stage names. Raises DepthModelError where it cannot be used."""
    return DepthModel(stage, _LOADERS[stage.model.kind](stage))


def _load_densedepth(stage: DepthStage) -> Network:
    _import_keras()
    from transforms.depth.densedepth import build_densedepth, depth_fraction, load_weights

    size = stage.input_size(None)
    model = build_densedepth(size)
    with local_copy(stage.model.path) as path:
        load_weights(model, path, str(stage.model))
    return _keras_network(stage, model, size, depth_fraction)


_LOADERS: dict[str, Callable[[DepthStage], Network]] = {
    "builtin": load_builtin,
    "densedepth": _load_densedepth,
    "keras": _load_keras,
    "onnx": load_onnx,
}
