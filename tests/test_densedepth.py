"""DenseDepth: its network from files as Keras 2 wrote them, and how far its weights see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf2onnx

from depthmask.errors import DepthModelError, UserError
from pipeline.recipes import load_recipe
from transforms.depth import (
    DepthModel,
    DepthSettings,
    DepthStage,
    ModelChoice,
    PictureSize,
    parse_model,
)
from transforms.depth.densedepth import DenseDepthModel
from transforms.depth.densedepth_network import densedepth_config, depth_fraction, read_network
from transforms.depth.keras2_network import MAX_LAYERS, NetworkConfig

Json = Any
Weights = Mapping[str, np.ndarray]

BLOCKS = (6, 12, 32, 32)  # dense layers in each of the four blocks of DenseNet-169
SKIPS = ("pool3_pool", "pool2_pool", "pool1", "conv1/relu")


# The published network, written here from its description alone


def align_corners(length: int) -> np.ndarray:
    """[2 × length, length]: a line at twice its length, its first and last value in place."""
    position = np.arange(2 * length) * (length - 1) / (2 * length - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(length)))


def half_pixel(length: int) -> np.ndarray:
    """[2 × length, length]: a line at twice its length, its first and last edge in place."""
    position = np.clip((np.arange(2 * length) + 0.5) / 2 - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(length)))


def published_depth(
    weights: Weights,
    picture: np.ndarray,
    leaky_after: str = "B",
    matrix: Callable[[int], np.ndarray] = align_corners,
    nearest: float = 0.1,
    farthest: float = 10.0,
) -> np.ndarray:
    """Metres [h / 2, w / 2] of uint8 [h, w, 3], by operations of TensorFlow and matrices."""

    def conv(x: Any, name: str, stride: int = 1, padding: str = "SAME") -> Any:
        y = tf.nn.conv2d(x, weights[f"{name}/kernel"], stride, padding)
        return y + weights[f"{name}/bias"] if f"{name}/bias" in weights else y

    def normal(x: Any, name: str) -> Any:
        gamma, beta, mean, variance = (
            weights[f"{name}/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance + 1.001e-5) * gamma + beta

    def pad(x: Any, width: int) -> Any:
        return tf.pad(x, [(0, 0), (width, width), (width, width), (0, 0)])

    def twice(x: Any) -> Any:
        rows, columns = (matrix(side).astype(np.float32) for side in x.shape[1:3])
        wide = tf.matmul(columns, x)  # [1, h, 2 w, c]
        return tf.einsum("ih,nhwc->niwc", rows, wide)

    kept = {}
    x = conv(pad(picture[None].astype(np.float32) / 255, 3), "conv1/conv", 2, "VALID")
    kept["conv1/relu"] = x = tf.nn.relu(normal(x, "conv1/bn"))
    kept["pool1"] = x = tf.nn.max_pool2d(pad(x, 1), 3, 2, "VALID")
    for block, count in enumerate(BLOCKS, 2):
        for number in range(1, count + 1):
            name = f"conv{block}_block{number}"
            y = conv(tf.nn.relu(normal(x, f"{name}_0_bn")), f"{name}_1_conv")
            y = conv(tf.nn.relu(normal(y, f"{name}_1_bn")), f"{name}_2_conv")
            x = tf.concat([x, y], 3)
        if block < 5:
            x = conv(tf.nn.relu(normal(x, f"pool{block}_bn")), f"pool{block}_conv")
            kept[f"pool{block}_pool"] = x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    x = conv(tf.nn.relu(normal(x, "bn")), "conv2")
    for number, skip in enumerate(SKIPS, 1):
        x = tf.concat([twice(x), kept[skip]], 3)
        for part in "AB":
            x = conv(x, f"up{number}_conv{part}")
            if part in leaky_after:
                x = tf.maximum(x, 0.2 * x)
    return np.clip(farthest / conv(x, "conv3").numpy()[0, ..., 0], nearest, farthest)


# The same as Keras 2 saves it


def keras_2_models() -> tuple[Any, Any]:
    """The network of full width and, with the later training code's decoder, of half width."""
    import tf_keras

    tf_keras.backend.clear_session()  # layers are numbered from the first on
    tf_keras.utils.set_random_seed(11)
    layers = tf_keras.layers

    class BilinearUpSampling2D(layers.Layer):
        def call(self, inputs):
            return tf.repeat(tf.repeat(inputs, 2, 1), 2, 2)  # its code is not in the file

        def get_config(self):
            return {"size": (2, 2), "data_format": "channels_last"} | super().get_config()

    encoder = tf_keras.applications.DenseNet169(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    for number, padding in enumerate(encoder.layers[1:6:4], 1):
        padding._name = f"zero_padding2d_{number}"  # as Keras 2.2.4 counts

    def decoded(filters: int, leaky_after: str) -> Any:
        x = layers.Conv2D(filters, 1, padding="same", name="conv2")(encoder.output)
        leaky = 0
        for number, skip in enumerate(SKIPS, 1):
            filters //= 2
            x = BilinearUpSampling2D(name=f"up{number}_upsampling2d")(x)
            x = layers.Concatenate(name=f"up{number}_concat")([x, encoder.get_layer(skip).output])
            for part in "AB":
                name = f"up{number}_conv{part}"
                x = layers.Conv2D(filters, 3, padding="same", name=name)(x)
                if part in leaky_after:
                    leaky += 1
                    x = layers.LeakyReLU(0.2, name=f"leaky_re_lu_{leaky}")(x)
        y = layers.Conv2D(1, 3, padding="same", name="conv3")(x)
        return tf_keras.Model(encoder.input, y, name="model_1")

    full, half = decoded(1664, "B"), decoded(832, "AB")
    # Fresh batch normalisation would let mistakes through: every weight gets a value of its own.
    rng = np.random.default_rng(4)
    for layer in encoder.layers:
        if isinstance(layer, layers.BatchNormalization):
            lows, highs = (
                (0.7, -0.2, -0.2, 0.7),
                (1.3, 0.2, 0.2, 1.3),
            )  # gamma, beta, mean, variance
            layer.set_weights(
                [
                    rng.uniform(low, high, weight.shape)
                    for low, high, weight in zip(lows, highs, layer.get_weights(), strict=True)
                ]
            )
    # 1000 / depth lies between 1 and 100; so that it is not clipped away, so does this.
    for model in (full, half):
        kernel, bias = model.get_layer("conv3").get_weights()
        model.get_layer("conv3").set_weights([kernel * 5, bias + 5])
    return full, half


def as_keras_2_2_4(config: Json) -> Json:
    """What a Keras 2 of today describes, in the words of January 2019."""
    config["class_name"] = "Model"
    for layer in config["config"]["layers"]:
        settings = layer["config"]
        if layer["class_name"] != "InputLayer":
            del settings["dtype"]
        for new in ("groups", "ragged", "optional"):
            settings.pop(new, None)
        if layer["class_name"] == "BatchNormalization":
            settings["axis"] = 3
        for name, value in settings.items():
            if name.endswith("_initializer"):
                settings[name] = {"class_name": value["class_name"], "config": value["config"]}
        for new in layer.keys() - {"class_name", "config", "inbound_nodes", "name"}:
            del layer[new]
    return config


def names(group: h5py.Group, attribute: str = "layer_names") -> list[str]:
    return [n.decode() if isinstance(n, bytes) else n for n in group.attrs[attribute]]


def as_bytes(file: h5py.File) -> None:
    """Names as Keras 2.2.4 wrote them; later ones are text."""
    weights = file["model_weights"]
    for layer in names(weights):
        group = weights[layer]
        group.attrs["weight_names"] = np.array(names(group, "weight_names"), "S")
    weights.attrs["layer_names"] = np.array(names(weights), "S")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nyu.h5 as published; half.h5 as the later code saves it; the weights alone of each."""
    folder = tmp_path_factory.mktemp("weights")
    full, half = keras_2_models()
    full.save(folder / "nyu.h5", save_format="h5")
    with h5py.File(folder / "nyu.h5", "r+") as file:
        config = as_keras_2_2_4(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.2.4"
        as_bytes(file)
    half.save(folder / "half.h5", save_format="h5")
    full.save_weights(folder / "weights.h5")
    half.save_weights(folder / "half_weights.h5")
    return folder


def weights_of(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        found: dict[str, np.ndarray] = {}
        root.visititems(
            lambda name, item: (
                found.update({name.removesuffix(":0"): item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    # A layer's group holds its name a second time: conv2/conv2/kernel.
    halves = {name: name.rsplit("/", 1)[0] for name in found}
    return {
        f"{layer[: len(layer) // 2]}/{name.rsplit('/', 1)[1]}": found[name]
        for name, layer in halves.items()
    }


def test_the_file_has_the_published_layers_and_weights(files: Path):
    def dense(name: str) -> Iterator[str]:
        for part in ("0_bn", "0_relu", "1_conv", "1_bn", "1_relu", "2_conv", "concat"):
            yield f"{name}_{part}"

    layers = ["input_1", "zero_padding2d_1", "conv1/conv", "conv1/bn", "conv1/relu"]
    layers += ["zero_padding2d_2", "pool1"]
    for block, count in enumerate(BLOCKS, 2):
        for number in range(1, count + 1):
            layers += dense(f"conv{block}_block{number}")
        parts = ("bn", "relu", "conv", "pool")
        layers += [f"pool{block}_{part}" for part in parts] if block < 5 else ["bn", "relu"]
    layers.append("conv2")
    for number in range(1, 5):
        layers += [f"up{number}_{part}" for part in ("upsampling2d", "concat", "convA", "convB")]
        layers.append(f"leaky_re_lu_{number}")
    layers.append("conv3")
    with h5py.File(files / "nyu.h5") as file:
        config = json.loads(file.attrs["model_config"])["config"]["layers"]
        assert names(file["model_weights"]) == [layer["name"] for layer in config] == layers
        assert isinstance(file["model_weights"].attrs["layer_names"][0], bytes)
    assert len(layers) == 617
    upsampling = config[layers.index("up1_upsampling2d")]
    assert upsampling["class_name"] == "BilinearUpSampling2D"
    settings = {"name": "up1_upsampling2d", "trainable": True, "size": [2, 2]}
    assert upsampling["config"] == settings | {"data_format": "channels_last"}
    assert upsampling["inbound_nodes"] == [[["conv2", 0, 0, {}]]]
    weights = weights_of(files / "nyu.h5")
    assert len(weights) == 864
    assert sum(weight.size for weight in weights.values()) == 42_816_089
    published = Path(__file__).parents[2] / "shared/data/densedepth/published_shapes.json"
    if published.exists():
        known = json.loads(published.read_text())
        assert layers == known["layers"]
        shapes = {name.removesuffix(":0"): tuple(s) for name, s in known["weights"].items()}
        assert {name: weight.shape for name, weight in weights.items()} == shapes


# Depth by it


def load(path: Path, height: int, width: int, *settings: str) -> DepthModel:
    return loaded(DenseDepthModel(str(path)), height, width, *settings)


def loaded(model: ModelChoice, height: int, width: int, *settings: str) -> DepthModel:
    canvas = PictureSize(width=width, height=height)
    return DepthStage.of(model, load_recipe("default", list(settings)).depth, canvas).load()


def picture_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "size", "leaky_after", "matrix"),
    [
        ("nyu.h5", (480, 640), "B", align_corners),
        ("nyu.h5", (448, 448), "B", align_corners),
        ("nyu.h5", (224, 224), "B", align_corners),
        ("nyu.h5", (160, 160), "B", align_corners),
        ("half.h5", (96, 224), "AB", half_pixel),
    ],
)
def test_depth_is_that_of_the_published_network(files, name, size, leaky_after, matrix):
    picture = picture_of(*size)
    expected = published_depth(weights_of(files / name), picture, leaky_after, matrix)
    settings = ["depth.model.unit=10", f"depth.model.upsampling={matrix.__name__}"]
    found = load(files / name, *size, *settings).predict(picture[None])[0]
    assert found.shape == (size[0] // 2, size[1] // 2)
    assert 0.2 < expected.min() < expected.max() < 9  # there is something to compare
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


@pytest.mark.parametrize(
    ("whole", "alone", "leaky_after"),
    [("nyu.h5", "weights.h5", "B"), ("half.h5", "half_weights.h5", "AB")],
)
def test_weights_alone_make_the_same_network(files, whole, alone, leaky_after):
    size, picture = PictureSize(width=64, height=32), picture_of(32, 64)
    with h5py.File(files / whole) as file:
        described = NetworkConfig.parse(file.attrs["model_config"], "align_corners")
    by_rule = densedepth_config(leaky_after == "AB", "align_corners")
    assert described.weights(size) == by_rule.weights(size)
    network = read_network(str(files / alone), alone, size, "align_corners", "float32")
    found = depth_fraction(network(picture[None].astype(np.float32) / 255), 0.01) * 10
    expected = published_depth(weights_of(files / alone), picture, leaky_after)
    assert np.abs(np.asarray(found)[0, ..., 0] - expected).max() < 1e-4 * np.ptp(expected)


# How far its weights see


@pytest.mark.parametrize(
    ("name", "metres"),
    [
        ("nyu.h5", 10),
        ("KITTI.h5", 80),
        ("densedepth-nyu-v2.h5", 10),
        ("nyu_kitti/kitti.h5", 80),
        ("nyu_then_kitti.h5", None),
        ("kitti_finetuned_from_nyu.h5", None),
        ("annyuity.h5", None),
        ("nyu2.h5", None),
        ("weights.h5", None),
    ],
)
def test_the_reach_is_known_by_one_word_of_the_name(name: str, metres: float | None):
    model, settings = DenseDepthModel(f"gs://bucket/{name}"), DepthSettings(scale=0.002)
    if metres is not None:
        assert model.interface(settings).unit == metres
        return
    with pytest.raises(UserError, match=rf"{name}: are these .* depth\.model\.unit to 10"):
        model.interface(settings)


def test_depth_is_clipped_to_what_the_weights_saw():
    # The network gives 1000 / depth, depth in thousandths of the farthest.
    output = tf.constant([1000, 100, 80, 40, 2, 1, 0.5, 0, -3], tf.float32)
    nyu = np.asarray(depth_fraction(output, 0.1 / 10)) * 10
    np.testing.assert_allclose(nyu, [0.1, 0.1, 0.125, 0.25, 5, 10, 10, 10, 0.1], rtol=1e-6)
    kitti = np.asarray(depth_fraction(output, 1 / 80)) * 80
    np.testing.assert_allclose(kitti, [1, 1, 1, 2, 40, 80, 80, 80, 1], rtol=1e-6)
    infinite = tf.constant([np.inf, -np.inf, np.nan], tf.float32)
    assert np.isnan(np.asarray(depth_fraction(infinite, 0.01))).all()


# Other networks of Keras 2: small ones


def small_model() -> Any:
    """Every known kind of layer in a Keras 2 model, [h, w] to [h / 2, w / 2]."""
    import tf_keras

    tf_keras.backend.clear_session()  # layers are named by number, from the first on
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers

    class BilinearUpSampling2D(layers.Layer):
        def __init__(self, size=(2, 2), **kwargs):
            super().__init__(**kwargs)
            self.size = size

        def call(self, inputs):
            height, width = inputs.shape[1] * self.size[0], inputs.shape[2] * self.size[1]
            return tf.compat.v1.image.resize_bilinear(inputs, (height, width), align_corners=True)

        def get_config(self):
            return {"size": self.size} | super().get_config()

    picture = layers.Input((32, 64, 3))
    x = layers.ZeroPadding2D(((0, 2), (1, 2)))(picture)
    x = layers.Conv2D(8, (3, 5), strides=2, use_bias=False, name="first/conv")(x)
    x = layers.BatchNormalization(scale=False, epsilon=0.01)(x)
    half = layers.ReLU(max_value=1.5)(x)
    x = layers.MaxPooling2D(3, 2, "same")(half)
    x = layers.AveragePooling2D((2, 1), padding="same")(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.Activation("linear")(layers.Activation("relu")(x))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.UpSampling2D((2, 1))(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPooling2D(2, 2)(x))
    x = BilinearUpSampling2D()(x)
    x = layers.Concatenate()([layers.AveragePooling2D(1, 1)(x), half])
    y = layers.Conv2D(1, 3, padding="same")(layers.LeakyReLU(0.1)(x))
    model = tf_keras.Model(picture, y)
    rng = np.random.default_rng(0)
    *weights, kernel, bias = [rng.uniform(0.2, 0.9, w.shape) for w in model.get_weights()]
    model.set_weights([*weights, kernel / 100, bias + 2])
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    model = small_model()
    path = tmp_path_factory.mktemp("small") / "nyu.h5"
    model.save(path, save_format="h5")
    return model, path


SMALL = PictureSize(width=64, height=32)


def test_every_kind_of_layer_does_what_it_does_in_keras_2(small: tuple[Any, Path]):
    model, path = small
    picture = picture_of(32, 64)[None].astype(np.float32) / 255
    expected = model(picture).numpy()
    network = read_network(str(path), "nyu.h5", SMALL, "align_corners", "float32")
    np.testing.assert_allclose(network(picture), expected, rtol=1e-5)
    half = read_network(str(path), "nyu.h5", SMALL, "half_pixel", "float32")
    assert np.abs(half(picture) - expected).max() > 1e-3 * np.ptp(expected)


def small_depth(path: Path, *settings: str) -> np.ndarray:
    return load(path, 32, 64, "depth.model.unit=10", *settings).predict(picture_of(32, 64)[None])


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_lower_precision_is_near_and_its_depth_is_not_on_the_coarse_grid(small, precision: str):
    exact = small_depth(small[1])
    lower = small_depth(small[1], f"depth.precision={precision}")
    assert lower.dtype == np.float32 and 0 < np.abs(lower - exact).max() < 0.02 * exact.max()
    on_grid = lower == np.asarray(tf.cast(tf.cast(lower, precision), tf.float32))
    assert on_grid.mean() < 0.1


def test_through_onnx_it_is_a_disparity(small, tmp_path: Path):
    network = read_network(str(small[1]), "nyu.h5", SMALL, "align_corners", "float32")
    spec = [tf.TensorSpec((None, 32, 64, 3), tf.float32, name="picture")]
    path = tmp_path / "small.onnx"
    function = tf.function(network, input_signature=spec)
    tf2onnx.convert.from_function(function, input_signature=spec, output_path=str(path))
    declared = "depth.model={output: disparity, unit: 10}"
    theirs = loaded(parse_model(f"onnx:{path}"), 32, 64, declared).predict(picture_of(32, 64)[None])
    np.testing.assert_allclose(theirs, small_depth(small[1]), rtol=1e-4)


def test_the_files_name_or_the_recipe_says_how_far_it_sees(small, tmp_path: Path):
    for name in ("kitti.h5", "weights.h5"):
        (tmp_path / name).symlink_to(small[1])
    with pytest.raises(UserError, match=r"depth\.scale"):
        load(tmp_path / "kitti.h5", 32, 64)
    with pytest.raises(UserError, match=r"weights\.h5: are these the weights for rooms or"):
        load(tmp_path / "weights.h5", 32, 64)
    near = load(small[1], 32, 64).predict(picture_of(32, 64)[None])
    far = load(tmp_path / "kitti.h5", 32, 64, "depth.scale=0.002").predict(picture_of(32, 64)[None])
    np.testing.assert_allclose(far, np.maximum(near * 8, 1), rtol=1e-6)


# Files that are damaged, or of another network, or that lie


def changed(path: Path, copy: Path, change: Callable[[h5py.File], object]) -> Path:
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        change(file)
    return copy


def as_text(file: h5py.File) -> None:
    weights = file["model_weights"]
    for layer in names(weights):
        group = weights[layer]
        text = np.array(names(group, "weight_names"), h5py.string_dtype())
        group.attrs["weight_names"] = text
    weights.attrs["layer_names"] = np.array(names(weights), h5py.string_dtype())
    assert isinstance(weights.attrs["layer_names"][0], str)


def as_float64(file: h5py.File) -> None:
    layer = file["model_weights/first/conv/first/conv"]
    kernel = layer["kernel:0"][()].astype(np.float64)
    del layer["kernel:0"]
    layer["kernel:0"] = kernel


@pytest.mark.parametrize("change", [as_bytes, as_text, as_float64])
def test_names_are_bytes_or_text_and_numbers_of_any_width(small, tmp_path: Path, change):
    copy = changed(small[1], tmp_path / "copy.h5", change)
    picture = picture_of(32, 64)[None].astype(np.float32) / 255
    one, other = (
        read_network(str(path), "nyu.h5", SMALL, "align_corners", "float32")(picture)
        for path in (small[1], copy)
    )
    np.testing.assert_array_equal(one, other)


def refused(path: Path, complaint: str) -> None:
    started = time.process_time()
    with pytest.raises(DepthModelError, match=rf"{path.name}: .*{complaint}"):
        load(path, 32, 64, "depth.model.unit=10")
    assert time.process_time() - started < 5


@pytest.mark.parametrize("length", [0, 100, 30_000])
def test_truncated_files(small, tmp_path: Path, length: int):
    whole = small[1].read_bytes()
    assert len(whole) > 40_000
    (tmp_path / "part.h5").write_bytes(whole[:length])
    refused(tmp_path / "part.h5", "not a Keras 2 HDF5 file .* or damaged")


def drop_a_weight(file: h5py.File) -> None:
    file["model_weights/conv2d"].attrs["weight_names"] = [b"conv2d/kernel:0"]


def drop_a_layer(file: h5py.File) -> None:
    weights = file["model_weights"]
    weights.attrs["layer_names"] = [name for name in names(weights) if name != "conv2d"]


def add_a_layer(file: h5py.File) -> None:
    layer = file["model_weights"].create_group("fc1000")
    layer.attrs["weight_names"] = [b"fc1000/kernel:0"]
    layer["fc1000/kernel:0"] = np.zeros((6, 1000), np.float32)
    weights = file["model_weights"]
    weights.attrs["layer_names"] = [*names(weights), "fc1000"]


def replace_a_weight(file: h5py.File, **settings: Any) -> None:
    del file["model_weights/conv2d/conv2d/kernel:0"]
    file["model_weights/conv2d/conv2d"].create_dataset("kernel:0", **settings)


def link_a_weight(file: h5py.File) -> None:
    with h5py.File(f"{file.filename}.other", "w") as other:
        other["kernel"] = file["model_weights/conv2d/conv2d/kernel:0"][()]
    del file["model_weights/conv2d/conv2d/kernel:0"]
    link = h5py.ExternalLink(f"{file.filename}.other", "kernel")
    file["model_weights/conv2d/conv2d/kernel:0"] = link


def lose_the_names(file: h5py.File) -> None:
    del file["model_weights"].attrs["layer_names"]


def lose_the_description(file: h5py.File) -> None:
    del file.attrs["model_config"]


def describe(description: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs["model_config"] = description

    return change


def a_layer(class_name: str, name: str, *inputs: str, **config: Any) -> Json:
    nodes = [[[source, 0, 0, {}] for source in inputs]]
    config["name"] = name
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": nodes}


def layer_named(graph: Json, name: str) -> Json:
    return next(layer for layer in graph["layers"] if layer["name"] == name)


def set_layer(name: str, **settings: Any) -> Callable[[Json], None]:
    return lambda graph: layer_named(graph, name)["config"].update(settings)


def append(*layers: Json) -> Callable[[Json], None]:
    def change(graph: Json) -> None:
        graph["layers"] += layers
        graph["output_layers"] = [[layers[-1]["name"], 0, 0]]

    return change


def rewire(name: str, *inputs: str) -> Callable[[Json], None]:
    nodes = [[[source, 0, 0, {}] for source in inputs]]
    return lambda graph: layer_named(graph, name).update(inbound_nodes=nodes)


def described(change: Callable[[Json], object]) -> Callable[[h5py.File], None]:
    def rewrite(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        change(config["config"])
        file.attrs["model_config"] = json.dumps(config)

    return rewrite


LAMBDA = a_layer("Lambda", "evil", "conv2d_1", function=["4wEA", None, None])
DOUBLING = [a_layer("Concatenate", f"c{i + 1}", f"c{i}", f"c{i}", axis=3) for i in range(60)]
GROWING = [
    a_layer("UpSampling2D", f"u{i + 1}", f"u{i}", size=[64, 64], interpolation="nearest")
    for i in range(60)
]
HUGE = {"shape": (3, 3, 8, 10**9), "dtype": "f4", "chunks": (1, 1, 1, 1000)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop_a_weight, "it lacks conv2d/bias"),
        (drop_a_layer, "it lacks conv2d/bias, conv2d/kernel"),
        (add_a_layer, "it has besides fc1000/kernel"),
        (
            lambda file: replace_a_weight(file, data=np.zeros((3, 3, 8, 7), np.float32)),
            r"conv2d/kernel has the shape \(3, 3, 8, 7\) instead of \(3, 3, 8, 6\)",
        ),
        (lambda file: replace_a_weight(file, **HUGE), "more than 100,000,000 weights"),
        (
            lambda file: replace_a_weight(file, data=np.zeros((3, 3, 8, 6), "S9")),
            "conv2d/kernel is no array of numbers in this file",
        ),
        (
            lambda file: replace_a_weight(
                file, shape=(3, 3, 8, 6), dtype="f4", external=[("/dev/zero", 0, 1728)]
            ),
            "conv2d/kernel is no array of numbers in this file",
        ),
        (link_a_weight, "conv2d/kernel is no array of numbers in this file"),
        (lose_the_names, "not a Keras 2 HDF5 file of weights"),
        (lose_the_description, "weights alone, and not those of DenseDepth"),
        (describe("no JSON"), "its model_config is not of Keras 2"),
        (describe(b"\xff\xfe"), "its model_config is not of Keras 2"),
        (describe(np.zeros((2, 2))), "not a Keras 2 HDF5 file|its model_config is not of Keras 2"),
        (describe(" " * 5_000_000), "its model_config is longer than 4,000,000 bytes"),
        (describe("[" * 1_000_000), "its model_config is not of Keras 2"),
        (describe('{"class_name":' * 100_000), "its model_config is not of Keras 2"),
        (describe('{"class_name": "Sequential", "config": []}'), "'Model' or 'Functional'"),
        (described(set_layer("conv2d", filters=10**9)), "layer conv2d gives .* too much"),
        (described(set_layer("conv2d", filters=-1)), r"conv2d \(Conv2D\): filters"),
        (described(set_layer("conv2d", kernel_size=[10**6, 3])), r"conv2d \(Conv2D\): kernel_size"),
        (described(set_layer("conv2d", strides=[0, 1])), r"conv2d \(Conv2D\): strides"),
        (described(set_layer("conv2d", activation="tanh")), r"conv2d \(Conv2D\): activation"),
        (described(set_layer("conv2d", data_format="channels_first")), "data_format"),
        (
            described(set_layer("conv2d", padding="valid", kernel_size=[9, 3])),
            "layer conv2d: its win",
        ),
        (described(set_layer("batch_normalization", epsilon=float("nan"))), "epsilon"),
        (described(set_layer("batch_normalization", axis=[1])), "batch_normalization .*: axis"),
        (described(set_layer("zero_padding2d", padding=[[0, 10**9], [0, 0]])), "zero_padding2d"),
        (described(set_layer("input_1", batch_input_shape=[None, 32, 64, 4])), "batch_input_shape"),
        (described(append(LAMBDA)), "layer evil is a 'Lambda', which is not known here"),
        (
            described(append(a_layer("TFOpLambda", "evil", "conv2d_1", function="io.read_file"))),
            "layer evil is a 'TFOpLambda'",
        ),
        (described(rewire("conv2d", "conv2d_1")), "conv2d takes conv2d_1, which is none of"),
        (described(rewire("conv2d", "conv2d")), "conv2d takes conv2d, which is none of"),
        (described(rewire("conv2d", "nothing")), "conv2d takes nothing, which is none of"),
        (described(rewire("conv2d")), r"conv2d \(Conv2D\) takes 0 inputs"),
        (described(rewire("conv2d", "re_lu", "re_lu")), r"conv2d \(Conv2D\) takes 2 inputs"),
        (described(rewire("concatenate", "re_lu", "input_1")), "concatenate: .* different sizes"),
        (described(lambda graph: graph["layers"].pop(3)), "which is none of the layers before it"),
        (described(lambda graph: graph["layers"].append(graph["layers"][-1])), "two layers are"),
        (described(lambda graph: graph.update(layers=[])), "config.layers: .* at least 1"),
        (
            described(lambda graph: graph.update(layers=graph["layers"][:1] * (MAX_LAYERS + 1))),
            f"config.layers: .* at most {MAX_LAYERS}",
        ),
        (described(lambda graph: graph.update(output_layers=[["no", 0, 0]])), "no network from"),
        (described(lambda graph: graph["layers"][1].update(name="a b" * 99)), "layers.1.name"),
        (
            described(
                append(a_layer("Activation", "c0", "conv2d_1", activation="relu"), *DOUBLING)
            ),
            r"layer c11 gives \(16, 32, 2048\) for 64×32 pixels: too much",
        ),
        (
            described(append(a_layer("Activation", "u0", "conv2d_1", activation="relu"), *GROWING)),
            r"layer u1 gives .* too much",
        ),
    ],
)
def test_files_that_lie_are_refused_at_once(small, tmp_path: Path, change, complaint: str):
    refused(changed(small[1], tmp_path / "other.h5", change), complaint)
