"""Signals: how a process ends by one, whatever it is at, and which processes get them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator

STOPPED = 130
_ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# Time to stop work and to release the output folder; after a second signal, much less.
_PATIENCE_SECONDS = 8.0
_IMPATIENCE_SECONDS = 1.0
# Who ends all processes of a run ends this one too: its own signal may come a little later.
_SETTLE_SECONDS = 0.3


class _State:  # no dataclass: importing that takes longer than all else here
    """Of this process's signals: whether one was received, is to wait, and waits."""

    received = held = pending = False


_state = _State()


def end_by_signals() -> None:
    """From here on Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt, and end the process soon.

    Soon even where that is caught, or waits for something: then the process just ends, with the
    exit code `STOPPED`. A signal that is ignored stays so. For the main thread.
    """
    signals, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_in_time, args=(signals,), daemon=True).start()
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    _state.received = True
    if _state.held:
        _state.pending = True
        return
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether a signal is to end this process: some code makes another error of what it raises."""
    return _state.received


def _end_in_time(signals: int) -> None:
    while os.read(signals, 1)[0] not in _ENDING:
        pass
    select.select([signals], [], [], _PATIENCE_SECONDS)
    time.sleep(_IMPATIENCE_SECONDS)
    # Standard error may be what the process waits for.
    saying = threading.Thread(target=say_stopped, daemon=True)
    saying.start()
    saying.join(_IMPATIENCE_SECONDS)
    os._exit(STOPPED)


def say_stopped() -> None:
    """Tells the user that a signal ended the command."""
    print("depthmask: stopped. Run the same command again to go on.", file=sys.stderr, flush=True)


def end_process(code: int) -> None:
    """Ends this process now: threads that others have left waiting are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)


def settle() -> None:
    """Waits a moment, where processes have just ended.

    For a signal that may be on its way, if theirs was the same, and for threads that they leave.
    """
    time.sleep(_SETTLE_SECONDS)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Signals come after the block, and never to processes that it starts until `take_signals`."""
    # Processes inherit the mask. For this one it is not enough: any thread may get the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    _state.held = True
    try:
        yield
    finally:
        _state.held = False
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if _state.pending:
        _state.pending = False
        raise KeyboardInterrupt


def take_signals() -> None:
    """Lets a process take signals; but Ctrl-C, which a terminal sends to all, is the parent's."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGINT])
