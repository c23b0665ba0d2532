"""The input and output of a depth model, as a recipe declares them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from transforms.codecs import to_image

# The depth of a disparity of 0, in metres: beyond any room or street.
_FARTHEST = 1000.0
Upsampling = Literal["align_corners", "half_pixel"]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PictureSize(BaseModel):
    """Pixels of a picture or map."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    def rounded_up(self, step: int) -> PictureSize:
        """Returns the next size whose sides are multiples of `step`."""
        width, height = (-(-side // step) * step for side in (self.width, self.height))
        return self.model_copy(update={"width": width, "height": height})


class ModelInterface(BaseModel):
    """What differs between depth models: the form of their input and the meaning of their output.

    The input is ``(value / 255 × input_max - mean) / std``, channel by channel in the order of
    `channel_order`. The meaning of the output's values, by `output`:

    - ``depth``: value × `unit` is metres along the optical axis;
    - ``disparity``: `unit` / value is metres;
    - ``relative_depth``, ``relative_inverse_depth``: correct up to an unknown scale and shift of
      each map (MiDaS, Ranftl et al. 2020, arXiv:1907.01341; Depth Anything, arXiv:2406.09414).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    multiple_of: int = Field(1, ge=1, le=512, description="divides the input's sides")
    layout: Literal["nhwc", "nchw"] = "nhwc"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    input_max: float = Field(1.0, gt=0, allow_inf_nan=False, description="what 255 becomes")
    mean: tuple[_Finite, _Finite, _Finite] = Field((0.0, 0.0, 0.0), strict=False)
    std: tuple[_Positive, _Positive, _Positive] = Field((1.0, 1.0, 1.0), strict=False)
    output: Literal["depth", "disparity", "relative_depth", "relative_inverse_depth"] = "depth"
    unit: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="metres per unit; null: the model's, or 1",
    )
    upsampling: Upsampling = Field(
        "align_corners",
        description="densedepth: of its decoder, as its authors had it, or half_pixel, as their "
        "code has it since September 2020. Other models have their own",
    )

    @model_validator(mode="after")
    def _unit_of_metres(self) -> ModelInterface:
        if self.unit is not None and not self.metric:
            raise ValueError(f"output {self.output} is not in metres: leave out unit")
        return self

    @property
    def metric(self) -> bool:
        """Whether the output can be turned into metres."""
        return self.output in ("depth", "disparity")

    @property
    def quantity(self) -> str:
        """What is stored: ``depth``, or ``inverse_depth`` (of relative models only)."""
        return "inverse_depth" if self.output == "relative_inverse_depth" else "depth"

    def prepare(self, images: np.ndarray, size: PictureSize) -> np.ndarray:
        """Returns the model's input, float32 [n, h, w, 3] or [n, 3, h, w].

        `images`: uint8 [n, H, W, C]. C is 3, or 1, which is repeated three times. Pictures of
        another size are resized (bilinear).
        """
        if images.shape[1:3] != (size.height, size.width):
            images = np.stack([_resize_picture(image, size) for image in images])
        values = np.broadcast_to(images, (*images.shape[:3], 3)).astype(np.float32) / 255
        if self.channel_order == "bgr":
            values = values[..., ::-1]
        if self.input_max != 1:
            values = values * np.float32(self.input_max)
        if self.mean != (0, 0, 0) or self.std != (1, 1, 1):
            values = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values)

    def interpret(self, values: np.ndarray) -> np.ndarray:
        """Returns the model's values, float32, in metres where `metric`, else unchanged."""
        unit = 1.0 if self.unit is None else self.unit
        if self.output == "depth":
            return values if unit == 1 else values * np.float32(unit)
        if self.output == "disparity":
            depth = np.float32(unit) / np.maximum(values, np.float32(unit / _FARTHEST))
            # An infinite disparity is a failure, not a depth of 0.
            return np.where(np.isfinite(values), depth, np.float32(np.nan))
        return values


def _resize_picture(image: np.ndarray, size: PictureSize) -> np.ndarray:
    resized = to_image(image).resize((size.width, size.height), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(resized))


Precision = Literal["float32", "bfloat16", "float16"]
