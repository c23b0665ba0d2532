"""The depth network that comes with depthmask: docs/builtin-model.md."""

from __future__ import annotations

import math
from importlib import resources

from transforms.depth.interface import PictureSize
from transforms.depth.keras_model import _load_keras_file
from transforms.depth.model import DepthStage, Network

# What the model that comes with depthmask was made for: docs/builtin-model.md.
_BUILTIN_SIDE, MULTIPLE = 224, 32


def builtin_input(canvas: PictureSize) -> PictureSize:
    """The canvas, in its shape, at the number of pixels that the builtin model knows best."""
    factor = _BUILTIN_SIDE / math.sqrt(canvas.width * canvas.height)
    width, height = (
        max(MULTIPLE, round(side * factor / MULTIPLE) * MULTIPLE)
        for side in (canvas.width, canvas.height)
    )
    return PictureSize(width=width, height=height)


def builtin_path() -> str:
    """The file of the model that comes with depthmask."""
    return str(resources.files("transforms") / "depth" / "builtin.keras")


def load_builtin(stage: DepthStage) -> Network:
    """Loads it. Raises DepthModelError."""
    return _load_keras_file(stage, builtin_path())
