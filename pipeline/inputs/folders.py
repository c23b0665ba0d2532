"""Which picture files there are, and which mask belongs to which foreground."""

from __future__ import annotations

import dataclasses
import itertools
import os
import posixpath
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from depthmask.errors import UserError
from pipeline.inputs.findings import Finding
from transforms.io.files import is_local, list_files

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Signs that some file system or the ids below give a meaning of their own.
_UNSAFE = '%+\\:*?"<>|'


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


@dataclass(frozen=True)
class InputFolders:
    """Where the user's pictures are. Any path that Beam's file systems know."""

    backgrounds: str
    foregrounds: str
    masks: str | None = None


def linked_folders(folder: str) -> list[Finding]:
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
        links = "".join(f"\n{link}" for link in linked_folders(folder)[:1])
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


def without_twins(files: Iterable[InputFile]) -> tuple[list[InputFile], list[Finding]]:
    """The files of different names, and an error for each that repeats one."""
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


def find_all(folders: InputFolders) -> dict[str, list[InputFile]]:
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


def match_masks(
    folder: str, files: Sequence[InputFile], foregrounds: Sequence[InputFile]
) -> tuple[dict[str, InputFile], list[Finding]]:
    """The masks by name, and what is wrong with them and with the foregrounds that have none."""
    masks, findings = without_twins(files)
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
