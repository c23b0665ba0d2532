"""Segments, the records of chunks in files of their own, and the shards that they are joined to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from depthmask.manifest import ShardEntry, shard_name
from depthmask.tally import Tally
from transforms.elements import (
    RECORDS_SUFFIX,
    ChunkKey,
    EncodedChunk,
    Segment,
    Shard,
    ShardKey,
)
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
    """Where shards and their segments are kept, and how many examples each shard has.

    `shard_sizes`: by split, shard by shard.
    """

    shard_sizes: dict[str, tuple[int, ...]]

    def shard_name(self, key: ShardKey) -> str:
        count = len(self.shard_sizes[key.split])
        return shard_name(key.split, key.shard, count)

    def examples(self, key: ShardKey) -> int:
        """Returns the examples of a shard, including those left out."""
        return self.shard_sizes[key.split][key.shard]

    @property
    def sizes_by_name(self) -> dict[str, int]:
        """Examples of each shard, by name."""
        return {
            self.shard_name(ShardKey(split, number)): size
            for split, sizes in self.shard_sizes.items()
            for number, size in enumerate(sizes)
        }

    def named_files(self) -> list[str]:
        names = self.sizes_by_name
        return [name for name in super().named_files() if name in names]

    def write_segment(self, chunk: EncodedChunk) -> Segment:
        """Writes a chunk's records and describes them."""
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
        tally = Tally.total(segment.tally for segment in parts)
        entry = ShardEntry(
            split=shard.split,
            number=shard.shard,
            of=len(self.shard_sizes[shard.split]),
            examples=position - len(tally.left_out),
            bytes=sum(file.bytes for file in segments),
            crc32c=join_files(segments, path),
            tally=tally,
        )
        return self.describe_shard(entry, _index_rows(parts))

    def describe_shard(self, entry: ShardEntry, index_rows: Iterable[bytes]) -> Shard:
        """Writes a finished shard's rows of index.csv, and describes the shard."""
        path, rows = self._index_path(entry.file), b"".join(index_rows)
        index = [len(rows), replace_file(path, unfinished_path(path), [rows])]
        description = {"entry": entry.to_json(), "index": index}
        self.describe_file(entry.file, description)
        return self.read_file(entry.file, description)

    def read_file(self, name: str, description: Mapping[str, Any]) -> Shard:
        entry = ShardEntry.from_json(description["entry"])
        index = WrittenFile(self._index_path(name), *description["index"])
        return Shard(name, (WrittenFile(self.path(name), entry.bytes, entry.crc32c), index), entry)

    def _index_path(self, name: str) -> str:
        return join(self.folder(name), "finished.csv")


def _records_path(stem: str) -> str:
    return f"{stem}{RECORDS_SUFFIX}"


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
