"""Scoring a depth model on a dataset of measured depth."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import depthmask
from depthmask.errors import UserError
from pipeline.cli import main
from pipeline.generate import generate
from pipeline.inputs import InputFolders
from pipeline.request import Request
from pipeline.view import write_sheet
from tests.conftest import ONE_WORKER, SMALL


@pytest.fixture(scope="module")
def two_metres(folders: InputFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose backgrounds are all 2 metres away."""
    root = tmp_path_factory.mktemp("measured")
    for picture in Path(folders.backgrounds).rglob("*.png"):
        path = root / "depth" / picture.relative_to(folders.backgrounds).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((48, 60), 2.0))
    request = Request.of(
        folders.backgrounds,
        folders.foregrounds,
        background_depths=root / "depth",
        settings=[*SMALL, "depth.model.output=depth"],
    )
    generate(request, root / "made", ONE_WORKER)
    return root / "made"


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that says 2 metres of everything."""
    path = tmp_path_factory.mktemp("model") / "flat.keras"
    picture = keras.Input((None, None, 3))
    bias = keras.initializers.Constant(2.0)
    depth = keras.layers.Conv2D(1, 1, kernel_initializer="zeros", bias_initializer=bias)
    keras.Model(picture, depth(picture)).save(path)
    return f"keras:{path}"


def test_errors_are_those_of_composites_and_of_backgrounds(
    two_metres: Path, flat: str, capsys: pytest.CaptureFixture[str]
):
    found = depthmask.evaluate(two_metres, flat, examples=500)
    assert found.examples == 72
    masks = np.stack(
        [
            example["mask"][..., 0] > 0
            for split in ("train", "test")
            for example in depthmask.load(str(two_metres), split).as_numpy_iterator()
        ]
    )
    # A foreground stands at 1.94 m, and the network does not see it.
    off = 0.06 / 1.94
    scores = found.composite
    assert scores["all"].pixels == masks.size and scores["mask"].pixels == masks.sum()
    assert scores["all"].absolute_relative == pytest.approx(off * masks.mean(), rel=1e-4)
    assert scores["mask"].absolute_relative == pytest.approx(off, rel=1e-4)
    assert scores["mask"].rmse == pytest.approx(0.06, rel=1e-4)
    assert 0 < scores["edges"].absolute_relative < off
    assert masks.sum() / 8 < scores["edges"].pixels < masks.size / 2
    assert found.background["all"].rmse == pytest.approx(0, abs=1e-6)
    assert found.background["mask"].shares_within == (1, 1, 1)
    assert main(["evaluate", str(two_metres), "--depth-model", flat, "--examples", "5"]) == 0
    assert "keras:" in (text := capsys.readouterr().out) and "RMSE(log)" in text
    assert "5 composites" in text


def test_what_cannot_be_compared_is_refused(two_metres: Path, dataset: Path, flat: str):
    with pytest.raises(UserError, match="no depth in metres to compare with"):
        depthmask.evaluate(dataset, flat)
    with pytest.raises(UserError, match="its depth is relative"):
        depthmask.evaluate(two_metres, flat, settings=["depth.model.output=relative_depth"])
    with pytest.raises(UserError, match="name the model"):
        depthmask.evaluate(two_metres, "none")


def test_a_sheet_shows_the_depth_of_two_datasets(
    two_metres: Path, with_depth: Path, tmp_path: Path
):
    measured, estimated = str(two_metres), str(with_depth)
    write_sheet(measured, tmp_path / "one.png", 3)
    write_sheet(estimated, tmp_path / "other.png", 3)
    write_sheet(measured, tmp_path / "both.png", 3, estimated)
    one, other, both = (
        np.asarray(Image.open(tmp_path / name)) for name in ("one.png", "other.png", "both.png")
    )
    column = both.shape[1] - one.shape[1]
    title = 18
    np.testing.assert_array_equal(both[title:, : one.shape[1]], one[title:])
    np.testing.assert_array_equal(both[title:, -column:], other[title:, -column:])
    assert (one != other).any()
    shutil.copytree(two_metres, tmp_path / "changed")
    shards = sorted((tmp_path / "changed").glob("depthmask-train*"))
    shards[0].write_bytes(shards[1].read_bytes())
    with pytest.raises(UserError, match="do not hold the same examples"):
        write_sheet(measured, tmp_path / "three.png", 9, str(tmp_path / "changed"))
