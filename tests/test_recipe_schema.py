"""The JSON schema of recipes, against a validator of others and against what the loader takes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pipeline.cli import main
from pipeline.recipes import Recipe, builtin_recipes, load_recipe, recipe_schema
from tests.conftest import ROOT

SCHEMA = recipe_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SIZES = (
    {"mode": "fixed", "width": 9, "height": 9},
    {"mode": "height", "height": 9, "max_width": 9},
    {"mode": "max_side", "max_side": 9},
    {"mode": "canvas_fraction", "fraction": 0.25},
    {"mode": "native"},
)
# What a key may be given by mistake. Not 1.0 for 1, which JSON Schema holds for a whole number.
ODD = ("word", 1.5, -1, 10**6, True, None, [1, 2], {"width": 9})


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_described():
    sections = {"recipe": SCHEMA, **SCHEMA["$defs"]}
    silent = [
        f"{section}.{key}"
        for section, content in sections.items()
        for key, value in content.get("properties", {}).items()
        if "description" not in value
        and "description" not in sections[value["$ref"].rpartition("/")[2]]
    ]
    assert silent == []
    assert len(sections) > 12 and set(SCHEMA["properties"]) == {"base", *Recipe.model_fields}


def test_every_recipe_of_ours_is_taken():
    files = sorted((ROOT / "pipeline" / "recipes").glob("*.yaml"))
    recipes = [yaml.safe_load(file.read_text("utf-8")) for file in files]
    for name in builtin_recipes():
        recipes.append(yaml.safe_load(load_recipe(name).to_yaml()))
    fragments = [
        yaml.safe_load(text)
        for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for text in re.findall(r"^```yaml\n(.*?)^```$", document.read_text("utf-8"), re.M | re.S)
    ]
    recipes += [part for part in fragments if part.keys() <= SCHEMA["properties"].keys()]
    assert len(recipes) > 2 * len(files) + 8 and len(files) == 6
    for recipe in recipes:
        VALIDATOR.validate(recipe)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size["mode"])
def test_the_schema_refuses_what_the_loader_refuses_for_a_key_or_its_value(size: dict[str, Any]):
    recipe = yaml.safe_load(load_recipe("default", {"foregrounds.size": size}).to_yaml())
    keys = recipe if size == SIZES[0] else ["foregrounds"]  # the others once
    refused = 0
    for what, changed in (pair for key in keys for pair in _changed({key: recipe[key]})):
        by_schema, by_loader = not VALIDATOR.is_valid(changed), _refused(changed)
        # How keys go together, the schema does not know.
        assert by_schema <= (by_loader is not None), (what, "taken, though the schema refuses it")
        assert by_schema or by_loader in (None, "together"), (what, "the schema takes it")
        refused += by_schema
    assert refused > 50


def _refused(recipe: dict[str, Any]) -> str | None:
    """Why the loader refuses a recipe: of a key or value by itself, or of several together."""
    try:
        Recipe.model_validate(recipe)
    except ValidationError as error:
        kinds = {problem["type"] for problem in error.errors(include_url=False)}
        return "together" if kinds == {"value_error"} else "alone"
    return None


def _changed(recipe: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The recipe with each of its keys wrong in turn, and what was done to it."""
    for path in list(_paths(recipe)):
        *above, key = path
        for value in ODD:
            if path == ("masks", "channels") and value is True:
                continue  # pydantic takes it for the 1 of a choice, and makes it that
            changed = copy.deepcopy(recipe)
            _at(changed, above)[key] = value
            yield f"{path}: {value!r}", changed
        changed = copy.deepcopy(recipe)
        section = _at(changed, above)
        if isinstance(section, dict):
            section[f"{key}_"] = section.pop(key)
            yield f"{path} under another name", changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inner, (*path, key))


def _at(value: Any, path: list[Any]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
