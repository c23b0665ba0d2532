"""The Beam graph, whole: from a plan to a finished dataset."""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from pipeline.dataset.description import DatasetDescription
from pipeline.dataset.finish import finish_dataset
from pipeline.plan.plan import Plan
from transforms.compose import Compose
from transforms.depth.estimate import EstimateDepth
from transforms.depth.model import DepthStage
from transforms.encode import Encode, RecordEncoder
from transforms.prepared import PreparedSource
from transforms.segments import (
    CHUNKS,
    FINISHED,
    SEGMENTS,
    AssembleShards,
    ShardLayout,
    TakeStock,
    WriteSegments,
)
from transforms.statistics import ChannelStatistics


@dataclass
class FinishDataset(beam.PTransform):  # type: ignore[misc]
    """Writes what describes the dataset, once every shard stands; the manifest last of all."""

    description: DatasetDescription
    statistics: beam.PCollection

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return (
            shards.pipeline
            | "Once" >> beam.Create([self.description])
            | "Write"
            >> beam.Map(finish_dataset, shards=AsList(shards), tally=AsSingleton(self.statistics))
        )


@dataclass
class MakeSegments(beam.PTransform):  # type: ignore[misc]
    """From chunk keys to segments. Pixels live in here only.

    Resource hints are given to this whole, never to a step of it: a runner fuses steps of the same
    hints alone, and arrays between two that are not fused would cross the network.
    """

    plan: Plan
    source: PreparedSource
    depth: DepthStage | None
    layout: ShardLayout

    def expand(self, keys: beam.PCollection) -> beam.PCollection:
        recipe, depth = self.plan.recipe, self.depth
        encoder = RecordEncoder(
            image=recipe.image,
            mask=recipe.masks,
            binary_masks=not recipe.masks.soft,
            depth=depth.storage if depth else None,
            compression=recipe.compression,
        )
        chunks = (
            keys
            | "Place" >> beam.Map(self.plan.chunk)
            | "Compose" >> Compose(self.source, recipe.masks.binary_threshold)
        )
        if depth:
            chunks |= "EstimateDepth" >> EstimateDepth(depth)
        return chunks | "Encode" >> Encode(encoder) | "WriteSegments" >> WriteSegments(self.layout)


def build_graph(
    pipeline: beam.Pipeline,
    plan: Plan,
    source: PreparedSource,
    depth: DepthStage | None,
    layout: ShardLayout,
    description: DatasetDescription,
    hints: dict[str, str],
) -> None:
    """Adds the whole graph to `pipeline`; `hints` says what the steps that handle pixels run on.

    What an interrupted run has finished is taken stock of first, and not made again.
    """
    stock = (
        pipeline
        | "Shards" >> beam.Create(plan.shard_keys())
        | "TakeStock" >> TakeStock(layout, plan.chunk_keys)
    )
    made = stock[CHUNKS] | "MakeSegments" >> MakeSegments(
        plan, source, depth, layout
    ).with_resource_hints(**hints)
    shards = (
        (made, stock[SEGMENTS], stock[FINISHED])
        | "AllParts" >> beam.Flatten()
        | "AssembleShards" >> AssembleShards(layout)
    )
    statistics = shards | "ChannelStatistics" >> ChannelStatistics()
    _ = shards | "FinishDataset" >> FinishDataset(description, statistics)
