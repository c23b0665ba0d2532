"""The output folder of a run: fresh, unfinished or finished, and whose."""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthmask.errors import UserError
from depthmask.manifest import MANIFEST, PREPARED, is_dataset_file, is_manifest
from transforms.io.files import (
    delete_files,
    delete_folder,
    exists,
    is_local,
    join,
    list_files,
    list_names,
    read_file,
    replace_file,
)

WORK_FOLDER = "_unfinished"
INPUTS = "inputs"
LOCK = "lock.json"
RUN = "run.json"
# All that a run puts into its work folder.
_OUR_WORK = re.compile(r"(lock|run)\.json|inputs/|[0-9a-f]{8}-\w+-\d{5,}/|[^/]+\.part$")


class State(enum.Enum):
    """What an output folder holds."""

    FRESH = "nothing"
    UNFINISHED = "an unfinished run"
    FINISHED = "a finished dataset"


@dataclass(frozen=True)
class Workspace:
    """An output folder. Any path that Beam's file systems know."""

    output: str

    def path(self, name: str) -> str:
        return join(self.output, name)

    @property
    def work_folder(self) -> str:
        return self.path(WORK_FOLDER)

    def work_path(self, name: str) -> str:
        return join(self.work_folder, name)

    def state(self) -> State:
        """Looks what is there. Raises UserError for a folder of something else."""
        names = self._names()
        if MANIFEST in names and self._holds_our_manifest():
            return State.FINISHED
        ours = WORK_FOLDER in names and MANIFEST not in names and self._is_our_run(names)
        if not names or ours:
            return State.UNFINISHED if self._run_file_exists() else State.FRESH
        shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
        raise UserError(
            f"{self.output} is not empty (it holds {shown}). Give a new folder as --output, or "
            "empty this one first."
        )

    def _holds_our_manifest(self) -> bool:
        try:
            return is_manifest(read_file(self.path(MANIFEST)))
        except OSError as error:
            raise UserError(f"{self.path(MANIFEST)}: cannot be read: {error}") from error

    def _is_our_run(self, names: set[str]) -> bool:
        """Whether all that is there can be an unfinished run's."""
        if self._run_file_exists():
            return True
        root = len(join(self.work_folder, ""))
        work = {file.path[root:].lstrip("/") for file in list_files(self.work_folder)}
        return all(name == WORK_FOLDER or is_dataset_file(name) for name in names) and all(
            map(_OUR_WORK.match, work)
        )

    def _names(self) -> set[str]:
        """Names of the files and folders in the output folder."""
        if is_local(self.output):
            for path in (Path(self.output), *Path(self.output).parents):
                if path.is_file():
                    raise UserError(f"{path} is a file. Give a new folder as --output.")
        try:
            return list_names(self.output)
        except OSError as error:
            raise UserError(f"{self.output}: cannot be read: {error}") from error

    def _run_file_exists(self) -> bool:
        return exists(self.work_path(RUN))

    def read_run(self) -> dict[str, Any]:
        """What the unfinished run in this folder is of, as `write_run` stored it."""
        try:
            run: dict[str, Any] = json.loads(read_file(self.work_path(RUN)))
        except ValueError as error:
            raise UserError(
                f"{self.output}: the unfinished run's run.json is damaged. Begin anew by --restart."
            ) from error
        return run

    def write_run(self, run: dict[str, Any]) -> None:
        data = json.dumps(run, indent=2, ensure_ascii=False).encode()
        replace_file(self.work_path(RUN), self.work_path(f"{RUN}.part"), [data])

    def clear(self) -> None:
        """Deletes everything that a run has put into the folder, and nothing else.

        Interrupted, it leaves an unfinished run of no job, which only --restart takes up. The lock
        stays; whoever holds it is calling.
        """
        self.write_run({})
        delete_files([self.path(MANIFEST)])
        delete_files(self.path(name) for name in filter(is_dataset_file, self._names()))
        delete_files(
            file.path
            for file in list_files(self.work_folder)
            if file.name not in (RUN, *PREPARED) and not file.name.startswith(LOCK)
        )
        delete_files([self.work_path(RUN)])

    def sweep(self) -> None:
        """Deletes what an interrupted run left half-written: parts, and records undescribed."""
        paths = {file.path for file in list_files(self.work_folder)}
        delete_files(
            path
            for path in paths
            if path.endswith(".part")
            or (
                path.endswith(".tfrecord")
                and f"{path.removesuffix('.tfrecord')}.json" not in paths
                and not path.startswith(self.work_path(INPUTS))
            )
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

    def tidy(self) -> None:
        """Deletes what no later run needs.

        That is the work folder where nothing was begun or nothing is left to do, and else the
        inputs that were prepared for a comparison alone.
        """
        if self._run_file_exists() and not exists(self.path(MANIFEST)):
            delete_folder(self.work_path(INPUTS))
            return
        delete_folder(self.work_folder)


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
