"""Composites and masks: Pillow's paste, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from transforms.cutout import binarise, blend, paste, paste_mask, resize
from transforms.elements import ChunkSpec, ComposedChunk
from transforms.prepared import PreparedInputs, PreparedSource


def compose_chunk(spec: ChunkSpec, inputs: PreparedInputs, threshold: int | None) -> ComposedChunk:
    """Draws every example of a chunk into arrays; masks are soft where `threshold` is None."""
    height, width, channels = inputs.background(spec.placements[0].background).shape
    images = np.empty((len(spec.placements), height, width, channels), np.uint8)
    masks = np.zeros(images.shape[:3], np.uint8)
    for placement, image, mask in zip(spec.placements, images, masks, strict=True):
        x, y, size = placement.x, placement.y, (placement.width, placement.height)
        cutout = inputs.foreground(placement.foreground, placement.flip)
        image[...] = inputs.background(placement.background)
        if cutout.colour.size == size:
            blend(image, inputs.blend_terms(placement.foreground, placement.flip), x, y)
        else:  # a size for this example alone: nothing of it is worth keeping
            cutout = resize(cutout, *size)
            paste(image, cutout, x, y)
        label = cutout.mask if threshold is None else binarise(cutout.mask, threshold)
        paste_mask(mask, label, x, y)
    return ComposedChunk(spec, images, masks)


class _ComposeDoFn(beam.DoFn):
    def __init__(self, source: PreparedSource, mask_threshold: int | None) -> None:
        self._source = source
        self._threshold = mask_threshold
        self._shared = Shared()

    def setup(self) -> None:
        # One cache a worker process, however many threads it runs.
        self._inputs = self._shared.acquire(lambda: PreparedInputs(self._source))

    def process(self, spec: ChunkSpec) -> Iterator[ComposedChunk]:
        yield compose_chunk(spec, self._inputs, self._threshold)


@dataclass
class Compose(beam.PTransform):
    """From chunk specs to composites and masks, drawn from the prepared inputs.

    Masks are 255 where at least `mask_threshold` and 0 elsewhere, or soft where it is None.
    """

    source: PreparedSource
    mask_threshold: int | None

    def expand(self, specs: beam.PCollection) -> beam.PCollection:
        return specs | "DrawExamples" >> beam.ParDo(_ComposeDoFn(self.source, self.mask_threshold))
