"""How depth of composites is drawn from that of their backgrounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transforms.depth import DepthMap, DepthStorage, Layers, PictureSize

SIZE = PictureSize(width=48, height=40)
IN_FRONT = 0.03


def layers(**changes: bool) -> Layers:
    return Layers(SIZE, **({"metric": True, "inverse": False, "measured": True} | changes))


def test_a_foreground_is_a_plane_in_front_of_the_nearest_of_what_it_covers():
    rng = np.random.default_rng(1)
    metres = rng.uniform(1, 9, (40, 48)).astype(np.float32)
    metres[:5] = 0
    mask = np.zeros((40, 48), np.uint8)
    mask[2:20, 10:30] = 255
    mask[20:24, 10:30] = 127  # less than half
    (depth,) = layers().draw([layers().map(metres, DepthStorage())], mask[None])
    inside = mask >= 128
    expected = np.rint(metres.astype(np.float64) / 0.001)
    np.testing.assert_array_equal(depth[~inside], expected[~inside])
    nearest = expected[5:20, 10:30].min()
    assert set(depth[inside]) == {nearest - math.ceil(IN_FRONT * nearest)}


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("storage", ["norm8", "metric16"])
def test_relative_depth_is_nearer_by_a_part_of_its_maps_range(inverse: bool, storage: str):
    values = np.random.default_rng(2).uniform(-4, 6, (40, 48)).astype(np.float32)
    if storage == "metric16":
        values += 5
    mask = np.zeros((40, 48), np.uint8)
    mask[:, 20:] = 255
    rule = layers(metric=False, inverse=inverse, measured=False)
    kept = DepthStorage(storage=storage)
    (drawn,) = rule.draw([rule.map(values, kept)], mask[None])
    expected = values.astype(np.float64)
    gap = IN_FRONT * np.ptp(expected)
    behind = expected[:, 20:]
    expected[:, 20:] = behind.max() + gap if inverse else behind.min() - gap
    stored = kept.quantise(drawn[None])[0]
    if storage == "norm8":
        expected = (expected - expected.min()) / np.ptp(expected) * 255
        assert np.abs(stored - expected).max() < 0.51
    else:
        assert np.abs(stored - np.clip(expected / 0.001, 1, 65535)).max() <= 1.5


def test_what_is_unknown_stays_so_and_nothing_stands_before_nothing():
    metres = np.zeros((40, 48), np.float32)
    metres[:, 30:] = 2
    masks = np.zeros((3, 40, 48), np.uint8)
    masks[0, 5:9, 5:9] = 255
    masks[1, 5:9, 28:34] = 255
    drawn = layers().draw([layers().map(metres, DepthStorage())] * 3, masks)
    assert not drawn[0].any()
    assert set(drawn[1][masks[1] > 0]) == {1940} and not drawn[1][20:, :30].any()
    assert set(np.unique(drawn[2])) == {0, 2000}  # an empty mask covers nothing
    failed = np.ones((40, 48), np.float32)
    failed[0, 0] = np.nan
    assert not layers(measured=False).map(failed, DepthStorage()).steps.any()


def test_masks_are_averaged_to_the_size_of_maps():
    mask = np.zeros((80, 96), np.uint8)
    mask[1:40, 1:48] = 255
    (drawn,) = layers().draw([DepthMap(np.full((40, 48), 1000, np.uint16))], mask[None])
    covered = np.zeros((40, 48), bool)
    covered[:20, :24] = True  # the corner alone by less than half
    covered[0, 0] = False
    np.testing.assert_array_equal(drawn == 970, covered)
