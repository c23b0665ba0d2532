"""A tiny Depth Anything of KerasHub with random weights: by its own code, and by ours."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from depthmask.errors import DepthModelError
from pipeline.recipes import load_recipe
from transforms.depth import DepthModel, DepthStage, PictureSize, parse_model
from transforms.depth.resample import sample

CANVAS = PictureSize(width=64, height=48)
# Of ImageNet, as its presets have them. Its networks see squares.
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
NETWORK = PictureSize(width=84, height=84)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset's folder with its exported graph, as its users make it, and what it gives."""
    hub = pytest.importorskip("keras_hub")
    folder = tmp_path_factory.mktemp("preset") / "depth-anything"
    size = (NETWORK.height, NETWORK.width)
    encoder = hub.models.DINOV2Backbone(
        patch_size=14,
        num_layers=4,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        image_shape=(*size, 3),
        position_embedding_shape=size,
    )
    backbone = hub.models.DepthAnythingBackbone(
        image_encoder=encoder,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[8, 8, 8, 8],
        fusion_hidden_dim=8,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    )
    converter = hub.layers.DepthAnythingImageConverter(
        image_size=size,
        scale=list(1 / 255 / STD),
        offset=list(-MEAN / STD),
        interpolation="bicubic",
        crop_to_aspect_ratio=False,
    )
    estimator = hub.models.DepthAnythingDepthEstimator(
        backbone=backbone,
        preprocessor=hub.models.DepthAnythingDepthEstimatorPreprocessor(converter),
        depth_estimation_type="relative",
    )
    estimator.save_to_preset(str(folder))
    estimator.export(str(folder), verbose=False)
    seen = converter(pictures())
    theirs = {
        "input": seen,
        "values": estimator(seen)["depths"],
        "depths": estimator.predict(pictures(), verbose=0)["depths"],
    }
    np.savez(folder.parent / "theirs.npz", **theirs)
    return folder


def pictures() -> np.ndarray:
    """Smooth pictures with some noise, uint8 [n, H, W, 3]."""
    rng = np.random.default_rng(8)
    shape = (CANVAS.width, CANVAS.height)
    small = [
        Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).resize(shape)
        for _ in range(3)
    ]
    noisy = np.stack([np.asarray(picture) for picture in small]) + rng.integers(-9, 10, 3)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def load(path: Path, *settings: str, canvas: PictureSize = CANVAS) -> DepthModel:
    model = parse_model(f"keras:{path}")
    assert model is not None
    return DepthStage.of(model, load_recipe("default", settings).depth, canvas).load()


def test_it_gives_what_keras_hub_gives(preset: Path):
    theirs = np.load(preset.parent / "theirs.npz")
    model = load(preset, "depth.storage=norm8")
    shown: list[np.ndarray] = []
    call = model.network.call
    spied = dataclasses.replace(
        model, network=dataclasses.replace(model.network, call=lambda x: shown.append(x) or call(x))
    )
    depth = spied.predict(pictures())
    assert model.stage.interface.output == "relative_inverse_depth"
    # Grey levels of what the network sees, and its values.
    assert np.abs((np.concatenate(shown) - theirs["input"]) * STD).max() * 255 < 1.01
    expected = theirs["depths"][..., 0]
    assert depth.shape == expected.shape and np.ptp(expected) > 0
    # Of the very tensor that their network saw; predict() itself shows it a slightly other one.
    values = theirs["values"][..., 0]
    alike = model.network.call(theirs["input"]).depth.reshape(values.shape)
    assert np.abs(alike - values).max() <= 1e-4 * np.abs(values).max()
    assert np.abs(depth - expected).max() <= 0.03 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("interpolation", "sampling"), [("bicubic", "bicubic_keys"), ("bilinear", "bilinear_plain")]
)
@pytest.mark.parametrize("size", [(70, 91), (30, 41)])
def test_pictures_are_resized_as_tensorflow_does(interpolation: str, sampling, size):
    found = sample(pictures(), *size, sampling)
    theirs = tf.image.resize(pictures().astype(np.float32), size, interpolation).numpy()
    assert np.abs(found - theirs).max() < 0.01


def test_pictures_of_the_networks_shape_are_taken_whole(preset: Path, tmp_path: Path):
    """As its published presets have it: what would be cropped is nothing."""
    folder = tmp_path / "cropping"
    shutil.copytree(preset, folder)
    described = folder / "image_converter.json"
    described.write_text(
        described.read_text().replace(
            '"crop_to_aspect_ratio": false', '"crop_to_aspect_ratio": true'
        )
    )
    square = PictureSize(width=64, height=64)
    assert load(folder, "depth.storage=norm8", canvas=square).network.input == NETWORK


def test_the_recipe_counts_more(preset: Path):
    stage = load(preset, "depth.model={resize: lanczos, output: disparity}").stage
    assert (stage.interface.resize, stage.interface.output) == ("lanczos", "disparity")
    assert stage.settings.input == NETWORK and stage.interface.std == pytest.approx(tuple(STD))


def _described(**config: object) -> Callable[[dict], dict]:
    return lambda saved: saved | {"config": saved["config"] | config}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_described(interpolation="area"), "the filter area without antialias is not known"),
        (_described(crop_to_aspect_ratio=True), "crops pictures of 64×48 to the shape of 84×84"),
        (_described(pad_to_aspect_ratio=True), "pads pictures of 64×48"),
        (_described(scale=[1, 2]), "scale"),
        (_described(scale=0), "scale"),
        (_described(offset="a lot"), "offset"),
        (_described(mean=[1, 2, 3]), "mean: Extra inputs are not permitted"),
        (_described(image_size=[28, 28]), "only takes pictures of 84×84 pixels, not 28×28"),
        (lambda saved: saved | {"class_name": "SAMImageConverter"}, "what SAMImageConverter does"),
        (lambda saved: [saved], "no JSON object"),
    ],
)
def test_descriptions_that_are_not_understood(preset: Path, tmp_path: Path, change, message):
    folder = tmp_path / "changed"
    shutil.copytree(preset, folder)
    described = folder / "image_converter.json"
    described.write_text(json.dumps(change(json.loads(described.read_text()))))
    with pytest.raises(DepthModelError, match=message):
        load(folder, "depth.storage=norm8")


def test_folders_without_their_parts(preset: Path, tmp_path: Path):
    folder = tmp_path / "parts"
    shutil.copytree(preset, folder)
    task = folder / "task.json"
    task.write_text(
        json.dumps(
            {
                "class_name": "DepthAnythingDepthEstimator",
                "config": {"depth_estimation_type": "metric", "max_depth": 20.0},
            }
        )
    )
    assert load(folder).stage.interface.output == "depth"
    task.unlink()
    with pytest.raises(Exception, match="what do its values mean"):
        load(folder)
    (folder / "image_converter.json").write_text('{"class_name": ')
    with pytest.raises(DepthModelError, match=r"image_converter.json: not what it should be"):
        load(folder)
    shutil.copy(preset / "image_converter.json", folder)
    (folder / "saved_model.pb").write_bytes(b"torn")
    with pytest.raises(DepthModelError, match="not a SavedModel"):
        load(folder, "depth.model.output=depth")
    (folder / "saved_model.pb").unlink()
    with pytest.raises(DepthModelError, match="a preset of KerasHub without the model's graph"):
        load(folder)
