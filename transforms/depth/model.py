"""Depth models: what one is asked to do, what each kind must know, and depth maps by it."""

from __future__ import annotations

import abc
import dataclasses
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field

from depthmask.errors import DepthModelError, UserError, first_line
from depthmask.manifest import ModelIdentity
from transforms.codecs import decode_image
from transforms.depth.interface import ModelInterface, PictureSize, Precision
from transforms.depth.model_files import checksum, files_at
from transforms.depth.storage import DepthStorage
from transforms.elements import BackgroundChunk, ComposedChunk

_Chunk = TypeVar("_Chunk", bound=ComposedChunk | BackgroundChunk)


class DepthSettings(DepthStorage):
    """How depth is estimated and stored: the recipe's section ``depth``."""

    of: Literal["composite", "stored", "background"] = Field(
        "composite",
        description="what the model sees; stored: the composite as it is read again, after the "
        "loss of JPEG; background: each background once, and a foreground is a plane in front of "
        "what it covers",
    )
    measured_unit: float = Field(
        0.001,
        gt=0,
        allow_inf_nan=False,
        description="--background-depths: metres per step of files of whole numbers; files of "
        "fractions are in metres",
    )
    batch_size: int = Field(16, ge=1, le=4096, description="pictures per call of the model")
    precision: Precision = Field(
        "float32", description="bfloat16, float16: faster on GPUs and some CPUs, less exact"
    )
    input: PictureSize | None = Field(
        None, description="size at which the model sees pictures; null: its own or the canvas's"
    )
    model: ModelInterface = Field(
        ModelInterface(), description="input and output of a model whose kind does not tell"
    )


@dataclass(frozen=True)
class ModelChoice(abc.ABC):
    """A depth model that is chosen but not loaded. Each kind of model is a subclass.

    `path`: its file or folder, local or remote, without a slash at its end; empty where the kind
    needs none. A subclass is importable without the packages that run its models.
    """

    path: str = ""

    kind: ClassVar[str]
    usage: ClassVar[str]
    """How the command line names one, and what its file is."""
    packages: ClassVar[tuple[str, ...]]
    """Packages of which another version may change the depth."""
    needs_path: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.path else self.kind

    @property
    def files(self) -> dict[str, str]:
        """The paths of its files by their names within it. Raises DepthModelError."""
        return files_at(self.path)

    def identity(self) -> ModelIdentity:
        """Reads the files. Raises DepthModelError where one is missing."""
        return ModelIdentity(self.kind, posixpath.basename(self.path), checksum(self.files))

    def interface(self, settings: DepthSettings) -> ModelInterface:
        """Returns what the recipe declares. Raises UserError where that is not right."""
        return settings.model

    def default_input(self, canvas: PictureSize, interface: ModelInterface) -> PictureSize:
        """Returns the size of its input where neither its file nor the recipe sets one."""
        return canvas.rounded_up(interface.multiple_of)

    @abc.abstractmethod
    def load(self, stage: DepthStage) -> Network:
        """Loads the network for a stage of this model. Raises DepthModelError."""

    def _declared_unit(self, settings: DepthSettings) -> float | None:
        """Returns the recipe's unit, all that it may say of a model whose interface is known."""
        known = ModelInterface(unit=settings.model.unit, upsampling=settings.model.upsampling)
        if settings.model != known:
            raise UserError(
                f"the input and output of {self.kind} are known: leave out all of depth.model but "
                "unit and upsampling."
            )
        return settings.model.unit


@dataclass(frozen=True)
class DepthStage:
    """All that estimating depth needs to know; each worker loads the model from it.

    `canvas`: the size of the pictures that come.
    """

    model: ModelChoice
    interface: ModelInterface
    settings: DepthSettings
    canvas: PictureSize

    @classmethod
    def of(cls, model: ModelChoice, settings: DepthSettings, canvas: PictureSize) -> DepthStage:
        """Raises UserError where the model and the settings do not go together."""
        if settings.of == "background":
            settings = settings.model_copy(update={"size": settings.size or canvas})
        return cls(model, model.interface(settings), settings, canvas)

    def load(self) -> DepthModel:
        """Loads the model. Raises DepthModelError where it cannot be used."""
        return DepthModel(self, self.model.load(self))

    def input_size(self, fixed: PictureSize | None) -> PictureSize:
        """Returns the size at which the model sees pictures; `fixed`: the only one it takes.

        Raises DepthModelError for one that the model cannot take.
        """
        wanted, step = self.settings.input, self.interface.multiple_of
        if wanted is None:
            return fixed or self.model.default_input(self.canvas, self.interface)
        if fixed is not None and fixed != wanted:
            raise DepthModelError(
                f"{self.model}: only takes pictures of {fixed} pixels, not {wanted}. Leave out "
                "depth.input."
            )
        if wanted != wanted.rounded_up(step):
            raise DepthModelError(
                f"{self.model}: takes pictures whose sides are multiples of {step}, not {wanted}. "
                "Change depth.input."
            )
        return wanted


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    `call` takes float32 [n, h, w, 3] or [n, 3, h, w] and returns one array; n is `batch` exactly
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

    def estimate(self, chunk: _Chunk) -> _Chunk:
        """Returns the chunk with depth: of its composites as they are encoded, if they are.

        Raises as `predict` does.
        """
        images = chunk.images
        if isinstance(chunk, ComposedChunk) and chunk.encoded_images is not None:
            images = np.stack([decode_image(data) for data in chunk.encoded_images])
        return dataclasses.replace(chunk, depths=self.predict(images))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns depth, float32 [n, h', w'], of `images`, uint8 [n, H, W, C], at the stored size.

        In metres, or relative as the model returns it; not finite where the model's values are not.
        Raises DepthModelError where the model fails or its output has another form.
        """
        size = self.network.batch or self.stage.settings.batch_size
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
                f"{first_line(error)}. Its input is declared by depth.model (layout, "
                "multiple_of) and depth.input."
            ) from error
        depth = _one_channel(output, len(values), stage.model)[: len(images)]
        return stage.settings.resize(interface.interpret(depth))


def _one_channel(output: np.ndarray, n: int, model: ModelChoice) -> np.ndarray:
    """Returns maps, float32 [n, h, w], of [n, h, w], [n, h, w, 1] or [n, 1, h, w]."""
    maps = output
    if output.ndim == 4 and 1 in (output.shape[1], output.shape[3]):
        maps = output[..., 0] if output.shape[3] == 1 else output[:, 0]
    if maps.ndim != 3 or len(maps) != n:
        raise DepthModelError(
            f"{model}: the model returns {output.shape} for {n} pictures. It must return one "
            "channel of depth: [n, height, width] or [n, height, width, 1]."
        )
    return np.asarray(maps, np.float32)


def only_float32(stage: DepthStage) -> None:
    """Raises DepthModelError where another precision is asked for."""
    if stage.settings.precision != "float32":
        raise DepthModelError(
            f"{stage.model}: runs as it was exported, not in {stage.settings.precision}. Set "
            "depth.precision to float32."
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
    """Returns the picture size that a model's input shape prescribes, if it does."""
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
