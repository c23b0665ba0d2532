"""The dataset card: true, runnable, and its publisher's to complete."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from depthmask.manifest import PREPARED, Manifest, Provenance, ShardEntry
from depthmask.tally import Tally
from pipeline.dataset.card import CardFacts, dataset_card
from pipeline.publish.publication import Publication
from pipeline.recipes import Recipe, builtin_recipes, load_recipe
from pipeline.repair import repair
from pipeline.verify import verify_dataset
from tests.conftest import ONE_WORKER
from tests.test_dataset import records
from transforms.prepared import PreparedPicture


def test_the_card_says_what_was_measured(dataset: Path):
    card = (dataset / "README.md").read_text("utf-8")
    made = records(dataset)
    for kind, key in (("composites", "image"), ("masks", "mask")):
        total = sum(len(record[key]) for record in made)
        assert f"| {kind} | 72 | 48×40 |" in card and f"| {total:,} |" in card
    sizes = {(record["foreground"], record["width"], record["height"]) for record in made}
    widths, heights = zip(*((width, height) for _, width, height in sizes), strict=True)
    drawn = f"{min(widths)}…{max(widths)} × {min(heights)}…{max(heights)} at scale 1"
    assert f"| foregrounds | 3 | {drawn} |" in card
    shards = sum(path.stat().st_size for path in dataset.glob("*train*"))
    assert f"| train | 65 | 90.3% | 4 | {shards:,} |" in card
    assert "Classes of backgrounds: hall (2), kitchen (2)." in card
    statistics = json.loads((dataset / "statistics.json").read_text())
    mean = ", ".join(f"{value:.6f}" for value in statistics["composites"]["mean"])
    assert f"| composites | 72 | red, green, blue | {mean} |" in card
    assert "licence of the backgrounds: …" in card


def test_the_programs_in_the_card_run(with_depth: Path, tmp_path: Path):
    folder = tmp_path / "a [1]*"  # whose name looks like a pattern
    folder.symlink_to(with_depth)
    card = (with_depth / "README.md").read_text("utf-8").replace("PATH/TO/THIS/FOLDER", "{path}")
    programs = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        found: dict[str, Any] = {}
        exec(program.replace("{path}", str(folder)), found)
    assert found["image"].shape == (40, 48, 3) and found["depth"].dtype == tf.uint16


def card_of(recipe: Recipe) -> str:
    """The card of a dataset of one example without depth."""
    tally = Tally(picture_bytes={"image": 1, "mask": 1})
    manifest = Manifest(
        provenance=Provenance({}, {}, None, {}),
        backgrounds=1,
        foregrounds=1,
        depth=None,
        input_tally=Tally(),
        findings=(),
        shards=(ShardEntry("train", 0, 1, 1, 1, 0, tally),),
    )
    return dataset_card(
        CardFacts(
            recipe=recipe,
            manifest=manifest,
            backgrounds=[PreparedPicture("a", 9, 9, 0, 0)],
            foregrounds=[PreparedPicture("b", 9, 9, 0, 0)],
            input_bytes=dict.fromkeys(PREPARED, 1),
            publication=Publication(),
        )
    ).decode()


@pytest.mark.parametrize("name", sorted(builtin_recipes()))
def test_the_card_has_the_size_of_the_foregrounds(name: str):
    recipe = load_recipe(name)
    if recipe.masks.source == "given":  # a dataset says what was
        recipe = load_recipe(name, ["masks.source=file"])
    card = card_of(recipe)
    numbers = recipe.foregrounds.size.model_dump(exclude={"mode"}, exclude_none=True)
    assert all(f"{key.replace('_', ' ')} {value:g}" in card for key, value in numbers.items())
    assert "one split" in card and "known from the others" not in card


def test_the_card_says_what_flipping_did_and_how_masks_were_made():
    mall = card_of(load_recipe("restaurant-mall"))
    assert "modulo 7 mirrored top to bottom (0), mirrored (1), turned by 90° (2)," in mall
    assert (
        "Masks are from transparency, 0 where black, kept with their grey levels, squared" in mall
    )
    assert "inside the canvas short of its edge" in mall
    room = card_of(load_recipe("living-room"))
    assert "a random factor from 1 to 1.2 for each foreground" in room
    assert "Masks are from the mask files, dithered to 0 and 255" in room
    assert "Flipped ones are mirrored, at the same places." in room


def test_a_card_that_was_filled_in_stays(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    card = copy / "README.md"
    card.write_text(card.read_text("utf-8").replace("contact: …", "contact: me"), "utf-8")
    next(copy.glob("*train*")).unlink()
    assert len(repair(str(copy), None, ONE_WORKER).shards) == 1
    assert not any(check.problems for check in verify_dataset(str(copy)))
    assert "contact: me" in card.read_text("utf-8")
