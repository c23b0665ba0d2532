"""The whole Beam graph of an export: from a dataset's shards to the files of a layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, AsList

from pipeline.export.pieces import ExportJob, finish_export, make_piece
from transforms.assemble import FindFinishedWork, JoinParts


@dataclass
class MakePieces(beam.PTransform):
    """From chunk keys to pieces on disk. Pictures live in here only."""

    job: ExportJob

    def expand(self, keys: beam.PCollection) -> beam.PCollection:
        job = self.job
        return keys | "WriteFiles" >> beam.Map(lambda key: make_piece(job, key))


@dataclass
class FinishExport(beam.PTransform):
    """Writes what describes the export, once every container is finished."""

    job: ExportJob
    provenance: dict[str, Any]
    pieces: beam.PCollection

    def expand(self, containers: beam.PCollection) -> beam.PCollection:
        return (
            containers.pipeline
            | "Once" >> beam.Create([self.job])
            | "Write"
            >> beam.Map(
                finish_export,
                self.provenance,
                containers=AsList(containers),
                pieces=AsIter(self.pieces),
            )
        )


def build_graph(pipeline: beam.Pipeline, job: ExportJob, provenance: dict[str, Any]) -> None:
    """Adds the whole graph to `pipeline`.

    What an interrupted export has finished is found first, and not made again.
    """
    found = (
        pipeline
        | "Shards" >> beam.Create(job.shard_keys())
        | "FindFinishedWork" >> FindFinishedWork(job, job.chunk_keys)
    )
    made = found.missing | "MakePieces" >> MakePieces(job)
    pieces = (made, found.made) | "AllPieces" >> beam.Flatten()
    containers = (
        (pieces, found.files) | "AllParts" >> beam.Flatten() | "JoinContainers" >> JoinParts(job)
    )
    _ = containers | "FinishExport" >> FinishExport(job, provenance, pieces)
