"""The output folder of a command: whether it is fresh, unfinished or finished, and whose it is.

Everything that is deleted is deleted here: only files with names of depthmask's own, and only in a
folder that is recognisably depthmask's. A command works in a folder within `lock.locked`.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c

from depthmask.errors import UserError
from depthmask.manifest import MANIFEST, PREPARED, crc_text, is_dataset_file
from transforms.io.files import (
    delete_files,
    exists,
    is_local,
    join,
    list_files,
    list_names,
    read_file,
    replace_file,
)
from transforms.parts import is_half_written, is_work_file, unfinished_path

WORK_FOLDER = "_unfinished"
INPUTS = "inputs"
LOCK = "lock.json"
PROVENANCE = "provenance.json"
# The manifest of a dataset that is being repaired.
SET_ASIDE = "manifest-set-aside.json"
# Names of all files in a work folder that are not those of `transforms.parts`.
_OWN_WORK = re.compile(
    rf"lock\.json(\.[0-9a-f]{{32}})?|{PROVENANCE}|{SET_ASIDE}|{INPUTS}/({'|'.join(PREPARED)})"
)


class State(enum.Enum):
    """What an output folder holds; the values are for messages."""

    FRESH = "nothing"
    UNFINISHED = "an unfinished"
    FINISHED = "a finished"


@dataclass(frozen=True)
class Kind:
    """What a folder is for.

    `last_file` is written last: a folder that has it is finished. `keys`: some that its provenance
    has. `remedy`: what to do about a folder that holds another job's work.
    """

    noun: str
    last_file: str
    keys: frozenset[str]
    remedy: str


DATASET = Kind(
    "dataset",
    MANIFEST,
    frozenset({"recipe", "inputs", "depth_model"}),
    "Give another --output, or begin anew by --restart, which deletes what is there.",
)
EXPORT = Kind("export", "export.json", frozenset({"layout", "dataset"}), "Give a new folder.")


@dataclass(frozen=True)
class Workspace:
    """The output folder of a command, on any file system that Beam knows.

    Its provenance is what decides the bytes of its files, as JSON.
    """

    output: str
    kind: Kind = DATASET

    def path(self, name: str) -> str:
        return join(self.output, name)

    @property
    def work_folder(self) -> str:
        return self.path(WORK_FOLDER)

    def work_path(self, name: str) -> str:
        return join(self.work_folder, name)

    # What is there

    def state(self) -> State:
        """Returns what the folder holds. Raises UserError where that is not depthmask's."""
        names = self._names()
        finished = self.kind.last_file in names
        if finished:
            self.read_provenance(State.FINISHED)
        begun = WORK_FOLDER in names and self._is_begun()
        if finished or begun:
            return State.FINISHED if finished else State.UNFINISHED
        if others := sorted(names - {WORK_FOLDER}):
            shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            raise UserError(
                f"{self.output} is not empty (it holds {shown}). Give a new folder, or empty this "
                "one first."
            )
        return State.FRESH

    def _names(self) -> set[str]:
        """Names of the files and folders in the output folder."""
        if is_local(self.output):
            for path in (Path(self.output), *Path(self.output).parents):
                if path.is_file():
                    raise UserError(f"{path} is a file. Give a new folder.")
        try:
            return list_names(self.output)
        except OSError as error:
            raise UserError(f"{self.output}: cannot be read: {error}") from error

    def _is_begun(self) -> bool:
        """Returns whether the work folder says what was begun in it, damaged or not.

        Raises UserError where it is somebody else's: it has neither provenance of this kind, nor
        only files with names of our own.
        """
        path = self.work_path(PROVENANCE)
        begun = exists(path)
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(read_file(path))
            if found == {} or self._is_provenance(found):
                return True
            raise self._foreign(path)
        for name in self._work_names():
            if not (is_own(name) or name.rsplit("/", 1)[-1].startswith(".")):
                raise UserError(
                    f"{self.work_path(name)} is not a file of depthmask's, but in the folder for "
                    "its unfinished work. Move it away, or give a new folder."
                )
        return begun

    def _work_names(self) -> list[str]:
        """Names of all files in the work folder and below it."""
        root = len(join(self.work_folder, ""))
        return [file.path[root:].lstrip("/") for file in list_files(self.work_folder)]

    def _is_provenance(self, found: Any) -> bool:
        return isinstance(found, dict) and self.kind.keys <= found.keys()

    def _foreign(self, path: str) -> UserError:
        return UserError(
            f"{path} is damaged, or not of a depthmask {self.kind.noun}. Move it away, or give a "
            "new folder."
        )

    def read_manifest(self) -> dict[str, Any]:
        """Returns what the last file says of a finished folder."""
        path = self.path(self.kind.last_file)
        with contextlib.suppress(ValueError):
            found = json.loads(read_file(path))
            if isinstance(found, dict) and self._is_provenance(found.get("provenance")):
                return found
        raise self._foreign(path)

    def read_provenance(self, state: State) -> dict[str, Any]:
        """Returns the provenance of what is finished or unfinished in the folder."""
        if state is State.FINISHED:
            return dict(self.read_manifest()["provenance"])
        path = self.work_path(PROVENANCE)
        try:
            return dict(json.loads(read_file(path)))
        except ValueError as error:
            raise UserError(f"{path} is damaged. {self.kind.remedy}") from error

    def refuse_another(self, state: State, provenance: dict[str, Any]) -> None:
        """Raises UserError, naming what differs, where another job's work is in the folder."""
        lines = differences(self.read_provenance(state), provenance)
        if not lines:
            return
        listing = "\n".join(
            f"  {line} (pictures were added, taken away or changed)"
            if line.startswith("inputs.")
            else f"  {line}"
            for line in lines
        )
        raise UserError(
            f"{self.output} holds {state.value} {self.kind.noun} of another job. What differs:\n"
            f"{listing}\n{self.kind.remedy}"
        )

    def check_unchanged(self, provenance: dict[str, Any]) -> None:
        """Raises RuntimeError where another job has been started in the folder meanwhile."""
        if differences(self.read_provenance(State.UNFINISHED), provenance):
            raise RuntimeError(f"{self.output}: another run has been started here meanwhile")

    def sizes(self) -> dict[str, int]:
        """Bytes of each file in the output folder, by name."""
        return {
            file.name: file.bytes
            for file in list_files(self.output)
            if file.path == self.path(file.name)
        }

    def total_bytes(self) -> int:
        """Bytes of all files in the output folder and below it."""
        return sum(file.bytes for file in list_files(self.output))

    # What is written

    def write(self, name: str, parts: Iterable[bytes]) -> int:
        """Writes an output file, renamed into place when it is whole; returns its CRC-32C."""
        return replace_file(self.path(name), unfinished_path(self.work_path(name)), parts)

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """Makes the folder an unfinished one of this provenance."""
        path = self.work_path(PROVENANCE)
        data = json.dumps(provenance, indent=2, ensure_ascii=False).encode()
        replace_file(path, unfinished_path(path), [data])

    # What is deleted

    def delete_all(self) -> None:
        """Deletes a dataset, finished or not, but not the inputs that were just prepared.

        If interrupted, it leaves an unfinished dataset of no job, which only --restart accepts.
        """
        self.write_provenance({})
        delete_files([self.path(MANIFEST)])
        delete_files(self.path(name) for name in filter(is_dataset_file, self._names()))
        self._delete_work(lambda name: name != PROVENANCE and not name.startswith(f"{INPUTS}/"))
        delete_files([self.work_path(PROVENANCE)])

    def delete_partial(self) -> None:
        """Deletes what interrupted attempts have left half-written."""
        names = frozenset(self._work_names())
        self._delete_work(lambda name: is_half_written(name, names))

    def delete_work_folder(self) -> None:
        """Deletes what no later run needs of the work folder, but not the lock.

        Of unfinished work, that is only the inputs, which each run prepares anew.
        """
        if exists(self.work_path(PROVENANCE)) and not exists(self.path(self.kind.last_file)):
            delete_files(self.work_path(f"{INPUTS}/{name}") for name in PREPARED)
        else:
            self._delete_work(lambda name: True)

    def _delete_work(self, wanted: Callable[[str], bool]) -> None:
        """Deletes wanted files of the work folder, but never the lock, nor somebody else's."""
        delete_files(
            self.work_path(name)
            for name in self._work_names()
            if is_own(name) and not name.startswith(LOCK) and wanted(name)
        )

    def delete_empty_folders(self) -> None:
        """Deletes the work folder if it has no more files."""
        if is_local(self.output):
            for folder, _, _ in os.walk(self.work_folder, topdown=False):
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(folder)


def is_own(name: str) -> bool:
    """Returns whether depthmask writes files of this `name`, relative to the work folder."""
    return bool(_OWN_WORK.fullmatch(name)) or is_work_file(name)


def provenance_checksum(provenance: dict[str, Any]) -> str:
    """Returns eight hexadecimal digits that stand for a provenance."""
    return crc_text(google_crc32c.value(json.dumps(provenance, sort_keys=True).encode()))


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """Returns where two nested dicts differ, as lines ``key.path: before → now``."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for name in sorted(before.keys() | now.keys())
            for line in differences(
                before.get(name), now.get(name), f"{key}.{name}" if key else name
            )
        ]
    return [] if before == now else [f"{key}: {before} → {now}"]
