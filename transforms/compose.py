"""Composites and masks: Pillow's paste, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from PIL import Image

from transforms.chunks import ChunkSpec, ComposedChunk
from transforms.codecs import channels_last, to_image
from transforms.prepared import BlendTerms, Cutout, PreparedInputs, PreparedSource

Area = tuple[slice, slice]


def paste(canvas: np.ndarray, cutout: Cutout, x: int, y: int) -> None:
    """Draws `cutout` on `canvas`, uint8 [rows, columns, C], with its top left at (x, y).

    As ``background.paste(foreground, (x, y), foreground)`` of an RGBA foreground does; parts off
    the canvas are cropped.
    """
    there, _ = _overlap(canvas, cutout.mask, x, y)
    if canvas[there].size:
        below = to_image(canvas[there])
        below.paste(cutout.colour, (min(x, 0), min(y, 0)), cutout.alpha)
        canvas[there] = channels_last(below)


def blend(canvas: np.ndarray, terms: BlendTerms, x: int, y: int) -> None:
    """What `paste` does, to the byte, from what was worked out of the cut-out before."""
    there, part = _overlap(canvas, terms.transparency, x, y)
    below = canvas[there]
    blended = np.multiply(below, terms.transparency[part], dtype=np.uint16)
    blended += terms.colour[part]
    # Division by 255, as Pillow does it: exact for what 16 bits hold here.
    blended += blended >> 8
    blended >>= 8
    below[...] = blended


def paste_mask(canvas: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """Copies `mask` into `canvas`, both uint8 [rows, columns], with its top left at (x, y)."""
    there, part = _overlap(canvas, mask, x, y)
    canvas[there] = mask[part]


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
