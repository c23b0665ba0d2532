"""Export: a finished dataset as other training code expects it."""

from pipeline.export.export import Exported, export_dataset
from pipeline.export.layouts import LAYOUTS

__all__ = ["LAYOUTS", "Exported", "export_dataset"]
