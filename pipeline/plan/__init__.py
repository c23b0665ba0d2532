"""Which examples there are, and where each foreground lands."""

from pipeline.plan.placement import check_fits, foreground_scale
from pipeline.plan.plan import Plan, shards_text

__all__ = ["Plan", "check_fits", "foreground_scale", "shards_text"]
