"""Pieces of an export: each made in one go, then joined into containers.

A piece is what a chunk becomes. For each container that it has something for, it writes one file
into the work folder (see ``transforms/parts.py``), a TFRecord file whose records are what goes into
the container, each after its place among all that does, and in that order::

    0000000-n4000-6f3a…-0.tfrecord
"""

from __future__ import annotations

import json
import operator
import struct
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from depthmask.features import Features
from depthmask.manifest import BACKGROUNDS, FOREGROUNDS, PUBLICATION, DepthMeaning, crc_text
from depthmask.records import frame_record, parse_example, read_records
from pipeline.export.grid import Grid
from pipeline.export.joining import PLACE, join_container
from pipeline.export.layout import Example, Facts, File, InputPicture, Layout
from pipeline.export.layouts import LAYOUTS
from pipeline.export.pictures import Picture, fit_depth, fit_picture
from pipeline.export.zips import zip_file
from pipeline.publish.publication import parse_publication
from pipeline.publish.summary import Summary
from pipeline.run import EXPORT, Workspace
from transforms.elements import ChunkKey, OutputFile, Part, ShardKey
from transforms.io.files import WrittenFile, exists, join, open_file, sync_files, write_file
from transforms.parts import PartStore

# Examples a piece, at most, and bytes of their records, about: a piece's are held in memory.
PIECE_EXAMPLES = 4000
_PIECE_BYTES = 64 * 2**20
# The key of the dataset's inputs; no split has an empty name.
INPUTS = ShardKey("", 0)


@dataclass(frozen=True)
class SourceShard:
    """A shard of the dataset. `first`: the number of its first example in the whole dataset."""

    file: str
    first: int
    examples: int
    bytes: int


@dataclass(frozen=True)
class ContainerPart(Part):
    """A piece's part of a container. `files`: how many there are in it."""

    files: int


@dataclass(frozen=True)
class Piece:
    """What a chunk became: parts of containers, and files in folders."""

    key: ChunkKey
    parts: tuple[ContainerPart, ...]
    loose_files: int
    loose_bytes: int


@dataclass(frozen=True)
class PlacedFile:
    """A file of an export, and its place among all that goes into its container."""

    place: int
    file: File


@dataclass(frozen=True)
class ExportJob(PartStore[Piece, OutputFile]):
    """An export: of which dataset, by which layout, into which folder.

    `summary`: what the dataset is, in sentences. `publish_yaml`: the file of what its maker says of
    it. `features`: of its records. `depth`: what stored depth means, or None.
    """

    summary: Summary
    publish_yaml: bytes | None
    layout_name: str
    dataset: str
    shards: Mapping[ShardKey, SourceShard]
    features: Features
    depth: DepthMeaning | None
    grid: Grid

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.layout_name]

    @property
    def examples(self) -> int:
        return sum(shard.examples for shard in self.shards.values())

    @property
    def facts(self) -> Facts:
        splits: Counter[str] = Counter()
        for key, shard in self.shards.items():
            splits[key.split] += shard.examples
        return Facts(self.summary, splits, self.features, self.depth)

    def shard_keys(self) -> list[ShardKey]:
        """Returns the keys of the inputs and of every shard of the dataset."""
        return [INPUTS, *self.shards]

    def chunk_keys(self, shard: ShardKey) -> Iterator[ChunkKey]:
        """Yields the chunks of a shard, in order; for the inputs, one without examples."""
        if shard == INPUTS:
            yield ChunkKey(INPUTS, 0, 0)
            return
        source = self.shards[shard]
        fitting = _PIECE_BYTES * source.examples // max(source.bytes, 1)
        step = max(1, min(PIECE_EXAMPLES, fitting))
        for start in range(0, source.examples, step):
            yield ChunkKey(shard, start, min(step, source.examples - start))

    def order(self, key: ChunkKey) -> int:
        """Returns the number of the chunk's first example; -1 for the inputs, which come first."""
        return -1 if key.shard == INPUTS else self.shards[key.shard].first + key.start

    def shard_name(self, key: ShardKey) -> str:
        return "inputs" if key == INPUTS else self.shards[key].file

    def read_chunk(self, key: ChunkKey, stem: str, description: Mapping[str, Any]) -> Piece:
        parts = []
        for number, (name, files, *check) in enumerate(description["parts"]):
            written = WrittenFile(_path(stem, number), *check)
            parts.append(ContainerPart(name, self.order(key), (written,), files))
        return Piece(key, tuple(parts), description["loose_files"], description["loose_bytes"])

    def read_file(self, name: str, description: Mapping[str, Any]) -> OutputFile:
        return OutputFile(name, (WrittenFile(self.path(name), *description["file"]),))

    def join(self, name: str, parts: Sequence[ContainerPart], path: str) -> OutputFile:
        written = [file for part in parts for file in part.written]
        files = sum(part.files for part in parts)
        header = self.layout.header(name)
        size, crc32c = join_container(name, header, written, files, self.depth, path)
        self.describe_file(name, {"file": [size, crc32c]})
        return OutputFile(name, (WrittenFile(self.path(name), size, crc32c),))


def piece_files(job: ExportJob, key: ChunkKey, limit: int = PIECE_EXAMPLES) -> Iterator[PlacedFile]:
    """Yields the files that a chunk becomes, or its first `limit` examples, in order."""
    if key.shard == INPUTS:
        for picture in _inputs(job):
            for file in job.layout.input_files(picture):
                yield PlacedFile(-1, file)
        for file in job.layout.describing(job.facts):
            yield PlacedFile(-1, file)
        return
    layout, later = job.layout, []
    for example, encoded in sorted(
        _examples(job, key, limit), key=lambda found: layout.order(found[0])
    ):
        place = layout.order(example)
        for file in layout.files(example, _pictures(job, encoded)):
            placed = PlacedFile(file.group * job.grid.examples + place, file)
            if file.group:
                later.append(placed)
            else:
                yield placed
    yield from sorted(later, key=operator.attrgetter("place"))


def _inputs(job: ExportJob) -> Iterator[InputPicture]:
    for kind, key in (
        ("background", "image"),
        ("foreground", "image"),
        ("foreground_mask", "mask"),
    ):
        file_name = BACKGROUNDS if kind == "background" else FOREGROUNDS
        with open_file(join(job.dataset, file_name)) as file:
            for record in read_records(file):
                features: dict[str, Any] = parse_example(record)
                name, label = (features.get(text, b"").decode() for text in ("name", "class"))
                yield InputPicture(kind, name, label, features[key], job.grid)


def _examples(
    job: ExportJob, key: ChunkKey, limit: int
) -> Iterator[tuple[Example, dict[str, bytes]]]:
    """Yields a chunk's examples and their encoded pictures, as the dataset has them."""
    first = job.order(key)
    numbers = range(first, first + min(limit, key.examples))
    shards = sum(shard.split == key.shard.split for shard in job.shards)
    with open_file(join(job.dataset, job.shards[key.shard].file)) as file:
        for number, record in zip(numbers, read_records(file, key.start), strict=False):
            features: dict[str, Any] = parse_example(record)
            kinds = [kind for kind in ("image", "mask", "depth") if kind in features]
            encoded: dict[str, bytes] = {kind: features.pop(kind) for kind in kinds}
            texts = {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in features.items()
            }
            shard = key.shard
            yield (
                Example(
                    position=number,
                    examples=job.examples,
                    split=shard.split,
                    shard=shard.shard,
                    shards=shards,
                    features=texts,
                    grid=job.grid,
                    depth=job.depth,
                ),
                encoded,
            )


def _pictures(job: ExportJob, encoded: Mapping[str, bytes]) -> dict[str, Picture]:
    """Returns an example's pictures in the layout's forms."""
    layout, features = job.layout, job.features.pictures
    pictures = {
        "image": fit_picture(encoded["image"], features["image"], layout.image),
        "mask": fit_picture(encoded["mask"], features["mask"], layout.mask),
    }
    if job.depth is not None:
        depth = fit_depth(encoded["depth"], features["depth"], job.depth, layout.depth)
        pictures["depth"] = depth
    return pictures


def make_piece(job: ExportJob, key: ChunkKey) -> Piece:
    """Writes the files of a chunk, and their description last."""
    stem = job.new_stem(key)
    # In memory, like the examples: there may be more containers than files can be open.
    records: dict[str, list[bytes]] = {}
    loose_files = loose_bytes = 0
    for placed in piece_files(job, key):
        file = placed.file
        if file.container is None:
            write_file(join(job.output, *file.name.split("/")), [file.data])
            loose_files += 1
            loose_bytes += len(file.data)
            continue
        data = struct.pack(PLACE, placed.place) + _in_container(file, job.layout.deflated)
        records.setdefault(file.container, []).append(frame_record(data))
    description = {
        "parts": [
            [name, len(mine), sum(map(len, mine)), write_file(_path(stem, number), mine)]
            for number, (name, mine) in enumerate(records.items())
        ],
        "loose_files": loose_files,
        "loose_bytes": loose_bytes,
    }
    job.describe_chunk(stem, description)
    return job.read_chunk(key, stem, description)


def _path(stem: str, number: int) -> str:
    """Returns where a piece writes its part of a container."""
    return f"{stem}-{number}.tfrecord"


def _in_container(file: File, deflated: bool) -> bytes:
    """Returns what its container has of a file."""
    match str(file.container).rsplit(".", 1)[-1]:
        case "zip":
            return zip_file(file.name, file.data, deflated and not file.group)
        case "tar":
            padding = bytes(-len(file.data) % tarfile.BLOCKSIZE)
            return b"".join((_tar_header(file), file.data, padding))
        case _:
            return file.data


def _tar_header(file: File) -> bytes:
    info = tarfile.TarInfo(file.name)
    info.size = len(file.data)
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def finish_export(
    job: ExportJob,
    provenance: dict[str, Any],
    containers: Iterable[OutputFile],
    pieces: Iterable[Piece],
) -> None:
    """Writes what describes the export, once all containers are on the disk; export.json last.

    Harmless to repeat.
    """
    workspace = Workspace(job.output, EXPORT).of_run(provenance)
    workspace.check()
    files = sorted(containers, key=operator.attrgetter("name"))
    sync_files(workspace.path(file.name) for file in files)
    loose = {piece.key: (piece.loose_files, piece.loose_bytes) for piece in pieces}
    description = {
        "provenance": provenance,
        "examples": job.examples,
        **job.facts.to_json(),
        "files": [
            {
                "name": file.name,
                "bytes": file.written[0].bytes,
                "crc32c": crc_text(file.written[0].crc32c),
            }
            for file in files
        ],
        "in_folders": {
            "files": sum(count for count, _ in loose.values()),
            "bytes": sum(size for _, size in loose.values()),
        },
    }
    if job.publish_yaml is not None and not exists(workspace.path(PUBLICATION)):
        workspace.write(PUBLICATION, [job.publish_yaml])
    publication = parse_publication(job.publish_yaml)
    for name, data in job.layout.published(job.facts, publication).items():
        workspace.write(name, [data])
    workspace.write(EXPORT.last_file, [json.dumps(description, indent=2).encode()])
