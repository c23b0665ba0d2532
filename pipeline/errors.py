"""Errors that a user can mend."""


class UserError(Exception):
    """What the user gave cannot be used: says what, where, and what would be right.

    The command line prints it without a traceback and ends with exit code 2.
    """


class RunError(Exception):
    """The run failed underway, for the reason given. The command line ends with exit code 1."""
