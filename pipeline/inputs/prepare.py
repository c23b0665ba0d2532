"""Inputs: found, validated all together, prepared once, written for the workers to read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np
from PIL import Image, ImageOps

from depthmask.errors import UserError
from depthmask.tally import Tally
from pipeline.export import LAYOUTS
from pipeline.inputs.findings import Finding, listing
from pipeline.inputs.folders import (
    InputFile,
    InputFolders,
    find_all,
    linked_folders,
    match_masks,
    without_twins,
)
from pipeline.inputs.pictures import MAX_PIXELS, BadPicture, open_picture
from pipeline.plan import check_fits
from pipeline.recipes import Recipe
from transforms.cutout import Cutout, binarise, resize
from transforms.io.files import create_file, join
from transforms.measure import measure
from transforms.prepared import (
    PreparedPicture,
    PreparedSource,
    background_record,
    foreground_record,
)

# Pictures that are in memory at a time while inputs are prepared.
_WINDOW = 64
# The least overlap (intersection over union) of a mask file and the transparency beside it that is
# no mistake. Of 100 real pairs the worst has 0.65; of the same inverted the best has 0.001.
_OVERLAP = 0.5
_NO_SHAPE = "has no transparency and no mask"


@dataclass
class PreparedSet:
    """The prepared inputs of a dataset."""

    source: PreparedSource
    tally: Tally
    findings: list[Finding]
    checksums: dict[str, int] = field(default_factory=dict)


def prepare_background(file: InputFile, recipe: Recipe, findings: list[Finding]) -> Image.Image:
    """A background fitted to the canvas, in the canvas's mode (RGB or L)."""
    canvas = recipe.canvas
    size = (canvas.width, canvas.height)
    picture = open_picture(file.path)
    if "A" in picture.getbands() and picture.getchannel("A").getextrema() != (255, 255):
        findings.append(file.warning("has transparency, which is dropped", "Is it a foreground?"))
    image = picture.convert("RGB")
    match canvas.fit:
        case "crop":
            image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        case "stretch":
            image = image.resize(size, Image.Resampling.LANCZOS)
        case "pad":
            image = ImageOps.pad(image, size, Image.Resampling.LANCZOS)
    return image.convert("L") if canvas.colour == "grey" else image


@dataclass(frozen=True)
class _PreparedForeground:
    cutout: Cutout
    width: int
    height: int
    findings: tuple[Finding, ...]


def prepare_foreground(
    file: InputFile, mask_file: InputFile | None, recipe: Recipe
) -> _PreparedForeground:
    """A cut-out at the largest size at which it is drawn, and its size at scale 1."""
    image = open_picture(file.path).convert("RGBA")
    alpha = image.getchannel("A")
    findings: list[Finding] = []
    values = np.asarray(alpha)
    transparent = values.min() < 255
    if values.max() == 0:
        raise BadPicture("is wholly transparent", "Cut it out anew or take it away.")
    mask = alpha
    if mask_file is not None:
        mask = _open_mask(mask_file, file, image.size, findings)
        if transparent:
            threshold = recipe.masks.binary_threshold or 128
            overlap = _overlap(np.asarray(mask) >= threshold, values >= 128)
            if overlap < _OVERLAP:
                findings.append(
                    file.warning(
                        f"its mask and its transparency are of different shapes (overlap "
                        f"{overlap:.0%})",
                        "Is the mask inverted, or another picture's?",
                    )
                )
    elif recipe.masks.source == "colour":
        mask = _within(image, recipe.masks.range)
    elif not transparent:
        raise BadPicture(
            _NO_SHAPE,
            "Cut it out (RGBA), or give a folder with masks of the same names by --masks.",
        )
    if not transparent:
        alpha = mask
        image.putalpha(alpha)
    width, height = recipe.foregrounds.drawn_size(image.width, image.height, recipe.canvas)
    try:
        check_fits(recipe, width, height)
    except UserError as error:
        raise BadPicture("is too large", f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    largest = recipe.foregrounds.scale[1]
    if width * height * largest**2 > MAX_PIXELS:
        raise BadPicture(
            f"is drawn {width * largest:.0f}×{height * largest:.0f} pixels large, more than "
            f"{MAX_PIXELS // 10**6} million",
            "Set foregrounds.size smaller, or crop it.",
        )
    mode = "L" if recipe.canvas.colour == "grey" else "RGB"
    cutout = resize(
        Cutout(image.convert(mode), alpha, np.asarray(mask)),
        max(1, round(width * largest)),
        max(1, round(height * largest)),
    )
    threshold = recipe.masks.binary_threshold or 1
    if not binarise(cutout.mask, threshold).any():
        raise BadPicture(
            f"has no mask pixel of at least {threshold}",
            "Cut it out anew, or set masks.threshold lower.",
        )
    return _PreparedForeground(cutout, width, height, tuple(findings))


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two shapes, bool [h, w]; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _within(image: Image.Image, bounds: tuple[int, int]) -> Image.Image:
    """255 where every channel of `image` (RGBA), laid on black, lies within `bounds`, 0 elsewhere.

    On black, because colours beneath transparency are whatever a program left there.
    """
    black = Image.new("RGBA", image.size, "black")
    pixels = np.asarray(Image.alpha_composite(black, image).convert("RGB"))
    inside = ((pixels >= bounds[0]) & (pixels <= bounds[1])).all(axis=2)
    return Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0)))


def _open_mask(
    mask_file: InputFile, file: InputFile, size: tuple[int, int], findings: list[Finding]
) -> Image.Image:
    try:
        picture = open_picture(mask_file.path).convert("RGBA")
    except BadPicture as error:
        raise BadPicture(f"its mask {mask_file.file} {error.problem}", error.remedy) from error
    # A white shape on transparency: what is transparent is black.
    mask = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture).convert("L")
    if mask.size != size:
        findings.append(
            mask_file.warning(
                f"is {mask.width}×{mask.height} and its foreground {file.file} is "
                f"{size[0]}×{size[1]}",
                "It was resized to the foreground's size.",
            )
        )
        mask = mask.resize(size, Image.Resampling.LANCZOS)
    return mask


def prepare_inputs(
    folders: InputFolders, recipe: Recipe, output: str, skip_bad: bool = False
) -> PreparedSet:
    """Validates and prepares every input; writes both TFRecord files into `output`.

    Raises UserError that lists every bad input, unless `skip_bad`: then they are left out, and
    only having no good background or no good foreground is an error.
    """
    source = recipe.masks.source
    if source == "file" and folders.masks is None:
        raise UserError(
            f"recipe {recipe.name} takes masks from files: give their folder by --masks, or take "
            "them from transparency by --set masks.source=alpha"
        )
    if source in ("alpha", "colour") and folders.masks is not None:
        raise UserError(
            f"recipe {recipe.name} takes masks from the foregrounds themselves (masks.source: "
            f"{source}): leave out --masks, or use its files by --set masks.source=file"
        )
    found = find_all(folders)
    backgrounds, findings = without_twins(found["backgrounds"])
    foregrounds, twins = without_twins(found["foregrounds"])
    findings += twins
    for folder in dataclasses.astuple(folders):
        findings += linked_folders(folder) if folder is not None else []
    masks: dict[str, InputFile] = {}
    if folders.masks is not None:
        masks, more = match_masks(folders.masks, found["masks"], foregrounds)
        findings += more
        foregrounds = [file for file in foregrounds if file.name in masks]
    checksums: dict[str, int] = {}
    tallies: list[Tally] = []

    def background(file: InputFile) -> _Prepared:
        noted: list[Finding] = []
        image = prepare_background(file, recipe, noted)
        pixels = np.atleast_3d(np.asarray(image))
        return _Prepared(
            record=background_record(file.name, file.label, image),
            width=image.width,
            height=image.height,
            tally=Tally({"backgrounds": measure(pixels[None])}),
            findings=tuple(noted),
        )

    def foreground(file: InputFile) -> _Prepared:
        prepared = prepare_foreground(file, masks.get(file.name), recipe)
        cutout = prepared.cutout
        mask = cutout.mask
        if recipe.masks.binary_threshold is not None:
            mask = binarise(mask, recipe.masks.binary_threshold)
        pixels = np.dstack([np.asarray(cutout.colour), np.asarray(cutout.alpha)])
        return _Prepared(
            record=foreground_record(file.name, cutout, prepared.width, prepared.height),
            width=prepared.width,
            height=prepared.height,
            tally=Tally(
                {"foregrounds": measure(pixels[None]), "foreground_masks": measure(mask[None])}
            ),
            findings=prepared.findings,
        )

    pictures: dict[str, tuple[PreparedPicture, ...]] = {}
    paths: dict[str, str] = {}
    for kind, files, prepare in (
        ("backgrounds", backgrounds, background),
        ("foregrounds", foregrounds, foreground),
    ):
        paths[kind] = join(output, f"{kind}.tfrecord")
        written: list[PreparedPicture] = []
        with create_file(paths[kind]) as stream:
            checksums[f"{kind}.tfrecord"] = _write_prepared(
                stream, files, prepare, written, findings, tallies
            )
        pictures[kind] = tuple(written)
    errors = [finding for finding in findings if finding.level == "error"]
    shapeless = sum(error.problem == _NO_SHAPE for error in errors)
    swapped = (
        " No foreground has transparency: are --backgrounds and --foregrounds swapped?"
        if shapeless == len(foregrounds) > 0
        else ""
    )
    if errors and not skip_bad:
        lines = "\n".join(f"  {line}" for line in listing(errors))
        raise UserError(
            f"{len(errors)} bad input{'s' if len(errors) > 1 else ''}; nothing was made:\n"
            f"{lines}\n"
            f"Correct them, or go on without them: --skip-bad-inputs.{swapped}"
        )
    for kind, usable in pictures.items():
        if not usable:
            raise UserError(f"no usable {kind} in {getattr(folders, kind)}.{swapped}")
    layout = LAYOUTS.get(recipe.name)
    loose = sum(not picture.label for picture in pictures["backgrounds"])
    if layout and layout.needs_class and loose:
        findings.append(
            Finding(
                folders.backgrounds,
                ".",
                "warning",
                f"{loose:,} of its pictures have no class, which layout {layout.name} needs",
                "To export by it, put them into a subfolder for each class.",
            )
        )
    prepared = PreparedSource(
        backgrounds_path=paths["backgrounds"],
        backgrounds=pictures["backgrounds"],
        foregrounds_path=paths["foregrounds"],
        foregrounds=pictures["foregrounds"],
    )
    return PreparedSet(prepared, Tally.total(tallies), findings, checksums)


@dataclass(frozen=True)
class _Prepared:
    record: bytes
    width: int
    height: int
    tally: Tally
    findings: tuple[Finding, ...] = ()


def _write_prepared(
    stream: Any,
    files: Sequence[InputFile],
    prepare: Callable[[InputFile], _Prepared],
    written: list[PreparedPicture],
    findings: list[Finding],
    tallies: list[Tally],
) -> int:
    """Writes the good files' records to `stream` in order; returns the CRC-32C of its bytes."""
    offset = crc = 0
    for file, prepared in _in_parallel(prepare, files):
        if isinstance(prepared, BadPicture):
            findings.append(file.error(prepared.problem, prepared.remedy))
            continue
        stream.write(prepared.record)
        crc = google_crc32c.extend(crc, prepared.record)
        length = len(prepared.record)
        written.append(
            PreparedPicture(file.name, prepared.width, prepared.height, offset, length, file.label)
        )
        offset += length
        findings += prepared.findings
        tallies.append(prepared.tally)
    return crc


def _in_parallel(
    prepare: Callable[[InputFile], _Prepared], files: Sequence[InputFile]
) -> Iterator[tuple[InputFile, _Prepared | BadPicture]]:
    def attempt(file: InputFile) -> _Prepared | BadPicture:
        try:
            return prepare(file)
        except BadPicture as error:
            return error

    # Windows of files, so that prepared pictures never pile up in memory.
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        for start in range(0, len(files), _WINDOW):
            window = files[start : start + _WINDOW]
            yield from zip(window, executor.map(attempt, window), strict=True)
