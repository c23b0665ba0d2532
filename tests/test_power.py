"""After a power cut: files are empty, or cut, under the names that say that they are whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from depthmask.errors import RunError, UserError
from depthmask.manifest import MANIFEST, PREPARED
from pipeline import graph
from pipeline.inputs.folders import InputFolders
from pipeline.repair import repair
from tests.conftest import ONE_WORKER, file_bytes, make_dataset


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def names(dataset: Path) -> list[str]:
    """Every kind of file of a dataset once."""
    shards = sorted(path.name for path in dataset.glob("depthmask-*"))
    return [*(name for name in file_bytes(dataset) if name not in shards), shards[1]]


@pytest.mark.parametrize("restart", [False, True])
def test_generate_gets_a_finished_dataset_back(
    folders: InputFolders, dataset: Path, tmp_path: Path, restart: bool
):
    copy = tmp_path / "copy"
    for number, name in enumerate(names(dataset)):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(dataset, copy)
        # What its publisher may change has no checksum: only an empty one is none.
        checked = name not in ("README.md", "croissant.json")
        cut(copy / name, 0.5 * (number % 2) if checked else 0)
        make_dataset(folders, copy, restart=restart)
        assert file_bytes(copy) == file_bytes(dataset), name


def test_several_at_once(folders: InputFolders, dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    for path in copy.iterdir():
        cut(path, 0)
    make_dataset(folders, copy)
    assert file_bytes(copy) == file_bytes(dataset)


def test_repair_gets_back_what_the_inputs_and_the_manifest_are_enough_for(
    dataset: Path, tmp_path: Path
):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    for name in names(dataset):
        if name not in (MANIFEST, *PREPARED):
            cut(copy / name, 0)
    repair(str(copy), options=ONE_WORKER)
    assert file_bytes(copy) == file_bytes(dataset)


@pytest.mark.parametrize("name", [MANIFEST, *PREPARED])
def test_repair_says_what_is_lost_and_generate_gets_it_back(
    folders: InputFolders, dataset: Path, tmp_path: Path, name: str
):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    cut(copy / name, 0.5)
    with pytest.raises(UserError, match=f"{name} is .*damaged"):
        repair(str(copy), options=ONE_WORKER)
    make_dataset(folders, copy)
    assert file_bytes(copy) == file_bytes(dataset)


@pytest.mark.parametrize("share", [0, 0.5])
def test_an_unfinished_run_goes_on(
    folders: InputFolders,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
):
    """Whatever it has written is cut; what is left whole is used."""
    output = tmp_path / "made"

    def failing(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(graph, "finish_dataset", failing)
        with pytest.raises(RunError, match="Input/output error"):
            make_dataset(folders, output)
    first = sorted(output.glob("depthmask-*"))[0]
    for path in [*output.glob("*.tfrecord*"), *output.glob("_unfinished/**/*")]:
        if path.is_file() and path != first and first.name not in str(path):
            cut(path, share)
    before = first.stat().st_mtime_ns
    make_dataset(folders, output)
    assert file_bytes(output) == file_bytes(dataset)
    assert first.stat().st_mtime_ns == before


def test_shards_of_another_job_go_where_nobody_knows_any_more_whose_they_were(
    folders: InputFolders, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "made"

    def failing(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(graph, "finish_dataset", failing)
        with pytest.raises(RunError, match="Input/output error"):
            make_dataset(folders, output, "shards.examples=10")
    cut(output / "_unfinished" / "provenance.json", 0)
    make_dataset(folders, output)
    assert file_bytes(output) == file_bytes(dataset)
