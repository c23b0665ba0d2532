"""Which picture files there are, and which mask belongs to which foreground."""

from __future__ import annotations

import itertools
import logging
import os
import posixpath
import re
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from depthmask.errors import UserError
from pipeline.inputs.decoding import is_picture, reads_heif
from pipeline.inputs.findings import Finding
from pipeline.inputs.samples import Warn
from transforms.io.files import is_local, list_files

DEPTH_SUFFIXES = (".png", ".npy", ".npz", ".tif", ".tiff")
# Files of other suffixes, or of none, are taken where their content is a picture.
PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_log = logging.getLogger("depthmask")
# What a pattern for the names of masks is made of, and the pattern where none is given.
_FIELD = re.compile(r"\{(name|number)\}")
SAME_NAME = "{name}"
_LAST_NUMBER = re.compile(r"[0-9]+$")
# Foregrounds without a mask that are looked at to find out how the masks are named.
_LOOKED_AT = 20
# What network drives, Windows and macOS leave in folders; so do names that begin with a dot.
_JUNK = re.compile(
    r"\..*|@eadir|@recycle|@recently-snapshot|#recycle|#snapshot|\$recycle\.bin|recycler|__macosx|"
    r"system volume information|lost\+found|thumbs\.db|ehthumbs.*\.db|desktop\.ini|icon\r",
    re.IGNORECASE,
)
# What programs leave of a picture that they write, or keep of an older one.
_LEAVINGS = (".bak", ".old", ".orig", ".tmp", ".part", ".crdownload", ".download", "~")
# Kinds of files that are counted in the line about those that are no pictures.
_KINDS = 6
# Signs that some file system or the ids below give a meaning of their own.
_UNSAFE = '%+\\:*?"<>|'


@dataclass(frozen=True)
class InputFile:
    """A picture file.

    `file` is its path below its folder, as text; `name` the same without suffix, made safe.
    """

    path: str
    file: str
    name: str
    label: str

    def error(self, problem: str, remedy: str) -> Finding:
        return Finding(shown(self.path), self.file, "error", problem, remedy)

    def warning(self, problem: str, remedy: str) -> Finding:
        return Finding(shown(self.path), self.file, "warning", problem, remedy)

    def warn_into(self, findings: list[Finding]) -> Warn:
        """What adds a warning about this file, of a problem and its remedy, to `findings`."""
        return lambda problem, remedy: findings.append(self.warning(problem, remedy))


@dataclass(frozen=True)
class InputFolders:
    """Where the user's pictures are. Any path that Beam's file systems know.

    `mask_name`: how masks are named, without suffix: ``mask_{name}`` after the foreground's name,
    ``mask{number}`` after the number that it ends in. Raises UserError for one that says neither.
    """

    backgrounds: str
    foregrounds: str
    masks: str | None = None
    mask_name: str = SAME_NAME
    background_depths: str | None = None

    def __post_init__(self) -> None:
        if self.mask_name == SAME_NAME:
            return
        if self.masks is None:
            raise UserError("--mask-name goes with --masks: give the folder of masks too.")
        rest, fields = _FIELD.subn("", self.mask_name)
        if not fields or any(sign in rest for sign in "{}/"):
            raise UserError(
                f"--mask-name {self.mask_name}: give a name with {{name}} or {{number}} in it, "
                "without folder and suffix, such as 'mask_{name}' or 'mask{number}'."
            )


@dataclass(frozen=True)
class FolderContents:
    """The pictures in a folder and below it, by name, and what is in it besides."""

    pictures: list[InputFile]
    findings: list[Finding]


def _linked_folders(folder: str) -> list[Finding]:
    """An error for each link to a folder, which no listing follows: it may lead in a circle."""
    if not is_local(folder):
        return []
    return [
        Finding(
            shown(path),
            shown(relative),
            "error",
            "is a link to a folder, which is not followed",
            "Copy the folder there, or give it by itself.",
        )
        for parent, folders, _ in os.walk(folder)
        for path in (os.path.join(parent, name) for name in sorted(folders))
        for relative in [os.path.relpath(path, folder).replace(os.sep, "/")]
        if os.path.islink(path) and not _is_junk(relative)
    ]


def _is_junk(relative: str) -> bool:
    return any(_JUNK.fullmatch(part) for part in relative.split("/"))


def find_pictures(folder: str) -> FolderContents:
    """Every picture file in `folder` and below it; a subfolder's name is a class.

    Raises UserError where there is no such folder, or no picture in it.
    """
    pictures, others = [], []
    for path, relative in _files_in(folder):
        usual = _suffix(relative) in PICTURE_SUFFIXES
        if usual or (not relative.lower().endswith(_LEAVINGS) and is_picture(path)):
            pictures.append(_input_file(path, relative))
        else:
            others.append(relative)
    findings = _linked_folders(folder)
    if not pictures:
        links = "".join(f"\n{link}" for link in findings[:1])
        kinds = ", ".join(suffix[1:] for suffix in PICTURE_SUFFIXES)
        raise UserError(
            f"{shown(folder)}: there are no pictures in it. Put some there ({kinds})."
            f"{_heif_remedy(others)}{links}"
        )
    if others:
        findings.append(_others(folder, others))
    # Of two of one name that of a usual kind is taken: others are often what it was made from.
    pictures.sort(
        key=lambda picture: (
            picture.name,
            _suffix(picture.file) not in PICTURE_SUFFIXES,
            picture.path,
        )
    )
    return FolderContents(pictures, findings)


def find_depths(folder: str) -> FolderContents:
    """Every file of measured depth in `folder` and below it. Raises UserError as `find_pictures`.

    Other files are not looked at: depth often lies beside what it was made from.
    """
    depths = [
        _input_file(path, relative)
        for path, relative in _files_in(folder)
        if _suffix(relative) in DEPTH_SUFFIXES
    ]
    if not depths:
        raise UserError(
            f"{shown(folder)}: there is no depth in it. Put some there "
            f"({', '.join(suffix[1:] for suffix in DEPTH_SUFFIXES)})."
        )
    depths.sort(key=lambda depth: (depth.name, depth.path))
    return FolderContents(depths, _linked_folders(folder))


def _files_in(folder: str) -> list[tuple[str, str]]:
    """Paths of the files in a folder and below it, whole and from there. Raises UserError."""
    if is_local(folder) and not os.path.isdir(folder):
        raise UserError(f"{shown(folder)}: there is no such folder. Check the path.")
    try:
        paths = [file.path for file in list_files(folder)]
    except Exception as error:  # a remote file system's own
        raise UserError(f"{shown(folder)}: cannot be read: {error}") from error
    root = len(folder.rstrip("/"))
    named = [(path, path[root:].replace(os.sep, "/").lstrip("/")) for path in paths]
    return [(path, relative) for path, relative in named if not _is_junk(relative)]


def _input_file(path: str, relative: str) -> InputFile:
    label = relative.split("/", maxsplit=1)[0] if "/" in relative else ""
    stem = relative[: len(relative) - len(_suffix(relative))]
    return InputFile(path, shown(relative), safe_name(stem), safe_name(label))


def _suffix(path: str) -> str:
    """What follows the last dot, with it, where that can be a kind of file and no number."""
    suffix = posixpath.splitext(path)[1].lower()
    return suffix if suffix[1:2].isalpha() else ""


def _others(folder: str, others: Sequence[str]) -> Finding:
    suffixes = (posixpath.splitext(path)[1].lower() for path in others)
    kinds = Counter(suffix or "without a suffix" for suffix in suffixes).most_common()
    counts = [f"{count:,} {shown(kind)}" for kind, count in kinds[:_KINDS]]
    if len(kinds) > _KINDS:
        counts.append(f"{sum(count for _, count in kinds[_KINDS:]):,} others")
    files = "1 file is no picture" if len(others) == 1 else f"{len(others):,} files are no pictures"
    return Finding(
        shown(folder),
        ".",
        "warning",
        f"{files} that can be read ({', '.join(counts)})",
        f"Not used.{_heif_remedy(others)}",
    )


def _heif_remedy(others: Iterable[str]) -> str:
    """What has HEIF read, where there is some and it is not."""
    if reads_heif() or not any(_suffix(path) in _HEIF_SUFFIXES for path in others):
        return ""
    return " HEIC is read after: pip install 'depthmask[heic]'."


def shown(path: str) -> str:
    """`path` as text that can be written anywhere: bytes that are not UTF-8 as ``\\xff``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def safe_name(name: str) -> str:
    """`name` with control characters, and signs that file systems or ids use, percent-encoded.

    In Unicode's composed form (NFC): macOS writes ``é`` as two signs, others as one.
    """
    return "".join(
        sign
        if sign.isprintable() and sign not in _UNSAFE
        else urllib.parse.quote(sign, safe="", errors="surrogateescape")
        for sign in unicodedata.normalize("NFC", name)
    )


def _without_twins(files: Iterable[InputFile]) -> tuple[list[InputFile], list[Finding]]:
    """The files of different names, and a finding for each that repeats one.

    That is an error, but for files of an unusual kind: they may be what the other was made from.
    """
    first: dict[str, InputFile] = {}
    findings = []
    for file in files:
        if file.name not in first:
            first[file.name] = file
        elif _suffix(file.file) in PICTURE_SUFFIXES:
            findings.append(
                file.error(
                    f"has the same name as {first[file.name].file}", "Rename one of the two."
                )
            )
        else:
            findings.append(
                file.warning(f"has the same name as {first[file.name].file}", "Not used.")
            )
    return list(first.values()), findings


def _differing_in_case(files: Iterable[InputFile]) -> list[Finding]:
    """A warning for each name that differs from another in upper and lower case alone."""
    first: dict[str, InputFile] = {}
    findings = []
    for file in files:
        other = first.setdefault(file.name.casefold(), file)
        if other is not file:
            findings.append(
                file.warning(
                    f"has the name of {other.file} but for upper and lower case",
                    "Rename one of the two: exported to macOS or Windows, one file would replace "
                    "the other.",
                )
            )
    return findings


@dataclass(frozen=True)
class FoundInputs:
    """The input files of different names, and what is wrong with the others.

    `masks`, `depths`: by name. Where a folder of masks is given, every foreground here has one, and
    where one of depth is, every background.
    """

    backgrounds: list[InputFile]
    foregrounds: list[InputFile]
    masks: dict[str, InputFile]
    depths: dict[str, InputFile]
    findings: list[Finding]


def find_inputs(folders: InputFolders) -> FoundInputs:
    """Raises UserError where a folder is missing, empty or within another."""
    found = _find_all(folders)
    backgrounds, findings = _without_twins(found["backgrounds"].pictures)
    foregrounds, twins = _without_twins(found["foregrounds"].pictures)
    findings += twins
    for contents in found.values():
        findings += contents.findings
    masks: dict[str, InputFile] = {}
    if folders.masks is not None:
        masks, more = _match_masks(folders, found["masks"].pictures, foregrounds)
        findings += more
        foregrounds = [file for file in foregrounds if file.name in masks]
    depths: dict[str, InputFile] = {}
    if folders.background_depths is not None:
        files = found["background_depths"].pictures
        depths, more = _match_depths(folders.background_depths, files, backgrounds)
        findings += more
        backgrounds = [file for file in backgrounds if file.name in depths]
    for files in (backgrounds, foregrounds):
        findings += _differing_in_case(files)
    return FoundInputs(backgrounds, foregrounds, masks, depths, findings)


def _find_all(folders: InputFolders) -> dict[str, FolderContents]:
    """What is in every folder that is given. Raises UserError of all that are wrong."""
    given = {"backgrounds": folders.backgrounds, "foregrounds": folders.foregrounds}
    if folders.masks is not None:
        given["masks"] = folders.masks
    if folders.background_depths is not None:
        given["background_depths"] = folders.background_depths
    found, problems = {}, []
    for kind, folder in given.items():
        try:
            find = find_depths if kind == "background_depths" else find_pictures
            found[kind] = find(folder)
        except UserError as error:
            problems.append(str(error))
    for (kind, folder), (other, outer) in itertools.permutations(given.items(), 2):
        inside, around = _whole_path(folder), _whole_path(outer)
        # Of two that are the same one line is enough.
        if inside.startswith(around) and (inside != around or kind < other):
            problems.append(
                f"--{kind.replace('_', '-')} {shown(folder)} is "
                f"{'the same as' if inside == around else 'within'} --{other.replace('_', '-')} "
                f"{shown(outer)}: its pictures would be taken for both. Give each a "
                "folder of its own."
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
    folders: InputFolders, files: Sequence[InputFile], foregrounds: Sequence[InputFile]
) -> tuple[dict[str, InputFile], list[Finding]]:
    """The masks by their foreground's name, and what is wrong with masks and foregrounds."""
    masks, findings = _without_twins(files)
    by_name = {mask.name: mask for mask in masks}
    owners: dict[str, InputFile] = {}
    matched: dict[str, InputFile] = {}
    missing = []
    for file in foregrounds:
        name = _mask_name(folders.mask_name, file.name)
        if name not in by_name:
            missing.append(file)
        elif owners.setdefault(name, file) is not file:
            findings.append(
                file.error(
                    f"has the mask of {owners[name].file}: {by_name[name].file}",
                    "Rename one of the two, and its mask.",
                )
            )
        else:
            matched[file.name] = by_name[name]
    if matched and folders.mask_name != SAME_NAME:
        name, mask = next(iter(matched.items()))
        _log.info(
            "%s %s by --mask-name %s, such as %s of %s",
            f"{len(matched):,}",
            "mask is found" if len(matched) == 1 else "masks are found",
            *(folders.mask_name, mask.file, name),
        )
    if unused := [mask for mask in masks if mask.name not in owners]:
        # One for all: some of the foregrounds are often tried first, with the masks of all.
        have = "mask has" if len(unused) == 1 else "masks have"
        findings.append(
            Finding(
                shown(folders.masks or ""),
                ".",
                "warning",
                f"{len(unused):,} {have} no foreground of the same name, such as {unused[0].file}",
                "Not used.",
            )
        )
    called = "of its name" if folders.mask_name == SAME_NAME else f"called {folders.mask_name}"
    better = _likely_pattern(missing, unused)
    findings += [
        file.error(
            f"has no mask {called} in the folder of masks",
            f"{better}Add it, or leave out --masks to take masks from transparency.",
        )
        for file in missing
    ]
    return matched, findings


def _mask_name(pattern: str, name: str) -> str:
    """What the mask of the foreground `name` is called; empty where that ends in no number."""
    folder, slash, stem = name.rpartition("/")
    number = _LAST_NUMBER.search(stem)
    if number is None and "{number}" in pattern:
        return ""
    values = {"name": stem, "number": number[0] if number else ""}
    found = _FIELD.sub(lambda field: values[field[1]], safe_name(pattern))
    return f"{folder}{slash}{found}"


def _likely_pattern(foregrounds: Sequence[InputFile], masks: Sequence[InputFile]) -> str:
    """Advice to name masks by the pattern that would find most of these, if any would."""
    patterns: Counter[str] = Counter()
    stems = [mask.name.rpartition("/")[2] for mask in masks]
    for file in foregrounds[:_LOOKED_AT]:
        name = file.name.rpartition("/")[2]
        number = _LAST_NUMBER.search(name)
        for stem in stems:
            if name in stem:
                patterns[stem.replace(name, "{name}", 1)] += 1
            elif number and re.findall("[0-9]+", stem) == [number[0]]:
                patterns[stem.replace(number[0], "{number}")] += 1
    if not patterns:
        return ""
    (pattern, _), *_ = patterns.most_common(1)
    return f"Is its mask found by --mask-name '{pattern}'? "


def _match_depths(
    folder: str, files: Sequence[InputFile], backgrounds: Sequence[InputFile]
) -> tuple[dict[str, InputFile], list[Finding]]:
    """Depth by name, and what is wrong with it and with the backgrounds that have none."""
    depths, findings = _without_twins(files)
    by_name = {depth.name: depth for depth in depths}
    names = {file.name for file in backgrounds}
    unused = [depth for depth in depths if depth.name not in names]
    if unused:
        findings.append(
            Finding(
                shown(folder),
                ".",
                "warning",
                f"{len(unused):,} of its files have no background of the same name, such as "
                f"{unused[0].file}",
                "Not used.",
            )
        )
    for file in backgrounds:
        if file.name not in by_name:
            findings.append(
                file.error(
                    "has no depth of its name in the folder of depth",
                    "Add it, or leave out --background-depths to estimate depth.",
                )
            )
    return by_name, findings
