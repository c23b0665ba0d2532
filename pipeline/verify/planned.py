"""Which examples a shard should have, in order."""

from __future__ import annotations

from collections.abc import Iterator

from depthmask.manifest import ShardEntry
from pipeline.plan import Plan
from transforms.elements import Placement, ShardKey


def planned_placements(plan: Plan, shard: ShardEntry) -> Iterator[Placement]:
    """Yields a shard's placements, those of examples that were left out too."""
    for key in plan.chunk_keys(ShardKey(shard.split, shard.number)):
        yield from plan.chunk(key).placements
