"""Depth of composites from their backgrounds': estimated once each, or measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import depthmask
from depthmask.errors import UserError
from depthmask.manifest import BACKGROUND_DEPTHS, Manifest
from depthmask.records import frame_record, parse_example, read_records, serialize_example
from pipeline.inputs import InputFolders
from pipeline.repair import repair
from pipeline.verify import verify_dataset
from tests.conftest import file_bytes, make_dataset
from transforms.codecs import encode_png


def problems(dataset: Path) -> list[str]:
    return [problem for check in verify_dataset(str(dataset)) for problem in check.problems]


# By a network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Metres: 1 and twice the picture's mean, at its size."""
    path = tmp_path_factory.mktemp("model") / "m.keras"
    picture = keras.Input((None, None, 3))
    grey = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(1 / 3))(picture)
    keras.Model(picture, keras.layers.Rescaling(2.0, offset=1.0)(grey)).save(path)
    return f"keras:{path}"


@pytest.fixture(scope="module")
def estimated(folders: InputFolders, model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("estimated") / "made"
    return make_dataset(folders, made, "depth.of=background", depth_model=model)


def test_depth_is_the_networks_of_the_background(estimated: Path):
    examples = depthmask.load(str(estimated), "train", background_image=True)
    for example in examples.as_numpy_iterator():
        meant = 1 + 2 * example["background_image"].mean(axis=2) / 255
        inside = example["mask"][..., 0] > 0
        found = example["depth"][..., 0]
        assert found.shape == (40, 48)
        np.testing.assert_allclose(found[~inside], meant[~inside], atol=0.0006)
        np.testing.assert_allclose(found[inside], meant[inside].min() * 0.97, atol=0.0021)
    card = (estimated / "README.md").read_text("utf-8")
    assert "3% nearer than the nearest of what it covers" in card
    assert "Depth of the backgrounds was estimated by keras:m.keras, once each" in card
    manifest = Manifest.from_bytes((estimated / "manifest.json").read_bytes(), "manifest.json")
    assert BACKGROUND_DEPTHS in manifest.files
    assert not (estimated / "_unfinished").exists()
    assert problems(estimated) == []


def test_verify_finds_a_pixel_that_is_not_its_backgrounds(estimated: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(estimated, other)
    path = next(other.glob("depthmask-train*"))
    with path.open("rb") as file:
        first, *others = read_records(file)
    features = parse_example(first)
    depth = tf.io.decode_png(features["depth"], dtype=tf.uint16).numpy()
    depth[3, 4] += 1
    changed = serialize_example(features | {"depth": encode_png(depth)})
    path.write_bytes(b"".join(map(frame_record, [changed, *others])))
    named = f"{features['id'].decode()}: not its background's depth with its foreground before it"
    assert any(problem == f"{named}, at x=4 y=3" for problem in problems(other))


def test_what_is_damaged_is_made_again(estimated: Path, model: str, tmp_path: Path):
    before = file_bytes(estimated)
    other = tmp_path / "other"
    shutil.copytree(estimated, other)
    next(other.glob("depthmask-train*")).unlink()
    assert len(repair(other).shards) == 1  # no network is needed
    assert file_bytes(other) == before
    (other / BACKGROUND_DEPTHS).write_bytes(b"torn")
    with pytest.raises(UserError, match="name its model too"):
        repair(other)
    assert repair(other, model).shards == ()
    assert file_bytes(other) == before


def test_maps_of_each_its_own_range_are_checked_too(
    folders: InputFolders, model: str, tmp_path: Path
):
    made = make_dataset(
        folders,
        tmp_path / "made",
        *("depth.of=background", "depth.storage=plasma8", "depth.codec={format: jpeg}"),
        *("depth.size={width: 24, height: 20}", "masks.soft=true"),
        depth_model=model,
    )
    assert problems(made) == []
    example = next(depthmask.load(str(made), "train").as_numpy_iterator())
    assert example["depth"].shape == (20, 24, 1)
