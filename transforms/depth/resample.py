"""Resizing as PyTorch and TensorFlow do it, without smoothing, where a model's authors use that.

Pillow's filters widen where a picture gets smaller, and its bicubic one is another curve.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Sampling = Literal["bilinear_plain", "bilinear_corners", "bicubic_plain", "bicubic_keys"]
# Of the bicubic curves of PyTorch and of TensorFlow; Pillow's is the latter (Keys 1981).
_CUBIC = {"bicubic_plain": -0.75, "bicubic_keys": -0.5}


def sample(values: np.ndarray, height: int, width: int, sampling: Sampling) -> np.ndarray:
    """Returns `values`, [n, h, w] or [n, h, w, C], as float32 of another height and width.

    ``bilinear_corners`` lays the centres of the corner pixels on each other, the others the outer
    edges. Beyond an edge ``bicubic_plain`` repeats its pixels, and ``bicubic_keys`` sees nothing.
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
    curve = _CUBIC.get(sampling)
    if curve is None:
        places = places.clip(0, size - 1)
    first = np.floor(places).astype(int)
    part = places - first
    if sampling == "bicubic_keys":  # TensorFlow has its curve in a table of 1024 steps
        part = np.rint(part * 1024) / 1024
    if curve is None:
        taps = {0: 1 - part, 1: part}
    else:
        taps = {tap: _cubic(np.abs(part - tap), curve) for tap in (-1, 0, 1, 2)}
    weights = np.zeros((new_size, size), np.float32)
    for tap, share in taps.items():
        pixels = first + tap
        seen = ((pixels >= 0) & (pixels < size)) | (sampling != "bicubic_keys")
        np.add.at(weights, (np.arange(new_size), pixels.clip(0, size - 1)), share * seen)
    return weights / weights.sum(axis=1, keepdims=True) if sampling == "bicubic_keys" else weights


def _cubic(distance: np.ndarray, curve: float) -> np.ndarray:
    near = ((curve + 2) * distance - (curve + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * curve - 4 * curve
    return np.asarray(np.where(distance <= 1, near, far))
