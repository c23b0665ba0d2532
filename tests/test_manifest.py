"""The manifest: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import depthmask
from depthmask.errors import DatasetError
from depthmask.manifest import (
    CHECKED_FILES,
    PREPARED,
    DepthMeaning,
    InputFinding,
    Manifest,
    ModelIdentity,
    Provenance,
    ShardEntry,
    is_dataset_file,
    parse_shard_name,
    shard_name,
)
from depthmask.tally import LeftOut, Tally
from pipeline.dataset import open_dataset
from transforms.measure import measure

RNG = np.random.default_rng(5)


def moments(images: int, channels: int = 1):
    return measure(RNG.integers(0, 256, (images, 4, 5, channels)).astype(np.uint8))


def shard(split: str, number: int, of: int, examples: int, *left_out: LeftOut) -> ShardEntry:
    kinds = {"composites": 3, "masks": 1, "depth": 1}
    tally = Tally(
        {kind: moments(examples, channels) for kind, channels in kinds.items()},
        {"image": 70, "mask": 20, "depth": 40},
        left_out,
    )
    return ShardEntry(split, number, of, examples, 130, 0xC0FFEE, tally)


MANIFEST = Manifest(
    provenance=Provenance(
        recipe={"name": "small", "seed": 3},
        inputs=dict.fromkeys(PREPARED, 7),
        depth_model=ModelIdentity("keras", "m.keras", 9),
        versions={"numpy": "2.0"},
    ),
    backgrounds=2,
    foregrounds=3,
    depth=DepthMeaning("metric16", "depth", "metre", 0.001, 12, 10, "keras:m.keras", "MIT"),
    input_tally=Tally(
        {
            "backgrounds": moments(2, 3),
            "foregrounds": moments(3, 4),
            "foreground_masks": moments(3),
        }
    ),
    findings=(InputFinding("warning", "hall/комната.png", "is small", "Give a larger one."),),
    files=dict.fromkeys(CHECKED_FILES, 7),
    shards=(
        shard("train", 0, 2, 4),
        shard("train", 1, 2, 3, LeftOut("a+b+0+00", "flat")),
        shard("test", 0, 1, 2),
    ),
)


def test_what_is_written_is_read_back():
    data = MANIFEST.to_bytes()
    assert Manifest.from_bytes(data, "manifest.json") == MANIFEST
    without = json.loads(data)
    without["depth"] = without["provenance"]["depth_model"] = None
    for entry in without["shards"]:
        del entry["tally"]["moments"]["depth"]
    assert Manifest.from_json(without).depth is None


def test_sums_are_those_of_the_shards():
    assert MANIFEST.examples == 9 and MANIFEST.total_bytes == 390
    assert MANIFEST.splits == {"train": 7, "test": 2}
    assert MANIFEST.shard_sizes == {"train": (4, 4), "test": (2,)}
    assert MANIFEST.shards_of("test") == MANIFEST.shards[2:] and not MANIFEST.shards_of("dev")
    assert MANIFEST.tally.moments["composites"].images == 9
    assert [example.id for example in MANIFEST.tally.left_out] == ["a+b+0+00"]
    assert MANIFEST.inputs_left_out == 0
    assert MANIFEST.checksums["depthmask-train.tfrecord-00001-of-00002"] == 0xC0FFEE
    assert len(MANIFEST.checksums) == len(CHECKED_FILES) + 3


def test_a_dataset_is_described_by_its_manifest(dataset: Path):
    path = dataset / "manifest.json"
    manifest = Manifest.from_bytes(path.read_bytes(), str(path))
    assert manifest.to_bytes() == path.read_bytes()
    assert manifest.examples == 72 and {shard.file for shard in manifest.shards} == {
        file.name for file in dataset.glob("depthmask-*")
    }
    assert all(is_dataset_file(file.name) for file in dataset.iterdir())
    info = depthmask.open(dataset)
    assert info.manifest == manifest == open_dataset(str(dataset)).manifest
    statistics = json.loads((dataset / "statistics.json").read_text())
    assert statistics.keys() == info.statistics.keys()
    for kind, entry in statistics.items():
        assert list(info.statistics[kind].std) == entry["std"]


def test_a_name_is_made_and_parsed_alike():
    name = shard_name("train", 3, 35)
    assert name == "depthmask-train.tfrecord-00003-of-00035"
    parsed = parse_shard_name(name)
    assert parsed is not None and (parsed.split, parsed.number, parsed.count) == ("train", 3, 35)
    assert parse_shard_name(shard_name("train", 123456, 234567)) is not None


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "manifest.json.part", "recipe.yml", "Index.csv", "notes.txt"),
        "../depthmask-train.tfrecord-00000-of-00001",
        "depthmask-train.tfrecord-00001-of-00001",  # there is no such shard
        "depthmask-train.tfrecord-000001-of-00002",
        "depthmask-train.tfrecord-00000-of-00001\n",
        "depthmask-tr/ain.tfrecord-00000-of-00001",
        "depthmask-été.tfrecord-00000-of-00001",
        "depthmask-2nd.tfrecord-00000-of-00001",
        "depthmask-train.tfrecord-٠٠٠٠٠-of-00001",
    ],
)
def test_other_names_are_not_a_datasets(name: str):
    assert parse_shard_name(name) is None and not is_dataset_file(name)


def put(value: Any, *keys: str | int):
    """A change of a manifest: the value at `keys` becomes another."""

    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


def drop(*keys: str | int):
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        del data[keys[-1]]

    return change


def swap_shards(data: Any) -> None:
    data["shards"][:2] = data["shards"][1::-1]


def rename_split(data: Any) -> None:
    data["shards"][2] |= {"split": "..", "file": "depthmask-...tfrecord-00000-of-00001"}


def constant_kind(data: Any) -> None:
    entry = data["shards"][0]["tally"]["moments"]
    entry["masks"] = entry["composites"]


TALLY = ("shards", 0, "tally")
MASKS = (*TALLY, "moments", "masks")
HOSTILE = {
    "no format": (drop("format"), "format is missing"),
    "a format of text": (put("2", "format"), "format is '2', not a whole number"),
    "true for a number": (put(True, "format"), "format is True, not a whole number"),
    "no such format": (put(0, "format"), "format is 0, not a whole number from 1"),
    "a former format": (put(1, "format"), "run is missing"),
    "a newer format": (put(4, "format"), "newer depthmask: format 4; this reads up to 3"),
    "no provenance": (drop("provenance"), "provenance is missing"),
    "a recipe of text": (put("x", "provenance", "recipe"), "provenance.recipe is 'x'"),
    "an input elsewhere": (
        put("00000007", "provenance", "inputs", "../../etc/passwd"),
        "a key of provenance.inputs is '../../etc/passwd', not one of",
    ),
    "an input's other checksum": (
        put("00000008", "provenance", "inputs", PREPARED[0]),
        "provenance.inputs and files have different checksums",
    ),
    "a version of none": (put(None, "provenance", "versions", "numpy"), "versions.numpy is None"),
    "a model without a name": (drop("provenance", "depth_model", "name"), "name is missing"),
    "depth without a model": (put(None, "provenance", "depth_model"), "do not go together"),
    "a model without depth": (put(None, "depth"), "do not go together"),
    "an unknown storage": (put("metric32", "depth", "storage"), "depth.storage is 'metric32'"),
    "an unknown unit": (put("foot", "depth", "unit"), "depth.unit is 'foot', not one of metre"),
    "no scale": (put(0, "depth", "scale"), "depth.scale is 0, not a number above 0"),
    "an endless scale": (put(1e999, "depth", "scale"), "is not a number|depth.scale is inf"),
    "a scale that is none": (put(float("nan"), "depth", "scale"), "NaN is not a number"),
    "an absurd width": (put(10**6, "depth", "width"), "depth.width is 1000000"),
    "a negative count": (put(-1, "backgrounds"), "backgrounds is -1, not a whole number from 1"),
    "an absurd count": (put(10**30, "examples"), "examples is 1000"),
    "a count of pieces": (put(2.5, "foregrounds"), "foregrounds is 2.5, not a whole number"),
    "other examples": (put(10, "examples"), "examples is 10, but shards have 9"),
    "other inputs": (put(5, "foregrounds"), "input_tally is of"),
    "findings that are none": (put({}, "findings"), "findings is {}, not a list"),
    "an unknown level": (put("note", "findings", 0, "level"), r"findings\[0\].level is 'note'"),
    "text that is none": (put("\ud800", "findings", 0, "file"), r"findings\[0\].file is .*ud800"),
    "a file elsewhere": (put("00000007", "files", "../x"), "a key of files is '../x', not one of"),
    "a file too few": (drop("files", "index.csv"), "files are not exactly"),
    "a checksum of a number": (put(7, "files", "index.csv"), "files.index.csv is 7, not text"),
    "a checksum too short": (put("7", "files", "index.csv"), "eight hexadecimal digits"),
    "shards of text": (put("none", "shards"), "shards is 'none', not a list"),
    "no shards": (put([], "shards"), "examples is 9, but shards have 0"),
    "a shard that is none": (put(None, "shards", 1), r"shards\[1\] is None, not an object"),
    "a shard too few": (drop("shards", 0), "shards have 5"),
    "shards in disorder": (swap_shards, "shards are not all those of each split, in order"),
    "a shard twice": (
        lambda data: data["shards"].__setitem__(1, copy.deepcopy(data["shards"][0])),
        "shards have 10|not all those",
    ),
    "a shard's other name": (
        put("/etc/passwd", "shards", 0, "file"),
        r"shards\[0\].file is '/etc/passwd', not one of depthmask-train",
    ),
    "a split that leads out": (rename_split, r"shards\[2\].split is '..', not the name of a split"),
    "a negative shard": (put(-1, "shards", 0, "number"), r"shards\[0\].number is -1"),
    "a shard of none": (put(0, "shards", 0, "of"), r"shards\[0\].of is 0"),
    "a negative size": (put(-1, "shards", 0, "bytes"), r"shards\[0\].bytes is -1"),
    "no tally": (drop(*TALLY), r"shards\[0\].tally is missing"),
    "an unknown kind": (put({}, *TALLY, "moments", "x"), "a key of .*moments is 'x', not one of"),
    "a kind too few": (drop(*MASKS), r"shards\[0\].tally is of .* pictures instead of"),
    "other channels in one shard": (constant_kind, "different kinds cannot be added"),
    "other images": (put(5, *MASKS, "images"), r"shards\[0\].tally is of"),
    "another peak": (put(256, *MASKS, "peak"), "no pictures have these sums"),
    "a channel too few": (put([], *MASKS, "squares"), "no pictures have these sums"),
    "a sum too large": (put([10**9], *MASKS, "sums"), r"masks.sums\[0\] is 1000000000"),
    "a variance below 0": (put([0], *MASKS, "squares"), "no pictures have these sums"),
    "no pixels": (put(0, *MASKS, "pixels"), r"masks.sums\[0\] is"),
    "left out without reason": (put([{"id": "a"}], *TALLY, "left_out"), "reason is missing"),
    "negative bytes": (put(-1, *TALLY, "picture_bytes", "image"), "picture_bytes.image is -1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_manifest_is_refused(name: str):
    change, problem = HOSTILE[name]
    data = MANIFEST.to_json()
    change(data)
    with pytest.raises(DatasetError, match=problem) as caught:
        Manifest.from_bytes(json.dumps(data).encode(), "here/manifest.json")
    assert str(caught.value).startswith("here/manifest.json ")
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"[" * 10**5,
        b'{"format": ' + b"9" * 10**4,
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes):
    with pytest.raises(DatasetError, match=r"^manifest.json is damaged: "):
        Manifest.from_bytes(data, "manifest.json")


def places(data: Any, *keys: str | int):
    """The keys of every value within `data`."""
    items: Any = ()
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield (*keys, key)
        yield from places(value, *keys, key)


def test_every_value_may_be_anything():
    """Whatever any one value becomes: what is not refused is a manifest."""
    whole = MANIFEST.to_json()
    for keys in places(whole):
        for value in (None, True, -1, 2**64, 0.5, "..", [], {}, {"x": {}}):
            data = copy.deepcopy(whole)
            put(value, *keys)(data)
            try:
                manifest = Manifest.from_json(data)
            except DatasetError:
                continue
            assert Manifest.from_bytes(manifest.to_bytes(), "manifest.json") == manifest
