"""`depthmask.open` and what it reads, without TensorFlow: the same as `depthmask.load` gives."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import depthmask
from depthmask.errors import DatasetError
from depthmask.features import Features
from depthmask.records import frame_record, unframe_records
from tests.conftest import make_dataset, run_python


def assert_alike(dataset: Path, split: str, **arguments) -> None:
    """Every value, and its dtype and shape, is the one that `load` gives, in the files' order."""
    theirs = {e["id"]: e for e in depthmask.load(dataset, split, **arguments).as_numpy_iterator()}
    ours = list(depthmask.open(dataset).examples(split, **arguments))
    assert len(ours) == len(theirs)
    for example in ours:
        expected = theirs[example["id"].encode()]
        assert example.keys() == expected.keys()
        for name, value in example.items():
            if isinstance(value, np.ndarray):
                assert (value.dtype, value.shape) == (expected[name].dtype, expected[name].shape)
                assert (value == expected[name]).all(), name
            else:
                other = expected[name]
                assert value == (other.decode() if isinstance(other, bytes) else other)


@pytest.mark.parametrize("split", ["train", "test"])
def test_examples_are_those_of_load(dataset: Path, split: str):
    assert_alike(dataset, split)


@pytest.mark.parametrize(
    "settings",
    [
        ("depth.storage=metric16", "image.format=png", "masks={format: jpeg, channels: 3}"),
        ("depth.storage=norm8", "canvas.colour=grey", "masks.soft=true"),
        ("depth={storage: plasma8, codec: {format: jpeg, quality: 90}}",),
    ],
    ids=["metric16", "norm8-grey-soft", "plasma8-jpeg"],
)
def test_every_way_to_store_reads_alike(folders, tmp_path: Path, settings: tuple[str, ...]):
    few = ("placements.per_pair=1", "splits.fractions={all: 1.0}")
    made = make_dataset(folders, tmp_path / "made", *settings, *few, depth_model="builtin")
    assert_alike(made, "all")
    assert_alike(made, "all", decode_depth=False, features=["id", "depth"])


def test_examples_by_number_are_those_in_order(dataset: Path):
    examples = depthmask.open(dataset).examples("train")
    ids = [example["id"] for example in examples]
    assert len(examples) == len(ids) == 65
    assert [examples[number]["id"] for number in range(65)] == ids
    assert examples[-1]["id"] == ids[-1] and pickle.loads(pickle.dumps(examples))[7]["id"] == ids[7]
    for number in (65, -66):
        with pytest.raises(IndexError, match="there are 65 examples"):
            examples[number]


def test_only_what_is_asked_for_is_decoded(dataset: Path):
    opened = depthmask.open(dataset)
    assert opened.examples("test", ["x", "id"])[0].keys() == {"x", "id"}
    with pytest.raises(DatasetError, match="no feature 'depht'; it has id, image"):
        opened.examples("test", ["depht"])
    with pytest.raises(DatasetError, match=r"such as \['image'\]"):
        opened.examples("test", "image")
    with pytest.raises(DatasetError, match="no split 'tset'; it has train, test"):
        opened.examples("tset")


def test_it_needs_neither_tensorflow_nor_beam(dataset: Path):
    run_python(
        "import sys, depthmask\n"
        f"depthmask.open({str(dataset)!r}).examples('test')[0]\n"
        "heavy = {'apache_beam', 'tensorflow', 'torch', 'pipeline', 'transforms'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )


def test_a_damaged_shard_is_an_error_that_names_it(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shard = next(copy.glob("*test*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match=f"{shard.name} is damaged: wrong data checksum"):
        list(depthmask.open(copy).examples("test"))
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=rf"{shard.name} has \d records, and the .* says 7"):
        depthmask.open(copy).examples("test")[6]


def test_a_shard_cut_between_records_is_an_error(dataset: Path, tmp_path: Path):
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shard = next(copy.glob("*test*"))
    *kept, _ = unframe_records(shard.read_bytes())
    shard.write_bytes(b"".join(map(frame_record, kept)))
    with pytest.raises(DatasetError, match="has 6 records, and the manifest says 7"):
        list(depthmask.open(copy).examples("test"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda entries: entries.pop("image"), "it has no picture image"),
        (lambda entries: entries.update(mask={"text": {}}), "it has no picture mask"),
        (lambda entries: entries.update(x=3), "featuresDict.features.x is 3, not an object"),
        (lambda entries: entries["x"].update(tensor={"dtype": "no"}), "x.tensor.dtype is 'no'"),
        (
            lambda entries: entries["image"]["image"]["shape"].update(dimensions=["9", "-1", "3"]),
            "dimensions is",
        ),
        (
            lambda entries: entries["image"]["image"]["shape"].update(dimensions=["9", "9", "4"]),
            "not of 1 or 3 channels",
        ),
    ],
)
def test_a_damaged_description_of_features_is_an_error(dataset: Path, damage, message: str):
    described = json.loads((dataset / "features.json").read_text())
    damage(described["featuresDict"]["features"])
    with pytest.raises(DatasetError, match=rf"f\.json is damaged: .*{message}"):
        Features.from_bytes(json.dumps(described).encode(), "f.json")


def test_features_are_written_as_they_are_read(dataset: Path):
    data = (dataset / "features.json").read_bytes()
    assert Features.from_bytes(data, "features.json").to_json() == json.loads(data)
