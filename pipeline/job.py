"""What one run of the main job is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.inputs import InputFolders
from pipeline.recipe import Recipe


@dataclass(frozen=True)
class DepthStage:
    """The depth model of a run, and how many pictures it takes at a time."""

    model_path: str
    batch_size: int


@dataclass(frozen=True)
class Job:
    """The inputs, the recipe and the depth model (a path, or None for no depth)."""

    folders: InputFolders
    recipe: Recipe
    depth_model: str | None
    skip_bad_inputs: bool

    @property
    def depth_stage(self) -> DepthStage | None:
        if self.depth_model is None:
            return None
        return DepthStage(self.depth_model, self.recipe.depth.batch_size)
