"""Pieces of an export: each made in one go, then joined into containers by copying bytes.

A piece is what a chunk becomes. For each container that it has something for, it writes one file
into the work folder, or two (see ``transforms/parts.py``)::

    0000000-n4000-6f3a…-0.data       entries of a zip or tar, lines, rows
    0000000-n4000-6f3a…-0.entries    of a zip: checksums, sizes and names of its entries
"""

from __future__ import annotations

import contextlib
import io
import json
import operator
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from depthmask.manifest import BACKGROUNDS, FOREGROUNDS, DepthMeaning, crc_text
from depthmask.records import parse_example, read_records
from pipeline.export.layouts import LAYOUTS, Example, File, InputPicture, Layout
from pipeline.export.pictures import fit_depth, fit_picture
from pipeline.export.zips import ZipEntry, end_of_directory
from pipeline.run import EXPORT, Workspace
from transforms.elements import ChunkKey, OutputFile, Part, ShardKey
from transforms.io.files import (
    WrittenFile,
    create_file,
    join,
    open_file,
    read_written,
)
from transforms.parts import PartStore

# Examples a piece, at most.
PIECE_EXAMPLES = 4000
# The key of the dataset's inputs; no split has an empty name.
INPUTS = ShardKey("", 0)
_BLOCK = 2**20
_TAR_END = bytes(1024)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class SourceShard:
    """A shard of the dataset. `first`: the number of its first example in the whole dataset."""

    file: str
    first: int
    examples: int


@dataclass(frozen=True)
class Piece:
    """What a chunk became: parts of containers, and files in folders."""

    key: ChunkKey
    parts: tuple[Part, ...]
    loose_files: int
    loose_bytes: int


@dataclass(frozen=True)
class ExportJob(PartStore[Piece, OutputFile]):
    """An export: of which dataset, by which layout, into which folder.

    `features`: those of features.json. `depth`: what stored depth means, or None.
    """

    layout_name: str
    dataset: str
    shards: Mapping[ShardKey, SourceShard]
    features: dict[str, Any]
    depth: DepthMeaning | None

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.layout_name]

    @property
    def examples(self) -> int:
        return sum(shard.examples for shard in self.shards.values())

    def shard_keys(self) -> list[ShardKey]:
        """Returns the keys of the inputs and of every shard of the dataset."""
        return [INPUTS, *self.shards]

    def chunk_keys(self, shard: ShardKey) -> Iterator[ChunkKey]:
        """Yields the chunks of a shard, in order; for the inputs, one without examples."""
        if shard == INPUTS:
            yield ChunkKey(INPUTS, 0, 0)
            return
        examples = self.shards[shard].examples
        for start in range(0, examples, PIECE_EXAMPLES):
            yield ChunkKey(shard, start, min(PIECE_EXAMPLES, examples - start))

    def order(self, key: ChunkKey) -> int:
        """Returns the number of the chunk's first example; -1 for the inputs, which come first."""
        return -1 if key.shard == INPUTS else self.shards[key.shard].first + key.start

    def shard_name(self, key: ShardKey) -> str:
        return "inputs" if key == INPUTS else self.shards[key].file

    def read_chunk(self, key: ChunkKey, stem: str, description: Mapping[str, Any]) -> Piece:
        parts = []
        for number, (name, *checks) in enumerate(description["parts"]):
            files = zip(_paths(stem, number), checks, strict=False)  # only a zip has both
            written = tuple(WrittenFile(path, *check) for path, check in files)
            parts.append(Part(name, self.order(key), written))
        return Piece(key, tuple(parts), description["loose_files"], description["loose_bytes"])

    def read_file(self, name: str, description: Mapping[str, Any]) -> OutputFile:
        return OutputFile(name, (WrittenFile(self.path(name), *description["file"]),))

    def join(self, name: str, parts: Sequence[Part], path: str) -> OutputFile:
        with create_file(path) as file:
            output = _CheckedFile(self.path(name), file)
            if name.endswith(".zip"):
                _join_zip(parts, output)
            elif name.endswith(".npz"):
                _join_npz(self, parts, output)
            else:
                output.write(self.layout.header(name))
                for block in _blocks(parts):
                    output.write(block)
                if name.endswith(".tar"):
                    output.write(_TAR_END)
        self.describe_file(name, {"file": [output.bytes, output.crc32c]})
        return OutputFile(name, (output.written,))


# Making


def piece_files(job: ExportJob, key: ChunkKey, limit: int = PIECE_EXAMPLES) -> Iterator[File]:
    """Yields the files that a chunk becomes, or its first `limit` examples."""
    if key.shard == INPUTS:
        for picture in _inputs(job.dataset):
            yield from job.layout.input_files(picture)
        return
    first = job.order(key)
    numbers = range(first, first + min(limit, key.examples))
    with open_file(join(job.dataset, job.shards[key.shard].file)) as file:
        for number, record in zip(numbers, read_records(file, key.start), strict=False):
            yield from job.layout.files(_example(job, key.shard, number, record))


def _inputs(dataset: str) -> Iterator[InputPicture]:
    for kind, key in (
        ("background", "image"),
        ("foreground", "image"),
        ("foreground_mask", "mask"),
    ):
        file_name = BACKGROUNDS if kind == "background" else FOREGROUNDS
        with open_file(join(dataset, file_name)) as file:
            for record in read_records(file):
                features: dict[str, Any] = parse_example(record)
                yield InputPicture(kind, features["name"].decode(), features[key])


def _example(job: ExportJob, shard: ShardKey, number: int, record: bytes) -> Example:
    features: dict[str, Any] = parse_example(record)
    encoded = {name: features.pop(name) for name in ("image", "mask", "depth") if name in features}
    layout = job.layout
    pictures = {
        "image": fit_picture(encoded["image"], job.features["image"], layout.image),
        "mask": fit_picture(encoded["mask"], job.features["mask"], layout.mask),
    }
    if job.depth is not None and layout.depth is not None:
        stored = job.features["depth"]
        pictures["depth"] = fit_depth(encoded["depth"], stored, job.depth, layout.depth)
    return Example(
        number=number,
        total=job.examples,
        split=shard.split,
        shard=shard.shard,
        features={
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in features.items()
        },
        pictures=pictures,
        stored_depth=encoded.get("depth"),
        depth=job.depth,
    )


def make_piece(job: ExportJob, key: ChunkKey) -> Piece:
    """Writes the files of a chunk, and their description last."""
    stem = job.new_stem(key)
    writers: dict[str, _PartWriter] = {}
    loose_files = loose_bytes = 0
    with contextlib.ExitStack() as stack:
        for file in piece_files(job, key):
            if file.container is None:
                with create_file(join(job.output, *file.name.split("/"))) as stream:
                    stream.write(file.data)
                loose_files += 1
                loose_bytes += len(file.data)
                continue
            if file.container not in writers:
                paths = _paths(stem, len(writers))
                writers[file.container] = _PartWriter(file.container, paths, stack)
            writers[file.container].add(file)
    description = {
        "parts": [
            [name, *([file.bytes, file.crc32c] for file in writer.files)]
            for name, writer in writers.items()
        ],
        "loose_files": loose_files,
        "loose_bytes": loose_bytes,
    }
    job.describe_chunk(stem, description)
    return job.read_chunk(key, stem, description)


def _paths(stem: str, number: int) -> tuple[str, str]:
    """Returns where a piece writes its part of a container, and a zip's list of entries."""
    return f"{stem}-{number}.data", f"{stem}-{number}.entries"


class _CheckedFile(io.RawIOBase):
    """A file that is written front to back, and counts its bytes and checksum.

    `path`: its final one.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self.bytes = self.crc32c = 0

    @property
    def written(self) -> WrittenFile:
        return WrittenFile(self._path, self.bytes, self.crc32c)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._file.write(block)
        self.bytes += len(block)
        self.crc32c = google_crc32c.extend(self.crc32c, block)
        return len(block)


class _PartWriter:
    """Writes a piece's part of one container."""

    def __init__(self, container: str, paths: Iterable[str], stack: contextlib.ExitStack) -> None:
        self._kind = container.rsplit(".", 1)[1]
        paths = paths if self._kind == "zip" else list(paths)[:1]
        self.files = [_CheckedFile(path, stack.enter_context(create_file(path))) for path in paths]

    def add(self, file: File) -> None:
        data, *entries = self.files
        if self._kind == "zip":
            entry = ZipEntry.of(file.name, file.data)
            entries[0].write(f"{entry.crc32} {entry.size} {entry.name}\n".encode())
            data.write(entry.header())
        elif self._kind == "tar":
            data.write(_tar_header(file))
        data.write(file.data)
        if self._kind == "tar":
            data.write(bytes(-len(file.data) % tarfile.BLOCKSIZE))


def _tar_header(file: File) -> bytes:
    info = tarfile.TarInfo(file.name)
    info.size = len(file.data)
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


# Joining


def _blocks(parts: Iterable[Part]) -> Iterator[bytes]:
    for written in (part.written[0] for part in parts):
        crc = 0
        with open_file(written.path) as file:
            while block := file.read(_BLOCK):
                crc = google_crc32c.extend(crc, block)
                yield block
        if crc != written.crc32c:
            raise ValueError(f"{written.path}: not the bytes that were written to it")


def _join_zip(parts: Iterable[Part], output: _CheckedFile) -> None:
    for block in _blocks(parts):
        output.write(block)
    start = output.bytes
    offset = count = 0
    for _, entries in (part.written for part in parts):
        records = []
        for line in read_written(entries).decode().splitlines():
            crc, size, name = line.split(" ", 2)
            entry = ZipEntry(name, int(crc), int(size))
            records.append(entry.directory_record(offset))
            offset += entry.stored_size
        output.write(b"".join(records))
        count += len(records)
    output.write(end_of_directory(count, output.bytes - start, start))


def _join_npz(job: ExportJob, parts: Iterable[Part], output: _CheckedFile) -> None:
    assert job.depth is not None
    height, width = job.depth.height, job.depth.width
    maps = sum(part.written[0].bytes for part in parts) // (_FLOAT_BYTES * height * width)
    header = {"descr": "<f4", "fortran_order": False, "shape": (maps, height, width)}
    info = zipfile.ZipInfo("depth.npy")
    info.external_attr = 0o644 << 16
    with (
        zipfile.ZipFile(output, "w") as archive,
        archive.open(info, "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_2_0(member, header)
        for block in _blocks(parts):
            member.write(block)


def finish_export(
    job: ExportJob,
    provenance: dict[str, Any],
    containers: Iterable[OutputFile],
    pieces: Iterable[Piece],
) -> None:
    """Writes export.json. Harmless to repeat."""
    workspace = Workspace(job.output, EXPORT).of_run(provenance)
    workspace.check()
    loose = {piece.key: (piece.loose_files, piece.loose_bytes) for piece in pieces}
    description = {
        "provenance": provenance,
        "examples": job.examples,
        "depth": job.depth and job.depth.to_json(),
        "files": [
            {
                "name": file.name,
                "bytes": file.written[0].bytes,
                "crc32c": crc_text(file.written[0].crc32c),
            }
            for file in sorted(containers, key=operator.attrgetter("name"))
        ],
        "in_folders": {
            "files": sum(count for count, _ in loose.values()),
            "bytes": sum(size for _, size in loose.values()),
        },
    }
    workspace.write(EXPORT.last_file, [json.dumps(description, indent=2).encode()])
