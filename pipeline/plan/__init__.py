"""Which examples there are, and where each foreground lands."""

from pipeline.plan.placement import check_fits
from pipeline.plan.plan import Plan, shards_text

__all__ = ["Plan", "check_fits", "shards_text"]
