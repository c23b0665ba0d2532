"""Opening files for reading: local ones by Python itself, others through fsspec."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, BinaryIO, cast

from depthmask.errors import DatasetError


def path_of(path: str | os.PathLike[str]) -> str:
    """A folder's path as text, without a last slash, a leading ~ as the folder it stands for."""
    text = os.fspath(path)
    text = text if "://" in text else os.path.expanduser(text)
    return text.rstrip("/") or text


def join(folder: str, name: str) -> str:
    """The path of `name` in `folder`."""
    return f"{folder}/{name}"


def open_file(path: str) -> BinaryIO:
    """Opens a file to read bytes from. Raises OSError, and DatasetError where fsspec is wanting.

    `path` is local, or a URL of a file system that fsspec has, such as ``gs://`` and ``s3://``.
    """
    if "://" not in path:
        return open_local(path)
    return cast(BinaryIO, _fsspec(path).open(path, "rb").open())


def open_local(path: str) -> BinaryIO:
    """Opens a local file to read bytes from. Raises OSError, for what is no file too.

    Opening a named pipe would wait without end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a file", path)
    return open(path, "rb")


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
