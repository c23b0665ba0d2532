"""Labelled datasets for depth estimation and foreground segmentation: making and reading them.

`load` and `read_info` read with `tf.data` and need no Beam; `generate`, `plan`, `export`, `verify`,
`evaluate` and `repair` do what the commands of these names do. Each is imported when it is first
used: importing `depthmask` itself loads neither TensorFlow nor Beam. What these do underway is
logged to the logger ``depthmask``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from depthmask.errors import DatasetError, DepthmaskError, DepthModelError, RunError, UserError

if TYPE_CHECKING:
    from depthmask.reading import DatasetInfo, load, read_info
    from pipeline.api import generate, plan
    from pipeline.dataset import verify_dataset as verify
    from pipeline.evaluate import evaluate
    from pipeline.export import export_dataset as export
    from pipeline.repair import repair

    __version__: str

__all__ = [
    "DatasetError",
    "DatasetInfo",
    "DepthModelError",
    "DepthmaskError",
    "RunError",
    "UserError",
    "evaluate",
    "export",
    "generate",
    "load",
    "plan",
    "read_info",
    "repair",
    "verify",
]

# What is imported when it is first used: where it is, and its name there.
_LAZY = {
    "DatasetInfo": "depthmask.reading:DatasetInfo",
    "load": "depthmask.reading:load",
    "read_info": "depthmask.reading:read_info",
    "generate": "pipeline.api:generate",
    "plan": "pipeline.api:plan",
    "evaluate": "pipeline.evaluate:evaluate",
    "export": "pipeline.export:export_dataset",
    "verify": "pipeline.dataset:verify_dataset",
    "repair": "pipeline.repair:repair",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("depthmask")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _LAZY[name].partition(":")
    globals()[name] = getattr(importlib.import_module(module), own_name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
