"""A run that stands still (Ctrl-Z, a sleeping machine) while another takes its folder over."""

from __future__ import annotations

import builtins
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depthmask.errors import RunError, UserError
from pipeline.inputs.folders import InputFolders
from pipeline.repair import repair
from pipeline.run import lock
from tests.conftest import ONE_WORKER, file_bytes, make_dataset
from tests.sessions import Session
from tests.test_signals import check_failed, generating
from transforms.io import files

# Of a run's some hundred changes to files, every so manieth is where it stands still.
STEP = int(os.environ.get("TAKEOVER_STEP", "23"))


class StandStill:
    """Runs `other`, on another thread, when the main thread is about to change a file.

    Before its change number `at`, from 0; `changes` counts them.
    """

    def __init__(self, at: int, other: Callable[[], object]) -> None:
        self._at = at
        self._other = other
        self._main = threading.current_thread()
        self.changes = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "remove"):
                patch.setattr(os, name, self._wrap(getattr(os, name)))
            patch.setattr(files, "open", self._open, raising=False)
            yield

    def _wrap(self, function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments, **options):
            self._count()
            return function(*arguments, **options)

        return wrapped

    def _open(self, path, mode="r", *arguments, **options):
        if "w" in mode:
            self._count()
        return builtins.open(path, mode, *arguments, **options)

    def _count(self) -> None:
        if threading.current_thread() is not self._main:
            return
        self.changes += 1
        if self.changes == self._at + 1:
            thread = threading.Thread(target=self._other)
            thread.start()
            thread.join()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is taken for dead at once."""
    monkeypatch.setattr(lock, "DEAD_SECONDS", 0)
    monkeypatch.setattr(lock, "_SETTLE_SECONDS", 0)


@pytest.fixture(scope="module")
def anew(folders: InputFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with another seed: its files have the same names."""
    return make_dataset(folders, tmp_path_factory.mktemp("anew") / "dataset", "seed=3")


def stand_still_everywhere(
    prepare: Callable[[], object], run: Callable[[], object], other: Callable[[], object]
) -> Iterator[None]:
    """Lets `run` stand still here and there while `other` runs; yields each time it has ended."""
    at = 0
    while True:
        prepare()
        still = StandStill(at, other)
        with still.installed(), contextlib.suppress(RunError, UserError):
            run()
        if still.changes <= at:
            return
        yield
        at += STEP


@pytest.mark.parametrize("restart", [False, True])
def test_a_run_that_stood_still_harms_nothing(
    folders: InputFolders, dataset: Path, anew: Path, tmp_path: Path, restart: bool
):
    output, expected = tmp_path / "made", file_bytes(anew if restart else dataset)

    def other() -> None:
        settings = ("seed=3",) if restart else ()
        make_dataset(folders, output, *settings, restart=restart)

    for _ in stand_still_everywhere(
        prepare=lambda: shutil.rmtree(output, ignore_errors=True),
        run=lambda: make_dataset(folders, output),
        other=other,
    ):
        assert file_bytes(output) == expected


def test_a_restart_that_stood_still_harms_nothing(
    folders: InputFolders, dataset: Path, anew: Path, tmp_path: Path
):
    output, expected = tmp_path / "made", file_bytes(anew)

    def prepare() -> None:
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(dataset, output)

    for _ in stand_still_everywhere(
        prepare,
        run=lambda: make_dataset(folders, output, restart=True),
        other=lambda: make_dataset(folders, output, "seed=3", restart=True),
    ):
        assert file_bytes(output) == expected


def test_a_repair_that_stood_still_harms_nothing(dataset: Path, tmp_path: Path):
    output, expected = tmp_path / "made", file_bytes(dataset)

    def prepare() -> None:
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(dataset, output)
        next(output.glob("depthmask-train*")).unlink()

    for _ in stand_still_everywhere(
        prepare,
        run=lambda: repair(str(output), options=ONE_WORKER),
        other=lambda: repair(str(output), options=ONE_WORKER),
    ):
        assert file_bytes(output) == expected


HASTY = """
from pipeline.run import lock
lock.DEAD_SECONDS, lock.BEAT_SECONDS = 1.0, 0.3
from pipeline.__main__ import run
run()
"""


def test_a_command_that_is_continued_says_that_it_has_lost_its_folder(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    output = tmp_path / "made"
    command = [sys.executable, "-c", HASTY, *generating(folders, output)[3:]]
    with Session(command) as stopped:
        stopped.wait_until(lambda _: list(output.glob("_unfinished/provenance.json")))
        stopped.signal_all(signal.SIGSTOP)
        with Session(command) as other:
            assert other.wait(120).code == 0, other.text()
        stopped.signal_all(signal.SIGCONT)
        check_failed(stopped.wait(), "the run failed: another run is at work in")
    assert file_bytes(output) == file_bytes(dataset)
