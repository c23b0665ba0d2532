"""Pictures as they are meant to be seen: whole, upright, 8 bits, sRGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.inputs.colour import to_srgb
from pipeline.inputs.decoding import BadPicture, decode, turned
from pipeline.inputs.samples import Samples, Warn

# How much two shapes' ratios of width to height may differ. Of 100 real masks the worst: 1.02.
_ASPECT = 1.1
# Of 100 pixels one may be lighter, or darker, than a picture that is nearly black, or white.
_BLACK, _WHITE, _FLAT = 20, 235, 3


@dataclass(frozen=True)
class Picture:
    """A picture, mode L, LA, RGB or RGBA, and the EXIF orientation by which it was turned."""

    image: Image.Image
    orientation: int


def open_picture(path: str, warn: Warn) -> Picture:
    """The picture in a file. Raises BadPicture; tells `warn` of what was guessed or left out."""
    decoded = decode(path, warn)
    stored = decoded.stored
    image = _from_samples(stored, warn) if isinstance(stored, Samples) else _plain(stored)
    image = to_srgb(image, decoded.profile, warn)
    image.info = {}
    return Picture(turned(image, decoded.turn), decoded.orientation)


def lying_as(
    image: Image.Image,
    orientation: int,
    picture: Picture,
    name: str,
    warn: Warn,
    aspect: float = _ASPECT,
) -> Image.Image | None:
    """Returns what belongs to a picture, pixel for pixel, lying as that does; None: no way fits.

    `orientation`: by which EXIF orientation `image` was turned. `name`: the picture's, for `warn`.
    `aspect`: how much their ratios of width to height may differ.
    """
    size = picture.image.size
    alike = turned(image, picture.orientation) if orientation == 1 else image
    if _fits(image.size, size, aspect):
        if alike is not image and _fits(alike.size, size, aspect):
            warn(
                f"says nothing of how it is turned, and its {name} does",
                "It was taken as upright: is it?",
            )
        return image
    if not _fits(alike.size, size, aspect):
        return None
    warn(f"lies as the pixels of its {name} are stored", "It was turned upright as that is.")
    return alike


def _fits(size: tuple[int, int], other: tuple[int, int], aspect: float) -> bool:
    """Whether two pictures have about the same ratio of width to height."""
    one, two = size[0] * other[1], other[0] * size[1]
    return max(one, two) <= aspect * min(one, two)


def _from_samples(samples: Samples, warn: Warn) -> Image.Image:
    try:
        image = Image.fromarray(samples.eight_bits(warn))
        alpha = samples.alpha()
    except ValueError as error:
        raise BadPicture(f"has {error}", "Take it away or convert it.") from error
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image


def _plain(image: Image.Image) -> Image.Image:
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        return image
    return image.convert("RGB")


def dullness(pixels: np.ndarray) -> str | None:
    """What pixels, uint8 [n, 3], come out as that no picture is meant to be; None for others."""
    if not len(pixels):
        return None
    least, greatest = np.percentile(pixels, (1, 99), axis=0, method="nearest").astype(int)
    if greatest.max() <= _BLACK:
        return "nearly black"
    if least.min() >= _WHITE:
        return "nearly white"
    if (greatest - least).max() <= _FLAT:
        return "of one colour"
    return None
