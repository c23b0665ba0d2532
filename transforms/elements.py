"""The typed elements that travel through the graph."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from depthmask.manifest import INDEX_COLUMNS
from depthmask.tally import Tally


@dataclass(frozen=True)
class Placement:
    """One example before it is drawn: which cut-out lands where on which background.

    `x`, `y` is the top left corner of the cut-out on the canvas in pixels (negative where it is
    cropped), `width` × `height` the size at which it is drawn, `index` its number among the
    placements of this background, foreground and flip.
    """

    id: str
    background: str
    background_class: str
    foreground: str
    flip: bool
    index: int
    x: int
    y: int
    width: int
    height: int

    @property
    def features(self) -> dict[str, bytes | str | int]:
        """The features of the example's record, its pictures aside."""
        return {
            "id": self.id,
            "background": self.background,
            "background_class": self.background_class,
            "foreground": self.foreground,
            "flip": int(self.flip),
            "placement": self.index,
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
        }


@dataclass(frozen=True, order=True)
class ShardKey:
    """Names one shard of one split."""

    split: str
    shard: int


@dataclass(frozen=True, order=True)
class ChunkKey:
    """Names a run of `examples` consecutive examples of a shard, from example `start` on."""

    shard: ShardKey
    start: int
    examples: int


@dataclass(frozen=True)
class ChunkSpec:
    """What a chunk holds, before any pixel of it exists."""

    key: ChunkKey
    placements: tuple[Placement, ...]

    def index_rows(self, left_out: Collection[str] = ()) -> str:
        """The chunk's rows of index.csv, one an example, in order, without the ids `left_out`."""
        stream = io.StringIO()
        shard = {"split": self.key.shard.split, "shard": self.key.shard.shard}
        writer = csv.DictWriter(stream, INDEX_COLUMNS, lineterminator="\n")
        writer.writerows(
            placement.features | shard
            for placement in self.placements
            if placement.id not in left_out
        )
        return stream.getvalue()


@dataclass(frozen=True)
class ComposedChunk:
    """A chunk's pixels.

    `images`: uint8 [n, H, W, C], C = 3 (RGB) or 1 (grey). `masks`: uint8 [n, H, W], 0 is
    background. `depths`: float32 [n, h, w] in metres, or as a relative model gives it; not finite
    where the model failed. None where the dataset has no depth.
    """

    spec: ChunkSpec
    images: np.ndarray
    masks: np.ndarray
    depths: np.ndarray | None = None


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk as it is stored: framed TFRecord bytes, CSV index rows, and its exact statistics."""

    key: ChunkKey
    records: bytes
    index_rows: str
    tally: Tally


@dataclass(frozen=True)
class Segment:
    """A chunk's records in a file of their own, which wait to be joined into their shard.

    `crc32c` is that of the records file; the description beside it holds all of this and the
    chunk's index rows.
    """

    key: ChunkKey
    path: str
    bytes: int
    crc32c: int
    tally: Tally

    @property
    def description_path(self) -> str:
        """The JSON file beside the records."""
        return f"{self.path.removesuffix('.tfrecord')}.json"


@dataclass(frozen=True)
class Shard:
    """A finished TFRecord file of the dataset; `index_path` holds its index rows.

    `examples` are those in it; what was left out comes on top.
    """

    key: ShardKey
    path: str
    index_path: str
    examples: int
    bytes: int
    crc32c: int
    tally: Tally = field(repr=False)
