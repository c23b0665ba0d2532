"""Labelled datasets for depth and foreground masks: reading them with `tf.data`, without Beam.

What is named here is imported when it is first used: `import depthmask` loads neither TensorFlow
nor Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from depthmask.errors import DatasetError

if TYPE_CHECKING:
    from depthmask.reading import DatasetInfo, load, read_info

    __version__: str

# Where each name that is loaded at its first use stands.
_MODULES = {
    "DatasetInfo": "depthmask.reading",
    "load": "depthmask.reading",
    "read_info": "depthmask.reading",
}

__all__ = ["DatasetError", "DatasetInfo", "load", "read_info"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("depthmask")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, "__version__"})
