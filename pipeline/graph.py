"""The Beam graph, whole: from a plan to a finished dataset."""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from pipeline.dataset.description import DatasetDescription
from pipeline.dataset.finish import finish_dataset
from pipeline.plan.plan import Plan
from transforms.assemble import FindFinishedWork, JoinParts
from transforms.compose import Compose
from transforms.depth.estimate import EstimateDepth
from transforms.depth.model import DepthStage
from transforms.encode import Encode, RecordEncoder
from transforms.prepared import PreparedSource
from transforms.segments import ShardStore, WriteSegments
from transforms.statistics import ChannelStatistics


@dataclass
class FinishDataset(beam.PTransform):
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
class MakeSegments(beam.PTransform):
    """From chunk keys to segments. Pixels live in here only.

    Resource hints are given to this whole, never to a step of it: a runner fuses steps of the same
    hints alone, and arrays between two that are not fused would cross the network.
    """

    plan: Plan
    source: PreparedSource
    depth: DepthStage | None
    store: ShardStore

    def expand(self, keys: beam.PCollection) -> beam.PCollection:
        recipe, depth = self.plan.recipe, self.depth
        encoder = RecordEncoder(
            image=recipe.image,
            mask=recipe.masks,
            binary_masks=not recipe.masks.soft,
            depth=depth.storage if depth else None,
        )
        chunks = (
            keys
            | "Place" >> beam.Map(self.plan.chunk)
            | "Compose" >> Compose(self.source, recipe.masks.binary_threshold)
        )
        if depth:
            chunks |= "EstimateDepth" >> EstimateDepth(depth)
        return chunks | "Encode" >> Encode(encoder) | "WriteSegments" >> WriteSegments(self.store)


def build_graph(
    pipeline: beam.Pipeline,
    plan: Plan,
    source: PreparedSource,
    depth: DepthStage | None,
    store: ShardStore,
    description: DatasetDescription,
    hints: dict[str, str],
) -> None:
    """Adds the whole graph to `pipeline`; `hints` says what the steps that handle pixels run on.

    What an interrupted run has finished is found first, and not made again.
    """
    found = (
        pipeline
        | "Shards" >> beam.Create(plan.shard_keys())
        | "FindFinishedWork" >> FindFinishedWork(store, plan.chunk_keys)
    )
    made = found.missing | "MakeSegments" >> MakeSegments(
        plan, source, depth, store
    ).with_resource_hints(**hints)
    shards = (
        (made, found.made, found.files)
        | "AllParts" >> beam.Flatten()
        | "AssembleShards" >> JoinParts(store)
    )
    statistics = shards | "ChannelStatistics" >> ChannelStatistics()
    _ = shards | "FinishDataset" >> FinishDataset(description, statistics)
