"""The output folder of a command: fresh, unfinished or finished, and whose.

All deleting is done here: of files with depthmask's own names alone, and in a folder that is
recognisably depthmask's. `locked` in lock.py is how a command comes to work in a folder.
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
from depthmask.manifest import MANIFEST, PREPARED, is_dataset_file
from transforms.io.files import (
    crc_text,
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
# What a command puts into its work folder itself; the rest is that of `transforms.parts`.
_OWN_WORK = re.compile(
    rf"lock\.json(\.[0-9a-f]{{32}})?|{PROVENANCE}|{SET_ASIDE}|{INPUTS}/({'|'.join(PREPARED)})"
)


class State(enum.Enum):
    """What an output folder holds."""

    FRESH = "nothing"
    UNFINISHED = "an unfinished"
    FINISHED = "a finished"


@dataclass(frozen=True)
class Kind:
    """What a folder is for.

    `last_file` is written last: where it is, the folder is finished. `keys`: of its
    provenance. `remedy`: what to do about a folder that holds another job's work.
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

    Provenance is what decides the bytes of what the folder holds, as JSON has it.
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
        """Looks what is there. Raises UserError for a folder that holds something else."""
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
        """Whether the work folder has provenance, damaged or not.

        Raises UserError where it does not have ours, nor only files with names of our own.
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
                    f"{self.work_path(name)} is none of depthmask's files, and its folder is where "
                    "unfinished work is kept. Move it away, or give a new folder."
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
            f"{path} is damaged, or is none of a depthmask {self.kind.noun}. Move it away, or give "
            "a new folder."
        )

    def read_manifest(self) -> dict[str, Any]:
        """What the last file says of the finished folder."""
        path = self.path(self.kind.last_file)
        with contextlib.suppress(ValueError):
            found = json.loads(read_file(path))
            if isinstance(found, dict) and self._is_provenance(found.get("provenance")):
                return found
        raise self._foreign(path)

    def read_provenance(self, state: State) -> dict[str, Any]:
        """What decides the bytes of the finished or unfinished work in this folder."""
        if state is State.FINISHED:
            return dict(self.read_manifest()["provenance"])
        path = self.work_path(PROVENANCE)
        try:
            return dict(json.loads(read_file(path)))
        except ValueError as error:
            raise UserError(f"{path} is damaged. {self.kind.remedy}") from error

    def refuse_another(self, state: State, provenance: dict[str, Any]) -> None:
        """Raises UserError, naming what differs, where the folder holds another job's work."""
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
        """Raises RuntimeError where other work was begun here meanwhile."""
        if differences(self.read_provenance(State.UNFINISHED), provenance):
            raise RuntimeError(f"{self.output}: another run has been begun here meanwhile")

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
        """Writes a file of the output, which is whole or not there; returns its CRC-32C."""
        return replace_file(self.path(name), unfinished_path(self.work_path(name)), parts)

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """Says what is being made here: until the last file is there, the folder is unfinished."""
        path = self.work_path(PROVENANCE)
        data = json.dumps(provenance, indent=2, ensure_ascii=False).encode()
        replace_file(path, unfinished_path(path), [data])

    # What is deleted

    def delete_all(self) -> None:
        """Deletes a dataset with all that was unfinished of it; the inputs just prepared stay.

        Interrupted, it leaves an unfinished dataset of no job, which only --restart takes up.
        """
        self.write_provenance({})
        delete_files([self.path(MANIFEST)])
        delete_files(self.path(name) for name in filter(is_dataset_file, self._names()))
        self._delete_work(lambda name: name != PROVENANCE and not name.startswith(f"{INPUTS}/"))
        delete_files([self.work_path(PROVENANCE)])

    def delete_partial(self) -> None:
        """Deletes what an interrupted attempt has left half-written."""
        names = frozenset(self._work_names())
        self._delete_work(lambda name: is_half_written(name, names))

    def delete_work_folder(self) -> None:
        """Deletes what no later run needs.

        That is everything where nothing was begun or nothing is left to do, and else the inputs
        that were prepared for a comparison alone.
        """
        if exists(self.work_path(PROVENANCE)) and not exists(self.path(self.kind.last_file)):
            delete_files(self.work_path(f"{INPUTS}/{name}") for name in PREPARED)
        else:
            self._delete_work(lambda name: True)

    def _delete_work(self, wanted: Callable[[str], bool]) -> None:
        """Deletes files of the work folder, but never the lock or a file of another's."""
        delete_files(
            self.work_path(name)
            for name in self._work_names()
            if is_own(name) and not name.startswith(LOCK) and wanted(name)
        )

    def delete_empty_folders(self) -> None:
        """Deletes the work folder where nothing is left in it."""
        if is_local(self.output):
            for folder, _, _ in os.walk(self.work_folder, topdown=False):
                with contextlib.suppress(OSError):  # for one that is not empty
                    os.rmdir(folder)


def is_own(name: str) -> bool:
    """Whether `name`, in the work folder, is that of one of depthmask's files."""
    return bool(_OWN_WORK.fullmatch(name)) or is_work_file(name)


def provenance_checksum(provenance: dict[str, Any]) -> str:
    """A short name for all that decides a job's bytes."""
    return crc_text(google_crc32c.value(json.dumps(provenance, sort_keys=True).encode()))


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """Where two nested dicts differ, as ``key.path: before → now`` lines."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for name in sorted(before.keys() | now.keys())
            for line in differences(
                before.get(name), now.get(name), f"{key}.{name}" if key else name
            )
        ]
    return [] if before == now else [f"{key}: {before} → {now}"]
