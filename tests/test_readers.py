"""What other readers make of our files is, pixel for pixel, what `depthmask.load` gives."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
import webdataset
import yaml

import depthmask
from depthmask.webdataset import decode
from pipeline.export.parquet import columns_of
from tests.conftest import ONE_WORKER, ROOT, TORCH, needs_torch, read_as_its_readme_says

Digests = dict[str, str]


@pytest.fixture(scope="module")
def expected(with_depth: Path) -> Digests:
    """By id, a digest of image, mask and depth as `depthmask.load` gives them."""
    return digests(depthmask.load(with_depth, "train").as_numpy_iterator())


@pytest.fixture(scope="module")
def exports(with_depth: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The dataset by the layouts that keep its pictures."""
    folder = tmp_path_factory.mktemp("exports")
    layouts = ("folder", "webdataset", "huggingface")
    for layout in layouts:
        depthmask.export(with_depth, folder / layout, layout, options=ONE_WORKER)
    return {layout: folder / layout for layout in layouts}


def digests(examples: Iterable[Mapping[str, Any]]) -> Digests:
    found = {}
    for example in examples:
        data = b"".join(example[kind].tobytes() for kind in ("image", "mask", "depth"))
        name = example["id"]
        found[name.decode() if isinstance(name, bytes) else name] = hashlib.sha256(data).hexdigest()
    return found


def read_by(python: Path, script: str, *arguments: object) -> dict[str, Digests]:
    done = subprocess.run(
        [str(python), str(ROOT / "tests" / "readers" / script), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Digests] = json.loads(done.stdout)
    return read


def test_open_reads_what_load_gives(with_depth: Path, expected: Digests):
    assert digests(depthmask.open(with_depth).examples("train")) == expected


def test_tensorflow_datasets_read_what_load_gives(with_depth: Path):
    """But that depth comes as it is stored, and JPEG by a decoder that is faster and less exact."""
    theirs = tfds.builder_from_directory(str(with_depth)).as_dataset("train").as_numpy_iterator()
    ours = depthmask.load(with_depth, "train", decode_depth=False).as_numpy_iterator()
    by_id = {example["id"]: example for example in theirs}
    for example in ours:
        other = by_id.pop(example["id"])
        for kind in ("mask", "depth"):
            assert (other[kind] == example[kind]).all()
        off = np.abs(other["image"].astype(int) - example["image"])
        assert off.max() <= 8 and off.mean() < 2
    assert not by_id


def test_webdataset_reads_what_load_gives(exports: dict[str, Path], expected: Digests):
    tars = [str(path) for path in sorted(exports["webdataset"].glob("train-*.tar"))]
    assert digests(webdataset.WebDataset(tars, shardshuffle=False).map(decode)) == expected


def test_columns_of_parquet_have_one_order_whatever_that_of_a_record():
    columns = ["image", "mask", "depth", "id", "background", "flip", "x", "height"]
    assert columns_of(dict.fromkeys([*reversed(columns), "mask.path"], 0)) == columns


def test_every_file_of_parquet_is_one_of_the_dataset(exports: dict[str, Path], expected: Digests):
    files = sorted(path.name for path in (exports["huggingface"] / "data").iterdir())
    assert files == ["test-00000-of-00001.parquet"] + [
        f"train-{number:05d}-of-00004.parquet" for number in range(4)
    ]
    rows = pq.read_table(exports["huggingface"] / "data" / files[1]).to_pylist()
    assert {row["id"] for row in rows} < expected.keys()
    assert rows[0].keys() >= {"image", "mask", "depth", "background", "flip", "x", "width"}
    head = (exports["huggingface"] / "README.md").read_text().split("---\n")[1]
    described = yaml.safe_load(head)
    assert described["task_categories"] == ["image-segmentation", "depth-estimation"]
    assert described["size_categories"] == ["n<1K"]
    assert described["dataset_info"]["splits"][0] == {"name": "train", "num_examples": 65}


@needs_torch
def test_pytorch_reads_what_load_gives(with_depth: Path, expected: Digests):
    read = read_by(TORCH, "by_torch.py", with_depth, "train")
    assert read == {"torch by number": expected, "torch stream": expected}


@needs_torch
def test_hugging_face_reads_what_load_gives(
    exports: dict[str, Path], with_depth: Path, expected: Digests, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    scale = json.loads((exports["folder"] / "depth.json").read_text())["scale"]
    folders = exports["folder"], exports["huggingface"]
    read = read_by(TORCH, "by_hugging_face.py", *folders, "train", scale)
    assert read == dict.fromkeys(("imagefolder", "parquet", "parquet as a stream"), expected)


@pytest.mark.parametrize("layout", ["folder", "webdataset"])
def test_what_an_export_says_of_reading_it_is_so(exports: dict[str, Path], layout: str):
    read = read_as_its_readme_says(exports[layout])
    assert read["image"].shape == (40, 48, 3) and read["mask"].shape[:2] == (40, 48)
    meaning = json.loads((exports[layout] / "depth.json").read_text())
    metres = read["depth"] * (meaning["scale"] if layout == "folder" else 1)
    assert read["depth"].shape[:2] == (20, 24) and 1 <= metres.min() < metres.max() <= 3


def test_what_the_readme_does_by_hand_is_what_decode_does(
    exports: dict[str, Path],
):
    by_hand = read_as_its_readme_says(exports["webdataset"], block=1)
    tar = str(exports["webdataset"] / "test-00000.tar")
    for sample in webdataset.WebDataset(tar, shardshuffle=False):
        ours, theirs = decode(sample), by_hand["decode"](sample)
        for kind in ("image", "mask", "depth"):
            assert ours[kind].dtype == theirs[kind].dtype and (ours[kind] == theirs[kind]).all()
