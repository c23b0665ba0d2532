"""Labelled datasets for depth estimation and foreground segmentation: making and reading them.

`open` reads a dataset with Pillow and NumPy, `load` with `tf.data`; neither needs Beam. `generate`,
`plan`, `export`, `card`, `verify`, `evaluate` and `repair` do what the commands of these names do.
Each is imported when it is first used: importing `depthmask` itself loads neither TensorFlow nor
Beam. What these do underway is logged to the logger ``depthmask``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from depthmask.errors import DatasetError, DepthmaskError, DepthModelError, RunError, UserError

if TYPE_CHECKING:
    from depthmask.dataset import Dataset, Examples
    from depthmask.dataset import open_dataset as open
    from depthmask.reading import load
    from pipeline.api import generate, plan
    from pipeline.card import write_card as card
    from pipeline.evaluate import evaluate
    from pipeline.export import export_dataset as export
    from pipeline.repair import repair
    from pipeline.verify import verify_dataset as verify

    __version__: str

__all__ = [
    "Dataset",
    "DatasetError",
    "DepthModelError",
    "DepthmaskError",
    "Examples",
    "RunError",
    "UserError",
    "card",
    "evaluate",
    "export",
    "generate",
    "load",
    "open",
    "plan",
    "repair",
    "verify",
]

# What is imported when it is first used: where it is, and its name there.
_LAZY = {
    "Dataset": "depthmask.dataset:Dataset",
    "Examples": "depthmask.dataset:Examples",
    "load": "depthmask.reading:load",
    "open": "depthmask.dataset:open_dataset",
    "generate": "pipeline.api:generate",
    "plan": "pipeline.api:plan",
    "card": "pipeline.card:write_card",
    "evaluate": "pipeline.evaluate:evaluate",
    "export": "pipeline.export:export_dataset",
    "verify": "pipeline.verify:verify_dataset",
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
