"""Cut-outs: pasting, resizing and cutting them to masks, as Pillow does to the byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from transforms.codecs import channels_last, to_image


@dataclass(frozen=True)
class BlendTerms:
    """A cut-out's share in ``over`` (Porter and Duff 1984), in units of 1/255 of a pixel value.

    `colour`: uint16 [h, w, C], colour × alpha + 128, which is half a unit for rounding.
    `transparency`: uint8 [h, w, C], 255 − alpha, the same in each channel.
    """

    colour: np.ndarray
    transparency: np.ndarray

    @classmethod
    def of(cls, cutout: Cutout) -> BlendTerms:
        alpha = np.asarray(cutout.alpha)[..., None]
        colour = channels_last(cutout.colour)
        return cls(
            colour.astype(np.uint16) * alpha + np.uint16(128),
            np.ascontiguousarray(np.broadcast_to(255 - alpha, colour.shape)),
        )

    @property
    def bytes(self) -> int:
        """In memory."""
        return self.colour.nbytes + self.transparency.nbytes


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
        """In memory: Pillow keeps colours in four bytes a pixel."""
        pixels = self.colour.width * self.colour.height
        return pixels * (1 if self.colour.mode == "L" else 4) + pixels + self.mask.nbytes

    def mirrored(self) -> Cutout:
        return Cutout(
            ImageOps.mirror(self.colour),
            ImageOps.mirror(self.alpha),
            np.ascontiguousarray(self.mask[:, ::-1]),
            self.mask_is_alpha,
        )


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
