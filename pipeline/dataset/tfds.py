"""The metadata that TensorFlow Datasets reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.dataset.description import DatasetDescription
from transforms.elements import Shard

DATASET_VERSION = "1.0.0"


def features_json(description: DatasetDescription) -> dict[str, Any]:
    """The records' features in the form of tensorflow_datasets' features.json."""
    canvas, recipe = description.recipe.canvas, description.recipe
    features = {
        "id": _text(),
        "image": _image(canvas.height, canvas.width, canvas.channels, recipe.image.format),
        "mask": _image(canvas.height, canvas.width, recipe.masks.channels, recipe.masks.format),
    }
    if description.depth:
        depth, storage = description.depth, recipe.depth
        features["depth"] = _image(
            depth.height, depth.width, storage.channels, storage.codec.format, storage.dtype
        )
    features |= {name: _text() for name in ("background", "background_class", "foreground")}
    features["flip"] = _scalar("bool")
    features |= {name: _scalar("int64") for name in ("placement", "x", "y", "width", "height")}
    return {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }


def _text() -> dict[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.text_feature.Text",
        "text": {},
    }


def _image(
    height: int, width: int, channels: int, encoding: str, dtype: str = "uint8"
) -> dict[str, Any]:
    shape = {"dimensions": [str(height), str(width), str(channels)]}
    return {
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
        "image": {"dtype": dtype, "encodingFormat": encoding, "shape": shape},
    }


def _scalar(dtype: str) -> dict[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {"dtype": dtype, "encoding": "none", "shape": {}},
    }


def dataset_info_json(description: DatasetDescription, shards: Sequence[Shard]) -> dict[str, Any]:
    """The dataset in the form of tensorflow_datasets' dataset_info.json."""
    splits = []
    for name in description.recipe.splits.fractions:
        mine = [shard for shard in shards if shard.key.split == name]
        splits.append(
            {
                "name": name,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": str(sum(shard.bytes for shard in mine)),
                "shardLengths": [str(shard.examples) for shard in mine],
            }
        )
    return {
        "name": "depthmask",
        "version": DATASET_VERSION,
        "description": f"Composites with masks, made by depthmask ({description.recipe.name}).",
        "fileFormat": "tfrecord",
        "splits": splits,
    }
