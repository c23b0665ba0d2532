"""Pieces of an export: made apart, each in one go, and joined into its files by copying bytes.

In the work folder a piece leaves one file for each container that it has something for, and a
description, written last::

    000012-6f3a….json           what the piece has made
    000012-6f3a…-0.part …       its share of a container: entries of a zip or tar, lines, rows
    000012-6f3a…-0.entries      of a zip: sizes, checksums and names
    done-….json                 of a container that is joined
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import re
import tarfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from depthmask.manifest import BACKGROUNDS, FOREGROUNDS, DepthMeaning, ShardEntry
from pipeline.export.layouts import LAYOUTS, Example, File, InputPicture, Layout
from pipeline.export.pictures import fit_depth, fit_picture
from pipeline.export.zips import ZipEntry, end_of_directory
from transforms.io.files import (
    create_file,
    delete_files,
    file_checksum,
    join,
    list_files,
    open_file,
    read_file,
    rename_file,
)
from transforms.io.records import parse_example, read_records
from transforms.segments import read_description, write_description

# Examples a piece, at most.
PIECE_EXAMPLES = 4000
_BLOCK = 2**20
_TAR_END = bytes(1024)
_DONE = re.compile(r"done-[0-9a-f]+\.json")
# Its name begins with the number of the piece.
PIECE_DESCRIPTION = re.compile(r"(\d{6})-[0-9a-f]+\.json")


@dataclass(frozen=True, order=True)
class Piece:
    """A run of `examples` examples of one shard, after its first `skip`. Number 0: the inputs.

    `first` is the number of the first of them in the whole dataset.
    """

    number: int
    shard_path: str
    split: str
    shard: int
    skip: int
    first: int
    examples: int


@dataclass(frozen=True)
class ExportJob:
    """What an export makes, of what, and where. `features`: those of features.json."""

    layout_name: str
    dataset: str
    output: str
    work_folder: str
    total: int
    features: dict[str, Any]
    depth: DepthMeaning | None

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.layout_name]

    def done_path(self, container: str) -> str:
        """Where it is written down that a container is joined."""
        name = hashlib.blake2b(container.encode(), digest_size=8).hexdigest()
        return join(self.work_folder, f"done-{name}.json")


@dataclass(frozen=True, order=True)
class Share:
    """What one piece has for one container.

    `entries_crc32c`: of the list of a zip's entries, 0 where the container is none.
    """

    container: str
    piece: int
    path: str
    bytes: int
    crc32c: int
    entries: int
    entries_crc32c: int

    @property
    def entries_path(self) -> str:
        return f"{self.path.removesuffix('.part')}.entries"


@dataclass(frozen=True)
class MadePiece:
    """A piece that is made: its shares, and what it has put into folders."""

    number: int
    shares: tuple[Share, ...]
    loose_files: int
    loose_bytes: int


@dataclass(frozen=True)
class ExportedFile:
    """A finished file of an export."""

    name: str
    bytes: int
    crc32c: int


def plan_pieces(job: ExportJob, shards: Iterable[ShardEntry]) -> list[Piece]:
    """The pieces of an export, in order."""
    pieces = [Piece(0, "", "", 0, 0, 0, 0)]
    first = 0
    for entry in shards:
        path = join(job.dataset, entry.file)
        for skip in range(0, entry.examples, PIECE_EXAMPLES):
            count = min(PIECE_EXAMPLES, entry.examples - skip)
            pieces.append(Piece(len(pieces), path, entry.split, entry.number, skip, first, count))
            first += count
    return pieces


# Making


def piece_files(job: ExportJob, piece: Piece, limit: int | None = None) -> Iterator[File]:
    """The files that come of a piece, or of its first `limit` examples."""
    if piece.number == 0:
        for picture in _inputs(job.dataset):
            yield from job.layout.input_files(picture)
        return
    count = piece.examples if limit is None else min(limit, piece.examples)
    with open_file(piece.shard_path) as file:
        records = read_records(file, piece.skip)
        for number, record in zip(range(piece.first, piece.first + count), records, strict=False):
            yield from job.layout.files(_example(job, piece, number, record))


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


def _example(job: ExportJob, piece: Piece, number: int, record: bytes) -> Example:
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
        total=job.total,
        split=piece.split,
        shard=piece.shard,
        features={
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in features.items()
        },
        pictures=pictures,
        stored_depth=encoded.get("depth"),
        depth=job.depth,
    )


def make_piece(job: ExportJob, piece: Piece) -> MadePiece:
    """Makes a piece; writes its description last. An attempt never touches another's files."""
    stem = join(job.work_folder, f"{piece.number:06d}-{uuid.uuid4().hex[:12]}")
    writers: dict[str, _ShareWriter] = {}
    loose_files = loose_bytes = 0
    with contextlib.ExitStack() as stack:
        for file in piece_files(job, piece):
            if file.container is None:
                with create_file(join(job.output, *file.name.split("/"))) as stream:
                    stream.write(file.data)
                loose_files += 1
                loose_bytes += len(file.data)
                continue
            if file.container not in writers:
                path = f"{stem}-{len(writers)}.part"
                writer = _ShareWriter(file.container, piece.number, path)
                writers[file.container] = stack.enter_context(writer)
            writers[file.container].add(file)
    made = MadePiece(
        number=piece.number,
        shares=tuple(writer.share for writer in writers.values()),
        loose_files=loose_files,
        loose_bytes=loose_bytes,
    )
    write_description(f"{stem}.json", f"{stem}.json.part", dataclasses.asdict(made))
    return made


class _ShareWriter:
    """Writes a piece's share of one container."""

    def __init__(self, container: str, piece: int, path: str) -> None:
        self.share = Share(container, piece, path, 0, 0, 0, 0)
        self._kind = container.rsplit(".", 1)[1]

    def __enter__(self) -> _ShareWriter:
        self._open = contextlib.ExitStack()
        self._file = self._open.enter_context(create_file(self.share.path))
        self._entries = (
            self._open.enter_context(create_file(self.share.entries_path))
            if self._kind == "zip"
            else None
        )
        self._bytes = self._crc = self._count = self._entries_crc = 0
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
        self.share = dataclasses.replace(
            self.share,
            bytes=self._bytes,
            crc32c=self._crc,
            entries=self._count,
            entries_crc32c=self._entries_crc,
        )

    def add(self, file: File) -> None:
        if self._entries is not None:
            entry = ZipEntry.of(file.name, file.data)
            line = f"{entry.crc32} {entry.size} {entry.name}\n".encode()
            self._entries.write(line)
            self._entries_crc = google_crc32c.extend(self._entries_crc, line)
            self._write(entry.header())
        elif self._kind == "tar":
            self._write(_tar_header(file))
        self._write(file.data)
        if self._kind == "tar":
            self._write(bytes(-len(file.data) % tarfile.BLOCKSIZE))
        self._count += 1

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._bytes += len(data)
        self._crc = google_crc32c.extend(self._crc, data)


def _tar_header(file: File) -> bytes:
    info = tarfile.TarInfo(file.name)
    info.size = len(file.data)
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


# Finding again


def find_pieces(job: ExportJob, finished: Iterable[ExportedFile]) -> dict[int, MadePiece]:
    """What earlier attempts have made, by piece, where all of it is still there or joined."""
    joined = {file.name for file in finished}
    found: dict[int, MadePiece] = {}
    for file in list_files(job.work_folder):
        if not (match := PIECE_DESCRIPTION.fullmatch(file.name)) or int(match[1]) in found:
            continue
        with contextlib.suppress(OSError, ValueError, TypeError):
            data = read_description(file.path)
            shares = tuple(Share(**share) for share in data.pop("shares"))
            if all(share.container in joined or _is_there(share) for share in shares):
                found[int(match[1])] = MadePiece(shares=shares, **data)
    return found


def _is_there(share: Share) -> bool:
    try:
        if file_checksum(share.path) != (share.crc32c, share.bytes):
            return False
        is_zip = share.container.endswith(".zip")
        return not is_zip or file_checksum(share.entries_path)[0] == share.entries_crc32c
    except OSError:
        return False


def find_finished(job: ExportJob) -> list[ExportedFile]:
    """Containers that are joined already and as they were written."""
    paths = [file.path for file in list_files(job.work_folder) if _DONE.fullmatch(file.name)]
    return [finished for path in paths if (finished := _find_joined(job, path))]


def _find_joined(job: ExportJob, done_path: str) -> ExportedFile | None:
    try:
        found = ExportedFile(**read_description(done_path))
        intact = file_checksum(join(job.output, found.name)) == (found.crc32c, found.bytes)
    except (OSError, ValueError):
        return None
    return found if intact else None


# Joining


def join_container(job: ExportJob, shares: Iterable[Share]) -> ExportedFile:
    """Joins what pieces have for a container, and renames the whole into place.

    Shares are deleted once it stands. A container that an earlier attempt finished is left as it
    is. Raises RuntimeError where a share is not what was written.
    """
    # Of a piece that was made twice, either will do: both have the same bytes.
    ordered = sorted({share.piece: share for share in shares}.values())
    container = ordered[0].container
    done = job.done_path(container)
    if finished := _find_joined(job, done):
        return finished
    part = join(job.work_folder, f"joined-{uuid.uuid4().hex[:12]}.part")
    with create_file(part) as file:
        output = _CheckedFile(file)
        if container.endswith(".zip"):
            _join_zip(ordered, output)
        elif container.endswith(".npz"):
            _join_npz(job, ordered, output)
        else:
            output.write(job.layout.header(container))
            for block in _blocks(ordered):
                output.write(block)
            if container.endswith(".tar"):
                output.write(_TAR_END)
    exported = ExportedFile(container, output.bytes, output.crc32c)
    write_description(done, f"{done}.{uuid.uuid4().hex[:12]}.part", dataclasses.asdict(exported))
    rename_file(part, join(job.output, container))
    delete_files(path for share in ordered for path in (share.path, share.entries_path))
    return exported


class _CheckedFile(io.RawIOBase):
    """A file to write on, front to back, that keeps count and checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = self.crc32c = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._file.write(block)
        self.bytes += len(block)
        self.crc32c = google_crc32c.extend(self.crc32c, block)
        return len(block)


def _blocks(shares: Iterable[Share]) -> Iterator[bytes]:
    for share in shares:
        crc = 0
        with open_file(share.path) as file:
            while block := file.read(_BLOCK):
                crc = google_crc32c.extend(crc, block)
                yield block
        if crc != share.crc32c:
            raise RuntimeError(f"{share.path}: not the bytes that were written to it")


def _join_zip(shares: list[Share], output: _CheckedFile) -> None:
    for block in _blocks(shares):
        output.write(block)
    start = output.bytes
    offset = count = 0
    for share in shares:
        records = []
        for line in read_file(share.entries_path).decode().splitlines():
            crc, size, name = line.split(" ", 2)
            entry = ZipEntry(name, int(crc), int(size))
            records.append(entry.directory_record(offset))
            offset += entry.stored_size
        output.write(b"".join(records))
        count += len(records)
    if offset != start or count != sum(share.entries for share in shares):
        raise RuntimeError(f"{shares[0].container}: its entries are not those that were written")
    output.write(end_of_directory(count, output.bytes - start, start))


def _join_npz(job: ExportJob, shares: list[Share], output: _CheckedFile) -> None:
    assert job.depth is not None
    shape = (sum(share.entries for share in shares), job.depth.height, job.depth.width)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    info = zipfile.ZipInfo("depth.npy")
    info.external_attr = 0o644 << 16
    with (
        zipfile.ZipFile(output, "w") as archive,
        archive.open(info, "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_2_0(member, header)
        for block in _blocks(shares):
            member.write(block)
