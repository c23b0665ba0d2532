import numpy as np
import pytest

from pipeline.plan.randomness import draw, draw_below, draw_unit, hash_key, permute


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_draw_is_splitmix64():
    # The reference values for seed 1234567, as published with the generator's C code.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    seeds = np.full(5, 1234567, np.uint64)
    assert draw(seeds, np.arange(5, dtype=np.uint64)).tolist() == expected


def test_a_value_does_not_depend_on_its_neighbours():
    together = draw(keys(1, 2, 3), keys(7, 8, 9))
    alone = draw(keys(2), 8)
    assert together[1] == alone[0]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 97, 1000, 4099])
def test_permute_is_a_permutation(size: int):
    positions = np.arange(size, dtype=np.uint64)
    landed = permute(positions, np.full(size, size, np.uint64), np.full(size, 42, np.uint64))
    assert sorted(landed.tolist()) == list(range(size))


def test_permute_mixes_and_depends_on_its_key():
    size = 10_000
    positions = np.arange(size, dtype=np.uint64)
    sizes = np.full(size, size, np.uint64)
    one, two = (permute(positions, sizes, np.full(size, key, np.uint64)) for key in (1, 2))
    assert abs(np.corrcoef(positions, one)[0, 1]) < 0.05
    assert (one == two).mean() < 0.01
    # Neighbours do not stay neighbours.
    assert (np.abs(np.diff(one.astype(np.int64))) == 1).mean() < 0.01


def test_permute_takes_a_size_and_key_for_each_index():
    sizes, per_key = keys(5, 9, 9), keys(1, 2, 3)
    landed = permute(keys(4, 4, 4), sizes, per_key)
    alone = [permute(keys(4), sizes[i : i + 1], per_key[i : i + 1])[0] for i in range(len(sizes))]
    assert landed.tolist() == alone


def test_numbers_are_uniform():
    many = np.arange(200_000, dtype=np.uint64)
    counts = np.bincount(draw_below(many, 0, np.full(len(many), 10)).astype(int), minlength=10)
    assert counts.sum() == len(many) and np.abs(counts / len(many) - 0.1).max() < 0.005
    unit = draw_unit(many, 1)
    assert unit.min() >= 0 and unit.max() < 1 and abs(unit.mean() - 0.5) < 0.005


def test_hash_key_tells_parts_apart():
    parts = [("ab", "c"), ("a", "bc"), ("abc",), (1, "1"), ("1", 1)]
    assert len({hash_key(*part) for part in parts}) == len(parts)
