"""Progress of a run, on any runner: seen from the segments and shards in the output folder."""

from __future__ import annotations

import re
import sys
import threading
import time
from types import TracebackType

from apache_beam.io.filesystems import FileSystems
from tqdm import tqdm

_SEGMENT = re.compile(r"([^/\\]+-\d{5}-\d{7})-n(\d+)-[0-9a-f]+\.tfrecord$")
_POLL_SECONDS = 2.0
_LOG_SECONDS = 15.0


class Progress:
    """Shows examples done, examples a second and time left while its block runs.

    A bar on a terminal, a plain line now and then elsewhere. What it counts are finished segments,
    which every runner leaves in the work folder alike.
    """

    def __init__(self, work_folder: str, examples: int) -> None:
        self._pattern = FileSystems.join(work_folder, "*.tfrecord")
        self._examples = examples
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._bar = tqdm(
            total=examples,
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

    def _watch(self) -> None:
        done, logged = 0, time.monotonic()
        while not self._stopped.wait(_POLL_SECONDS):
            # The work folder goes when the last shard stands: never count backwards.
            done = max(done, self._count())
            self._bar.update(done - self._bar.n)
            if done == self._examples:
                self._bar.set_description("joining shards")
            if self._bar.disable and time.monotonic() - logged >= _LOG_SECONDS:
                logged = time.monotonic()
                rate = done / (logged - self._started)
                left = f"{(self._examples - done) / rate:,.0f} s left" if done else "starting"
                print(
                    f"{done:,} of {self._examples:,} examples, {rate:,.0f} a second, {left}",
                    file=sys.stderr,
                    flush=True,
                )

    def _count(self) -> int:
        try:
            (match,) = FileSystems.match([self._pattern])
        except OSError:  # a listing that fails is made again in a moment
            return 0
        chunks = {}
        for metadata in match.metadata_list:
            # Attempts at one chunk count once.
            if found := _SEGMENT.search(metadata.path):
                chunks[found[1]] = int(found[2])
        return sum(chunks.values())
