"""Whose a folder is: what is not depthmask's is never touched, and what is, is cleaned up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from depthmask.errors import UserError
from pipeline.export import export_dataset
from pipeline.inputs import InputFolders
from pipeline.repair import repair
from pipeline.run import EXPORT, State, Workspace, locked
from tests.conftest import ONE_WORKER, file_bytes, make_dataset

Command = Callable[[Path], object]
# Folders of somebody else's, some with names in them that depthmask uses too.
THEIRS = [
    {"manifest.json": '{"name": "an app"}'},
    {"manifest.json": '{"name": "an app"}', "_unfinished/lock.json": "{}"},
    {"manifest.json": '["not", "even", "that"]', "_unfinished/chapter.tex": "mine"},
    {"manifest.json": "not JSON", "index.csv": "mine", "README.md": "mine"},
    {"export.json": '{"layout": 3}', "manifest.json": "{}", "_unfinished/novel.part": "mine"},
    {"_unfinished/chapter.tex": "mine"},
    {"_unfinished/provenance.json": '{"name": "an app"}'},
    {"_unfinished/provenance.json": '{"recipe": {}, "layout": ""}', "_unfinished/5d1c/x": "mine"},
    {"_unfinished/manifest.json": '{"name": "an app"}'},
    {"README.md": "mine", "_unfinished/lock.json": "{}"},
]


@pytest.fixture(params=["generate", "restart", "repair", "export"])
def command(request: pytest.FixtureRequest, folders: InputFolders, dataset: Path) -> Command:
    """A command that may delete something in the folder that it is given."""
    commands: dict[str, Command] = {
        "generate": lambda output: make_dataset(folders, output),
        "restart": lambda output: make_dataset(folders, output, restart=True),
        "repair": lambda output: repair(output, None, ONE_WORKER),
        "export": lambda output: export_dataset(dataset, output, "folder", ONE_WORKER),
    }
    return commands[request.param]


@pytest.mark.parametrize("files", THEIRS)
def test_what_is_somebody_elses_is_never_touched(
    command: Command, tmp_path: Path, files: dict[str, str]
):
    for name, text in files.items():
        path = tmp_path / "theirs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(UserError, match=str(tmp_path / "theirs")):
        command(tmp_path / "theirs")
    assert file_bytes(tmp_path / "theirs") == {n: t.encode() for n, t in files.items()}


def test_neither_is_what_lies_in_the_work_folder_of_a_finished_one(
    command: Command, dataset: Path, tmp_path: Path
):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    (copy / "export.json").write_text('{"provenance": {"layout": "folder", "dataset": "1a2b3c4d"}}')
    (copy / "_unfinished").mkdir()
    (copy / "_unfinished" / "chapter.tex").write_text("mine")
    before = file_bytes(copy)
    with pytest.raises(UserError, match=r"chapter.tex is not a file of depthmask's"):
        command(copy)
    assert file_bytes(copy) == before


def test_what_is_put_beside_while_it_runs_stays(tmp_path: Path):
    with locked(Workspace(str(tmp_path / "new"))) as workspace:
        assert workspace.state() is State.FRESH
        notes = tmp_path / "new" / "_unfinished" / "notes.txt"
        notes.write_text("mine")
        inputs = Path(workspace.new_inputs_folder())
        inputs.mkdir()
        (inputs / "backgrounds.tfrecord").touch()
    assert file_bytes(tmp_path / "new") == {"_unfinished/notes.txt": b"mine"}


@pytest.mark.parametrize("name", ["generate", "repair", "export"])
def test_one_killed_while_it_cleans_up_is_cleaned_up_by_the_next(
    folders: InputFolders,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    output = tmp_path / "made"
    if name == "repair":
        shutil.copytree(dataset, output)
        next(output.glob("depthmask-train*")).unlink()
    run: Command = {
        "generate": lambda: make_dataset(folders, output),
        "repair": lambda: repair(output, None, ONE_WORKER),
        "export": lambda: export_dataset(dataset, output, "webdataset", ONE_WORKER),
    }[name]
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "delete_work_folder", lambda self: None)
        run()
    before = file_bytes(output)
    assert any(name.startswith("_unfinished/") for name in before)
    run()
    assert not (output / "_unfinished").exists()
    assert file_bytes(output) == {
        name: data for name, data in before.items() if not name.startswith("_unfinished/")
    }


def test_an_export_and_a_dataset_do_not_mix(dataset: Path, tmp_path: Path):
    with pytest.raises(UserError, match="is not empty"):
        Workspace(str(dataset), EXPORT).state()
    work = tmp_path / "_unfinished"
    work.mkdir()
    (work / "provenance.json").write_text(json.dumps({"layout": "folder", "dataset": "1a2b3c4d"}))
    assert Workspace(str(tmp_path), EXPORT).state() is State.UNFINISHED
    with pytest.raises(UserError, match=r"not of a depthmask dataset"):
        Workspace(str(tmp_path)).state()
