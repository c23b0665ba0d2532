"""What a user asks for: pictures, a recipe, a depth model. Checked without Beam, so quickly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from depthmask.errors import UserError
from pipeline.inputs import SAME_NAME, InputFolders
from pipeline.recipes import Recipe, load_recipe
from transforms.depth import BuiltinModel, ModelChoice, parse_model
from transforms.io.files import AnyPath, checked_path

DEFAULT_RECIPE = "default"
DEFAULT_MODEL = BuiltinModel.kind


@dataclass(frozen=True)
class Request:
    """The folders of pictures, the recipe and the depth model (None: no depth).

    The recipe is settled: it names where masks come from.
    """

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
        mask_name: str = SAME_NAME,
        background_depths: AnyPath | None = None,
        recipe: AnyPath | Recipe = DEFAULT_RECIPE,
        settings: Mapping[str, Any] | Iterable[str] = (),
        depth_model: str | None = DEFAULT_MODEL,
        depth_model_licence: str | None = None,
        skip_bad_inputs: bool = False,
    ) -> Request:
        """Makes a request of what the command line or a program names.

        `mask_name`: as `InputFolders` has it. `recipe` and `settings`: as `load_recipe` takes them.
        `depth_model`, `depth_model_licence`: as --depth-model and --depth-model-licence; they say
        nothing where depth is measured.
        Raises UserError for a recipe, a model or a path that cannot be used.
        """
        folders = InputFolders(
            checked_path(backgrounds),
            checked_path(foregrounds),
            None if masks is None else checked_path(masks),
            mask_name,
            None if background_depths is None else checked_path(background_depths),
        )
        model = None if depth_model is None else parse_model(depth_model, depth_model_licence)
        if background_depths is not None:
            if depth_model not in (None, "none", DEFAULT_MODEL):
                raise UserError(
                    f"depth is measured (--background-depths) or estimated (--depth-model "
                    f"{depth_model}): leave out one of them."
                )
            model = None
        return cls(
            folders, _settled(load_recipe(recipe, settings), folders), model, skip_bad_inputs
        )


def _settled(recipe: Recipe, folders: InputFolders) -> Recipe:
    """Returns the recipe as the folders settle it: "given" masks are named, measured depth is of
    backgrounds.
    """
    if folders.background_depths is not None:
        depth = recipe.depth.model_copy(update={"of": "background"})
        recipe = recipe.model_copy(update={"depth": depth})
    if recipe.masks.source != "given":
        return recipe
    source = "alpha" if folders.masks is None else "file"
    masks = recipe.masks.model_copy(update={"source": source})
    return recipe.model_copy(update={"masks": masks})
