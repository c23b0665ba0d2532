"""From a dataset's record to its values, by Pillow and NumPy."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from depthmask.features import Features, ImageFeature, ScalarFeature
from depthmask.manifest import DepthMeaning
from depthmask.plasma import plasma_positions
from depthmask.records import parse_example


@dataclass(frozen=True)
class Decoder:
    """Decodes the features called `names`. `depth`: what maps mean; None leaves them as stored."""

    features: Features
    names: tuple[str, ...]
    depth: DepthMeaning | None

    def __call__(self, record: bytes) -> dict[str, Any]:
        """Returns the values of a serialised record, by name.

        They are those of `depthmask.load`: pictures as arrays, other features as str, int and
        bool. Raises ValueError where the record does not hold them.
        """
        try:
            values = parse_example(record)
        except (ValueError, IndexError) as error:
            raise ValueError("a record is not a tf.train.Example with a value a feature") from error
        return {name: self._decode(name, values.get(name)) for name in self.names}

    def _decode(self, name: str, value: bytes | int | None) -> Any:
        feature = self.features.by_name[name]
        if isinstance(feature, ScalarFeature):
            if not isinstance(value, int):
                raise ValueError(f"a record has no number {name}")
            return bool(value) if feature.dtype == "bool" else value
        if not isinstance(value, bytes):
            raise ValueError(f"a record has no {name}")
        if isinstance(feature, ImageFeature):
            pixels = _decode_picture(feature, name, value)
            return depth_of(self.depth, pixels) if name == "depth" and self.depth else pixels
        return value.decode()


def _decode_picture(feature: ImageFeature, name: str, data: bytes) -> np.ndarray:
    try:
        pixels = decode_pixels(data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a record's {name} is damaged: {error}") from error
    if pixels.dtype != feature.dtype or pixels.shape != feature.shape:
        raise ValueError(f"a record's {name} is {pixels.dtype} {list(pixels.shape)}")
    return pixels


def decode_pixels(data: bytes) -> np.ndarray:
    """Returns the pixels of a JPEG or PNG: uint8 or uint16 [H, W, C]; those of 1 bit as 0 and 255.

    Raises what Pillow does where it is neither.
    """
    image: Image.Image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    pixels = np.array(image.convert("L") if image.mode == "1" else image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def depth_of(meaning: DepthMeaning, stored: np.ndarray) -> np.ndarray:
    """Returns the depth that a stored map, uint8 or uint16 [h, w, C], means: float32 [h, w, 1]."""
    if stored.shape[2] == 3:  # in plasma colours
        colours = stored.astype(np.int32)
        stored = plasma_positions()[colours[..., :1] * 256 + colours[..., 1:2]]
    return stored.astype(np.float32) * np.float32(meaning.scale)
