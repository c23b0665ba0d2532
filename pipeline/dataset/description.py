"""What is known of a dataset before its first example is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from depthmask.manifest import FORMAT_VERSION, ModelIdentity
from depthmask.tally import Tally
from pipeline.recipes.schema import Recipe
from pipeline.run.workspace import Workspace
from transforms.elements import Shard
from transforms.io.files import crc_text


@dataclass(frozen=True)
class DepthInfo:
    """What depth a dataset has: pixels of each map, what they mean, the model they are of."""

    width: int
    height: int
    quantity: str
    metric: bool
    model: ModelIdentity


@dataclass(frozen=True)
class DatasetDescription:
    """All that is known of a dataset before its first example is made."""

    output: str
    recipe: Recipe
    input_tally: Tally
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
            "depth_model": self.depth and self.depth.model.to_json(),
            "made_with": self.versions,
        }


def manifest_json(
    description: DatasetDescription, shards: Sequence[Shard], checksums: dict[str, str]
) -> dict[str, Any]:
    """What the dataset consists of, and what made it."""
    return {
        "format": FORMAT_VERSION,
        "provenance": description.run,
        "examples": sum(shard.examples for shard in shards),
        "backgrounds": description.backgrounds,
        "foregrounds": description.foregrounds,
        "depth": depth_json(description),
        "input_tally": description.input_tally.to_json(),
        "findings": list(description.findings),
        "files": {name: {"crc32c": checksums[name]} for name in sorted(checksums)},
        "shards": [
            {
                "file": shard.name,
                "split": shard.key.split,
                "examples": shard.examples,
                "bytes": shard.bytes,
                "crc32c": crc_text(shard.crc32c),
                "tally": shard.tally.to_json(),
            }
            for shard in shards
        ],
    }


def depth_json(description: DatasetDescription) -> dict[str, Any] | None:
    """What stored depth means: value × `scale` is `quantity`.

    In metres where `unit` says so; else relative.
    """
    depth, storage = description.depth, description.recipe.depth
    if depth is None:
        return None
    return {
        "storage": storage.storage,
        "quantity": depth.quantity,
        "unit": "metre" if depth.metric and storage.absolute else None,
        "scale": storage.step,
        "width": depth.width,
        "height": depth.height,
        "model": str(depth.model),
    }
