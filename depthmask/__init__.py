"""Labelled datasets for depth estimation and foreground segmentation: making and reading them.

`load` and `read_info` read with `tf.data` and need no Beam; `generate`, `plan`, `export`, `verify`
and `repair` do what the commands of these names do. Each is imported when it is first used:
importing `depthmask` itself loads neither TensorFlow nor Beam. What these do underway is logged to
the logger ``depthmask``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from depthmask.errors import DatasetError, DepthmaskError, DepthModelError, RunError, UserError

if TYPE_CHECKING:
    from depthmask.reading import DatasetInfo, load, read_info
    from pipeline.api import generate, plan
    from pipeline.dataset.verify import verify
    from pipeline.export.export import export
    from pipeline.repair import repair

    __version__: str

__all__ = [
    "DatasetError",
    "DatasetInfo",
    "DepthModelError",
    "DepthmaskError",
    "RunError",
    "UserError",
    "export",
    "generate",
    "load",
    "plan",
    "read_info",
    "repair",
    "verify",
]

# Where the names are that are imported when they are first used.
_MODULES = {
    "DatasetInfo": "depthmask.reading",
    "load": "depthmask.reading",
    "read_info": "depthmask.reading",
    "generate": "pipeline.api",
    "plan": "pipeline.api",
    "export": "pipeline.export.export",
    "verify": "pipeline.dataset.verify",
    "repair": "pipeline.repair",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("depthmask")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
