from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.cli import COMMANDS, main
from pipeline.export import LAYOUTS
from pipeline.inputs import InputFolders
from pipeline.recipes import builtin_recipes
from pipeline.run import size_text
from tests.conftest import ONE_WORKER, file_bytes

FOLDERS = ("--backgrounds=b", "--foregrounds=f")
# Runs a command; its exit code is 3 where that has imported what only long work needs.
ANSWER = """
import sys
from pipeline.cli import main

try:
    code = main()
except SystemExit as error:
    code = error.code
heavy = {"apache_beam", "tensorflow", "keras", "onnxruntime"} & sys.modules.keys()
sys.exit(3 if heavy else code)
"""


@pytest.fixture
def inputs(folders: InputFolders) -> list[str]:
    pictures = ["--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds]
    return [*pictures, "--depth-model", "none"]


def test_generate_verify_and_sheet(inputs: list[str], tmp_path: Path, capsys):
    output = str(tmp_path / "made")
    small = ["--set", "canvas={width: 48, height: 40}", "--set", "placements.per_pair=1"]
    assert main(["generate", *inputs, "--output", output, *small, *ONE_WORKER]) == 0
    assert "train: 22 examples" in capsys.readouterr().out
    assert main(["verify", output]) == 0
    assert "The dataset is right." in capsys.readouterr().out
    (tmp_path / "made" / "index.csv").unlink()
    assert main(["verify", output]) == 1
    assert "index.csv is missing" in capsys.readouterr().out
    assert main(["sheet", output, str(tmp_path / "sheet.png"), "--examples", "2"]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_bad_input_leaves_nothing_behind(inputs: list[str], tmp_path: Path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("no picture")
    inputs[1] = str(tmp_path / "bad")
    assert main(["generate", *inputs, "--output", str(tmp_path / "made")]) == 2
    assert "x.png: is not a picture" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_folder_in_use_is_left_alone(inputs: list[str], tmp_path: Path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"mine")
    before = file_bytes(tmp_path)
    assert main(["generate", *inputs, "--output", str(tmp_path / "photos")]) == 2
    assert "is not empty (it holds mine.jpg)" in capsys.readouterr().err
    assert file_bytes(tmp_path) == before


def test_plan_tells_what_generate_does(inputs: list[str], tmp_path: Path, capsys):
    (tmp_path / "some").mkdir()
    shutil.copy(Path(inputs[1]) / "hall" / "bg0.png", tmp_path / "some")
    (tmp_path / "some" / "notes.png").write_text("no picture")
    arguments = ["--backgrounds", str(tmp_path / "some"), *inputs[2:], "--skip-bad-inputs"]
    said = f"error: {tmp_path}/some/notes.png: is not a picture"
    small = ["--set", "canvas={width: 48, height: 40}", "--set", "placements.per_pair=1"]
    for command in (["plan"], ["generate", "--output", str(tmp_path / "made"), *ONE_WORKER]):
        assert main([command[0], *arguments, *small, *command[1:]]) == 0
        assert said in capsys.readouterr().err


def test_sizes_are_in_the_unit_that_fits():
    sizes = (0, 999, 1000, 24_462.3e6, 999_960, 1e12, 2.5e15)
    texts = ("0 bytes", "999 bytes", "1.0 kB", "24.5 GB", "1.0 MB", "1.0 TB", "2,500.0 TB")
    assert tuple(map(size_text, sizes)) == texts


def test_plan_says_what_would_be_made(inputs: list[str], capsys):
    assert main(["plan", *inputs]) == 0
    text = capsys.readouterr().out
    assert "4 backgrounds × 3 foregrounds × 2 × 20 places: 480 examples in 2 shards" in text
    assert "train: 432 examples, 1 shard, about" in text and "per_pair: 20" in text


@pytest.mark.parametrize("option", ["--recpe=x", "--runer=DirectRunner", "--direct_num_worker=2"])
def test_a_misspelt_option_is_refused(inputs: list[str], tmp_path: Path, capsys, option: str):
    assert main(["generate", *inputs, "--output", str(tmp_path / "made"), option]) == 2
    assert f"no such option: {option}" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_an_unknown_command_is_refused():
    with pytest.raises(SystemExit) as caught:
        main(["generat"])
    assert caught.value.code == 2


@pytest.mark.parametrize("value", ["abc", "0", "1.5"])
def test_a_number_that_cannot_be_is_said(capsys, value: str):
    with pytest.raises(SystemExit):
        main(["verify", "x", "--sample", value])
    assert f"--sample: must be a whole number from 1 on, not {value}" in capsys.readouterr().err
    if value != "1.5":
        with pytest.raises(SystemExit):
            main(["plan", "--price-per-hour", value])
        assert f"must be a number above 0, not {value}" in capsys.readouterr().err


def test_a_folder_that_is_no_dataset_is_said(tmp_path: Path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert (
        "manifest.json: there is no such file. So this is not a finished" in capsys.readouterr().err
    )


def test_samples_refuse_what_cannot_be(tmp_path: Path, capsys):
    (tmp_path / "mine").write_text("")
    assert main(["samples", str(tmp_path)]) == 2
    assert main(["samples", str(tmp_path / "new"), "--size", "7"]) == 2
    assert "size is 7: a whole number must be given, 32 to 4096" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said(inputs: list[str], tmp_path: Path, capsys):
    made = str(tmp_path / "made")
    assert main(["generate", *inputs, "--output", made, "--depth-model", "keras:no.keras"]) == 2
    assert "no.keras: no such depth model" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_plan_says_what_workers_would_cost(folders, capsys):
    inputs = ["plan", "--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds]
    rate = ["--examples-per-second", "0.1"]
    assert main([*inputs, *rate, "--price-per-hour", "1.5"]) == 0
    # 4 × 3 × 2 × 20 examples are 480.
    assert "about 1.3 worker-hours at 0.1 examples a second, 2.00 at 1.5 an hour" in (
        capsys.readouterr().out
    )
    assert main([*inputs, *rate]) == 2
    assert "give both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        *(([command, "--help"], 0) for command in COMMANDS),
        (["generat"], 2),
        (["verify"], 2),
        (["verify", "made", "--recpe"], 2),
        (["export", "made", "out", "--layout", "nonesuch"], 2),
        (["generate", *FOLDERS, "--output=out", "--recipe=nonesuch"], 2),
        (["generate", *FOLDERS, "--output=out", "--depth-model=nonesuch"], 2),
        (["plan", *FOLDERS, "--set=canvas.widht=3"], 2),
    ],
)
def test_help_and_wrong_arguments_answer_without_beam(arguments: list[str], code: int):
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert bool(done.stderr) == bool(code) and bool(done.stdout) != bool(code)


def test_help_names_what_is_registered(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")  # no name is broken at its hyphen
    for command, names in (
        ("generate", builtin_recipes()),
        ("export", LAYOUTS),
    ):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert f"one of: {', '.join(names)}" in said
    code = inspect.getsource(cli)
    assert not [name for name in {*builtin_recipes(), *LAYOUTS} if f'"{name}"' in code]
