"""The depth network that comes with depthmask: docs/builtin-model.md."""

from __future__ import annotations

import math
from importlib import resources

from transforms.depth.interface import ModelInterface, PictureSize
from transforms.depth.keras_model import load_keras_file
from transforms.depth.model import DepthSettings, DepthStage, ModelChoice, Network

# The network was trained for pictures of about this size, and halves their sides five times.
_SIDE, _MULTIPLE = 224, 32


class BuiltinModel(ModelChoice):
    """The network in ``builtin.keras`` beside this file, which every worker has."""

    kind = "builtin"
    usage = "builtin (small, for trying out)"
    packages = ("keras", "tensorflow")
    needs_path = False

    @property
    def files(self) -> dict[str, str]:
        name = "builtin.keras"
        return {name: str(resources.files("transforms") / "depth" / name)}

    def interface(self, settings: DepthSettings) -> ModelInterface:
        unit = self._declared_unit(settings)
        resize = settings.model.resize
        return ModelInterface(multiple_of=_MULTIPLE, resize=resize, output="depth", unit=unit)

    @property
    def published_licence(self) -> str:
        return "Apache-2.0"

    def default_input(self, canvas: PictureSize, interface: ModelInterface) -> PictureSize:
        """Returns the canvas's shape, at about as many pixels as the network was trained for."""
        factor = _SIDE / math.sqrt(canvas.width * canvas.height)
        width, height = (
            max(_MULTIPLE, round(side * factor / _MULTIPLE) * _MULTIPLE)
            for side in (canvas.width, canvas.height)
        )
        return PictureSize(width=width, height=height)

    def load(self, stage: DepthStage) -> Network:
        (path,) = self.files.values()
        return load_keras_file(stage, path)
