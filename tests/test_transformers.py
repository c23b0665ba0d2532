"""Networks of transformers with random weights: through their authors' code, and through ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from depthmask.errors import DepthModelError
from pipeline.convert import convert
from pipeline.recipes import load_recipe
from tests.conftest import ROOT, TORCH, needs_torch
from transforms.depth import DepthModel, PictureSize, parse_model
from transforms.depth.model import DepthStage

NAMES = ["depth_anything", "depth_anything_metric", "dpt", "glpn", "zoedepth", "depth_pro"]
CANVAS = PictureSize(width=64, height=40)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    done = subprocess.run(
        [str(TORCH), "-m", "tests.tiny_networks", str(folder)],
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "told.txt").write_text(done.stdout)
    return folder


def load(path: Path, *settings: str) -> DepthModel:
    recipe = load_recipe("default", settings)
    return DepthStage.of(parse_model(f"onnx:{path}"), recipe.depth, CANVAS).load()


@needs_torch
@pytest.mark.parametrize("name", NAMES)
def test_a_network_gives_what_its_authors_code_gives(networks: Path, name: str):
    theirs = np.load(networks / "theirs" / name / "theirs.npz")
    settings = ["depth.model.output=relative_inverse_depth"] if name == "dpt" else []
    model = load(networks / "ours" / name, *settings)
    interface, network = model.stage.interface, model.network
    seen = interface.prepare(theirs["pictures"], network.input)
    assert seen.shape == theirs["seen"].shape
    levels = np.abs(seen - theirs["seen"]) * np.reshape(interface.std, (1, 3, 1, 1)) * 255
    assert levels.max() < 1.01
    # Of the very tensor that their network saw.
    step = network.batch or len(seen)
    parts = [theirs["seen"][i : i + step] for i in range(0, len(seen), step)]
    values = np.concatenate([network.call(part).depth for part in parts])
    expected = theirs["values"]
    if name == "depth_pro":  # it predicts inverse depth
        values, expected = 1 / values, 1 / expected
    apart = np.abs(values - expected).max() / np.abs(expected).max()
    assert apart < 1e-4 and np.ptp(expected) > 0.01 * np.abs(expected).max()
    depth = model.predict(theirs["pictures"])
    line = f"{name:22} {levels.max():.3f} grey levels, values {apart:.1e}"
    if depth.shape == theirs["depth"].shape:  # their aspect is kept, and maps are resized back
        whole = np.abs(depth - theirs["depth"]).max() / np.abs(theirs["depth"]).max()
        assert whole < 0.02
        line += f", from picture to map {whole:.1e}"
    print(line)


@needs_torch
def test_what_is_told_of_a_converted_network(networks: Path):
    told = (networks / "told.txt").read_text()
    assert told.count("Its licence: apache-2.0") == len(NAMES)
    assert told.count("set depth.model.output") == 1  # DPT's files do not say it
    assert parse_model(f"onnx:{networks / 'ours' / 'dpt'}").licence == "apache-2.0"


@needs_torch
def test_a_zoe_model_takes_one_picture_at_a_time(networks: Path):
    # Its authors' code has the number of pictures as a constant.
    assert load(networks / "ours" / "zoedepth").network.batch == 1
    assert load(networks / "ours" / "glpn").network.batch is None


def test_folders_that_are_not_converted(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    given = f"transformers:{folder}"

    def refused(complaint: str) -> None:
        with pytest.raises(DepthModelError, match=complaint):
            convert(given, str(tmp_path / "out"), CANVAS)
        assert not (tmp_path / "out").exists()

    refused(r"config\.json: there is none")
    (folder / "config.json").write_text('{"model_type": "dpt", "auto_map": {"AutoModel": "m.M"}}')
    refused("brings Python code of its own")
    (folder / "config.json").write_text('{"model_type": "dpt"}')
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    refused(r"has no \.safetensors")
    (folder / "model.safetensors").write_bytes(b"no weights")
    refused(r"preprocessor_config\.json: there is none")
