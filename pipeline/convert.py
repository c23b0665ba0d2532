"""Depth networks of Hugging Face's transformers as ONNX, in a folder as the Hub has it.

Needs torch, which nothing else here does: it runs once, where torch is.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthmask.errors import DepthModelError, UserError, first_line
from transforms.depth.hub_folder import (
    CARD,
    CONFIG,
    PROCESSOR,
    published_input,
    published_licence,
    published_meaning,
    read_config,
)
from transforms.depth.interface import Meaning, ModelInterface, PictureSize
from transforms.depth.onnx_model import GRAPH

if TYPE_CHECKING:
    import torch

KIND = "transformers:"
# Of the largest value: how far the two may be apart.
_TOLERANCE = 1e-4
_BATCHES = (1, 2, 3)
_OPSET = 17


@dataclass(frozen=True)
class Converted:
    """A converted model.

    `input`: the size at which it sees pictures. `output`: what its values mean; None where its
    files do not say. `difference`: the largest from torch's, as a fraction of the largest value.
    """

    folder: str
    input: PictureSize
    output: Meaning | None
    licence: str | None
    difference: float


def convert(source: str, output: str, canvas: PictureSize) -> Converted:
    """Converts the model in a local folder, ``transformers:DIR``, for pictures of `canvas`.

    Nothing is fetched, and no code of the model's is run: its network must be one that transformers
    itself has, its weights in safetensors. Raises UserError, with nothing left at `output`, where
    that is not so or ONNX Runtime's values are others than torch's.
    """
    folder = source.removeprefix(KIND).rstrip("/")
    if not source.startswith(KIND) or not folder:
        raise UserError(f"{source}: give {KIND}DIR, a folder with config.json and safetensors.")
    if os.path.lexists(output):
        raise UserError(f"{output}: is there already. Name a new folder.")
    config = _checked_config(folder)
    published = published_input(folder, canvas)
    interface = ModelInterface(**published.model)
    size = interface.fitted(canvas, published.input or canvas)
    network = _load(folder, config)
    parent = os.path.dirname(os.path.abspath(output))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".convert-") as work:
        made = os.path.join(work, "made")
        os.makedirs(os.path.join(made, os.path.dirname(GRAPH)))
        inverse = config["model_type"] == "depth_pro"  # that is what it predicts
        difference = _export(network, os.path.join(made, GRAPH), size, inverse)
        shutil.copyfile(os.path.join(folder, PROCESSOR), os.path.join(made, PROCESSOR))
        if config["model_type"] == "depth_pro":
            config["depth_estimation_type"] = "metric"  # what `_Network` makes of its values
        Path(made, CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        licence = published_licence(folder)
        if licence:
            Path(made, CARD).write_text(f"---\nlicense: {licence}\n---\n", "utf-8")
        os.rename(made, output)
    return Converted(output, size, published_meaning(output), licence, difference)


def _checked_config(folder: str) -> dict[str, Any]:
    """Returns ``config.json``. Raises UserError for a folder that cannot be converted safely."""
    config = read_config(folder)
    if "auto_map" in config:
        raise DepthModelError(
            f"{folder}: the model brings Python code of its own, which is not run. Export it with "
            "its authors' code."
        )
    if not isinstance(config.get("model_type"), str):
        raise DepthModelError(f"{folder}/{CONFIG}: names no model_type.")
    if config["model_type"] == "depth_pro" and not config.get("use_fov_model"):
        raise DepthModelError(f"{folder}: without its field of view Depth Pro has no metres.")
    names = os.listdir(folder)
    if not any(name.endswith(".safetensors") for name in names):
        raise DepthModelError(
            f"{folder}: has no .safetensors. Other files of weights are Python code, which is not "
            "run: save the model with save_pretrained()."
        )
    return config


def _load(folder: str, config: dict[str, Any]) -> torch.nn.Module:
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import torch
        from transformers import AutoModelForDepthEstimation
    except ImportError as error:
        raise UserError(
            f"converting needs torch and transformers: pip install 'depthmask[torch]' ({error})."
        ) from error
    try:
        model = AutoModelForDepthEstimation.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except Exception as error:
        raise DepthModelError(
            f"{folder}: not a depth model that transformers can load: {first_line(error)[:300]}"
        ) from error

    class _Network(torch.nn.Module):
        """One tensor of pictures to one of maps."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            found = self.model(pixel_values)
            depth: torch.Tensor = found.predicted_depth
            if config["model_type"] == "depth_pro":
                # It gives inverse depth for a picture as wide as its focal length is long.
                width = 2 * torch.tan(found.field_of_view * (math.pi / 360))
                depth = 1 / torch.clamp(depth * width.reshape(-1, 1, 1), 1e-4, 1e4)
            return depth

    return _Network().eval()


def _export(network: torch.nn.Module, path: str, size: PictureSize, inverse: bool) -> float:
    """Writes a network as ONNX; returns its largest difference from torch's.

    `inverse`: that of the values' inverses. The batch is free, or of one picture where the
    network's own code takes the number of pictures for a constant.
    """
    import torch

    torch.manual_seed(0)
    pictures = torch.rand(max(_BATCHES), 3, size.height, size.width) * 2 - 1
    with torch.no_grad():
        theirs = {n: network(pictures[:n]).numpy() for n in _BATCHES}
    for batches in (_BATCHES, (1,)):
        _write(network, path, pictures[: batches[-1]], free_batch=len(batches) > 1)
        given = {n: pictures[:n].numpy() for n in batches}
        try:
            difference = max(_difference(path, given[n], theirs[n], inverse) for n in batches)
        except _OtherError as error:
            reason = str(error)
            continue
        if difference <= _TOLERANCE:
            return difference
        reason = f"its values differ from torch's by {difference:.2g} of the largest"
    raise DepthModelError(f"The ONNX that torch makes of the model is not right: {reason}.")


class _OtherError(Exception):
    """ONNX Runtime fails, or gives something of another form."""


def _write(network: torch.nn.Module, path: str, pictures: torch.Tensor, free_batch: bool) -> None:
    import torch

    names = ("pixel_values", "predicted_depth")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whatever they warn of is measured afterwards
            # Many times as fast as torch.export, and what it gets wrong is seen at once.
            torch.onnx.export(
                network,
                (pictures,),
                path,
                dynamo=False,
                opset_version=_OPSET,
                input_names=names[:1],
                output_names=names[1:],
                dynamic_axes={name: {0: "batch"} for name in names} if free_batch else None,
            )
    except Exception as error:
        raise DepthModelError(f"torch cannot export the model: {first_line(error)}") from error


def _difference(path: str, pictures: np.ndarray, expected: np.ndarray, inverse: bool) -> float:
    """Returns the largest difference, as a fraction of the largest value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"pixel_values": pictures})
    except Exception as error:
        raise _OtherError(first_line(error)[:300]) from error
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise _OtherError(f"it gives {found.shape}, torch {expected.shape}")
    if inverse:
        found, expected = 1 / found, 1 / expected
    return float(np.abs(found - expected).max()) / (float(np.abs(expected).max()) or 1.0)
