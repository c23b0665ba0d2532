"""Depth of composites from their backgrounds': a foreground is a plane in front of all it covers.

A background's map has 16 bits a pixel. What is stored of a composite follows from it by whole
numbers alone: outside the mask it is the background's map, to the pixel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from depthmask.manifest import DepthMeaning
from transforms.depth.interface import PictureSize
from transforms.depth.storage import DepthStorage

# How far a foreground stands in front of the nearest of what it covers: so much nearer where depth
# is in metres, else so much of the range of its background's map.
IN_FRONT = 0.03
_MOST = 65535
_HALF = 128


@dataclass(frozen=True)
class DepthMap:
    """A background's depth: `steps`, uint16 [h, w], not to be written to; 0 where it is unknown."""

    steps: np.ndarray

    @property
    def bytes(self) -> int:
        """In memory, with `far_where_unknown`."""
        return 2 * self.steps.nbytes

    @functools.cached_property
    def far_where_unknown(self) -> np.ndarray:
        """The steps, but the greatest where depth is unknown."""
        return np.where(self.steps > 0, self.steps, np.uint16(_MOST))

    @functools.cached_property
    def span(self) -> int:
        """From the least to the greatest step that is known."""
        return max(0, int(self.steps.max()) - int(self.far_where_unknown.min()))


@dataclass(frozen=True)
class Layers:
    """How maps of backgrounds become those of composites.

    `size`: of all maps. `metric`: steps are of metres. `inverse`: the larger value is nearer.
    `measured`: maps were measured, and may have pixels of unknown depth; else a network made them.
    """

    size: PictureSize
    metric: bool
    inverse: bool
    measured: bool

    @classmethod
    def of(cls, meaning: DepthMeaning) -> Layers:
        """Those of a dataset whose depth is of its backgrounds."""
        return cls(
            PictureSize(width=meaning.width, height=meaning.height),
            metric=meaning.unit == "metre",
            inverse=meaning.quantity == "inverse_depth",
            measured=meaning.model is None,
        )

    def map(self, depth: np.ndarray, storage: DepthStorage) -> DepthMap:
        """Returns a background's `depth`, float32 [h, w], in steps.

        They are those of `storage` where all maps share one scale, else 65,535 for each map. Of
        measured depth, what is not above 0 and finite is unknown; of a network's, all is if any
        value is not finite.
        """
        known = np.isfinite(depth) & (depth > 0) if self.measured else np.isfinite(depth)
        if not known.any() or not (self.measured or known.all()):
            return DepthMap(np.zeros(depth.shape, np.uint16))
        exact = np.where(known, depth, 1).astype(np.float64)
        if storage.absolute:
            exact /= storage.scale
        else:
            least, greatest = exact[known].min(), exact[known].max()
            room = IN_FRONT * (greatest - least)  # for planes in front of all
            exact = 1 + (exact - least + room) / max(greatest - least + 2 * room, 1e-30) * (
                _MOST - 1
            )
        steps = np.clip(np.rint(exact), 1, _MOST).astype(np.uint16)
        return DepthMap(np.where(known, steps, np.uint16(0)))

    def draw(self, backgrounds: Sequence[DepthMap], masks: np.ndarray) -> np.ndarray:
        """Returns the composites' depth in steps, uint16 [n, h, w].

        `backgrounds`: the map of each one's. `masks`: uint8 [n, H, W]; foreground is what is
        at least half, at the size of maps after averaging over areas. A composite whose foreground
        covers nothing of known depth is 0 all over.
        """
        depths = np.empty((len(masks), self.size.height, self.size.width), np.uint16)
        for background, mask, depth in zip(backgrounds, masks, depths, strict=True):
            covered = self._resized(mask) >= _HALF
            plane = self._plane(background, covered)
            depth[...] = 0 if plane is None else background.steps
            if plane is not None:
                np.copyto(depth, np.uint16(plane), where=covered)
        return depths

    def _plane(self, background: DepthMap, covered: np.ndarray) -> int | None:
        """Returns where a foreground stands; None where nothing is known of what it covers."""
        if self.inverse:
            nearest = int(np.where(covered, background.steps, np.uint16(0)).max())
        else:
            behind = background.far_where_unknown
            nearest = int(np.where(covered, behind, np.uint16(_MOST)).min())
        if nearest in (0, _MOST) and not background.steps[covered].any():
            return None if covered.any() else 0
        gap = max(1, math.ceil(IN_FRONT * (nearest if self.metric else background.span)))
        return min(nearest + gap, _MOST) if self.inverse else max(nearest - gap, 1)

    def _resized(self, mask: np.ndarray) -> np.ndarray:
        size = self.size.width, self.size.height
        if mask.shape == size[::-1]:
            return mask
        return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BOX))
