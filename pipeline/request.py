"""What a user asks for: pictures, a recipe, a depth model. Checked without Beam, so at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.inputs.folders import InputFolders
from pipeline.recipes.loading import load_recipe
from pipeline.recipes.schema import Recipe
from transforms.depth.builtin import BuiltinModel
from transforms.depth.kinds import parse_model
from transforms.depth.model import ModelChoice
from transforms.io.files import AnyPath, checked_path

DEFAULT_RECIPE = "default"
DEFAULT_MODEL = BuiltinModel.kind


@dataclass(frozen=True)
class Request:
    """The folders of pictures, the recipe and the depth model (None: no depth)."""

    folders: InputFolders
    recipe: Recipe
    depth_model: ModelChoice | None
    skip_bad_inputs: bool

    @classmethod
    def of(
        cls,
        backgrounds: AnyPath,
        foregrounds: AnyPath,
        *,
        masks: AnyPath | None = None,
        recipe: AnyPath | Recipe = DEFAULT_RECIPE,
        settings: Mapping[str, Any] | Iterable[str] = (),
        depth_model: str | None = DEFAULT_MODEL,
        skip_bad_inputs: bool = False,
    ) -> Request:
        """Raises UserError for a recipe, a model or a path that cannot be."""
        folders = InputFolders(
            checked_path(backgrounds),
            checked_path(foregrounds),
            None if masks is None else checked_path(masks),
        )
        return cls(
            folders,
            _settled(load_recipe(recipe, settings), folders),
            None if depth_model is None else parse_model(depth_model),
            skip_bad_inputs,
        )


def _settled(recipe: Recipe, folders: InputFolders) -> Recipe:
    """The recipe, saying of "given" masks what is given."""
    if recipe.masks.source != "given":
        return recipe
    source = "alpha" if folders.masks is None else "file"
    masks = recipe.masks.model_copy(update={"source": source})
    return recipe.model_copy(update={"masks": masks})
