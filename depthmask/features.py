"""The features of a dataset's records: features.json, in the form of TensorFlow Datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from depthmask.errors import DatasetError
from depthmask.parsing import JsonObject, ParseError, anything, dict_of, one_of, parse_json, wrong

Encoding = Literal["jpeg", "png"]
PixelType = Literal["uint8", "uint16"]
ScalarType = Literal["bool", "int64"]

_CORE = "tensorflow_datasets.core.features"
_MAX_SIDE = 65535


@dataclass(frozen=True)
class ImageFeature:
    """An encoded picture, `height` × `width` pixels of `channels` (1 or 3) values."""

    height: int
    width: int
    channels: int
    encoding: Encoding
    dtype: PixelType = "uint8"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    def to_json(self) -> dict[str, Any]:
        return {
            "pythonClassName": f"{_CORE}.image_feature.Image",
            "image": {
                "dtype": self.dtype,
                "encodingFormat": self.encoding,
                "shape": {"dimensions": [str(size) for size in self.shape]},
            },
        }

    @classmethod
    def from_json(cls, data: Any, at: str) -> ImageFeature:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        shape = JsonObject(get("shape", anything), f"{at}.shape")
        return cls(
            *shape.get("dimensions", _dimensions),
            get("encodingFormat", one_of(*get_args(Encoding))),
            get("dtype", one_of(*get_args(PixelType))),
        )


@dataclass(frozen=True)
class TextFeature:
    """UTF-8."""

    def to_json(self) -> dict[str, Any]:
        return {"pythonClassName": f"{_CORE}.text_feature.Text", "text": {}}


@dataclass(frozen=True)
class ScalarFeature:
    """A number or a truth value; both are stored as int64."""

    dtype: ScalarType

    def to_json(self) -> dict[str, Any]:
        return {
            "pythonClassName": f"{_CORE}.tensor_feature.Tensor",
            "tensor": {"dtype": self.dtype, "encoding": "none", "shape": {}},
        }


Feature = ImageFeature | TextFeature | ScalarFeature


@dataclass(frozen=True)
class Features:
    """The features of a record by name, in their order. `image` and `mask` are always there."""

    by_name: Mapping[str, Feature]

    @property
    def pictures(self) -> dict[str, ImageFeature]:
        """``image``, ``mask`` and, where the dataset has it, ``depth``."""
        return {
            name: feature
            for name, feature in self.by_name.items()
            if isinstance(feature, ImageFeature)
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "pythonClassName": f"{_CORE}.features_dict.FeaturesDict",
            "featuresDict": {
                "features": {name: feature.to_json() for name, feature in self.by_name.items()}
            },
        }

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> Features:
        """Raises ParseError."""
        outer = JsonObject(data, at).get("featuresDict", anything)
        features = JsonObject(outer, "featuresDict").get("features", dict_of(_feature))
        for name in ("image", "mask"):
            if not isinstance(features.get(name), ImageFeature):
                raise ParseError(f"it has no picture {name}")
        return cls(features)

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Features:
        """Reads a features.json. Raises DatasetError, naming `path`, where it is damaged."""
        try:
            return cls.from_json(parse_json(data))
        except ParseError as error:
            raise DatasetError(f"{path} is damaged: {error}.") from error


def _feature(data: Any, at: str) -> Feature:
    entry = JsonObject(data, at)
    if "image" in data:
        return ImageFeature.from_json(entry.get("image", anything), f"{at}.image")
    if "tensor" in data:
        tensor = JsonObject(entry.get("tensor", anything), f"{at}.tensor")
        return ScalarFeature(tensor.get("dtype", one_of(*get_args(ScalarType))))
    entry.get("text", anything)
    return TextFeature()


def _dimensions(data: Any, at: str) -> tuple[int, int, int]:
    sizes = [
        int(size) if isinstance(size, str) and len(size) <= 5 and size.isdecimal() else 0
        for size in (data if isinstance(data, list) else ())
    ]
    if len(sizes) != 3 or not all(0 < size <= _MAX_SIDE for size in sizes[:2]):
        raise wrong(data, at, "height, width and channels")
    height, width, channels = sizes
    if channels not in (1, 3):
        raise wrong(data, at, "of 1 or 3 channels")
    return height, width, channels
