"""Presets of KerasHub: what they say of an exported model's pictures and values.

``image_converter.json`` describes the input, ``task.json`` the meaning of the output. Only what the
classes named here do is known: https://github.com/keras-team/keras-hub (release 0.32).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from depthmask.errors import DepthModelError
from transforms.depth.hub_folder import PublishedInput, read_object
from transforms.depth.interface import Meaning, PictureSize, Resize
from transforms.io.files import exists, join

CONVERTER, TASK, GRAPH = "image_converter.json", "task.json", "saved_model.pb"
# By interpolation and antialias: TensorFlow's own, or Pillow's, which are the same curves.
_FILTERS: dict[tuple[str, bool], Resize] = {
    ("bilinear", False): "bilinear_plain",
    ("bilinear", True): "bilinear",
    ("bicubic", False): "bicubic_keys",
    ("bicubic", True): "bicubic",
    ("lanczos3", True): "lanczos",
}
_Side = Annotated[int, Field(ge=1, le=8192)]
_Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Each = Field(strict=False)


class _Converter(BaseModel):
    """All that an ImageConverter is made of; none of the first four decides a value."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Any = None
    trainable: Any = None
    dtype: Any = None
    bounding_box_format: Any = None
    image_size: Annotated[tuple[_Side, _Side], _Each] | None = None
    scale: _Factor | Annotated[tuple[_Factor, _Factor, _Factor], _Each] | None = None
    offset: _Finite | Annotated[tuple[_Finite, _Finite, _Finite], _Each] | None = None
    interpolation: str = "bilinear"
    antialias: bool = False
    crop_to_aspect_ratio: bool = True
    pad_to_aspect_ratio: bool = False


def preset_input(folder: str, canvas: PictureSize) -> PublishedInput:
    """Returns how the exported model in a preset's folder sees pictures of `canvas`.

    Raises DepthModelError for a description that is wrong or of a kind not known here, and where
    the model has not been exported.
    """
    path = join(folder, CONVERTER)
    saved = read_object(path)
    kind = saved.get("class_name")
    if kind not in ("ImageConverter", "DepthAnythingImageConverter"):
        raise DepthModelError(f"{path}: what {str(kind)[:100]} does with pictures is not known.")
    try:
        converter = _Converter.model_validate(saved.get("config"))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise DepthModelError(f"{path}: {key}: {problem['msg'][:200]}.") from error
    if not exists(join(folder, GRAPH)):
        raise DepthModelError(
            f"{folder}: a preset of KerasHub without the model's graph. Export it into the same "
            "folder where keras_hub is: keras_hub.models.DepthEstimator.from_preset(FOLDER, "
            "depth_estimation_type='relative').export(FOLDER)."
        )
    return _published_input(path, converter, canvas)


def _published_input(path: str, converter: _Converter, canvas: PictureSize) -> PublishedInput:
    scales, offsets = _by_channel(converter.scale, 1.0), _by_channel(converter.offset, 0.0)
    # value × scale + offset is (value / 255 - mean) / std.
    std = tuple(1 / (255 * scale) for scale in scales)
    mean = tuple(-offset * each for offset, each in zip(offsets, std, strict=True))
    model: dict[str, Any] = {"layout": "nhwc", "mean": mean, "std": std}
    if converter.image_size is None:
        return PublishedInput(model, canvas)
    filtered = (converter.interpolation, converter.antialias)
    if filtered not in _FILTERS:
        smoothed = "with" if converter.antialias else "without"
        raise DepthModelError(
            f"{path}: the filter {converter.interpolation[:100]} {smoothed} antialias is not known."
        )
    height, width = converter.image_size
    size = PictureSize(width=width, height=height)
    keeps_aspect = converter.crop_to_aspect_ratio or converter.pad_to_aspect_ratio
    if keeps_aspect and canvas.width * height != canvas.height * width:
        does = "crop" if converter.crop_to_aspect_ratio else "pad"
        raise DepthModelError(
            f"{path}: {does}s pictures of {canvas} to the shape of {size}. Give the canvas that "
            f"shape, or set {does}_to_aspect_ratio to false there, to have them stretched."
        )
    return PublishedInput(model | {"resize": _FILTERS[filtered]}, size)


def _by_channel(values: float | tuple[float, ...] | None, default: float) -> tuple[float, ...]:
    values = default if values is None else values
    return values if isinstance(values, tuple) else (values,) * 3


def preset_meaning(folder: str) -> Meaning | None:
    """Returns what the values of the model in a preset's folder mean, if ``task.json`` says it.

    Raises DepthModelError for one that cannot be read.
    """
    if not exists(join(folder, TASK)):
        return None
    task = read_object(join(folder, TASK))
    config = task.get("config")
    if task.get("class_name") != "DepthAnythingDepthEstimator" or not isinstance(config, dict):
        return None
    if config.get("depth_estimation_type") == "relative":
        return "relative_inverse_depth"
    # Without the greatest depth, metric values go from 0 to 1.
    metric = config.get("depth_estimation_type") == "metric" and config.get("max_depth")
    return "depth" if metric else None
