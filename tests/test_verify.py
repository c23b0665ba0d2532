"""verify must catch what can go wrong with a dataset, by accident or by a forger's hand."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import depthmask
from depthmask.errors import UserError
from pipeline.cli import main
from pipeline.dataset import open_dataset
from pipeline.verify import verify_dataset
from tests.forger import Features, Forger
from transforms.codecs import ImageCodec, encode_image, encode_png
from transforms.compose import compose_chunk
from transforms.elements import ChunkKey, ChunkSpec, Placement, ShardKey
from transforms.prepared import PreparedInputs, PreparedSource

SHARD = "depthmask-train.tfrecord-00001-of-00004"


def failures(dataset: Path, model: str | None = None) -> dict[str, tuple[str, ...]]:
    checks = verify_dataset(dataset, depth_model=model)
    return {check.name: check.problems for check in checks if check.problems}


def test_a_right_dataset_passes(dataset: Path):
    checks = list(verify_dataset(str(dataset)))
    assert [check.name for check in checks] == [
        *("files", "inputs", "metadata", "index", "records", "pictures", "masks", "composites"),
        *("readers", "statistics"),
    ]
    assert not any(check.problems for check in checks)


def test_a_right_dataset_with_depth_passes(with_depth: Path, here: None):
    for model in (None, f"keras:{with_depth.parent / 'm.keras'}"):
        checks = {check.name: check for check in verify_dataset(with_depth, depth_model=model)}
        assert not any(check.problems for check in checks.values())
        again = "72 estimated again by keras:m.keras" if model else "none estimated again"
        assert again in checks["depth"].detail


# Of a forger whose sums are right: nothing is wrong but what was changed


def test_what_is_put_right_again_passes(forger: Forger):
    forger.settle()
    assert failures(forger.path) == {}


def paint(features: Features, x: int, y: int) -> None:
    """A patch of another colour in the composite's box, nothing else."""
    pixels = np.asarray(Image.open(io.BytesIO(features["image"]))).copy()
    top, left = features["y"] + y, features["x"] + x
    pixels[top : top + 4, left : left + 4] = 255 - pixels[top : top + 4, left : left + 4]
    features["image"] = encode_image(pixels, ImageCodec(quality=90))


def recolour(features: Features) -> None:
    """A foreground in other colours, in the prepared inputs alone."""
    pixels = np.asarray(Image.open(io.BytesIO(features["image"]))).copy()
    pixels[..., :3] = pixels[..., 2::-1]
    features["image"] = encode_png(pixels)


def exchange(kind: str) -> Callable[[list[Features]], None]:
    def change(examples: list[Features]) -> None:
        first = examples[0]
        other = next(each for each in examples if each[kind] != first[kind])
        first[kind], other[kind] = other[kind], first[kind]

    return change


def encode_again(features: Features) -> None:
    """The same picture, once more through a JPEG."""
    pixels = np.asarray(Image.open(io.BytesIO(features["image"])))
    features["image"] = encode_image(pixels, ImageCodec(quality=90))


def plain_background(examples: list[Features]) -> None:
    """Of two on one background: the one has the other's composite."""
    for first, other in itertools.combinations(examples, 2):
        if first["background"] == other["background"]:
            first["image"] = other["image"]
            return


def delete_record(forger: Forger) -> None:
    """With its row, and what counts it."""
    shard = forger.manifest["shards"][1]
    gone: list[Features] = []
    forger.change_shard(1, lambda examples: gone.append(examples.pop(3)))
    name = gone[0]["id"].decode()
    forger.index(lambda rows: rows.remove(next(row for row in rows if row.startswith(f"{name},"))))

    def count(manifest: dict[str, Any]) -> None:
        tally = manifest["shards"][1]["tally"]
        manifest["shards"][1]["examples"] = shard["examples"] - 1
        for kind in ("composites", "masks"):
            moments = tally["moments"][kind]
            moments["pixels"] -= moments["pixels"] // moments["images"]
            moments["images"] -= 1
            moments["sums"] = [value * 9 // 10 for value in moments["sums"]]
            moments["squares"] = [value * 9 // 10 for value in moments["squares"]]

    forger.change_manifest(count)


def leave_out(forger: Forger) -> None:
    name = forger.manifest["shards"][1]["tally"]["left_out"]
    assert name == []
    delete_record(forger)
    forger.change_manifest(
        lambda manifest: manifest["shards"][1]["tally"]["left_out"].append(
            {"id": "x", "reason": "NaN or infinite depth"}
        )
    )


def put(value: Any, *keys: str | int) -> Callable[[Forger], None]:
    """Another value in the manifest."""

    def change(manifest: dict[str, Any]) -> None:
        data = manifest
        for key in keys[:-1]:
            data = data[key]
        assert data[keys[-1]] != value
        data[keys[-1]] = value

    return lambda forger: forger.change_manifest(change)


def recipe(value: Any, *keys: str) -> Callable[[Forger], None]:
    return put(value, "provenance", "recipe", *keys)


def text(name: str, before: str, after: str) -> Callable[[Forger], None]:
    return lambda forger: forger.change_text(name, before, after)


def shard(change: Callable[[list[Features]], Any]) -> Callable[[Forger], None]:
    return lambda forger: forger.change_shard(1, change)


def inputs(kind: str, change: Callable[[list[Features]], Any]) -> Callable[[Forger], None]:
    return lambda forger: forger.change_inputs(f"{kind}.tfrecord", change)


def statistic(change: Callable[[dict[str, Any]], Any]) -> Callable[[Forger], None]:
    def forge(forger: Forger) -> None:
        statistics = json.loads((forger.path / "statistics.json").read_text())
        change(statistics)
        forger.write("statistics.json", json.dumps(statistics, indent=2) + "\n")

    return forge


# What is changed, and the check that must notice.
FORGERIES: dict[str, tuple[Callable[[Forger], Any], str]] = {
    "a patch in the box": (shard(lambda each: paint(each[2], 3, 3)), "composites"),
    "a pixel's worth of it": (shard(lambda each: encode_again(each[2])), "composites"),
    "a composite of another": (shard(exchange("image")), "composites"),
    "another of the same background": (shard(plain_background), "composites"),
    "another's mask": (shard(exchange("mask")), "masks"),
    "a moved box": (shard(lambda each: each[3].update(x=each[3]["x"] + 1)), "records"),
    "another id": (shard(lambda each: each[0].update(id=b"x+y+0+00")), "records"),
    "another class": (shard(lambda each: each[0].update(background_class=b"bath")), "records"),
    "a feature more": (shard(lambda each: each[0].update(note=b"secret")), "records"),
    "a mask that is none": (shard(lambda each: each[2].update(mask=b"\x89PNG")), "pictures"),
    "two records in each other's place": (
        shard(lambda each: each.insert(0, each.pop())),
        "records",
    ),
    "a record twice": (shard(lambda each: each.append(each[-1])), "records"),
    "a record less": (shard(lambda each: each.pop()), "records"),
    "a record deleted with its traces": (delete_record, "index"),
    "a record said to be left out": (leave_out, "metadata"),
    "a foreground in other colours": (
        inputs("foregrounds", lambda each: recolour(each[0])),
        "composites",
    ),
    "a foreground drawn larger": (
        inputs("foregrounds", lambda each: each[0].update(width=7)),
        "inputs",
    ),
    "a background's other class": (
        inputs("backgrounds", lambda each: each[0].update({"class": b"bath"})),
        "records",
    ),
    "exchanged backgrounds": (inputs("backgrounds", exchange("image")), "composites"),
    "inputs in another order": (inputs("backgrounds", lambda each: each.reverse()), "records"),
    "another count of backgrounds": (put(7, "backgrounds"), None),
    "a mean off by 0.019": (
        lambda forger: forger.shift_tally(1, "composites", 0.019),
        "statistics",
    ),
    "a mean off by 0.0001": (
        lambda forger: forger.shift_tally(1, "composites", 1e-4),
        "statistics",
    ),
    "masks' mean off": (lambda forger: forger.shift_tally(0, "masks", 0.001), "statistics"),
    "empty masks": (put(3, "shards", 0, "tally", "empty_masks"), "statistics"),
    "sizes of pictures": (put(9, "shards", 0, "tally", "picture_bytes", "image"), "statistics"),
    "statistics of inputs": (
        put([1, 2, 3], "input_tally", "moments", "backgrounds", "image_stds"),
        "inputs",
    ),
    "another figure": (statistic(lambda s: s["masks"].update(mean=[0.3])), "metadata"),
    "an extra figure": (statistic(lambda s: s["masks"].update(median=[0.3])), "metadata"),
    "an extra kind": (statistic(lambda s: s.update(depth=s["masks"])), "metadata"),
    "NaN": (statistic(lambda s: s["masks"].update(std=[float("nan")])), "metadata"),
    "a shape in features.json": (text("features.json", '"48"', '"49"'), "metadata"),
    "a type in features.json": (text("features.json", '"int64"', '"int32"'), "metadata"),
    "a feature in features.json": (text("features.json", '"placement"', '"place"'), "metadata"),
    "a length in dataset_info.json": (text("dataset_info.json", '"16"', '"17"'), "metadata"),
    "a split in dataset_info.json": (text("dataset_info.json", '"train"', '"rain"'), "metadata"),
    "a line in errors.jsonl": (
        lambda forger: forger.write("errors.jsonl", '{"level": "warning"}\n'),
        "metadata",
    ),
    "a column's name": (text("index.csv", "id,split", "id,part"), "index"),
    "a row's number": (lambda f: f.index(lambda rows: rows.insert(3, rows.pop(4))), "records"),
    "a row twice": (lambda f: f.index(lambda rows: rows.__setitem__(5, rows[6])), "index"),
    "a row more": (lambda f: f.index(lambda rows: rows.append(rows[-1])), "index"),
    "a recipe.yaml of its own": (text("recipe.yaml", "quality: 90", "quality: 91"), "metadata"),
    "another seed": (recipe(5, "seed"), "records"),
    "another quality": (recipe(91, "image", "quality"), "composites"),
    "optimised tables": (recipe(True, "image", "optimize"), "composites"),
    "another format": (recipe("png", "image", "format"), "composites"),
    "another threshold": (recipe(20, "masks", "threshold"), "masks"),
    "soft masks": (recipe(True, "masks", "soft"), "masks"),
    "masks of three channels": (recipe(3, "masks", "channels"), "masks"),
    "another region": (recipe("anywhere", "placements", "region"), "records"),
    "no mirrored ones": (recipe("none", "placements", "flip"), "index"),
    "shared places": (recipe("shared", "placements", "flip"), "records"),
    "more places": (recipe(4, "placements", "per_pair"), "index"),
    "very many places": (recipe(100_000, "placements", "per_pair"), "index"),
    "another scale": (recipe([1.0, 1.5], "foregrounds", "scale"), "inputs"),
    "another size": (recipe({"mode": "max_side", "max_side": 5}, "foregrounds", "size"), "inputs"),
    "another canvas": (recipe(49, "canvas", "width"), "inputs"),
    "grey": (recipe("grey", "canvas", "colour"), "inputs"),
    "splits by background": (recipe("background", "splits", "by"), "index"),
    "other splits": (recipe({"train": 0.8, "test": 0.2}, "splits", "fractions"), "index"),
    "shards of another length": (recipe(30, "shards", "examples"), "index"),
    "smaller PNG": (recipe("small", "compression"), "masks"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_noticed(forger: Forger, name: str):
    forge, check = FORGERIES[name]
    forge(forger)
    try:
        forger.settle()
        found = failures(forger.path)
    except UserError as error:  # no dataset at all
        found = {None: (str(error),)}
    assert check in found, found
    assert "files" not in found or check == "files"


# Depth: without its model, what is said of it; with the model, the maps


def maps(change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> Callable[[Forger], None]:
    """Other depth maps in every shard."""

    def of_shard(examples: list[Features]) -> None:
        stored = [np.asarray(Image.open(io.BytesIO(each["depth"]))) for each in examples]
        for features, depth in zip(examples, change(stored), strict=True):
            features["depth"] = encode_png(depth.astype(np.uint16)[..., None])

    def forge(forger: Forger) -> None:
        for number in range(len(forger.manifest["shards"])):
            forger.change_shard(number, of_shard)

    return forge


def of_one(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Forger], None]:
    def of_shard(examples: list[Features]) -> None:
        depth = np.asarray(Image.open(io.BytesIO(examples[5]["depth"])))
        examples[5]["depth"] = encode_png(change(depth).astype(np.uint16)[..., None])

    return shard(of_shard)


SAID_OF_DEPTH = {
    "scale": 0.01,
    "unit": None,
    "quantity": "disparity",
    "storage": "norm8",
    "width": 25,
    "model": "keras:other.keras",
}


@pytest.mark.parametrize("name", SAID_OF_DEPTH)
def test_what_is_said_of_depth(depth_forger: Forger, name: str):
    put(SAID_OF_DEPTH[name], "depth", name)(depth_forger)
    depth_forger.settle()
    assert {"metadata", "depth"} & failures(depth_forger.path).keys()


DEPTH_FORGERIES = {
    "all doubled": maps(lambda depths: [2 * depth for depth in depths]),
    "all inverted": maps(lambda depths: [4000 - depth for depth in depths]),
    "all exchanged": maps(lambda depths: depths[1:] + depths[:1]),
    "one doubled": of_one(lambda depth: 2 * depth),
    "one inverted": of_one(lambda depth: 4000 - depth),
    "one mirrored": of_one(lambda depth: depth[:, ::-1]),
    "one of a hundredth more": of_one(lambda depth: depth + depth // 100),
}


@pytest.mark.parametrize("name", DEPTH_FORGERIES)
def test_the_model_tells_other_depth(depth_forger: Forger, with_depth: Path, name: str):
    DEPTH_FORGERIES[name](depth_forger)
    depth_forger.settle()
    assert failures(depth_forger.path) == {}  # as it says: it follows from nothing else
    found = failures(depth_forger.path, f"keras:{with_depth.parent / 'm.keras'}")
    assert found.keys() == {"depth"}
    assert "is not the depth that its model estimates" in found["depth"][0]


def test_another_model_is_refused(with_depth: Path, tmp_path: Path):
    (tmp_path / "m.keras").write_bytes(b"another")
    with pytest.raises(UserError, match=r"this dataset's depth was made by keras:m\.keras"):
        list(verify_dataset(with_depth, depth_model=f"keras:{tmp_path / 'm.keras'}"))


# By accident, checksums and all


def test_a_flipped_byte_is_caught(forger: Forger):
    path = forger.path / SHARD
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = failures(forger.path)
    assert "CRC-32C" in found["files"][0] and SHARD in found["files"][0]
    assert SHARD in found["records"][0]


def test_a_flipped_byte_ends_no_check_of_depth(depth_forger: Forger, with_depth: Path):
    data = bytearray((depth_forger.path / SHARD).read_bytes())
    data[100] ^= 1
    (depth_forger.path / SHARD).write_bytes(data)
    found = failures(depth_forger.path, f"keras:{with_depth.parent / 'm.keras'}")
    assert "wrong data checksum" in found["depth"][0]
    assert found.keys() == {"files", "records", "depth", "readers"}


def test_a_missing_shard_is_caught(forger: Forger):
    (forger.path / SHARD).unlink()
    assert failures(forger.path) == {"files": (f"{SHARD} is missing",)}


def test_a_truncated_shard_is_caught(forger: Forger):
    (forger.path / SHARD).write_bytes((forger.path / SHARD).read_bytes()[:-100])
    assert "bytes instead of" in failures(forger.path)["files"][0]


def test_an_index_that_is_none_is_caught(forger: Forger):
    (forger.path / "index.csv").write_bytes(b"\xff\xfe\x00" * 10_000)
    found = failures(forger.path)
    assert "index.csv is not an index of these shards" in found["index"][0]
    assert "index.csv has CRC-32C" in found["files"][0]


def test_a_sample_looks_at_fewer(dataset: Path, here: None):
    details = {check.name: check.detail for check in verify_dataset(str(dataset), sample=10)}
    assert details["masks"].startswith("10 of 72 examples") and "statistics" not in details


# Encoders of other versions


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_other_versions_of_encoders_are_no_fault(forger: Forger):
    """Where bytes need not be the same, pixels tell."""

    dataset = open_dataset(forger.path)
    inputs = PreparedInputs(PreparedSource.of_dataset(dataset.path))

    def reencode(examples: list[Features]) -> None:
        for features in examples:
            texts = {name: features[name].decode() for name in ("id", "background", "foreground")}
            placement = Placement.from_features(features | texts | {"background_class": ""})
            spec = ChunkSpec(ChunkKey(ShardKey("train", 1), 0, 1), (placement,))
            image = compose_chunk(spec, inputs, dataset.recipe.drawing).images[0]
            features["image"] = saved(Image.fromarray(image), "JPEG", quality=90, optimize=True)
            features["mask"] = saved(Image.open(io.BytesIO(features["mask"])), "PNG")

    put("0.1", "provenance", "versions", "libjpeg_turbo")(forger)
    forger.change_shard(1, reencode)
    forger.settle()
    assert failures(forger.path) == {}
    forger.change_shard(1, lambda each: paint(each[2], 3, 3))
    forger.settle()
    assert failures(forger.path).keys() == {"composites", "readers"}


# Statistics of what readers decode


def test_decoded_statistics_are_those_that_load_gives(
    forger: Forger, capsys: pytest.CaptureFixture[str]
):
    assert main(["verify", str(forger.path)]) == 0
    path = forger.path / "decoded_statistics.json"
    assert str(path) in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert found.keys() == {"composites", "masks"}
    images = np.concatenate(
        [
            depthmask.load(str(forger.path), split, features=["image"])
            .batch(99)
            .get_single_element()["image"]
            for split in ("train", "test")
        ]
    )
    assert found["composites"]["mean"] == pytest.approx((images / 255).mean(axis=(0, 1, 2)))
    assert found["composites"]["std"] == pytest.approx((images / 255).std(axis=(0, 1, 2)))
    stated = json.loads((forger.path / "statistics.json").read_text())
    assert found["masks"] == stated["masks"] and found["composites"] != stated["composites"]
    assert failures(forger.path) == {}
    found["composites"]["std"][1] += 0.0001
    path.write_text(json.dumps(found))
    (problem,) = failures(forger.path)["statistics"]
    assert "decoded_statistics.json.composites.std[1] is" in problem and "delete it" in problem
