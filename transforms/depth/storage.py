"""How depth maps are stored, and what a stored value means."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from depthmask.features import PixelType
from depthmask.manifest import DepthStorageName
from depthmask.plasma import PLASMA, plasma_positions
from transforms.codecs import Compression, ImageCodec, encode_image, open_image
from transforms.depth.interface import PictureSize

_MAX_16_BITS = 65535
# What is wrong with a map of one value.
FLAT = "the same depth in every pixel"


class DepthStorage(BaseModel):
    """How depth maps are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    storage: DepthStorageName = Field(
        "metric16",
        description="metric16: 16-bit grey PNG; value × scale is the depth (metres, or the values "
        "of a relative model), 0 where measured depth is unknown, and values beyond 1 … 65535 are "
        "clipped; norm8: 8-bit grey, each map stretched from its own least (0) to its greatest "
        "(255) value, a flat one all 0; plasma8: the same through the plasma colour map, RGB",
    )
    scale: float = Field(
        0.001,
        gt=0,
        allow_inf_nan=False,
        description="metric16: metres per step of the stored value",
    )
    codec: ImageCodec = Field(
        ImageCodec(format="png"),
        description="how stored maps are encoded: png; norm8 and plasma8 as jpeg too",
    )
    size: PictureSize | None = Field(
        None,
        description="size of stored maps; null: that of the model's output, or with of: background "
        "the canvas's",
    )

    @model_validator(mode="after")
    def _sixteen_bits_need_png(self) -> DepthStorage:
        if self.storage == "metric16" and self.codec.format != "png":
            raise ValueError("metric16 has 16 bits: its codec must be {format: png}")
        return self

    @property
    def absolute(self) -> bool:
        """Whether all maps share one scale; else each is stretched to a range of its own."""
        return self.storage == "metric16"

    @property
    def channels(self) -> int:
        """Channels of a stored map."""
        return 3 if self.storage == "plasma8" else 1

    @property
    def dtype(self) -> PixelType:
        """The type of a stored map's values."""
        return "uint16" if self.absolute else "uint8"

    @property
    def step(self) -> float:
        """Stored value (of plasma8: place on the colour map) × this is what `load` returns."""
        return self.scale if self.absolute else 1 / 255

    @property
    def greatest(self) -> float:
        """The greatest depth that can be stored."""
        return self.scale * _MAX_16_BITS if self.absolute else math.inf

    def describe(self, quantity: str, unit: str) -> str:
        """Returns what a stored value means, for the dataset card."""
        if self.absolute:
            return f"a stored value × {self.scale:.6g} is {quantity} in {unit}"
        place = "colour's place (0 … 255) on the plasma colour map"
        value = place if self.channels == 3 else "value"
        meaning = f"{quantity} from the least (0) to the greatest (1) of its map"
        return f"a stored {value} / 255 is {meaning}"

    def resize(self, depths: np.ndarray) -> np.ndarray:
        """Returns `depths`, float32 [n, h, w], at the stored size (bilinear)."""
        if self.size is None or depths.shape[1:] == (self.size.height, self.size.width):
            return depths
        size = (self.size.width, self.size.height)
        maps = [Image.fromarray(d).resize(size, Image.Resampling.BILINEAR) for d in depths]
        return np.stack([np.asarray(resized) for resized in maps])

    def quantise(self, depths: np.ndarray) -> np.ndarray:
        """Returns finite `depths`, float32 [n, h, w], or uint16 as `Layers` draw them, as stored.

        uint16 [n, h, w] for metric16, uint8 [n, h, w] for norm8, uint8 [n, h, w, 3] for plasma8.
        """
        if depths.dtype == np.uint16:
            if self.absolute:
                return depths
            depths = depths.astype(np.float32)
        if self.absolute:
            steps, exact = np.empty(depths.shape, np.uint16), np.empty(depths.shape[1:], np.float32)
            for depth, stored in zip(depths, steps, strict=True):  # each stays in the CPU's cache
                np.rint(np.divide(depth, self.scale, out=exact), out=exact)
                np.clip(exact, 1, _MAX_16_BITS, out=exact)
                stored[...] = exact
            return steps
        least = depths.min(axis=(1, 2), keepdims=True)
        span = depths.max(axis=(1, 2), keepdims=True) - least
        position = (depths - least) / np.where(span > 0, span, 1)
        return self.from_grey(np.rint(position * 255).astype(np.uint8))

    def from_grey(self, grey: np.ndarray) -> np.ndarray:
        """Returns depths, uint8 from the least (0) to the greatest (255), as norm8 or plasma8."""
        return np.asarray(PLASMA[grey]) if self.channels == 3 else grey

    def encode(self, depth: np.ndarray, compression: Compression = "fast") -> bytes:
        """Encodes one map as `quantise` or `from_grey` returns it."""
        return encode_image(np.atleast_3d(depth), self.codec, compression)

    def clipped_share(self, depths: np.ndarray) -> float:
        """Returns the share of `depths` that storing them would clip, at either end."""
        if not self.absolute:
            return 0.0
        steps = depths / self.scale
        return float(np.mean((steps > _MAX_16_BITS) | (steps < 0.5)))

    def fault(self, stored: np.ndarray) -> str | None:
        """Returns what is wrong with a stored map, [h, w] or [h, w, C], or None if nothing is."""
        stored = stored if stored.ndim == 3 else stored[..., None]
        if is_flat(stored[None]).all():
            return FLAT
        if self.absolute:
            return None if stored.all() else "pixels without depth"
        ends = self.from_grey(np.array([0, 255], np.uint8))
        stretched = all((stored == end).all(axis=2).any() for end in ends)
        if self.codec.format == "png" and not stretched:
            return "not from the least to the greatest value"
        return None


def is_flat(stored: np.ndarray) -> np.ndarray:
    """Returns which stored maps, [n, h, w] or [n, h, w, C], have one value only: bool [n]."""
    return np.array([(depth == depth[:1, :1]).all() for depth in stored])


def grey_depth(stored: np.ndarray) -> np.ndarray:
    """Returns uint8 [h, w] from the least (0) to the greatest (255) depth of a stored map.

    Its form says how it is stored: RGB by plasma8, 8 bits by norm8, 16 bits by metric16, of which
    0 is unknown, and as dark as the least.
    """
    if stored.ndim == 3:
        red, green = stored[..., 0].astype(np.uint16), stored[..., 1]
        return np.asarray(plasma_positions()[red * 256 + green])
    if stored.dtype == np.uint8:
        return stored
    least, greatest = known_bounds(stored)
    grey = (stored.astype(np.float32) - least) / max(greatest - least, 1) * 255
    return np.rint(np.maximum(grey, 0)).astype(np.uint8)


def known_bounds(stored: np.ndarray) -> tuple[int, int]:
    """Returns the least and the greatest value of a stored map; of metric16 0 is unknown."""
    values = stored[stored > 0] if stored.dtype == np.uint16 and not stored.all() else stored
    return int(values.min(initial=_MAX_16_BITS)), int(values.max(initial=0))


def depth_in_metres(data: bytes, scale: float) -> np.ndarray:
    """Returns depth, float32 [h, w], of an encoded map whose values × `scale` are metres."""
    values = np.asarray(open_image(data)).astype(np.float32)
    return np.multiply(values, np.float32(scale), out=values)
