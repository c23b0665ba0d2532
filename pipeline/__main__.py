"""python -m pipeline, and the command depthmask: `pipeline.cli.main` as a process of its own."""

from __future__ import annotations

import io
import sys

from pipeline.processes.signals import (
    STOPPED,
    end_by_signals,
    end_process,
    interrupted,
    say_stopped,
)


def run() -> None:
    """Runs the command of the process's arguments, and ends the process with its exit code."""
    try:
        end_by_signals()
        for stream in (sys.stdout, sys.stderr):  # of any encoding: what it lacks is escaped
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        from pipeline.cli import main  # takes a while, and signals are heeded already

        code = main()
    except SystemExit:
        raise
    except BaseException as error:
        if interrupted() or isinstance(error, KeyboardInterrupt):  # before a command, or again
            say_stopped()
            code = STOPPED
        else:
            sys.excepthook(*sys.exc_info())
            code = 1
    end_process(code)


if __name__ == "__main__":
    run()
