"""Progress of a run on any runner, read from the names of the files that it writes."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

from transforms.io.files import is_local

_log = logging.getLogger("depthmask")
_POLL_SECONDS = 2.0
# Listing an object store is slow and costs money.
_REMOTE_POLL_SECONDS = 30.0
# Times the seconds that a count took: it lists every file, and there may be millions.
_PAUSE_FACTOR = 20
_LOG_SECONDS = 15.0


class Progress:
    """Shows examples done, examples a second and time left while its block runs.

    On a terminal it is a bar, elsewhere a log message now and then. `count` returns how many of
    `examples` (or other things, which `noun` names) are done, from what is in `work_folder`;
    `pause`: seconds until the next count.
    """

    def __init__(
        self, examples: int, work_folder: str, count: Callable[[], int], noun: str = "examples"
    ) -> None:
        self._examples = examples
        self._noun = noun
        self._poll_seconds = _POLL_SECONDS if is_local(work_folder) else _REMOTE_POLL_SECONDS
        self._count = count
        self._done = self._found_at_start = self._look()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._bar = tqdm(
            total=self._examples,
            initial=self._done,
            unit="ex" if noun == "examples" else "",
            unit_scale=True,
            desc=noun,
            disable=not sys.stderr.isatty(),
        )
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
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
        if kind is None:
            self._bar.update(self._examples - self._bar.n)
        self._bar.close()

    def _look(self) -> int:
        started = time.monotonic()
        found = 0
        with contextlib.suppress(OSError):  # the next count will do
            found = self._count()
        self.pause = max(self._poll_seconds, _PAUSE_FACTOR * (time.monotonic() - started))
        return found

    def _watch(self) -> None:
        done, logged = self._done, time.monotonic()
        while not self._stopped.wait(self.pause):
            # Files go as they are joined: never count backwards.
            done = max(done, self._look())
            self._bar.update(done - self._bar.n)
            if done == self._examples:
                self._bar.set_description("joining")
            if self._bar.disable and time.monotonic() - logged >= _LOG_SECONDS:
                logged = time.monotonic()
                rate = (done - self._found_at_start) / (logged - self._started)
                left = f"{(self._examples - done) / rate:,.0f} s left" if rate else "starting"
                _log.info(
                    "%s of %s %s, %s a second, %s",
                    *(f"{done:,}", f"{self._examples:,}", self._noun, f"{rate:,.0f}", left),
                )
