"""A lock on an output folder, on any file system: one run at a time."""

from __future__ import annotations

import contextlib
import dataclasses
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
from depthmask.parsing import parse_json
from pipeline.run.workspace import LOCK, Workspace
from transforms.io import gcs
from transforms.io.files import (
    delete_files,
    exists,
    is_local,
    join,
    list_names,
    read_file,
    rename_file,
    write_file,
)

_log = logging.getLogger("depthmask")
BEAT_SECONDS = 5.0
# A run whose lock has not changed for so long is dead.
DEAD_SECONDS = 20.0
# Long enough for two runs that start together to see each other's lock.
_SETTLE_SECONDS = 0.5
_POLL_SECONDS = 1.0


class LockLostError(RunError):
    """Another run has taken the folder over: this one stood still for too long."""


class OutputLock:
    """Holds ``lock.json`` in a work folder while its block runs, and renews it.

    A dead run's lock is recognised: at once where its process is gone from this machine, else
    because it is no longer renewed. Clocks are never compared. Raises UserError on entry where
    another run holds the lock. On Cloud Storage the lock is taken, renewed and released on
    condition that it is still the object that was last seen.
    """

    def __init__(self, work_folder: str) -> None:
        self._folder = work_folder
        self._path = join(work_folder, LOCK)
        self._identity = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "boot": _boot_id(),
            "pid": os.getpid(),
        }
        # Where it is written before it is renamed.
        self._part = f"{self._path}.{self._identity['token']}"
        # The generation of the lock object last seen on Cloud Storage; 0: there is none.
        self._generation = 0
        self._lost = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def __enter__(self) -> OutputLock:
        found, self._generation = self._read()
        if found is not None and self._is_alive(found):
            raise self._refusal(found)
        try:
            self._take()
        except BaseException:
            self._release()
            raise
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
        self._release()

    def check(self) -> None:
        """Raises LockLostError where another run has taken this one for dead, and the lock."""
        with contextlib.suppress(OSError):  # where it cannot be asked, nothing is known
            # On Cloud Storage the next beat shows it.
            if not gcs.is_gcs(self._path) and not self._is_ours():
                self._lost = True
        if self._lost:
            raise LockLostError(
                f"another run is at work in {self._folder}: it took this one for dead, which stood "
                "still"
            )

    def _take(self) -> None:
        try:
            self._write(0)
        except FileExistsError:
            raise self._refusal(self._read()[0] or {}) from None
        if gcs.is_gcs(self._path):
            return
        time.sleep(_SETTLE_SECONDS)
        if not self._is_ours():
            raise self._refusal(self._read()[0] or {})
        # A run that stood still never renames what it had ready over this one's.
        names = list_names(self._folder)
        delete_files(join(self._folder, name) for name in names if name.startswith(f"{LOCK}."))

    def _release(self) -> None:
        # A lock that cannot be deleted is recognised as a dead run's.
        with contextlib.suppress(OSError):
            if gcs.is_gcs(self._path):
                if self._is_ours():
                    gcs.delete(self._path, self._generation)
            elif self._is_ours():
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
            now, self._generation = self._read()
            if now is None:
                return False
            if now != found:
                return True
        return False

    def _read(self) -> tuple[dict[str, Any] | None, int]:
        """The lock that is there, None where there is none, and its generation."""
        generation = 0
        try:
            if gcs.is_gcs(self._path):
                data, generation = gcs.read_generation(self._path) or (b"", 0)
            else:
                data = read_file(self._path) if exists(self._path) else b""
            found = parse_json(data)
        except (FileNotFoundError, ValueError):  # gone meanwhile, or damaged
            return None, generation
        return found if isinstance(found, dict) else None, generation

    def _write(self, beat: int) -> None:
        data = json.dumps({**self._identity, "beat": beat}).encode()
        if gcs.is_gcs(self._path):
            self._generation = gcs.write_generation(self._path, data, self._generation)
            return
        write_file(self._part, [data])
        # After standing still, another run may have found this one dead.
        if beat and not self._is_ours():
            delete_files([self._part])
            raise FileExistsError(f"{self._path} is another run's")
        rename_file(self._part, self._path)

    def _is_ours(self) -> bool:
        """Returns False where another run has taken the lock over, as a dead run's."""
        return (self._read()[0] or {}).get("token") == self._identity["token"]

    def _keep_beating(self) -> None:
        beat = 0
        while not self._stopped.wait(BEAT_SECONDS):
            beat += 1
            try:
                self._write(beat)
            except FileExistsError:
                self._lost = True
                return
            except OSError:  # the run itself will fail by the same trouble
                continue


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _exists(pid: Any) -> bool:
    """Whether there is a process of that number, on this machine; yes where that is not known."""
    if not isinstance(pid, int):
        return True
    if not 0 < pid < 2**31:  # no process ever has that number
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def locked(workspace: Workspace) -> Iterator[Workspace]:
    """Holds the workspace's lock; at the end it deletes what no later run needs.

    Yields the workspace as its owner has it: what it renames and deletes, it does as long as the
    lock is held. Raises UserError, with nothing touched, for a folder of something else, or one in
    which another run is at work; RunError where the file system fails, or where another run has
    taken the folder over.
    """
    workspace.state()  # a folder of something else is refused before the lock is put into it
    output = Path(workspace.output).absolute()
    new = [path for path in (output, *output.parents) if not path.exists()]
    held = False
    try:
        with OutputLock(workspace.work_folder) as lock:
            held = True
            mine = dataclasses.replace(workspace, check=lock.check)
            try:
                mine.delete_partial()
                yield mine
            except Exception:
                lock.check()  # if it is lost, that is the cause of whatever else there is
                raise
            finally:
                # The next run deletes what cannot be deleted now.
                with contextlib.suppress(OSError, LockLostError):
                    mine.delete_work_folder()
    except OSError as error:
        raise RunError(f"{workspace.output}: {error}") from error
    except LockLostError:
        _clean_up(workspace)
        raise
    finally:
        if held and is_local(workspace.output):
            workspace.delete_empty_folders()
            with contextlib.suppress(OSError):
                for folder in new:
                    folder.rmdir()  # only succeeds for an empty folder


def _clean_up(workspace: Workspace) -> None:
    """Deletes what a run has written after another took its folder over, and has ended too."""
    if not exists(workspace.work_path(LOCK)):
        with contextlib.suppress(OSError, RunError, UserError), locked(workspace):
            pass
