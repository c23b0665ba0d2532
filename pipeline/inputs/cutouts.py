"""Cut-outs: whether they are cut out, what their edges are mixed with, how much room is around."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

Box = tuple[int, int, int, int]

# What is less is seen by nobody, and would keep a clear frame.
_SEEN = 8
# Levels of transparency along an edge, and of what is opaque.
_EDGE, _OPAQUE = (16, 239), 250
# The least share of an edge's pixels that are no brighter than their alpha, if it is mixed with
# black; so much nearer to the inside do they come, by factor and by levels, when that is undone.
_MIXED_SHARE, _NEARER, _NEARER_LEVELS = 0.99, 0.6, 8
_FEW_PIXELS = 16
_REACH = 4
# The share of its box from which a shape is a whole rectangle; smaller ones cannot be told.
_RECTANGLE, _SMALLEST = 0.97, 8
# Of the picture's edge an inverted mask has at least so much.
_AROUND = 0.75


def is_rectangle(shape: np.ndarray) -> bool:
    """Whether a shape, bool [h, w], fills the box that it lies in nearly everywhere."""
    box = Image.fromarray(shape).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _SMALLEST:
        return False
    left, top, right, bottom = box
    return bool(shape[top:bottom, left:right].mean() >= _RECTANGLE)


def lies_around(shape: np.ndarray) -> bool:
    """Whether a shape, bool [h, w], has the edge of the picture, as an inverted mask does."""
    edge = np.concatenate([shape[0], shape[-1], shape[:, 0], shape[:, -1]])
    return bool(edge.mean() >= _AROUND and not shape.all())


def visible_box(alpha: Image.Image, mask: Image.Image) -> Box | None:
    """Left, top, right and bottom of what is seen of a cut-out or of its mask (mode L)."""
    seen = np.maximum(np.asarray(alpha), np.asarray(mask)) >= _SEEN
    return Image.fromarray(seen).getbbox()


def is_mixed_with_black(image: Image.Image) -> bool:
    """Whether an RGBA image's colours are multiplied by their alpha, which leaves a dark rim.

    Its edge is then no brighter than its alpha, and comes near to the opaque colours beside it
    when that is undone.
    """
    pixels = np.asarray(image).astype(np.float32)
    alpha = pixels[..., 3]
    edge = (alpha >= _EDGE[0]) & (alpha <= _EDGE[1])
    if np.count_nonzero(edge) < _FEW_PIXELS:
        return False
    brightest = pixels[..., :3].max(axis=2)
    if np.mean((brightest <= alpha + 1)[edge]) < _MIXED_SHARE:
        return False
    inside = image.copy()
    inside.putalpha(Image.fromarray(np.where(alpha >= _OPAQUE, np.uint8(255), np.uint8(0))))
    # Blurred with its alpha, it has the mean of the opaque colours around.
    near = inside.convert("RGBa").filter(ImageFilter.BoxBlur(_REACH)).convert("RGBA")
    beside = np.asarray(near).astype(np.float32)
    known = edge & (beside[..., 3] >= _SEEN)
    if np.count_nonzero(known) < _FEW_PIXELS:
        return False
    stored, beside = pixels[known][:, :3], beside[known][:, :3]
    undone = np.minimum(stored * (255 / alpha[known][:, None]), 255)
    before, after = (float(np.abs(values - beside).mean()) for values in (stored, undone))
    return after < _NEARER * before and before - after > _NEARER_LEVELS


def unmixed(image: Image.Image) -> Image.Image:
    """An RGBA image whose colours were multiplied by their alpha, without that."""
    return Image.frombytes("RGBa", image.size, image.tobytes()).convert("RGBA")
