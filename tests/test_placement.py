import numpy as np
import pytest

from depthmask.errors import UserError
from pipeline.plan import check_fits, foreground_scale
from pipeline.plan.placement import Boxes, name_key, place
from pipeline.recipes import Recipe, load_recipe

WIDTH, HEIGHT = 30, 20


def recipe(*settings: str) -> Recipe:
    return load_recipe("default", ["canvas.width=100", "canvas.height=80", *settings])


def places(
    recipe: Recipe, background: str = "b", foreground: str = "f", flip: bool = False
) -> Boxes:
    """All places of one pair and flip."""
    n = recipe.placements.per_pair
    return place(
        recipe,
        np.full(n, name_key(recipe.seed, background), np.uint64),
        np.full(n, name_key(recipe.seed, foreground), np.uint64),
        np.full(n, flip),
        np.arange(n),
        np.full(n, WIDTH),
        np.full(n, HEIGHT),
    )


def test_inside_is_never_cropped_and_reaches_every_edge():
    boxes = places(recipe("placements.per_pair=5000"))
    assert boxes.x.min() == 0 and (boxes.x + boxes.width).max() == 100
    assert boxes.y.min() == 0 and (boxes.y + boxes.height).max() == 80


def test_half_open_comes_short_of_the_right_and_lower_edge():
    boxes = places(recipe("placements={half_open: true, per_pair: 5000}"))
    assert boxes.x.min() == 0 and (boxes.x + boxes.width).max() == 99
    assert boxes.y.min() == 0 and (boxes.y + boxes.height).max() == 79
    with pytest.raises(UserError, match=r"80 pixels high and cannot lie inside .* short of its"):
        check_fits(recipe("placements.half_open=true"), 30, 80)


def test_anywhere_has_its_centre_on_the_canvas_and_reaches_over_every_edge():
    boxes = places(recipe("placements.per_pair=5000", "placements.region=anywhere"))
    assert boxes.x.min() == -WIDTH // 2 and boxes.x.max() == 99 - WIDTH // 2
    assert boxes.y.min() == -HEIGHT // 2 and boxes.y.max() == 79 - HEIGHT // 2


def test_a_range_holds_the_top_left_corner_and_is_used_whole():
    boxes = places(recipe("placements={region: range, x: [1, 60], y: [5, 79], per_pair: 5000}"))
    assert (boxes.x.min(), boxes.x.max(), boxes.y.min(), boxes.y.max()) == (1, 60, 5, 79)
    dealt = places(recipe("placements={region: range, x: [0, 19], y: [30, 49], distinct: true}"))
    assert sorted(dealt.x.tolist()) == list(range(20))
    assert sorted(dealt.y.tolist()) == list(range(30, 50))


def test_distinct_repeats_no_x_and_no_y():
    boxes = places(recipe("placements.per_pair=61", "placements.distinct=true"))
    # 61 rows are all that there are for a height of 20 on 80.
    assert len(set(boxes.x.tolist())) == 61
    assert sorted(boxes.y.tolist()) == list(range(61))


def test_independent_places_do_repeat():
    boxes = places(recipe("placements.per_pair=61"))
    assert len(set(boxes.y.tolist())) < 61


@pytest.mark.parametrize("region", ["inside", "anywhere"])
def test_distinct_holds_at_every_scale(region: str):
    boxes = places(
        recipe(
            "placements.per_pair=40",
            "placements.distinct=true",
            f"placements.region={region}",
            "foregrounds.scale=[0.5, 1.5]",
        )
    )
    assert len(set(boxes.x.tolist())) == len(set(boxes.y.tolist())) == 40
    if region == "inside":
        assert boxes.x.min() >= 0 and (boxes.x + boxes.width).max() <= 100
    assert boxes.width.min() >= 15 and boxes.width.max() <= 45 and len(set(boxes.width)) > 10


def test_scale_keeps_the_aspect():
    boxes = places(recipe("foregrounds.scale=[0.5, 2.0]", "placements.per_pair=500"))
    assert np.abs(boxes.width / boxes.height - WIDTH / HEIGHT).max() < 0.11  # whole pixels


def test_a_flip_has_its_own_places_or_shares_them():
    own, shared = recipe("placements.flip=own"), recipe("placements.flip=shared")
    assert places(own).x.tolist() != places(own, flip=True).x.tolist()
    assert places(shared).x.tolist() == places(shared, flip=True).x.tolist()


def test_transforms_take_turns_and_keep_inside_what_they_turn():
    turns = "[top_bottom, rotate_90, rotate_180, transverse]"
    rules = f"placements={{per_pair: 4000, transforms: {turns}}}"
    plain, flipped = places(recipe(rules)), places(recipe(rules), flip=True)
    assert set(plain.width) == {WIDTH} and set(plain.height) == {HEIGHT}
    for number in range(4):
        swapped = number in (1, 3)
        width, height = (HEIGHT, WIDTH) if swapped else (WIDTH, HEIGHT)
        x, y = flipped.x[number::4], flipped.y[number::4]
        assert set(flipped.width[number::4]) == {width}
        assert set(flipped.height[number::4]) == {height}
        assert (x.min(), x.max(), y.min(), y.max()) == (0, 100 - width, 0, 80 - height)
    check_fits(recipe(rules), 60, 70)
    with pytest.raises(UserError, match="90 pixels high and cannot lie inside a canvas 100×80"):
        check_fits(recipe(rules), 90, 20)


def test_a_scale_for_each_foreground_is_its_own_and_no_examples():
    scaled = "foregrounds={size: {mode: native}, scale: [0.5, 2.0], scale_each: foreground}"
    scales = [foreground_scale(recipe(scaled), f"fg{i}") for i in range(300)]
    assert 0.5 <= min(scales) < 0.55 and 1.9 < max(scales) <= 2.0
    assert scales == [foreground_scale(recipe(scaled), f"fg{i}") for i in range(300)]
    assert foreground_scale(recipe(scaled, "seed=1"), "fg0") != scales[0]
    assert set(places(recipe(scaled)).width) == {WIDTH}
    assert foreground_scale(recipe("foregrounds.scale=[0.5, 2.0]"), "fg0") == 1


def test_places_depend_on_seed_background_foreground_and_number():
    base = places(recipe()).x.tolist()
    assert places(recipe()).x.tolist() == base
    others = [
        places(recipe("seed=1")),
        places(recipe(), background="c"),
        places(recipe(), foreground="g"),
        places(recipe(), background="f", foreground="b"),
    ]
    assert all(other.x.tolist() != base for other in others)
    assert len(set(base)) > 10


def test_more_places_change_none_of_the_first():
    few, many = places(recipe("placements.per_pair=5")), places(recipe("placements.per_pair=50"))
    assert many.x[:5].tolist() == few.x.tolist() and many.y[:5].tolist() == few.y.tolist()


def test_room_is_checked():
    check_fits(recipe(), 100, 80)
    with pytest.raises(UserError, match="101 pixels wide"):
        check_fits(recipe(), 101, 80)
    with pytest.raises(UserError, match="120 pixels high"):
        check_fits(recipe("foregrounds.scale=[1.0, 1.5]"), 10, 80)
    with pytest.raises(UserError, match=r"only 11 distinct places for it down .*20 are asked for"):
        check_fits(recipe("placements.distinct=true"), 30, 70)
    check_fits(recipe("placements.region=anywhere"), 500, 500)
