"""Waiting for work that other processes do, but never for ever.

Beam waits on the thread that calls it, without end for a worker that never connects or a job server
that has gone silent, and even where it is interrupted. So it is called on a thread of its own; the
caller waits for its end, for a cause to give it up, or for a signal, whichever comes first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from typing import Any, TypeVar

from depthmask.errors import RunError
from pipeline.processes.signals import settle, take_signals

_Result = TypeVar("_Result")
# What Beam's thread that waits for a worker process raises where that fails or is killed.
_WORKER_EXITED = "Worker subprocess exited"
_CHECK_SECONDS = 5.0


class WorkerGoneError(RunError):
    """A worker process ended before its time."""

    def __init__(self) -> None:
        super().__init__("a worker process ended unexpectedly: killed, or out of memory")


def watched(function: Callable[[], _Result], check: Callable[[], None]) -> _Result:
    """Returns what `function`, called on another thread, returns, or raises what it raises.

    Stops waiting for it with `WorkerGoneError` where one of Beam's worker processes is gone, with
    what `check` raises, which is called every few seconds, and on the main thread by a signal.
    Processes that the function starts never get Ctrl-C.
    """
    ended: Future[_Result] = Future()
    worker_gone: Future[None] = Future()

    def call() -> None:
        take_signals()  # and so do the threads and processes that this one starts
        try:
            ended.set_result(function())
        except BaseException as error:
            ended.set_exception(error)

    def thread_failed(arguments: threading.ExceptHookArgs) -> None:
        if _WORKER_EXITED not in str(arguments.exc_value):
            hook(arguments)
            return
        with contextlib.suppress(InvalidStateError):  # not the first that is gone
            worker_gone.set_result(None)

    hook, threading.excepthook = threading.excepthook, thread_failed
    try:
        # A daemon, and so are the threads that it starts: none of them holds up the process's end.
        threading.Thread(target=call, daemon=True).start()
        either: list[Future[Any]] = [ended, worker_gone]
        while not wait(either, _CHECK_SECONDS, FIRST_COMPLETED).done:
            check()
        if not ended.done():
            settle()
        if not ended.done():
            raise WorkerGoneError
        return ended.result()
    finally:
        threading.excepthook = hook
