"""What one run of the main job is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.inputs.folders import InputFolders
from pipeline.recipes.schema import Recipe
from transforms.depth.interface import PictureSize
from transforms.depth.model import DepthStage, ModelChoice


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
    canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
    return DepthStage(model, model.interface(recipe.depth), recipe.depth, canvas)
