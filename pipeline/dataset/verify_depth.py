"""Depth that is of backgrounds, checked pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.depth import DepthStorage, Layers
from transforms.elements import Placement
from transforms.prepared import PreparedInputs


@dataclass(frozen=True)
class LayersChecker:
    """Draws depth anew, from that of the backgrounds that a dataset holds, and compares."""

    layers: Layers
    storage: DepthStorage
    inputs: PreparedInputs

    def faults(
        self, examples: Sequence[Placement], masks: np.ndarray, stored: np.ndarray
    ) -> Iterator[str]:
        """Yields what is wrong with maps as they are stored, [n, h, w, C].

        `masks`: before encoding, uint8 [n, H, W].
        """
        maps = [self.inputs.background_depth(example.background) for example in examples]
        drawn = self.storage.quantise(self.layers.draw(maps, masks))
        for example, depth, found in zip(examples, drawn, stored, strict=True):
            differs = (self._read_again(np.atleast_3d(depth)) != found).any(axis=2)
            if differs.any():
                y, x = np.argwhere(differs)[0]
                yield (
                    f"{example.id}: not its background's depth with its foreground before it, at "
                    f"x={x} y={y}"
                )

    def _read_again(self, depth: np.ndarray) -> np.ndarray:
        """Returns a map, [h, w, C], as a reader finds it: after the codec's loss."""
        if self.storage.codec.format == "png":
            return depth
        from depthmask.reading import decode_jpeg

        return np.asarray(decode_jpeg(self.storage.encode(depth), depth.shape[2]))
