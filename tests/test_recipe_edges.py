from __future__ import annotations

import time
from pathlib import Path

import pytest

from depthmask.errors import UserError
from pipeline.recipes import load_recipe


def test_a_recipe_file_that_builds_objects_runs_nothing(tmp_path: Path):
    mark = tmp_path / "harmed"
    path = tmp_path / "bad.yaml"
    path.write_text(f"name: !!python/object/apply:os.system ['touch {mark}']\n")
    with pytest.raises(UserError, match="not YAML"):
        load_recipe(str(path))
    assert not mark.exists()


def test_a_setting_that_builds_objects_runs_nothing(tmp_path: Path):
    mark = tmp_path / "harmed"
    with pytest.raises(UserError, match="not YAML"):
        load_recipe("default", [f"name=!!python/object/apply:os.system ['touch {mark}']"])
    assert not mark.exists()


@pytest.mark.parametrize("setting", ["=5", ".width=5", "canvas.=5", "canvas..width=5", "width"])
def test_a_setting_without_a_whole_key_is_refused(setting: str):
    with pytest.raises(UserError, match=r"give KEY\.PATH=VALUE"):
        load_recipe("default", [setting])


def test_the_last_of_two_settings_wins():
    assert load_recipe("default", ["seed=1", "seed=2"]).seed == 2


def test_settings_of_one_section_keep_its_other_keys(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("canvas: {width: 64, height: 48, colour: grey}\n")
    canvas = load_recipe(str(path), ["canvas.width=100"]).canvas
    assert (canvas.width, canvas.height, canvas.colour) == (100, 48, "grey")


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["foregrounds.size={mode: fixed, width: 5, height: 6}", "foregrounds.scale=[0.1, 2.5]"],
        ["foregrounds.size={mode: max_side, max_side: 9}", "shards.chunk=3", "masks.soft=true"],
        ["foregrounds.size={mode: native}", "splits.fractions={a: 0.1, b: 0.2, c: 0.7}"],
        ["name='on'", "canvas.colour=grey", "image.format=png", "depth.scale=1.0e-7"],
    ],
)
def test_every_recipe_reads_back_equal(tmp_path: Path, settings: list[str]):
    recipe = load_recipe("default", settings)
    path = tmp_path / "stored.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(str(path)) == recipe


def test_a_tall_foreground_on_a_wide_canvas_is_bound_by_the_height():
    recipe = load_recipe("default", ["canvas={width: 400, height: 100}"])
    assert recipe.foregrounds.drawn_size(40, 200, recipe.canvas) == (10, 50)
    assert recipe.foregrounds.drawn_size(1, 5000, recipe.canvas) == (1, 50)


def test_an_infinite_depth_scale_is_refused():
    with pytest.raises(UserError, match=r"depth\.scale"):
        load_recipe("default", ["depth.scale=.inf"])


def test_a_key_given_twice_is_refused(tmp_path: Path):
    path = tmp_path / "twice.yaml"
    path.write_text("seed: 1\ncanvas: {width: 64}\nseed: 2\n")
    with pytest.raises(UserError, match="seed"):
        load_recipe(str(path))


@pytest.mark.parametrize("opening", ["[", "{", "[{", "- ", "? "])
def test_deep_nesting_is_refused_at_once(tmp_path: Path, opening: str):
    path = tmp_path / "deep.yaml"
    path.write_text("a:\n  " + opening * (60_000 // len(opening)))
    begun = time.process_time()
    with pytest.raises(UserError, match="nested too deeply"):
        load_recipe(str(path))
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "number",
    [
        "9" * 5000,
        "0x" + "f" * 5000,
        "0b" + "1" * 50000,
        "0" + "7" * 5000,
        "1" + ":1" * 5000,
        "1" + ":1" * 5000 + ".5",
        "9" * 5000 + ".5",
        f'!!int "{"9" * 5000}"',
        f"-{'9' * 5000}",
    ],
)
def test_a_number_of_thousands_of_digits_is_refused(number: str):
    with pytest.raises(UserError, match="more than 50 digits"):
        load_recipe("default", [f"seed={number}"])
