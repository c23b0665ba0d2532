"""Segments and shards: a chunk's records in a file of their own, which is joined into its shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from depthmask.manifest import shard_name
from depthmask.tally import Tally
from transforms.elements import ChunkKey, EncodedChunk, Segment, Shard, ShardKey
from transforms.io.files import (
    WrittenFile,
    join,
    join_files,
    read_files,
    replace_file,
    write_file,
)
from transforms.parts import PartStore, parse_description, unfinished_path


@dataclass(frozen=True)
class ShardStore(PartStore[Segment, Shard]):
    """Where shards and their segments are kept, and how many examples each has.

    `shard_sizes`: by split, shard by shard.
    """

    shard_sizes: dict[str, tuple[int, ...]]

    def shard_name(self, key: ShardKey) -> str:
        count = len(self.shard_sizes[key.split])
        return shard_name(key.split, key.shard, count)

    def examples(self, key: ShardKey) -> int:
        """Examples of a shard, those that are left out included."""
        return self.shard_sizes[key.split][key.shard]

    @property
    def sizes_by_name(self) -> dict[str, int]:
        """Examples of each shard, by its name."""
        return {
            self.shard_name(ShardKey(split, number)): size
            for split, sizes in self.shard_sizes.items()
            for number, size in enumerate(sizes)
        }

    def write_segment(self, chunk: EncodedChunk) -> Segment:
        """Writes a chunk's records, and what they are."""
        stem = self.new_stem(chunk.key)
        description = {
            "records": [len(chunk.records), write_file(_records_path(stem), [chunk.records])],
            "tally": chunk.tally.to_json(),
            "index_rows": chunk.index_rows,
        }
        self.describe_chunk(stem, description)
        return self.read_chunk(chunk.key, stem, description)

    def read_chunk(self, key: ChunkKey, stem: str, description: Mapping[str, Any]) -> Segment:
        records = WrittenFile(_records_path(stem), *description["records"])
        tally = Tally.from_json(description["tally"])
        return Segment(self.shard_name(key.shard), key.start, (records,), key, tally)

    def join(self, name: str, parts: Sequence[Segment], path: str) -> Shard:
        shard, position = parts[0].key.shard, 0
        for segment in parts:
            if segment.key.start != position:
                raise RuntimeError(f"{name}: example {position} is missing")
            position += segment.key.examples
        if position != self.examples(shard):
            raise RuntimeError(f"{name}: {position} examples instead of {self.examples(shard)}")
        segments = [file for segment in parts for file in segment.written]
        whole = WrittenFile(
            self.path(name), sum(file.bytes for file in segments), join_files(segments, path)
        )
        return self.describe_shard(
            shard, whole, Tally.total(segment.tally for segment in parts), _index_rows(parts)
        )

    def describe_shard(
        self, key: ShardKey, shard: WrittenFile, tally: Tally, index_rows: Iterable[bytes]
    ) -> Shard:
        """Writes what `find_file` recognises a finished shard by, and its rows of the index."""
        name, rows = self.shard_name(key), b"".join(index_rows)
        path = self._index_path(name)
        index = WrittenFile(path, len(rows), replace_file(path, unfinished_path(path), [rows]))
        description = {
            "key": [key.split, key.shard],
            "written": [[file.bytes, file.crc32c] for file in (shard, index)],
            "tally": tally.to_json(),
        }
        self.describe_file(name, description)
        return self.read_file(name, description)

    def read_file(self, name: str, description: Mapping[str, Any]) -> Shard:
        key, tally = ShardKey(*description["key"]), Tally.from_json(description["tally"])
        paths = (self.path(name), self._index_path(name))
        return Shard(
            name=name,
            written=tuple(
                WrittenFile(path, *check)
                for path, check in zip(paths, description["written"], strict=True)
            ),
            key=key,
            examples=self.examples(key) - len(tally.left_out),
            tally=tally,
        )

    def _index_path(self, name: str) -> str:
        return join(self.folder(name), "finished.csv")


def _records_path(stem: str) -> str:
    return f"{stem}.tfrecord"


def _index_rows(segments: Sequence[Segment]) -> Iterator[bytes]:
    paths = [segment.description_path for segment in segments]
    for path, data in zip(paths, read_files(paths), strict=True):
        rows: str = parse_description(path, data)["index_rows"]
        yield rows.encode()


@dataclass
class WriteSegments(beam.PTransform):
    """From encoded chunks to segments on disk; only their metadata travels on."""

    store: ShardStore

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "WriteFiles" >> beam.Map(self.store.write_segment)
