"""Composites and masks: Pillow's paste, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from transforms.cutout import Drawing, paste, paste_mask
from transforms.elements import ChunkSpec, ComposedChunk
from transforms.prepared import PreparedInputs, PreparedSource


def compose_chunk(spec: ChunkSpec, inputs: PreparedInputs, drawing: Drawing) -> ComposedChunk:
    """Draws every example of a chunk into arrays."""
    height, width, channels = inputs.background(spec.placements[0].background).shape
    images = np.empty((len(spec.placements), height, width, channels), np.uint8)
    masks = np.zeros(images.shape[:3], np.uint8)
    for placement, image, mask in zip(spec.placements, images, masks, strict=True):
        stamp = inputs.stamp(placement, drawing)
        image[...] = inputs.background(placement.background)
        paste(image, stamp, placement.x, placement.y)
        paste_mask(mask, stamp.label, placement.x, placement.y)
    return ComposedChunk(spec, images, masks)


class _ComposeDoFn(beam.DoFn):
    def __init__(self, source: PreparedSource, drawing: Drawing) -> None:
        self._source = source
        self._drawing = drawing
        self._shared = Shared()

    def setup(self) -> None:
        # One cache a worker process, however many threads it runs.
        self._inputs = self._shared.acquire(lambda: PreparedInputs(self._source))

    def process(self, spec: ChunkSpec) -> Iterator[ComposedChunk]:
        yield compose_chunk(spec, self._inputs, self._drawing)


@dataclass
class Compose(beam.PTransform):
    """From chunk specs to composites and masks, drawn from the prepared inputs."""

    source: PreparedSource
    drawing: Drawing

    def expand(self, specs: beam.PCollection) -> beam.PCollection:
        return specs | "DrawExamples" >> beam.ParDo(_ComposeDoFn(self.source, self.drawing))
