"""A lock on an output folder, on any file system: one run at a time."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from depthmask.errors import RunError, UserError
from pipeline.run.workspace import LOCK, State, Workspace
from transforms.io import gcs
from transforms.io.files import delete_files, exists, is_local, join, read_file, replace_file

_log = logging.getLogger("depthmask")
BEAT_SECONDS = 5.0
# A run whose lock has not changed for so long is dead.
DEAD_SECONDS = 20.0
# Long enough for two runs that start together to see each other's lock.
_SETTLE_SECONDS = 0.5
_POLL_SECONDS = 1.0


class OutputLock:
    """Holds ``lock.json`` in a work folder while its block runs, and renews it.

    A dead run's lock is recognised: at once where its process is gone from this machine, else
    because it is no longer renewed. Clocks are never compared. Raises UserError on entry where
    another run holds the lock. On Cloud Storage the lock is taken, renewed and released on
    condition that it is still the object that was last seen.
    """

    def __init__(self, work_folder: str) -> None:
        self._path = join(work_folder, LOCK)
        self._identity = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "boot": _boot_id(),
            "pid": os.getpid(),
        }
        # The generation of the lock object last seen on Cloud Storage; 0: there is none.
        self._generation = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def __enter__(self) -> OutputLock:
        found = self._read()
        if found is not None and self._is_alive(found):
            raise self._refusal(found)
        try:
            self._write(0)
        except FileExistsError:
            raise self._refusal(self._read() or {}) from None
        if not gcs.is_gcs(self._path):
            time.sleep(_SETTLE_SECONDS)
        if not self.is_ours():
            raise self._refusal(self._read() or {})
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        # A lock that cannot be deleted is recognised as a dead run's.
        with contextlib.suppress(OSError):
            if gcs.is_gcs(self._path):
                gcs.delete(self._path, self._generation)
            elif self.is_ours():
                delete_files([self._path])

    def _refusal(self, found: dict[str, Any]) -> UserError:
        return UserError(
            f"{self._path}: another run (process {found.get('pid', '?')} on "
            f"{found.get('host', '?')}) is at work in this folder. Wait for it, or stop it first."
        )

    def _is_alive(self, found: dict[str, Any]) -> bool:
        mine = self._identity
        if (found.get("host"), found.get("boot")) == (mine["host"], mine["boot"]) and not _exists(
            found.get("pid")
        ):
            return False
        _log.info("waiting to see whether an earlier run is still alive (%s)", self._path)
        deadline = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            now = self._read()
            if now is None:
                return False
            if now != found:
                return True
        return False

    def _read(self) -> dict[str, Any] | None:
        try:
            if gcs.is_gcs(self._path):
                data, self._generation = gcs.read_generation(self._path) or (b"", 0)
            else:
                data = read_file(self._path) if exists(self._path) else b""
            found = json.loads(data)
        except (FileNotFoundError, ValueError):  # gone meanwhile, or damaged
            return None
        return found if isinstance(found, dict) else None

    def _write(self, beat: int) -> None:
        data = json.dumps({**self._identity, "beat": beat}).encode()
        if gcs.is_gcs(self._path):
            self._generation = gcs.write_generation(self._path, data, self._generation)
            return
        replace_file(self._path, f"{self._path}.{self._identity['token']}", [data])

    def is_ours(self) -> bool:
        """Returns False where another run has taken the lock over, as a dead run's."""
        return (self._read() or {}).get("token") == self._identity["token"]

    def _keep_beating(self) -> None:
        beat = 0
        while not self._stopped.wait(BEAT_SECONDS):
            beat += 1
            try:
                # After a long sleep another run may have found this one dead.
                if not gcs.is_gcs(self._path) and not self.is_ours():
                    return
                self._write(beat)
            except OSError:  # the run itself will fail by the same trouble
                continue


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _exists(pid: Any) -> bool:
    if not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def locked(workspace: Workspace) -> Iterator[State]:
    """Holds the workspace's lock; at the end it deletes what no later run needs.

    Yields what the folder holds. Raises UserError, with nothing touched, for a folder of something
    else, or one in which another run is at work; RunError where the file system fails.
    """
    workspace.state()  # a folder of something else is refused before the lock is put into it
    output = Path(workspace.output).absolute()
    new = [path for path in (output, *output.parents) if not path.exists()]
    held = False
    try:
        with OutputLock(workspace.work_folder) as lock:
            held = True
            try:
                yield workspace.state()
            finally:
                # The next run deletes what cannot be deleted now.
                with contextlib.suppress(OSError):
                    if lock.is_ours():
                        workspace.delete_work_folder()
    except OSError as error:
        raise RunError(f"{workspace.output}: {error}") from error
    finally:
        if held and is_local(workspace.output):
            workspace.delete_empty_folders()
            with contextlib.suppress(OSError):
                for folder in new:
                    folder.rmdir()  # only succeeds for an empty folder
