"""Opening files for reading: local ones by Python itself, others through fsspec."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, cast

from depthmask.errors import DatasetError


def path_of(path: str | os.PathLike[str]) -> str:
    """A folder's path as text, without a last slash."""
    text = os.fspath(path)
    return text.rstrip("/") or text


def join(folder: str, name: str) -> str:
    """The path of `name` in `folder`."""
    return f"{folder}/{name}"


def open_file(path: str) -> BinaryIO:
    """Opens a file to read bytes from. Raises OSError, and DatasetError where fsspec is wanting.

    `path` is local, or a URL of a file system that fsspec has, such as ``gs://`` and ``s3://``.
    """
    if "://" not in path:
        return open(path, "rb")
    return cast(BinaryIO, _fsspec(path).open(path, "rb").open())


def read_file(path: str) -> bytes:
    """The bytes of a file; for the rest as `open_file`."""
    with open_file(path) as file:
        return file.read()


def _fsspec(path: str) -> Any:
    try:
        import fsspec

        fsspec.get_filesystem_class(path.partition("://")[0])
    except (ImportError, ValueError) as error:
        raise DatasetError(
            f"{path} is read through fsspec: {error}. Run: pip install 'depthmask[remote]'"
        ) from error
    return fsspec
