"""How many processors this process may use: often fewer than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def usable_cores() -> int:
    """Returns how many cores this process may use: by its affinity, and by its cgroup's quota.

    At least 1; of a quota of 1.5 cores, 2.
    """
    # Systems without affinity have no cgroups either.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([allowed or 1, *(math.ceil(quota) for quota in _quotas())]))


def _quotas() -> Iterator[float]:
    """Cores that each cgroup of this process, and each above it, may use; none without a limit."""
    for folder in _cgroups():
        # Version 2 has both figures in one file, version 1 each in its own.
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            try:
                words = [word for name in names for word in (folder / name).read_text().split()]
                quota, period = map(int, words)
            except (OSError, ValueError):  # no such file, or "max"
                continue
            if quota > 0 and period > 0:
                yield quota / period


def _cgroups() -> Iterator[Path]:
    try:
        lines = (_ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = _ROOT / "sys/fs/cgroup"
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount / "cpu" if controllers else mount
        # Where a container does not see the group by its name, the mount itself is the group.
        yield base
        path = base
        for part in group.strip("/").split("/"):
            path /= part
            yield path
