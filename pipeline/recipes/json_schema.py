"""The JSON schema of recipe files, by which editors complete, explain and check them."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipeline.recipes.loading import builtin_recipes
from pipeline.recipes.schema import Recipe


def recipe_schema() -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) of a recipe file.

    What it accepts may still be refused: it does not know how keys go together.
    """
    schema = Recipe.model_json_schema(schema_generator=_Generator)
    base = {
        "description": "the recipe of which this one says only what differs",
        "enum": [*builtin_recipes(), None],
        "default": None,
    }
    return {
        "$schema": _Generator.schema_dialect,
        **schema,
        "title": "Recipe of depthmask",
        "properties": {"base": base, **schema["properties"]},
    }


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title would say the key again

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        return value  # in the order in which a recipe has them
