"""The kinds of depth models, by the name that the command line calls them."""

from __future__ import annotations

from collections.abc import Callable

from depthmask.errors import UserError
from pipeline.recipes.schema import Depth
from transforms.depth import builtin, densedepth
from transforms.depth.interface import ModelInterface
from transforms.depth.keras_model import _load_keras
from transforms.depth.model import DepthModel, DepthStage, ModelChoice, Network
from transforms.depth.onnx_model import load_onnx


def _interface(model: ModelChoice, depth: Depth) -> ModelInterface:
    """What the model takes and gives: declared by the recipe, or known."""
    if model.kind in ("keras", "onnx"):
        return depth.model
    known = ModelInterface(upsampling=depth.model.upsampling)
    if depth.model.model_copy(update={"unit": None}) != known:
        raise UserError(
            f"depth.model describes keras: and onnx: models; what {model.kind} takes and gives is "
            "known. Leave out all of depth.model but unit and upsampling."
        )
    if model.kind == "builtin":
        return ModelInterface(multiple_of=builtin.MULTIPLE, unit=depth.model.unit)
    metres = depth.model.unit or densedepth.farthest_depth(model.path)
    if depth.storage == "metric16" and metres > depth.scale * 65535:
        raise UserError(
            f"depth of up to {metres:g} m does not go into 16 bits in steps of {depth.scale:g} m: "
            "set depth.scale larger, such as 0.002."
        )
    return known.model_copy(update={"multiple_of": densedepth.MULTIPLE, "unit": metres})


def load_depth_model(stage: DepthStage) -> DepthModel:
    """Loads the model that the stage names. Raises DepthModelError where it cannot be used."""
    return DepthModel(stage, _LOADERS[stage.model.kind](stage))


_LOADERS: dict[str, Callable[[DepthStage], Network]] = {
    "builtin": builtin.load_builtin,
    "densedepth": densedepth.load_densedepth,
    "keras": _load_keras,
    "onnx": load_onnx,
}
