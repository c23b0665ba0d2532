"""The gallery page: whole, escaped, and self-contained."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthmask.errors import UserError
from pipeline.dataset import open_dataset
from pipeline.inputs import InputFolders
from pipeline.view import write_gallery, write_sheet
from pipeline.view.figures import histogram, placement_map
from tests.conftest import draw_inputs, make_dataset


class Page(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def attributes(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and kind in (a.get("class") or "")]


def test_the_page_shows_examples_of_every_split(dataset: Path, tmp_path: Path):
    shown = write_gallery(str(dataset), tmp_path / "page.html", 20)
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    examples = page.attributes("section", "example")
    assert len(examples) == shown == 20
    assert {e["data-split"] for e in examples} == {"train", "test"}
    assert {e["data-class"] for e in examples} == {"hall", "kitchen"}
    sources = [image["src"] or "" for image in page.attributes("img")]
    assert len(sources) == 20 * 5 + 1
    for source in sources:
        kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", source).groups()
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        image.load()
        assert image.format.lower() == kind
    assert "measured on 72 of 72 masks" in text
    assert not re.search(r"(src|href)=.https?:|url\(|@import", text)


def test_names_cannot_break_the_page(tmp_path: Path):
    folders = draw_inputs(tmp_path / "in", 1, 1)
    nasty = "a&b 'c' <script>alert(1)"
    source = next(Path(folders.backgrounds).rglob("*.png"))
    source.rename(source.parent / f"{nasty}.png")
    made = make_dataset(folders, tmp_path / "made", "splits.fractions={all: 1.0}")
    write_gallery(str(made), tmp_path / "page.html", 2)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "a&amp;b &#x27;c&#x27;" in text
    assert text.count("<script>") == 1


def test_the_outline_is_the_rim_of_the_mask(dataset: Path, tmp_path: Path):
    write_gallery(str(dataset), tmp_path / "page.html", 1)
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    images = {image["alt"] or image["class"]: image["src"] for image in page.attributes("img")}

    def pixels(name: str, mode: str) -> np.ndarray:
        data = base64.b64decode(images[name].split(",")[1])
        return np.asarray(Image.open(io.BytesIO(data)).convert(mode))

    rim = pixels("outline", "RGBA")[..., 3] > 0
    inside = pixels("mask", "L") >= 128
    assert rim.any() and (rim <= inside).all() and rim.sum() < inside.sum()


def test_the_heat_map_counts_every_box(dataset: Path):
    expected = np.zeros((40, 48), int)
    for row in csv.DictReader((dataset / "index.csv").open(encoding="utf-8")):
        x, y, width, height = (int(row[key]) for key in ("x", "y", "width", "height"))
        expected[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] += 1
    assert (placement_map(open_dataset(str(dataset))) == expected).all()


def test_boxes_beyond_the_edge_count_where_they_are_seen(folders: InputFolders, tmp_path: Path):
    made = make_dataset(folders, tmp_path / "made", "placements.region=anywhere")
    test_the_heat_map_counts_every_box(made)


def test_a_histogram_has_all_masks():
    svg = histogram([0.01, 0.02, 0.02, 0.4])
    counts = [int(found) for found in re.findall(r": (\d+) masks", svg)]
    assert sum(counts) == 4 and max(counts) == 2


def test_what_is_damaged_or_cannot_be_written_is_said(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shard = next(copy.glob("*train*"))
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    for write, name in ((write_gallery, "page.html"), (write_sheet, "sheet.png")):
        with pytest.raises(UserError, match=r"copy is damaged: .* verify --repair"):
            write(str(copy), tmp_path / name, 5)
        with pytest.raises(UserError, match=r"is a file\. Name another folder"):
            write(str(dataset), shard / name, 5)
        assert not (tmp_path / name).exists()


def test_a_sheet_says_how_many_it_drew(dataset: Path, tmp_path: Path):
    assert write_sheet(str(dataset), tmp_path / "few.png", 7) == 7
    assert write_sheet(str(dataset), tmp_path / "all.png", 500) == 72


def test_the_page_and_the_sheet_overwrite_nothing(dataset: Path, tmp_path: Path):
    taken = tmp_path / "mine"
    taken.write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        write_gallery(str(dataset), taken, 5)
    with pytest.raises(UserError, match="is there already"):
        write_sheet(str(dataset), taken, 5)
    assert taken.read_text() == "mine"
