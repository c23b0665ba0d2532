"""What describes a dataset: written, opened."""

from pipeline.dataset.description import DatasetDescription, DepthInfo
from pipeline.dataset.finish import described, finish_dataset, json_text, statistics_json
from pipeline.dataset.opened import (
    Dataset,
    check_files,
    check_model,
    check_plan,
    in_proportion,
    open_dataset,
    reading_from,
)

__all__ = [
    "Dataset",
    "DatasetDescription",
    "DepthInfo",
    "check_files",
    "check_model",
    "check_plan",
    "described",
    "finish_dataset",
    "in_proportion",
    "json_text",
    "open_dataset",
    "reading_from",
    "statistics_json",
]
