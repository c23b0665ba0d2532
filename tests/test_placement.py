import numpy as np
import pytest

from depthmask.errors import UserError
from pipeline.plan import check_fits
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
    with pytest.raises(UserError, match=r"11 distinct places high.*20 are asked for"):
        check_fits(recipe("placements.distinct=true"), 30, 70)
    check_fits(recipe("placements.region=anywhere"), 500, 500)
