"""verify must catch what can go wrong with a dataset on a disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import google_crc32c
import pytest

from depthmask.records import frame_record, parse_example, serialize_example, unframe_records
from pipeline.dataset import verify_dataset

SHARD = "depthmask-train.tfrecord-00001-of-00004"


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "copy"))


def failures(dataset: Path) -> dict[str, tuple[str, ...]]:
    return {check.name: check.problems for check in verify_dataset(str(dataset)) if check.problems}


def rewrite(dataset: Path, change) -> None:
    """Changes a shard's examples, and the manifest with it, as a careful forger would."""
    path = dataset / SHARD
    examples = [parse_example(record) for record in unframe_records(path.read_bytes())]
    change(examples)
    data = b"".join(frame_record(serialize_example(example)) for example in examples)
    path.write_bytes(data)
    manifest = json.loads((dataset / "manifest.json").read_text())
    (entry,) = [shard for shard in manifest["shards"] if shard["file"] == SHARD]
    entry["bytes"], entry["crc32c"] = len(data), f"{google_crc32c.value(data):08x}"
    (dataset / "manifest.json").write_text(json.dumps(manifest))


def test_a_right_dataset_passes(dataset: Path):
    checks = list(verify_dataset(str(dataset)))
    assert [check.name for check in checks] == [
        *("files", "inputs", "index", "records", "pictures", "masks", "composites", "statistics")
    ]
    assert not any(check.problems for check in checks)


def test_a_flipped_byte_is_caught(copy: Path):
    data = bytearray((copy / SHARD).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / SHARD).write_bytes(data)
    found = failures(copy)
    assert "CRC-32C" in found["files"][0] and SHARD in found["files"][0]
    assert SHARD in found["records"][0]


def test_a_missing_shard_is_caught(copy: Path):
    (copy / SHARD).unlink()
    assert failures(copy) == {"files": (f"{SHARD} is missing",)}


def test_a_truncated_shard_is_caught(copy: Path):
    (copy / SHARD).write_bytes((copy / SHARD).read_bytes()[:-100])
    assert "bytes instead of" in failures(copy)["files"][0]


def test_a_swapped_mask_is_caught(copy: Path):
    def swap(examples):
        examples[0]["mask"], examples[1]["mask"] = examples[1]["mask"], examples[0]["mask"]

    rewrite(copy, swap)
    found = failures(copy)
    assert found.keys() == {"masks"} and len(found["masks"]) == 2


def test_a_swapped_composite_is_caught(copy: Path):
    def swap(examples):
        first = examples[0]
        other = next(e for e in examples if e["background"] != first["background"])
        first["image"], other["image"] = other["image"], first["image"]

    rewrite(copy, swap)
    assert len(failures(copy)["composites"]) == 2


def test_a_moved_box_is_caught(copy: Path):
    def move(examples):
        examples[3]["x"] += 1

    rewrite(copy, move)
    assert "is not what the recipe places there" in failures(copy)["records"][0]


def test_examples_of_another_recipe_are_caught(copy: Path):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["provenance"]["recipe"]["seed"] += 1
    path.write_text(json.dumps(manifest))
    found = failures(copy)["records"]
    assert any("index.csv, from byte" in problem for problem in found)
    assert any("is not what the recipe places there" in problem for problem in found)


def test_a_doubled_example_is_caught(copy: Path):
    index = copy / "index.csv"
    rows = index.read_text().splitlines(keepends=True)
    rows[5] = rows[6]
    index.write_text("".join(rows))
    found = failures(copy)
    assert any("there twice" in problem for problem in found["index"])
    assert any("1 of 72 combinations are missing" in problem for problem in found["index"])


def test_a_picture_that_does_not_decode_is_caught(copy: Path):
    def damage(examples):
        examples[2]["mask"] = examples[2]["mask"][:30]

    rewrite(copy, damage)
    assert SHARD in failures(copy)["pictures"][0]


def test_wrong_statistics_are_caught(copy: Path):
    path = copy / "statistics.json"
    statistics = json.loads(path.read_text())
    statistics["masks"]["mean"][0] += 1e-9
    path.write_text(json.dumps(statistics))
    assert (
        "statistics.json has other figures of masks than the manifest"
        in failures(copy)["statistics"]
    )


def test_a_sample_looks_at_fewer(dataset: Path):
    details = {check.name: check.detail for check in verify_dataset(str(dataset), sample=10)}
    assert details["masks"].startswith("9 of 72 examples")  # two a shard, one of the last


def test_an_index_that_is_none_is_caught(copy: Path):
    (copy / "index.csv").write_bytes(b"\xff\xfe\x00")
    found = failures(copy)
    assert "index.csv is not an index of these shards" in found["index"][0]
    assert "index.csv has CRC-32C" in found["files"][0]


def test_a_record_too_many_is_caught(copy: Path):
    rewrite(copy, lambda examples: examples.append(examples[-1]))
    assert failures(copy).keys() & {"records", "masks"}
