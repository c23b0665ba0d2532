"""How pictures are resized: Pillow's filters, by the names that recipes have for them."""

from __future__ import annotations

from typing import Literal

from PIL import Image

# All but nearest average over what they shrink.
Filter = Literal["nearest", "bilinear", "bicubic", "lanczos"]


def resampling(name: Filter) -> Image.Resampling:
    """Returns Pillow's filter of that name."""
    return Image.Resampling[name.upper()]
