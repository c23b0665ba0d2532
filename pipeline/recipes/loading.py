"""Recipes from files and settings, and what is wrong with them."""

from __future__ import annotations

import copy
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from depthmask.errors import UserError
from pipeline.recipes.schema import Recipe
from transforms.io.files import checked_path, is_local, open_file

_Schema = TypeVar("_Schema", bound=BaseModel)
_MAX_BYTES = 64 * 2**10
_MAX_DIGITS = 50
_MAX_DEPTH = 20
# What a value within another begins and ends with.
_STARTS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def builtin_recipes() -> list[str]:
    """Returns the names of the recipes that come with depthmask."""
    folder = resources.files("pipeline") / "recipes"
    return sorted(
        Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(
    recipe: str | os.PathLike[str] | Recipe, settings: Mapping[str, Any] | Iterable[str] = ()
) -> Recipe:
    """Returns the recipe of that name or in that file, or the one given, with settings on top.

    `settings`: texts ``KEY.PATH=VALUE``, or a mapping from ``KEY.PATH`` to values. A recipe's
    ``base`` is the name of one that comes with depthmask, of which it says only what differs.
    Raises UserError for a recipe that cannot be: names the key, its value and what would be right.
    """
    if isinstance(recipe, Recipe):
        data, source = recipe.model_dump(mode="json"), f"recipe {recipe.name}"
    else:
        data, source = _read_recipe(os.fspath(recipe))
        data = _with_base(data, source)
    for setting in _settings(settings):
        _apply(data, setting)
        source += f" with {setting}"
    return validate(Recipe, data, source)


def _read_recipe(name_or_path: str) -> tuple[dict[str, Any], str]:
    if name_or_path in builtin_recipes():
        text = (resources.files("pipeline") / "recipes" / f"{name_or_path}.yaml").read_text("utf-8")
        source = f"recipe {name_or_path}"
    else:
        source = name_or_path
        try:
            path = checked_path(source)
            # Of local ones pipes too, such as a shell's <(…).
            with open(path, "rb") if is_local(path) else open_file(path) as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise UserError(f"{source}: larger than {_MAX_BYTES >> 10} KiB: not a recipe.")
            text = content.decode("utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else "not a text file"
            raise UserError(
                f"recipe {name_or_path!r} cannot be read ({reason}). Give a YAML file or one of: "
                f"{', '.join(builtin_recipes())}."
            ) from error
    data = parse_yaml(text, source)
    if not isinstance(data, dict):
        raise UserError(f"{source}: a recipe is a mapping of keys such as canvas and placements.")
    return data, source


def _with_base(data: dict[str, Any], source: str) -> dict[str, Any]:
    """`data` on top of its base: section by section, key by key; what a key says replaces whole."""
    own = dict(data)
    base = own.pop("base", None)
    if base is None:
        return own
    if base not in builtin_recipes():
        raise UserError(f"{source}: base is {base!r}: give one of: {', '.join(builtin_recipes())}.")
    merged = _with_base(*_read_recipe(base))
    merged.pop("name", None)
    for key, value in own.items():
        inherited = merged.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            merged[key] = {**inherited, **value}
        else:
            merged[key] = value
    return merged


class _Loader(yaml.SafeLoader):
    """Loads plain data, as `yaml.safe_load` does.

    Refuses a key that is given twice, and a number without end.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        # Those of thousands of digits take long to read, and some cannot be shown.
        if len(node.value) > _MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number has more than {_MAX_DIGITS} digits", node.start_mark
            )
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def parse_yaml(text: str, source: str) -> Any:
    """Plain data from YAML: no objects, and nothing that a few lines can make explode.

    Raises UserError, naming the `source`.
    """
    depth = 0
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken):
                raise UserError(f"{source}: aliases (*name) are not allowed. Write the value out.")
            depth += isinstance(token, _STARTS) - isinstance(token, _ENDS)
            if depth > _MAX_DEPTH:
                raise UserError(f"{source}: nested too deeply.")
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise UserError(f"{source}: not YAML: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class _Setting:
    """A value for a key of the recipe, and how the user wrote the two."""

    key: str
    value: Any
    text: str

    def __str__(self) -> str:
        return f"--set {self.text}"


def _settings(settings: Mapping[str, Any] | Iterable[str]) -> Iterator[_Setting]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield _Setting(key, copy.deepcopy(value), f"{key}={value}")
        return
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: give KEY.PATH=VALUE, such as placements.per_pair=5.")
        yield _Setting(key, parse_yaml(value, f"--set {text}"), text)


def _apply(data: dict[str, Any], setting: _Setting) -> None:
    *parents, last = setting.key.split(".")
    if not all([*parents, last]):
        raise UserError(f"{setting}: give KEY.PATH=VALUE, such as placements.per_pair=5.")
    section = data
    for parent in parents:
        child = section.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"{setting}: {parent} is a value, not a section.")
        section = child
    section[last] = setting.value


def validate(schema: type[_Schema], data: Mapping[str, Any], source: str) -> _Schema:
    """Returns what `data` says by a schema. Raises UserError, with all that is wrong with it."""
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        problems = [_explain(problem, schema) for problem in error.errors(include_url=False)]
        raise UserError("\n".join([f"{source} cannot be used:", *problems])) from error


# What pydantic says in terms of Python.
_WANTED = {
    "tuple_type": "a list of numbers, such as [1, 2]",
    "model_type": "a section of keys",
    "model_attributes_type": "a section of keys",
    "dict_type": "a section of keys",
    "list_type": "a list",
    "string_type": "text: put it in quotes",
}


def _explain(problem: Mapping[str, Any], schema: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    # pydantic names the chosen kind of size in the path; the user wrote no such key.
    mode = location.pop(2) if location[:2] == ["foregrounds", "size"] and location[2:] else None
    key = ".".join(location)
    if mode and problem["type"] in ("extra_forbidden", "missing"):
        wrong = "does not go with" if problem["type"] == "extra_forbidden" else "is needed by"
        return (
            f"  {key}: {wrong} mode {mode}. Set the section whole, such as "
            "--set 'foregrounds.size={mode: max_side, max_side: 150}'"
        )
    if problem["type"] == "extra_forbidden":
        return f"  {key}: no such key. {_known_keys(location, schema)}"
    if problem["type"] in _WANTED:
        shown = reprlib.repr(problem["input"])
        return f"  {key}: is {shown}, and must be {_WANTED[problem['type']]}"
    if problem["type"] == "value_error":
        return f"  {key + ': ' if key else ''}{problem['ctx']['error']}"
    shown = "" if problem["type"] == "missing" else f" (it is {reprlib.repr(problem['input'])})"
    return f"  {key}: {problem['msg'][0].lower()}{problem['msg'][1:]}{shown}"


def _known_keys(location: list[str], schema: type[BaseModel]) -> str:
    section = schema
    for part in location[:-1]:
        if part.isdecimal():  # in a list
            continue
        annotation = section.model_fields[part].annotation
        kinds = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if len(kinds) != 1:
            return ""
        section = kinds[0]
    return f"There are: {', '.join(section.model_fields)}."
