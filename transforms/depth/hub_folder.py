"""Folders as Hugging Face's Hub has them: what they say of a model's pictures and values.

``preprocessor_config.json`` describes the input, ``config.json`` the meaning of the output, and the
head of ``README.md`` the licence. Only what the classes named here do with a picture is known:
https://github.com/huggingface/transformers (release 5.23).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from depthmask.errors import DepthModelError
from transforms.depth.interface import Fit, Meaning, PictureSize, Resize
from transforms.depth.model_files import check_regular
from transforms.io.files import exists, join, open_file

PROCESSOR, CONFIG, CARD = "preprocessor_config.json", "config.json", "README.md"
_MAX_BYTES = 2**20
# Pillow's numbers of filters.
_FILTERS: dict[int, Resize] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_Side = Annotated[int, Field(ge=1, le=8192)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_LICENCE = re.compile(r"[\w .,:/+()-]{1,100}")


@dataclass(frozen=True)
class PublishedInput:
    """How a published model sees pictures: values of ``depth.model`` and ``depth.input``."""

    model: dict[str, Any]
    input: PictureSize | None


class _Size(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    height: _Side
    width: _Side


class _Processor(BaseModel):
    """What decides a picture's values in ``preprocessor_config.json``; the rest does not."""

    model_config = ConfigDict(extra="ignore", strict=True)

    image_processor_type: str | None = None
    feature_extractor_type: str | None = None
    do_resize: bool | None = True
    size: _Size | _Side | None = None
    resample: int | None = None
    keep_aspect_ratio: bool | None = False
    ensure_multiple_of: float | None = Field(1, ge=1, le=512, allow_inf_nan=False)
    size_divisor: int | None = Field(None, ge=1, le=512)
    do_rescale: bool | None = True
    rescale_factor: float | None = Field(None, gt=0, le=1)
    do_normalize: bool | None = None
    image_mean: tuple[_Finite, _Finite, _Finite] | None = Field(None, strict=False)
    image_std: tuple[_Positive, _Positive, _Positive] | None = Field(None, strict=False)
    do_pad: bool | None = None
    do_center_crop: bool | None = False
    do_flip_channel_order: bool | None = False

    @property
    def family(self) -> str:
        """The class that reads it, without the endings of its implementations."""
        name = self.image_processor_type or self.feature_extractor_type or ""
        return re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", name)


def published_input(folder: str, canvas: PictureSize) -> PublishedInput:
    """Returns how the model in a folder sees pictures of `canvas`.

    Raises DepthModelError for a description that is missing, wrong, or of a kind not known here.
    """
    path = join(folder, PROCESSOR)
    try:
        processor = _Processor.model_validate(read_object(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise DepthModelError(f"{path}: {key}: {problem['msg'][:200]}.") from error
    try:
        return _published_input(processor, canvas)
    except _UnknownError as error:
        raise DepthModelError(
            f"{path}: {error}. Give the model's file, such as onnx:{folder}/onnx/model.onnx, and "
            "say in the recipe how it sees pictures (depth.input, depth.model)."
        ) from error


class _UnknownError(Exception):
    """What a processor does that cannot be said here."""


def _published_input(processor: _Processor, canvas: PictureSize) -> PublishedInput:
    family = processor.family
    if family not in ("DPT", "GLPN", "ZoeDepth", "DepthPro"):
        raise _UnknownError(f"what {family or 'this'} does with pictures is not known")
    if processor.do_center_crop or processor.do_flip_channel_order:
        raise _UnknownError("cropped pictures and flipped channels are not known")
    if family == "DPT" and processor.do_pad:
        raise _UnknownError("padded pictures are not known")
    model: dict[str, Any] = {"layout": "nchw", **_values(processor)}
    if not processor.do_resize:
        return PublishedInput(model, canvas)
    number = processor.resample
    if number is None:
        number = 3 if family == "DPT" else 2
    resize = _FILTERS.get(number)
    if resize is None:
        raise _UnknownError(f"the filter {processor.resample} is not known")
    if family == "GLPN":
        step = processor.size_divisor or 32
        if min(canvas.width, canvas.height) < step:
            raise _UnknownError(f"pictures of {canvas} are smaller than {step} pixels")
        size = PictureSize(width=canvas.width // step * step, height=canvas.height // step * step)
        return PublishedInput(model | {"resize": resize, "multiple_of": step}, size)
    if family != "DPT":
        if resize != "bilinear":
            raise _UnknownError(f"{resize} is not known of {family}")
        resize = "bilinear_corners" if family == "ZoeDepth" else "bilinear_plain"
    if family == "ZoeDepth":
        model["mirrored_border"] = processor.do_pad is not False
    size = _size(processor)
    step = max(1, round(processor.ensure_multiple_of or 1))
    fit: Fit = "minimal" if processor.keep_aspect_ratio else "stretch"
    if fit == "stretch":
        width, height = (max(step, round(side / step) * step) for side in (size.width, size.height))
        size = PictureSize(width=width, height=height)
    return PublishedInput(model | {"resize": resize, "fit": fit, "multiple_of": step}, size)


def _size(processor: _Processor) -> PictureSize:
    size = processor.size
    if size is None:
        raise _UnknownError("it lacks size")
    if isinstance(size, int):
        size = _Size(height=size, width=size)
    return PictureSize(width=size.width, height=size.height)


def _values(processor: _Processor) -> dict[str, Any]:
    """Returns how the values of pixels become those of the input."""
    values: dict[str, Any] = {}
    factor = (processor.rescale_factor or 1 / 255) if processor.do_rescale else 1.0
    if abs(factor * 255 - 1) > 1e-6:
        values["input_max"] = factor * 255
    normalised = processor.do_normalize
    if normalised is None:
        normalised = processor.image_mean is not None
    if normalised:
        if processor.image_mean is None or processor.image_std is None:
            raise _UnknownError("it lacks image_mean or image_std")
        values |= {"mean": processor.image_mean, "std": processor.image_std}
    return values


def published_meaning(folder: str) -> Meaning | None:
    """Returns what the values of the model in a folder mean, if its ``config.json`` says it.

    Raises DepthModelError for one that cannot be read.
    """
    if not exists(join(folder, CONFIG)):
        return None
    config = read_config(folder)
    # Depth Anything is relative where it says nothing.
    quiet = "relative" if config.get("model_type") == "depth_anything" else None
    kind = config.get("depth_estimation_type", quiet)
    if kind is None and config.get("model_type") in ("zoedepth", "glpn"):
        kind = "metric"
    meanings: dict[Any, Meaning] = {"metric": "depth", "relative": "relative_inverse_depth"}
    return meanings.get(kind) if isinstance(kind, str) else None


def read_config(folder: str) -> dict[str, Any]:
    """Returns a folder's ``config.json``. Raises DepthModelError."""
    return read_object(join(folder, CONFIG))


def published_licence(folder: str) -> str | None:
    """Returns the licence that the head of a folder's ``README.md`` names, if it does."""
    path = join(folder, CARD)
    try:
        check_regular(path)
        with open_file(path) as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except (OSError, DepthModelError):
        return None
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    # One line of plain text: no YAML of a stranger's is taken apart for it.
    line = head and re.search(r"^license:[ \t]*(\S.*?)[ \t]*$", head[1], re.MULTILINE)
    if not line:
        return None
    licence = line[1].strip("'\"")
    return licence if _LICENCE.fullmatch(licence) else None


def read_object(path: str) -> dict[str, Any]:
    """Returns the JSON object in a small file. Raises DepthModelError."""
    check_regular(path)
    try:
        with open_file(path) as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES >> 10} KiB")
        content = json.loads(data)
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError as error:
        raise DepthModelError(
            f"{path}: there is none. A model's folder has it, and onnx/model.onnx; give the file "
            "alone where there is only that."
        ) from error
    except OSError as error:
        raise DepthModelError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DepthModelError(f"{path}: not what it should be: {str(error)[:200]}.") from error
    return content
