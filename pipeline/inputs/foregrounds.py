"""Preparing one foreground: cut out, with its mask, as large as it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from depthmask.errors import UserError
from pipeline.inputs import cutouts
from pipeline.inputs.decoding import MAX_PIXELS, BadPicture
from pipeline.inputs.findings import Finding
from pipeline.inputs.folders import InputFile
from pipeline.inputs.masks import cut, open_mask
from pipeline.inputs.pictures import Picture, dullness, lying_as, open_picture
from pipeline.inputs.samples import Warn
from pipeline.plan import check_fits, foreground_scale
from pipeline.recipes import Recipe
from transforms.cutout import Cutout
from transforms.resampling import resampling

# The least overlap (intersection over union) of a mask file and the transparency beside it that is
# no mistake. Of 100 real pairs the worst has 0.65; of the same inverted the best has 0.001.
_OVERLAP = 0.5
# The share of its frame in which a cut-out is small.
_SMALL = 0.25
NO_SHAPE = "has no transparency and no mask"


@dataclass(frozen=True)
class PreparedForeground:
    """A cut-out at the largest size at which it is drawn, and its size at scale 1."""

    cutout: Cutout
    width: int
    height: int
    findings: tuple[Finding, ...]


def prepare_foreground(
    file: InputFile, mask_file: InputFile | None, recipe: Recipe
) -> PreparedForeground:
    """Prepares a foreground, with the mask in `mask_file` where there is one. Raises BadPicture."""
    findings: list[Finding] = []
    warn = file.warn_into(findings)
    cutout = _cut_out(file, mask_file, recipe, findings)
    cutout = _within_its_frame(cutout, recipe.foregrounds.trim, warn)
    width, height = _scaled(
        recipe.foregrounds.drawn_size(*cutout.colour.size, recipe.canvas),
        foreground_scale(recipe, file.name),
    )
    try:
        check_fits(recipe, width, height)
    except UserError as error:
        raise BadPicture("is too large", f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    largest = recipe.foregrounds.example_scale[1]
    if width * height * largest**2 > MAX_PIXELS:
        raise BadPicture(
            f"is drawn {width * largest:.0f}×{height * largest:.0f} pixels large, more than "
            f"{MAX_PIXELS // 10**6} million",
            "Set foregrounds.size smaller, or crop it.",
        )
    drawing = recipe.drawing
    cutout = drawing.resize(cutout, *_scaled((width, height), largest))
    if not drawing.levels.apply(cutout.mask).any():
        least = recipe.masks.binary_threshold
        if recipe.masks.source == "colour":
            remedy = "Widen masks.range, or take masks from its transparency by masks.source=alpha."
        elif recipe.masks.without_black:
            remedy = "Set masks.without_black to false, if it is to be black."
        elif least is None:
            remedy = "Cut it out anew."
        else:
            remedy = "Cut it out anew, or set masks.threshold lower."
        raise BadPicture(f"has no mask pixel of at least {least or 1}", remedy)
    dull = dullness(np.asarray(cutout.colour.convert("RGB"))[np.asarray(cutout.alpha) >= 128])
    if dull in ("nearly black", "nearly white"):
        warn(f"comes out {dull}", "Look whether it should.")
    return PreparedForeground(cutout, width, height, tuple(findings))


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    width, height = size
    return max(1, round(width * factor)), max(1, round(height * factor))


def _cut_out(
    file: InputFile, mask_file: InputFile | None, recipe: Recipe, findings: list[Finding]
) -> Cutout:
    """A foreground as large as its file: colours, alpha and mask."""
    warn = file.warn_into(findings)
    picture = open_picture(file.path, warn)
    image = picture.image.convert("RGBA")
    alpha = image.getchannel("A")
    least = np.asarray(alpha).min()
    if not alpha.getbbox():
        raise BadPicture("is wholly transparent", "Cut it out anew or take it away.")
    threshold = recipe.masks.binary_threshold
    has_shape = least < 128
    mask = alpha
    if mask_file is not None:
        mask = _read_mask(mask_file, file, picture, recipe, findings)
        if has_shape:
            _check_overlap(mask, alpha, threshold or 128, warn)
        elif cutouts.lies_around(np.asarray(mask) >= (threshold or 128)):
            problem = "is white along the picture's edge and black inside"
            findings.append(mask_file.warning(problem, "Is it inverted? White is foreground."))
    elif recipe.masks.source == "colour":
        mask = _within(image, recipe.masks.range)
    elif least == 255:
        raise BadPicture(
            NO_SHAPE,
            "Cut it out (RGBA), or give a folder with masks of the same names by --masks.",
        )
    if has_shape and cutouts.is_mixed_with_black(image):
        image = cutouts.unmixed(image)
        warn(
            "has an edge that is mixed with black (premultiplied alpha)",
            "Its colours were divided by its alpha.",
        )
    if not has_shape and mask is not alpha:
        # Greys of the mask inside a shape that is to be cut would draw it see-through.
        alpha = mask = mask if threshold is None else cut(mask, threshold)
    if recipe.masks.without_black:
        mask = _without_black(image)
    if cutouts.is_rectangle(np.asarray(alpha) >= 128):
        warn("is opaque all over a rectangle", "Is it cut out?")
    mode = "L" if recipe.canvas.colour == "grey" else "RGB"
    return Cutout(image.convert(mode), alpha, np.asarray(mask))


def _read_mask(
    mask_file: InputFile,
    file: InputFile,
    picture: Picture,
    recipe: Recipe,
    findings: list[Finding],
) -> Image.Image:
    """The mask of a foreground, as large as it and turned as it is: mode L."""
    warn = mask_file.warn_into(findings)
    try:
        mask = open_mask(mask_file.path, recipe.masks.binary_threshold, warn)
    except BadPicture as error:
        raise BadPicture(f"its mask {mask_file.file} {error.problem}", error.remedy) from error
    name, size = f"foreground {file.file}", picture.image.size
    levels = lying_as(mask.levels, mask.orientation, picture, name, warn)
    if levels is None:
        raise BadPicture(
            f"its mask {mask_file.file} is {mask.levels.width}×{mask.levels.height}, of another "
            f"shape than its {size[0]}×{size[1]}",
            "Crop both alike.",
        )
    if levels.size != size:
        warn(
            f"is {levels.width}×{levels.height} and its foreground {file.file} is "
            f"{size[0]}×{size[1]}",
            "It was resized to the foreground's size.",
        )
        levels = levels.resize(size, resampling(recipe.drawing.mask_filter))
    return levels


def _check_overlap(mask: Image.Image, alpha: Image.Image, threshold: int, warn: Warn) -> None:
    """Warns of a mask whose shape is not that of the transparency beside it."""
    one, other = np.asarray(mask) >= threshold, np.asarray(alpha) >= 128
    union = np.count_nonzero(one | other)
    overlap = np.count_nonzero(one & other) / union if union else 1.0
    if overlap < _OVERLAP:
        warn(
            f"its mask and its transparency are of different shapes (overlap {overlap:.0%})",
            "Is the mask inverted, or another picture's?",
        )


def _within_its_frame(cutout: Cutout, trim: bool, warn: Warn) -> Cutout:
    """A cut-out without the clear frame around it if `trim`; else a warning of a large one."""
    box = cutouts.visible_box(cutout.alpha, Image.fromarray(cutout.mask))
    if box is None:
        return cutout
    left, top, right, bottom = box
    if trim:
        mask = np.ascontiguousarray(cutout.mask[top:bottom, left:right])
        return Cutout(cutout.colour.crop(box), cutout.alpha.crop(box), mask)
    share = (right - left) * (bottom - top) / cutout.mask.size
    if share < _SMALL:
        warn(
            f"is small in a clear frame: {right - left}×{bottom - top} of "
            f"{cutout.mask.shape[1]}×{cutout.mask.shape[0]}",
            "It is sized and placed with that frame: --set foregrounds.trim=true crops it.",
        )
    return cutout


def _within(image: Image.Image, bounds: tuple[int, int]) -> Image.Image:
    """255 where every channel of `image` (RGBA) lies within `bounds`, 0 elsewhere.

    Colours beneath what is wholly clear are whatever a program left there, and not looked at.
    """
    pixels = np.asarray(image)
    colours = pixels[..., :3]
    inside = ((colours >= bounds[0]) & (colours <= bounds[1])).all(axis=2) & (pixels[..., 3] > 0)
    return Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0)))


def _without_black(image: Image.Image) -> Image.Image:
    """The alpha of `image` (RGBA), 0 where its luminance is 0."""
    luminance = np.asarray(image.convert("L"))
    alpha = np.asarray(image.getchannel("A"))
    return Image.fromarray(np.where(luminance > 0, alpha, np.uint8(0)))
