"""Cut-outs: pasting, resizing and cutting them to masks, as Pillow does to the byte."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from transforms.codecs import channels_last

_FILTER = Image.Resampling.LANCZOS
# From alpha: all that is seen at all; and what counts for a colour, wholly from one half on.
_SEEN = [0] + [255] * 255
_COUNTS = [min(2 * alpha, 255) for alpha in range(256)]


@dataclass(frozen=True)
class Cutout:
    """A foreground, ready to paste.

    `colour`: Pillow image in the canvas's mode (RGB or L). `alpha`: mode L, what the paste blends
    by. `mask`: uint8 [h, w], the label before any threshold; `mask_is_alpha` where it is known to
    have the alpha's pixels, so that one of them need not be resized.
    """

    colour: Image.Image
    alpha: Image.Image
    mask: np.ndarray
    mask_is_alpha: bool = False

    @property
    def bytes(self) -> int:
        """In memory, with `spread`: Pillow keeps colours in four bytes a pixel."""
        pixels = self.colour.width * self.colour.height
        return pixels * 2 * (1 if self.colour.mode == "L" else 4) + pixels + self.mask.nbytes

    @functools.cached_property
    def spread(self) -> Image.Image:
        """The colours, spread over what is clear: they can be resized without their alpha.

        Weighted by the alpha, as Pillow resizes RGBA, they would come out too bright beside an
        edge: what overshoots there is cut off the alpha that they are divided by, but not off them.
        """
        mode = self.colour.mode
        layers = [_with_alpha(self.colour, self.alpha)]
        while max(layers[-1].size) > 1:
            half = layers[-1].reduce(2)  # weighted
            layers.append(_with_alpha(half.convert(mode), half.getchannel("A")))
        ground = layers.pop().convert(mode)
        for layer in reversed(layers):
            ground = ground.resize(layer.size, Image.Resampling.BILINEAR)
            ground.paste(layer.convert(mode), (0, 0), layer.getchannel("A"))
        return ground

    def mirrored(self) -> Cutout:
        return Cutout(
            ImageOps.mirror(self.colour),
            ImageOps.mirror(self.alpha),
            np.ascontiguousarray(self.mask[:, ::-1]),
            self.mask_is_alpha,
        )


def _with_alpha(colour: Image.Image, alpha: Image.Image) -> Image.Image:
    layer = colour.copy()
    layer.putalpha(alpha.point(_COUNTS))
    return layer


@dataclass(frozen=True)
class Stamp:
    """A cut-out as it is drawn: of its final size, with its final label.

    `colour`, `alpha`: Pillow images of mode L, [h, w·C]: a byte a channel, and that byte's alpha.
    `label`: uint8 [h, w].
    """

    colour: Image.Image
    alpha: Image.Image
    label: np.ndarray

    @classmethod
    def of(cls, cutout: Cutout, threshold: int | None) -> Stamp:
        """The label is soft where `threshold` is None."""
        colour = channels_last(cutout.colour)
        alpha = np.broadcast_to(np.asarray(cutout.alpha)[..., None], colour.shape)
        flat = (colour.shape[0], -1)
        return cls(
            Image.fromarray(colour.reshape(flat)),
            Image.fromarray(alpha.reshape(flat)),
            cutout.mask if threshold is None else binarise(cutout.mask, threshold),
        )

    @property
    def bytes(self) -> int:
        """In memory."""
        return 2 * self.colour.width * self.colour.height + self.label.nbytes


def paste(canvas: np.ndarray, stamp: Stamp, x: int, y: int) -> None:
    """Draws `stamp` on `canvas`, uint8 [H, W, C], contiguous, with its top left at (x, y).

    As ``background.paste(foreground, (x, y), foreground)`` of an RGBA foreground does; parts off
    the canvas are cropped.
    """
    height, width, channels = canvas.shape
    # Pillow's own paste, on the canvas's own memory: of single bytes, as it shares no RGB.
    size = (width * channels, height)
    shared = Image.frombuffer("L", size, canvas, "raw", "L", 0, 1)
    shared.readonly = 0
    shared.paste(stamp.colour, (x * channels, y), stamp.alpha)


def paste_mask(canvas: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """Copies `mask` into `canvas`, both uint8 [rows, columns], with its top left at (x, y)."""
    top, left = max(y, 0), max(x, 0)
    bottom = max(top, min(y + mask.shape[0], canvas.shape[0]))
    right = max(left, min(x + mask.shape[1], canvas.shape[1]))
    canvas[top:bottom, left:right] = mask[top - y : bottom - y, left - x : right - x]


def resize(cutout: Cutout, width: int, height: int) -> Cutout:
    """`cutout` at another size: colours, alpha and mask each by itself, by Pillow's LANCZOS.

    Colours are mixed with none from beneath transparency, and black where nothing is seen.
    """
    size = (width, height)
    if cutout.colour.size == size:
        return cutout
    alpha = cutout.alpha.resize(size, _FILTER)
    mask = alpha if cutout.mask_is_alpha else Image.fromarray(cutout.mask).resize(size, _FILTER)
    colour = Image.new(cutout.colour.mode, size)
    colour.paste(cutout.spread.resize(size, _FILTER), (0, 0), alpha.point(_SEEN))
    return Cutout(colour, alpha, np.asarray(mask), cutout.mask_is_alpha)


def binarise(masks: np.ndarray, threshold: int) -> np.ndarray:
    """255 where `masks` (uint8, any shape) are at least `threshold`, 0 elsewhere."""
    binary = (masks >= threshold).view(np.uint8)
    return np.multiply(binary, 255, out=binary)
