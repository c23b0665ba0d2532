"""Finishing a dataset: writes all files beside the shards, the manifest last."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from depthmask.manifest import (
    CARD,
    CROISSANT,
    DATASET_INFO,
    ERRORS,
    FEATURES,
    INDEX,
    MANIFEST,
    PREPARED,
    RECIPE,
    STATISTICS,
    Manifest,
)
from depthmask.tally import Moments, Tally
from pipeline.dataset.card import CardFacts, dataset_card
from pipeline.dataset.croissant import dataset_croissant
from pipeline.dataset.description import DatasetDescription
from pipeline.dataset.tfds import dataset_info_json, record_features
from pipeline.publish.publication import Publication
from pipeline.recipes import Recipe
from pipeline.run import Workspace
from transforms.elements import Shard
from transforms.index import INDEX_HEADER
from transforms.io.files import read_files, sync_files
from transforms.prepared import PreparedSource


def finish_dataset(description: DatasetDescription, shards: Sequence[Shard], tally: Tally) -> None:
    """Writes every file beside the shards; the manifest last of all.

    Runs again harmlessly, should the runner retry it: the work folder is left to the launcher.
    """
    recipe = description.recipe
    workspace = description.workspace.of_run(description.manifest.provenance.to_json())
    workspace.check()
    order = recipe.splits.names
    shards = sorted(shards, key=lambda shard: (order.index(shard.entry.split), shard.entry.number))
    entries = tuple(shard.entry for shard in shards)
    if not any(entry.examples for entry in entries):
        raise RuntimeError(
            f"every example was left out: {tally.left_out[0].reason}. Use another depth model, or "
            "correct what depth.model says of it"
        )
    manifest = dataclasses.replace(description.manifest, shards=entries)
    texts = described(recipe, manifest, (manifest.input_tally + tally).moments)
    rows = read_files([shard.index_path for shard in shards])
    files = {**manifest.files, **manifest.provenance.inputs}
    files[INDEX] = workspace.write(INDEX, itertools.chain([INDEX_HEADER], rows))
    for name, text in texts.items():
        files[name] = workspace.write(name, [text])
    facts = card_facts(recipe, manifest, description.publication, workspace)
    # These are their publisher's to complete: no checksum holds them fast, no repair undoes that. A
    # power cut may leave empty ones.
    sizes = workspace.sizes()
    for name, describe in ((CARD, dataset_card), (CROISSANT, dataset_croissant)):
        if not sizes.get(name):
            workspace.write(name, [describe(facts)])
    manifest = dataclasses.replace(manifest, files=files)
    sync_files(workspace.path(name) for name in manifest.checksums)
    workspace.write(MANIFEST, [manifest.to_bytes()])


def described(
    recipe: Recipe, manifest: Manifest, moments: Mapping[str, Moments]
) -> dict[str, bytes]:
    """Returns the files that say again, each in its way, what recipe and manifest say, by name."""
    texts = {
        RECIPE: recipe.to_yaml(),
        STATISTICS: json_text(statistics_json(moments)),
        FEATURES: json_text(record_features(recipe, manifest.depth).to_json()),
        DATASET_INFO: json_text(dataset_info_json(recipe.name, manifest)),
        ERRORS: "".join(
            json.dumps(entry, ensure_ascii=False) + "\n" for entry in _error_entries(manifest)
        ),
    }
    return {name: text.encode() for name, text in texts.items()}


def _error_entries(manifest: Manifest) -> Iterator[dict[str, str]]:
    """Yields the lines of errors.jsonl: what was left out, and warnings."""
    for finding in manifest.findings:
        yield finding.to_json()
    for example in manifest.tally.left_out:
        yield {"level": "error", "example": example.id, "problem": example.reason}


def card_facts(
    recipe: Recipe, manifest: Manifest, publication: Publication, workspace: Workspace
) -> CardFacts:
    """Returns all that the card of the dataset in a workspace says."""
    source, sizes = PreparedSource.of_dataset(workspace.output), workspace.sizes()
    return CardFacts(
        recipe=recipe,
        manifest=manifest,
        backgrounds=source.backgrounds,
        foregrounds=source.foregrounds,
        input_bytes={name: sizes[name] for name in PREPARED},
        publication=publication,
    )


def statistics_json(moments: Mapping[str, Moments]) -> dict[str, Any]:
    """Returns mean and std by kind and channel, with the exact sums that they follow from."""
    return {
        kind: {
            "images": of_kind.images,
            "pixels": of_kind.pixels,
            "channels": list(of_kind.channels),
            "mean": list(of_kind.mean),
            "std": list(of_kind.std),
            "mean_image_std": list(of_kind.mean_image_std),
            "moments": of_kind.to_json(),
        }
        for kind, of_kind in moments.items()
    }


def json_text(data: Any) -> str:
    """Returns JSON as the files of a dataset hold it."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
