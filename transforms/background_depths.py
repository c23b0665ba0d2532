"""Each background's depth, estimated once and kept in one file beside the prepared inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from depthmask.manifest import BACKGROUND_DEPTHS
from depthmask.tally import Tally
from transforms.depth import DepthStage, DepthStorage, Layers
from transforms.depth.estimate import EstimateDepth
from transforms.elements import BackgroundChunk, ChunkKey, OutputFile, Segment, ShardKey
from transforms.io.files import WrittenFile, join_files, write_file
from transforms.parts import PartStore
from transforms.prepared import PreparedInputs, PreparedSource, depth_record

# Backgrounds of a chunk at least: two processes are to have something to do of a hundred.
_LEAST = 16


@dataclass(frozen=True)
class BackgroundDepthStore(PartStore[Segment, OutputFile]):
    """Where depth of backgrounds and its parts are kept: one output file.

    `backgrounds`: how many there are. `batch`: pictures per call of the model.
    """

    backgrounds: int
    batch: int

    @property
    def key(self) -> ShardKey:
        """Names the one file, as shards are named."""
        return ShardKey("backgrounds", 0)

    def chunk_keys(self, shard: ShardKey) -> Iterator[ChunkKey]:
        """Yields the chunks of backgrounds, in order: whole batches."""
        step = self.batch * -(-_LEAST // self.batch)
        for start in range(0, self.backgrounds, step):
            yield ChunkKey(shard, start, min(step, self.backgrounds - start))

    def shard_name(self, key: ShardKey) -> str:
        return BACKGROUND_DEPTHS

    def named_files(self) -> list[str]:
        return [name for name in super().named_files() if name == BACKGROUND_DEPTHS]

    def write_chunk(self, key: ChunkKey, records: Sequence[bytes]) -> Segment:
        """Writes a chunk's framed records and describes them."""
        stem, data = self.new_stem(key), b"".join(records)
        description = {"records": [len(data), write_file(_records_path(stem), [data])]}
        self.describe_chunk(stem, description)
        return self.read_chunk(key, stem, description)

    def read_chunk(self, key: ChunkKey, stem: str, description: Mapping[str, Any]) -> Segment:
        records = WrittenFile(_records_path(stem), *description["records"])
        return Segment(BACKGROUND_DEPTHS, key.start, (records,), key, Tally())

    def join(self, name: str, parts: Sequence[Segment], path: str) -> OutputFile:
        if [part.key for part in parts] != list(self.chunk_keys(self.key)):
            raise RuntimeError(f"{name}: some backgrounds are missing")
        files = [file for part in parts for file in part.written]
        return self.describe(sum(file.bytes for file in files), join_files(files, path))

    def describe(self, size: int, crc32c: int) -> OutputFile:
        """Describes the finished file, of `size` bytes."""
        description = {"file": [size, crc32c]}
        self.describe_file(BACKGROUND_DEPTHS, description)
        return self.read_file(BACKGROUND_DEPTHS, description)

    def read_file(self, name: str, description: Mapping[str, Any]) -> OutputFile:
        return OutputFile(name, (WrittenFile(self.path(name), *description["file"]),))


def _records_path(stem: str) -> str:
    return f"{stem}.tfrecord"


class _ReadBackgrounds(beam.DoFn):
    def __init__(self, source: PreparedSource) -> None:
        self._source = source
        self._shared = Shared()

    def setup(self) -> None:
        self._inputs = self._shared.acquire(lambda: PreparedInputs(self._source))

    def process(self, key: ChunkKey) -> Iterator[BackgroundChunk]:
        pictures = self._source.backgrounds[key.start : key.start + key.examples]
        names = tuple(picture.name for picture in pictures)
        yield BackgroundChunk(key, names, np.stack([*map(self._inputs.background, names)]))


@dataclass
class EstimateBackgrounds(beam.PTransform):
    """From chunk keys to backgrounds' depth on disk. Pixels live in here only."""

    source: PreparedSource
    stage: DepthStage
    layers: Layers
    store: BackgroundDepthStore

    def expand(self, keys: beam.PCollection) -> beam.PCollection:
        store, layers, storage = self.store, self.layers, self.stage.settings
        return (
            keys
            | "ReadBackgrounds" >> beam.ParDo(_ReadBackgrounds(self.source))
            | "EstimateDepth" >> EstimateDepth(self.stage)
            | "WriteFiles"
            >> beam.Map(
                lambda chunk: store.write_chunk(chunk.key, _records(chunk, layers, storage))
            )
        )


def _records(chunk: BackgroundChunk, layers: Layers, storage: DepthStorage) -> list[bytes]:
    assert chunk.depths is not None  # the model has made them
    return [
        depth_record(name, layers.map(depth, storage))
        for name, depth in zip(chunk.names, chunk.depths, strict=True)
    ]
