"""Files on any file system that Beam knows: ``/local/path``, ``gs://…``.

What Beam takes as a pattern (listing, deleting) is done here by `os` where the path is local:
patterns cannot be quoted, and a folder may well be called ``pictures [2020]``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

_READ_BYTES = 2**20


@dataclass(frozen=True)
class FileEntry:
    """A file that a listing found."""

    path: str
    bytes: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.replace(os.sep, "/").rsplit("/", 1)[-1]


def is_local(path: str) -> bool:
    """Whether the path is on this machine."""
    return "://" not in path


def join(folder: str, *names: str) -> str:
    """The path of something in a folder."""
    return str(FileSystems.join(folder, *names))


def open_file(path: str) -> BinaryIO:
    """Opens a file to read and seek. Raises OSError where there is none."""
    file: BinaryIO = FileSystems.open(path, compression_type="uncompressed")
    return file


def create_file(path: str) -> BinaryIO:
    """Opens a new file to write, and makes its folder."""
    file: BinaryIO = FileSystems.create(
        path, mime_type="application/octet-stream", compression_type="uncompressed"
    )
    return file


def read_file(path: str) -> bytes:
    """All bytes of a file. Raises OSError where there is none."""
    with open_file(path) as file:
        return bytes(file.read())


def write_file(path: str, parts: Iterable[bytes]) -> int:
    """Writes a new file; gives the CRC-32C of its bytes."""
    crc = 0
    with create_file(path) as file:
        for part in parts:
            file.write(part)
            crc = google_crc32c.extend(crc, part)
    return crc


def rename_file(path: str, new_path: str) -> None:
    """Renames a file, in place of what may be there under the new name."""
    FileSystems.rename([path], [new_path])


def replace_file(path: str, part_path: str, parts: Iterable[bytes]) -> int:
    """As `write_file`, but under another name first: at `path` the file is whole or not there."""
    crc = write_file(part_path, parts)
    rename_file(part_path, path)
    return crc


def file_checksum(path: str) -> tuple[int, int]:
    """CRC-32C and size of a file, read block by block. Raises OSError where there is none."""
    crc = size = 0
    with open_file(path) as file:
        while block := file.read(_READ_BYTES):
            crc = google_crc32c.extend(crc, block)
            size += len(block)
    return crc, size


def exists(path: str) -> bool:
    """Whether there is such a file (or, locally, folder)."""
    return bool(FileSystems.exists(path))


def is_folder(path: str) -> bool:
    """Whether the path is a folder; on an object store, whether any file lies below it."""
    if is_local(path):
        return os.path.isdir(path)
    return not exists(path) and bool(list_files(path))


def list_files(folder: str) -> list[FileEntry]:
    """The files in a folder and below it, by path; none where there is no such folder."""
    if is_local(folder):
        entries = [
            FileEntry(path, _size(path))
            for parent, _, names in os.walk(folder)
            for path in (os.path.join(parent, name) for name in names)
        ]
    else:
        (match,) = FileSystems.match([join(folder, "**")])
        entries = [FileEntry(found.path, found.size_in_bytes) for found in match.metadata_list]
    return sorted(entries, key=lambda entry: entry.path)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # gone meanwhile, or a link to nowhere: whoever opens it will see
        return 0


def delete_files(paths: Iterable[str]) -> None:
    """Deletes what is still there of these files: others may have been quicker."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError, BeamIOError):
            if is_local(path):
                os.remove(path)
            else:
                FileSystems.delete([path])


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that is in it, if it is there."""
    if is_local(folder):
        if os.path.isdir(folder):
            shutil.rmtree(folder)
    else:
        delete_files(entry.path for entry in list_files(folder))
