"""Files on any file system that Beam knows: ``/local/path``, ``gs://…``.

What Beam takes as a pattern (listing, deleting) is done by `os` where the path is local, and by
`transforms.io.gcs` on Cloud Storage: patterns cannot be quoted, and a folder may well be called
``pictures [2020]``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import google_crc32c
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from transforms.io import gcs
from transforms.io.checksums import crc32c_of_both


def crc_text(crc: int) -> str:
    """A CRC-32C as the manifest has it: eight hexadecimal digits."""
    return f"{crc:08x}"


_Result = TypeVar("_Result")
_READ_BYTES = 2**20
# Requests to an object store at once: each takes long and does little.
_REQUESTS = 16


@dataclass(frozen=True)
class FileEntry:
    """A file that a listing found."""

    path: str
    bytes: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.replace(os.sep, "/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class WrittenFile:
    """A file, and what its bytes must be."""

    path: str
    bytes: int
    crc32c: int


def is_local(path: str) -> bool:
    """Whether the path is on this machine."""
    return "://" not in path


def check_path(path: str) -> None:
    """Raises ValueError, with a remedy, for a path that no file can have."""
    if is_local(path):
        return
    if gcs.is_gcs(path) and not path.removeprefix(gcs.PREFIX).split("/")[0]:
        raise ValueError(f"{path}: names no bucket. Give {gcs.PREFIX}BUCKET/FOLDER.")
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise ValueError(
            f"{path}: there is no file system for this here. Give a local path, or one that begins "
            f"with {gcs.PREFIX}."
        ) from error


def join(folder: str, *names: str) -> str:
    """The path of something in a folder."""
    return str(FileSystems.join(folder, *names))


def open_file(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """Opens a file to read and seek. Raises OSError where there is none."""
    if gcs.is_gcs(path):
        return gcs.open_object(path, "rb")
    return FileSystems.open(path, compression_type="uncompressed")  # type: ignore[no-any-return]


def create_file(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """Opens a new file to write, and makes its folder."""
    if gcs.is_gcs(path):
        return gcs.open_object(path, "wb")
    return FileSystems.create(  # type: ignore[no-any-return]
        path, mime_type=gcs.KIND, compression_type="uncompressed"
    )


def read_file(path: str) -> bytes:
    """All bytes of a file. Raises OSError where there is none."""
    with open_file(path) as file:
        return bytes(file.read())


def read_files(paths: Sequence[str]) -> Iterator[bytes]:
    """All bytes of each of many small files, in order; off this machine some at once."""
    return _each(read_file, paths)


def _each(function: Callable[[str], _Result], paths: Sequence[str]) -> Iterator[_Result]:
    if all(map(is_local, paths)):
        yield from map(function, paths)
        return
    with ThreadPoolExecutor(_REQUESTS) as executor:
        for start in range(0, len(paths), _REQUESTS):
            yield from executor.map(function, paths[start : start + _REQUESTS])


def write_file(path: str, parts: Iterable[bytes]) -> int:
    """Writes a new file; gives the CRC-32C of its bytes."""
    if gcs.is_gcs(path):
        parts, data = gcs.in_one_request(parts)
        if data is not None:
            gcs.write(path, data)
            return int(google_crc32c.value(data))
    crc = 0
    with create_file(path) as file:
        for part in parts:
            file.write(part)
            crc = google_crc32c.extend(crc, part)
    return crc


def rename_file(path: str, new_path: str) -> None:
    """Renames a file, in place of what may be there under the new name."""
    if gcs.is_gcs(path):
        gcs.rename(path, new_path)
    else:
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


def stored_checksum(path: str) -> tuple[int, int]:
    """As `file_checksum`, but without reading where the file system itself keeps checksums."""
    return gcs.stored_checksum(path) if gcs.is_gcs(path) else file_checksum(path)


def join_files(parts: Sequence[WrittenFile], path: str) -> int:
    """Writes a new file of the bytes of others, in order; gives its CRC-32C.

    On Cloud Storage no byte of them is moved. Raises ValueError where a part's bytes are not those
    of its checksum.
    """
    if not gcs.is_gcs(path):
        return write_file(path, map(read_written, parts))
    crc = size = 0
    for part in parts:
        crc, size = crc32c_of_both(crc, part.crc32c, part.bytes), size + part.bytes
    if gcs.compose([part.path for part in parts], path) != (crc, size):
        raise ValueError(f"{path}: its parts are not the bytes that were written to them")
    return crc


def read_written(file: WrittenFile) -> bytes:
    """All bytes of a file. Raises ValueError where they are not those that were written."""
    data = read_file(file.path)
    if google_crc32c.value(data) != file.crc32c:
        raise ValueError(f"{file.path}: not the bytes that were written to it")
    return data


def exists(path: str) -> bool:
    """Whether there is such a file (or, locally, folder)."""
    return gcs.exists(path) if gcs.is_gcs(path) else bool(FileSystems.exists(path))


def is_folder(path: str) -> bool:
    """Whether the path is a folder; on an object store, whether any file lies below it."""
    if is_local(path):
        return os.path.isdir(path)
    return not exists(path) and bool(list_files(path))


def list_files(folder: str) -> list[FileEntry]:
    """The files in a folder and below it, by path; none where there is no such folder.

    Links to folders are not followed. Raises OSError for a folder that cannot be read.
    """
    if is_local(folder):
        entries = [
            FileEntry(path, _size(path))
            for parent, _, names in os.walk(folder, onerror=_unless_gone)
            for path in (os.path.join(parent, name) for name in names)
        ]
    elif gcs.is_gcs(folder):
        entries = [FileEntry(path, size) for path, size in gcs.list_objects(folder)]
    else:
        (match,) = FileSystems.match([join(folder, "**")])
        entries = [FileEntry(found.path, found.size_in_bytes) for found in match.metadata_list]
    return sorted(entries, key=lambda entry: entry.path)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def list_names(folder: str) -> set[str]:
    """Names of the files and folders in a folder; none where there is no such folder."""
    if is_local(folder):
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()
    if gcs.is_gcs(folder):
        return gcs.list_names(folder)
    # Object stores know no folders, only longer names.
    root = len(join(folder, ""))
    return {file.path[root:].lstrip("/").split("/")[0] for file in list_files(folder)}


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # gone meanwhile, or a link to nowhere: whoever opens it will see
        return 0


def delete_files(paths: Iterable[str]) -> None:
    """Deletes what is still there of these files: others may have been quicker.

    Off this machine some go at once: what must go first needs a call of its own.
    """
    for _ in _each(_delete_file, list(paths)):
        pass


def _delete_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError, BeamIOError):
        if is_local(path):
            os.remove(path)
        elif gcs.is_gcs(path):
            gcs.delete(path)
        else:
            FileSystems.delete([path])


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that is in it, if it is there."""
    if is_local(folder):
        if os.path.isdir(folder):
            shutil.rmtree(folder)
    else:
        delete_files(entry.path for entry in list_files(folder))
