"""Depth models as people bring them: outputs, inputs, sizes, files beside them, folders."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from PIL import Image

from depthmask.errors import DepthModelError, UserError
from pipeline.cli import main
from pipeline.generate import generate
from pipeline.inputs import InputFolders
from pipeline.recipes import load_recipe
from pipeline.request import Request
from tests.conftest import ONE_WORKER, SMALL
from transforms.depth import DepthModel, ModelInterface, PictureSize, parse_model
from transforms.depth.model import DepthStage
from transforms.depth.point_map import depth_of_points

PICTURES = np.random.default_rng(5).integers(0, 256, (3, 32, 48, 3)).astype(np.uint8)
GREY = PICTURES.mean(axis=3) / 255
CANVAS = PictureSize(width=48, height=32)
DECLARED = ("depth.model.layout=nchw", "depth.model.output=depth")


def load(model: str, *settings: str, canvas: PictureSize = CANVAS) -> DepthModel:
    recipe = load_recipe("default", settings)
    return DepthStage.of(parse_model(model), recipe.depth, canvas).load()


def save_graph(path: Path, text: str, **weights: np.ndarray) -> str:
    """An ONNX model of a graph in ONNX's own notation; `weights` are constants in it."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> {text}')
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in weights.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return f"onnx:{path}"


AXES = np.array([1], np.int64)
# The mean of the channels: what the network sees, as its depth.
MEAN = "g (float[N,3,H,W] x) => (float[N,1,H,W] d) {{ {} }}"
GREY_OF_X = "d = ReduceMean<keepdims=1>(x, axes)"


@pytest.fixture
def grey(tmp_path: Path) -> str:
    return save_graph(tmp_path / "grey.onnx", MEAN.format(GREY_OF_X), axes=AXES)


# What a recipe says


def test_one_output_of_several_is_named(tmp_path: Path):
    two = save_graph(
        tmp_path / "two.onnx",
        "g (float[N,3,H,W] x) => (float[N,1,H,W] normal, float[N,1,H,W] depth) "
        "{ depth = ReduceMean<keepdims=1>(x, axes) normal = Neg(depth) }",
        axes=AXES,
    )
    named = load(two, *DECLARED, "depth.model.outputs.depth=depth").predict(PICTURES)
    np.testing.assert_allclose(named, GREY, atol=1e-6)
    with pytest.raises(DepthModelError, match=r"has 2 outputs \(normal, depth\). Name the one"):
        load(two, *DECLARED)
    with pytest.raises(DepthModelError, match="has no output 'deep', but: normal, depth"):
        load(two, *DECLARED, "depth.model.outputs.depth=deep")


@pytest.mark.parametrize("kind", ["keras", "saved_model"])
def test_outputs_and_inputs_of_keras_are_named(tmp_path: Path, kind: str):
    picture = keras.Input((None, None, 3), name="picture")
    factor = keras.Input((1,), name="factor")
    grey = keras.ops.mean(picture, axis=3, keepdims=True)
    depth = grey * keras.ops.reshape(factor, (-1, 1, 1, 1))
    network = keras.Model([picture, factor], {"sure": grey * 0, "depth": depth})
    path = tmp_path / "two.keras"
    if kind == "keras":
        network.save(path)
    else:
        path = tmp_path / "two"
        signature = [
            tf.TensorSpec((None, None, None, 3), tf.float32, name="picture"),
            tf.TensorSpec((), tf.float32, name="factor"),
        ]
        tf.saved_model.save(
            network,
            str(path),
            tf.function(
                lambda picture, factor: network([picture, tf.reshape(factor, (1, 1))]),
                input_signature=signature,
            ).get_concrete_function(),
        )
    settings = ("depth.model.output=depth", "depth.model.outputs.depth=depth")
    made = load(f"keras:{path}", *settings, "depth.model.inputs={factor: 2.5}").predict(PICTURES)
    np.testing.assert_allclose(made, GREY * 2.5, rtol=1e-5)
    with pytest.raises(DepthModelError, match=r"has 2 inputs .*depth\.model\.inputs"):
        load(f"keras:{path}", *settings)


def test_further_inputs_are_constant(tmp_path: Path):
    model = save_graph(
        tmp_path / "tokens.onnx",
        "g (float[N,3,H,W] x, int64 tokens, float[2] pair) => (float[N,1,H,W] d) "
        "{ grey = ReduceMean<keepdims=1>(x, axes) n = Cast<to=1>(tokens) "
        "  both = ReduceSum<keepdims=0>(pair) more = Mul(grey, n) d = Add(more, both) }",
        axes=AXES,
    )
    given = "depth.model.inputs={{tokens: {}, pair: {}}}"
    depth = load(model, *DECLARED, given.format(1800, "[1, 0.5]")).predict(PICTURES)
    np.testing.assert_allclose(depth, GREY * 1800 + 1.5, rtol=1e-5)
    for tokens, pair, complaint in (
        (1800, "[1, 2, 3]", r"pair takes float32 of the shape \[2\], not \(1, 2, 3\)"),
        (18.5, "[1, 2]", "tokens takes int64, not 18.5"),
    ):
        with pytest.raises(DepthModelError, match=complaint):
            load(model, *DECLARED, given.format(tokens, pair))
    with pytest.raises(DepthModelError, match="no input 'token', but: x, tokens, pair"):
        load(model, *DECLARED, "depth.model.inputs={token: 1}")
    with pytest.raises(DepthModelError, match=r"has 3 inputs \(x, tokens, pair\)"):
        load(model, *DECLARED, "depth.model.inputs={tokens: 1}")


@pytest.mark.parametrize(("kind", "scale"), [("float16", 1), ("uint8", 255)])
def test_other_types_of_input(tmp_path: Path, kind: str, scale: float):
    body = f"f = Cast<to=1>(x) {GREY_OF_X.replace('(x', '(f')}"
    model = save_graph(
        tmp_path / "typed.onnx", MEAN.format(body).replace("float[N,3", f"{kind}[N,3"), axes=AXES
    )
    depth = load(model, *DECLARED).predict(PICTURES)
    np.testing.assert_allclose(depth, GREY * scale, rtol=1e-3)
    if kind == "uint8":
        with pytest.raises(DepthModelError, match="takes uint8, the pictures' values as they are"):
            load(model, *DECLARED, "depth.model.mean=[0.5, 0.5, 0.5]")


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "lanczos"])
def test_pictures_are_resized_by_pillow(grey: str, resize: str):
    made = load(
        grey, *DECLARED, "depth.input={width: 70, height: 20}", f"depth.model.resize={resize}"
    ).predict(PICTURES)
    for picture, depth in zip(PICTURES, made, strict=True):
        resized = Image.fromarray(picture).resize((70, 20), Image.Resampling[resize.upper()])
        np.testing.assert_allclose(depth, np.asarray(resized).mean(axis=2) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("fit", "canvas", "seen"),
    [
        ("stretch", (640, 480), (518, 518)),
        ("lower_bound", (640, 480), (686, 518)),
        ("upper_bound", (640, 480), (518, 392)),
        # Depth Anything's page at Hugging Face shows a picture of 640×480 as 686×518.
        ("minimal", (640, 480), (686, 518)),
        ("minimal", (224, 160), (518, 364)),
        ("lower_bound", (224, 160), (728, 518)),
        ("minimal", (224, 224), (518, 518)),
    ],
)
def test_a_picture_is_fitted_with_its_aspect(fit: str, canvas, seen):
    interface = ModelInterface(fit=fit, multiple_of=14)
    width, height = canvas
    size = interface.fitted(
        PictureSize(width=width, height=height), PictureSize(width=518, height=518)
    )
    assert (size.width, size.height) == seen


def test_maps_of_kept_aspect_are_resized_back(grey: str):
    settings = ["depth.input={width: 56, height: 56}", "depth.model.multiple_of=14"]
    kept = load(grey, *DECLARED, *settings, "depth.model.fit=lower_bound")
    assert kept.network.input == PictureSize(width=84, height=56)
    assert kept.predict(PICTURES).shape == (3, 32, 48)
    smaller = load(
        grey, *DECLARED, *settings, "depth.model.fit=minimal", "depth.size={width: 24, height: 16}"
    )
    assert smaller.predict(PICTURES).shape == (3, 16, 24)
    with pytest.raises(UserError, match=r"fit minimal needs depth\.input"):
        load(grey, *DECLARED, "depth.model.fit=minimal")


def test_points_up_to_a_shift_are_depth_in_metres(tmp_path: Path):
    """A room's points as a camera sees them, their scale and shift lost, are found again."""
    rng = np.random.default_rng(2)
    height, width, focal = 48, 64, 60.0
    rows, columns = np.mgrid[:height, :width]
    true = 2 + rng.uniform(0, 1, (2, 1, 1)) + columns / 20 + 0.5 * np.sin(rows / 5)
    x, y = (columns - 31.5) / focal * true, (rows - 23.5) / focal * true
    points = np.stack([x, y, true - 1.25], axis=3).astype(np.float32) / 2
    known = np.ones(true.shape, bool)
    known[:, :10] = False
    points[:, :10] = rng.normal(size=points[:, :10].shape)
    found = depth_of_points(points, known) * 2
    np.testing.assert_allclose(found[known], true[known], rtol=1e-3)
    model = save_graph(
        tmp_path / "points.onnx",
        "g (float[N,3,H,W] x) => (float[2,48,64,3] points, float[2] metric, float[2,48,64] mask) "
        "{ points = Identity(p) metric = Identity(m) mask = Identity(k) }",
        p=points,
        m=np.full(2, 2, np.float32),
        k=known.astype(np.float32),
    )
    outputs = "depth.model.outputs={depth: points, scale: metric, mask: mask}"
    declared = ("depth.model.layout=nchw", "depth.model.output=affine_points", outputs)
    depth = load(model, *declared).predict(PICTURES[:2])
    np.testing.assert_allclose(depth[known], true[known], rtol=1e-3)
    assert (depth[~known] == 0).all()
    with pytest.raises(UserError, match="known and unknown depth would be mixed"):
        load(model, *declared, "depth.size={width: 20, height: 20}")
    with pytest.raises(UserError, match=r"affine_points needs outputs\.scale"):
        load_recipe("default", ["depth.model={output: affine_points}"])


def test_what_values_mean_is_asked(grey: str, tmp_path: Path):
    with pytest.raises(UserError, match=r"what do its values mean\? Set depth\.model\.output"):
        load(grey, "depth.model.layout=nchw")
    with pytest.raises(DepthModelError, match="no such depth model"):
        load(f"onnx:{tmp_path}/none.onnx", "depth.model.layout=nchw")


# What models do


def test_a_model_of_one_picture_at_a_time_says_so(tmp_path: Path):
    traced = save_graph(
        tmp_path / "traced.onnx",
        MEAN.format("one = Reshape(x, shape) d = ReduceMean<keepdims=1>(one, axes)"),
        axes=AXES,
        shape=np.array([1, 3, 32, 48], np.int64),
    )
    with pytest.raises(DepthModelError, match=r"one picture at a time: set depth\.batch_size"):
        load(traced, *DECLARED).predict(PICTURES)
    depth = load(traced, *DECLARED, "depth.batch_size=1").predict(PICTURES)
    np.testing.assert_allclose(depth, GREY, atol=1e-6)


def test_a_map_without_a_batch_is_of_one_picture(tmp_path: Path):
    flat = save_graph(
        tmp_path / "flat.onnx",
        "g (float[N,3,H,W] x) => (float[H,W] d) { m = ReduceMean<keepdims=0>(x, axes) "
        "  d = ReduceMean<keepdims=0>(m, first) }",
        axes=AXES,
        first=np.array([0], np.int64),
    )
    depth = load(flat, *DECLARED, "depth.batch_size=1").predict(PICTURES)
    np.testing.assert_allclose(depth, GREY, atol=1e-6)
    with pytest.raises(DepthModelError, match=r"returns \(32, 48\) for 3 .*batch_size to 1"):
        load(flat, *DECLARED).predict(PICTURES)


def test_a_file_of_mixed_precision_computes_in_the_recipes(tmp_path: Path):
    keras.utils.set_random_seed(1)
    picture = keras.Input((None, None, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same", dtype="mixed_float16")(picture)
    depth = keras.layers.Conv2D(1, 3, padding="same", dtype="mixed_float16")(hidden)
    network = keras.Model(picture, depth)
    network.save(tmp_path / "mixed.keras")
    exact = keras.models.clone_model(
        network,
        clone_function=lambda layer: (
            layer
            if isinstance(layer, keras.layers.InputLayer)
            else type(layer).from_config(layer.get_config() | {"dtype": "float32"})
        ),
    )
    exact.set_weights(network.get_weights())
    made = load(f"keras:{tmp_path / 'mixed.keras'}", "depth.model.output=depth").predict(PICTURES)
    expected = exact(PICTURES.astype(np.float32) / 255).numpy()[..., 0]
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


def test_what_keras_says_is_one_line(tmp_path: Path):
    @keras.saving.register_keras_serializable("mine")
    class Odd(keras.layers.Layer):
        def call(self, values):
            return values[..., :1]

    picture = keras.Input((None, None, 3))
    keras.Model(picture, Odd()(picture)).save(tmp_path / "odd.keras")
    keras.saving.get_custom_objects().clear()
    with pytest.raises(DepthModelError, match=r"Could not locate class 'Odd'") as caught:
        load(f"keras:{tmp_path / 'odd.keras'}", "depth.model.output=depth")
    assert len(str(caught.value)) < 800 and "config=" not in str(caught.value)
    (tmp_path / "nyu.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DepthModelError, match=r"give it as densedepth:.*nyu\.h5"):
        load(f"keras:{tmp_path / 'nyu.h5'}", "depth.model.output=depth")


def test_other_layouts_and_ranks_are_told_in_own_words(tmp_path: Path):
    free = tf.TensorSpec(None, tf.float32, name="picture")
    module = tf.Module()
    module.run = tf.function(lambda picture: {"d": picture[..., :1]}, input_signature=[free])
    tf.saved_model.save(module, str(tmp_path / "free"), module.run)
    with pytest.raises(DepthModelError, match=r"does not say the shape of its input\. Export it"):
        load(f"keras:{tmp_path / 'free'}", "depth.model.output=depth")
    flat = save_graph(
        tmp_path / "flat.onnx", "g (float[N,3] x) => (float[N,3] d) { d = Identity(x) }"
    )
    with pytest.raises(DepthModelError, match=r"takes \[None, 3\]. Export it with an input of"):
        load(flat, *DECLARED)


# Files beside a graph


def save_external(folder: Path, locations: list[str]) -> str:
    """A graph that adds one weight of each file to the grey of the picture."""
    names = [f"w{i}" for i in range(len(locations))]
    steps = " ".join(f"s{i + 1} = Add(s{i}, {name})" for i, name in enumerate(names))
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> '
        + MEAN.format(f"s0 = ReduceMean<keepdims=1>(x, axes) {steps} d = Identity(s{len(names)})")
    )
    model.graph.initializer.append(numpy_helper.from_array(AXES, "axes"))
    for number, (name, location) in enumerate(zip(names, locations, strict=True)):
        tensor = helper.make_tensor(name, TensorProto.FLOAT, [1], [0.0])
        tensor.ClearField("float_data")
        tensor.raw_data = b"\0\0\0\0"
        set_external_data(tensor, location)
        tensor.ClearField("raw_data")
        model.graph.initializer.append(tensor)
        part = Path(os.path.normpath(folder / location))
        if folder in part.parents:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(np.float32(number + 1).tobytes())
    folder.mkdir(exist_ok=True)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return f"onnx:{folder / 'm.onnx'}"


def test_weights_in_files_of_any_name_are_of_the_model(tmp_path: Path):
    model = save_external(tmp_path / "a", ["weights.bin", "onnx__MatMul_12", "parts/m.onnx_data_1"])
    np.testing.assert_allclose(load(model, *DECLARED).predict(PICTURES), GREY + 6, rtol=1e-5)
    choice = parse_model(model)
    assert list(choice.files) == ["m.onnx", "onnx__MatMul_12", "parts/m.onnx_data_1", "weights.bin"]
    whole = choice.identity()
    (tmp_path / "a" / "unrelated.bin").write_bytes(b"else")
    assert choice.identity() == whole
    (tmp_path / "a" / "onnx__MatMul_12").write_bytes(np.float32(3).tobytes())
    assert choice.identity() != whole
    (tmp_path / "a" / "weights.bin").unlink()
    with pytest.raises(DepthModelError, match=r"weights\.bin: there is none, but m\.onnx keeps"):
        load(model, *DECLARED)


@pytest.mark.parametrize("name", ["../w.bin", "/etc/hostname", "a/../../w.bin", "..\\w.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, name: str):
    model = save_external(tmp_path / "a", [name])
    with pytest.raises(DepthModelError, match="which is not in its folder"):
        load(model, *DECLARED)
    with pytest.raises(DepthModelError, match="which is not in its folder"):
        parse_model(model).identity()


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for kind in ("onnx", "keras"):
        with pytest.raises(DepthModelError, match="not a regular file"):
            load(f"{kind}:{tmp_path / 'pipe.onnx'}", *DECLARED)


# Folders of the Hub

DPT = {
    "image_processor_type": "DPTImageProcessor",
    "do_resize": True,
    "size": {"height": 56, "width": 56},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_pad": False,
    "size_divisor": None,
}


def hub_folder(folder: Path, processor: object = DPT, config: object = None) -> str:
    save_graph(folder / "onnx" / "model.onnx", MEAN.format(GREY_OF_X), axes=AXES)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return f"onnx:{folder}"


def test_a_published_folder_says_how_its_model_sees_pictures(tmp_path: Path):
    model = hub_folder(tmp_path / "hub", config={"model_type": "depth_anything"})
    loaded = load(model)
    interface = loaded.stage.interface
    assert loaded.network.input == PictureSize(width=56, height=42)
    assert interface.mean == (0.485, 0.456, 0.406) and interface.resize == "bicubic"
    assert interface.output == "relative_inverse_depth" and interface.fit == "minimal"
    assert loaded.predict(PICTURES).shape == (3, 32, 48)
    over = load(model, "depth.model={fit: stretch, output: depth}", "depth.input=null")
    assert over.network.input == PictureSize(width=56, height=56)
    assert over.stage.interface.std == (0.229, 0.224, 0.225)
    files = parse_model(model).files
    assert list(files) == ["preprocessor_config.json", "config.json", "onnx/model.onnx"]
    # What is settled is in the recipe, which says it all the same without the folder's files.
    settled = loaded.stage.settings
    again = DepthStage.of(parse_model(model), settled, CANVAS)
    assert again.settings == settled


def test_what_a_folder_says_is_printed_with_the_recipe(
    folders: InputFolders, tmp_path: Path, capsys
):
    model = hub_folder(tmp_path / "hub", config={"depth_estimation_type": "metric"})
    pictures = ["--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds]
    assert main(["plan", *pictures, "--depth-model", model, "--set", "depth.storage=norm8"]) == 0
    printed = capsys.readouterr().out
    assert "fit: minimal" in printed and "output: depth" in printed and "0.485" in printed


@pytest.mark.parametrize(
    ("processor", "complaint"),
    [
        ({**DPT, "image_processor_type": "OddImageProcessor"}, "what Odd does with pictures"),
        ({**DPT, "do_pad": True}, "padded pictures are not known"),
        ({**DPT, "resample": 4}, "the filter 4 is not known"),
        ({**DPT, "size": {"shortest_edge": 5}}, "preprocessor_config.json: size"),
        ({**DPT, "image_std": [0, 1, 1]}, "preprocessor_config.json: image_std.0"),
        ({**DPT, "image_mean": None}, "lacks image_mean"),
        ([1, 2], "no JSON object"),
    ],
)
def test_published_folders_that_are_not_understood(tmp_path: Path, processor, complaint: str):
    with pytest.raises(DepthModelError, match=complaint):
        load(hub_folder(tmp_path / "hub", processor), "depth.model.output=depth")


def test_a_folder_without_its_parts(tmp_path: Path):
    model = hub_folder(tmp_path / "hub")
    with pytest.raises(UserError, match="what do its values mean"):
        load(model)
    (tmp_path / "hub" / "onnx" / "model.onnx").unlink()
    with pytest.raises(DepthModelError, match=r"onnx/model\.onnx: no such depth model"):
        load(model, "depth.model.output=depth")
    (tmp_path / "hub" / "preprocessor_config.json").unlink()
    with pytest.raises(DepthModelError, match=r"preprocessor_config\.json: there is none"):
        load(model, "depth.model.output=depth")


# Licences, and the recipes of docs/depth-models.md


def test_the_card_names_the_models_licence(folders: InputFolders, with_depth: Path, tmp_path: Path):
    card = (with_depth / "README.md").read_text()
    assert "- licence of the depth model (keras:m.keras): …" in card
    request = Request.of(
        folders.backgrounds,
        folders.foregrounds,
        settings=[
            *SMALL,
            *("placements.per_pair=1", "placements.flip=none", "depth.model.output=depth"),
        ],
        depth_model=f"keras:{with_depth.parent / 'm.keras'}",
        depth_model_licence="CC-BY-NC-4.0",
    )
    made = generate(request, tmp_path / "made", ONE_WORKER)
    assert made.manifest.depth and made.manifest.depth.licence == "CC-BY-NC-4.0"
    card = (tmp_path / "made" / "README.md").read_text()
    assert "(keras:m.keras): CC-BY-NC-4.0 (NC: it forbids commercial use)" in card
    assert parse_model("builtin").licence == "Apache-2.0"
    with pytest.raises(DepthModelError, match="--depth-model-licence: give a name of one line"):
        parse_model("builtin", "two\nlines")


def test_a_folder_names_its_licence(tmp_path: Path):
    model = hub_folder(tmp_path / "hub")
    assert parse_model(model).licence is None
    (tmp_path / "hub" / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# It\n")
    assert parse_model(model).licence == "apache-2.0"
    assert parse_model(model, "MIT").licence == "MIT"


RECIPES = re.findall(
    r"^```yaml\n(.*?)^```$",
    (Path(__file__).parents[1] / "docs" / "depth-models.md").read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("text", RECIPES)
def test_documented_recipes_of_models_are_right(tmp_path: Path, text: str):
    (tmp_path / "model.yaml").write_text(f"base: default\n{text}")
    recipe = load_recipe(str(tmp_path / "model.yaml"))
    declared = recipe.depth.model
    if declared != ModelInterface():
        stage = DepthStage.of(
            parse_model("keras:transforms/depth/builtin.keras"), recipe.depth, CANVAS
        )
        assert stage.input_size(None).width % declared.multiple_of == 0
