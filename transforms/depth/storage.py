"""How depth maps are stored, and what a stored value means."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from depthmask.plasma import PLASMA, plasma_positions
from transforms.codecs import Compression, ImageCodec, encode_image, open_image
from transforms.depth.interface import PictureSize

_MAX_16_BITS = 65535


class DepthStorage(BaseModel):
    """One of three ways.

    - ``metric16``: 16-bit greyscale PNG; value × `scale` is the depth (metres, or the relative
      values of a model that knows no metres). 0 is never stored; values beyond 1 … 65535 are
      clipped.
    - ``norm8``: 8-bit greyscale; each map stretched from its own least (0) to its greatest (255)
      value. A flat map is 0.
    - ``plasma8``: the same through the plasma colour map, RGB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    storage: Literal["metric16", "norm8", "plasma8"] = "metric16"
    scale: float = Field(
        0.001, gt=0, allow_inf_nan=False, description="metric16: metres a step of the stored value"
    )
    codec: ImageCodec = Field(ImageCodec(format="png"), description="png; jpeg for 8 bits too")
    size: PictureSize | None = Field(None, description="of stored maps; null: as the model gives")

    @model_validator(mode="after")
    def _sixteen_bits_need_png(self) -> DepthStorage:
        if self.storage == "metric16" and self.codec.format != "png":
            raise ValueError("metric16 has 16 bits: its codec must be {format: png}")
        return self

    @property
    def channels(self) -> int:
        """Channels of a stored map."""
        return 3 if self.storage == "plasma8" else 1

    @property
    def step(self) -> float:
        """Stored value (of plasma8: position on the colour map) × this is what `load` gives."""
        return self.scale if self.storage == "metric16" else 1 / 255

    @property
    def ends(self) -> tuple[np.ndarray, ...]:
        """Stored pixels that every map holds unless it is flat: its least and greatest value."""
        return {
            "metric16": (),
            "norm8": (np.array([0]), np.array([255])),
            "plasma8": (PLASMA[0], PLASMA[-1]),
        }[self.storage]

    def resize(self, depths: np.ndarray) -> np.ndarray:
        """`depths` float32 [n, h, w] at the stored size (bilinear)."""
        if self.size is None or depths.shape[1:] == (self.size.height, self.size.width):
            return depths
        size = (self.size.width, self.size.height)
        maps = [Image.fromarray(d).resize(size, Image.Resampling.BILINEAR) for d in depths]
        return np.stack([np.asarray(resized) for resized in maps])

    def quantise(self, depths: np.ndarray) -> np.ndarray:
        """Finite `depths`, float32 [n, h, w], as they are stored.

        uint16 [n, h, w] for metric16, uint8 [n, h, w] for norm8, uint8 [n, h, w, 3] for plasma8.
        """
        if self.storage == "metric16":
            steps = np.empty(depths.shape, np.uint16)
            for depth, stored in zip(depths, steps, strict=True):  # each stays in the CPU's cache
                exact = depth / self.scale
                np.clip(np.rint(exact, out=exact), 1, _MAX_16_BITS, out=exact)
                stored[...] = exact
            return steps
        least = depths.min(axis=(1, 2), keepdims=True)
        span = depths.max(axis=(1, 2), keepdims=True) - least
        position = (depths - least) / np.where(span > 0, span, 1)
        grey = np.rint(position * 255).astype(np.uint8)
        return np.asarray(PLASMA[grey]) if self.storage == "plasma8" else grey

    def encode(self, depth: np.ndarray, compression: Compression = "fast") -> bytes:
        """Encodes one map as `quantise` returns it."""
        return encode_image(np.atleast_3d(depth), self.codec, compression)

    def clipped_share(self, depths: np.ndarray) -> float:
        """The share of `depths` that metric16 must clip, at either end."""
        if self.storage != "metric16":
            return 0.0
        steps = depths / self.scale
        return float(np.mean((steps > _MAX_16_BITS) | (steps < 0.5)))


def is_flat(stored: np.ndarray) -> np.ndarray:
    """Which stored maps, [n, h, w] or [n, h, w, 3], are the same in every pixel: bool [n]."""
    return np.asarray((stored == stored[:, :1, :1]).all(axis=tuple(range(1, stored.ndim))))


def grey_depth(stored: np.ndarray, storage: str) -> np.ndarray:
    """uint8 [h, w] from the least (0) to the greatest (255) depth of a stored map."""
    if storage == "plasma8":
        red, green = stored[..., 0].astype(np.uint16), stored[..., 1]
        return np.asarray(plasma_positions()[red * 256 + green])
    if storage == "norm8":
        return stored
    least, greatest = int(stored.min()), int(stored.max())
    grey = (stored.astype(np.float32) - least) / max(greatest - least, 1) * 255
    return np.rint(grey).astype(np.uint8)


def depth_in_metres(data: bytes, scale: float) -> np.ndarray:
    """Depth float32 [h, w] of a map that is stored as metric16."""
    values = np.asarray(open_image(data)).astype(np.float32)
    return np.multiply(values, np.float32(scale), out=values)
