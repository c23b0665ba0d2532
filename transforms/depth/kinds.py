"""The registry of the kinds of depth models, and how the command line names a model."""

from __future__ import annotations

import re

from depthmask.errors import DepthModelError
from transforms.depth.builtin import BuiltinModel
from transforms.depth.densedepth import DenseDepthModel
from transforms.depth.keras_model import KerasModel
from transforms.depth.model import ModelChoice
from transforms.depth.onnx_model import OnnxModel
from transforms.io.files import checked_path

KINDS: dict[str, type[ModelChoice]] = {
    kind.kind: kind for kind in (BuiltinModel, DenseDepthModel, KerasModel, OnnxModel)
}
_LICENCE = re.compile(r"[\w .,:/+()-]{1,100}")
USAGE = ", ".join(["none", *(kind.usage for kind in KINDS.values())])


def parse_model(text: str, licence: str | None = None) -> ModelChoice | None:
    """Returns the model that ``KIND`` or ``KIND:PATH`` names, None for ``none``.

    `licence`: of its weights, where the user says it. Raises DepthModelError for text that names no
    model, or no licence.
    """
    if text == "none":
        return None
    name, _, path = text.partition(":")
    path = path.rstrip("/")
    kind = KINDS.get(name)
    if kind is None or kind.needs_path != bool(path):
        raise DepthModelError(f"{text}: no depth model. Give one of: {USAGE}.")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise DepthModelError(
            "--depth-model-licence: give a name of one line, such as Apache-2.0 or CC-BY-NC-4.0."
        )
    return kind(checked_path(path), licence)
