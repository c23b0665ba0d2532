"""From arrays to records: encoded pictures, tf.train.Example, index rows, statistics."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from transforms.chunks import ChunkSpec, ComposedChunk, EncodedChunk, Placement
from transforms.codecs import ImageCodec, MaskCodec, encode_grey, encode_image, encode_mask
from transforms.depth import DepthStorage
from transforms.records import frame_record, serialize_example
from transforms.statistics import measure

INDEX_COLUMNS = (
    "id",
    "split",
    "shard",
    "background",
    "background_class",
    "foreground",
    "flip",
    "placement",
    "x",
    "y",
    "width",
    "height",
)


def example_features(placement: Placement) -> dict[str, bytes | str | int]:
    """The features that say what an example is; its pictures come on top."""
    return {
        "id": placement.id,
        "background": placement.background,
        "background_class": placement.background_class,
        "foreground": placement.foreground,
        "flip": int(placement.flip),
        "placement": placement.index,
        "x": placement.x,
        "y": placement.y,
        "width": placement.width,
        "height": placement.height,
    }


def index_rows(spec: ChunkSpec) -> str:
    """The chunk's rows of index.csv, one an example, in order."""
    stream = io.StringIO()
    shard = spec.key.shard
    writer = csv.DictWriter(stream, INDEX_COLUMNS, lineterminator="\n")
    for placement in spec.placements:
        writer.writerow(example_features(placement) | {"split": shard.split, "shard": shard.shard})
    return stream.getvalue()


@dataclass(frozen=True)
class RecordEncoder:
    """Encodes chunks: says how composites, masks and depth (None: there is none) are stored.

    `binary_masks`: they are of 0 and 255 alone.
    """

    image: ImageCodec
    mask: MaskCodec
    binary_masks: bool
    depth: DepthStorage | None

    def encode(self, chunk: ComposedChunk) -> EncodedChunk:
        pictures = {
            "image": [encode_image(image, self.image) for image in chunk.images],
            "mask": [encode_mask(mask, self.mask, self.binary_masks) for mask in chunk.masks],
        }
        moments = {"composites": measure(chunk.images), "masks": measure(chunk.masks)}
        if self.depth is not None and chunk.depths is not None:
            stored = self.depth.quantise(chunk.depths)
            pictures["depth"] = [encode_grey(depth) for depth in stored]
            moments["depth"] = measure(stored)
        records = []
        for i, placement in enumerate(chunk.spec.placements):
            features = example_features(placement)
            features |= {name: encoded[i] for name, encoded in pictures.items()}
            records.append(frame_record(serialize_example(features)))
        return EncodedChunk(
            key=chunk.spec.key,
            records=b"".join(records),
            index_rows=index_rows(chunk.spec),
            moments=moments,
            picture_bytes={name: sum(map(len, encoded)) for name, encoded in pictures.items()},
        )


class _EncodeDoFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, encoder: RecordEncoder) -> None:
        self._encoder = encoder
        self._examples = Metrics.counter("depthmask", "examples")
        self._bytes = Metrics.counter("depthmask", "bytes")
        self._warnings = Metrics.counter("depthmask", "warnings")

    def process(self, chunk: ComposedChunk) -> Iterator[EncodedChunk]:
        encoded = self._encoder.encode(chunk)
        self._examples.inc(encoded.key.examples)
        self._bytes.inc(len(encoded.records))
        # An example whose mask is empty teaches nothing: its foreground's visible part is cropped.
        self._warnings.inc(int(np.count_nonzero(~chunk.masks.any(axis=(1, 2)))))
        yield encoded


@dataclass
class Encode(beam.PTransform):  # type: ignore[misc]
    """From composed chunks to encoded ones."""

    encoder: RecordEncoder

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "EncodeRecords" >> beam.ParDo(_EncodeDoFn(self.encoder))
