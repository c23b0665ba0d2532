"""Progress of a run, on any runner: seen from the segments and shards in the output folder."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

from transforms.elements import ShardKey
from transforms.io.files import is_local, list_files
from transforms.segments import SEGMENT_NAME, ShardLayout

_LOG = logging.getLogger("depthmask")
# A shard's folder, and in it a segment (first example, examples) or the finished shard.
_FOUND = re.compile(rf"(\w+)-(\d{{5,}})[/\\](?:{SEGMENT_NAME}|shard\.json)$")
_POLL_SECONDS = 2.0
# A listing of an object store is slow and costs money.
_REMOTE_POLL_SECONDS = 30.0
# Times the seconds that a count took: it reads a name of each file, and there may be millions.
_PAUSE_FACTOR = 20
_LOG_SECONDS = 15.0


class Progress:
    """Shows examples done, examples a second and time left while its block runs.

    A bar on a terminal, a plain line now and then elsewhere. `count` says how many of `examples`
    are done, by what every runner leaves in `work_folder` alike; `pause` are the seconds until it
    is asked again.
    """

    def __init__(self, examples: int, work_folder: str, count: Callable[[], int]) -> None:
        self._examples = examples
        self._poll_seconds = _POLL_SECONDS if is_local(work_folder) else _REMOTE_POLL_SECONDS
        self._count = count
        self._done = self._found_at_start = self._look()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._bar = tqdm(
            total=self._examples,
            initial=self._done,
            unit="ex",
            unit_scale=True,
            desc="examples",
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
        found = self._count()
        self.pause = max(self._poll_seconds, _PAUSE_FACTOR * (time.monotonic() - started))
        return found

    def _watch(self) -> None:
        done, logged = self._done, time.monotonic()
        while not self._stopped.wait(self.pause):
            # The work folder goes when the last shard stands: never count backwards.
            done = max(done, self._look())
            self._bar.update(done - self._bar.n)
            if done == self._examples:
                self._bar.set_description("joining")
            if self._bar.disable and time.monotonic() - logged >= _LOG_SECONDS:
                logged = time.monotonic()
                rate = (done - self._found_at_start) / (logged - self._started)
                left = f"{(self._examples - done) / rate:,.0f} s left" if rate else "starting"
                _LOG.info(f"{done:,} of {self._examples:,} examples, {rate:,.0f} a second, {left}")


def count_examples(layout: ShardLayout) -> int:
    """Examples that a run has made so far: those of finished segments and shards."""
    try:
        files = list_files(layout.work_folder)
    except OSError:  # a listing that fails is made again in a moment
        return 0
    finished: set[ShardKey] = set()
    segments: dict[ShardKey, dict[str, int]] = {}
    for file in files:
        if found := _FOUND.search(file.path):
            shard = ShardKey(found[1], int(found[2]))
            if found[3] is None:
                finished.add(shard)
            else:  # attempts at one chunk count once
                segments.setdefault(shard, {})[found[3]] = int(found[4])
    return sum(map(layout.examples, finished)) + sum(
        sum(chunks.values()) for shard, chunks in segments.items() if shard not in finished
    )
