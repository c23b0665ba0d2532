"""The files that a depth model consists of."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import google_crc32c

from depthmask.errors import DepthModelError
from transforms.io.files import exists, is_folder, is_local, list_files, read_file


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Where the model lies on this machine; it is copied here from elsewhere for the while."""
    files = files_of(path)
    if is_local(path):
        for file in files.values():
            if not os.path.exists(file):
                raise DepthModelError(f"{file}: no such depth model. Check --depth-model.")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        parent = os.path.join(folder, name) if is_folder(path) else folder
        for part, file in files.items():
            local = os.path.join(parent, part)
            os.makedirs(os.path.dirname(local), exist_ok=True)
            with open(local, "wb") as copy:
                copy.write(read_model_file(file))
        yield os.path.join(folder, name)


def files_of(path: str) -> dict[str, str]:
    """The files of a model, their paths by their names within it: one, or a folder's.

    An ONNX file may keep its weights beside it, in FILE.data or FILE_data. Raises DepthModelError.
    """
    try:
        if is_folder(path):
            root = len(path.rstrip("/")) + 1
            paths = {entry.path[root:]: entry.path for entry in list_files(path)}
            # Consoles mark folders of an object store by an empty file.
            return {name: file for name, file in paths.items() if name and not name.endswith("/")}
        name = path.rpartition("/")[2]
        beside = (".data", "_data") if name.endswith(".onnx") else ()
        found = {f"{name}{end}": f"{path}{end}" for end in beside if exists(f"{path}{end}")}
        return {name: path} | found
    except OSError as error:
        raise DepthModelError(f"{path}: cannot be read: {error}") from error


def checksum(path: str) -> int:
    """CRC-32C of a model's files, in the order of their names. Raises DepthModelError."""
    crc = 0
    files = sorted(files_of(path).items())
    for name, file in files:
        # Of one file it is the plain checksum, which other programs show too.
        crc = google_crc32c.extend(crc, name.encode() if len(files) > 1 else b"")
        crc = google_crc32c.extend(crc, read_model_file(file))
    return crc


def read_model_file(path: str) -> bytes:
    """All bytes of a file. Raises DepthModelError where there is none."""
    try:
        return read_file(path)
    except OSError as error:
        raise DepthModelError(f"{path}: no such depth model. Check --depth-model.") from error
