"""Segments: a chunk's records in a file of their own, and how segments become shards."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import google_crc32c
from apache_beam.io.filesystems import FileSystems

from transforms.chunks import EncodedChunk, Segment, Shard, ShardKey
from transforms.statistics import merge


def write_segment(chunk: EncodedChunk, folder: str) -> Segment:
    """Writes a chunk's records and index rows into `folder`.

    The files' names are unique to this attempt: a retried or duplicated attempt never touches
    them, and only what the runner commits is joined. The records file is renamed into its name
    last, so a file that is there is whole.
    """
    key = chunk.key
    stem = f"{key.shard.split}-{key.shard.shard:05d}-{key.start:07d}-n{key.examples}"
    stem = FileSystems.join(folder, f"{stem}-{uuid.uuid4().hex[:12]}")
    index_path = f"{stem}.csv"
    write_file(index_path, [chunk.index_rows.encode()])
    path = f"{stem}.tfrecord"
    write_file(f"{path}.part", [chunk.records])
    FileSystems.rename([f"{path}.part"], [path])
    return Segment(
        key=key,
        path=path,
        index_path=index_path,
        bytes=len(chunk.records),
        crc32c=google_crc32c.value(chunk.records),
        moments=chunk.moments,
    )


def write_file(path: str, parts: Iterable[bytes]) -> int:
    """Writes a new file, on any file system that Beam knows; gives the CRC-32C of its bytes."""
    crc = 0
    with FileSystems.create(
        path, mime_type="application/octet-stream", compression_type="uncompressed"
    ) as file:
        for part in parts:
            file.write(part)
            crc = google_crc32c.extend(crc, part)
    return crc


def read_file(path: str) -> bytes:
    """All bytes of a file, on any file system that Beam knows."""
    with FileSystems.open(path, compression_type="uncompressed") as file:
        return bytes(file.read())


def assemble_shard(key: ShardKey, segments: Iterable[Segment], layout: ShardLayout) -> Shard:
    """Joins a shard's segments by copying their bytes, and renames the whole into place.

    Raises RuntimeError where the segments are not exactly the shard's examples, or a segment's
    bytes are not those that were written.
    """
    ordered = sorted(segments, key=operator.attrgetter("key"))
    position = 0
    for segment in ordered:
        if segment.key.start != position:
            raise RuntimeError(f"{key}: example {position} is missing or there twice")
        position += segment.key.examples
    if position != layout.examples(key):
        raise RuntimeError(f"{key}: {position} examples instead of {layout.examples(key)}")

    def checked(segment: Segment) -> bytes:
        data = read_file(segment.path)
        if google_crc32c.value(data) != segment.crc32c:
            raise RuntimeError(f"{segment.path}: not the bytes that were written to it")
        return data

    path = layout.path(key)
    attempt = uuid.uuid4().hex[:12]
    part = FileSystems.join(layout.work_folder, f"{key.split}-{key.shard:05d}-{attempt}")
    write_file(f"{part}.csv", (read_file(segment.index_path) for segment in ordered))
    crc = write_file(f"{part}.tfrecord.part", (checked(segment) for segment in ordered))
    FileSystems.rename([f"{part}.tfrecord.part"], [path])
    return Shard(
        key=key,
        path=path,
        index_path=f"{part}.csv",
        examples=position,
        bytes=sum(segment.bytes for segment in ordered),
        crc32c=crc,
        moments=merge(segment.moments for segment in ordered),
    )


@dataclass(frozen=True)
class ShardLayout:
    """Where shards go and how many examples each has. `shard_sizes`: by split, shard by shard."""

    output: str
    work_folder: str
    shard_sizes: dict[str, tuple[int, ...]]

    def path(self, key: ShardKey) -> str:
        count = len(self.shard_sizes[key.split])
        name = f"depthmask-{key.split}.tfrecord-{key.shard:05d}-of-{count:05d}"
        return str(FileSystems.join(self.output, name))

    def examples(self, key: ShardKey) -> int:
        return self.shard_sizes[key.split][key.shard]


class _WriteSegmentDoFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, chunk: EncodedChunk) -> Iterator[Segment]:
        yield write_segment(chunk, self._folder)


@dataclass
class WriteSegments(beam.PTransform):  # type: ignore[misc]
    """From encoded chunks to segments on disk; only their metadata travels on."""

    folder: str

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "WriteFiles" >> beam.ParDo(_WriteSegmentDoFn(self.folder))


@dataclass
class AssembleShards(beam.PTransform):  # type: ignore[misc]
    """From segments to finished shards: grouped by shard, joined in order, renamed last."""

    layout: ShardLayout

    def expand(self, segments: beam.PCollection) -> beam.PCollection:
        layout = self.layout
        return (
            segments
            # Text is a key that every runner encodes alike.
            | "KeyByShard" >> beam.WithKeys(lambda segment: layout.path(segment.key.shard))
            | "GroupByShard" >> beam.GroupByKey()
            | "Join" >> beam.MapTuple(lambda _, group: _assemble_group(group, layout))
        )


def _assemble_group(group: Iterable[Segment], layout: ShardLayout) -> Shard:
    segments = list(group)
    return assemble_shard(segments[0].key.shard, segments, layout)
