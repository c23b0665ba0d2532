"""The examples of training: their scores, that they learn, and the README's commands for them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from examples import train_keras
from examples.results import Labels, Scores, median_depth
from pipeline.cli import main
from tests.conftest import ONE_WORKER, ROOT, TORCH, draw_inputs, needs_torch
from transforms.depth.scores import Scores as DepthScores

SIDE = 48
EPOCHS = ["--epochs", "6"]
# Of the README's recipe, but smaller.
SMALL = (f"canvas.width={SIDE}", f"canvas.height={SIDE}", "placements.per_pair=8")


def labels(depth: list[float], mask: list[int]) -> Labels:
    return Labels(np.array([[depth]], np.float32), np.array([[mask]], bool))


def test_scores_are_the_standard_ones():
    truth = labels([1, 2, 4, 0, 8], [1, 1, 1, 0, 0])
    predicted = labels([1.2, 2, 3, 7, 16], [0, 1, 1, 1, 0])
    scores = Scores.of(predicted, truth)
    # Where it is known, depth is off by factors of 1.2, 1, 4/3 and 2.
    assert scores.absolute_relative == pytest.approx((0.2 + 0 + 0.25 + 1) / 4)
    assert scores.within == 0.5
    # Two pixels of foreground are found, of four in either; of background one, of three.
    assert scores.iou == pytest.approx(2 / 4) and scores.mean_iou == pytest.approx(
        (2 / 4 + 1 / 3) / 2
    )
    known = truth.depth > 0
    theirs = DepthScores.of(predicted.depth[known], truth.depth[known])
    assert scores.absolute_relative == pytest.approx(theirs.absolute_relative)
    assert scores.within == theirs.shares_within[0]


def test_medians_are_of_depth_that_is_known():
    depth = np.array([[[0, 1, 2]], [[3, 2, 2]], [[5, 6, 0]]], np.float32)
    seen = Labels(depth, np.zeros(depth.shape, bool))
    assert median_depth(seen) == 2
    assert median_depth(seen, of_each_pixel=True).tolist() == [[4, 2, 2]]


Commands = dict[str, list[str]]


@pytest.fixture(scope="module")
def commands() -> Commands:
    """What the README has one do to train, as arguments."""
    text = (ROOT / "README.md").read_text("utf-8").split("### … train on it\n")[1]
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", text.split("\n### ")[0], re.M | re.S))
    lines = [shlex.split(line, comments=True) for line in blocks.replace("\\\n", "").splitlines()]
    names = "samples", "generate", "keras", "torch", "own pictures"
    return dict(zip(names, lines, strict=True))


@pytest.fixture(scope="module")
def work(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where they work, with pictures whose depth and foreground are easily seen."""
    work = tmp_path_factory.mktemp("work")
    (work / "examples").symlink_to(ROOT / "examples")
    assert commands["samples"][:3] == ["depthmask", "samples", "rooms"]
    folders = draw_inputs(work / "rooms", backgrounds=8, foregrounds=4)
    for path in Path(folders.backgrounds).rglob("*.png"):
        depth = work / "rooms" / "depth" / path.relative_to(folders.backgrounds)
        depth.parent.mkdir(parents=True, exist_ok=True)
        red = np.asarray(Image.open(path))[..., 0]
        np.save(depth.with_suffix(".npy"), 1 + red.astype(np.float32) / 64)
    assert generate(commands["generate"], work) == 0
    return work


def generate(command: list[str], work: Path, verb: str = "generate", options=ONE_WORKER) -> int:
    assert command[:2] == ["depthmask", "generate"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        return main([verb, *command[2:], *(f"--set={setting}" for setting in SMALL), *options])


def has_learned(printed: str, picture: Path) -> bool:
    """Whether a network is nearer to the truth than what is said without a look at pictures."""
    rows = dict(re.findall(r"^(\S.*?)  +(\d\.\d+ .*)$", printed, re.M))
    network, median = (
        [float(score) for score in rows[name].split()]
        for name in ("the network", "the median, no foreground")
    )
    assert len(rows) == 3 and median[2] == 0
    assert Image.open(picture).size == (6 * SIDE, 5 * SIDE)
    depth = network[0] < 0.8 * median[0] and network[1] > median[1] + 0.1
    return depth and network[2] > 0.3 and network[3] > median[3] + 0.1


def test_keras_learns(commands: Commands, work: Path, monkeypatch, capsys):
    python, flag, module, *arguments = commands["keras"]
    assert (python, flag, module) == ("python", "-m", train_keras.__name__)
    monkeypatch.chdir(work)
    monkeypatch.setattr("sys.argv", [module, *arguments, *EPOCHS])
    train_keras.main()
    assert has_learned(capsys.readouterr().out, work / "predictions.jpg")


@needs_torch
def test_pytorch_learns(commands: Commands, work: Path):
    python, *arguments = commands["torch"]
    assert python == "python"
    done = subprocess.run(
        [str(TORCH), *arguments, *EPOCHS, "--picture=torch.jpg"],
        check=False,
        cwd=work,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert has_learned(done.stdout, work / "torch.jpg")


def test_the_readme_makes_a_dataset_of_own_pictures(commands: Commands, work: Path, capsys):
    shutil.copytree(work / "rooms" / "backgrounds", work / "office" / "bg")
    cutouts = shutil.copytree(work / "rooms" / "foregrounds", work / "office" / "fg")
    (work / "office" / "fg_mask").mkdir()
    for path in cutouts.iterdir():
        Image.open(path).getchannel("A").save(work / "office" / "fg_mask" / path.name)
    assert (
        generate(commands["own pictures"], work, verb="plan", options=("--depth-model=none",)) == 0
    )
    assert "160 examples" in capsys.readouterr().out


@pytest.mark.parametrize(("side", "depth"), [(40, 40), (48, 24)])
def test_other_datasets_are_refused(side: int, depth: int, monkeypatch):
    example = {
        "image": np.zeros((48, side, 3), np.uint8),
        "depth": np.ones((48, depth, 1), np.float32),
        "mask": np.zeros((48, side, 1), np.uint8),
    }
    opened = SimpleNamespace(examples=lambda split, features: [example])
    monkeypatch.setattr("depthmask.open", lambda path: opened)
    with pytest.raises(SystemExit, match="multiples of 16, and depth as large"):
        train_keras.train("a folder", epochs=1)
