"""The input and output of a depth model, as a recipe declares them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from transforms.codecs import to_image
from transforms.depth.point_map import depth_of_points
from transforms.depth.resample import sample

# The depth of a disparity of 0, in metres: beyond any room or street.
_FARTHEST = 1000.0
Upsampling = Literal["align_corners", "half_pixel"]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PictureSize(BaseModel):
    """Pixels of a picture or map."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    width: int = Field(ge=1, le=8192, description="in pixels")
    height: int = Field(ge=1, le=8192, description="in pixels")

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    def rounded_up(self, step: int) -> PictureSize:
        """Returns the next size whose sides are multiples of `step`."""
        width, height = (-(-side // step) * step for side in (self.width, self.height))
        return self.model_copy(update={"width": width, "height": height})


Fit = Literal["stretch", "lower_bound", "upper_bound", "minimal"]
Resize = Literal[
    "bilinear",
    "bicubic",
    "lanczos",
    "bilinear_plain",
    "bicubic_plain",
    "bicubic_keys",
    "bilinear_corners",
]
Meaning = Literal["depth", "disparity", "relative_depth", "relative_inverse_depth", "affine_points"]
_Number = bool | int | float
Constant = _Number | Annotated[tuple[_Number, ...], Field(strict=False)]


class ModelOutputs(BaseModel):
    """Which outputs of a model say what, by their names. Null: the model has none such."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    depth: str | None = Field(
        None,
        description="name of the output with the depth; null: the only one besides those named",
    )
    scale: str | None = Field(
        None, description="name of the output with a factor for each map, [n]; null: none"
    )
    mask: str | None = Field(
        None,
        description="name of the output above 0.5 where depth is known; elsewhere depth is 0; "
        "null: none",
    )


@dataclass(frozen=True)
class PictureBorder:
    """Pixels at the left and right, and at the top and bottom."""

    x: int
    y: int


def _border(size: PictureSize) -> PictureBorder:
    """Returns the border that ZoeDepth's authors mirror around pictures of a size."""
    return PictureBorder(*(int(math.sqrt(side / 2) * 3) for side in (size.width, size.height)))


class ModelInterface(BaseModel):
    """What differs between depth models: the form of their input and the meaning of their output.

    The input is ``(value / 255 × input_max - mean) / std``, channel by channel in the order of
    `channel_order`. A model whose input is uint8 gets the values themselves. Relative depth is that
    of MiDaS (Ranftl et al. 2020, arXiv:1907.01341) and Depth Anything (arXiv:2406.09414), affine
    points are MoGe's (arXiv:2507.02546).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    multiple_of: int = Field(
        1, ge=1, le=512, description="pixels: the input's sides are multiples of this"
    )
    layout: Literal["nhwc", "nchw"] = Field(
        "nhwc", description="of the input's axes: channels last, or channels first"
    )
    channel_order: Literal["rgb", "bgr"] = Field("rgb", description="of the input's channels")
    input_max: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="what the level 255 becomes, before mean and std",
    )
    mean: tuple[_Finite, _Finite, _Finite] = Field(
        (0.0, 0.0, 0.0), strict=False, description="subtracted from each channel of the input"
    )
    std: tuple[_Positive, _Positive, _Positive] = Field(
        (1.0, 1.0, 1.0), strict=False, description="what each channel is divided by then"
    )
    resize: Resize = Field(
        "bilinear",
        description="filter by which pictures are brought to depth.input: bilinear, bicubic, "
        "lanczos: Pillow's; bilinear_plain, bicubic_plain: without smoothing, as PyTorch's and "
        "OpenCV's; bicubic_keys: without, as Keras's, to whole levels; bilinear_corners: with "
        "aligned corners besides",
    )
    fit: Fit = Field(
        "stretch",
        description="how pictures become as large as depth.input: stretched, or with their aspect "
        "kept but for rounding, at least (lower_bound) or at most (upper_bound) as large, or with "
        "the smaller change (minimal)",
    )
    mirrored_border: bool = Field(
        False, description="a border as ZoeDepth's authors add it, cut off the map again"
    )
    inputs: dict[str, Constant] = Field(
        {}, description="values of a model's further inputs, by name"
    )
    output: Meaning | None = Field(
        None,
        description="what the values mean: depth: value × unit is metres along the optical axis; "
        "disparity: unit / value is metres; relative_depth, relative_inverse_depth: right up to an "
        "unknown scale and shift of each map; affine_points: points in space, metres once "
        "outputs.scale is multiplied, up to a shift along the axis, which is found; null: as the "
        "model's own files say",
    )
    outputs: ModelOutputs = Field(ModelOutputs(), description="which of the outputs says what")
    unit: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="metres per unit of the values; null: the model's own, or 1",
    )
    upsampling: Upsampling = Field(
        "align_corners",
        description="densedepth: of its decoder, as its authors had it, or half_pixel, as their "
        "code has it since September 2020. Other models have their own",
    )

    @model_validator(mode="after")
    def _unit_of_metres(self) -> ModelInterface:
        if self.unit is not None and self.output and not self.metric:
            raise ValueError(f"output {self.output} is not in metres: leave out unit")
        if self.output == "affine_points" and self.outputs.scale is None and self.unit is None:
            raise ValueError("output affine_points needs outputs.scale, or unit")
        if self.keeps_aspect and (self.outputs.mask or self.output == "affine_points"):
            raise ValueError("fit and mirrored_border do not go with points or outputs.mask")
        return self

    @property
    def metric(self) -> bool:
        """Whether the output can be turned into metres."""
        return self.output in ("depth", "disparity", "affine_points")

    @property
    def quantity(self) -> str:
        """What is stored: ``depth``, or ``inverse_depth`` (of relative models only)."""
        return "inverse_depth" if self.output == "relative_inverse_depth" else "depth"

    @property
    def raw_input(self) -> bool:
        """Whether the input is the pictures' own values, but for their range."""
        return self.input_max == 1 and self.mean == (0, 0, 0) and self.std == (1, 1, 1)

    @property
    def keeps_aspect(self) -> bool:
        """Whether the model sees pictures in their own shape, whose maps are resized back."""
        return self.fit != "stretch" or self.mirrored_border

    def fitted(self, canvas: PictureSize, wanted: PictureSize) -> PictureSize:
        """Returns the size at which a picture is seen that is to be as large as `wanted`."""
        if self.fit == "stretch":
            return wanted
        framed = self.bordered(canvas)
        sides = ((framed.width, wanted.width), (framed.height, wanted.height))
        factors = [target / side for side, target in sides]
        factor = {
            "lower_bound": max(factors),
            "upper_bound": min(factors),
            # Where both change as much, the height decides, as in the authors' code.
            "minimal": min(reversed(factors), key=lambda factor: abs(1 - factor)),
        }[self.fit]
        width, height = (self._rounded(side * factor, target) for side, target in sides)
        return PictureSize(width=width, height=height)

    def _rounded(self, side: float, target: int) -> int:
        """Returns the multiple nearest to a side, within what `fit` bounds."""
        step = self.multiple_of
        side = round(side, 6)  # 518 / 224 × 224 is not quite 518
        rounded = round(side / step) * step
        if self.fit == "upper_bound" and rounded > target:
            rounded = math.floor(side / step) * step
        if (self.fit == "lower_bound" and rounded < target) or rounded < step:
            rounded = math.ceil(side / step) * step
        return rounded

    def bordered(self, canvas: PictureSize) -> PictureSize:
        """Returns the size of pictures of `canvas` with the border that the model is shown."""
        border = _border(canvas) if self.mirrored_border else PictureBorder(0, 0)
        return PictureSize(width=canvas.width + 2 * border.x, height=canvas.height + 2 * border.y)

    def prepare(
        self, images: np.ndarray, size: PictureSize, dtype: type[np.generic] = np.float32
    ) -> np.ndarray:
        """Returns the model's input, [n, h, w, 3] or [n, 3, h, w], as `dtype`.

        `images`: uint8 [n, H, W, C]. C is 3, or 1, which is repeated three times.
        """
        if self.mirrored_border:
            border = _border(PictureSize(width=images.shape[2], height=images.shape[1]))
            margins = ((0, 0), (border.y, border.y), (border.x, border.x), (0, 0))
            images = np.pad(images, margins, mode="reflect")
        if images.shape[1:3] != (size.height, size.width):
            images = self._resized(images, size)
        values = np.broadcast_to(images, (*images.shape[:3], 3))
        if self.channel_order == "bgr":
            values = values[..., ::-1]
        if dtype is np.uint8:
            values = np.rint(values)
        else:
            values = self._normalised(values.astype(np.float32) / 255)
        if self.layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype)

    def _normalised(self, values: np.ndarray) -> np.ndarray:
        if self.input_max != 1:
            values = values * np.float32(self.input_max)
        if self.mean != (0, 0, 0) or self.std != (1, 1, 1):
            values = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return values

    def _resized(self, images: np.ndarray, size: PictureSize) -> np.ndarray:
        """Returns pictures of another size: uint8 by Pillow's filters, float32 by others."""
        if self.resize in ("bilinear_plain", "bicubic_plain", "bicubic_keys", "bilinear_corners"):
            values = sample(images, size.height, size.width, self.resize)
            # Of whole numbers Keras makes whole numbers again.
            return np.rint(values).clip(0, 255) if self.resize == "bicubic_keys" else values
        resampling = Image.Resampling[self.resize.upper()]
        resized = [
            to_image(image).resize((size.width, size.height), resampling) for image in images
        ]
        return np.stack([np.atleast_3d(np.asarray(image)) for image in resized])

    def interpret(
        self, values: np.ndarray, scale: np.ndarray | None = None, mask: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns maps, float32 [n, h, w], in metres where `metric`, else as the model has them.

        `values`: [n, h, w], or [n, h, w, 3] of points. `scale`: [n]. `mask`: [n, h, w], of numbers.
        """
        known = None if mask is None else mask > 0.5
        if self.output == "affine_points":
            values = depth_of_points(values, known)
            known = values > 0 if known is None else known & (values > 0)
        maps = self._in_metres(values)
        if scale is not None:
            maps = maps * scale.astype(np.float32).reshape(-1, 1, 1)
        if known is not None:
            # What failed (NaN) is not what the model says is unknown.
            maps = np.where(known | np.isnan(maps), maps, np.float32(0))
        return maps

    def _in_metres(self, values: np.ndarray) -> np.ndarray:
        unit = 1.0 if self.unit is None else self.unit
        if self.output == "disparity":
            depth = np.float32(unit) / np.maximum(values, np.float32(unit / _FARTHEST))
            # An infinite disparity is a failure, not a depth of 0.
            return np.where(np.isfinite(values), depth, np.float32(np.nan))
        return values if unit == 1 else values * np.float32(unit)

    def fit_back(self, maps: np.ndarray, canvas: PictureSize) -> np.ndarray:
        """Returns `maps`, [n, h, w], of pictures whose aspect was kept, in the canvas's size.

        As the authors' code does it, and without the border.
        """
        framed = self.bordered(canvas)
        if maps.shape[1:] != (framed.height, framed.width):
            maps = sample(maps, framed.height, framed.width, "bicubic_plain")
        top, left = (framed.height - canvas.height) // 2, (framed.width - canvas.width) // 2
        return maps[:, top : top + canvas.height, left : left + canvas.width]


Precision = Literal["float32", "bfloat16", "float16"]
