"""Composites, masks and depth of layers: Pillow's paste, to the byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from transforms.cutout import Drawing, paste, paste_mask
from transforms.depth import DepthMap, Layers
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


def draw_depth(
    chunk: ComposedChunk, layers: Layers, background_depth: Callable[[str], DepthMap]
) -> ComposedChunk:
    """Returns a chunk with depth from that of its backgrounds."""
    maps = [background_depth(placement.background) for placement in chunk.spec.placements]
    return dataclasses.replace(chunk, depths=layers.draw(maps, chunk.masks))


class _ComposeDoFn(beam.DoFn):
    def __init__(self, source: PreparedSource, drawing: Drawing, layers: Layers | None) -> None:
        self._source = source
        self._drawing = drawing
        self._layers = layers
        self._shared = Shared()

    def setup(self) -> None:
        # One cache a worker process, however many threads it runs.
        self._inputs = self._shared.acquire(lambda: PreparedInputs(self._source))

    def process(self, spec: ChunkSpec) -> Iterator[ComposedChunk]:
        chunk = compose_chunk(spec, self._inputs, self._drawing)
        if self._layers:
            chunk = draw_depth(chunk, self._layers, self._inputs.background_depth)
        yield chunk


@dataclass
class Compose(beam.PTransform):
    """From chunk specs to composites and masks, drawn from the prepared inputs.

    `layers`: how depth is drawn, where it is of the backgrounds.
    """

    source: PreparedSource
    drawing: Drawing
    layers: Layers | None

    def expand(self, specs: beam.PCollection) -> beam.PCollection:
        draw = _ComposeDoFn(self.source, self.drawing, self.layers)
        return specs | "DrawExamples" >> beam.ParDo(draw)
