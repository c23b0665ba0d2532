"""What describes a dataset: written, opened."""

from pipeline.dataset.card import dataset_card, summarise
from pipeline.dataset.croissant import dataset_croissant
from pipeline.dataset.description import DatasetDescription, DepthInfo
from pipeline.dataset.finish import (
    card_facts,
    described,
    finish_dataset,
    json_text,
    statistics_json,
)
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
    "card_facts",
    "check_files",
    "check_model",
    "check_plan",
    "dataset_card",
    "dataset_croissant",
    "described",
    "finish_dataset",
    "in_proportion",
    "json_text",
    "open_dataset",
    "reading_from",
    "statistics_json",
    "summarise",
]
