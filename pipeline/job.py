"""What one run of the main job is asked to do."""

from __future__ import annotations

import math
import posixpath
from dataclasses import dataclass

from depthmask.errors import UserError
from pipeline.inputs import InputFolders
from pipeline.recipe import Depth, Recipe
from transforms.depth.interface import ModelInterface, PictureSize
from transforms.depth.models import DepthStage, ModelChoice

# What the model that comes with depthmask was made for: docs/builtin-model.md.
_BUILTIN_SIDE, _BUILTIN_MULTIPLE = 224, 32
# The sides of DenseDepth's pictures halve five times.
_DENSEDEPTH_MULTIPLE = 32
# The farthest depth that the published weights of DenseDepth were trained for, in metres: of
# rooms (nyu.h5) and of streets (kitti.h5).
_FARTHEST = {"nyu": 10.0, "kitti": 80.0}


@dataclass(frozen=True)
class Job:
    """The inputs, the recipe and the depth model (None for no depth)."""

    folders: InputFolders
    recipe: Recipe
    depth_model: ModelChoice | None
    skip_bad_inputs: bool

    @property
    def depth_stage(self) -> DepthStage | None:
        """Raises UserError where the recipe does not go with the model."""
        return depth_stage(self.depth_model, self.recipe) if self.depth_model else None


def depth_stage(model: ModelChoice, recipe: Recipe) -> DepthStage:
    """How `model` is run for `recipe`. Raises UserError where the two do not go together."""
    depth = recipe.depth
    canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
    return DepthStage(
        model=model,
        interface=_interface(model, depth),
        storage=depth,
        canvas=canvas,
        input=depth.input or (_builtin_input(canvas) if model.kind == "builtin" else None),
        batch_size=depth.batch_size,
        precision=depth.precision,
    )


def _builtin_input(canvas: PictureSize) -> PictureSize:
    """The canvas, in its shape, at the number of pixels that the builtin model knows best."""
    factor = _BUILTIN_SIDE / math.sqrt(canvas.width * canvas.height)
    width, height = (
        max(_BUILTIN_MULTIPLE, round(side * factor / _BUILTIN_MULTIPLE) * _BUILTIN_MULTIPLE)
        for side in (canvas.width, canvas.height)
    )
    return PictureSize(width=width, height=height)


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
        return ModelInterface(multiple_of=_BUILTIN_MULTIPLE, unit=depth.model.unit)
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
