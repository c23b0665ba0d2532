"""What describes a dataset: manifest, statistics, TFDS metadata, index; see card.py too."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from depthmask.manifest import CARD, FORMAT_VERSION, INDEX_COLUMNS, MANIFEST
from pipeline.card import CardFacts, SplitFacts, dataset_card
from pipeline.recipes.schema import Recipe
from pipeline.run.workspace import Workspace, differences
from transforms.elements import Shard
from transforms.io.files import crc_text, exists, read_files, replace_file
from transforms.prepared import PreparedSource
from transforms.segments import add_up, left_out_json
from transforms.statistics import Moments

DATASET_VERSION = "1.0.0"
_CHANNELS = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}


@dataclass(frozen=True)
class DepthInfo:
    """What depth a dataset has: pixels of each map, what they mean, the model they are of."""

    width: int
    height: int
    quantity: str
    metric: bool
    kind: str
    model: str
    crc32c: str


@dataclass(frozen=True)
class DatasetDescription:
    """All that is known of a dataset before its first example is made."""

    output: str
    recipe: Recipe
    input_moments: dict[str, Moments]
    input_checksums: dict[str, str]
    findings: tuple[dict[str, str], ...]
    versions: dict[str, str]
    backgrounds: int
    foregrounds: int
    depth: DepthInfo | None

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.output)

    @property
    def run(self) -> dict[str, Any]:
        """What decides the dataset's bytes. A run may only go on with what another of it left."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "inputs": self.input_checksums,
            "depth_model": self.depth
            and {
                "kind": self.depth.kind,
                "name": self.depth.model,
                "crc32c": self.depth.crc32c,
            },
            "made_with": self.versions,
        }


def finish_dataset(
    description: DatasetDescription, shards: Sequence[Shard], moments: dict[str, Moments]
) -> None:
    """Writes every file beside the shards; the manifest last of all.

    Runs again harmlessly, should the runner retry it: the work folder is left to the launcher.
    """
    workspace = description.workspace
    if differences(workspace.read_run(), json.loads(json.dumps(description.run))):
        raise RuntimeError(f"{workspace.output}: another run has been begun here, with --restart")
    order = list(description.recipe.splits.fractions)
    shards = sorted(shards, key=lambda shard: (order.index(shard.key.split), shard.key.shard))
    statistics = statistics_json(description.input_moments | moments)
    header = ",".join(INDEX_COLUMNS) + "\n"
    index_parts = read_files([shard.index_path for shard in shards])
    texts = {
        "recipe.yaml": description.recipe.to_yaml(),
        "statistics.json": _json(statistics),
        "features.json": _json(features_json(description)),
        "dataset_info.json": _json(dataset_info_json(description, shards)),
        "errors.jsonl": "".join(
            json.dumps(entry, ensure_ascii=False) + "\n"
            for entry in itertools.chain(description.findings, _left_out_entries(shards))
        ),
    }
    checksums = dict(description.input_checksums)

    def write(name: str, parts: Iterable[bytes]) -> str:
        part_path = workspace.work_path(f"{name}.{uuid.uuid4().hex[:12]}.part")
        return crc_text(replace_file(workspace.path(name), part_path, parts))

    checksums["index.csv"] = write("index.csv", itertools.chain([header.encode()], index_parts))
    for name, text in texts.items():
        checksums[name] = write(name, [text.encode()])
    # The card is its publisher's to complete: no checksum holds it fast, no repair undoes that.
    if not exists(workspace.path(CARD)):
        write(CARD, [dataset_card(card_facts(description, shards, statistics)).encode()])
    manifest = manifest_json(description, shards, checksums)
    write(MANIFEST, [_json(manifest).encode()])


def _left_out_entries(shards: Sequence[Shard]) -> Iterator[dict[str, str]]:
    for shard in shards:
        for example in shard.left_out:
            yield {"level": "error", "example": example.id, "problem": example.reason}


def card_facts(
    description: DatasetDescription, shards: Sequence[Shard], statistics: dict[str, Any]
) -> CardFacts:
    """What the card says, from what was made and, for the inputs, from what lies beside it."""
    workspace = description.workspace
    source = PreparedSource.of_dataset(description.output)
    sizes = workspace.sizes()
    splits: dict[str, SplitFacts] = {}
    for name in description.recipe.splits.fractions:
        mine = [shard for shard in shards if shard.key.split == name]
        splits[name] = SplitFacts(
            examples=sum(shard.examples for shard in mine),
            shards=len(mine),
            bytes=sum(shard.bytes for shard in mine),
        )
    return CardFacts(
        recipe=description.recipe,
        statistics=statistics,
        splits=splits,
        picture_bytes=add_up(shard.picture_bytes for shard in shards),
        backgrounds=source.backgrounds,
        foregrounds=source.foregrounds,
        input_bytes={name: sizes[f"{name}.tfrecord"] for name in ("backgrounds", "foregrounds")},
        depth=_depth_json(description),
        made_with=description.versions,
        left_out=sum(len(shard.left_out) for shard in shards),
        inputs_left_out=sum(finding["level"] == "error" for finding in description.findings),
    )


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def manifest_json(
    description: DatasetDescription, shards: Sequence[Shard], checksums: dict[str, str]
) -> dict[str, Any]:
    """What the dataset consists of, and what made it."""
    return {
        "format": FORMAT_VERSION,
        "run": description.run,
        "examples": sum(shard.examples for shard in shards),
        "backgrounds": description.backgrounds,
        "foregrounds": description.foregrounds,
        "depth": _depth_json(description),
        "input_moments": {
            kind: moments.to_json() for kind, moments in description.input_moments.items()
        },
        "findings": list(description.findings),
        "files": {name: {"crc32c": checksums[name]} for name in sorted(checksums)},
        "shards": [
            {
                "file": shard.path.replace("\\", "/").rsplit("/", 1)[-1],
                "split": shard.key.split,
                "examples": shard.examples,
                "bytes": shard.bytes,
                "crc32c": crc_text(shard.crc32c),
                "picture_bytes": shard.picture_bytes,
                "moments": {kind: m.to_json() for kind, m in sorted(shard.moments.items())},
                "left_out": left_out_json(shard.left_out),
            }
            for shard in shards
        ],
    }


def _depth_json(description: DatasetDescription) -> dict[str, Any] | None:
    """What stored depth means: value × `scale` is `quantity`.

    In metres where `unit` says so; else relative, by norm8 and plasma8 from the least (0) to the
    greatest (1) value of each map.
    """
    depth, storage = description.depth, description.recipe.depth
    if depth is None:
        return None
    return {
        "storage": storage.storage,
        "quantity": depth.quantity,
        "unit": "metre" if depth.metric and storage.storage == "metric16" else None,
        "scale": storage.step,
        "width": depth.width,
        "height": depth.height,
        "model": depth.model if depth.kind == "builtin" else f"{depth.kind}:{depth.model}",
    }


def statistics_json(moments: dict[str, Moments]) -> dict[str, Any]:
    """Mean and std by kind and channel, with the exact sums that they follow from."""
    kinds = (
        "backgrounds",
        "foregrounds",
        "foreground_masks",
        "composites",
        "masks",
        "depth",
    )
    return {
        kind: {
            "images": moments[kind].images,
            "pixels": moments[kind].pixels,
            "channels": list(_CHANNELS[len(moments[kind].sums)]),
            "mean": list(moments[kind].mean),
            "std": list(moments[kind].std),
            "mean_image_std": list(moments[kind].mean_image_std),
            "moments": moments[kind].to_json(),
        }
        for kind in kinds
        if kind in moments
    }


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
        dtype = "uint16" if storage.storage == "metric16" else "uint8"
        features["depth"] = _image(
            depth.height, depth.width, storage.channels, storage.codec.format, dtype
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
