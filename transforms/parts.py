"""Output files in parts: how parts are written, found again after an interruption, and joined.

A job is cut into chunks. An attempt at a chunk writes its part of each output file into files of
its own, then describes them. The parts of an output file are joined in order, and the joined file
is described too. The work folder has a folder for each shard and each output file::

    5d1c…-NAME/0000080-n80-6f3a….json    what 80 examples, from the shard's example 80 on, became
    5d1c…-NAME/0000080-n80-6f3a…         … the files of that, with other endings
    5d1c…-NAME/finished.json             an output file that is finished; its parts are gone

A description gets its name last, so whatever is described is whole. A folder's name begins with
the checksum of the job's provenance: a job on a cluster may outlive the command that started it,
and must not mix with the next one in the same output folder.
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

from depthmask.manifest import crc_text
from depthmask.parsing import parse_json
from transforms.elements import ChunkKey, OutputFile, Part, ShardKey
from transforms.io.files import (
    WrittenFile,
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
# Names begin with a chunk's first example, how many it has, and the attempt.
_CHUNK = re.compile(rf"(?P<chunk>\d{{7,}}-n(?P<examples>\d+))-{_ATTEMPT}")
_DESCRIPTION = re.compile(rf"{_CHUNK.pattern}\.json")
_FINISHED = "finished.json"
# What a slash in an output file's name is in the name of its folder.
_SLASH = "%2F"
# A file that is being written, or on Cloud Storage a step in composing it.
_UNFINISHED = re.compile(rf".*\.{_ATTEMPT}\.part(\.{_ATTEMPT})?")
# Paths below the work folder.
_CHUNK_FILE = re.compile(rf"[0-9a-f]{{8}}-[^/]+/{_CHUNK.pattern}(?=[^/]*$)")
_FINISHED_FILE = re.compile(r"[0-9a-f]{8}-[^/]+/finished\.\w+")


def unfinished_path(path: str) -> str:
    """Returns where an attempt writes the file that it will rename to `path`."""
    return f"{path}.{uuid.uuid4().hex[:12]}.part"


def is_work_file(name: str) -> bool:
    """Returns whether a job writes files of this `name`, relative to the work folder."""
    return bool(
        _UNFINISHED.fullmatch(name) or _CHUNK_FILE.match(name) or _FINISHED_FILE.fullmatch(name)
    )


def is_half_written(name: str, names: Collection[str]) -> bool:
    """Returns whether an interrupted attempt left `name`; `names`: all in the work folder."""
    chunk = _CHUNK_FILE.match(name)
    return bool(_UNFINISHED.fullmatch(name) or (chunk and f"{chunk[0]}.json" not in names))


def provenance_checksum(provenance: Mapping[str, Any]) -> str:
    """A short name for all that decides a job's bytes."""
    return crc_text(google_crc32c.value(json.dumps(provenance, sort_keys=True).encode()))


def check_unchanged(work_folder: str, run: str) -> None:
    """Raises RuntimeError where other work than that of this checksum is being made there."""
    try:
        found = provenance_checksum(parse_json(read_file(join(work_folder, PROVENANCE))))
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
    """Returns what `write_description` wrote to `path`. Raises ValueError where it is damaged."""
    checksum, _, text = data.partition(b"\n")
    if checksum != f"{google_crc32c.value(text):08x}".encode():
        raise ValueError(f"{path} is damaged")
    description: dict[str, Any] = parse_json(text)
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
    """Where a job keeps its output files and their parts; subclasses say what these are.

    `run`: the checksum of the job's provenance.
    """

    output: str
    work_folder: str
    run: str

    @abc.abstractmethod
    def shard_name(self, key: ShardKey) -> str:
        """Returns the name of the shard's folder. If shards are output files: that of the file."""

    @abc.abstractmethod
    def read_chunk(self, key: ChunkKey, stem: str, description: Mapping[str, Any]) -> _Made:
        """Returns what a chunk became, from its description; `stem`: its path without ending."""

    @abc.abstractmethod
    def read_file(self, name: str, description: Mapping[str, Any]) -> _File:
        """Returns an output file, from its description."""

    @abc.abstractmethod
    def join(self, name: str, parts: Sequence[Any], path: str) -> _File:
        """Writes the ordered parts of the output file `name` to `path`, and describes the file.

        Raises RuntimeError where parts are missing, ValueError where one is damaged.
        """

    def path(self, name: str) -> str:
        """Returns the path of an output file."""
        return join(self.output, name)

    def folder(self, name: str) -> str:
        """Returns the work folder's folder for a shard or an output file."""
        return join(self.work_folder, f"{self.run}-{name.replace('/', _SLASH)}")

    def new_stem(self, key: ChunkKey) -> str:
        """Returns what the paths of an attempt at a chunk begin with: no other attempt's do."""
        name = f"{_chunk_name(key)}-{uuid.uuid4().hex[:12]}"
        return join(self.folder(self.shard_name(key.shard)), name)

    def describe_chunk(self, stem: str, description: Mapping[str, Any]) -> None:
        """Writes what `read_chunk` reads, once the files are whole."""
        write_description(f"{stem}.json", description)

    def describe_file(self, name: str, description: Mapping[str, Any]) -> None:
        """Writes what `read_file` reads."""
        write_description(join(self.folder(name), _FINISHED), description)

    def tasks(
        self, shard: ShardKey, keys: Iterable[ChunkKey], finished: Collection[str]
    ) -> Iterator[ChunkTask]:
        """Yields the chunks of a shard; none where it is a finished output file."""
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
        """Returns what an earlier attempt made of a chunk; None where it must be made.

        Every part must be intact, apart from those of output files in `finished`.
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
        """Returns the names of shards and output files that have a folder."""
        prefix = f"{self.run}-"
        names = sorted(list_names(self.work_folder))
        return [
            name.removeprefix(prefix).replace(_SLASH, "/")
            for name in names
            if name.startswith(prefix)
        ]

    def find_file(self, name: str) -> _File | None:
        """Returns a finished output file; None where it is missing or damaged."""
        path = join(self.folder(name), _FINISHED)
        try:
            found = self.read_file(name, parse_description(path, read_file(path)))
            return found if all(map(_is_intact, found.written)) else None
        except (OSError, ValueError):
            return None

    def finish_file(self, name: str, found: Iterable[Part | OutputFile]) -> OutputFile:
        """Joins the parts of an output file, renames it into place, and deletes the parts.

        A file that an earlier attempt finished is left as it is. Raises as `join` does.
        """
        parts: dict[int, Part] = {}
        for one in found:
            if isinstance(one, OutputFile):
                return one
            parts[one.order] = one  # duplicates are identical; keep any
        if finished := self.find_file(name):
            return finished
        ordered = sorted(parts.values(), key=operator.attrgetter("order"))
        path = unfinished_path(join(self.folder(name), name.rsplit("/", 1)[-1]))
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
        """Returns how many examples are made so far, by the names of files alone.

        `shard_sizes`: examples by name, of shards that are output files.
        """
        chunks: dict[str, dict[str, int]] = {}
        finished: set[str] = set()
        for file in list_files(self.work_folder):
            folder = file.path.split("/")[-2]
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
