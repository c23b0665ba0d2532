"""What a depth model that cannot be used raises."""


class DepthModelError(ValueError):
    """A depth model that cannot be used: names the file, what is wrong, and the remedy."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # TensorFlow puts a traceback in between.
    return lines[-1] if lines[0] == "in user code:" else lines[0]
