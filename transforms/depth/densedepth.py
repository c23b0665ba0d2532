"""DenseDepth as a kind of depth model: how far its weights see, and loading it.

Its network is in densedepth_network.py, which needs TensorFlow.
"""

from __future__ import annotations

import posixpath
import re

from depthmask.errors import UserError
from transforms.depth.keras_model import _import_keras, _traced_network
from transforms.depth.model import DepthStage, Network
from transforms.depth.model_files import local_copy

# The sides of its pictures halve five times.
MULTIPLE = 32
# The nearest and the farthest depth, in metres, that the published weights were trained for: of
# rooms (nyu.h5) and of streets (kitti.h5).
_NEAREST_AND_FARTHEST = {"nyu": (0.1, 10.0), "kitti": (1.0, 80.0)}


def farthest_depth(path: str) -> float:
    """Returns metres, by the name of a file of weights: what is in it does not say.

    Raises UserError unless just one of ``nyu`` and ``kitti`` is a word of the name.
    """
    words = set(re.findall("[a-z0-9]+", posixpath.basename(path).lower()))
    found = words & _NEAREST_AND_FARTHEST.keys()
    if len(found) != 1:
        raise UserError(
            f"{path}: are these the weights for rooms or for streets? Set depth.model.unit to 10 "
            "(NYU) or to 80 (KITTI), or give the file its published name."
        )
    return _NEAREST_AND_FARTHEST[found.pop()][1]


def nearest_depth(farthest: float) -> float:
    """Returns the nearest depth, in metres, of weights that reach so far."""
    nearest = {far: near for near, far in _NEAREST_AND_FARTHEST.values()}
    return nearest.get(farthest, farthest / 100)


def load_densedepth(stage: DepthStage) -> Network:
    """Loads it. Raises DepthModelError."""
    _import_keras()
    from transforms.depth.densedepth_network import depth_fraction, read_network

    interface, size = stage.interface, stage.input_size(None)
    with local_copy(stage.model.path) as path:
        name = str(stage.model)
        network = read_network(path, name, size, interface.upsampling, stage.precision)
    farthest = interface.unit or farthest_depth(stage.model.path)
    nearest = nearest_depth(farthest) / farthest
    return _traced_network(
        stage, lambda pictures: depth_fraction(network(pictures), nearest), size, batch=None
    )
