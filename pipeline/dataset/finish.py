"""What describes a dataset: manifest, statistics, TFDS metadata, index; see card.py too."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from depthmask.manifest import CARD, INDEX_COLUMNS, MANIFEST
from depthmask.tally import Tally
from pipeline.dataset.card import CardFacts, SplitFacts, dataset_card
from pipeline.dataset.description import DatasetDescription, depth_json, manifest_json
from pipeline.dataset.tfds import dataset_info_json, features_json
from transforms.elements import Shard
from transforms.io.files import crc_text, exists, read_files
from transforms.prepared import PreparedSource

_CHANNELS = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}


def finish_dataset(description: DatasetDescription, shards: Sequence[Shard], tally: Tally) -> None:
    """Writes every file beside the shards; the manifest last of all.

    Runs again harmlessly, should the runner retry it: the work folder is left to the launcher.
    """
    workspace = description.workspace
    workspace.check_unchanged(description.run)
    order = list(description.recipe.splits.fractions)
    shards = sorted(shards, key=lambda shard: (order.index(shard.key.split), shard.key.shard))
    statistics = statistics_json(description.input_tally + tally)
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
        return crc_text(workspace.write(name, parts))

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
        for example in shard.tally.left_out:
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
        picture_bytes=Tally.total(shard.tally for shard in shards).picture_bytes,
        backgrounds=source.backgrounds,
        foregrounds=source.foregrounds,
        input_bytes={name: sizes[f"{name}.tfrecord"] for name in ("backgrounds", "foregrounds")},
        depth=depth_json(description),
        made_with=description.versions,
        left_out=sum(len(shard.tally.left_out) for shard in shards),
        inputs_left_out=sum(finding["level"] == "error" for finding in description.findings),
    )


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def statistics_json(tally: Tally) -> dict[str, Any]:
    """Mean and std by kind and channel, with the exact sums that they follow from."""
    moments = tally.moments
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
