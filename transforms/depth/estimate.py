"""Depth in the graph: a batched model through Beam's RunInference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from transforms.depth.model import DepthModel, DepthStage
from transforms.elements import BackgroundChunk, ComposedChunk

Chunk = ComposedChunk | BackgroundChunk


class DepthHandler(ModelHandler[Chunk, Chunk, DepthModel]):
    """RunInference's view of a depth model. An element is a chunk: already a batch."""

    def __init__(self, stage: DepthStage) -> None:
        super().__init__()
        self._stage = stage

    def load_model(self) -> DepthModel:
        return self._stage.load()

    def run_inference(
        self,
        batch: Sequence[Chunk],
        model: DepthModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterator[Chunk]:
        yield from map(model.estimate, batch)

    def get_num_bytes(self, batch: Sequence[Chunk]) -> int:
        return sum(chunk.images.nbytes for chunk in batch)

    def get_metrics_namespace(self) -> str:
        return "depthmask_depth"

    def batch_elements_kwargs(self) -> dict[str, int]:
        return {"min_batch_size": 1, "max_batch_size": 1}


@dataclass
class EstimateDepth(beam.PTransform):
    """Adds depth to chunks of composites or of backgrounds."""

    stage: DepthStage

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | RunInference(DepthHandler(self.stage))
