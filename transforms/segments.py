"""Segments: a chunk's records in a file of their own; how they become shards, or are found again.

Everything that an unfinished run has made lies in its work folder, one folder a shard::

    5d1c…-train-00003/0000080-n80-6f3a….tfrecord   a segment's records
    5d1c…-train-00003/0000080-n80-6f3a….json       what they are; written last, so they are whole
    5d1c…-train-00003/shard.json, index.csv        of a shard that is joined; its segments are gone

A folder's name begins with the run that it belongs to: a job on a cluster may outlive the command
that began it, and must not mix with another that is begun in its place.
"""

from __future__ import annotations

import json
import operator
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import google_crc32c

from depthmask.manifest import shard_name
from depthmask.tally import Tally
from transforms.elements import ChunkKey, EncodedChunk, Segment, Shard, ShardKey
from transforms.io.files import (
    FilePart,
    delete_files,
    join,
    join_files,
    list_files,
    read_file,
    read_files,
    rename_file,
    replace_file,
    stored_checksum,
    write_file,
)

# A segment's description: its first example and how many it has.
SEGMENT_NAME = r"(\d{7,})-n(\d+)-[0-9a-f]+\.json"
_SEGMENT = re.compile(SEGMENT_NAME)


@dataclass(frozen=True)
class ShardLayout:
    """Where shards go and how many examples each has.

    `run` is the checksum of all that decides a run's bytes. `shard_sizes`: by split, shard by
    shard.
    """

    output: str
    work_folder: str
    run: str
    shard_sizes: dict[str, tuple[int, ...]]

    def path(self, key: ShardKey) -> str:
        """The finished shard."""
        count = len(self.shard_sizes[key.split])
        return join(self.output, shard_name(key.split, key.shard, count))

    def folder(self, key: ShardKey) -> str:
        """The shard's own folder in the work folder."""
        return join(self.work_folder, f"{self.run}-{key.split}-{key.shard:05d}")

    def description_path(self, key: ShardKey) -> str:
        return join(self.folder(key), "shard.json")

    def index_path(self, key: ShardKey) -> str:
        return join(self.folder(key), "index.csv")

    def examples(self, key: ShardKey) -> int:
        return self.shard_sizes[key.split][key.shard]


def write_description(path: str, part_path: str, description: dict[str, Any]) -> None:
    """Writes JSON after its own CRC-32C. At `path` it is whole or not there."""
    text = json.dumps(description).encode()
    checksum = f"{google_crc32c.value(text):08x}\n".encode()
    replace_file(path, part_path, [checksum, text])


def read_description(path: str) -> dict[str, Any]:
    """What `write_description` wrote. Raises OSError, or ValueError where it is damaged."""
    return _description(path, read_file(path))


def _description(path: str, data: bytes) -> dict[str, Any]:
    checksum, _, text = data.partition(b"\n")
    if checksum != f"{google_crc32c.value(text):08x}".encode():
        raise ValueError(f"{path} is damaged")
    description: dict[str, Any] = json.loads(text)
    return description


# Segments


def write_segment(chunk: EncodedChunk, folder: str) -> Segment:
    """Writes a chunk's records into `folder`, and beside them what they are.

    The files' names are unique to this attempt: a retried or duplicated attempt never touches
    them, and only what the runner commits is joined. The description is renamed into its name
    last, so where it is there, the records are whole.
    """
    key = chunk.key
    stem = join(folder, f"{key.start:07d}-n{key.examples}-{uuid.uuid4().hex[:12]}")
    segment = Segment(
        key=key,
        path=f"{stem}.tfrecord",
        bytes=len(chunk.records),
        crc32c=write_file(f"{stem}.tfrecord", [chunk.records]),
        tally=chunk.tally,
    )
    description = {
        "bytes": segment.bytes,
        "crc32c": segment.crc32c,
        "tally": segment.tally.to_json(),
        "index_rows": chunk.index_rows,
    }
    write_description(segment.description_path, f"{stem}.part", description)
    return segment


def find_segment(key: ChunkKey, description_path: str) -> Segment | None:
    """The segment that an earlier run left, or None where it is not just what was written."""
    try:
        description = read_description(description_path)
        segment = Segment(
            key=key,
            path=f"{description_path.removesuffix('.json')}.tfrecord",
            bytes=description["bytes"],
            crc32c=description["crc32c"],
            tally=Tally.from_json(description["tally"]),
        )
        intact = stored_checksum(segment.path) == (segment.crc32c, segment.bytes)
    except (OSError, ValueError, KeyError):
        return None
    return segment if intact else None


# Shards


def assemble_shard(key: ShardKey, segments: Iterable[Segment], layout: ShardLayout) -> Shard:
    """Joins a shard's segments by copying their bytes, and renames the whole into place.

    A shard that an earlier attempt finished is left as it is. Segments are deleted once the shard
    stands. Raises RuntimeError where the segments are not exactly the shard's examples, ValueError
    where a segment's bytes are not those that were written.
    """
    if finished := find_shard(key, layout):
        return finished
    # Of a chunk that was made twice, either will do: both have the same bytes.
    ordered = sorted(
        {segment.key: segment for segment in segments}.values(), key=operator.attrgetter("key")
    )
    position = 0
    for segment in ordered:
        if segment.key.start != position:
            raise RuntimeError(f"{key}: example {position} is missing")
        position += segment.key.examples
    if position != layout.examples(key):
        raise RuntimeError(f"{key}: {position} examples instead of {layout.examples(key)}")
    attempt = join(layout.folder(key), uuid.uuid4().hex[:12])
    part = f"{attempt}.tfrecord.part"
    tally = Tally.total(segment.tally for segment in ordered)
    shard = Shard(
        key=key,
        path=layout.path(key),
        index_path=layout.index_path(key),
        examples=position - len(tally.left_out),
        bytes=sum(segment.bytes for segment in ordered),
        crc32c=join_files([FilePart(s.path, s.bytes, s.crc32c) for s in ordered], part),
        tally=tally,
    )
    describe_shard(shard, _index_rows(ordered), layout)
    rename_file(part, shard.path)
    delete_files([path for s in ordered for path in (s.path, s.description_path)])
    return shard


def _index_rows(segments: Sequence[Segment]) -> Iterator[bytes]:
    paths = [segment.description_path for segment in segments]
    for path, data in zip(paths, read_files(paths), strict=True):
        rows: str = _description(path, data)["index_rows"]
        yield rows.encode()


def describe_shard(shard: Shard, index_rows: Iterable[bytes], layout: ShardLayout) -> None:
    """Writes what `find_shard` recognises a finished shard by, and its part of the index."""
    attempt = join(layout.folder(shard.key), uuid.uuid4().hex[:12])
    description = {
        "bytes": shard.bytes,
        "crc32c": shard.crc32c,
        "index_crc32c": replace_file(shard.index_path, f"{attempt}.csv.part", index_rows),
        "tally": shard.tally.to_json(),
    }
    write_description(layout.description_path(shard.key), f"{attempt}.json.part", description)


def find_shard(key: ShardKey, layout: ShardLayout) -> Shard | None:
    """The finished shard, or None where it is not there or not the bytes that were written."""
    try:
        description = read_description(layout.description_path(key))
        tally = Tally.from_json(description["tally"])
        shard = Shard(
            key=key,
            path=layout.path(key),
            index_path=layout.index_path(key),
            examples=layout.examples(key) - len(tally.left_out),
            bytes=description["bytes"],
            crc32c=description["crc32c"],
            tally=tally,
        )
        intact = (
            stored_checksum(shard.path) == (shard.crc32c, shard.bytes)
            and stored_checksum(shard.index_path)[0] == description["index_crc32c"]
        )
    except (OSError, ValueError, KeyError):
        return None
    return shard if intact else None


# Transforms


@dataclass(frozen=True)
class ChunkTask:
    """A chunk of an unfinished shard, and descriptions of segments that may hold it already."""

    key: ChunkKey
    found: tuple[str, ...]


FINISHED = "finished"
SEGMENTS = "segments"
CHUNKS = "chunks"


@dataclass
class TakeStock(beam.PTransform):  # type: ignore[misc]
    """From shard keys to what is there of them already and what is to be made.

    Gives a dict of three collections: finished `Shard`s, intact `Segment`s of unfinished shards,
    and the `ChunkKey`s of what is missing. Only keys and file names cross the shuffle.
    """

    layout: ShardLayout
    chunk_keys: Callable[[ShardKey], Iterable[ChunkKey]]

    def expand(self, keys: beam.PCollection) -> dict[str, beam.PCollection]:
        shards = keys | "LookForShards" >> beam.ParDo(
            _LookForShardDoFn(self.layout, self.chunk_keys)
        ).with_outputs(FINISHED, main=CHUNKS)
        tasks = (
            shards[CHUNKS]
            | "Spread" >> beam.Reshuffle()
            | "LookForSegments"
            >> beam.ParDo(_LookForSegmentDoFn()).with_outputs(SEGMENTS, main=CHUNKS)
        )
        return {
            FINISHED: shards[FINISHED],
            SEGMENTS: tasks[SEGMENTS],
            CHUNKS: tasks[CHUNKS],
        }


class _LookForShardDoFn(beam.DoFn):  # type: ignore[misc]
    def __init__(
        self, layout: ShardLayout, chunk_keys: Callable[[ShardKey], Iterable[ChunkKey]]
    ) -> None:
        self._layout = layout
        self._chunk_keys = chunk_keys

    def process(self, key: ShardKey) -> Iterator[Any]:
        if finished := find_shard(key, self._layout):
            yield beam.pvalue.TaggedOutput(FINISHED, finished)
            return
        found: dict[tuple[int, int], list[str]] = {}
        for file in list_files(self._layout.folder(key)):
            if name := _SEGMENT.fullmatch(file.name):
                found.setdefault((int(name[1]), int(name[2])), []).append(file.path)
        for chunk in self._chunk_keys(key):
            yield ChunkTask(chunk, tuple(found.get((chunk.start, chunk.examples), ())))


class _LookForSegmentDoFn(beam.DoFn):  # type: ignore[misc]
    def process(self, task: ChunkTask) -> Iterator[Any]:
        for path in task.found:
            if segment := find_segment(task.key, path):
                yield beam.pvalue.TaggedOutput(SEGMENTS, segment)
                return
        yield task.key


class _WriteSegmentDoFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, layout: ShardLayout) -> None:
        self._layout = layout

    def process(self, chunk: EncodedChunk) -> Iterator[Segment]:
        yield write_segment(chunk, self._layout.folder(chunk.key.shard))


@dataclass
class WriteSegments(beam.PTransform):  # type: ignore[misc]
    """From encoded chunks to segments on disk; only their metadata travels on."""

    layout: ShardLayout

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "WriteFiles" >> beam.ParDo(_WriteSegmentDoFn(self.layout))


@dataclass
class AssembleShards(beam.PTransform):  # type: ignore[misc]
    """From segments to finished shards: grouped by shard, joined in order, renamed last.

    Shards that were finished before come along, and each shard comes out once: a runner that takes
    stock again after a loss may find a shard finished whose segments are already on their way.
    """

    layout: ShardLayout

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        layout = self.layout
        return (
            parts
            # Text is a key that every runner encodes alike.
            | "KeyByShard" >> beam.WithKeys(lambda part: layout.path(_shard_key(part)))
            | "GroupByShard" >> beam.GroupByKey()
            | "Join" >> beam.MapTuple(lambda _, group: _assemble_group(group, layout))
        )


def _shard_key(part: Segment | Shard) -> ShardKey:
    return part.key if isinstance(part, Shard) else part.key.shard


def _assemble_group(group: Iterable[Segment | Shard], layout: ShardLayout) -> Shard:
    segments = []
    for part in group:
        if isinstance(part, Shard):
            return part
        segments.append(part)
    return assemble_shard(segments[0].key.shard, segments, layout)
