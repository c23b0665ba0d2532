"""DenseDepth as a kind of depth model. Its network, which needs TensorFlow, is elsewhere.

I. Alhashim and P. Wonka, "High Quality Monocular Depth Estimation via Transfer Learning" (2018),
arXiv:1812.11941.
"""

from __future__ import annotations

import posixpath
import re

from depthmask.errors import UserError
from transforms.depth.interface import ModelInterface
from transforms.depth.keras_model import import_tensorflow, traced_network
from transforms.depth.model import DepthSettings, DepthStage, ModelChoice, Network
from transforms.depth.model_files import local_copy

# The sides of pictures are halved five times.
_MULTIPLE = 32
# The nearest and the farthest depth, in metres, that each of the published weights was trained for:
# rooms, streets.
_REACHES = {"nyu": (0.1, 10.0), "kitti": (1.0, 80.0)}


class DenseDepthModel(ModelChoice):
    """DenseDepth, or a network like it, in a file as Keras 2 wrote it."""

    kind = "densedepth"
    usage = "densedepth:FILE.h5"
    packages = ("tensorflow",)

    def interface(self, settings: DepthSettings) -> ModelInterface:
        metres = self._declared_unit(settings) or self._farthest()
        if metres > settings.greatest:
            raise UserError(
                f"depth of up to {metres:g} m does not fit into 16 bits in steps of "
                f"{settings.scale:g} m: set depth.scale larger, such as 0.002."
            )
        resize = settings.model.resize
        return ModelInterface(multiple_of=_MULTIPLE, resize=resize, output="depth", unit=metres)

    def _farthest(self) -> float:
        """Returns metres by the name of the file: its content does not say."""
        words = set(re.findall("[a-z0-9]+", posixpath.basename(self.path).lower()))
        found = words & _REACHES.keys()
        if len(found) != 1:
            raise UserError(
                f"{self.path}: are these the weights for rooms or for streets? Set "
                "depth.model.unit to 10 (NYU) or to 80 (KITTI), or give the file its published "
                "name."
            )
        return _REACHES[found.pop()][1]

    def load(self, stage: DepthStage) -> Network:
        import_tensorflow()
        from transforms.depth.densedepth_network import depth_fraction, read_network

        size, settings = stage.input_size(None), stage.settings
        with local_copy(self.path, self.files) as path:
            network = read_network(
                path, str(self), size, settings.model.upsampling, settings.precision
            )
        farthest = stage.interface.unit
        assert farthest is not None  # `interface` says it
        nearest = _nearest(farthest) / farthest

        def run(pictures: object) -> dict[str, object]:
            return {"depth": depth_fraction(network(pictures), nearest)}

        return traced_network(stage, run, size, batch=None)


def _nearest(farthest: float) -> float:
    """Returns the nearest depth, in metres, of weights that reach so far."""
    return {far: near for near, far in _REACHES.values()}.get(farthest, farthest / 100)
