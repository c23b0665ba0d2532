"""The whole job on small inputs, read back by the readers that users have."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image, ImageOps

import depthmask
from depthmask.records import parse_example, unframe_records
from pipeline.inputs import InputFolders
from tests.conftest import draw_inputs, file_bytes, make_dataset


def records(dataset: Path) -> list[dict[str, bytes | int]]:
    return [
        parse_example(record)
        for shard in sorted(dataset.glob("*.tfrecord-*"))
        for record in unframe_records(shard.read_bytes())
    ]


def test_the_folder_holds_what_it_should_and_nothing_else(dataset: Path):
    assert sorted(file_bytes(dataset)) == sorted(
        [
            *(f"depthmask-train.tfrecord-{i:05d}-of-00004" for i in range(4)),
            "depthmask-test.tfrecord-00000-of-00001",
            *("backgrounds.tfrecord", "foregrounds.tfrecord", "index.csv", "errors.jsonl"),
            *("dataset_info.json", "features.json", "statistics.json", "README.md"),
            *("recipe.yaml", "manifest.json", "croissant.json"),
        ]
    )


def test_a_composite_can_be_made_again_from_the_users_files(folders: InputFolders, tmp_path: Path):
    """With nothing of depthmask's but the record: open, fit, mirror, paste, save."""
    native = make_dataset(folders, tmp_path / "native", "foregrounds.size={mode: native}")
    for features in records(native)[:20]:
        background = Image.open(f"{folders.backgrounds}/{features['background'].decode()}.png")
        foreground = Image.open(f"{folders.foregrounds}/{features['foreground'].decode()}.png")
        assert foreground.size == (features["width"], features["height"])
        image = ImageOps.fit(background, (48, 40), Image.Resampling.LANCZOS)
        if features["flip"]:
            foreground = ImageOps.mirror(foreground)
        image.paste(foreground, (features["x"], features["y"]), foreground)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=90)
        assert features["image"] == stream.getvalue()
        mask = Image.new("L", (48, 40))
        mask.paste(foreground.getchannel("A"), (features["x"], features["y"]))
        stored = np.asarray(Image.open(io.BytesIO(features["mask"])).convert("L"))
        assert (stored == np.where(np.asarray(mask) >= 128, 255, 0)).all()


def test_workers_chunks_and_runs_change_no_byte(
    folders: InputFolders, dataset: Path, tmp_path: Path
):
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    expected = file_bytes(dataset)
    assert file_bytes(make_dataset(folders, tmp_path / "two", options=two)) == expected
    other = file_bytes(make_dataset(folders, tmp_path / "chunk", "shards.chunk=100"))
    shards = [name for name in expected if "tfrecord" in name]
    assert {name: other[name] for name in shards} == {name: expected[name] for name in shards}


def test_the_index_has_the_records_in_order(dataset: Path):
    rows = list(csv.DictReader((dataset / "index.csv").open(encoding="utf-8")))
    shards = json.loads((dataset / "manifest.json").read_text())["shards"]
    made = [
        parse_example(record)["id"].decode()
        for shard in shards
        for record in unframe_records((dataset / shard["file"]).read_bytes())
    ]
    assert [row["id"] for row in rows] == made and len(made) == 72
    assert rows[0].keys() >= {"split", "shard", "background", "x", "y", "width", "height"}


def test_load_gives_tensors_of_fixed_shape(dataset: Path):
    train = depthmask.load(str(dataset), "train")
    assert train.cardinality() == 65
    assert train.element_spec["image"] == tf.TensorSpec((40, 48, 3), tf.uint8)
    assert train.element_spec["mask"] == tf.TensorSpec((40, 48, 1), tf.uint8)
    assert train.element_spec["flip"] == tf.TensorSpec((), tf.bool)
    examples = list(train.as_numpy_iterator())
    assert len(examples) == len({example["id"] for example in examples}) == 65
    assert {example["background_class"] for example in examples} == {b"hall", b"kitchen"}
    assert all(set(np.unique(example["mask"])) <= {0, 255} for example in examples)


def test_load_can_be_dealt_out_to_readers_of_a_tf_data_service(dataset: Path):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    workers = [service.WorkerServer(service.WorkerConfig(address)) for _ in range(2)]
    train = depthmask.load(str(dataset), "train", features=["id"], assert_count=False)
    dealt = train.apply(
        service.distribute(service.ShardingPolicy.DYNAMIC, service=dispatcher.target)
    )
    ids = [example["id"] for example in dealt.as_numpy_iterator()]
    assert len(ids) == len(set(ids)) == 65
    del workers, dispatcher


def test_load_decodes_only_what_is_asked_for(dataset: Path):
    boxes = depthmask.load(str(dataset), "test", features=["x", "mask"])
    assert set(boxes.element_spec) == {"x", "mask"}
    with pytest.raises(depthmask.DatasetError, match="no feature 'depth'"):
        depthmask.load(str(dataset), "test", features=["depth"])
    with pytest.raises(depthmask.DatasetError, match="no split 'dev'; it has train, test"):
        depthmask.load(str(dataset), "dev")
    with pytest.raises(depthmask.DatasetError, match=r"features is a list of names"):
        depthmask.load(str(dataset), "train", features="image")
    with pytest.raises(depthmask.DatasetError, match="not a finished depthmask dataset"):
        depthmask.load(str(dataset / "README.md"), "train")
    with pytest.raises(depthmask.DatasetError, match="not a finished depthmask dataset"):
        depthmask.load(str(dataset.parent), "train")


def test_load_joins_the_background(dataset: Path):
    joined = depthmask.load(
        str(dataset),
        "train",
        features=["image", "x", "y", "width", "height"],
        background_image=True,
    )
    assert "background" not in joined.element_spec
    for example in joined.take(20).as_numpy_iterator():
        # Two blocks off the foreground's box nothing but the JPEG's loss is between the two.
        far = np.ones((40, 48), bool)
        far[
            max(0, example["y"] - 16) : example["y"] + example["height"] + 16,
            max(0, example["x"] - 16) : example["x"] + example["width"] + 16,
        ] = False
        difference = example["image"].astype(int) - example["background_image"]
        assert not far.any() or np.abs(difference)[far].mean() < 8


def test_load_normalizes_with_the_datasets_statistics(dataset: Path):
    pixels = np.stack(
        [
            example["image"]
            for split in ("train", "test")
            for example in depthmask.load(
                str(dataset), split, features=["image"], normalize=True
            ).as_numpy_iterator()
        ]
    )
    assert pixels.dtype == np.float32
    # As near as the JPEG's loss lets it be: statistics are those of the pixels before encoding.
    np.testing.assert_allclose(pixels.mean(axis=(0, 1, 2)), 0, atol=0.01)
    np.testing.assert_allclose(pixels.std(axis=(0, 1, 2)), 1, atol=0.05)


def test_tfds_and_load_give_the_same_pixels(dataset: Path):
    builder = tfds.builder_from_directory(str(dataset))
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 65,
        "test": 7,
    }
    theirs = {e["id"]: e for e in builder.as_dataset("train").as_numpy_iterator()}
    ours = {e["id"]: e for e in depthmask.load(str(dataset), "train").as_numpy_iterator()}
    assert theirs.keys() == ours.keys() and len(ours) == 65
    for name, example in ours.items():
        other = theirs[name]
        assert example.keys() == other.keys()
        # TFDS decodes JPEG by a transform that is a level or two off.
        difference = example.pop("image").astype(int) - other["image"]
        assert np.abs(difference).mean() < 3
        assert all(np.array_equal(example[key], other[key]) for key in example)


def test_importing_the_reader_loads_no_beam(dataset: Path):
    import subprocess
    import sys

    code = "import depthmask, sys; assert 'apache_beam' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "settings",
    [
        ("canvas.colour=grey", "image.format=png"),
        ("masks.soft=true", "foregrounds.scale=[0.5, 1.4]", "placements.region=anywhere"),
        (
            "placements.distinct=true",
            "placements.flip=shared",
            "splits={by: background, fractions: {train: 0.5, test: 0.5}}",
        ),
        ("masks.format=jpeg", "masks.quality=30", "masks.channels=3"),
        ("splits={by: both, fractions: {train: 0.6, test: 0.4}, between: mixed}",),
        (
            "masks={format: jpeg, soft: true, source: colour, range: [1, 255]}",
            "placements={region: range, x: [1, 20], y: [1, 30], per_pair: 3}",
        ),
        (
            "canvas={width: 48, height: 40, fit: pad, pad_colour: [9, 200, 30], filter: bicubic}",
            "foregrounds={scale: [0.6, 1.2], scale_each: foreground, filter: bilinear}",
            "image.format=png",
            "masks={source: alpha, without_black: true, dither: true, filter: nearest}",
            "placements={per_pair: 7, half_open: true, transforms: [rotate_90, transpose]}",
        ),
        ("masks={soft: true, squared: true, optimize: true}", "placements.transforms=[top_bottom]"),
    ],
    ids=[
        *("grey-png", "soft-scaled-anywhere", "distinct-shared-by-background"),
        *("jpeg-masks-of-3-channels", "split-by-both", "masks-by-colour-in-a-range"),
        *("padded-turned-dithered", "squared-upside-down"),
    ],
)
def test_other_recipes_are_right_too(
    folders: InputFolders, tmp_path: Path, settings: tuple[str, ...]
):
    from pipeline.verify import verify_dataset

    made = make_dataset(folders, tmp_path / "made", *settings)
    assert [check for check in verify_dataset(str(made)) if check.problems] == []


def test_masks_stored_as_jpeg_read_alike_everywhere(folders: InputFolders, tmp_path: Path):
    made = make_dataset(folders, tmp_path / "made", "masks={format: jpeg, channels: 3}")
    exact = make_dataset(folders, tmp_path / "exact")
    masks = {e["id"]: e["mask"] for e in depthmask.load(str(exact), "train").as_numpy_iterator()}
    theirs = tfds.builder_from_directory(str(made)).as_dataset("train").as_numpy_iterator()
    by_tfds = {example["id"]: example["mask"] for example in theirs}
    for example in depthmask.load(str(made), "train").as_numpy_iterator():
        for mask in (example["mask"], by_tfds[example["id"]]):
            assert mask.shape == (40, 48, 3)
            assert ((mask >= 128) == (masks[example["id"]] == 255)).mean() > 0.99


def test_depth_by_a_keras_model(folders: InputFolders, tmp_path: Path):
    import keras

    # Depth is the picture's mean at half its size, from 1 to 3 metres: known without the model.
    picture = keras.Input((None, None, 3))
    half = keras.layers.AveragePooling2D(2)(picture)
    keras.utils.set_random_seed(0)
    grey = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(1 / 3))(half)
    depth = keras.layers.Rescaling(2.0, offset=1.0)(grey)
    path = tmp_path / "mean.keras"
    keras.Model(picture, depth).save(path)
    made = make_dataset(
        folders,
        tmp_path / "made",
        "image.format=png",
        "depth.batch_size=4",
        depth_model=f"keras:{path}",
    )
    for example in depthmask.load(str(made), "train").as_numpy_iterator():
        blocks = example["image"].reshape(20, 2, 24, 2, 3).mean(axis=(1, 3, 4)) / 255
        np.testing.assert_allclose(example["depth"][..., 0], 1 + 2 * blocks, atol=0.0006)
    theirs = next(iter(tfds.builder_from_directory(str(made)).as_dataset("train")))
    assert theirs["depth"].dtype == tf.uint16 and theirs["depth"].shape == (20, 24, 1)
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["depth"]["unit"] == "metre" and manifest["depth"]["scale"] == 0.001
    statistics = json.loads((made / "statistics.json").read_text())["depth"]
    assert statistics["images"] == 72 and 1 <= statistics["mean"][0] * 65.535 <= 3


def test_more_pictures_change_none_of_the_old_examples(tmp_path: Path):
    """A dataset grows by another run, with more inputs, into a new folder."""
    few = draw_inputs(tmp_path / "few", backgrounds=3, foregrounds=2)
    old = {record["id"]: record for record in records(make_dataset(few, tmp_path / "old"))}
    draw_inputs(tmp_path / "more", backgrounds=5, foregrounds=4)
    shutil.copytree(tmp_path / "few", tmp_path / "more", dirs_exist_ok=True)
    folders = (str(tmp_path / "more" / kind) for kind in ("backgrounds", "foregrounds"))
    grown = make_dataset(InputFolders(*folders), tmp_path / "grown")
    new = {record["id"]: record for record in records(grown)}
    assert (len(old), len(new)) == (3 * 2 * 2 * 3, 5 * 4 * 2 * 3)
    # Names, place and box, and every byte of the pictures.
    assert {key: new[key] for key in old} == old
