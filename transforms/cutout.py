"""Cut-outs: pasting, resizing and cutting them to masks, as Pillow does to the byte."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from transforms.codecs import channels_last
from transforms.elements import Placement
from transforms.resampling import Filter, resampling

# What may become of a cut-out before it is drawn, by Pillow's names; angles are anticlockwise.
Transform = Literal[
    "left_right", "top_bottom", "rotate_90", "rotate_180", "rotate_270", "transpose", "transverse"
]
_TRANSPOSES: dict[Transform, Image.Transpose] = {
    "left_right": Image.Transpose.FLIP_LEFT_RIGHT,
    "top_bottom": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotate_90": Image.Transpose.ROTATE_90,
    "rotate_180": Image.Transpose.ROTATE_180,
    "rotate_270": Image.Transpose.ROTATE_270,
    "transpose": Image.Transpose.TRANSPOSE,
    "transverse": Image.Transpose.TRANSVERSE,
}
TRANSFORM_WORDS: dict[Transform, str] = {
    "left_right": "mirrored",
    "top_bottom": "mirrored top to bottom",
    "rotate_90": "turned by 90°",
    "rotate_180": "turned by 180°",
    "rotate_270": "turned by 270°",
    "transpose": "transposed",
    "transverse": "transverse",
}
SWAPS_SIDES: frozenset[Transform] = frozenset(
    ("rotate_90", "rotate_270", "transpose", "transverse")
)
"""Transforms after which width is height."""
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

    def transformed(self, transform: Transform) -> Cutout:
        method = _TRANSPOSES[transform]
        return Cutout(
            self.colour.transpose(method),
            self.alpha.transpose(method),
            np.asarray(Image.fromarray(self.mask).transpose(method)),
            self.mask_is_alpha,
        )


def _with_alpha(colour: Image.Image, alpha: Image.Image) -> Image.Image:
    layer = colour.copy()
    layer.putalpha(alpha.point(_COUNTS))
    return layer


@dataclass(frozen=True)
class MaskLevels:
    """What becomes of a mask's grey levels.

    They are cut at `threshold` (255 from there on, 0 below), or dithered to 0 and 255 (Floyd and
    Steinberg's error diffusion), or squared (v·v / 255, as a mask that is pasted through itself
    comes out), or else kept.
    """

    threshold: int | None = None
    dither: bool = False
    squared: bool = False

    def apply(self, mask: np.ndarray) -> np.ndarray:
        """Returns the label, uint8 [h, w], of a whole `mask`, uint8 [h, w]."""
        if self.threshold is not None:
            return binarise(mask, self.threshold)
        if self.dither:
            return np.asarray(Image.fromarray(mask).convert("1").convert("L"))
        if self.squared:
            levels = Image.fromarray(mask)
            pasted = Image.new("L", levels.size)
            pasted.paste(levels, (0, 0), levels)
            return np.asarray(pasted)
        return mask


@dataclass(frozen=True)
class Drawing:
    """How cut-outs are drawn: the recipe's part in it.

    `transforms`: what becomes of flipped ones, in turn by the numbers of their placements.
    """

    levels: MaskLevels
    transforms: tuple[Transform, ...] = ("left_right",)
    filter: Filter = "lanczos"
    mask_filter: Filter = "lanczos"

    def transform(self, placement: Placement) -> Transform | None:
        """Returns what becomes of the cut-out in an example; None: it is drawn as it is."""
        return self.transforms[placement.index % len(self.transforms)] if placement.flip else None

    def resize(self, cutout: Cutout, width: int, height: int) -> Cutout:
        return resize(cutout, width, height, self.filter, self.mask_filter)


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
    def of(cls, cutout: Cutout, levels: MaskLevels) -> Stamp:
        colour = channels_last(cutout.colour)
        alpha = np.broadcast_to(np.asarray(cutout.alpha)[..., None], colour.shape)
        flat = (colour.shape[0], -1)
        return cls(
            Image.fromarray(colour.reshape(flat)),
            Image.fromarray(alpha.reshape(flat)),
            levels.apply(cutout.mask),
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


def resize(
    cutout: Cutout,
    width: int,
    height: int,
    filter: Filter = "lanczos",
    mask_filter: Filter = "lanczos",
) -> Cutout:
    """`cutout` at another size: colours and alpha by `filter`, the mask by `mask_filter`.

    Colours are mixed with none from beneath transparency, and black where nothing is seen.
    """
    size = (width, height)
    if cutout.colour.size == size:
        return cutout
    method = resampling(filter)
    alpha = cutout.alpha.resize(size, method)
    mask_is_alpha = cutout.mask_is_alpha and mask_filter == filter
    if mask_is_alpha:
        mask = alpha
    else:
        mask = Image.fromarray(cutout.mask).resize(size, resampling(mask_filter))
    colour = Image.new(cutout.colour.mode, size)
    colour.paste(cutout.spread.resize(size, method), (0, 0), alpha.point(_SEEN))
    return Cutout(colour, alpha, np.asarray(mask), mask_is_alpha)


def binarise(masks: np.ndarray, threshold: int) -> np.ndarray:
    """255 where `masks` (uint8, any shape) are at least `threshold`, 0 elsewhere."""
    binary = (masks >= threshold).view(np.uint8)
    return np.multiply(binary, 255, out=binary)
