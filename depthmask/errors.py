"""Errors that a user can mend."""

from __future__ import annotations


class DepthModelError(ValueError):
    """A depth model that cannot be used: names the file, what is wrong, and the remedy."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # TensorFlow puts a traceback in between.
    return lines[-1] if lines[0] == "in user code:" else lines[0]


class UserError(Exception):
    """What the user gave cannot be used: says what, where, and what would be right.

    The command line prints it without a traceback and ends with exit code 2.
    """


class RunError(Exception):
    """The run failed underway, for the reason given. The command line ends with exit code 1."""
