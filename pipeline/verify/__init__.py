"""Checking a finished dataset."""

from pipeline.verify.check import Check
from pipeline.verify.verify import StatisticsCheck, verify_dataset, write_decoded

__all__ = ["Check", "StatisticsCheck", "verify_dataset", "write_decoded"]
