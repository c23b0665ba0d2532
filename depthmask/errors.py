"""Errors: one root, and what the command line does with each kind."""

from __future__ import annotations


class DepthmaskError(Exception):
    """The root of all errors that depthmask raises on purpose; the message is for the user."""


class UserError(DepthmaskError):
    """The input cannot be used: says what, where, and the remedy.

    The command line prints it without a traceback and ends with exit code 2.
    """


class DatasetError(UserError, ValueError):
    """A folder that is not a finished dataset, is damaged, or lacks what was asked of it."""


class DepthModelError(UserError, ValueError):
    """A depth model that cannot be used: names the file, what is wrong, and the remedy."""


class RunError(DepthmaskError):
    """The run failed underway, for the reason given. The command line ends with exit code 1."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # TensorFlow puts a traceback in between.
    return lines[-1] if lines[0] == "in user code:" else lines[0]
