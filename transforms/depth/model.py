"""Depth models: what one is asked to do, what each kind must know, and depth maps by it."""

from __future__ import annotations

import abc
import dataclasses
import posixpath
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field, ValidationError

from depthmask.errors import DepthModelError, UserError, first_line
from depthmask.manifest import ModelIdentity
from transforms.codecs import decode_image
from transforms.depth.hub_folder import PublishedInput
from transforms.depth.interface import Meaning, ModelInterface, PictureSize, Precision
from transforms.depth.model_files import checksum, files_at
from transforms.depth.storage import DepthStorage
from transforms.elements import BackgroundChunk, ComposedChunk

_Chunk = TypeVar("_Chunk", bound=ComposedChunk | BackgroundChunk)


class DepthSettings(DepthStorage):
    """How depth is estimated and stored: the recipe's section depth."""

    of: Literal["composite", "stored", "background"] = Field(
        "composite",
        description="what the model sees: each composite; stored: the composite as it is read "
        "again, after the loss of JPEG; background: each background once, and a foreground is a "
        "plane in front of what it covers",
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
        "float32",
        description="of the network's numbers; bfloat16, float16: faster on GPUs and some CPUs, "
        "less exact",
    )
    input: PictureSize | None = Field(
        None, description="size at which the model sees pictures; null: its own or the canvas's"
    )
    model: ModelInterface = Field(
        ModelInterface(), description="input and output of a model whose kind does not say them"
    )


@dataclass(frozen=True)
class ModelChoice(abc.ABC):
    """A depth model that is chosen but not loaded. Each kind of model is a subclass.

    `path`: its file or folder, local or remote, without a slash at its end; empty where the kind
    needs none. A subclass is importable without the packages that run its models.
    """

    path: str = ""
    said_licence: str | None = None

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

    @property
    def licence(self) -> str | None:
        """The licence of its weights: as the user says it, or the model's files."""
        return self.said_licence or self.published_licence

    @property
    def published_licence(self) -> str | None:
        """The licence of its weights, where the model or its files say it."""
        return None

    def settled(self, settings: DepthSettings, canvas: PictureSize) -> DepthSettings:
        """Returns the settings with what the model's own files say where the recipe does not.

        Raises UserError.
        """
        return settings

    def settled_by(
        self, file: str, published: PublishedInput, meaning: Meaning | None, settings: DepthSettings
    ) -> DepthSettings:
        """Returns the settings with what `file` of the model says where the recipe does not.

        Raises DepthModelError where the two do not go together.
        """
        declared = settings.model
        values = {
            key: value
            for key, value in published.model.items()
            if key not in declared.model_fields_set
        }
        if declared.output is None:
            values["output"] = meaning
        try:
            model = ModelInterface.model_validate(dict(declared) | values)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise DepthModelError(
                f"{self}: what {file} and the recipe say do not go together: "
                f"depth.model.{key}: {problem['msg'][:200]}."
            ) from error
        size = settings.input or published.input
        return settings.model_copy(update={"model": model, "input": size})

    def interface(self, settings: DepthSettings) -> ModelInterface:
        """Returns what settled settings declare. Raises UserError where that is not right."""
        if settings.model.output is None:
            self.identity()  # that a file is not there is told first
            raise UserError(
                f"{self}: what do its values mean? Set depth.model.output: depth (metres), "
                "disparity, relative_depth or relative_inverse_depth. docs/depth-models.md has it "
                "for published models."
            )
        return settings.model

    def default_input(self, canvas: PictureSize, interface: ModelInterface) -> PictureSize:
        """Returns the size of its input where neither its file nor the recipe sets one."""
        return canvas.rounded_up(interface.multiple_of)

    @abc.abstractmethod
    def load(self, stage: DepthStage) -> Network:
        """Loads the network for a stage of this model. Raises DepthModelError."""

    def _declared_unit(self, settings: DepthSettings) -> float | None:
        """Returns the recipe's unit, all that it may say of a model whose interface is known."""
        declared = settings.model
        known = ModelInterface(
            unit=declared.unit, upsampling=declared.upsampling, resize=declared.resize
        )
        if declared not in (known, known.model_copy(update={"output": "depth"})):
            raise UserError(
                f"the input and output of {self.kind} are known: leave out all of depth.model but "
                "unit, resize and upsampling."
            )
        return declared.unit


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
        settings = model.settled(settings, canvas)
        interface = model.interface(settings)
        if (interface.keeps_aspect or settings.of == "background") and settings.size is None:
            settings = settings.model_copy(update={"size": canvas})
        if interface.fit != "stretch" and settings.input is None:
            raise UserError(f"depth.model.fit {interface.fit} needs depth.input.")
        if interface.outputs.mask and settings.size:
            raise UserError(
                "depth.size does not go with depth.model.outputs.mask: known and unknown depth "
                "would be mixed. Leave out depth.size, or set depth.input to that size."
            )
        return cls(model, interface, settings, canvas)

    def load(self) -> DepthModel:
        """Loads the model. Raises DepthModelError where it cannot be used."""
        return DepthModel(self, self.model.load(self))

    def input_size(self, fixed: PictureSize | None) -> PictureSize:
        """Returns the size at which the model sees pictures; `fixed`: the only one it takes.

        Raises DepthModelError for one that the model cannot take.
        """
        wanted, step = self.settings.input, self.interface.multiple_of
        if wanted is None:
            framed = self.interface.bordered(self.canvas)
            return fixed or self.model.default_input(framed, self.interface)
        wanted = self.interface.fitted(self.canvas, wanted)
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
class NetworkOutput:
    """What a network returns for n pictures, by what it says: see `ModelOutputs`."""

    depth: np.ndarray
    scale: np.ndarray | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    `call` takes [n, h, w, 3] or [n, 3, h, w] of `dtype`; n is `batch` exactly where that is not
    None.
    """

    call: Callable[[np.ndarray], NetworkOutput]
    input: PictureSize
    batch: int | None = None
    dtype: type[np.generic] = np.float32


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

        In metres, or relative as the model returns it; 0 where the model says that it knows none,
        not finite where the model's values are not. Raises DepthModelError where the model fails or
        its output has another form.
        """
        size = self.network.batch or self.stage.settings.batch_size
        batches = [self._predict(images[i : i + size]) for i in range(0, len(images), size)]
        return np.concatenate(batches)

    def _predict(self, images: np.ndarray) -> np.ndarray:
        stage, interface = self.stage, self.stage.interface
        values = interface.prepare(images, self.network.input, self.network.dtype)
        missing = (self.network.batch or 0) - len(values)
        if missing > 0:  # a model of a fixed batch gets the last picture again
            values = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
        output = self._call(values)
        n, model = len(values), stage.model
        if interface.output == "affine_points":
            depth = _points(output.depth, n, model)
        else:
            depth = _one_channel(output.depth, n, model, "depth")
        scale = None if output.scale is None else _one_number(output.scale, n, model)
        mask = None if output.mask is None else _one_channel(output.mask, n, model, "a mask")
        depth = interface.interpret(depth, scale, mask)[: len(images)]
        if interface.keeps_aspect:
            depth = interface.fit_back(depth, stage.canvas)
        return stage.settings.resize(depth)

    def _call(self, values: np.ndarray) -> NetworkOutput:
        try:
            return self.network.call(values)
        except Exception as error:
            raise DepthModelError(
                f"{self.stage.model}: the model fails on input of shape {values.shape}: "
                f"{first_line(error)}. {self._advice(values)}"
            ) from error

    def _advice(self, values: np.ndarray) -> str:
        """Returns what helps a model that fails on these values."""
        if len(values) > 1 and self.network.batch is None:
            try:
                self.network.call(values[:1])
            except Exception:  # whatever it is: the first failure is what is told
                pass
            else:
                return _ONE_AT_A_TIME
        return "Its input is declared by depth.model (layout, multiple_of) and depth.input."


_ONE_AT_A_TIME = "It takes one picture at a time: set depth.batch_size to 1."


def _one_channel(output: np.ndarray, n: int, model: ModelChoice, what: str) -> np.ndarray:
    """Returns maps, float32 [n, h, w], of [n, h, w], [n, h, w, 1] or [n, 1, h, w].

    Of one picture also of [h, w].
    """
    maps = output[None] if n == 1 and output.ndim == 2 else output
    if maps.ndim == 4 and 1 in (maps.shape[1], maps.shape[3]):
        maps = maps[..., 0] if maps.shape[3] == 1 else maps[:, 0]
    if maps.ndim != 3 or len(maps) != n:
        raise DepthModelError(
            f"{model}: the model returns {output.shape} for {n} pictures. It must return one "
            f"channel of {what}: [n, height, width] or [n, height, width, 1]."
            f"{_advice_on_shape(output, n)}"
        )
    return np.asarray(maps, np.float32)


def _advice_on_shape(output: np.ndarray, n: int) -> str:
    one = output.ndim == 2 or (output.ndim > 2 and len(output) == 1)
    return f" {_ONE_AT_A_TIME}" if one and n > 1 else ""


def _points(output: np.ndarray, n: int, model: ModelChoice) -> np.ndarray:
    """Returns points, float32 [n, h, w, 3], of [n, h, w, 3] or [n, 3, h, w]."""
    if output.ndim == 4 and output.shape[3] != 3 and output.shape[1] == 3:
        output = output.transpose(0, 2, 3, 1)
    if output.ndim != 4 or output.shape[3] != 3 or len(output) != n:
        raise DepthModelError(
            f"{model}: the model returns {output.shape} for {n} pictures. Points must be "
            f"[n, height, width, 3].{_advice_on_shape(output, n)}"
        )
    return np.asarray(output, np.float32)


def _one_number(output: np.ndarray, n: int, model: ModelChoice) -> np.ndarray:
    """Returns a number for each picture, float32 [n]."""
    if output.size != n:
        raise DepthModelError(
            f"{model}: the model returns a scale of the shape {output.shape} for {n} pictures. It "
            "must be a number for each."
        )
    return np.asarray(output, np.float32).reshape(n)


def only_float32(stage: DepthStage) -> None:
    """Raises DepthModelError where another precision is asked for."""
    if stage.settings.precision != "float32":
        raise DepthModelError(
            f"{stage.model}: runs as it was exported, not in {stage.settings.precision}. Set "
            "depth.precision to float32."
        )


_INPUT_TYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "uint8": np.uint8,
}


def input_type(stage: DepthStage, name: str) -> type[np.generic]:
    """Returns the type of numbers that the model takes. Raises DepthModelError for another."""
    dtype = _INPUT_TYPES.get(name)
    if dtype is None:
        raise DepthModelError(
            f"{stage.model}: the model takes {name}. Export it with an input of float32, float16 "
            "or uint8."
        )
    if dtype is np.uint8 and not stage.interface.raw_input:
        raise DepthModelError(
            f"{stage.model}: the model takes uint8, the pictures' values as they are. Leave out "
            "input_max, mean and std of depth.model."
        )
    return dtype


def picture_input(stage: DepthStage, names: Sequence[str]) -> str:
    """Returns the name of the input that takes the pictures: all others have constant values.

    Raises DepthModelError.
    """
    constants = stage.interface.inputs
    listing = ", ".join(names[:_LISTED])
    unknown = [name for name in constants if name not in names]
    if unknown:
        raise DepthModelError(
            f"{stage.model}: the model has no input {unknown[0]!r}, but: {listing}. Correct "
            "depth.model.inputs."
        )
    left = [name for name in names if name not in constants]
    if len(left) != 1:
        raise DepthModelError(
            f"{stage.model}: the model has {len(names)} inputs ({listing}). One takes the "
            "pictures; give values of the others in depth.model.inputs, such as "
            "{num_tokens: 1800}."
        )
    return left[0]


def constant_input(
    stage: DepthStage, name: str, shape: Sequence[int | None] | None, dtype: np.dtype[np.generic]
) -> np.ndarray:
    """Returns the value of a further input in the form in which the model takes it.

    `shape`: None where the model does not say; a number fills all of it. Raises DepthModelError.
    """
    given = stage.interface.inputs[name]
    try:
        value = np.asarray(given)
        typed = value.astype(dtype)
        fits = bool((typed == value).all()) or dtype.kind == "f"
    except (TypeError, ValueError, OverflowError):
        fits = False
    if fits and shape is not None and typed.ndim == 0:
        typed = np.full([side or 1 for side in shape], typed)
    if not fits or (
        shape is not None
        and (
            typed.ndim != len(shape)
            or any(side not in (None, own) for side, own in zip(shape, typed.shape, strict=True))
        )
    ):
        wanted = "" if shape is None else f" of the shape {list(shape)}"
        raise DepthModelError(
            f"{stage.model}: the input {name} takes {dtype}{wanted}, not {reprlib.repr(given)}. "
            "Correct depth.model.inputs."
        )
    return typed


def chosen_outputs(stage: DepthStage, names: Sequence[str]) -> dict[str, str]:
    """Returns the names of the model's outputs by what they say, as in `NetworkOutput`.

    Raises DepthModelError.
    """
    declared = stage.interface.outputs
    chosen = {what: name for what, name in declared.model_dump().items() if name is not None}
    listing = ", ".join(names[:_LISTED])
    unknown = [name for name in chosen.values() if name not in names]
    if unknown:
        raise DepthModelError(
            f"{stage.model}: the model has no output {unknown[0]!r}, but: {listing}. Correct "
            "depth.model.outputs."
        )
    if declared.depth is None:
        left = [name for name in names if name not in chosen.values()]
        if len(left) != 1:
            raise DepthModelError(
                f"{stage.model}: the model has {len(names)} outputs ({listing}). Name the one with "
                "the depth in depth.model.outputs, such as {depth: " + (left or ["NAME"])[0] + "}."
            )
        chosen["depth"] = left[0]
    return chosen


def fixed_size(stage: DepthStage, shape: Sequence[int | None] | None) -> PictureSize | None:
    """Returns the picture size that a model's input shape prescribes, if it does.

    `shape`: None where the model does not say how many axes there are. Raises DepthModelError.
    """
    if shape is None or len(shape) != 4:
        said = "does not say the shape of its input" if shape is None else f"takes {list(shape)}"
        raise DepthModelError(
            f"{stage.model}: the model {said}. Export it with an input of [n, height, width, 3] "
            "or, with depth.model.layout nchw, [n, 3, height, width]."
        )
    nhwc = stage.interface.layout == "nhwc"
    channels, height, width = (shape[3], *shape[1:3]) if nhwc else shape[1:]
    if channels not in (3, None):
        other = "nchw" if nhwc else "nhwc"
        hint = f" Set depth.model.layout to {other}." if shape[1 if nhwc else 3] == 3 else ""
        raise DepthModelError(
            f"{stage.model}: the model's input, {list(shape)}, has {channels} channels where "
            f"{stage.interface.layout} has its 3.{hint}"
        )
    if width is None or height is None:
        return None
    return PictureSize(width=width, height=height)


# Names that an error lists.
_LISTED = 12
