"""Inputs: found, validated all together, prepared once, written for the workers to read."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np

from depthmask.errors import UserError
from depthmask.manifest import BACKGROUND_DEPTHS, BACKGROUNDS, FOREGROUNDS
from depthmask.records import unframe_records
from depthmask.tally import Tally
from pipeline.export.layout import MAX_NAME, flat_name
from pipeline.export.layouts import LAYOUTS
from pipeline.inputs.backgrounds import prepare_background
from pipeline.inputs.decoding import BadPicture
from pipeline.inputs.depths import MeasuredDepth, prepare_depth
from pipeline.inputs.findings import Finding, listing
from pipeline.inputs.folders import InputFile, InputFolders, find_inputs, shown
from pipeline.inputs.foregrounds import NO_SHAPE, prepare_foreground
from pipeline.processes.cores import usable_cores
from pipeline.recipes import Recipe
from transforms.io.files import create_file, join
from transforms.measure import measure
from transforms.prepared import (
    PreparedPicture,
    PreparedSource,
    background_record,
    depth_record,
    foreground_record,
)

# Pictures that are in memory at a time while inputs are prepared.
_WINDOW = 64
# Metres: nearer is no room, farther no street.
_NEAR, _FAR = 0.1, 200


@dataclass
class PreparedSet:
    """The prepared inputs of a dataset."""

    source: PreparedSource
    tally: Tally
    findings: list[Finding]
    checksums: dict[str, int] = field(default_factory=dict)


def prepare_inputs(
    folders: InputFolders, recipe: Recipe, output: str, skip_bad: bool = False
) -> PreparedSet:
    """Validates and prepares every input; writes their TFRecord files into `output`.

    Raises UserError that lists every bad input, unless `skip_bad`: then they are left out, and
    only having no good background or no good foreground is an error.
    """
    _check_mask_source(folders, recipe)
    found = find_inputs(folders)
    findings = [*found.findings, *_too_long(found.backgrounds, found.foregrounds)]
    checksums: dict[str, int] = {}
    tallies: list[Tally] = []

    def background(file: InputFile) -> _Prepared:
        return _background(file, found.depths.get(file.name), recipe)

    def foreground(file: InputFile) -> _Prepared:
        return _foreground(file, found.masks.get(file.name), recipe)

    pictures: dict[str, tuple[PreparedPicture, ...]] = {}
    depths = _RecordFile(join(output, BACKGROUND_DEPTHS)) if found.depths else None
    medians: list[float] = []
    with depths or contextlib.nullcontext():
        for kind, files, prepare in (
            ("backgrounds", found.backgrounds, background),
            ("foregrounds", found.foregrounds, foreground),
        ):
            with (
                _RecordFile(join(output, f"{kind}.tfrecord")) as records,
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")  # Pillow's: they name no file
                for file, prepared in _prepared(files, prepare, findings):
                    records.write(prepared.record)
                    if depths and prepared.depth:
                        depths.write(depth_record(file.name, prepared.depth.map))
                        medians.append(prepared.depth.median)
                    findings += prepared.findings
                    tallies.append(prepared.tally)
            checksums[f"{kind}.tfrecord"] = records.crc
            pictures[kind] = tuple(records.pictures)
            findings += _same_pictures(files, records.pictures, kind in recipe.splits.dealt_out)
    _refuse_bad(findings, pictures, folders, len(found.foregrounds), skip_bad)
    findings += _without_class(folders, recipe, pictures["backgrounds"])
    if depths:
        checksums[BACKGROUND_DEPTHS] = depths.crc
        findings += _in_another_unit(folders, medians)
    prepared_source = PreparedSource(
        backgrounds_path=join(output, BACKGROUNDS),
        backgrounds=pictures["backgrounds"],
        foregrounds_path=join(output, FOREGROUNDS),
        foregrounds=pictures["foregrounds"],
        depths_path=join(output, BACKGROUND_DEPTHS),
        depths=tuple(depths.pictures) if depths else (),
    )
    return PreparedSet(prepared_source, Tally.total(tallies), findings, checksums)


def _check_mask_source(folders: InputFolders, recipe: Recipe) -> None:
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


def _background(file: InputFile, depth_file: InputFile | None, recipe: Recipe) -> _Prepared:
    findings: list[Finding] = []
    background = prepare_background(file, recipe, findings)
    pixels = np.atleast_3d(np.asarray(background.image))
    depth = None
    if depth_file is not None:
        depth = prepare_depth(depth_file, background, file.file, recipe, findings)
    return _Prepared(
        record=background_record(file.name, file.label, background.image),
        tally=Tally({"backgrounds": measure(pixels[None])}),
        findings=tuple(findings),
        depth=depth,
    )


def _foreground(file: InputFile, mask_file: InputFile | None, recipe: Recipe) -> _Prepared:
    prepared = prepare_foreground(file, mask_file, recipe)
    cutout = prepared.cutout
    mask = recipe.drawing.levels.apply(cutout.mask)
    pixels = np.dstack([np.asarray(cutout.colour), np.asarray(cutout.alpha)])
    return _Prepared(
        record=foreground_record(file.name, cutout, prepared.width, prepared.height),
        tally=Tally(
            {"foregrounds": measure(pixels[None]), "foreground_masks": measure(mask[None])}
        ),
        findings=prepared.findings,
    )


def _refuse_bad(
    findings: Sequence[Finding],
    pictures: Mapping[str, Sequence[PreparedPicture]],
    folders: InputFolders,
    foregrounds: int,
    skip_bad: bool,
) -> None:
    """Raises UserError for bad inputs, unless `skip_bad`, and where nothing is left without them.

    `pictures`: the good ones by kind. `foregrounds`: how many there are, good or bad.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    swapped = (
        " No foreground has transparency: are --backgrounds and --foregrounds swapped?"
        if sum(error.problem == NO_SHAPE for error in errors) == foregrounds > 0
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


def _without_class(
    folders: InputFolders, recipe: Recipe, backgrounds: Sequence[PreparedPicture]
) -> Iterator[Finding]:
    """A warning where the recipe's layout needs classes that there are not."""
    layout = LAYOUTS.get(recipe.name)
    if not layout or not layout.needs_class:
        return
    loose = sum(not layout.class_of(picture.name, picture.label) for picture in backgrounds)
    if loose:
        yield Finding(
            folders.backgrounds,
            ".",
            "warning",
            f"{loose:,} of its pictures have no class, which layout {layout.name} needs",
            "To export by it, put them into a subfolder for each class, or begin their names with "
            "it and an underscore.",
        )


def _too_long(
    backgrounds: Sequence[InputFile], foregrounds: Sequence[InputFile]
) -> Iterator[Finding]:
    """A warning where the longest two names are too long for the file names of an export."""
    longest = [
        max(files, key=lambda file: len(flat_name(file.name)))
        for files in (backgrounds, foregrounds)
        if files
    ]
    total = sum(len(flat_name(file.name).encode()) for file in longest)
    if total > MAX_NAME:
        file = max(longest, key=lambda file: len(flat_name(file.name)))
        yield file.warning(
            f"its name and the longest of the other folder come to {total} bytes as files of an "
            "export are named",
            f"Rename them to at most {MAX_NAME} together if you will export the dataset.",
        )


def _same_pictures(
    files: Sequence[InputFile], written: Sequence[PreparedPicture], dealt_out: bool
) -> Iterator[Finding]:
    """A warning for each picture that has the very pixels of another.

    `dealt_out`: pictures of this kind are dealt out to splits.
    """
    by_name = {file.name: file for file in files}
    first: dict[int, PreparedPicture] = {}
    for picture in written:
        other = first.setdefault(picture.pixels, picture)
        if other is not picture:
            yield by_name[picture.name].warning(
                f"is the same picture as {by_name[other.name].file}",
                "Both go to one split." if dealt_out else "Is it there twice by mistake?",
            )


def _in_another_unit(folders: InputFolders, medians: Sequence[float]) -> Iterator[Finding]:
    """A warning where maps of measured depth have medians of no room and no street, in metres."""
    median = float(np.median(medians))
    if not _NEAR <= median <= _FAR:
        yield Finding(
            shown(folders.background_depths or ""),
            ".",
            "warning",
            f"the depth in it is {median:.3g} m, by the median of its maps' medians: that of no "
            "room and no street",
            "Whole numbers are in steps of depth.measured_unit metres, fractions in metres.",
        )


@dataclass(frozen=True)
class _Prepared:
    record: bytes
    tally: Tally
    findings: tuple[Finding, ...] = ()
    depth: MeasuredDepth | None = None


class _RecordFile:
    """A TFRecord file of prepared pictures while it is written.

    `pictures`: those in it. `crc`: the CRC-32C of its bytes.
    """

    def __init__(self, path: str) -> None:
        self.pictures: list[PreparedPicture] = []
        self.crc = 0
        self._file = create_file(path)
        self._offset = 0

    def __enter__(self) -> _RecordFile:
        self._stream = self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def write(self, framed: bytes) -> None:
        """Adds a framed record."""
        self._stream.write(framed)
        self.crc = google_crc32c.extend(self.crc, framed)
        (record,) = unframe_records(framed)
        self.pictures.append(PreparedPicture.of_record(record, self._offset))
        self._offset += len(framed)


def _prepared(
    files: Sequence[InputFile],
    prepare: Callable[[InputFile], _Prepared],
    findings: list[Finding],
) -> Iterator[tuple[InputFile, _Prepared]]:
    """Yields the good files in order; adds what is wrong with others to `findings`."""
    for file, prepared in _in_parallel(prepare, files):
        if isinstance(prepared, BadPicture):
            findings.append(file.error(prepared.problem, prepared.remedy))
        else:
            yield file, prepared


def _in_parallel(
    prepare: Callable[[InputFile], _Prepared], files: Sequence[InputFile]
) -> Iterator[tuple[InputFile, _Prepared | BadPicture]]:
    def attempt(file: InputFile) -> _Prepared | BadPicture:
        try:
            return prepare(file)
        except BadPicture as error:
            return error

    # Windows of files, so that prepared pictures never pile up in memory.
    executor = ThreadPoolExecutor(usable_cores())
    try:
        for start in range(0, len(files), _WINDOW):
            window = files[start : start + _WINDOW]
            yield from zip(window, executor.map(attempt, window), strict=True)
    finally:
        executor.shutdown(cancel_futures=True)
