"""The Beam graph, whole: from a plan to a finished dataset.

Where depth is of the backgrounds, and estimated, a small graph of its own does that first.
"""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from pipeline.dataset import DatasetDescription, finish_dataset
from pipeline.job import Job
from transforms.assemble import FindFinishedWork, JoinParts
from transforms.background_depths import EstimateBackgrounds
from transforms.compose import Compose
from transforms.depth.estimate import EstimateDepth
from transforms.encode import Encode, EncodeImages
from transforms.segments import WriteSegments
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

    Resource hints are on this as a whole, never on a step of it: a runner only fuses steps with the
    same hints, and arrays between two steps that are not fused would cross the network.
    """

    job: Job

    def expand(self, keys: beam.PCollection) -> beam.PCollection:
        job = self.job
        chunks = (
            keys
            | "Place" >> beam.Map(job.plan.chunk)
            | "Compose" >> Compose(job.source, job.recipe.drawing, job.layers)
        )
        if job.depth and job.recipe.depth.of == "stored":
            chunks |= "EncodeImages" >> EncodeImages(job.encoder)
        if job.depth and not job.layers:
            chunks |= "EstimateDepth" >> EstimateDepth(job.depth)
        return (
            chunks | "Encode" >> Encode(job.encoder) | "WriteSegments" >> WriteSegments(job.store)
        )


def build_depth_graph(pipeline: beam.Pipeline, job: Job, hints: dict[str, str]) -> None:
    """Adds to `pipeline` the graph that estimates the depth of each background once.

    It is run to its end before the other. `hints`: for the steps that handle pixels.
    """
    assert job.depth and job.layers  # there is a network to run on backgrounds
    store = job.depth_store
    found = (
        pipeline
        | "File" >> beam.Create([store.key])
        | "FindFinishedWork" >> FindFinishedWork(store, store.chunk_keys)
    )
    estimate = EstimateBackgrounds(job.source, job.depth, job.layers, store)
    made = found.missing | "EstimateBackgrounds" >> estimate.with_resource_hints(**hints)
    _ = (
        (made, found.made, found.files)
        | "AllParts" >> beam.Flatten()
        | "AssembleDepths" >> JoinParts(store)
    )


def build_graph(pipeline: beam.Pipeline, job: Job, hints: dict[str, str]) -> None:
    """Adds the whole graph to `pipeline`; `hints`: for the steps that handle pixels.

    What an interrupted run has finished is found first, and not made again.
    """
    found = (
        pipeline
        | "Shards" >> beam.Create(job.plan.shard_keys())
        | "FindFinishedWork" >> FindFinishedWork(job.store, job.plan.chunk_keys)
    )
    made = found.missing | "MakeSegments" >> MakeSegments(job).with_resource_hints(**hints)
    shards = (
        (made, found.made, found.files)
        | "AllParts" >> beam.Flatten()
        | "AssembleShards" >> JoinParts(job.store)
    )
    statistics = shards | "ChannelStatistics" >> ChannelStatistics()
    _ = shards | "FinishDataset" >> FinishDataset(job.description, statistics)
