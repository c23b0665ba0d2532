from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cli import main

TINY = ("--set", "canvas={width: 32, height: 32}", "--set", "placements.per_pair=2")
ONE_WORKER = ("--direct_running_mode", "in_memory", "--direct_num_workers", "1")


@pytest.fixture
def good(tmp_path: Path) -> list[str]:
    for name in ("b", "f"):
        (tmp_path / name).mkdir()
    for i in range(2):
        Image.new("RGB", (40, 40), (50 * i, 90, 9)).save(tmp_path / f"b/wall{i}.png")
        cutout = Image.new("RGBA", (12, 12))
        cutout.paste((9, 99, 50 * i, 255), (2, 2, 9, 9))
        cutout.save(tmp_path / f"f/chair{i}.png")
    pictures = ["--backgrounds", str(tmp_path / "b"), "--foregrounds", str(tmp_path / "f")]
    return [*pictures, "--depth-model", "none"]


@pytest.fixture
def bad(good: list[str], tmp_path: Path) -> list[str]:
    (tmp_path / "b" / "notes.png").write_text("no picture")
    return good


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_from_pictures_to_a_dataset_that_verifies(good: list[str], tmp_path: Path, capsys):
    made = str(tmp_path / "made")
    assert main(["generate", *good, "--output", made, *TINY, *ONE_WORKER]) == 0
    assert "14 examples" in capsys.readouterr().out  # nine tenths of 2 × 2 × 2 × 2
    assert main(["verify", made]) == 0
    before = contents(tmp_path / "made")
    missing = ["--backgrounds", str(tmp_path / "typo"), *good[2:]]
    assert main(["generate", *missing, "--output", made, *TINY, "--restart"]) == 2
    assert contents(tmp_path / "made") == before


def test_restart_deletes_nothing_of_a_folder_of_something_else(good: list[str], tmp_path: Path):
    (tmp_path / "web").mkdir()
    for name in ("manifest.json", "README.md", "index.csv"):
        (tmp_path / "web" / name).write_text("{}")
    before = contents(tmp_path / "web")
    assert main(["generate", *good, "--output", str(tmp_path / "web"), *TINY, "--restart"]) == 2
    assert contents(tmp_path / "web") == before


def test_a_refusal_removes_the_folders_it_made(bad: list[str], tmp_path: Path):
    assert main(["generate", *bad, "--output", str(tmp_path / "new/deep/made")]) == 2
    assert not (tmp_path / "new").exists()


def test_a_refusal_keeps_an_empty_folder_empty(bad: list[str], tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert main(["generate", *bad, "--output", str(tmp_path / "empty")]) == 2
    assert contents(tmp_path / "empty") == {}


@pytest.mark.parametrize("extra", [[], ["--restart"]])
@pytest.mark.parametrize("theirs", ["precious.txt", "manifest.json"])
def test_a_folder_of_something_else_is_untouched(
    bad: list[str], tmp_path: Path, theirs: str, extra: list[str]
):
    """Even one with a folder named as ours is."""
    folder = tmp_path / "theirs"
    (folder / "_unfinished").mkdir(parents=True)
    (folder / "_unfinished" / "draft.txt").write_text("mine")
    (folder / theirs).write_text("{}")
    before = contents(folder)
    assert main(["generate", *bad, "--output", str(folder), *extra]) == 2
    assert contents(folder) == before


def test_a_manifest_of_something_else_is_said(good: list[str], tmp_path: Path, capsys):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text('{"name": "an app"}')
    assert main(["generate", *good, "--output", str(tmp_path / "web"), *TINY]) == 2
    assert "manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine", "mine/below"])
def test_an_output_that_cannot_be_a_folder_is_for_the_user_to_mend(
    good: list[str], tmp_path: Path, name: str
):
    (tmp_path / "mine").write_text("mine")
    assert main(["generate", *good, "--output", str(tmp_path / name), *TINY]) == 2
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_runner_that_is_none_is_refused_before_anything_is_made(
    good: list[str], tmp_path: Path, capsys
):
    made = tmp_path / "made"
    assert main(["generate", *good, "--output", str(made), *TINY, "--runner", "Nonesuch"]) == 2
    assert "Nonesuch" in capsys.readouterr().err
    assert not made.exists()


def test_plan_leaves_nothing_behind(good: list[str], tmp_path: Path, monkeypatch, capsys):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = contents(tmp_path)
    assert main(["plan", *good, *TINY]) == 0
    text = capsys.readouterr().out
    assert "16 examples in 2 shards" in text and "bytes an example" in text
    assert contents(tmp_path) == before


def test_plan_takes_what_generate_takes(good: list[str], tmp_path: Path, capsys):
    line = [*good, *TINY, *ONE_WORKER, "--restart", "--verbose", "--output"]
    assert main(["plan", *line, str(tmp_path / "made")]) == 0
    assert not (tmp_path / "made").exists()
    assert main(["plan", *line, str(tmp_path / "b")]) == 2
    assert f"{tmp_path / 'b'} is not empty" in capsys.readouterr().err
    assert main(["plan", *good, "--recpe", "x"]) == 2
    assert "no such option: --recpe x" in capsys.readouterr().err


def test_a_leading_tilde_is_the_home_folder(good: list[str], tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "r.yaml").write_text("base: default")
    folders = ["--backgrounds", "~/b", "--foregrounds", "~/f", "--recipe", "~/r.yaml"]
    assert main(["plan", *folders, *good[4:], *TINY]) == 0
    assert main(["plan", *good, "--output", "~/b"]) == 2
    assert main(["sheet", "~/b", "~/sheet.png"]) == 2
    assert f"{tmp_path}/b/manifest.json does not exist" in capsys.readouterr().err


def test_output_fails_in_no_encoding(good: list[str]):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "pipeline", "plan", *good, *TINY]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    assert rb"2 backgrounds \xd7 2 foregrounds" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["verfy", "x"], ["plan", "--recpe", "x"], ["verify"]])
def test_a_misspelt_line_ends_with_2(arguments: list[str]):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_a_separate_value_of_a_misspelt_option_is_refused(good: list[str], tmp_path: Path, capsys):
    for option in (["--recpe", "x"], ["--runer", "X"]):
        assert main(["generate", *good, "--output", str(tmp_path / "made"), *option]) == 2
        assert f"no such option: {' '.join(option)}" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("gs://", "names no bucket"),
        ("gs:///x", "names no bucket"),
        ("foo://x/y", "there is no file system for this"),
    ],
)
def test_a_folder_on_no_file_system_is_refused(good: list[str], capsys, path, problem):
    for command in (
        ["generate", *good, "--output", path],
        ["plan", "--backgrounds", path, *good[2:]],
        ["verify", path],
        ["export", "made", path, "--layout", "folder"],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"depthmask: {path}: ") and problem in said
