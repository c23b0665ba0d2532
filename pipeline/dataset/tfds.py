"""The metadata that TensorFlow Datasets reads."""

from __future__ import annotations

from typing import Any

from depthmask.manifest import DepthMeaning, Manifest
from pipeline.recipes import Recipe

DATASET_VERSION = "1.0.0"


def features_json(recipe: Recipe, depth: DepthMeaning | None) -> dict[str, Any]:
    """Returns the records' features in the form of tensorflow_datasets' features.json."""
    canvas = recipe.canvas
    features = {
        "id": _text(),
        "image": _image(canvas.height, canvas.width, canvas.channels, recipe.image.format),
        "mask": _image(canvas.height, canvas.width, recipe.masks.channels, recipe.masks.format),
    }
    if depth:
        storage = recipe.depth
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


def dataset_info_json(recipe_name: str, manifest: Manifest) -> dict[str, Any]:
    """Returns the dataset in the form of tensorflow_datasets' dataset_info.json."""
    splits = []
    for name in manifest.splits:
        shards = manifest.shards_of(name)
        splits.append(
            {
                "name": name,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": str(sum(shard.bytes for shard in shards)),
                "shardLengths": [str(shard.examples) for shard in shards],
            }
        )
    return {
        "name": "depthmask",
        "version": DATASET_VERSION,
        "description": f"Composites with masks, made by depthmask ({recipe_name}).",
        "fileFormat": "tfrecord",
        "splits": splits,
    }
