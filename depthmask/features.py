"""features.json: the features of a dataset's records, and how their pictures are stored."""

from __future__ import annotations

import re
from typing import Any

from depthmask.errors import DatasetError
from depthmask.parsing import (
    JsonObject,
    ParseError,
    anything,
    dict_of,
    one_of,
    parse_json,
    text,
    tuple_of,
    wrong,
)

PICTURES = ("image", "mask", "depth")
_MAX_SIDE = 65535


def parse_features(data: bytes, path: str) -> dict[str, Any]:
    """Returns the features by name, each as features.json has it, and checked.

    `path`: the file's, for messages. Raises DatasetError for what is no such file.
    """
    try:
        root = JsonObject(parse_json(data), "").get("featuresDict", anything)
        features = JsonObject(root, "featuresDict").get("features", dict_of(_feature))
        for name in (*PICTURES[:2], *(features.keys() & set(PICTURES))):
            if "image" not in features.get(name, {}):
                raise ParseError(f"featuresDict.features.{name} is no picture")
    except ParseError as error:
        raise DatasetError(
            f"{path} is damaged: {error}. Put it back from a copy, or run: depthmask verify "
            "--repair with the dataset's folder."
        ) from error
    return features


def _feature(data: Any, at: str) -> dict[str, Any]:
    feature = JsonObject(data, at)
    if "image" in data:
        feature.get("image", _picture)
    elif "tensor" in data:
        JsonObject(data["tensor"], f"{at}.tensor").get("dtype", one_of("bool", "int64"))
    elif "text" not in data:
        raise wrong(data, at, "a picture, a number or text")
    return dict(data)


def _picture(data: Any, at: str) -> None:
    get = JsonObject(data, at).get
    get("dtype", one_of("uint8", "uint16"))
    get("encodingFormat", one_of("jpeg", "png"))
    shape = JsonObject(get("shape", anything), f"{at}.shape")
    sides = shape.get("dimensions", tuple_of(_side))
    if len(sides) != 3 or sides[2] not in (1, 3):
        raise wrong(list(sides), f"{at}.shape.dimensions", "height, width and 1 or 3 channels")


def _side(data: Any, at: str) -> int:
    digits = text(data, at)
    if not re.fullmatch("[1-9][0-9]{0,4}", digits) or int(digits) > _MAX_SIDE:
        raise wrong(data, at, f"a whole number from 1 to {_MAX_SIDE}, as text")
    return int(digits)
