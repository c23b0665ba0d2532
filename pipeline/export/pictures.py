"""Pictures in the form of a layout: copied where they are stored so, else encoded anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from depthmask.features import ImageFeature
from depthmask.manifest import DepthMeaning
from transforms.codecs import ImageCodec, channels_last, encode_image, open_image
from transforms.depth import DepthStorage, grey_depth

Format = Literal["jpeg", "png"]
SUFFIXES = {"jpeg": "jpg", "png": "png"}


@dataclass(frozen=True)
class Form:
    """The form of a layout's pictures; None: as the dataset stores them.

    Where channels are given they have 8 bits: training code divides by 255. A JPEG is not encoded
    again for the sake of its quality; `quality` and `optimize` are for pictures that have to be.
    """

    format: Format | None = None
    channels: Literal[1, 3] | None = None
    quality: int = 90
    optimize: bool = False


@dataclass(frozen=True)
class DepthForm:
    """The form of a layout's depth maps; None: as stored. `DepthStorage` explains the storages."""

    storage: Literal["norm8", "plasma8"] | None = None
    format: Format | None = None
    quality: int = 90


@dataclass(frozen=True)
class Picture:
    """An encoded picture. `suffix`: its file's, jpg or png."""

    data: bytes
    suffix: str


def fit_picture(data: bytes, stored: ImageFeature, form: Form) -> Picture:
    """Returns a composite or mask in a form. `stored`: how the dataset has it."""
    has, channels = stored.encoding, stored.channels
    wanted = form.format or has
    # Of PNG the shape does not say whether pixels have 1 bit or 8.
    eight_bits = has == "jpeg" or open_image(data).mode != "1"
    as_wanted = form.channels is None or (form.channels == channels and eight_bits)
    if has == wanted and as_wanted:
        return Picture(data, SUFFIXES[has])
    return _encoded(open_image(data), wanted, form.channels or channels, form)


def fit_input(data: bytes, form: Form) -> bytes:
    """Returns a prepared input (PNG) in a form that has channels; what is clear becomes black."""
    image = open_image(data)
    if image.mode in ("LA", "RGBA"):
        opaque, alpha = image.convert(image.mode[:-1]), image.getchannel("A")
        image = Image.composite(opaque, Image.new(opaque.mode, image.size), alpha)
    return _encoded(image, form.format or "png", form.channels or 3, form).data


def _encoded(image: Image.Image, wanted: Format, channels: int, form: Form) -> Picture:
    codec = ImageCodec(format=wanted, quality=form.quality, optimize=form.optimize)
    pixels = channels_last(image.convert("L" if channels == 1 else "RGB"))
    return Picture(encode_image(pixels, codec), SUFFIXES[wanted])


def fit_depth(data: bytes, stored: ImageFeature, meaning: DepthMeaning, form: DepthForm) -> Picture:
    """Returns a depth map in a form. `stored`: as for `fit_picture`; `meaning`: what it says."""
    has = stored.encoding
    storage = form.storage or meaning.storage
    wanted = form.format or has
    if (meaning.storage, has) == (storage, wanted):
        return Picture(data, SUFFIXES[has])
    made = DepthStorage(storage=storage, codec=ImageCodec(format=wanted, quality=form.quality))
    grey = grey_depth(np.asarray(open_image(data)))
    return Picture(made.encode(made.from_grey(grey)), SUFFIXES[wanted])
