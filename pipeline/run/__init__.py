"""Running a job: its folder, its lock, Beam's options, its progress, its end.

What needs Beam is imported from its own module: `dataflow`, `options`, `submit`.
"""

from pipeline.run.disk import check_disk_space, size_text
from pipeline.run.lock import locked
from pipeline.run.progress import Progress
from pipeline.run.workspace import (
    EXPORT,
    SET_ASIDE,
    State,
    Workspace,
)

__all__ = [
    "EXPORT",
    "SET_ASIDE",
    "Progress",
    "State",
    "Workspace",
    "check_disk_space",
    "locked",
    "size_text",
]
