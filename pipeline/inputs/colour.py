"""Colours as sRGB has them: profiles are applied, and none is kept."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from pipeline.inputs.samples import Warn

# Profiles that change no colour by more than rounding does are sRGB's own.
_ROUNDING = 2
_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, profile: bytes | None, warn: Warn) -> Image.Image:
    """An image of mode L, LA, RGB, RGBA, CMYK or LAB as L, LA, RGB or RGBA, by its ICC profile.

    Without one, or with one that cannot be used, of which `warn` is told, colours are taken as
    sRGB (CMYK: as Pillow takes them).
    """
    if image.mode == "LAB":  # says what its colours are without a profile
        return _converted(image, _built_in("LAB"), _built_in("sRGB"))
    if profile:
        try:
            return _by_profile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except (OSError, ValueError, ImageCms.PyCMSError) as error:
            warn(
                f"has a colour profile that cannot be used ({error})",
                "Its colours were taken as they are.",
            )
    return image.convert("RGB") if image.mode == "CMYK" else image


def _by_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    space = profile.profile.xcolor_space
    if image.mode in ("L", "LA") and space == "RGB ":
        image = image.convert("RGBA" if image.mode == "LA" else "RGB")
    if image.mode in ("LA", "RGBA"):
        colours = _by_profile(image.convert(image.mode[:-1]), profile)
        colours.putalpha(image.getchannel("A"))
        return colours
    if space != _SPACES[image.mode]:
        raise ValueError(f"it is of {space.strip()}, and the picture is {image.mode}")
    srgb = _built_in("sRGB")
    if image.mode == "CMYK":
        return _converted(image, profile, srgb)
    colours = _every_colour(image.mode)
    transformed = np.asarray(_converted(colours, profile, srgb)).astype(int)
    if np.abs(transformed - np.asarray(colours.convert("RGB"))).max() <= _ROUNDING:
        return image
    return _converted(image, profile, srgb)


def _built_in(name: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name))


def _converted(
    image: Image.Image, source: ImageCms.ImageCmsProfile, srgb: ImageCms.ImageCmsProfile
) -> Image.Image:
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    assert converted is not None  # it is None only for changes in place
    return converted


def _every_colour(mode: str) -> Image.Image:
    """All grey levels, or colours evenly from all of RGB."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3))
