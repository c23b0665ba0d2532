"""A leash: what takes it ends as soon as its holder lets go, or is gone.

The holder need not know who has taken it: a process that takes it only later ends at once. As a
program, ``python leash.py LEASH COMMAND …``, it runs a command that knows of no leash.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType

# How long those who have it may take to end.
_END_SECONDS = 2.0
_POLL_SECONDS = 0.01


class Leash:
    """Holds the leash `path` while its block runs, and sees those who have taken it end."""

    def __enter__(self) -> Leash:
        self._folder = tempfile.TemporaryDirectory(prefix="depthmask-")
        self.path = os.path.join(self._folder.name, "leash")
        os.mkfifo(self.path)
        # For reading too, so as not to wait for a reader. Whatever becomes of this process, the
        # system closes it.
        self._held = os.open(self.path, os.O_RDWR)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._held)
        deadline = time.monotonic() + _END_SECONDS
        with contextlib.suppress(OSError):  # which says that no one has it any more
            while time.monotonic() < deadline:
                os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
                time.sleep(_POLL_SECONDS)
        self._folder.cleanup()


def _exit() -> None:
    """Ends this process at once, whatever its threads are at."""
    os._exit(1)


def take(path: str, end: Callable[[], None] = _exit) -> None:
    """Calls `end`, on a thread of its own, as soon as the leash at `path` is let go."""
    try:
        # Not to wait for a holder, if there is none any more.
        pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        _exit()
    os.set_blocking(pipe, True)

    def wait() -> None:
        os.read(pipe, 1)  # nothing is ever written: this returns once no one holds the other end
        end()

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Runs a command that ends with the leash, and ends as it does."""
    path, *command = sys.argv[1:]
    process = subprocess.Popen(command)
    try:
        take(path, end=process.kill)
        code = process.wait()
    finally:
        process.kill()
    sys.exit(code)


if __name__ == "__main__":
    main()
