"""A finished dataset, as its own files describe it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from depthmask.errors import UserError, first_line
from pipeline.recipes.schema import Recipe
from transforms.io.files import AnyPath, checked_path, join, read_file

_T = TypeVar("_T")


@dataclass(frozen=True)
class Dataset:
    """A dataset folder as its own files describe it."""

    path: str
    manifest: dict[str, Any]
    statistics: dict[str, Any]
    recipe: Recipe

    def file(self, name: str) -> str:
        return join(self.path, name)


def open_dataset(path: AnyPath) -> Dataset:
    """Raises UserError where there is no finished dataset, or one that does not describe itself."""
    path = checked_path(path)
    repair = "verify --repair writes it anew."
    return Dataset(
        path,
        manifest=_described(
            join(path, "manifest.json"),
            json.loads,
            "So this is not a finished dataset: give a folder that generate has finished.",
            "Put it back from a copy, or run generate again with --restart.",
        ),
        statistics=_described(join(path, "statistics.json"), json.loads, repair, repair),
        recipe=_described(join(path, "recipe.yaml"), _parse_recipe, repair, repair),
    )


def _parse_recipe(text: bytes) -> Recipe:
    return Recipe.model_validate(yaml.safe_load(text))


def _described(path: str, parse: Callable[[bytes], _T], if_missing: str, if_damaged: str) -> _T:
    """What a file says of the dataset. Raises UserError where it is missing or damaged."""
    try:
        text = read_file(path)
    except OSError as error:
        raise UserError(f"{path}: there is no such file. {if_missing}") from error
    try:
        return parse(text)
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}. {if_damaged}") from error
