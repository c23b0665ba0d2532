"""A dataset that somebody sends is input too: commands end soon, with an error that is clear."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import depthmask
from depthmask.errors import DatasetError, UserError
from pipeline.export import export_dataset
from pipeline.repair import repair
from pipeline.verify import verify_dataset
from pipeline.view import write_gallery, write_sheet
from tests.conftest import ONE_WORKER
from tests.forger import Features, Forger
from transforms.codecs import encode_png

SHARD = "depthmask-train.tfrecord-00000-of-00004"


def looks(dataset: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """What each command does with a dataset."""
    return {
        "verify": lambda: list(verify_dataset(dataset)),
        "sheet": lambda: write_sheet(str(dataset), folder / "sheet.png", 4),
        "gallery": lambda: write_gallery(str(dataset), folder / "page.html", 4),
        "export": lambda: export_dataset(dataset, folder / "out", "folder", ONE_WORKER),
        "load": lambda: list(depthmask.load(str(dataset), "train").take(9)),
    }


@pytest.mark.parametrize(
    "name", [SHARD, "backgrounds.tfrecord", "manifest.json", "features.json", "index.csv"]
)
def test_a_named_pipe_keeps_no_command_waiting(forger: Forger, tmp_path: Path, name: str):
    (forger.path / name).unlink()
    os.mkfifo(forger.path / name)
    commands = looks(forger.path, tmp_path)
    # What a command does not need does not keep it either.
    unneeded = {"features.json": {"sheet", "gallery"}, "index.csv": {"sheet", "load"}}
    unneeded["backgrounds.tfrecord"] = {"load"}
    for command, look in commands.items():
        if command in unneeded.get(name, ()):
            continue
        if command == "verify" and name != "manifest.json":
            assert any(check.problems for check in verify_dataset(forger.path))
            continue
        with pytest.raises(UserError):
            look()


def features(change: Callable[[dict[str, Any]], Any]) -> Callable[[Forger], None]:
    def forge(forger: Forger) -> None:
        data = json.loads((forger.path / "features.json").read_text())
        change(data["featuresDict"]["features"])
        forger.write("features.json", json.dumps(data))

    return forge


HOSTILE_FEATURES: dict[str, Callable[[Forger], None]] = {
    "nothing": lambda forger: forger.write("features.json", "null"),
    "a list": lambda forger: forger.write("features.json", '{"featuresDict": []}'),
    "no pictures": features(lambda found: found.clear()),
    "a mask of text": features(lambda found: found.update(mask={"text": {}})),
    "a list for a feature": features(lambda found: found.update(mask=[1])),
    "another encoding": features(lambda found: found["mask"]["image"].update(encodingFormat="x")),
    "an encoding of a list": features(lambda found: found["mask"]["image"].update(dtype=[])),
    "sides of words": features(
        lambda found: found["mask"]["image"]["shape"].update(dimensions=["a", "b", "c"])
    ),
    "sides beyond reason": features(
        lambda found: found["mask"]["image"]["shape"].update(dimensions=["9" * 5000, "1", "1"])
    ),
    "two sides": features(
        lambda found: found["mask"]["image"]["shape"].update(dimensions=["40", "48"])
    ),
    "channels": features(
        lambda found: found["image"]["image"]["shape"].update(dimensions=["40", "48", "2"])
    ),
    "a number of another type": features(lambda found: found["x"]["tensor"].update(dtype="str")),
}


@pytest.mark.parametrize("name", HOSTILE_FEATURES)
def test_hostile_features_are_refused(forger: Forger, tmp_path: Path, name: str):
    HOSTILE_FEATURES[name](forger)
    forger.settle()
    commands = looks(forger.path, tmp_path)
    for command in ("export", "load"):
        with pytest.raises(DatasetError, match=r"features\.json is damaged"):
            commands[command]()
    assert any(check.problems for check in verify_dataset(forger.path))


def of_all(change: Callable[[Features], Any]) -> Callable[[Forger], None]:
    def of_shard(examples: list[Features]) -> None:
        for each in examples:
            change(each)

    def forge(forger: Forger) -> None:
        for number in range(len(forger.manifest["shards"])):
            forger.change_shard(number, of_shard)

    return forge


def bomb() -> bytes:
    """A PNG that says it has 30,000 × 30,000 pixels."""
    import struct
    import zlib

    import numpy as np

    data = bytearray(encode_png(np.zeros((4, 4, 1), np.uint8)))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


HOSTILE_RECORDS: dict[str, Callable[[Forger], None]] = {
    "no mask": of_all(lambda each: each.pop("mask")),
    "a name that is no text": of_all(lambda each: each.update(background=b"\xff\xfe")),
    "a mask that is no picture": of_all(lambda each: each.update(mask=b"GIF89a")),
    "a mask beyond reason": of_all(lambda each: each.update(mask=bomb())),
    "a place of text": of_all(lambda each: each.update(x=b"left")),
    "prepared pictures without names": lambda forger: forger.change_inputs(
        "backgrounds.tfrecord", lambda each: each[0].pop("name")
    ),
    "prepared pictures beyond reason": lambda forger: forger.change_inputs(
        "backgrounds.tfrecord", lambda each: each[0].update(image=bomb())
    ),
    "a prepared picture of a number": lambda forger: forger.change_inputs(
        "foregrounds.tfrecord", lambda each: each[0].update(mask=7)
    ),
}


@pytest.mark.parametrize("name", HOSTILE_RECORDS)
def test_hostile_records_are_no_traceback(forger: Forger, tmp_path: Path, name: str):
    HOSTILE_RECORDS[name](forger)
    forger.settle()
    assert any(check.problems for check in verify_dataset(forger.path))
    for command in ("sheet", "gallery", "export"):
        try:
            looks(forger.path, tmp_path)[command]()
        except depthmask.RunError:
            pass
        except UserError as error:
            assert "is damaged" in str(error)


def test_repair_refuses_prepared_pictures_that_are_none(forger: Forger):
    HOSTILE_RECORDS["prepared pictures without names"](forger)
    forger.settle()
    (forger.path / SHARD).unlink()
    with pytest.raises(UserError, match="a record that is of no prepared picture"):
        repair(forger.path, options=ONE_WORKER)


def test_names_lead_nowhere(forger: Forger, tmp_path: Path):
    """Whatever a record says it is called, an export stays in its folder."""

    def rename(each: Features) -> None:
        each.update(background=b"../../escaped", id=b"/tmp/escaped")

    of_all(rename)(forger)
    forger.settle()
    output = tmp_path / "deep" / "deeper" / "out"
    with contextlib.suppress(UserError):  # several pictures have one name
        export_dataset(forger.path, output, "folder", ONE_WORKER)
    assert list(output.rglob("*escaped*"))
    assert all(output in path.parents for path in tmp_path.rglob("*escaped*"))
