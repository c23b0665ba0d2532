"""From arrays to records: encoded pictures, tf.train.Example, index rows, statistics."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from depthmask.manifest import INDEX_COLUMNS
from depthmask.tally import LeftOut, Tally
from transforms.codecs import ImageCodec, MaskCodec, encode_image, encode_mask
from transforms.depth.storage import DepthStorage, is_flat
from transforms.elements import ChunkSpec, ComposedChunk, EncodedChunk, Placement
from transforms.io.records import frame_record, serialize_example
from transforms.statistics import measure, measure_binary


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


def index_rows(spec: ChunkSpec, left_out: Collection[str] = ()) -> str:
    """The chunk's rows of index.csv, one an example, in order, but for the ids `left_out`."""
    stream = io.StringIO()
    shard = spec.key.shard
    writer = csv.DictWriter(stream, INDEX_COLUMNS, lineterminator="\n")
    for placement in spec.placements:
        if placement.id in left_out:
            continue
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
        """Examples whose depth says nothing are left out, and said to be."""
        placements, images, masks = chunk.spec.placements, chunk.images, chunk.masks
        left_out: tuple[LeftOut, ...] = ()
        if self.depth is not None and chunk.depths is not None:
            finite = np.isfinite(chunk.depths).all(axis=(1, 2))
            stored = self.depth.quantise(np.where(finite[:, None, None], chunk.depths, 0))
            good = finite & ~is_flat(stored)
            if not good.all():
                reasons = np.where(finite, "the same depth in every pixel", "NaN or infinite depth")
                left_out = tuple(
                    LeftOut(placements[i].id, str(reasons[i])) for i in np.flatnonzero(~good)
                )
                placements = tuple(itertools.compress(placements, good))
                images, masks, stored = images[good], masks[good], stored[good]
        pictures = {
            "image": [encode_image(image, self.image) for image in images],
            "mask": [encode_mask(mask, self.mask, self.binary_masks) for mask in masks],
        }
        measure_masks = measure_binary if self.binary_masks else measure
        moments = {"composites": measure(images), "masks": measure_masks(masks)}
        if self.depth is not None and chunk.depths is not None:
            pictures["depth"] = [self.depth.encode(depth) for depth in stored]
            moments["depth"] = measure(stored)
        records = []
        for i, placement in enumerate(placements):
            features = example_features(placement)
            features |= {name: encoded[i] for name, encoded in pictures.items()}
            records.append(frame_record(serialize_example(features)))
        return EncodedChunk(
            key=chunk.spec.key,
            records=b"".join(records),
            index_rows=index_rows(chunk.spec, {example.id for example in left_out}),
            tally=Tally(
                moments=moments,
                picture_bytes={name: sum(map(len, encoded)) for name, encoded in pictures.items()},
                left_out=left_out,
            ),
        )


class _EncodeDoFn(beam.DoFn):
    def __init__(self, encoder: RecordEncoder) -> None:
        self._encoder = encoder
        self._examples = Metrics.counter("depthmask", "examples")
        self._bytes = Metrics.counter("depthmask", "bytes")
        self._empty_masks = Metrics.counter("depthmask", "empty_masks")

    def process(self, chunk: ComposedChunk) -> Iterator[EncodedChunk]:
        encoded = self._encoder.encode(chunk)
        self._examples.inc(encoded.key.examples - len(encoded.tally.left_out))
        self._bytes.inc(len(encoded.records))
        # An example whose mask is empty teaches nothing: its foreground's visible part is cropped.
        self._empty_masks.inc(int(np.count_nonzero(~chunk.masks.any(axis=(1, 2)))))
        yield encoded


@dataclass
class Encode(beam.PTransform):
    """From composed chunks to encoded ones."""

    encoder: RecordEncoder

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "EncodeRecords" >> beam.ParDo(_EncodeDoFn(self.encoder))
