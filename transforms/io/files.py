"""Files on any file system that Beam knows: ``/local/path``, ``gs://…``.

Local files go through Python's own functions, Cloud Storage through `transforms.io.gcs`, and only
what lies elsewhere through Beam: importing it takes seconds, and what it lists or deletes it takes
for a pattern, while a folder may well be called ``pictures [2020]``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import google_crc32c

from depthmask.errors import UserError
from depthmask.files import open_local
from transforms.io import gcs
from transforms.io.checksums import crc32c_of_both

AnyPath = str | os.PathLike[str]
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


def _beam_file_systems() -> Any:
    """Beam's file systems, for a path that is neither local nor on Cloud Storage."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def checked_path(path: AnyPath) -> str:
    """Returns the path as text, a leading ~ as the folder it stands for.

    Raises UserError for one that no file can have, or that needs packages that are not here.
    """
    path = os.fspath(path)
    if is_local(path):
        path = os.path.expanduser(path)
    if gcs.is_gcs(path):
        if not path.removeprefix(gcs.PREFIX).split("/")[0]:
            raise UserError(f"{path}: names no bucket. Give {gcs.PREFIX}BUCKET/FOLDER.")
        gcs.check_packages(path)
    elif not is_local(path):
        try:
            _beam_file_systems().get_filesystem(path)
        except ValueError as error:
            raise UserError(
                f"{path}: there is no file system for this here. Give a local path, or one that "
                f"begins with {gcs.PREFIX}."
            ) from error
    return path


def join(folder: str, *names: str) -> str:
    """Returns the path of something in a folder."""
    if is_local(folder):
        return os.path.join(folder, *names)
    if gcs.is_gcs(folder):
        return gcs.join(folder, *names)
    return str(_beam_file_systems().join(folder, *names))


def open_file(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """Opens a file to read and seek. Raises OSError where there is none."""
    if is_local(path):
        return open_local(path)
    if gcs.is_gcs(path):
        return gcs.open_object(path, "rb")
    opened: contextlib.AbstractContextManager[BinaryIO] = _beam_file_systems().open(
        path, compression_type="uncompressed"
    )
    return opened


def create_file(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """Opens a new file to write, and makes its folder."""
    if is_local(path):
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        return open(path, "wb")
    if gcs.is_gcs(path):
        return gcs.open_object(path, "wb")
    created: contextlib.AbstractContextManager[BinaryIO] = _beam_file_systems().create(
        path, mime_type=gcs.KIND, compression_type="uncompressed"
    )
    return created


def read_file(path: str) -> bytes:
    """Returns all bytes of a file. Raises OSError where there is none."""
    with open_file(path) as file:
        return bytes(file.read())


def read_range(path: str, start: int, size: int) -> bytes:
    """Returns up to `size` bytes of a file from byte `start` on; fewer where it ends."""
    if size <= 0:
        return b""
    if gcs.is_gcs(path):
        return gcs.read_range(path, start, size)
    with open_file(path) as file:
        file.seek(start)
        return bytes(file.read(size))


def read_files(paths: Sequence[str]) -> Iterator[bytes]:
    """Yields the bytes of each of many small files, in order; reads several remote ones at once."""
    return _each(read_file, paths)


def _each(function: Callable[[str], _Result], paths: Sequence[str]) -> Iterator[_Result]:
    if all(map(is_local, paths)):
        yield from map(function, paths)
        return
    with ThreadPoolExecutor(_REQUESTS) as executor:
        for start in range(0, len(paths), _REQUESTS):
            yield from executor.map(function, paths[start : start + _REQUESTS])


def write_file(path: str, parts: Iterable[bytes]) -> int:
    """Writes a new file; returns the CRC-32C of its bytes."""
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
    """Renames a file, into a folder that it makes; replaces one that has the new name."""
    if is_local(path):
        if folder := os.path.dirname(new_path):
            os.makedirs(folder, exist_ok=True)
        os.replace(path, new_path)
    elif gcs.is_gcs(path):
        gcs.rename(path, new_path)
    else:
        _beam_file_systems().rename([path], [new_path])


def sync_files(paths: Iterable[str]) -> None:
    """Waits until local files are on the disk under their names: a power cut leaves them whole."""
    local = [path for path in paths if is_local(path)]
    for path in local:
        _sync(path)
    for folder in {os.path.dirname(path) for path in local}:
        with contextlib.suppress(OSError):  # some file systems sync no folders
            _sync(folder or os.curdir)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str, part_path: str, parts: Iterable[bytes]) -> int:
    """As `write_file`, but under another name first: at `path` the file is whole or missing."""
    crc = write_file(part_path, parts)
    rename_file(part_path, path)
    return crc


def file_checksum(path: str) -> tuple[int, int]:
    """Returns CRC-32C and size of a file, read in blocks. Raises OSError where there is none."""
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
    """Writes a new file of the bytes of others, in order; returns its CRC-32C.

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
    if is_local(path):
        return os.path.exists(path)
    return gcs.exists(path) if gcs.is_gcs(path) else bool(_beam_file_systems().exists(path))


def is_folder(path: str) -> bool:
    """Whether the path is a folder; on an object store, whether any file lies below it."""
    if is_local(path):
        return os.path.isdir(path)
    return not exists(path) and bool(list_files(path))


def list_files(folder: str) -> list[FileEntry]:
    """Returns the files in a folder and below it, by path; none where there is no such folder.

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
        (match,) = _beam_file_systems().match([join(folder, "**")])
        entries = [FileEntry(found.path, found.size_in_bytes) for found in match.metadata_list]
    return sorted(entries, key=lambda entry: entry.path)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def list_names(folder: str) -> set[str]:
    """Returns names of the files and folders in a folder; none where there is no such folder."""
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
    """Deletes those of these files that still exist: others may have been quicker.

    Remote ones are deleted several at a time: what must go first needs a call of its own.
    """
    for _ in _each(_delete_file, list(paths)):
        pass


def _delete_file(path: str) -> None:
    if is_local(path):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    elif gcs.is_gcs(path):
        gcs.delete(path)
    else:
        with contextlib.suppress(OSError):  # Beam does not say which error it was
            _beam_file_systems().delete([path])
