"""Preparing one background: fitted to the canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from pipeline.inputs.findings import Finding
from pipeline.inputs.folders import InputFile
from pipeline.inputs.pictures import Picture, dullness, open_picture
from pipeline.recipes import Recipe
from transforms.resampling import resampling


@dataclass(frozen=True)
class PreparedBackground:
    """A background fitted to the canvas, in the canvas's mode (RGB or L), and what it is of."""

    image: Image.Image
    picture: Picture


def prepare_background(
    file: InputFile, recipe: Recipe, findings: list[Finding]
) -> PreparedBackground:
    """Prepares a background. Raises BadPicture."""
    canvas = recipe.canvas
    size = (canvas.width, canvas.height)
    warn = file.warn_into(findings)
    opened = open_picture(file.path, warn)
    picture = opened.image
    if "A" in picture.getbands() and picture.getchannel("A").getextrema() != (255, 255):
        warn("has transparency, which is dropped", "Is it a foreground?")
    image = picture.convert("RGB")
    method = resampling(canvas.filter)
    match canvas.fit:
        case "crop":
            image = ImageOps.fit(image, size, method)
        case "stretch":
            image = image.resize(size, method)
        case "pad":
            image = ImageOps.pad(image, size, method, canvas.pad_colour)
    pixels = np.asarray(image)
    if canvas.fit == "pad":  # without what is beside it
        inside = pixels != canvas.pad_colour
        pixels = pixels[inside.any(axis=(1, 2))][:, inside.any(axis=(0, 2))]
    dull = dullness(pixels.reshape(-1, 3) if pixels.size else np.array([canvas.pad_colour]))
    if dull:
        warn(f"comes out {dull}", "Look whether it should.")
    return PreparedBackground(image.convert("L") if canvas.colour == "grey" else image, opened)
