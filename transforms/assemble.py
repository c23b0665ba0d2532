"""`transforms.parts` in the graph: finding finished work, and joining parts to output files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, TaggedOutput

from transforms.elements import ChunkKey, OutputFile, Part
from transforms.parts import ChunkTask, Made, PartStore

_MADE, _MISSING = "made", "missing"


class FoundWork(NamedTuple):
    """Finished `OutputFile`s, what intact chunks became, and `ChunkKey`s of what is missing."""

    files: beam.PCollection
    made: beam.PCollection
    missing: beam.PCollection


@dataclass
class FindFinishedWork(beam.PTransform):
    """From shard keys to what earlier attempts have finished, and what is missing.

    Finished work is recognised by its checksums. Only keys and file names cross a shuffle.
    """

    store: PartStore[Any, Any]
    chunk_keys: Callable[[Any], Iterable[ChunkKey]]

    def expand(self, shards: beam.PCollection) -> FoundWork:
        store, chunk_keys = self.store, self.chunk_keys
        files = (
            shards.pipeline
            | "WorkFolder" >> beam.Create([store])
            | "ListFiles" >> beam.FlatMap(lambda store: store.named_files())
            | "SpreadFiles" >> beam.Reshuffle()
            | "FindFiles" >> beam.FlatMap(lambda name: filter(None, [store.find_file(name)]))
        )
        finished = AsSingleton(
            files | "Names" >> beam.Map(lambda file: file.name) | beam.combiners.ToSet()
        )
        chunks = (
            shards
            | "ListChunks"
            >> beam.FlatMap(lambda key, done: store.tasks(key, chunk_keys(key), done), finished)
            | "SpreadChunks" >> beam.Reshuffle()
            | "FindChunks"
            >> beam.ParDo(_FindChunk(store), finished).with_outputs(_MADE, main=_MISSING)
        )
        return FoundWork(files, chunks[_MADE], chunks[_MISSING])


class _FindChunk(beam.DoFn):
    def __init__(self, store: PartStore[Any, Any]) -> None:
        self._store = store

    def process(self, task: ChunkTask, finished: set[str]) -> Iterator[ChunkKey | TaggedOutput]:
        made = self._store.find_chunk(task, finished)
        yield TaggedOutput(_MADE, made) if made else task.key


@dataclass
class JoinParts(beam.PTransform):
    """From what chunks became, and finished files, to finished files, each of them once.

    A runner that repeats a step after a loss may report a file as finished and in parts.
    """

    store: PartStore[Any, Any]

    def expand(self, found: beam.PCollection) -> beam.PCollection:
        return (
            found
            # Text is a key that every runner encodes alike.
            | "KeyByFile" >> beam.FlatMap(_by_file)
            | "GroupByFile" >> beam.GroupByKey()
            | "Join" >> beam.MapTuple(self.store.finish_file)
        )


def _by_file(found: Made | OutputFile) -> Iterator[tuple[str, Part | OutputFile]]:
    if isinstance(found, OutputFile):
        yield found.name, found
    else:
        yield from ((part.file, part) for part in found.parts)
