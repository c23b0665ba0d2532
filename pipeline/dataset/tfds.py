"""The metadata that TensorFlow Datasets reads."""

from __future__ import annotations

from typing import Any

from depthmask.features import Feature, Features, ImageFeature, ScalarFeature, TextFeature
from depthmask.manifest import DepthMeaning, Manifest
from pipeline.recipes import Recipe

DATASET_VERSION = "1.0.0"


def record_features(recipe: Recipe, depth: DepthMeaning | None) -> Features:
    """Returns the features of the records that `recipe` makes."""
    canvas, masks, storage = recipe.canvas, recipe.masks, recipe.depth
    size = canvas.height, canvas.width
    features: dict[str, Feature] = {
        "id": TextFeature(),
        "image": ImageFeature(*size, canvas.channels, recipe.image.format),
        "mask": ImageFeature(*size, masks.channels, masks.format),
    }
    if depth:
        features["depth"] = ImageFeature(
            depth.height, depth.width, storage.channels, storage.codec.format, storage.dtype
        )
    features |= dict.fromkeys(("background", "background_class", "foreground"), TextFeature())
    features["flip"] = ScalarFeature("bool")
    numbers = ("placement", "x", "y", "width", "height")
    return Features(features | dict.fromkeys(numbers, ScalarFeature("int64")))


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
