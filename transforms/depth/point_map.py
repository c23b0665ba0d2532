"""Depth from point maps that are right but for a shift along the optical axis.

Networks as MoGe (Wang et al. 2025, arXiv:2410.19115) give each pixel's point in the camera's
space, whose distance lacks one unknown shift a picture. A camera's picture of the points has each
where its pixel is, and that tells the shift, and the focal length with it.
"""

from __future__ import annotations

import numpy as np

# Points to a side from which the shift is found: as many as the authors' own code takes.
_SIDE = 64
_STEPS = 40


def depth_of_points(points: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Returns depth, float32 [n, h, w], of `points`, [n, h, w, 3], with the shift found and added.

    `known`: bool [n, h, w], the pixels whose points are meant; None: all. NaN where too few are.
    """
    depths = np.empty(points.shape[:3], np.float32)
    for index, cloud in enumerate(points):
        mask = None if known is None else known[index]
        depths[index] = cloud[..., 2] + np.float32(_shift(cloud, mask))
    return depths


def _shift(points: np.ndarray, known: np.ndarray | None) -> float:
    """Returns the shift that makes focal × xy / (z + shift) most like the pixels' places.

    By Levenberg and Marquardt's method; the focal length that is best for a shift is a quotient.
    """
    height, width = points.shape[:2]
    rows, columns = (
        np.arange(min(_SIDE, side)) * side // min(_SIDE, side) for side in (height, width)
    )
    grid = np.ix_(rows, columns)
    chosen = points[grid].astype(np.float64)
    # In units of half the picture's diagonal, from its centre.
    y, x = np.meshgrid(
        *(
            (2 * at + 1 - side) / np.hypot(height, width)
            for at, side in ((rows, height), (columns, width))
        ),
        indexing="ij",
    )
    use = np.isfinite(chosen).all(axis=2)
    if known is not None:
        use &= known[grid]
    if np.count_nonzero(use) < 2:
        return np.nan
    places, chosen = np.stack([x, y], axis=2)[use], chosen[use]

    def errors(shift: float) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = chosen[:, :2] / (chosen[:, 2:] + shift)
            focal = np.sum(seen * places) / np.sum(seen**2)
            return np.asarray(focal * seen - places).ravel()

    shift, damping = 0.0, 1e-3
    found = errors(shift)
    for _ in range(_STEPS):
        tiny = 1e-6 * max(1.0, abs(shift))
        slope = (errors(shift + tiny) - found) / tiny
        step = -(slope @ found) / ((slope @ slope) * (1 + damping))
        tried = errors(shift + step)
        if tried @ tried < found @ found:
            shift, found, damping = shift + step, tried, damping / 10
            if abs(step) < 1e-9 * max(1.0, abs(shift)):
                break
        else:
            damping *= 10
    return float(shift)
