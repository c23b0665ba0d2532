"""The files that a depth model consists of."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping

import google_crc32c

from depthmask.errors import DepthModelError
from transforms.io.files import is_folder, is_local, list_files, read_file


def files_at(path: str) -> dict[str, str]:
    """Returns the paths of a model's files by their names within it: one file, or a folder's.

    Raises DepthModelError.
    """
    try:
        if not is_folder(path):
            check_regular(path)
            return {path.rpartition("/")[2]: path}
        root = len(path) + 1
        paths = {entry.path[root:]: entry.path for entry in list_files(path)}
        for file in paths.values():
            check_regular(file)
        # Consoles mark folders of an object store by an empty file.
        return {name: file for name, file in paths.items() if name and not name.endswith("/")}
    except OSError as error:
        raise DepthModelError(f"{path}: cannot be read: {error}") from error


def check_regular(path: str) -> None:
    """Raises DepthModelError for a local pipe or device, which may be waited for without end."""
    if is_local(path) and os.path.exists(path) and not os.path.isfile(path):
        raise DepthModelError(f"{path}: not a regular file. Give the model's own.")


def checksum(files: Mapping[str, str]) -> int:
    """Returns the CRC-32C of a model's files, in the order of their names.

    Raises DepthModelError.
    """
    crc = 0
    for name, file in sorted(files.items()):
        # Of one file it is the plain checksum, which other programs show too.
        crc = google_crc32c.extend(crc, name.encode() if len(files) > 1 else b"")
        crc = google_crc32c.extend(crc, _read(file))
    return crc


@contextlib.contextmanager
def local_copy(path: str, files: Mapping[str, str]) -> Iterator[str]:
    """Yields a local path of the model at `path`; remote files are copied for that time.

    Raises DepthModelError where a file is missing.
    """
    if is_local(path):
        for file in files.values():
            if not os.path.exists(file):
                raise _missing(file)
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, path.rpartition("/")[2])
        root = folder if path in files.values() else copy
        for name, file in files.items():
            part = os.path.join(root, name)
            os.makedirs(os.path.dirname(part), exist_ok=True)
            with open(part, "wb") as stream:
                stream.write(_read(file))
        yield copy


def _read(path: str) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise _missing(path) from error


def _missing(path: str) -> DepthModelError:
    return DepthModelError(f"{path}: no such depth model. Check --depth-model.")
