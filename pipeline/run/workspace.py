"""The output folder of a command: whether it is fresh, unfinished or finished, and whose it is.

Everything that is deleted is deleted here: only files with names of depthmask's own, and only in a
folder that is recognisably depthmask's. A command works in a folder within `lock.locked`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import json
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthmask.errors import UserError
from depthmask.former import as_present
from depthmask.manifest import (
    BACKGROUND_DEPTHS,
    MANIFEST,
    PREPARED,
    PUBLICATION,
    is_dataset_file,
    parse_shard_name,
)
from depthmask.parsing import parse_json
from transforms.io.files import (
    delete_files,
    exists,
    is_local,
    join,
    list_files,
    list_names,
    read_file,
    rename_file,
    sync_files,
    write_file,
)
from transforms.parts import (
    PROVENANCE,
    check_unchanged,
    is_half_written,
    is_work_file,
    provenance_checksum,
    unfinished_path,
)

WORK_FOLDER = "_unfinished"
LOCK = "lock.json"
# The manifest of a dataset that is being repaired.
SET_ASIDE = "manifest-set-aside.json"
# Inputs that a run is preparing, in a folder of its own.
_PREPARED = "|".join(map(re.escape, (*PREPARED, BACKGROUND_DEPTHS)))
_INPUTS = re.compile(rf"inputs-[0-9a-f]{{12}}/({_PREPARED})")
# Names of all files in a work folder that are not those of `transforms.parts`.
_OWN_WORK = re.compile(
    rf"{re.escape(LOCK)}(\.[0-9a-f]{{32}})?|{PROVENANCE}|{SET_ASIDE}|{_INPUTS.pattern}"
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


def _unchecked() -> None:
    """Of a workspace in which only looking is done."""


@dataclass(frozen=True)
class Workspace:
    """The output folder of a command, on any file system that Beam knows.

    Its provenance is what decides the bytes of its files, as JSON. `check` is called before
    anything gets its final name, and before anything is deleted; it raises where the folder has
    become another run's.

    What a run has ready to be renamed, the next that takes the folder over deletes first
    (`delete_partial`). So a run that stood still meanwhile finds either that, or by `check` that it
    has lost the folder, wherever it goes on.
    """

    output: str
    kind: Kind = DATASET
    check: Callable[[], None] = field(default=_unchecked, repr=False, compare=False)

    def of_run(self, provenance: dict[str, Any]) -> Workspace:
        """Returns it as the workers of a run have it: theirs until another run is begun there."""
        run = provenance_checksum(provenance)
        check = functools.partial(check_unchanged, self.work_folder, run)
        return dataclasses.replace(self, check=check)

    def path(self, name: str) -> str:
        return join(self.output, name)

    @property
    def work_folder(self) -> str:
        return self.path(WORK_FOLDER)

    def work_path(self, name: str) -> str:
        return join(self.work_folder, name)

    def new_inputs_folder(self) -> str:
        """Where a run prepares its inputs."""
        return self.work_path(f"inputs-{uuid.uuid4().hex[:12]}")

    # What is there

    def state(self) -> State:
        """Returns what the folder holds. Raises UserError where that is not depthmask's."""
        names = self._names()
        cut = self._is_cut(names)
        finished = self.kind.last_file in names and not cut
        if finished:
            self.read_provenance(State.FINISHED)
        begun = (WORK_FOLDER in names and self._is_begun()) or cut
        if finished or begun:
            return State.FINISHED if finished else State.UNFINISHED
        if others := sorted(names - {WORK_FOLDER, PUBLICATION}):
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

    def _is_cut(self, names: set[str]) -> bool:
        """Whether a power cut has left nothing, or a part, of a dataset's manifest."""
        if not {self.kind.last_file, *PREPARED} <= names:
            return False
        try:
            parse_json(read_file(self.path(self.kind.last_file)))
        except ValueError:
            return True
        return False

    def _is_begun(self) -> bool:
        """Returns whether the work folder says what was begun in it, damaged or not.

        Raises UserError where it is somebody else's: it has neither provenance of this kind, nor
        only files with names of our own.
        """
        path = self.work_path(PROVENANCE)
        begun = exists(path)
        with contextlib.suppress(OSError, ValueError):
            found = parse_json(read_file(path))
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
            found = parse_json(read_file(path))
            if self.kind is DATASET:
                found = as_present(found)
            if isinstance(found, dict) and self._is_provenance(found.get("provenance")):
                return found
        raise self._foreign(path)

    def read_provenance(self, state: State) -> dict[str, Any] | None:
        """Returns the provenance of what is finished or unfinished in the folder.

        None where it is lost, as it may be after a power cut.
        """
        if state is State.FINISHED:
            return dict(self.read_manifest()["provenance"])
        try:
            return dict(parse_json(read_file(self.work_path(PROVENANCE))))
        except (FileNotFoundError, ValueError):
            return None

    def refuse_another(self, state: State, provenance: dict[str, Any]) -> None:
        """Raises UserError, naming what differs, where another job's work is in the folder."""
        found = self.read_provenance(state)
        if found is None:
            raise UserError(f"{self.work_path(PROVENANCE)} is damaged. {self.kind.remedy}")
        lines = differences(found, provenance)
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

    def place(self, path: str, name: str) -> None:
        """Gives a file of the work folder its name in the output, where a power cut leaves it."""
        self._rename(path, self.path(name))

    def write(self, name: str, parts: Iterable[bytes]) -> int:
        """Writes an output file, renamed into place when it is whole; returns its CRC-32C."""
        return self._write(self.path(name), self.work_path(name), parts)

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """Makes the folder an unfinished one of this provenance."""
        path = self.work_path(PROVENANCE)
        self._write(path, path, [json.dumps(provenance, indent=2, ensure_ascii=False).encode()])

    def set_aside(self) -> None:
        """Makes a finished dataset an unfinished one."""
        self._rename(self.path(MANIFEST), self.work_path(SET_ASIDE))

    def _write(self, path: str, stem: str, parts: Iterable[bytes]) -> int:
        part = unfinished_path(stem)
        crc = write_file(part, parts)
        self._rename(part, path)
        return crc

    def _rename(self, path: str, new_path: str) -> None:
        sync_files([path])
        self.check()
        rename_file(path, new_path)
        sync_files([new_path])

    # What is deleted

    def delete_all(self, inputs: str) -> None:
        """Deletes a dataset, finished or not, but not the inputs that were just prepared.

        If interrupted, it leaves an unfinished dataset of no job, which only --restart accepts.
        """
        kept = inputs.removeprefix(join(self.work_folder, ""))
        self.write_provenance({})
        self._delete([self.path(MANIFEST)])
        self._delete(self.path(name) for name in filter(is_dataset_file, self._names()))
        self._delete_work(lambda name: name != PROVENANCE and not name.startswith(f"{kept}/"))
        self._delete([self.work_path(PROVENANCE)])

    def delete_others(self, shards: Collection[str]) -> None:
        """Deletes shards that are none of these, and what a power cut has left of a manifest."""
        self._delete(
            self.path(name)
            for name in self._names()
            if name == MANIFEST or (parse_shard_name(name) and name not in shards)
        )

    def delete_partial(self) -> None:
        """Deletes what an interrupted attempt has left half-written, or ready to be renamed."""
        names = frozenset(self._work_names())
        self._delete_work(lambda name: is_half_written(name, names) or bool(_INPUTS.match(name)))

    def delete_work_folder(self) -> None:
        """Deletes what no later run needs of the work folder, but not the lock.

        Of unfinished work, that is only the inputs, which each run prepares anew.
        """
        if exists(self.work_path(PROVENANCE)) and not exists(self.path(self.kind.last_file)):
            self._delete_work(lambda name: bool(_INPUTS.match(name)))
        else:
            self._delete([self.work_path(PROVENANCE)])
            self._delete_work(lambda name: True)

    def _delete_work(self, wanted: Callable[[str], bool]) -> None:
        """Deletes wanted files of the work folder, but never the lock, nor somebody else's."""
        self._delete(
            self.work_path(name)
            for name in self._work_names()
            if is_own(name) and not name.startswith(LOCK) and wanted(name)
        )

    def _delete(self, paths: Iterable[str]) -> None:
        if is_local(self.output):
            for path in paths:
                self.check()
                delete_files([path])
        else:
            self.check()
            delete_files(paths)

    def delete_empty_folders(self) -> None:
        """Deletes the work folder if it has no more files."""
        if is_local(self.output):
            for folder, _, _ in os.walk(self.work_folder, topdown=False):
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(folder)


def is_own(name: str) -> bool:
    """Returns whether depthmask writes files of this `name`, relative to the work folder."""
    return bool(_OWN_WORK.fullmatch(name)) or is_work_file(name)


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
