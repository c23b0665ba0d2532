"""Commands in sessions of their own: to be killed at chosen moments, and looked at to the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

# A machine may be busy with much else. What waits for ever takes longer still.
_START_SECONDS = 120.0
END_SECONDS = 25.0
_POLL_SECONDS = 0.02
# Signs of workers of Beam's, of a pool's, of Prism, in their commands.
_WORKERS = ("processes/worker.py", "spawn_main", "--job_port")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    `seconds`: from the last signal to its end. `left`: what its session still had running then,
    and does after some seconds more.
    """

    code: int
    text: str
    seconds: float
    left: list[str]


class Session:
    """A command that runs in a session of its own; whatever is left of it ends with the block."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        output, name = tempfile.mkstemp(prefix="session-")
        self._output = Path(name)
        self.began = self._signalled = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        os.close(output)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for member in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()
        self._output.unlink()

    def members(self) -> list[psutil.Process]:
        """The session's processes, the command's own first."""
        return list(self._members())

    def _members(self) -> Iterator[psutil.Process]:
        for pid in psutil.pids():  # in order
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(pid) == self.process.pid:
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        yield process

    def workers(self) -> list[psutil.Process]:
        """The processes that work for the command."""
        found = []
        for member in self.members():
            with contextlib.suppress(psutil.Error):
                if any(sign in argument for sign in _WORKERS for argument in member.cmdline()):
                    found.append(member)
        return found

    def text(self) -> str:
        """What the command has written so far."""
        return self._output.read_text()

    def heeds_signals(self) -> bool:
        """Whether the command has come to decide itself how SIGTERM ends it (Linux only)."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
            return bool(caught >> (signal.SIGTERM - 1) & 1)
        return False

    def wait_until(self, holds: Callable[[Session], object]) -> None:
        """Waits for a moment of the command's."""
        deadline = time.monotonic() + _START_SECONDS
        while not holds(self):
            assert self.process.poll() is None, f"it ended too early:\n{self.text()}"
            assert time.monotonic() < deadline, f"the moment never came:\n{self.text()}"
            time.sleep(_POLL_SECONDS)

    def wait_for(self, seconds: float) -> None:
        """Waits so long since the command began, or until it has ended."""
        left = self.began + seconds - time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(left, 0))

    def signal(self, sign: signal.Signals) -> None:
        """Sends a signal to the command alone."""
        self._signalled = time.monotonic()
        self.process.send_signal(sign)

    def signal_all(self, sign: signal.Signals) -> None:
        """Sends a signal to all processes of the session, as a terminal does."""
        self._signalled = time.monotonic()
        os.killpg(self.process.pid, sign)

    def signal_worker(self, sign: signal.Signals, number: int = -1) -> None:
        """Sends a signal to one of the workers."""
        self._signalled = time.monotonic()
        self.workers()[number].send_signal(sign)

    def wait(self, seconds: float = END_SECONDS) -> Ended:
        """Waits for the command's end, and for that of all that it has started."""
        code = self.process.wait(seconds)
        took = time.monotonic() - self._signalled
        deadline = time.monotonic() + 5
        while (left := self.members()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return Ended(code, self.text(), took, [str(member) for member in left])


def after(seconds: float) -> Callable[[Session], bool]:
    """The moment so long after the command began."""
    return lambda session: time.monotonic() - session.began >= seconds


def workers(count: int) -> Callable[[Session], bool]:
    """The moment when so many worker processes are there."""
    return lambda session: len(session.workers()) >= count


def connected(session: Session) -> bool:
    """Whether a worker has connected."""
    with contextlib.suppress(psutil.Error):
        return any(
            connection.status == psutil.CONN_ESTABLISHED
            for worker in session.workers()
            for connection in worker.net_connections("tcp")
        )
    return False
