"""Inputs: found, validated all together, prepared once, written for the workers to read."""

from __future__ import annotations

import dataclasses
import io
import itertools
import os
import posixpath
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import google_crc32c
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from depthmask.errors import UserError
from pipeline.export.layouts import LAYOUTS
from pipeline.plan.placement import check_room
from pipeline.recipes.schema import Recipe
from transforms.cutout import Cutout, binarise, resize
from transforms.io.files import create_file, is_local, join, list_files, open_file
from transforms.prepared import (
    PreparedPicture,
    PreparedSource,
    background_record,
    foreground_record,
)
from transforms.statistics import Moments, measure, merge

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 * 2**20
# Signs that some file system or the ids below give a meaning of their own.
_UNSAFE = '%+\\:*?"<>|'
# Pictures that are in memory at a time while inputs are prepared.
_WINDOW = 64
# The least overlap (intersection over union) of a mask file and the transparency beside it that is
# no mistake. Of 100 real pairs the worst has 0.65; of the same inverted the best has 0.001.
_OVERLAP = 0.5
# Findings that are shown of those that are alike.
_SHOWN = 10
_NO_SHAPE = "has no transparency and no mask"
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Finding:
    """What is wrong with an input, and the remedy. An error leaves it out; a warning does not.

    `file` is its path below its folder.
    """

    path: str
    file: str
    level: Literal["error", "warning"]
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}. {self.remedy}"

    def to_json(self) -> dict[str, str]:
        # Not the whole path: the same inputs in another folder give the same bytes.
        return {
            "level": self.level,
            "file": self.file,
            "problem": self.problem,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class InputFile:
    """A picture file.

    `file` is its path below its folder; `name` the same without suffix, made safe.
    """

    path: str
    file: str
    name: str
    label: str

    def error(self, problem: str, remedy: str) -> Finding:
        return Finding(self.path, self.file, "error", problem, remedy)

    def warning(self, problem: str, remedy: str) -> Finding:
        return Finding(self.path, self.file, "warning", problem, remedy)


def listing(findings: Iterable[Finding]) -> list[str]:
    """The findings, a line each; of those that are alike the first ten and how many more."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        # Remedies may name sizes.
        kinds.setdefault(_NUMBER.sub("", finding.remedy), []).append(finding)
    lines: list[str] = []
    for kind in kinds.values():
        lines += map(str, kind[:_SHOWN])
        if len(kind) > _SHOWN:
            lines.append(f"… and {len(kind) - _SHOWN:,} more")
    return lines


def print_findings(findings: Sequence[Finding]) -> None:
    """Tells the user, on standard error, of errors and warnings."""
    for level in ("error", "warning"):
        for line in listing(finding for finding in findings if finding.level == level):
            print(f"{level}: {line}", file=sys.stderr)


class _BadPicture(Exception):
    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class InputFolders:
    """Where the user's pictures are. Any path that Beam's file systems know."""

    backgrounds: str
    foregrounds: str
    masks: str | None = None


@dataclass
class PreparedSet:
    """The prepared inputs of a dataset."""

    source: PreparedSource
    moments: dict[str, Moments]
    findings: list[Finding]
    checksums: dict[str, int] = field(default_factory=dict)


def _linked_folders(folder: str) -> list[Finding]:
    """An error for each link to a folder, which no listing follows: it may lead in a circle."""
    if not is_local(folder):
        return []
    return [
        Finding(
            path,
            relative,
            "error",
            "is a link to a folder, which is not followed",
            "Copy the folder there, or give it by itself.",
        )
        for parent, folders, _ in os.walk(folder)
        for path in (os.path.join(parent, name) for name in sorted(folders))
        for relative in [os.path.relpath(path, folder).replace(os.sep, "/")]
        if os.path.islink(path) and not _is_hidden(relative)
    ]


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


def find_pictures(folder: str) -> list[InputFile]:
    """Every picture file in `folder` and below it, by name; a subfolder's name is a class.

    Raises UserError where there is no such folder, or no picture in it.
    """
    if is_local(folder) and not os.path.isdir(folder):
        raise UserError(f"{folder}: there is no such folder. Check the path.")
    try:
        paths = [file.path for file in list_files(folder)]
    except Exception as error:  # a remote file system's own
        raise UserError(f"{folder}: cannot be read: {error}") from error
    pictures = []
    for path in paths:
        relative = path[len(folder.rstrip("/")) :].replace(os.sep, "/").lstrip("/")
        stem, suffix = posixpath.splitext(relative)
        if suffix.lower() in PICTURE_SUFFIXES and not _is_hidden(relative):
            label = relative.split("/")[0] if "/" in relative else ""
            pictures.append(InputFile(path, relative, safe_name(stem), safe_name(label)))
    if not pictures:
        links = "".join(f"\n{link}" for link in _linked_folders(folder)[:1])
        raise UserError(
            f"{folder}: there are no pictures in it. Put some there "
            f"({', '.join(suffix[1:] for suffix in PICTURE_SUFFIXES)}).{links}"
        )
    return sorted(pictures, key=lambda picture: (picture.name, picture.path))


def safe_name(name: str) -> str:
    """`name` with control characters, and signs that file systems or ids use, percent-encoded."""
    return "".join(
        sign if sign.isprintable() and sign not in _UNSAFE else urllib.parse.quote(sign, safe="")
        for sign in name
    )


def open_picture(path: str) -> Image.Image:
    """The picture in a file: whole, upright, 8 bits, in mode L, LA, RGB or RGBA."""
    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _BadPicture(f"cannot be read ({error})", "Check the file and its rights.") from error
    if not data:
        raise _BadPicture("is empty", "Copy it anew or take it away.")
    if len(data) > MAX_FILE_BYTES:
        raise _BadPicture(f"is larger than {MAX_FILE_BYTES >> 20} MiB", "Make it smaller.")
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise _BadPicture(
                f"has {image.width}×{image.height} pixels, more than {MAX_PIXELS // 10**6} million",
                "Make it smaller.",
            )
        image.load()
        image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise _BadPicture("is not a picture", "Take it away or convert it.") from error
    except Image.DecompressionBombError as error:
        raise _BadPicture("has far too many pixels", "Make it smaller.") from error
    except _BadPicture:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble on
        raise _BadPicture(
            f"is damaged or truncated ({error})", "Copy it anew or take it away."
        ) from error
    return _eight_bit(image)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise _BadPicture("has values that are no numbers", "Take it away or convert it.")
        largest = values.max(initial=0)
        peak = 65535 if largest > 255 else 1 if image.mode == "F" and largest <= 1 else 255
        return Image.fromarray(np.clip(values * (255 / peak), 0, 255).astype(np.uint8))
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    has_alpha = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    return image.convert("RGBA" if has_alpha else "RGB")


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
        raise _BadPicture("is wholly transparent", "Cut it out anew or take it away.")
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
        raise _BadPicture(
            _NO_SHAPE,
            "Cut it out (RGBA), or give a folder with masks of the same names by --masks.",
        )
    if not transparent:
        alpha = mask
        image.putalpha(alpha)
    width, height = recipe.foregrounds.drawn_size(image.width, image.height, recipe.canvas)
    try:
        check_room(recipe, width, height)
    except UserError as error:
        raise _BadPicture("is too large", f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    largest = recipe.foregrounds.scale[1]
    if width * height * largest**2 > MAX_PIXELS:
        raise _BadPicture(
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
        raise _BadPicture(
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
    except _BadPicture as error:
        raise _BadPicture(f"its mask {mask_file.file} {error.problem}", error.remedy) from error
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
    found = _find_all(folders)
    backgrounds, findings = _without_twins(found["backgrounds"])
    foregrounds, twins = _without_twins(found["foregrounds"])
    findings += twins
    for folder in dataclasses.astuple(folders):
        findings += _linked_folders(folder) if folder is not None else []
    masks: dict[str, InputFile] = {}
    if folders.masks is not None:
        masks, more = _match_masks(folders.masks, found["masks"], foregrounds)
        findings += more
        foregrounds = [file for file in foregrounds if file.name in masks]
    checksums: dict[str, int] = {}
    moments: dict[str, Moments] = {}

    def background(file: InputFile) -> _Prepared:
        noted: list[Finding] = []
        image = prepare_background(file, recipe, noted)
        pixels = np.atleast_3d(np.asarray(image))
        return _Prepared(
            record=background_record(file.name, file.label, image),
            width=image.width,
            height=image.height,
            moments={"backgrounds": measure(pixels[None])},
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
            moments={"foregrounds": measure(pixels[None]), "foreground_masks": measure(mask[None])},
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
                stream, files, prepare, written, findings, moments
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
            f"Mend them, or go on without them by --skip-bad-inputs.{swapped}"
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
    return PreparedSet(prepared, moments, findings, checksums)


@dataclass(frozen=True)
class _Prepared:
    record: bytes
    width: int
    height: int
    moments: dict[str, Moments]
    findings: tuple[Finding, ...] = ()


def _write_prepared(
    stream: Any,
    files: Sequence[InputFile],
    prepare: Callable[[InputFile], _Prepared],
    written: list[PreparedPicture],
    findings: list[Finding],
    moments: dict[str, Moments],
) -> int:
    """Writes the good files' records to `stream` in order; gives the CRC-32C of its bytes."""
    offset = crc = 0
    for file, prepared in _in_parallel(prepare, files):
        if isinstance(prepared, _BadPicture):
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
        moments.update(merge([moments, prepared.moments]))
    return crc


def _in_parallel(
    prepare: Callable[[InputFile], _Prepared], files: Sequence[InputFile]
) -> Iterator[tuple[InputFile, _Prepared | _BadPicture]]:
    def attempt(file: InputFile) -> _Prepared | _BadPicture:
        try:
            return prepare(file)
        except _BadPicture as error:
            return error

    # Windows of files, so that prepared pictures never pile up in memory.
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        for start in range(0, len(files), _WINDOW):
            window = files[start : start + _WINDOW]
            yield from zip(window, executor.map(attempt, window), strict=True)


def _without_twins(files: Iterable[InputFile]) -> tuple[list[InputFile], list[Finding]]:
    first: dict[str, InputFile] = {}
    findings = []
    for file in files:
        if file.name in first:
            findings.append(
                file.error(
                    f"has the same name as {first[file.name].file}", "Rename one of the two."
                )
            )
        first.setdefault(file.name, file)
    return list(first.values()), findings


def _find_all(folders: InputFolders) -> dict[str, list[InputFile]]:
    """The pictures of every folder that is given. Raises UserError of all that are wrong."""
    given = {kind: path for kind, path in dataclasses.asdict(folders).items() if path is not None}
    found, problems = {}, []
    for kind, folder in given.items():
        try:
            found[kind] = find_pictures(folder)
        except UserError as error:
            problems.append(str(error))
    for (kind, folder), (other, outer) in itertools.permutations(given.items(), 2):
        inside, around = _whole_path(folder), _whole_path(outer)
        # Of two that are the same one line is enough.
        if inside.startswith(around) and (inside != around or kind < other):
            problems.append(
                f"--{kind} {folder} is {'the same as' if inside == around else 'within'} --{other} "
                f"{outer}: its pictures would be taken for both. Give each a folder of its own."
            )
    if problems:
        raise UserError("\n".join(problems))
    return found


def _whole_path(folder: str) -> str:
    """One way to write a folder's path, with a slash at its end."""
    if is_local(folder):
        folder = os.path.realpath(folder).replace(os.sep, "/")
    return f"{folder.rstrip('/')}/"


def _match_masks(
    folder: str, files: Sequence[InputFile], foregrounds: Sequence[InputFile]
) -> tuple[dict[str, InputFile], list[Finding]]:
    """The masks by name, and what is wrong with them and with the foregrounds that have none."""
    masks, findings = _without_twins(files)
    by_name = {mask.name: mask for mask in masks}
    names = {file.name for file in foregrounds}
    unused = [mask for mask in masks if mask.name not in names]
    if unused:
        # One for all: some of the foregrounds are often tried first, with the masks of all.
        have = "mask has" if len(unused) == 1 else "masks have"
        findings.append(
            Finding(
                folder,
                ".",
                "warning",
                f"{len(unused):,} {have} no foreground of the same name, such as {unused[0].file}",
                "Not used.",
            )
        )
    for file in foregrounds:
        if file.name not in by_name:
            findings.append(
                file.error(
                    "has no mask of its name in the folder of masks",
                    "Add it, or leave out --masks to take masks from transparency.",
                )
            )
    return by_name, findings
