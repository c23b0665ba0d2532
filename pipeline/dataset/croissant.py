"""The croissant.json of a dataset: its files, and the records of index.csv.

Readers of Croissant know no TFRecord: of the shards it says which files they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from depthmask.manifest import BACKGROUND_DEPTHS, INDEX, PREPARED, shard_name
from pipeline.dataset.card import CardFacts, summarise
from pipeline.publish.croissant import (
    CSV,
    TFRECORD,
    FileSet,
    RecordSet,
    croissant_json,
    example_fields,
    split_field,
)


def dataset_croissant(facts: CardFacts) -> bytes:
    """Returns the dataset's croissant.json."""
    splits = list(facts.manifest.splits)
    examples = RecordSet(
        name="examples",
        files="index",
        key="id",
        description="Where each example's foreground lies on which background.",
        fields=(*example_fields(numbers_kept=False), split_field("split")),
    )
    return croissant_json(
        summarise(facts), facts.publication, splits, list(_files(facts)), [examples]
    )


def _files(facts: CardFacts) -> Iterator[FileSet]:
    pictures = ", ".join(("image", "mask", *(("depth",) if facts.depth else ())))
    for split in facts.manifest.splits:
        name = shard_name(split, 0, 1).removesuffix("-00000-of-00001")
        yield FileSet(
            f"{split}-shards",
            TFRECORD,
            [f"{name}-*"],
            f"The examples of {split}, as tf.train.Example; {pictures} are encoded pictures.",
        )
    inputs = [*PREPARED]
    if BACKGROUND_DEPTHS in {**facts.manifest.files, **facts.manifest.provenance.inputs}:
        inputs.append(BACKGROUND_DEPTHS)
    yield FileSet("inputs", TFRECORD, inputs, "The prepared inputs, by name.")
    yield FileSet("index", CSV, [INDEX], "A row an example.")
