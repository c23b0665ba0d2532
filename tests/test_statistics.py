import json
import random

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from depthmask.tally import LeftOut, Moments, Tally
from transforms.measure import measure, measure_binary
from transforms.statistics import StatisticsCombineFn

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(3, 40, 30, 3), (2, 700, 5, 1), (4, 17, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_sums_are_exact(shape: tuple[int, ...], dtype: type):
    peak = np.iinfo(dtype).max
    # Bright pictures: their sums are the largest that can be.
    pictures = RNG.integers(peak - 50, peak, shape, endpoint=True).astype(dtype)
    moments = measure(pictures)
    flat = pictures.reshape(-1, shape[3] if len(shape) == 4 else 1).astype(object)
    assert moments.sums == tuple(flat.sum(axis=0))
    assert moments.squares == tuple((flat * flat).sum(axis=0))
    assert moments.images == shape[0] and moments.pixels == np.prod(shape[:3])


def test_sums_of_a_large_bright_depth_map_are_exact():
    """2.56 million pixels of 16 bits: their squares add up to more than float64 counts."""
    picture = np.full((1, 1600, 1600), 65535, np.uint16)
    picture[0, 0, 0] = 65534
    n = picture.size
    moments = measure(picture)
    assert moments.sums == (n * 65535 - 1,)
    assert moments.squares == ((n - 1) * 65535**2 + 65534**2,)


def test_mean_and_std_are_those_of_all_pixels():
    pictures = RNG.integers(0, 256, (5, 32, 24, 3)).astype(np.uint8)
    values = pictures.reshape(-1, 3) / 255
    moments = measure(pictures)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-12)
    own = [picture.reshape(-1, 3).std(axis=0) / 255 for picture in pictures]
    np.testing.assert_allclose(moments.mean_image_std, np.mean(own, axis=0), rtol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_binary_pictures_can_be_counted(n: int):
    masks = np.where(RNG.random((n, 40, 30)) < 0.3, 255, 0).astype(np.uint8)
    masks[: n // 2] = 255
    assert measure_binary(masks) == measure(masks)


def test_a_constant_picture_has_no_deviation():
    moments = measure(np.full((2, 300, 10, 3), 201, np.uint8))
    assert moments.std == (0, 0, 0) and moments.mean_image_std == (0, 0, 0)


def test_any_order_and_grouping_gives_the_same_digits():
    parts = [
        Tally({"masks": measure(RNG.integers(0, 256, (n, 20, 20)).astype(np.uint8))}, {"mask": n})
        for n in (1, 2, 3, 5, 8, 13)
    ]
    whole = Tally.total(parts)
    for seed in range(10):
        shuffled = random.Random(seed).sample(parts, len(parts))
        cut = seed % 5 + 1
        assert Tally.total(shuffled[:cut]) + Tally.total(shuffled[cut:]) == whole


def test_kinds_that_differ_do_not_add():
    grey, colour = (measure(np.zeros((1, 4, 4, c), np.uint8)) for c in (1, 3))
    with pytest.raises(ValueError, match="different kinds"):
        _ = grey + colour


def test_json_round_trip():
    moments = measure(RNG.integers(0, 65536, (2, 8, 8)).astype(np.uint16))
    assert Moments.from_json(moments.to_json()) == moments
    tally = Tally({"depth": moments}, {"depth": 7}, (LeftOut("a", "flat"),))
    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally


def test_the_combine_fn_merges_kinds():
    pictures = RNG.integers(0, 256, (6, 10, 10, 3)).astype(np.uint8)
    elements = [Tally({"composites": measure(pictures[i : i + 1])}) for i in range(6)]
    elements.append(Tally({"masks": measure(pictures[:2, ..., 0])}))
    expected = Tally({"composites": measure(pictures), "masks": measure(pictures[:2, ..., 0])})
    with TestPipeline() as pipeline:
        merged = pipeline | beam.Create(elements) | beam.CombineGlobally(StatisticsCombineFn())
        assert_that(merged, equal_to([expected]))


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="float32"):
        measure(np.zeros((1, 2, 2), np.float32))
