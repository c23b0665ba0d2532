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


def paste(canvas: np.ndarray, cutout: Cutout, x: int, y: int) -> None:
    """Draws `cutout` on `canvas`, uint8 [rows, columns, C], with its top left at (x, y).

    The pixels are those of ``background.paste(foreground, (x, y), foreground)`` of an RGBA
    foreground, in half the time. Parts off the canvas are cropped.
    """
    terms = cutout.blend_terms
    there, part = _overlap(canvas, terms.transparency, x, y)
    below = canvas[there]
    blend = np.multiply(below, terms.transparency[part], dtype=np.uint16)
    blend += terms.colour[part]
    # Division by 255, as Pillow does it: exact for what 16 bits hold here.
    blend += blend >> 8
    blend >>= 8
    below[...] = blend


def paste_mask(canvas: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """Copies `mask` into `canvas`, both uint8 [rows, columns], with its top left at (x, y)."""
    there, part = _overlap(canvas, mask, x, y)
    canvas[there] = mask[part]


Area = tuple[slice, slice]


def _overlap(canvas: np.ndarray, picture: np.ndarray, x: int, y: int) -> tuple[Area, Area]:
    """Where on the canvas a picture with its top left at (x, y) lies, and which part of it."""
    top, left = max(y, 0), max(x, 0)
    bottom = max(top, min(y + picture.shape[0], canvas.shape[0]))
    right = max(left, min(x + picture.shape[1], canvas.shape[1]))
    return (
        (slice(top, bottom), slice(left, right)),
        (slice(top - y, bottom - y), slice(left - x, right - x)),
    )


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
    height, width, channels = inputs.background(spec.placements[0].background).shape
    images = np.empty((len(spec.placements), height, width, channels), np.uint8)
    masks = np.zeros(images.shape[:3], np.uint8)
    for placement, image, mask in zip(spec.placements, images, masks, strict=True):
        cutout = resize(
            inputs.foreground(placement.foreground, placement.flip),
            placement.width,
            placement.height,
        )
        image[...] = inputs.background(placement.background)
        paste(image, cutout, placement.x, placement.y)
        label = cutout.mask if threshold is None else binarise(cutout.mask, threshold)
        paste_mask(mask, label, placement.x, placement.y)
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
