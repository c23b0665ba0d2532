"""Names of a dataset's files and of the columns of its index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MANIFEST = "manifest.json"
PREPARED = ("backgrounds.tfrecord", "foregrounds.tfrecord")
# All that a run puts into its output folder, the work folder aside.
DATASET_FILES = re.compile(
    r"depthmask-\w+\.tfrecord-\d{5,}-of-\d{5,}|(backgrounds|foregrounds)\.tfrecord|index\.csv|"
    r"(dataset_info|features|statistics|manifest)\.json|README\.md|recipe\.yaml|errors\.jsonl"
)
FORMAT_VERSION = 1
CARD = "README.md"
INDEX_COLUMNS = (
    "id",
    "split",
    "shard",
    "background",
    "background_class",
    "foreground",
    "flip",
    "placement",
    "x",
    "y",
    "width",
    "height",
)


@dataclass(frozen=True)
class ModelIdentity:
    """Which depth model made a dataset's depth.

    `name`: of its file or folder; empty where the kind has one of its own. `crc32c`: of its files.
    """

    kind: str
    name: str
    crc32c: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "crc32c": f"{self.crc32c:08x}"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelIdentity:
        return cls(data["kind"], data["name"], int(data["crc32c"], 16))
