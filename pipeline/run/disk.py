"""Space on the disk, and sizes as text."""

from __future__ import annotations

import shutil
from pathlib import Path

from depthmask.errors import UserError
from transforms.io.files import is_local


def size_text(size: float) -> str:
    """Bytes in the unit that fits: ``750 bytes``, ``12.0 kB``, ``1.5 GB``."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if round(size, 1) < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} TB"


def check_disk_space(folder: str, what: str, needed: float, to_be_freed: int = 0) -> None:
    """Raises UserError where `what` will not fit onto the disk of a local folder.

    `needed` and `to_be_freed` are bytes; the folder need not be there yet.
    """
    if not is_local(folder):
        return
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free + to_be_freed
    if needed > free:
        raise UserError(
            f"{folder}: {what} needs about {size_text(needed)} while it is being made, and "
            f"{size_text(free)} are free. Make room, or name a folder elsewhere."
        )
