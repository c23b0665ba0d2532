"""Joining the parts of a container: all that goes into it, merged in order.

Each part is in order and is read front to back, a block at a time, so that memory and reads do not
grow with the examples, however the dataset's shards have shuffled them.
"""

from __future__ import annotations

import heapq
import io
import itertools
import operator
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from depthmask.manifest import DepthMeaning
from depthmask.records import FRAME_BYTES, read_records
from pipeline.export.parquet import write_parquet
from pipeline.export.zips import ZipEntry, end_of_directory
from transforms.depth import depth_in_metres
from transforms.io.files import WrittenFile, create_file, read_range

# What precedes the data of each record of a part: its place.
PLACE = "<q"
_PLACE_BYTES = struct.calcsize(PLACE)
# Of all parts together; a block at least.
_READ_BYTES, _LEAST_BLOCK = 64 * 2**20, 64 * 2**10
_BLOCK = 2**20
# What is kept in memory of a zip's directory, and of a file in it that many examples add to.
_KEPT = 16 * 2**20
_TAR_END = bytes(1024)
# Metres by which published depth, a fraction, is multiplied.
FARTHEST = 10.0
# Of zlib: slower ones make maps hardly smaller.
_LEVEL = 1


class CheckedFile(io.RawIOBase):
    """A file that is written front to back, and counts its bytes and checksum."""

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


@dataclass(frozen=True)
class _Record:
    """What a container has of a file, and its place among all."""

    place: int
    data: bytes


def join_container(
    name: str,
    header: bytes,
    parts: Sequence[WrittenFile],
    files: int,
    depth: DepthMeaning | None,
    path: str,
) -> tuple[int, int]:
    """Writes the container `name`, of so many files, to `path`; returns its size and CRC-32C.

    `header`: of an index. `depth`: of the maps in an .npz. Raises ValueError where a part is not
    what was written to it.
    """
    block = max(_LEAST_BLOCK, _READ_BYTES // max(len(parts), 1))
    merged = heapq.merge(
        *(_records(part, block) for part in parts), key=operator.attrgetter("place")
    )
    data = (record.data for record in merged)
    with create_file(path) as file:
        output = CheckedFile(file)
        with io.BufferedWriter(output, _BLOCK) as stream:
            match name.rsplit(".", 1)[-1]:
                case "zip":
                    _join_zip(data, stream)
                case "npz":
                    _join_npz(data, files, depth, stream)
                case "parquet":
                    write_parquet(data, stream)
                case kind:
                    stream.write(header)
                    for each in data:
                        stream.write(each)
                    if kind == "tar":
                        stream.write(_TAR_END)
    return output.bytes, output.crc32c


class _Blocks(io.RawIOBase):
    """A file that is open only while a block is read: there may be thousands at once."""

    def __init__(self, file: WrittenFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._file.bytes - self._position
        data = read_range(self._file.path, self._position, min(len(buffer), left))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _records(part: WrittenFile, block: int) -> Iterator[_Record]:
    size = 0
    try:
        for record in read_records(io.BufferedReader(_Blocks(part), block)):
            size += len(record) + FRAME_BYTES
            yield _Record(struct.unpack_from(PLACE, record)[0], record[_PLACE_BYTES:])
        if size != part.bytes:
            raise ValueError(f"{size} bytes instead of {part.bytes}")
    except ValueError as error:
        raise ValueError(f"{part.path}: not the bytes that were written to it: {error}") from error


def _join_zip(data: Iterable[bytes], output: BinaryIO) -> None:
    offset = count = 0
    with tempfile.SpooledTemporaryFile(_KEPT) as directory:

        def add(entry: ZipEntry) -> None:
            nonlocal offset, count
            directory.write(entry.directory_record(offset))
            offset += entry.length
            count += 1

        parsed = ((ZipEntry.parse(each), each) for each in data)
        for name, group in itertools.groupby(parsed, lambda found: found[0].name):
            files = iter(group)
            entry, first = next(files)
            second = next(files, None)
            if second is None:
                output.write(first)
                add(entry)
                continue
            with tempfile.SpooledTemporaryFile(_KEPT) as joined:
                crc = size = 0
                for part, each in itertools.chain([(entry, first), second], files):
                    text = each[part.length - part.stored :]
                    joined.write(text)
                    crc, size = zlib.crc32(text, crc), size + len(text)
                entry = ZipEntry(name, crc, size, size)
                output.write(entry.header())
                joined.seek(0)
                shutil.copyfileobj(joined, output, _BLOCK)
            add(entry)
        size = directory.tell()
        directory.seek(0)
        shutil.copyfileobj(directory, output, _BLOCK)
    output.write(end_of_directory(count, size, offset))


def _join_npz(
    data: Iterable[bytes], count: int, depth: DepthMeaning | None, output: BinaryIO
) -> None:
    """`data`: `count` maps as the dataset stores them, whose values are metres."""
    assert depth is not None
    shape = (count, depth.height, depth.width, 1)
    with (
        zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive,
        archive.open("output.npy", "w", force_zip64=True) as member,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(member, header)
        for each in data:
            fraction = depth_in_metres(each, depth.scale / FARTHEST)
            member.write(fraction.astype("<f4").tobytes())
