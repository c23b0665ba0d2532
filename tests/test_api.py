"""Making datasets from Python: as the commands do it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

import depthmask
from pipeline.cli import main
from pipeline.inputs import InputFolders
from pipeline.recipes import load_recipe
from tests.conftest import ONE_WORKER, SMALL, file_bytes, run_python

SETTINGS = {
    "canvas": {"width": 48, "height": 40},
    "placements.per_pair": 3,
    "shards.examples": 20,
    "shards.chunk": 7,
}


def test_generate_makes_what_the_command_makes(
    folders: InputFolders, dataset: Path, tmp_path: Path, capfd, caplog
):
    caplog.set_level(logging.INFO, "depthmask")
    pictures = {
        "backgrounds": Path(folders.backgrounds),
        "foregrounds": Path(folders.foregrounds),
        "depth_model": None,
    }
    made = depthmask.generate(
        tmp_path / "made", **pictures, settings=SETTINGS, options=list(ONE_WORKER)
    )
    assert file_bytes(tmp_path / "made") == file_bytes(dataset)
    assert made.path == str(tmp_path / "made")
    assert made.recipe.canvas.width == 48 and made.manifest.tally.moments["composites"].images == 72
    assert capfd.readouterr().out == "" and "72 examples in 5 shards" in caplog.text

    command = ["generate", "--depth-model=none", f"--output={tmp_path / 'command'}"]
    command += [f"--{kind}={getattr(folders, kind)}" for kind in ("backgrounds", "foregrounds")]
    assert main([*command, *(f"--set={key}" for key in SMALL), *ONE_WORKER]) == 0
    assert file_bytes(tmp_path / "command") == file_bytes(dataset)

    recipe = load_recipe("default", SETTINGS)
    assert depthmask.generate(tmp_path / "made", **pictures, recipe=recipe) == made
    assert "nothing is left to do" in caplog.messages
    estimate = depthmask.plan(**pictures, recipe=recipe, settings=["placements.per_pair=6"])
    assert estimate.plan.examples == 144
    with pytest.raises(depthmask.UserError, match=r"per_pair: 3 → 6"):
        depthmask.generate(
            tmp_path / "made", **pictures, recipe=recipe, settings={"placements.per_pair": 6}
        )


def test_export_makes_what_the_command_makes(dataset: Path, tmp_path: Path, capfd):
    made = depthmask.export(dataset, tmp_path / "made", "webdataset", options=ONE_WORKER)
    assert made.examples == 72 and "inputs.tar" in made.containers
    assert capfd.readouterr().out == ""
    command = ["export", str(dataset), str(tmp_path / "command"), "--layout=webdataset"]
    assert main([*command, *ONE_WORKER]) == 0
    assert file_bytes(tmp_path / "command") == file_bytes(tmp_path / "made")
    assert depthmask.export(dataset, tmp_path / "made", "webdataset") == made
    with pytest.raises(depthmask.UserError, match="Give one of: folder, webdataset"):
        depthmask.export(dataset, tmp_path / "other", "wedataset")


def test_what_the_commands_refuse_is_refused(folders: InputFolders, tmp_path: Path):
    pictures = {"backgrounds": folders.backgrounds, "foregrounds": folders.foregrounds}
    for path, problem in (("gs://", "names no bucket"), ("foo://x/y", "there is no file system")):
        for call in (
            lambda path: depthmask.generate(path, **pictures),
            lambda path: depthmask.plan(**pictures, masks=path),
            lambda path: depthmask.export("made", path, "folder"),
            lambda path: list(depthmask.verify(path)),
            depthmask.repair,
        ):
            with pytest.raises(depthmask.UserError, match=f"^{path}: {problem}"):
                call(path)
    dataflow = ["--runner=DataflowRunner", "--project=p", "--region=r"]
    with pytest.raises(depthmask.UserError, match=r"--output .* is on this machine"):
        depthmask.generate(tmp_path / "made", **pictures, options=dataflow)
    with pytest.raises(depthmask.UserError, match=r"DEST .* is on this machine"):
        depthmask.export("gs://bucket/made", tmp_path / "made", "folder", options=dataflow)
    with pytest.raises(depthmask.UserError, match="no such option: --runer=X"):
        depthmask.generate(tmp_path / "made", **pictures, options=["--runer=X"])
    assert not (tmp_path / "made").exists()


def test_repair_and_verify_say_what_they_found(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    lost = next(copy.glob("*train*"))
    lost.unlink()
    assert [check.problems for check in depthmask.verify(copy)] == [(f"{lost.name} is missing",)]
    assert depthmask.repair(copy, options=ONE_WORKER).shards == (lost.name,)
    assert file_bytes(copy) == file_bytes(dataset)


def test_importing_depthmask_is_quick():
    run_python(
        "import sys, depthmask\n"
        "heavy = {'apache_beam', 'tensorflow', 'numpy', 'PIL', 'pydantic', 'pipeline'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "assert {'generate', 'export', 'load', 'open'} <= set(dir(depthmask))\n"
        "depthmask.load, depthmask.open\n"
        "assert 'apache_beam' not in sys.modules\n"
    )


def test_looking_at_a_local_dataset_needs_no_beam(dataset: Path, tmp_path: Path):
    dataset = Path(shutil.copytree(dataset, tmp_path / "copy"))
    run_python(
        "import sys\n"
        "from pipeline.cli import main\n"
        f"assert main(['verify', {str(dataset)!r}]) == 0\n"
        f"assert main(['sheet', {str(dataset)!r}, {str(tmp_path / 'sheet.png')!r}]) == 0\n"
        f"assert main(['gallery', {str(dataset)!r}, {str(tmp_path / 'page.html')!r}]) == 0\n"
        "assert 'apache_beam' not in sys.modules\n"
    )
