"""TensorFlow's start-up lines, kept from the terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drops what is written to the process's standard error, by C++ code too, in its block.

    Importing TensorFlow writes several lines there that no setting of its own keeps back.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # for what it says after its start
    saved = os.dup(2)
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
