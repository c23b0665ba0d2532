"""Depth models: which one, loading it, and depth maps of pictures by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from depthmask.errors import DepthModelError, first_line
from transforms.depth.interface import ModelInterface, PictureSize, Precision
from transforms.depth.storage import DepthStorage


def only_float32(stage: DepthStage) -> None:
    """Raises DepthModelError where another precision is asked for."""
    if stage.precision != "float32":
        raise DepthModelError(
            f"{stage.model}: runs as it was exported; only .keras files and DenseDepth can run in "
            f"{stage.precision}. Set depth.precision to float32."
        )


def check_float32(stage: DepthStage, dtype: str) -> None:
    """Raises DepthModelError where the model takes numbers of another type."""
    if dtype != "float32":
        raise DepthModelError(
            f"{stage.model}: the model takes {dtype}. Export it with an input of float32."
        )


def check_one(stage: DepthStage, what: str, names: list[str]) -> None:
    """Raises DepthModelError unless there is just one input or output."""
    if len(names) != 1:
        raise DepthModelError(
            f"{stage.model}: the model has {len(names)} {what}s ({', '.join(names[:5])}). It must "
            f"have one {what}: export it with that alone."
        )


def fixed_size(stage: DepthStage, shape: tuple[int | None, ...]) -> PictureSize | None:
    """The picture size that a model's input shape prescribes, if it does."""
    if len(shape) != 4:
        raise DepthModelError(
            f"{stage.model}: the model's input has the shape {shape}; it must take "
            "[n, height, width, 3] or, with depth.model.layout nchw, [n, 3, height, width]."
        )
    nhwc = stage.interface.layout == "nhwc"
    channels, height, width = (shape[3], *shape[1:3]) if nhwc else shape[1:]
    if channels not in (3, None):
        other = "nchw" if nhwc else "nhwc"
        hint = f" Set depth.model.layout to {other}." if shape[1 if nhwc else 3] == 3 else ""
        raise DepthModelError(
            f"{stage.model}: the model's input, {shape}, has {channels} channels where "
            f"{stage.interface.layout} has its 3.{hint}"
        )
    if width is None or height is None:
        return None
    return PictureSize(width=width, height=height)


ModelKind = Literal["builtin", "densedepth", "keras", "onnx"]


@dataclass(frozen=True)
class ModelChoice:
    """A model as the command line names it: ``builtin``, or ``KIND:PATH``."""

    kind: ModelKind
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelChoice:
        """Raises DepthModelError for what names no model."""
        kind, _, path = text.partition(":")
        if text == "builtin":
            return cls("builtin")
        if kind not in get_args(ModelKind) or kind == "builtin" or not path:
            raise DepthModelError(
                f"{text}: no depth model. Give builtin, none, densedepth:FILE.h5, keras:FILE.keras "
                "(or a SavedModel folder) or onnx:FILE.onnx."
            )
        return cls(kind, path)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path else self.kind


@dataclass(frozen=True)
class DepthStage:
    """All that estimating depth needs to know; the model is loaded from it on each worker.

    `canvas` is the size of the pictures that come, `input` that at which the model sees them
    (None: the model's own, or else the canvas's, rounded up to what the model's sides divide by).
    """

    model: ModelChoice
    interface: ModelInterface
    storage: DepthStorage
    canvas: PictureSize
    input: PictureSize | None
    batch_size: int
    precision: Precision

    def input_size(self, fixed: PictureSize | None) -> PictureSize:
        """The size at which the model sees pictures; `fixed` where its file leaves no choice.

        Raises DepthModelError for one that the model cannot take.
        """
        step = self.interface.multiple_of
        if self.input is None:
            width, height = (
                -(-side // step) * step for side in (self.canvas.width, self.canvas.height)
            )
            return fixed or PictureSize(width=width, height=height)
        if fixed is not None and fixed != self.input:
            raise DepthModelError(
                f"{self.model}: takes pictures of {fixed} pixels alone, not {self.input}. Leave "
                "out depth.input."
            )
        if self.input.width % step or self.input.height % step:
            raise DepthModelError(
                f"{self.model}: takes pictures whose sides divide by {step}, not {self.input}. "
                "Change depth.input."
            )
        return self.input


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    `call` takes float32 [n, h, w, 3] or [n, 3, h, w] and gives one array; n is `batch` exactly
    where that is not None.
    """

    call: Callable[[np.ndarray], np.ndarray]
    input: PictureSize
    batch: int | None = None


@dataclass(frozen=True)
class DepthModel:
    """A loaded model behind the interface that its recipe declares."""

    stage: DepthStage
    network: Network

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Depth float32 [n, h', w'] of `images` uint8 [n, H, W, C], at the stored size.

        In metres, or as a relative model gives it; not finite where the model's values are not.
        Raises DepthModelError where the model fails or its output has another form.
        """
        size = self.network.batch or self.stage.batch_size
        batches = [self._predict(images[i : i + size]) for i in range(0, len(images), size)]
        return np.concatenate(batches)

    def _predict(self, images: np.ndarray) -> np.ndarray:
        stage, interface = self.stage, self.stage.interface
        values = interface.prepare(images, self.network.input)
        missing = (self.network.batch or 0) - len(values)
        if missing > 0:  # a model of a fixed batch gets the last picture again
            values = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
        try:
            output = self.network.call(values)
        except Exception as error:
            raise DepthModelError(
                f"{stage.model}: the model fails on input of shape {values.shape}: "
                f"{first_line(error)}. What it takes is declared by depth.model (layout, "
                "multiple_of) and depth.input."
            ) from error
        depth = _one_channel(output, len(values), stage.model)[: len(images)]
        return stage.storage.resize(interface.interpret(depth))


def _one_channel(output: np.ndarray, n: int, model: ModelChoice) -> np.ndarray:
    """Maps float32 [n, h, w] of [n, h, w], [n, h, w, 1] or [n, 1, h, w]."""
    maps = output
    if output.ndim == 4 and 1 in (output.shape[1], output.shape[3]):
        maps = output[..., 0] if output.shape[3] == 1 else output[:, 0]
    if maps.ndim != 3 or len(maps) != n:
        raise DepthModelError(
            f"{model}: the model gives {output.shape} for {n} pictures. It must give one channel "
            "of depth: [n, height, width] or [n, height, width, 1]."
        )
    return np.asarray(maps, np.float32)
