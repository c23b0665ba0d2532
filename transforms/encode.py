"""From arrays to records: encoded pictures in tf.train.Example, with their exact statistics."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from depthmask.records import frame_record, serialize_example
from depthmask.tally import LeftOut, Tally
from transforms.codecs import Compression, ImageCodec, MaskCodec, encode_image, encode_mask
from transforms.depth import FLAT, DepthStorage, Layers, is_flat
from transforms.elements import ComposedChunk, EncodedChunk, Placement
from transforms.index import index_rows
from transforms.measure import measure, measure_binary

_NOTHING_MEASURED = "no depth was measured behind its foreground"


@dataclass(frozen=True)
class RecordEncoder:
    """Encodes chunks: says how composites, masks and depth (None: there is none) are stored.

    `binary_masks`: they are of 0 and 255 alone. `compression`: of what is PNG. `layers`: of depth
    that is of the backgrounds. `skip_unknown`: leaves out a foreground that covers nothing of known
    depth; else that is an error.
    """

    image: ImageCodec
    mask: MaskCodec
    binary_masks: bool
    depth: DepthStorage | None
    compression: Compression
    layers: Layers | None = None
    skip_unknown: bool = True

    @property
    def _measured(self) -> bool:
        return self.layers is not None and self.layers.measured

    def _known(self, depths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns finite depths, and which maps are to be stored: bool [n]."""
        if self.layers is not None:
            return depths, np.asarray(depths.any(axis=(1, 2)))
        finite = np.array([np.isfinite(depth).all() for depth in depths])
        if not finite.all():
            depths = np.where(finite[:, None, None], depths, 0)
        return depths, finite

    def encode_images(self, chunk: ComposedChunk) -> ComposedChunk:
        """Encodes the composites alone, for what is to be made of them as they are stored."""
        encoded = tuple(encode_image(image, self.image, self.compression) for image in chunk.images)
        return dataclasses.replace(chunk, encoded_images=encoded)

    def encode(self, chunk: ComposedChunk) -> EncodedChunk:
        """Skips examples without depth, or the same all over, and lists them in `left_out`.

        Raises RuntimeError where nothing of known depth lies behind a foreground, unless
        `skip_unknown`.
        """
        if chunk.encoded_images is None:
            chunk = self.encode_images(chunk)
        placements, images, masks = chunk.spec.placements, chunk.images, chunk.masks
        encoded_images = chunk.encoded_images or ()
        left_out: tuple[LeftOut, ...] = ()
        if self.depth is not None and chunk.depths is not None:
            depths, known = self._known(chunk.depths)
            stored = self.depth.quantise(depths)
            good = known & ~is_flat(stored)
            if not good.all():
                unknown = _NOTHING_MEASURED if self._measured else "NaN or infinite depth"
                reasons = np.where(known, FLAT, unknown)
                left_out = tuple(
                    LeftOut(placements[i].id, str(reasons[i])) for i in np.flatnonzero(~good)
                )
                if self._measured and not (self.skip_unknown or known.all()):
                    first = placements[int(np.flatnonzero(~known)[0])].id
                    raise RuntimeError(
                        f"{first}: {_NOTHING_MEASURED}. To leave such examples out, run the same "
                        "command with --skip-bad-inputs."
                    )
                placements = tuple(itertools.compress(placements, good))
                encoded_images = tuple(itertools.compress(encoded_images, good))
                images, masks, stored = images[good], masks[good], stored[good]
        pictures = {"image": list(encoded_images), "mask": self.encode_masks(masks)}
        measure_masks = measure_binary if self.binary_masks else measure
        moments = {"composites": measure(images), "masks": measure_masks(masks)}
        if self.depth is not None and chunk.depths is not None:
            pictures["depth"] = [self.depth.encode(depth, self.compression) for depth in stored]
            moments["depth"] = measure(stored, zero_is_unknown=self._measured)
        records = example_records(placements, pictures)
        return EncodedChunk(
            key=chunk.spec.key,
            records=b"".join(map(frame_record, records)),
            index_rows=index_rows(chunk.spec, {example.id for example in left_out}),
            tally=Tally(
                moments=moments,
                picture_bytes={name: sum(map(len, encoded)) for name, encoded in pictures.items()},
                left_out=left_out,
                empty_masks=int(np.count_nonzero(~masks.any(axis=(1, 2)))),
            ),
        )

    def encode_masks(self, masks: np.ndarray) -> list[bytes]:
        """Encodes masks, uint8 [n, H, W]."""
        binary, compression = self.binary_masks, self.compression
        return [encode_mask(mask, self.mask, binary, compression) for mask in masks]


def example_records(
    placements: Sequence[Placement], pictures: Mapping[str, Sequence[bytes]]
) -> Iterator[bytes]:
    """Yields the record of each placement, with its encoded pictures by feature."""
    for i, placement in enumerate(placements):
        yield serialize_example(
            placement.features | {name: encoded[i] for name, encoded in pictures.items()}
        )


@dataclass
class EncodeImages(beam.PTransform):
    """Encodes the composites of composed chunks: a depth model sees them as they are stored."""

    encoder: RecordEncoder

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "EncodePictures" >> beam.Map(self.encoder.encode_images)


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
        self._empty_masks.inc(encoded.tally.empty_masks or 0)
        yield encoded


@dataclass
class Encode(beam.PTransform):
    """From composed chunks to encoded ones."""

    encoder: RecordEncoder

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "EncodeRecords" >> beam.ParDo(_EncodeDoFn(self.encoder))
