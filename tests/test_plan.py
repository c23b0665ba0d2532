import itertools
from collections import Counter

import pytest

from depthmask.errors import UserError
from pipeline.plan import Plan
from pipeline.recipes import load_recipe
from transforms.elements import Placement
from transforms.prepared import PreparedPicture


def pictures(prefix: str, count: int) -> tuple[PreparedPicture, ...]:
    return tuple(PreparedPicture(f"{prefix}{i}", 20 + i, 30, 0, 0, "room") for i in range(count))


def plan(*settings: str, backgrounds: int = 10, foregrounds: int = 4) -> Plan:
    recipe = load_recipe(
        "default", ["placements.per_pair=5", "shards.examples=60", "shards.chunk=8", *settings]
    )
    return Plan(recipe, pictures("b", backgrounds), pictures("f", foregrounds))


def examples(plan: Plan, split: str | None = None) -> list[Placement]:
    return [
        placement
        for shard in plan.shard_keys()
        if split in (None, shard.split)
        for key in plan.chunk_keys(shard)
        for placement in plan.chunk(key).placements
    ]


def test_every_combination_is_there_once():
    made = examples(plan())
    combinations = Counter((p.background, p.foreground, p.flip, p.index) for p in made)
    assert len(made) == len(combinations) == 10 * 4 * 2 * 5
    assert len({placement.id for placement in made}) == len(made)


def test_splits_have_exact_counts():
    fractions = "splits.fractions={train: 0.7, validation: 0.1, test: 0.2}"
    counts = {name: split.examples for name, split in plan(fractions).splits.items()}
    assert counts == {"train": 280, "validation": 40, "test": 80}


def test_counts_are_exact_where_binary_floats_are_not():
    many = plan(
        "splits.fractions={train: 0.7, test: 0.3}",
        "placements.per_pair=20",
        "shards.examples=8000",
        backgrounds=100,
        foregrounds=100,
    )
    assert [split.examples for split in many.splits.values()] == [280_000, 120_000]
    assert [len(split.shard_sizes) for split in many.splits.values()] == [35, 15]


@pytest.mark.parametrize("side", ["background", "foreground"])
def test_a_split_by_picture_shares_none(side: str):
    dealt = plan(
        f"splits.by={side}",
        "splits.fractions={train: 0.5, test: 0.5}",
        backgrounds=10,
        foregrounds=10,
    )
    train, test = (
        {getattr(placement, side) for placement in examples(dealt, split)}
        for split in ("train", "test")
    )
    assert len(train) == len(test) == 5 and not train & test
    assert len(examples(dealt)) == len({placement.id for placement in examples(dealt)}) == 1000


def test_a_split_by_both_shares_neither_backgrounds_nor_foregrounds():
    both = "splits={by: both, fractions: {train: 0.6, val: 0.2, test: 0.2}, between: mixed}"
    dealt = plan(both, foregrounds=5)
    assert list(dealt.splits) == ["train", "val", "test", "mixed"]
    seen = {
        split: [
            {getattr(p, side) for p in examples(dealt, split)}
            for side in ("background", "foreground")
        ]
        for split in dealt.splits
    }
    for one, other in itertools.combinations(("train", "val", "test"), 2):
        assert not seen[one][0] & seen[other][0] and not seen[one][1] & seen[other][1]
    assert {split: dealt.splits[split].examples for split in seen} == {
        "train": 6 * 3 * 10,
        "val": 2 * 1 * 10,
        "test": 2 * 1 * 10,
        "mixed": (10 * 5 - 18 - 2 - 2) * 10,
    }
    everything = {p.id for p in examples(plan(foregrounds=5))}
    assert {p.id for p in examples(dealt)} == everything
    kept = {p.id for split in ("train", "val", "test") for p in examples(dealt, split)}
    left_out = plan(
        "splits={by: both, fractions: {train: 0.6, val: 0.2, test: 0.2}}", foregrounds=5
    )
    assert {p.id for p in examples(left_out)} == kept


def test_each_shard_is_a_fair_sample():
    large = plan("shards.examples=400", "placements.per_pair=100")
    shard = large.shard_keys()[0]
    mine = [p for key in large.chunk_keys(shard) for p in large.chunk(key).placements]
    per_background = Counter(placement.background for placement in mine)
    assert len(per_background) == 10 and min(per_background.values()) > 20
    assert 0.4 < sum(placement.flip for placement in mine) / len(mine) < 0.6


def test_order_does_not_depend_on_the_size_of_chunks():
    assert examples(plan("shards.chunk=8")) == examples(plan("shards.chunk=64"))


def test_shard_sizes_differ_by_one_at_most():
    sizes = plan("shards.examples=70", "splits.fractions={all: 1.0}").shard_sizes["all"]
    assert sum(sizes) == 400 and max(sizes) - min(sizes) <= 1 and len(sizes) == 6


def test_more_pictures_change_no_placement_of_the_others():
    small = {p.id: p for p in examples(plan())}
    large = {p.id: p for p in examples(plan(backgrounds=13, foregrounds=7))}
    assert small.keys() < large.keys()
    assert all(large[name] == placement for name, placement in small.items())


def test_classes_are_counted_where_there_are_any():
    recipe = load_recipe("default")
    kitchen = PreparedPicture("k", 20, 30, 0, 0, "kitchen")
    loose = PreparedPicture("l", 20, 30, 0, 0, "")
    made = Plan(recipe, (*pictures("b", 3), kitchen, loose), pictures("f", 1))
    assert made.summary.endswith("\nclasses of backgrounds: none (1), kitchen (1), room (3)")
    assert "class" not in Plan(recipe, (loose,), pictures("f", 1)).summary


def test_a_split_without_examples_is_refused():
    with pytest.raises(UserError, match=r"test \(0.01\) gets none of the 10 backgrounds"):
        _ = plan("splits.by=background", "splits.fractions={train: 0.99, test: 0.01}").splits
