"""Resizing as PyTorch's `interpolate` does it, without smoothing, where a model's authors use that.

Pillow's filters widen where a picture gets smaller, and its bicubic one is another curve.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Sampling = Literal["bilinear_plain", "bilinear_corners", "bicubic_plain"]
# Of PyTorch's bicubic curve; Pillow's is -0.5.
_CUBIC = -0.75


def sample(values: np.ndarray, height: int, width: int, sampling: Sampling) -> np.ndarray:
    """Returns `values`, [n, h, w] or [n, h, w, C], as float32 of another height and width.

    ``bilinear_plain`` and ``bicubic_plain`` lay the outer edges of the pixels on each other,
    ``bilinear_corners`` the centres of the corner pixels.
    """
    rows = _weights(values.shape[1], height, sampling)
    columns = _weights(values.shape[2], width, sampling)
    planes = values if values.ndim == 3 else np.moveaxis(values, 3, 1)
    resized: np.ndarray = rows @ planes.astype(np.float32) @ columns.T
    return resized if values.ndim == 3 else np.moveaxis(resized, 1, 3)


def _weights(size: int, new_size: int, sampling: Sampling) -> np.ndarray:
    """Returns how much of each of `size` pixels is in each of `new_size`: float32 [new, old]."""
    if sampling == "bilinear_corners":
        places = np.linspace(0, size - 1, new_size) if new_size > 1 else np.zeros(1)
    else:
        places = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    if sampling != "bicubic_plain":
        places = places.clip(0, size - 1)
    first = np.floor(places).astype(int)
    part = places - first
    if sampling == "bicubic_plain":
        taps = {tap: _cubic(np.abs(part - tap)) for tap in (-1, 0, 1, 2)}
    else:
        taps = {0: 1 - part, 1: part}
    weights = np.zeros((new_size, size), np.float32)
    for tap, share in taps.items():
        np.add.at(weights, (np.arange(new_size), (first + tap).clip(0, size - 1)), share)
    return weights


def _cubic(distance: np.ndarray) -> np.ndarray:
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _CUBIC - 4 * _CUBIC
    return np.asarray(np.where(distance <= 1, near, far))
