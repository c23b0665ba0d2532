"""Kills, signals, full disks, failing file systems: what is finished stays, and a run goes on."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import psutil
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

from depthmask.errors import RunError, UserError
from pipeline.inputs import InputFolders
from tests.conftest import file_bytes, make_dataset
from tests.soak import kill_until_done
from transforms.depth import DepthModel

# About 3,000 examples: two seconds' work, after four of starting.
SETTINGS = ("placements.per_pair=125", "shards.examples=500", "shards.chunk=10")
SCALED = ("canvas.width=48", "canvas.height=40")


def command(folders: InputFolders, output: Path) -> list[str]:
    settings = [part for setting in (*SCALED, *SETTINGS) for part in ("--set", setting)]
    return [
        *(sys.executable, "-m", "pipeline", "generate", "--output", str(output)),
        *("--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds),
        *("--depth-model", "none", *settings),
    ]


@pytest.fixture(scope="module")
def expected(folders: InputFolders, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return file_bytes(
        make_dataset(folders, tmp_path_factory.mktemp("whole") / "dataset", *SETTINGS)
    )


def start(folders: InputFolders, output: Path, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(folders, output),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def wait_for_segments(output: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(output.glob("_unfinished/*/*-n*.json"))) < count:
        assert time.monotonic() < deadline, "no segments came"
        time.sleep(0.02)


def test_killed_again_and_again_it_ends_with_the_same_bytes(
    folders: InputFolders, expected: dict[str, bytes], tmp_path: Path
):
    output = tmp_path / "made"
    process = start(folders, output)
    wait_for_segments(output, 5)  # so that there is something to go on with, on any machine
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = kill_until_done(
        command(folders, output), output, random.Random(4), at_least=2, seconds=(3.0, 6.0)
    )
    assert done.total == 2 and done.resumed >= 1
    assert file_bytes(output) == expected


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_promptly_and_cleanly(
    folders: InputFolders, expected: dict[str, bytes], tmp_path: Path, sign: signal.Signals
):
    output = tmp_path / "made"
    process = start(folders, output)
    wait_for_segments(output, 5)
    process.send_signal(sign)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped. Run the same command again" in text and "Traceback" not in text
    assert not (output / "_unfinished" / "lock.json").exists()
    assert not (output / "manifest.json").exists()
    subprocess.run(command(folders, output), check=True, capture_output=True)
    assert file_bytes(output) == expected


def test_a_worker_that_is_killed_ends_the_run_with_the_cause(
    folders: InputFolders, expected: dict[str, bytes], tmp_path: Path
):
    output = tmp_path / "made"
    process = start(folders, output)
    wait_for_segments(output, 5)
    workers = [
        child.pid
        for child in psutil.Process(process.pid).children(recursive=True)
        if any("processes/worker.py" in argument for argument in child.cmdline())
    ]
    os.kill(workers[-1], signal.SIGKILL)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the run failed: a worker process ended unexpectedly" in text
    assert "Traceback" not in text
    subprocess.run(command(folders, output), check=True, capture_output=True)
    assert file_bytes(output) == expected


def test_a_full_disk_ends_the_run_with_the_cause(
    folders: InputFolders, expected: dict[str, bytes], tmp_path: Path
):
    """Files may grow to 300 kB: segments fit, shards do not."""
    output = tmp_path / "made"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    process = start(folders, output, preexec_fn=limit)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the run failed: OSError: [Errno 27] File too large" in text
    assert "Traceback" not in text
    assert not list(output.glob("depthmask-*"))
    subprocess.run(command(folders, output), check=True, capture_output=True)
    assert file_bytes(output) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said(folders: InputFolders, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="Permission denied"):
        make_dataset(folders, tmp_path / "made")


class FaultyFileSystem(LocalFileSystem):
    """``faulty:///path``: local files, and one operation in so many fails."""

    random = random.Random(0)
    rate = 0.0
    faults = 0

    @classmethod
    def scheme(cls) -> str:
        return "faulty"

    @staticmethod
    def _local(path: str) -> str:
        return path.removeprefix("faulty://")

    def _fail(self, name: str) -> None:
        cls = type(self)
        if cls.random.random() < cls.rate:
            cls.faults += 1
            raise OSError(errno.EIO, f"injected: {name}")

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def create(self, path, mime_type="", compression_type="") -> io.RawIOBase:
        self._fail("create")
        file = super().create(self._local(path), mime_type, compression_type)
        return FaultyWriter(file, self)

    def open(self, path, mime_type="", compression_type="") -> io.RawIOBase:
        self._fail("open")
        return super().open(self._local(path), mime_type, compression_type)

    def exists(self, path) -> bool:
        return super().exists(self._local(path))

    def rename(self, source_file_names, destination_file_names) -> None:
        self._fail("rename")
        super().rename(
            list(map(self._local, source_file_names)),
            list(map(self._local, destination_file_names)),
        )

    def _list(self, dir_or_prefix) -> Iterator[FileMetadata]:
        self._fail("list")
        for found in super()._list(self._local(dir_or_prefix)):
            yield FileMetadata(f"faulty://{found.path}", found.size_in_bytes)

    def delete(self, paths) -> None:
        self._fail("delete")
        for path in map(self._local, paths):
            if not os.path.exists(path):
                raise BeamIOError("no such file", {path: None})
            os.remove(path)


class FaultyWriter:
    """A file whose writes may fail halfway, as those of a remote file system do."""

    def __init__(self, file, system: FaultyFileSystem) -> None:
        self._file = file
        self._system = system

    def write(self, data: bytes) -> int:
        try:
            self._system._fail("write")
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_failing_file_system_loses_nothing(
    folders: InputFolders, dataset: Path, tmp_path: Path, monkeypatch, seed: int
):
    monkeypatch.setattr(FaultyFileSystem, "rate", 0.03)
    monkeypatch.setattr(FaultyFileSystem, "random", random.Random(seed))
    monkeypatch.setattr(FaultyFileSystem, "faults", 0)
    monkeypatch.setattr("pipeline.run.lock._SETTLE_SECONDS", 0)
    monkeypatch.setattr("pipeline.run.lock.DEAD_SECONDS", 1)  # a lock that could not be deleted
    output = tmp_path / "made"
    for _ in range(100):
        try:
            make_dataset(folders, f"faulty://{output}")
            break
        except (RunError, UserError, OSError) as error:
            assert "injected" in str(error) and "\n" not in str(error)
    assert FaultyFileSystem.faults >= 3
    shutil.rmtree(output / "_unfinished", ignore_errors=True)  # its folders: here they are real
    assert file_bytes(output) == file_bytes(dataset)


def test_a_model_that_fails_once_costs_one_run(folders: InputFolders, tmp_path: Path, monkeypatch):
    picture = keras.Input((None, None, 3))
    depth = keras.layers.Conv2D(1, 2, strides=2, activation="softplus")(picture)
    model = tmp_path / "model.keras"
    keras.Model(picture, depth).save(model)
    whole = make_dataset(folders, tmp_path / "whole", depth_model=f"keras:{model}")
    calls = []
    original = DepthModel.predict

    def failing(self, images):
        calls.append(len(images))
        if len(calls) == 5:
            raise RuntimeError("the model has had enough")
        return original(self, images)

    monkeypatch.setattr(DepthModel, "predict", failing)
    with pytest.raises(RunError, match="the model has had enough"):
        make_dataset(folders, tmp_path / "made", depth_model=f"keras:{model}")
    make_dataset(folders, tmp_path / "made", depth_model=f"keras:{model}")
    assert len(calls) == 13 + 1
    assert file_bytes(tmp_path / "made") == file_bytes(whole)
