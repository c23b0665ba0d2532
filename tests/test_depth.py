"""Depth models of every kind, and how their maps are stored."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tf2onnx

import depthmask
from depthmask.errors import DepthModelError, UserError
from depthmask.manifest import ModelIdentity
from depthmask.plasma import PLASMA
from pipeline.cli import main
from pipeline.inputs import InputFolders
from pipeline.recipes import Recipe, load_recipe
from pipeline.verify import verify_dataset
from tests.conftest import ONE_WORKER, file_bytes, make_dataset
from transforms.depth import (
    KINDS,
    BuiltinModel,
    DepthModel,
    DepthStorage,
    ModelInterface,
    PictureSize,
    parse_model,
)
from transforms.depth.model import DepthStage, ModelChoice

PICTURES = np.random.default_rng(5).integers(0, 256, (3, 32, 48, 3)).astype(np.uint8)


def stage(model: ModelChoice, recipe: Recipe) -> DepthStage:
    canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
    return DepthStage.of(model, recipe.depth, canvas)


def load(model: str, *settings: str) -> DepthModel:
    """A model for a canvas of 48×32."""
    small = ["canvas.width=48", "canvas.height=32", "depth.model.output=depth"]
    recipe = load_recipe("default", [*small, *settings])
    return stage(parse_model(model), recipe).load()


def small_network(
    shape: tuple[int | None, int | None] = (None, None), channels: int = 3
) -> keras.Model:
    """Metres from 1 on, at half the picture's size; red counts four times as much as blue."""
    keras.utils.set_random_seed(3)
    picture = keras.Input((*shape, channels), name="picture")
    half = keras.layers.AveragePooling2D(2)(picture)
    weights = np.reshape([4.0, 2.0, 1.0], (1, 1, 3, 1))[:, :, :channels]
    depth = keras.layers.Conv2D(1, 1, name="depth")
    values = depth(half)
    depth.set_weights([weights, np.ones(1)])
    return keras.Model(picture, values)


def expected_depth(images: np.ndarray) -> np.ndarray:
    n, height, width, _ = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4)) / 255
    return 1 + blocks @ [4.0, 2.0, 1.0]


def save_onnx(
    model: keras.Model, path: Path, shape: tuple[int | None, ...], nchw: bool = False
) -> str:
    """`model` as ONNX, its input of this shape (of rows, columns and channels in that order)."""

    def run(picture):
        return model(tf.transpose(picture, (0, 2, 3, 1)) if nchw else picture, training=False)

    n, height, width, channels = shape
    form = (n, channels, height, width) if nchw else shape
    spec = [tf.TensorSpec(form, tf.float32, name="picture")]
    tf2onnx.convert.from_function(
        tf.function(run, input_signature=spec), input_signature=spec, output_path=str(path)
    )
    return f"onnx:{path}"


# Kinds


def test_kinds_are_listed_without_what_runs_them():
    heavy = {"apache_beam", "tensorflow", "keras", "h5py", "onnxruntime"}
    code = f"import sys, transforms.depth.kinds; print(*{heavy} & sys.modules.keys())"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == []


def test_a_model_is_named_as_on_the_command_line():
    assert parse_model("none") is None
    for text in ("builtin", "densedepth:a/nyu.h5", "keras:gs://b/saved", "onnx:c:/x.onnx"):
        model = parse_model(text)
        assert str(model) == text and type(model) is KINDS[text.partition(":")[0]]
    assert str(parse_model("keras:saved/")) == "keras:saved"


def test_every_file_of_a_model_is_in_its_identity(tmp_path: Path):
    model = parse_model(f"onnx:{tmp_path}/x.onnx")
    (tmp_path / "x.onnx").write_bytes(b"123456789")
    alone = model.identity()
    assert str(alone) == "onnx:x.onnx" and alone.crc32c == 0xE3069283
    saved = parse_model(f"keras:{tmp_path}/saved")
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (tmp_path / "saved" / name).write_bytes(b"weights")
    first = saved.identity()
    (tmp_path / "saved" / "variables" / "variables.index").write_bytes(b"Weights")
    assert first != saved.identity()
    builtin = BuiltinModel().identity()
    assert str(builtin) == "builtin" and ModelIdentity.from_json(builtin.to_json()) == builtin


# Models of one's own


@pytest.mark.parametrize("kind", ["keras", "saved_model", "onnx", "onnx_nchw", "onnx_batch_2"])
def test_every_kind_of_file_returns_the_same_depth(tmp_path: Path, kind: str):
    network = small_network()
    settings = ["depth.batch_size=2"]
    match kind:
        case "keras":
            network.save(tmp_path / "small.keras")
            model = f"keras:{tmp_path / 'small.keras'}"
        case "saved_model":
            network.export(tmp_path / "small", verbose=False)
            model = f"keras:{tmp_path / 'small'}"
        case "onnx":
            model = save_onnx(network, tmp_path / "small.onnx", (None, None, None, 3))
        case "onnx_nchw":
            model = save_onnx(network, tmp_path / "small.onnx", (None, None, None, 3), nchw=True)
            settings.append("depth.model.layout=nchw")
        case "onnx_batch_2":
            model = save_onnx(network, tmp_path / "small.onnx", (2, 32, 48, 3))
    depth = load(model, *settings).predict(PICTURES)
    np.testing.assert_allclose(depth, expected_depth(PICTURES), rtol=1e-5)


@pytest.fixture
def small(tmp_path: Path) -> str:
    small_network().save(tmp_path / "small.keras")
    return f"keras:{tmp_path / 'small.keras'}"


def test_input_is_as_declared(small: str):
    x = PICTURES / 255
    for settings, seen in {
        "channel_order: bgr": x[..., ::-1],
        "input_max: 255": x * 255,
        "mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4]": (x - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4],
    }.items():
        depth = load(small, f"depth.model={{output: depth, {settings}}}").predict(PICTURES)
        np.testing.assert_allclose(depth, expected_depth(seen * 255), rtol=1e-4)


def test_output_is_as_declared(small: str):
    values = expected_depth(PICTURES)
    for declared, meant in (
        ("output: depth, unit: 2", values * 2),
        ("output: disparity, unit: 3", 3 / values),
        ("output: relative_inverse_depth", values),
    ):
        depth = load(small, f"depth.model={{{declared}}}").predict(PICTURES)
        np.testing.assert_allclose(depth, meant, rtol=1e-5)


def test_pictures_are_resized_for_the_model_and_maps_for_storage(small: str):
    flat = np.full((1, 32, 48, 3), 51, np.uint8)
    rounded = load(small, "depth.model.multiple_of=14").predict(flat)
    assert rounded.shape == (1, 21, 28)  # 42×56, the next multiples of 14, halved
    given = load(small, "depth.input={width: 100, height: 60}").predict(flat)
    assert given.shape == (1, 30, 50)
    stored = load(small, "depth.size={width: 9, height: 7}").predict(flat)
    assert stored.shape == (1, 7, 9)
    for depth in (rounded, given, stored):
        np.testing.assert_allclose(depth, 1 + 7 * 0.2, rtol=1e-5)


def test_grey_pictures_are_stacked(small: str):
    grey = PICTURES[..., :1]
    depth = load(small, "canvas.colour=grey").predict(grey)
    np.testing.assert_allclose(depth, expected_depth(np.repeat(grey, 3, 3)), rtol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_near_and_its_depth_is_not_on_the_coarse_grid(tmp_path: Path, precision):
    keras.utils.set_random_seed(3)
    picture = keras.Input((None, None, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(picture)
    depth = keras.layers.Conv2D(1, 3, padding="same")(hidden)
    keras.Model(picture, keras.layers.ReLU()(depth + 2)).save(tmp_path / "two.keras")
    model = f"keras:{tmp_path / 'two.keras'}"
    exact = load(model).predict(PICTURES)
    lower = load(model, f"depth.precision={precision}").predict(PICTURES)
    assert lower.dtype == np.float32 and 0 < np.abs(lower - exact).max() < 0.02
    on_grid = lower == np.asarray(tf.cast(tf.cast(lower, precision), tf.float32))
    assert on_grid.mean() < 0.1


def test_an_infinite_disparity_is_no_depth():
    infinite = np.array([np.inf, np.nan, 0, 500], np.float32)
    depth = ModelInterface(output="disparity", unit=2.0).interpret(infinite)
    assert np.isnan(depth[:2]).all() and depth[2:].tolist() == pytest.approx([1000, 0.004])


def test_the_interface_of_a_model_is_declared_rightly():
    with pytest.raises(UserError, match="relative_depth is not in metres"):
        load_recipe("default", ["depth.model={output: relative_depth, unit: 2}"])
    with pytest.raises(UserError, match=r"depth\.model\.std"):
        load_recipe("default", ["depth.model.std=[1, .nan, 1]"])


def double_onnx(path: Path) -> str:
    network = small_network()

    def run(picture):
        return network(tf.cast(picture, tf.float32), training=False)

    spec = [tf.TensorSpec((None, 32, 48, 3), tf.float64, name="picture")]
    tf2onnx.convert.from_function(
        tf.function(run, input_signature=spec), input_signature=spec, output_path=str(path)
    )
    return f"onnx:{path}"


def test_a_keras_model_may_name_its_output(tmp_path: Path):
    network = small_network()
    keras.Model(network.input, {"depth": network.output}).save(tmp_path / "named.keras")
    depth = load(f"keras:{tmp_path / 'named.keras'}").predict(PICTURES)
    np.testing.assert_allclose(depth, expected_depth(PICTURES), rtol=1e-5)


def test_models_that_cannot_be_used(tmp_path: Path):
    def keras_file(model: keras.Model) -> str:
        folder = tmp_path / model.name
        folder.mkdir()
        model.save(folder / "odd.keras")
        return f"keras:{folder / 'odd.keras'}"

    picture = keras.Input((None, None, 3))
    two = keras.Model(picture, [picture, keras.layers.ReLU()(picture)])
    wide = keras.Model(picture, keras.layers.ReLU()(picture))
    fixed = small_network((64, 64))
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty").mkdir()
    for model, settings, complaint in (
        (keras_file(two), (), r"odd\.keras: the model has 2 outputs"),
        (keras_file(wide), (), r"returns \(3, 32, 48, 3\) for 3 pictures. It must return one"),
        (keras_file(small_network(channels=1)), (), "has 1 channels where nhwc has its 3"),
        (
            keras_file(fixed),
            ["depth.input={width: 48, height: 32}"],
            "only takes pictures of 64",
        ),
        (
            save_onnx(small_network(), tmp_path / "first.onnx", (None, 32, 48, 3), nchw=True),
            (),
            r"first\.onnx: .*Set depth.model.layout to nchw",
        ),
        (f"onnx:{tmp_path / 'text.onnx'}", (), r"text\.onnx: not an ONNX model"),
        (f"onnx:{tmp_path / 'none.onnx'}", (), r"none\.onnx: no such depth model"),
        (f"keras:{tmp_path / 'empty'}", (), "empty: not a SavedModel"),
        (double_onnx(tmp_path / "double.onnx"), (), r"takes float64\. Export it"),
        (keras_file(keras.Sequential([keras.layers.Conv2D(1, 1)])), (), "Save a built model"),
        (
            f"onnx:{tmp_path / 'first.onnx'}",
            ["depth.precision=float16"],
            "runs as it was exported",
        ),
    ):
        with pytest.raises(DepthModelError, match=complaint):
            load(model, *settings).predict(PICTURES)
    for text in ("model.keras", "keras:", "tflite:x", "builtin:x", "gs://bucket/x.onnx"):
        with pytest.raises(DepthModelError, match="Give one of: none, builtin"):
            parse_model(text)
    with pytest.raises(UserError, match="the input and output of builtin are known"):
        load("builtin", "depth.model.layout=nchw")
    with pytest.raises(UserError, match="metric16 has 16 bits"):
        load_recipe("default", ["depth.codec={format: jpeg}"])


def test_the_builtin_model_sees_pictures_of_the_size_that_it_knows():
    for canvas, seen in (
        ((160, 160), (224, 224)),
        ((640, 480), (256, 192)),
        ((64, 1600), (32, 1120)),
    ):
        recipe = load_recipe("default", [f"canvas={{width: {canvas[0]}, height: {canvas[1]}}}"])
        size = stage(BuiltinModel(), recipe).input_size(None)
        assert size == PictureSize(width=seen[0], height=seen[1])
    depth = load("builtin").predict(PICTURES)
    assert depth.shape == (3, 96, 144) and np.isfinite(depth).all() and depth.min() > 0


# Storage


def test_plasma_is_matplotlibs():
    theirs = matplotlib.colormaps["plasma"].colors
    np.testing.assert_array_equal(PLASMA, (np.array(theirs) * 255).astype(np.uint8))


def test_storage_of_a_ramp():
    ramp = np.linspace(2, 6, 256, dtype=np.float32).reshape(1, 16, 16)
    millimetres = DepthStorage().quantise(ramp)
    np.testing.assert_allclose(millimetres / 1000, ramp, atol=0.0005)
    assert DepthStorage().quantise(np.float32([[[-1, 0, 99]]])).tolist() == [[[1, 1, 65535]]]
    norm = DepthStorage(storage="norm8").quantise(ramp)
    assert norm.ravel().tolist() == list(range(256))
    plasma = DepthStorage(storage="plasma8").quantise(ramp)
    np.testing.assert_array_equal(plasma.reshape(256, 3), PLASMA)
    assert not DepthStorage(storage="norm8").quantise(np.ones((1, 2, 2), np.float32)).any()


@pytest.mark.parametrize(
    ("settings", "loss"),
    [
        (["depth.storage=norm8"], 0.003),
        (["depth.storage=plasma8"], 0.003),
        (["depth.storage=norm8", "depth.codec={format: jpeg, quality: 95}"], 0.05),
        (["depth.storage=plasma8", "depth.codec={format: jpeg, quality: 100}"], 0.08),
        (["depth.model={output: relative_inverse_depth}"], 0.0006),
    ],
)
def test_stored_depth_is_read_as_what_it_means(
    folders: InputFolders, tmp_path: Path, small: str, settings: list[str], loss: float
):
    made = make_dataset(
        folders, tmp_path / "made", "image.format=png", *settings, depth_model=small
    )
    assert [check for check in verify_dataset(str(made)) if check.problems] == []
    relative = "storage" in settings[0]
    for example in depthmask.load(str(made), "train").as_numpy_iterator():
        meant = expected_depth(example["image"][None])[0]
        if relative:
            meant = (meant - meant.min()) / np.ptp(meant)
        found = example["depth"][..., 0]
        assert np.quantile(np.abs(found - meant), 0.99) < loss
    about = depthmask.open(made).manifest.depth
    assert about is not None and about.unit is None
    assert about.quantity == ("depth" if relative else "inverse_depth")
    theirs = next(iter(tfds.builder_from_directory(str(made)).as_dataset("train")))["depth"]
    ours = next(iter(depthmask.load(str(made), "train", decode_depth=False)))["depth"]
    assert theirs.dtype == ours.dtype and theirs.shape == ours.shape
    assert ours.shape == (20, 24, 3 if "plasma8" in settings[0] else 1)
    statistics = json.loads((made / "statistics.json").read_text())["depth"]
    assert len(statistics["mean"]) == ours.shape[-1]


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_the_model_may_see_composites_as_they_are_stored(
    folders: InputFolders, tmp_path: Path, small: str, colour: str
):
    made = make_dataset(
        folders,
        tmp_path / "made",
        *("depth.of=stored", "image.quality=20", f"canvas.colour={colour}"),
        depth_model=small,
    )
    for example in depthmask.load(str(made), "train").as_numpy_iterator():
        seen = np.broadcast_to(example["image"], (1, 40, 48, 3))
        np.testing.assert_allclose(example["depth"][..., 0], expected_depth(seen)[0], atol=0.0006)
    assert "estimated on the composites as stored" in (made / "README.md").read_text("utf-8")
    assert [check for check in verify_dataset(str(made)) if check.problems] == []


# Depth that is not finite


def failing_network(limit: float) -> keras.Model:
    """As the small network, but NaN where the picture's mean is above the limit."""
    picture = keras.Input((None, None, 3))
    depth = small_network()(picture)
    mean = keras.ops.mean(picture, axis=(1, 2, 3), keepdims=True)
    return keras.Model(picture, keras.ops.where(mean > limit, np.nan, depth))


def test_examples_without_finite_depth_are_left_out_and_named(
    folders: InputFolders, tmp_path: Path, capsys
):
    small_network().save(tmp_path / "good.keras")
    whole = make_dataset(
        folders, tmp_path / "whole", "image.format=png", depth_model=f"keras:{tmp_path}/good.keras"
    )
    means = {
        example["id"].decode(): float(example["image"].mean() / 255)
        for split in ("train", "test")
        for example in depthmask.load(str(whole), split).as_numpy_iterator()
    }
    # A limit that none of the first examples, on which the model is tried, lies above.
    first = list(depthmask.load(str(whole), "train", features=["id"]).take(7).as_numpy_iterator())
    limit = max(means[example["id"].decode()] for example in first) + 0.001
    bad = {name for name, mean in means.items() if mean > limit}
    assert 0 < len(bad) < len(means) / 2
    failing_network(limit).save(tmp_path / "bad.keras")
    recipe = ["canvas={width: 48, height: 40}", "placements.per_pair=3", "image.format=png"]
    recipe += ["shards={examples: 20, chunk: 7}", "depth.model.output=depth"]
    arguments = [
        *("--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds),
        *("--depth-model", f"keras:{tmp_path / 'bad.keras'}", "--output", str(tmp_path / "made")),
        *(part for key in recipe for part in ("--set", key)),
    ]
    for _ in range(2):  # made, and found made
        assert main(["generate", *arguments, *ONE_WORKER]) == 1
        assert f"{len(bad)} examples were left out; see" in capsys.readouterr().out
    made = tmp_path / "made"
    entries = [json.loads(line) for line in (made / "errors.jsonl").read_text().splitlines()]
    assert {entry["example"] for entry in entries if "example" in entry} == bad
    kept = {
        example["id"].decode()
        for split in ("train", "test")
        for example in depthmask.load(str(made), split).as_numpy_iterator()
    }
    assert kept == means.keys() - bad
    assert [check for check in verify_dataset(str(made)) if check.problems] == []
    before = file_bytes(made)
    next(made.glob("depthmask-train*")).unlink()
    (tmp_path / "renamed.keras").write_bytes((tmp_path / "bad.keras").read_bytes())
    renamed = ["--depth-model", f"keras:{tmp_path / 'renamed.keras'}"]
    assert main(["verify", "--repair", str(made), *renamed]) == 2
    refusal = r"was made by keras:bad\.keras \(CRC.*\), not by keras:renamed\.keras"
    assert re.search(refusal, capsys.readouterr().err)
    assert (made / "manifest.json").exists()
    repair = ["verify", "--repair", str(made), "--depth-model", f"keras:{tmp_path / 'bad.keras'}"]
    assert main(repair) == 0
    after = file_bytes(made)
    del after["decoded_statistics.json"]  # which the command has written
    assert after == before


@pytest.mark.parametrize(
    ("network", "settings", "complaint"),
    [
        (failing_network(-1.0), (), "returns NaN or infinite depth for"),
        (small_network(), ("depth.model.unit=100",), "does not fit into 16 bits"),
        (
            small_network(),
            ("depth.model.output=relative_inverse_depth", "depth.scale=0.00001"),
            "Set depth.storage to norm8",
        ),
    ],
)
def test_worthless_depth_is_refused_before_the_work(
    folders: InputFolders, tmp_path: Path, network, settings, complaint
):
    network.save(tmp_path / "bad.keras")
    with pytest.raises(UserError, match=rf"bad\.keras: .*{complaint}"):
        make_dataset(
            folders, tmp_path / "made", *settings, depth_model=f"keras:{tmp_path}/bad.keras"
        )
    assert not (tmp_path / "made").exists()


def test_plan_refuses_a_model_as_generate_does(folders: InputFolders, tmp_path: Path, capsys):
    failing_network(-1.0).save(tmp_path / "bad.keras")
    pictures = ["--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds]
    model = ["--depth-model", f"keras:{tmp_path}/bad.keras", "--set", "depth.model.output=depth"]
    assert main(["plan", *pictures, *model]) == 2
    assert "returns NaN or infinite depth for" in capsys.readouterr().err


def test_the_same_depth_everywhere_is_refused(folders: InputFolders, tmp_path: Path):
    network = small_network()
    network.get_layer("depth").set_weights([np.zeros((1, 1, 3, 1)), np.ones(1)])
    network.save(tmp_path / "dead.keras")
    with pytest.raises(UserError, match="returns the same depth for every pixel"):
        make_dataset(folders, tmp_path / "made", depth_model=f"keras:{tmp_path}/dead.keras")
    with pytest.raises(UserError, match="returns no depth above 0"):
        network.get_layer("depth").set_weights([np.ones((1, 1, 3, 1)), np.array([-9.0])])
        network.save(tmp_path / "below.keras")
        make_dataset(folders, tmp_path / "made", depth_model=f"keras:{tmp_path}/below.keras")


def test_recipe_of_a_model_survives_the_dataset(folders: InputFolders, tmp_path: Path, small: str):
    made = make_dataset(folders, tmp_path / "made", depth_model=small)
    recipe = Recipe.model_validate(
        json.loads((made / "manifest.json").read_text())["provenance"]["recipe"]
    )
    assert recipe.depth.model.std == (1, 1, 1)
