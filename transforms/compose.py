"""Composites and masks: Pillow's paste, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from PIL import Image

from transforms.chunks import ChunkSpec, ComposedChunk
from transforms.prepared import Cutout, PreparedInputs, PreparedSource


def paste(background: Image.Image, cutout: Cutout, x: int, y: int) -> Image.Image:
    """The composite: ``background.paste(foreground, (x, y), foreground)`` of an RGBA foreground.

    Gives a new image of the background's mode and size. Parts off the canvas are cropped.
    """
    image = background.copy()
    image.paste(cutout.colour, (x, y), cutout.alpha)
    return image


def paste_mask(canvas: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """Copies `mask` into `canvas`, both uint8 [rows, columns], with its top left at (x, y)."""
    top, left = max(y, 0), max(x, 0)
    part = mask[top - y : canvas.shape[0] - y, left - x : canvas.shape[1] - x]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part


def resize(cutout: Cutout, width: int, height: int) -> Cutout:
    """`cutout` at another size, its colours weighted by its alpha."""
    size = (width, height)
    if cutout.colour.size == size:
        return cutout
    image = cutout.colour.copy()
    image.putalpha(cutout.alpha)
    # Pillow resizes RGBA and LA premultiplied: no dark seam from colours beneath transparency.
    image = image.resize(size, Image.Resampling.LANCZOS)
    alpha = image.getchannel("A")
    # Premultiplying leaves the alpha as it is: it is resized as a mask by itself would be.
    mask = (
        alpha
        if cutout.mask_is_alpha
        else Image.fromarray(cutout.mask).resize(size, Image.Resampling.LANCZOS)
    )
    colour = image.convert(cutout.colour.mode)
    return Cutout(colour, alpha, np.asarray(mask), cutout.mask_is_alpha)


def binarise(masks: np.ndarray, threshold: int) -> np.ndarray:
    """255 where `masks` (uint8, any shape) are at least `threshold`, 0 elsewhere."""
    binary = (masks >= threshold).view(np.uint8)
    return np.multiply(binary, 255, out=binary)


def compose_chunk(spec: ChunkSpec, inputs: PreparedInputs, threshold: int | None) -> ComposedChunk:
    """Draws every example of a chunk into arrays; masks are soft where `threshold` is None."""
    canvas = inputs.background(spec.placements[0].background)
    shape = (len(spec.placements), canvas.height, canvas.width)
    images = np.empty((*shape, len(canvas.getbands())), np.uint8)
    masks = np.zeros(shape, np.uint8)
    for i, placement in enumerate(spec.placements):
        cutout = resize(
            inputs.foreground(placement.foreground, placement.flip),
            placement.width,
            placement.height,
        )
        background = inputs.background(placement.background)
        image = paste(background, cutout, placement.x, placement.y)
        images[i] = np.asarray(image).reshape(images.shape[1:])
        paste_mask(masks[i], cutout.mask, placement.x, placement.y)
    if threshold is not None:
        masks = binarise(masks, threshold)
    return ComposedChunk(spec, images, masks)


class _ComposeDoFn(beam.DoFn):  # type: ignore[misc]
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
class Compose(beam.PTransform):  # type: ignore[misc]
    """From chunk specs to composites and masks, drawn from the prepared inputs.

    Masks are 255 where at least `mask_threshold` and 0 elsewhere, or soft where it is None.
    """

    source: PreparedSource
    mask_threshold: int | None

    def expand(self, specs: beam.PCollection) -> beam.PCollection:
        return specs | "DrawExamples" >> beam.ParDo(_ComposeDoFn(self.source, self.mask_threshold))
