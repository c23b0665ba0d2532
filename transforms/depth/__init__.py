"""Depth: models of several kinds behind one interface, and how their maps are stored.

What needs Beam is imported from its own module: `estimate`.
"""

from transforms.depth.builtin import BuiltinModel
from transforms.depth.interface import ModelInterface, PictureSize, Precision
from transforms.depth.kinds import KINDS, USAGE, parse_model
from transforms.depth.layers import DepthMap, Layers
from transforms.depth.model import DepthModel, DepthSettings, DepthStage, ModelChoice, Network
from transforms.depth.storage import (
    FLAT,
    DepthStorage,
    depth_in_metres,
    grey_depth,
    is_flat,
    known_bounds,
)

__all__ = [
    "FLAT",
    "KINDS",
    "USAGE",
    "BuiltinModel",
    "DepthMap",
    "DepthModel",
    "DepthSettings",
    "DepthStage",
    "DepthStorage",
    "Layers",
    "ModelChoice",
    "ModelInterface",
    "Network",
    "PictureSize",
    "Precision",
    "depth_in_metres",
    "grey_depth",
    "is_flat",
    "known_bounds",
    "parse_model",
]
