"""Cloud Storage without Beam's file system: operations that move no bytes or need a condition.

Beam batches its renames and deletions, and does not retry a batch that the service throttles. Here
each is a request of its own with google-cloud-storage's retries, and every error is an OSError.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import itertools
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from depthmask.errors import UserError

PREFIX = "gs://"
# What every file is stored as.
KIND = "application/octet-stream"
# Objects that one request may compose.
_COMPOSED = 32
# Up to this size a file is sent whole.
_ONE_REQUEST_BYTES = 16 * 2**20
# Connections kept open: at least one a thread, as those on top are thrown away.
_CONNECTIONS = 128


def check_packages(what: str, package: str = "google_auth_httplib2") -> None:
    """Raises UserError where a package of Beam's extra for Google Cloud is missing.

    By default the one without which Beam finds no credentials for Cloud Storage. `what`: needs it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"{what}: needs packages for Google Cloud that are not here. Install them: "
            "pip install 'depthmask[gcp]'."
        )


def is_gcs(path: str) -> bool:
    """Whether the path is an object in Cloud Storage."""
    return path.startswith(PREFIX)


def join(folder: str, *names: str) -> str:
    """Returns the path of something in a folder, with one slash between any two parts."""
    for name in names:
        folder = f"{folder.rstrip('/')}/{name.lstrip('/')}"
    return folder


@contextlib.contextmanager
def gcs_errors(path: str) -> Iterator[None]:
    """Turns what google-cloud-storage raises into OSError: FileNotFoundError where it fits."""
    from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests.exceptions import RequestException

    try:
        yield
    except NotFound as error:
        raise FileNotFoundError(f"{path}: no such object or bucket") from error
    except PreconditionFailed as error:
        raise FileExistsError(f"{path}: changed by another") from error
    except (
        *(GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, RequestException),
    ) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise OSError(f"{path}: {lines[0]}") from error


def _blob(path: str) -> Any:
    bucket, name = _split(path)
    return _access.to(path).client.bucket(bucket).blob(name)


def _split(path: str) -> tuple[str, str]:
    bucket, _, name = path.removeprefix(PREFIX).partition("/")
    return bucket, name


class _Access:
    """The process's one client, with the credentials that Beam's options name.

    Beam itself makes a client for each operation, which opens a new connection and requests the
    bucket again. A change of options or of the emulator makes a new client.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._options: Any = None
        self._emulator: str | None = None
        self._gcs_io: Any = None

    def to(self, path: str) -> Any:
        """Returns the GcsIO for a path."""
        from apache_beam.io.filesystems import FileSystems

        system = FileSystems.get_filesystem(path)
        options, emulator = system._pipeline_options, os.environ.get("STORAGE_EMULATOR_HOST")
        with self._lock:
            same = self._options is options and self._emulator == emulator
            if self._gcs_io is None or not same:
                gcs_io = system._gcsIO()
                _keep_connections(gcs_io.client)
                self._options, self._emulator, self._gcs_io = options, emulator, gcs_io
            return self._gcs_io


def _keep_connections(client: Any) -> None:
    from requests.adapters import HTTPAdapter

    session = client._http
    if not session.is_mtls:  # whose adapter holds certificates
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))


_access = _Access()


def _retry() -> Any:
    # Each request here may be sent twice without harm, whatever became of the first.
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY


def list_objects(folder: str) -> list[tuple[str, int]]:
    """Returns paths and sizes of all objects below a folder."""
    bucket, name = _split(folder.rstrip("/") + "/")
    with gcs_errors(folder):
        found = _access.to(folder).client.list_blobs(bucket, prefix=name, retry=_retry())
        return [(f"{PREFIX}{bucket}/{blob.name}", blob.size) for blob in found]


def list_names(folder: str) -> set[str]:
    """Returns names of the files and folders in a folder, without listing what is below."""
    bucket, prefix = _split(folder.rstrip("/") + "/")
    with gcs_errors(folder):
        found = _access.to(folder).client.list_blobs(
            bucket,
            prefix=prefix,
            delimiter="/",
            fields="items(name),prefixes,nextPageToken",
            retry=_retry(),
        )
        # The pages' prefixes are known once all pages are read.
        paths = [blob.name for blob in found if blob.name != prefix]
        paths += found.prefixes
    return {path.removeprefix(prefix).rstrip("/") for path in paths}


@contextlib.contextmanager
def open_object(path: str, mode: str) -> Iterator[BinaryIO]:
    """Opens an object to read and seek (``rb``), or a new one to write (``wb``)."""
    with gcs_errors(path), _access.to(path).open(path, mode, mime_type=KIND) as file:
        yield file


def read_range(path: str, start: int, size: int) -> bytes:
    """Returns up to `size` bytes, at least 1, of an object from byte `start` on."""
    with gcs_errors(path):
        end = start + size - 1
        return bytes(_blob(path).download_as_bytes(start=start, end=end, retry=_retry()))


def exists(path: str) -> bool:
    """Whether there is such an object."""
    with gcs_errors(path):
        return bool(_blob(path).exists(retry=_retry()))


def stored_checksum(path: str) -> tuple[int, int]:
    """Returns CRC-32C and size of an object, as the service computed them."""
    with gcs_errors(path):
        blob = _blob(path)
        blob.reload(retry=_retry())
    return int.from_bytes(base64.b64decode(blob.crc32c), "big"), int(blob.size)


def in_one_request(parts: Iterable[bytes]) -> tuple[Iterable[bytes], bytes | None]:
    """Returns the same parts, and all their bytes where one request can carry them, else None.

    A resumable upload takes one more request, and its session may be lost; one that is sent whole
    can always be sent again.
    """
    rest = iter(parts)
    begun: list[bytes] = []
    size = 0
    for part in rest:
        begun.append(part)
        size += len(part)
        if size > _ONE_REQUEST_BYTES:
            return itertools.chain(begun, rest), None
    return begun, b"".join(begun)


def write(path: str, data: bytes) -> None:
    """Writes or replaces an object in one request."""
    with gcs_errors(path):
        _blob(path).upload_from_string(data, content_type=KIND, retry=_retry())


def rename(path: str, new_path: str) -> None:
    """Renames an object; replaces one that has the new name. The service copies the bytes."""
    with gcs_errors(path):
        source, target, token = _blob(path), _blob(new_path), None
        while True:
            token, _, _ = target.rewrite(source, token, retry=_retry())
            if token is None:
                break
    delete(path)


def delete(path: str, generation: int | None = None) -> None:
    """Deletes an object if it exists. Raises FileExistsError if it has another generation."""
    with contextlib.suppress(FileNotFoundError), gcs_errors(path):
        _blob(path).delete(if_generation_match=generation, retry=_retry())


def compose(paths: Sequence[str], new_path: str) -> tuple[int, int]:
    """Joins objects into a new one on the server; returns its CRC-32C and size.

    32 at a time: the objects that one stage composes are the parts of the next, until one is left.
    """
    stage = list(paths)
    passing: list[str] = []
    while True:
        groups = [stage[i : i + _COMPOSED] for i in range(0, len(stage), _COMPOSED)]
        last = len(groups) == 1
        stage = [new_path] if last else [f"{new_path}.{uuid.uuid4().hex[:12]}" for _ in groups]
        for target, group in zip(stage, groups, strict=True):
            with gcs_errors(target):
                blob = _blob(target)
                blob.content_type = KIND
                blob.compose([blob.bucket.blob(_split(path)[1]) for path in group], retry=_retry())
        if last:
            break
        passing += stage
    for path in passing:
        delete(path)
    return stored_checksum(new_path)


def read_generation(path: str) -> tuple[bytes, int] | None:
    """Returns an object's bytes and its generation, or None where there is none."""
    with contextlib.suppress(FileNotFoundError), gcs_errors(path):
        blob = _blob(path)
        # Its own answer's generation: the one that these bytes are of.
        data = blob.download_as_bytes(retry=_retry())
        return data, int(blob.generation)
    return None


def write_generation(path: str, data: bytes, generation: int) -> int:
    """Writes an object if its generation is `generation` (0: missing); returns its new generation.

    Raises FileExistsError where another process was quicker.
    """
    try:
        with gcs_errors(path):
            blob = _blob(path)
            blob.upload_from_string(
                data,
                content_type=KIND,
                if_generation_match=generation,
                retry=_retry(),
            )
            return int(blob.generation)
    except FileExistsError:
        # A first try may have come through whose answer was lost.
        found = read_generation(path)
        if found is None or found[0] != data:
            raise
        return found[1]
