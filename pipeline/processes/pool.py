"""Worker processes of a command's own."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import ParamSpec, TypeVar

from pipeline.processes.signals import settle, signals_held, take_signals
from pipeline.processes.watch import WorkerGoneError

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class WorkerPool(ProcessPoolExecutor):
    """Processes that outlive neither this one nor the block that they are used in.

    Where the block ends by an exception, they are killed. Raises RunError where one is gone before
    its time. They are spawned: neither threads nor TensorFlow survive a fork.
    """

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(processes, mp_context=context, initializer=_start_worker)

    def submit(
        self, fn: Callable[_Given, _Result], /, *args: _Given.args, **kwargs: _Given.kwargs
    ) -> Future[_Result]:
        """As any executor's; it is what starts the processes."""
        with signals_held():
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            for process in list((self._processes or {}).values()):
                process.kill()
        self.shutdown(cancel_futures=error is not None)
        if isinstance(error, BrokenProcessPool):
            settle()
            raise WorkerGoneError from error


def _start_worker() -> None:
    take_signals()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
