"""The typed elements that travel through the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthmask.manifest import ShardEntry
from depthmask.tally import Tally
from transforms.io.files import WrittenFile

# Of the file that a segment's records are in.
RECORDS_SUFFIX = ".tfrecord"


@dataclass(frozen=True)
class Placement:
    """One example before it is drawn: which cut-out lands where on which background.

    `x`, `y` is the top left corner of the cut-out on the canvas in pixels (negative where it is
    cropped), `width` × `height` the size at which it is drawn, `index` its number among the
    placements of this background, foreground and flip. What `flip` does to it, and so to its
    width and height, is `transforms.cutout.Drawing.transform`'s to say.
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
        """The features of the example's record, its pictures aside; see `from_features`."""
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

    @classmethod
    def from_features(cls, features: Mapping[str, Any]) -> Placement:
        """The inverse of `features`; numbers may be text. Raises ValueError."""
        return cls(
            id=features["id"],
            background=features["background"],
            background_class=features["background_class"],
            foreground=features["foreground"],
            flip=bool(int(features["flip"])),
            index=int(features["placement"]),
            x=int(features["x"]),
            y=int(features["y"]),
            width=int(features["width"]),
            height=int(features["height"]),
        )


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


@dataclass(frozen=True)
class ComposedChunk:
    """A chunk's pixels.

    `images`: uint8 [n, H, W, C], C = 3 (RGB) or 1 (grey). `masks`: uint8 [n, H, W], 0 is
    background. `depths`: float32 [n, h, w] in metres, or as a relative model gives it; not finite
    where the model failed; or uint16 [n, h, w] as `transforms.depth.layers` draws them, 0 where
    depth is unknown. None where the dataset has no depth. `encoded_images`: as they are stored;
    None while they are not encoded.
    """

    spec: ChunkSpec
    images: np.ndarray
    masks: np.ndarray
    depths: np.ndarray | None = None
    encoded_images: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class BackgroundChunk:
    """Some of the backgrounds, uint8 [n, H, W, C] as large as the canvas, and their depth.

    `depths`: float32 [n, h, w], not finite where the model failed; None while it is not estimated.
    """

    key: ChunkKey
    names: tuple[str, ...]
    images: np.ndarray
    depths: np.ndarray | None = None


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk as it is stored: framed TFRecord bytes, CSV index rows, and its exact statistics."""

    key: ChunkKey
    records: bytes
    index_rows: str
    tally: Tally


@dataclass(frozen=True)
class Part:
    """A chunk's part of one output file, in files of its own until it is joined with the others.

    `order`: its place among the parts of `file`.
    """

    file: str
    order: int
    written: tuple[WrittenFile, ...]

    @property
    def paths(self) -> list[str]:
        """Files that are no longer needed once the output file is finished."""
        return [file.path for file in self.written]


@dataclass(frozen=True)
class Segment(Part):
    """A chunk's records: its part of a shard. Their description has its index rows."""

    key: ChunkKey
    tally: Tally

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that the chunk became."""
        return (self,)

    @property
    def description_path(self) -> str:
        return f"{self.written[0].path.removesuffix(RECORDS_SUFFIX)}.json"

    @property
    def paths(self) -> list[str]:
        return [*super().paths, self.description_path]


@dataclass(frozen=True)
class OutputFile:
    """A finished file of the output. `written`: itself, then what the work folder keeps of it."""

    name: str
    written: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class Shard(OutputFile):
    """A finished TFRecord file of the dataset; its rows of index.csv are kept beside."""

    entry: ShardEntry

    @property
    def index_path(self) -> str:
        return self.written[1].path
