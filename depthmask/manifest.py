"""Names of a dataset's files and of the columns of its index."""

from __future__ import annotations

import re

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
