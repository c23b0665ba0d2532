"""Statistics in the graph: exact sums, merged in any order to the same digits."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import apache_beam as beam

from depthmask.tally import Tally


class StatisticsCombineFn(beam.CombineFn):
    """Accumulates tallies; per-channel mean and std are properties of the moments in the result."""

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, accumulator: Tally, element: Tally) -> Tally:
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        return Tally.total(accumulators)

    def extract_output(self, accumulator: Tally) -> Tally:
        return accumulator


class ChannelStatistics(beam.PTransform):
    """From finished shards to the tally of the whole dataset.

    Shards carry the exact sums of their pixels, so that a resumed or repaired run adds up to the
    same figures as one that never stopped.
    """

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return (
            shards
            | "TakeTally" >> beam.Map(operator.attrgetter("entry.tally"))
            | "Sum" >> beam.CombineGlobally(StatisticsCombineFn())
        )
