"""Manifests of former formats, brought into the form of the present one.

- Format 1: other names and places of what format 2 has.
- Format 2: pictures as Pillow writes PNG, whose recipe had no key for it; empty masks uncounted;
  nothing of the depth model's licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depthmask.parsing import (
    JsonObject,
    anything,
    dict_of,
    optional,
    text,
    tuple_of,
    wrong,
)

# Of the recipe's depth.model, by their names of today.
_RENAMED = {"channel_order": "channels", "input_max": "white", "output": "gives"}
_object = dict_of(anything)
_objects = tuple_of(_object)


def as_present(data: Any) -> Any:
    """Returns the JSON of a manifest of a former format as the present one has it.

    Other data is returned as it is, and so is what this does not look at. Raises ParseError.
    """
    for version, to_next in ((1, _from_1), (2, _from_2)):
        if isinstance(data, dict) and data.get("format") == version:
            data = to_next(data) | {"format": version + 1}
    return data


def _from_1(data: Any) -> dict[str, Any]:
    get = JsonObject(data, "").get
    run, depth = JsonObject(get("run", _object), "run"), get("depth", optional(_object))
    recipe, model = run.get("recipe", _object), run.get("depth_model", optional(_object))
    settings = JsonObject(recipe, "run.recipe").get("depth", _object)
    interface = JsonObject(settings, "run.recipe.depth").get("model", _object)
    for now, then in _RENAMED.items():
        if then in interface:
            interface[now] = interface.pop(then)
    if model and model.get("kind") == "builtin":
        model["name"] = ""
    if depth and model:
        depth["model"] = ":".join(filter(None, (str(model.get("kind")), str(model.get("name")))))
    provenance = {
        "recipe": recipe | {"depth": settings | {"model": interface}},
        "inputs": run.get("inputs", _object),
        "depth_model": model,
        "versions": run.get("made_with", _object),
    }
    files = get("files", dict_of(_object))
    return {
        **data,
        "provenance": provenance,
        "depth": depth,
        "input_tally": _tally(get("input_moments", _object)),
        "files": {name: file.get("crc32c") for name, file in files.items()},
        "shards": _shards_from_1(get("shards", _objects)),
    }


def _shards_from_1(shards: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Adds what was in their names alone: which of how many of its split each is."""
    found = []
    for number, shard in enumerate(shards):
        get = JsonObject(shard, f"shards[{number}]").get
        _, _, place = get("file", text).rpartition(".tfrecord-")
        first, _, of = place.partition("-of-")
        if not (first.isdecimal() and of.isdecimal() and len(place) < 100):
            raise wrong(shard["file"], f"shards[{number}].file", "the name of a shard")
        tally = _tally(get("moments", _object), get("picture_bytes", _object))
        tally["left_out"] = get("left_out", anything)
        found.append(shard | {"number": int(first), "of": int(of), "tally": tally})
    return found


def _tally(
    moments: Mapping[str, Any], picture_bytes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"moments": moments, "picture_bytes": picture_bytes or {}, "left_out": []}


def _from_2(data: Any) -> dict[str, Any]:
    get = JsonObject(data, "").get
    provenance = get("provenance", _object)
    recipe = JsonObject(provenance, "provenance").get("recipe", _object)
    none, uncounted = {"empty_masks": 0}, {"empty_masks": None}
    depth = get("depth", optional(_object))
    return {
        **data,
        "depth": depth and {"licence": None} | depth,
        "provenance": provenance | {"recipe": {"compression": "pillow"} | recipe},
        "input_tally": none | get("input_tally", _object),
        "shards": [
            shard | {"tally": uncounted | JsonObject(shard, "shards").get("tally", _object)}
            for shard in get("shards", _objects)
        ],
    }
