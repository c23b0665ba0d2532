"""What describes a dataset: written, opened, checked."""

from pipeline.dataset.description import DatasetDescription, DepthInfo
from pipeline.dataset.finish import finish_dataset
from pipeline.dataset.opened import Dataset, check_files, check_plan, open_dataset
from pipeline.dataset.verify import Check, verify_dataset

__all__ = [
    "Check",
    "Dataset",
    "DatasetDescription",
    "DepthInfo",
    "check_files",
    "check_plan",
    "finish_dataset",
    "open_dataset",
    "verify_dataset",
]
