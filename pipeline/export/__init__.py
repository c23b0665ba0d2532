"""Export: a finished dataset as other training code expects it.

`export_dataset` is loaded when it is asked for: the names of layouts need nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.export.layouts import LAYOUTS

if TYPE_CHECKING:
    from pipeline.export.export import export_dataset

__all__ = ["LAYOUTS", "export_dataset"]


def __getattr__(name: str) -> Any:
    if name != "export_dataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.export.export import export_dataset

    return export_dataset
