"""Tests of the network that ships with the project, and of how it is trained."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from training.batches import Shape, Source, make_batch, paste
from training.builtin import Course, Stage, export, load_checkpoint, train
from training.evaluate import Predictor, held_out
from training.network import FARTHEST, NEAREST, build, fold
from training.rooms import PictureSet, Rooms, draw_missing, load_figures, load_rooms
from transforms.depth.scores import Scores

SHIPPED = Path(__file__).parent.parent / "transforms" / "depth" / "builtin.keras"
FEW = PictureSet(10, 32, 6)
FIGURES = PictureSet(12, 32, 3)


def test_scores_are_the_standard_ones() -> None:
    truth = np.array([[1.0, 2.0, 4.0, 8.0]], np.float32)
    predicted = np.array([[1.2, 2.0, 3.0, 16.0]], np.float32)
    scores = Scores.of(predicted[:, :2], truth[:, :2]) + Scores.of(predicted[:, 2:], truth[:, 2:])
    # Off by factors of 1.2, 1, 4/3 and 2; 1.25² = 1.5625 and 1.25³ = 1.953125.
    assert scores.absolute_relative == pytest.approx((0.2 + 0 + 0.25 + 1) / 4)
    assert scores.rmse == pytest.approx(np.sqrt((0.04 + 0 + 1 + 64) / 4))
    logs = (np.log10(1.2) + 0 + np.log10(4 / 3) + np.log10(2)) / 4
    assert scores.log10 == pytest.approx(logs)
    squared = (np.log(1.2) ** 2 + 0 + np.log(4 / 3) ** 2 + np.log(2) ** 2) / 4
    assert scores.rmse_log == pytest.approx(np.sqrt(squared))
    assert scores.shares_within == (0.5, 0.75, 0.75)


def test_scores_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) against a truth of \(2, 1\)"):
        Scores.of(np.ones((1, 2), np.float32), np.ones((2, 1), np.float32))


def test_same_seed_draws_the_same_rooms(tmp_path: Path) -> None:
    few = dataclasses.replace(FEW, count=2)
    for folder, seed in (("one", 3), ("two", 3), ("other", 4)):
        draw_missing(tmp_path / folder, seed, (few, FIGURES), workers=1)
    one, two = (load_rooms(tmp_path / folder, 3, few) for folder in ("one", "two"))
    other = load_rooms(tmp_path / "other", 4, few)
    assert one.images.shape == (2, 32, 32, 3) and one.depths.shape == (2, 32, 32)
    assert np.array_equal(one.images, two.images) and np.array_equal(one.depths, two.depths)
    assert not np.array_equal(one.images, other.images)
    for a, b in zip(*(load_figures(tmp_path / f, 3, FIGURES) for f in ("one", "two")), strict=True):
        assert np.array_equal(a, b)


def test_batch_is_a_function_of_its_seed_and_step() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 40, 40, 3), np.uint8)
    depths = rng.uniform(1, 5, (3, 40, 40)).astype(np.float16)
    figure = rng.integers(0, 256, (9, 7, 4), np.uint8)
    source = Source((Rooms(images, depths),), [figure])
    one, two, other = (make_batch(source, Shape(4, 32), 0, step) for step in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0])
    pictures, metres = one
    assert pictures.shape == (4, 32, 32, 3) and pictures.dtype == np.float32
    assert metres.shape == (4, 16, 16, 1) and metres.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert metres.min() > 0 and metres.max() <= depths.max()


def test_pasted_figure_is_before_all_that_it_covers() -> None:
    figure = np.full((20, 10, 4), 255, np.uint8)
    for k in range(20):
        rng = np.random.default_rng(k)
        before = rng.uniform(2, 5, (32, 32)).astype(np.float32)
        image, after = paste(rng, Image.new("RGB", (64, 64)), before, figure)
        changed = after != before
        if not changed.any():
            continue
        values = np.unique(after[changed])
        assert len(values) == 1
        assert np.mean(values[0] < before[changed]) > 0.9
        shown = np.asarray(image.resize((32, 32), Image.Resampling.BOX))[..., 0] > 128
        assert np.mean(shown == changed) > 0.9


@pytest.fixture
def eager() -> Iterator[None]:
    """Steps run operation by operation: for a handful of them, building graphs takes longer."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
def test_training_goes_on_where_it_stopped_and_gives_what_loads(tmp_path: Path) -> None:
    one_step = Stage(1, 2, (32,), (FEW,))
    course = Course(FIGURES, (one_step, one_step))
    train(Course(FIGURES, (one_step,)), 0, tmp_path)
    assert steps_taken(tmp_path / "checkpoint-0.keras") == 1
    model = train(course, 0, tmp_path)
    assert steps_taken(tmp_path / "checkpoint-0.keras") == 2
    export(model, tmp_path / "small.keras")
    images = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)
    loaded = keras.saving.load_model(tmp_path / "small.keras", compile=False, safe_mode=True)
    expected = model(images, training=False)
    np.testing.assert_allclose(loaded(images, training=False), expected, rtol=1e-3)


def steps_taken(checkpoint: Path) -> int:
    return int(load_checkpoint(checkpoint).optimizer.iterations.numpy())


def test_folding_keeps_the_function() -> None:
    model = build(normalised=True)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            shape = layer.get_weights()[0].shape
            layer.set_weights([rng.uniform(0.5, 1.5, shape) for _ in range(4)])
    images = rng.random((2, 64, 64, 3), np.float32)
    expected = model(images, training=False)
    np.testing.assert_allclose(fold(model)(images, training=False), expected, rtol=1e-3)


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor(SHIPPED)


def test_shipped_model_is_small() -> None:
    assert SHIPPED.stat().st_size <= 5_000_000


def test_shipped_model_knows_unseen_rooms(shipped: Predictor) -> None:
    rooms = held_out(12, 160, seed=77)
    truth = rooms.depths.astype(np.float32)
    scores = Scores.of(shipped.depth(rooms.images), truth)
    # Far better than the best constant map, and as good as the model card says, with a margin.
    constant = Scores.of(np.full_like(truth, np.median(truth)), truth)
    assert scores.absolute_relative < min(0.22, constant.absolute_relative / 1.5)
    assert scores.shares_within[0] > max(0.65, constant.shares_within[0] + 0.2)


@pytest.mark.parametrize("size", [(32, 32), (64, 224), (160, 96)])
def test_shipped_model_takes_multiples_of_32(size: tuple[int, int]) -> None:
    model = keras.saving.load_model(SHIPPED, compile=False, safe_mode=True)
    rng = np.random.default_rng(0)
    extremes = np.stack([np.zeros((*size, 3)), np.ones((*size, 3)), rng.random((*size, 3))])
    depth = np.asarray(model(extremes.astype(np.float32), training=False))
    assert depth.shape == (3, size[0] // 2, size[1] // 2, 1) and depth.dtype == np.float32
    assert np.isfinite(depth).all() and depth.min() >= 0.99 * NEAREST
    assert depth.max() <= 1.01 * FARTHEST
