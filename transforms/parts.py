"""Output files that are made in parts: written, found again after an interruption, and joined.

A job is cut into chunks. An attempt at a chunk writes what it has for each output file into files
of its own, then describes them; the parts of an output file are joined in order, and the whole is
described too. All of it lies in the work folder, a folder for each shard and each output file::

    5d1c…-NAME/0000080-n80-6f3a….json   what 80 examples of a shard, from example 80 on, became
    5d1c…-NAME/0000080-n80-6f3a…        … and, with one ending or another, that itself
    5d1c…-NAME/finished.json            of an output file that stands; its parts are gone

A description is renamed into its name last, so what it describes is whole. A folder's name begins
with the checksum of what decides the job's bytes: a job on a cluster may outlive the command that
began it, and must not mix with another that is begun in its place.
"""

from __future__ import annotations

import abc
import json
import operator
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import google_crc32c

from transforms.elements import ChunkKey, OutputFile, Part, ShardKey
from transforms.io.files import (
    WrittenFile,
    crc_text,
    delete_files,
    join,
    list_files,
    list_names,
    read_file,
    rename_file,
    replace_file,
    stored_checksum,
)

# What is being made in a work folder: all that decides its bytes.
PROVENANCE = "provenance.json"
_ATTEMPT = "[0-9a-f]{12}"
# What a chunk has made: its first example, how many it has, the attempt; and an ending.
_CHUNK = re.compile(rf"(?P<chunk>\d{{7,}}-n(?P<examples>\d+))-{_ATTEMPT}")
_DESCRIPTION = re.compile(rf"{_CHUNK.pattern}\.json")
_FINISHED = "finished.json"
# A file that is being written; on Cloud Storage, also one that is being composed for it.
_UNFINISHED = rf".*\.{_ATTEMPT}\.part(\.{_ATTEMPT})?"
_FOLDER = r"[0-9a-f]{8}-[^/]+"
_WORK_FILE = re.compile(rf"({_FOLDER}/({_CHUNK.pattern}[^/]*|finished\.\w+)|{_UNFINISHED})")


def unfinished_path(path: str) -> str:
    """Where this attempt writes the file that it will rename to `path`."""
    return f"{path}.{uuid.uuid4().hex[:12]}.part"


def is_work_file(name: str) -> bool:
    """Whether `name`, below the work folder, is the name of a file that a job writes there."""
    return _WORK_FILE.fullmatch(name) is not None


def is_half_written(name: str, names: Collection[str]) -> bool:
    """Whether an attempt was interrupted at `name`; `names`: all that there are in its folder."""
    chunk = re.match(rf"{_FOLDER}/{_CHUNK.pattern}", name)
    return bool(re.fullmatch(_UNFINISHED, name) or (chunk and f"{chunk[0]}.json" not in names))


def provenance_checksum(provenance: Mapping[str, Any]) -> str:
    """A short name for all that decides a job's bytes."""
    return crc_text(google_crc32c.value(json.dumps(provenance, sort_keys=True).encode()))


def check_unchanged(work_folder: str, run: str) -> None:
    """Raises RuntimeError where other work than that of this checksum is being made there."""
    try:
        found = provenance_checksum(json.loads(read_file(join(work_folder, PROVENANCE))))
    except (FileNotFoundError, ValueError):
        found = ""
    if found != run:
        raise RuntimeError(f"{work_folder}: another run has been begun here meanwhile")


def write_description(path: str, description: Mapping[str, Any]) -> None:
    """Writes JSON after its own CRC-32C. At `path` it is whole or not there."""
    text = json.dumps(description).encode()
    checksum = f"{google_crc32c.value(text):08x}\n".encode()
    replace_file(path, unfinished_path(path), [checksum, text])


def parse_description(path: str, data: bytes) -> dict[str, Any]:
    """What `write_description` has written to `path`. Raises ValueError where it is damaged."""
    checksum, _, text = data.partition(b"\n")
    if checksum != f"{google_crc32c.value(text):08x}".encode():
        raise ValueError(f"{path} is damaged")
    description: dict[str, Any] = json.loads(text)
    return description


class Made(Protocol):
    """What an attempt at a chunk has made."""

    @property
    def parts(self) -> tuple[Part, ...]: ...


@dataclass(frozen=True)
class ChunkTask:
    """A chunk, and the descriptions of attempts that may have made it already."""

    key: ChunkKey
    descriptions: tuple[str, ...]


_Made = TypeVar("_Made", bound=Made)
_File = TypeVar("_File", bound=OutputFile)


@dataclass(frozen=True)
class PartStore(abc.ABC, Generic[_Made, _File]):
    """Where a job keeps its output files and their parts. What they are, subclasses say.

    `run`: the checksum of all that decides the job's bytes.
    """

    output: str
    work_folder: str
    run: str

    @abc.abstractmethod
    def shard_name(self, key: ShardKey) -> str:
        """The name of the shard's folder: where the job makes shards, that of the shard itself."""

    @abc.abstractmethod
    def read_chunk(self, key: ChunkKey, stem: str, description: Mapping[str, Any]) -> _Made:
        """What was made of a chunk, from its description; `stem`: its files' path, less endings."""

    @abc.abstractmethod
    def read_file(self, name: str, description: Mapping[str, Any]) -> _File:
        """An output file, from its description."""

    @abc.abstractmethod
    def join(self, name: str, parts: Sequence[Any], path: str) -> _File:
        """Writes all parts of the output file `name`, which are in order, to `path`.

        Describes it by `describe_file`, as what it will be under its own name. Raises ValueError
        where the parts are not all, or not the bytes that were written.
        """

    def path(self, name: str) -> str:
        """The output file of that name."""
        return join(self.output, name)

    def folder(self, name: str) -> str:
        """The folder in the work folder for a shard or an output file."""
        return join(self.work_folder, f"{self.run}-{name}")

    def new_stem(self, key: ChunkKey) -> str:
        """What the paths of this attempt at a chunk begin with.

        An attempt that is repeated or duplicated never touches another's files.
        """
        name = f"{_chunk_name(key)}-{uuid.uuid4().hex[:12]}"
        return join(self.folder(self.shard_name(key.shard)), name)

    def describe_chunk(self, stem: str, description: Mapping[str, Any]) -> None:
        """Writes what `read_chunk` takes, once the files themselves are written."""
        write_description(f"{stem}.json", description)

    def describe_file(self, name: str, description: Mapping[str, Any]) -> None:
        """Writes what `read_file` takes."""
        write_description(join(self.folder(name), _FINISHED), description)

    def tasks(
        self, shard: ShardKey, keys: Iterable[ChunkKey], finished: Collection[str]
    ) -> Iterator[ChunkTask]:
        """What there is to look for, or to make, of a shard; nothing where it is finished."""
        name = self.shard_name(shard)
        if name in finished:
            return
        found: dict[str, list[str]] = {}
        for file in list_files(self.folder(name)):
            if described := _DESCRIPTION.fullmatch(file.name):
                found.setdefault(described["chunk"], []).append(file.path)
        for key in keys:
            yield ChunkTask(key, tuple(found.get(_chunk_name(key), ())))

    def find_chunk(self, task: ChunkTask, finished: Collection[str]) -> _Made | None:
        """What an earlier attempt has made of a chunk, or None where it has to be made.

        Parts of the output files in `finished` are no longer needed; the others are there with the
        bytes that were written.
        """
        for path in task.descriptions:
            try:
                description = parse_description(path, read_file(path))
                made = self.read_chunk(task.key, path.removesuffix(".json"), description)
                needed = (part for part in made.parts if part.file not in finished)
                if all(_is_intact(file) for part in needed for file in part.written):
                    return made
            except (OSError, ValueError):
                continue
        return None

    def named_files(self) -> list[str]:
        """The names for which there is a folder in the work folder."""
        prefix = f"{self.run}-"
        names = sorted(list_names(self.work_folder))
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def find_file(self, name: str) -> _File | None:
        """A finished output file, or None where it is not there, or not what was written."""
        path = join(self.folder(name), _FINISHED)
        try:
            found = self.read_file(name, parse_description(path, read_file(path)))
            return found if all(map(_is_intact, found.written)) else None
        except (OSError, ValueError):
            return None

    def finish_file(self, name: str, found: Iterable[Part | OutputFile]) -> OutputFile:
        """Joins the parts of an output file, and renames the whole into place.

        One that an earlier attempt has finished, whether it is among what was found or not, is
        left as it is. Parts are deleted once the file stands. Raises ValueError as `join` does.
        """
        parts: dict[int, Part] = {}
        for one in found:
            if isinstance(one, OutputFile):
                return one
            parts[one.order] = one  # duplicates are identical; keep any
        if finished := self.find_file(name):
            return finished
        ordered = sorted(parts.values(), key=operator.attrgetter("order"))
        path = unfinished_path(join(self.folder(name), name))
        try:
            finished = self.join(name, ordered, path)
        except FileNotFoundError:
            # Another attempt may have joined and deleted them just now.
            if finished_now := self.find_file(name):
                return finished_now
            raise
        check_unchanged(self.work_folder, self.run)
        rename_file(path, self.path(name))
        delete_files([path for part in ordered for path in part.paths])
        return finished

    def count_examples(self, shard_sizes: Mapping[str, int]) -> int:
        """Examples that are made so far, from names of files alone.

        They are those of chunks, and of finished shards, whose sizes are given by name.
        """
        chunks: dict[str, dict[str, int]] = {}
        finished: set[str] = set()
        for file in list_files(self.work_folder):
            folder = file.path.replace("\\", "/").split("/")[-2]
            run, _, name = folder.partition("-")
            if run != self.run:
                continue
            if described := _DESCRIPTION.fullmatch(file.name):  # attempts at one chunk count once
                chunks.setdefault(name, {})[described["chunk"]] = int(described["examples"])
            elif file.name == _FINISHED and name in shard_sizes:
                finished.add(name)
        return sum(map(shard_sizes.__getitem__, finished)) + sum(
            sum(made.values()) for name, made in chunks.items() if name not in finished
        )


def _chunk_name(key: ChunkKey) -> str:
    return f"{key.start:07d}-n{key.examples}"


def _is_intact(file: WrittenFile) -> bool:
    return stored_checksum(file.path) == (file.crc32c, file.bytes)
