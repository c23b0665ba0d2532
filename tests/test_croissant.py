"""croissant.json, publish.yaml and `depthmask card`; read and judged by mlcroissant."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
import yaml
from PIL import Image

import depthmask
from depthmask.errors import UserError
from pipeline.cli import main
from pipeline.export import LAYOUTS
from pipeline.export.layout import Facts
from pipeline.inputs import InputFolders
from pipeline.publish.licences import hub_licence, licence_link
from pipeline.publish.publication import Publication
from pipeline.repair import repair
from pipeline.verify import verify_dataset
from tests.conftest import ONE_WORKER, file_bytes, make_dataset, read_as_its_readme_says

PUBLISH = """
title: "Rooms, and things in them"
description: Discs on gradients.
version: 2.1.0
url: https://example.org/rooms
date_published: 2026-11-28
creators:
  - {name: Ada Example, email: ada@example.org}
  - {name: Example Ltd, kind: organization, url: "https://example.org"}
licence: cc-by-4.0
citation: |
  @misc{rooms, title={Rooms}}
keywords: [rooms]
sources:
  - {of: backgrounds, name: drawn, licence: CC0-1.0}
  - {of: foregrounds, name: a shop, url: "https://example.org/shop", licence: bought}
  - {of: depth, name: averages, licence: MIT}
uses: [to test]
limits: [not for the street]
biases: [two classes of rooms]
personal_information: [there is none]
social_impact: None is known.
collection: They were drawn.
maintenance: Nobody keeps it up.
contact: ada@example.org
"""
READ_BY_IT = ("folder", "huggingface")


@pytest.fixture(scope="module")
def published(with_depth: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset with a publish.yaml, its card written, and its exports. Not to be changed."""
    folder = tmp_path_factory.mktemp("published")
    made = Path(shutil.copytree(with_depth, folder / "dataset"))
    (made / "publish.yaml").write_text(PUBLISH)
    depthmask.card(made)
    for layout in READ_BY_IT:
        depthmask.export(made, folder / layout, layout, options=ONE_WORKER)
    return {name: folder / name for name in ("dataset", *READ_BY_IT)}


def opened(folder: Path) -> mlcroissant.Dataset:
    return mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))


def warnings_of(dataset: mlcroissant.Dataset) -> set[str]:
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    return {re.search(r'"(\S+)" is recommended', text)[1] for text in issues.warnings}


@pytest.mark.parametrize("name", ["dataset", *READ_BY_IT])
def test_mlcroissant_has_nothing_to_object_to(published: dict[str, Path], name: str, caplog):
    dataset = opened(published[name])
    assert warnings_of(dataset) == set() and not caplog.records
    metadata = dataset.metadata.to_json()
    assert metadata["name"] == "Rooms, and things in them"
    assert metadata["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]
    assert metadata["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert metadata["datePublished"] == "2026-11-28" and metadata["version"] == "2.1.0"
    assert {creator["@type"] for creator in metadata["creator"]} == {"sc:Person", "sc:Organization"}


def test_conferences_find_what_they_ask_for(published: dict[str, Path]):
    found = json.loads((published["folder"] / "croissant.json").read_text())
    assert found["rai:hasSyntheticData"] is True
    assert found["rai:dataUseCases"] == ["to test"]
    assert found["rai:dataLimitations"][-1] == "not for the street"
    assert found["rai:dataBiases"] == ["two classes of rooms"]
    assert found["rai:personalSensitiveInformation"] == ["there is none"]
    assert found["rai:dataSocialImpact"] == "None is known."
    assert found["rai:machineAnnotationTools"][1] == "keras:m.keras"
    drawn, bought, averages = found["prov:wasDerivedFrom"]
    assert drawn["prov:label"] == "4 backgrounds: drawn" and "@id" not in drawn
    assert drawn["license"] == "https://spdx.org/licenses/CC0-1.0.html"
    assert bought["@id"] == "https://example.org/shop" and bought["license"] == "bought"
    assert averages["prov:label"] == "depth: averages"
    agents = found["prov:wasGeneratedBy"]["prov:wasAssociatedWith"]
    assert [agent["prov:label"].split()[0] for agent in agents] == ["depthmask", "keras:m.keras"]


def test_sources_of_one_page_stay_two(published: dict[str, Path], tmp_path: Path):
    copy = Path(shutil.copytree(published["folder"], tmp_path / "copy"))
    shop = '{name: a shop, url: "https://example.org/shop", of: '
    sources = f"[{shop}backgrounds, licence: MIT}}, {shop}foregrounds, licence: CC0-1.0}}]"
    (copy / "publish.yaml").write_text(f"sources: {sources}")
    depthmask.card(copy)
    found = json.loads((copy / "croissant.json").read_text())["prov:wasDerivedFrom"][:2]
    assert [source["url"] for source in found] == ["https://example.org/shop"] * 2
    assert not any("@id" in source for source in found)
    warnings_of(opened(copy))


def test_what_nobody_has_said_is_not_invented(dataset: Path):
    unsaid = {f"https://schema.org/{key}" for key in ("datePublished", "license")}
    assert warnings_of(opened(dataset)) == unsaid | {"http://mlcommons.org/croissant/citeAs"}
    found = json.loads((dataset / "croissant.json").read_text())
    assert not {"license", "creator", "url", "rai:dataBiases"} & found.keys()
    assert "licence of the dataset: …" in (dataset / "README.md").read_text("utf-8")
    assert ("monocular depth estimation" in found["keywords"]) == ("depth" in found["description"])


@pytest.mark.parametrize(("layout", "block"), [("folder", 2), ("huggingface", 1)])
def test_an_export_says_how_mlcroissant_reads_it(
    published: dict[str, Path], layout: str, block: int
):
    read = read_as_its_readme_says(published[layout], block)
    assert read["image"].size == (48, 40)


@pytest.fixture(scope="module")
def expected(with_depth: Path) -> dict[bytes, dict[str, Any]]:
    """All examples by id, as `depthmask.load` gives them; depth as it is stored."""
    return {
        example["id"]: example
        for split in ("train", "test")
        for example in depthmask.load(with_depth, split, decode_depth=False).as_numpy_iterator()
    }


def pixels(picture: Image.Image) -> np.ndarray:
    found = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    return found if found.ndim == 3 else found[..., None]


@pytest.mark.parametrize("split", ["train", "test", None])
def test_records_of_parquet_are_what_load_gives(
    published: dict[str, Path], expected: dict[bytes, dict[str, Any]], split: str | None, caplog
):
    filters = {"examples/split": split} if split else None
    records = list(opened(published["huggingface"]).records("examples", filters))
    assert len(records) == {"train": 65, "test": 7, None: 72}[split]
    for record in records:
        example = expected[record["examples/id"]]
        for kind in ("image", "mask", "depth"):
            found = pixels(record[f"examples/{kind}"])
            assert found.dtype == example[kind].dtype and (found == example[kind]).all()
        assert record["examples/split"].decode() == split or split is None
        for column in ("background", "foreground", "background_class", "flip", "placement", "x"):
            assert record[f"examples/{column}"] == example[column], column
    assert not caplog.records


def test_records_of_folders_are_what_load_gives(
    published: dict[str, Path], expected: dict[bytes, dict[str, Any]], caplog
):
    made = published["folder"]
    dataset = opened(made)
    pictures = {
        kind: {
            record[f"{kind}s/path"]: pixels(record[f"{kind}s/{kind}"])
            for record in dataset.records(f"{kind}s")
        }
        for kind in ("image", "mask")
    }
    assert len(pictures["image"]) == len(pictures["mask"]) == 72
    seen = set()
    for record in dataset.records("examples"):
        example = expected[record["examples/id"]]
        split = record["examples/split"].decode()
        paths = {kind: record[f"examples/{kind}_path"] for kind in ("image", "mask", "depth")}
        assert (pictures["image"][paths["image"]] == example["image"]).all()
        # It makes RGB of all picture files, so of depth of 16 bits there are no records.
        assert (pictures["mask"][paths["mask"]] == example["mask"]).all()
        depth = pixels(Image.open(made / split / paths["depth"].decode()))
        assert depth.dtype == np.uint16 and (depth == example["depth"]).all()
        assert record["examples/background"] == example["background"]
        assert record["examples/foreground"] == example["foreground"]
        seen.add(record["examples/id"])
    assert seen == expected.keys() and "depths" not in {
        each.uuid for each in dataset.metadata.record_sets
    }
    test = opened(made).records("images", {"images/split": "test"})
    assert len(list(test)) == 7 and not caplog.records
    rows = opened(made).records("examples", {"examples/split": "test"})
    assert {row["examples/split"] for row in rows} == {b"test"}


def test_records_of_a_dataset_are_its_index(published: dict[str, Path]):
    rows = csv.DictReader((published["dataset"] / "index.csv").open())
    records = list(opened(published["dataset"]).records("examples"))
    assert len(records) == 72
    for record, row in zip(records, rows, strict=True):
        for column in ("id", "split", "background", "background_class", "foreground"):
            assert record[f"examples/{column}"].decode() == row[column]
        for column in ("flip", "placement", "x", "y", "width", "height"):
            assert record[f"examples/{column}"] == int(row[column])


def test_names_of_digits_stay_what_they_are(dataset: Path, tmp_path: Path):
    shutil.copy(dataset / "croissant.json", tmp_path)
    header = (dataset / "index.csv").read_text().splitlines()[0]
    (tmp_path / "index.csv").write_text(f"{header}\n007+01+0+00,train,0,007,,01,0,0,1,2,3,4\n")
    (record,) = opened(tmp_path).records("examples")
    assert record["examples/background"] == b"007" and record["examples/foreground"] == b"01"


def test_card_changes_what_follows_from_publish_yaml_and_nothing_else(
    published: dict[str, Path], tmp_path: Path, capsys
):
    for name, made in published.items():
        copy = Path(shutil.copytree(made, tmp_path / name))
        (copy / "publish.yaml").write_text("licence: MIT\ncitation: mine\n")
        before = file_bytes(copy)
        assert main(["card", str(copy)]) == 0
        said = capsys.readouterr().out
        assert "README.md, croissant.json" in said
        assert f"Not said yet, in {copy}/publish.yaml: title, creators, url," in said
        after = file_bytes(copy)
        assert {key for key in before if before[key] != after[key]} == {
            "README.md",
            "croissant.json",
        }
        assert before.keys() == after.keys()
        assert b"licence of the dataset: MIT" in after["README.md"]
        assert json.loads(after["croissant.json"])["citeAs"] == "mine"
        assert main(["card", str(copy)]) == 0 and file_bytes(copy) == after
        (copy / "publish.yaml").write_text(PUBLISH)
        written = depthmask.card(copy)
        assert file_bytes(copy) == file_bytes(made)
        assert written.unsaid == () and written.unknown_licences == ("bought",)
        assert "Not known as a licence: bought; give SPDX's name" in str(written)


def test_what_card_writes_verifies(published: dict[str, Path], here: None):
    assert not any(check.problems for check in verify_dataset(published["dataset"], sample=5))


def test_the_hubs_metadata_has_what_was_said(published: dict[str, Path]):
    readme = (published["huggingface"] / "README.md").read_text("utf-8")
    head = yaml.safe_load(readme.split("---\n")[1])
    assert head["license"] == "cc-by-4.0" and head["tags"] == ["rooms"]
    assert head["pretty_name"] == "Rooms, and things in them"
    assert "@misc{rooms, title={Rooms}}" in readme and "- not for the street" in readme
    assert "- backgrounds: drawn, licence: CC0-1.0" in readme and "…" not in readme.split("##")[-1]
    card = (published["dataset"] / "README.md").read_text("utf-8")
    assert card.startswith("# Rooms, and things in them: a depthmask dataset\n\nDiscs on")
    assert "(keras:m.keras): MIT" in card and "- depth: averages, licence: MIT" in card
    assert "contact: ada@example.org" in card and "To be filled in" not in card


def test_an_export_has_the_publish_yaml_and_stays_whole(
    published: dict[str, Path], dataset: Path, tmp_path: Path
):
    for layout in READ_BY_IT:
        assert (published[layout] / "publish.yaml").read_text() == PUBLISH
    copy = Path(shutil.copytree(published["folder"], tmp_path / "copy"))
    (copy / "publish.yaml").write_text("licence: MIT\n")
    depthmask.card(copy)
    depthmask.export(published["dataset"], copy, "folder", ONE_WORKER)  # nothing is left to do
    assert (copy / "publish.yaml").read_text() == "licence: MIT\n"
    next(copy.glob("train/mask/*")).unlink()
    with pytest.raises(UserError, match="1 pictures are missing"):
        depthmask.export(published["dataset"], copy, "folder", ONE_WORKER)
    # What lies there already is the export's own.
    own = tmp_path / "own"
    own.mkdir()
    (own / "publish.yaml").write_text("licence: Unlicense\n")
    depthmask.export(dataset, own, "huggingface", ONE_WORKER)
    assert (own / "publish.yaml").read_text() == "licence: Unlicense\n"
    assert "licence of the dataset: Unlicense" in (own / "README.md").read_text("utf-8")
    before = file_bytes(own)
    assert depthmask.card(own).files == ("README.md", "croissant.json")
    assert file_bytes(own) == before and "depth.json" not in before


def test_neither_runs_nor_repairs_lose_a_publish_yaml(folders: InputFolders, tmp_path: Path):
    output = tmp_path / "made"
    output.mkdir()
    (output / "publish.yaml").write_text(PUBLISH)
    make_dataset(folders, output)
    before = file_bytes(output)
    assert before["publish.yaml"] == PUBLISH.encode() and b"cc-by-4.0" in before["README.md"]
    for lost in output.glob("*train*"):
        lost.unlink()
    by_hand = dict.fromkeys(("publish.yaml", "README.md", "croissant.json"), b"licence: mine")
    for name, data in by_hand.items():
        (output / name).write_bytes(data)
    repair(output, None, ONE_WORKER)
    assert file_bytes(output) == before | by_hand
    (output / "publish.yaml").write_text(PUBLISH)
    make_dataset(folders, output, restart=True)
    assert file_bytes(output) == before


BAD = {
    "licens: MIT": r"licens: no such key. There are: title, description, .*, contact",
    "sources: [{of: masks, name: x, link: y}]": "sources.0.link: no such key. There are: of,",
    "sources: [{of: chairs, name: x}]": r"sources.0.of: input should be 'backgrounds', .*'chairs'",
    "creators: [{url: 'https://x.org'}]": "creators.0.name: field required",
    "creators: Ada": "creators: is 'Ada', and must be a list",
    "uses: to train": "uses: is 'to train', and must be a list",
    "version: 1.0": "version: is 1.0, and must be text: put it in quotes",
    "version: '1'": r"version: string should match pattern .*\(it is '1'\)",
    "url: example.org": "url: string should match pattern .*'example.org'",
    "date_published: soon": "date_published: input should be a valid date",
    "title: ''": "title: string should have at least 1 character",
    "- a list": "must be a mapping of keys. There are: title,",
    "title: [": "not YAML: while parsing",
    "title: x\ntitle: y": "the key title is given twice",
    "title: \udcff": "not a text file",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_publish_yaml_is_said_before_anything_is_written(
    published: dict[str, Path], folders: InputFolders, tmp_path: Path, text: str
):
    made = published["dataset"]
    before = {name: (made / name).read_bytes() for name in ("README.md", "croissant.json")}
    path = made / "publish.yaml"
    try:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        said = rf"publish.yaml(?s:.*){BAD[text]}"
        with pytest.raises(UserError, match=said):
            depthmask.card(made)
        with pytest.raises(UserError, match=said):
            depthmask.export(made, tmp_path / "out", "folder", ONE_WORKER)
        with pytest.raises(UserError, match=said):
            repair(made, None, ONE_WORKER)
    finally:
        path.write_text(PUBLISH)
    assert {name: (made / name).read_bytes() for name in before} == before
    assert not (tmp_path / "out").exists()
    new = tmp_path / "new"
    new.mkdir()
    (new / "publish.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=said):
        make_dataset(folders, new)
    assert [file.name for file in new.iterdir()] == ["publish.yaml"]


def test_a_publish_yaml_may_say_nothing(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    (copy / "publish.yaml").write_text("# licence: MIT\n")
    depthmask.card(copy)
    (copy / "publish.yaml").unlink()
    assert file_bytes(copy) == file_bytes(dataset)


def test_a_readme_that_was_changed_by_hand_is_not_lost(dataset: Path, tmp_path: Path, capsys):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    readme = copy / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("contact: …", "contact: me"), "utf-8")
    before = file_bytes(copy)
    assert main(["card", str(copy)]) == 2
    assert f"{readme} was changed by hand" in capsys.readouterr().err
    assert file_bytes(copy) == before
    readme.unlink()
    assert main(["card", str(copy)]) == 0
    assert file_bytes(copy) == file_bytes(dataset)


def test_a_folder_of_something_else_is_left_alone(
    published: dict[str, Path], tmp_path: Path, capsys
):
    assert main(["card", str(tmp_path)]) == 2
    assert "is neither a finished dataset nor a finished export" in capsys.readouterr().err
    copy = Path(shutil.copytree(published["huggingface"], tmp_path / "copy"))
    description = json.loads((copy / "export.json").read_text())
    del description["summary"]
    (copy / "export.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"an older depthmask wrote it: summary is missing"):
        depthmask.card(copy)


def test_a_layout_that_readers_of_croissant_cannot_read_has_none(published: dict[str, Path]):
    facts = Facts.from_json(json.loads((published["folder"] / "export.json").read_text()))
    made = LAYOUTS["webdataset"].published(facts, Publication(licence="MIT"))
    assert made.keys() == {"README.md"} and b"licence of the dataset: MIT" in made["README.md"]


@pytest.mark.parametrize("finished", [False, True])
def test_a_repair_that_was_interrupted_goes_first(dataset: Path, tmp_path: Path, finished: bool):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    (copy / "_unfinished").mkdir()
    shutil.copy(copy / "manifest.json", copy / "_unfinished" / "manifest-set-aside.json")
    if not finished:
        (copy / "manifest.json").unlink()
    before = file_bytes(copy)
    with pytest.raises(UserError, match="a repair was interrupted"):
        depthmask.card(copy)
    assert file_bytes(copy) == before


def test_licences_have_the_names_that_each_reader_knows():
    assert licence_link("apache-2.0") == "https://spdx.org/licenses/Apache-2.0.html"
    assert licence_link("CC BY-SA 4.0") == "https://spdx.org/licenses/CC-BY-SA-4.0.html"
    assert hub_licence("CC BY 4.0") == {"license": "cc-by-4.0"}
    assert licence_link("https://example.org/terms") == "https://example.org/terms"
    assert hub_licence(None) == {"license": "unknown"}
    assert hub_licence("ODbL-1.0") == {"license": "odbl"}
    assert hub_licence("All rights reserved") == {
        "license": "other",
        "license_name": "All rights reserved",
    }
    assert hub_licence("https://example.org/terms") == {
        "license": "other",
        "license_link": "https://example.org/terms",
    }
