"""index.csv: a row per example, in the order of the records."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from transforms.elements import ChunkSpec, Placement, ShardKey

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
_MAX_ROW = 2**16
# The first line of index.csv.
INDEX_HEADER = (",".join(INDEX_COLUMNS) + "\n").encode()


@dataclass(frozen=True)
class IndexRow:
    """A row of index.csv; `start`: the byte of the file at which it begins."""

    start: int
    shard: ShardKey
    placement: Placement


def index_rows(spec: ChunkSpec, left_out: Collection[str] = ()) -> str:
    """Returns a chunk's rows, in order, without the examples whose ids are in `left_out`."""
    stream = io.StringIO()
    shard = {"split": spec.key.shard.split, "shard": spec.key.shard.shard}
    writer = csv.DictWriter(stream, INDEX_COLUMNS, lineterminator="\n")
    writer.writerows(
        placement.features | shard for placement in spec.placements if placement.id not in left_out
    )
    return stream.getvalue()


def read_index(file: BinaryIO) -> Iterator[IndexRow]:
    """Yields the rows of an index.csv. Raises ValueError where it is no such file."""
    if file.readline(len(INDEX_HEADER)) != INDEX_HEADER:
        raise ValueError("index.csv does not begin with the names of its columns")
    start = len(INDEX_HEADER)
    while line := file.readline(_MAX_ROW):  # a row is always one line: names have no line breaks
        try:
            (values,) = csv.reader([line.decode()])
            row = dict(zip(INDEX_COLUMNS, values, strict=True))
            shard = ShardKey(row["split"], int(row["shard"]))
            yield IndexRow(start, shard, Placement.from_features(row))
        except (ValueError, csv.Error) as error:
            raise ValueError(f"index.csv, byte {start}: {error}") from error
        start += len(line)
