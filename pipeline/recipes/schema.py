"""Recipes: one YAML file that says everything about a dataset."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from depthmask.manifest import is_split_name
from transforms.codecs import Compression, ImageCodec, MaskCodec
from transforms.cutout import SWAPS_SIDES, Drawing, MaskLevels, Transform
from transforms.depth import DepthSettings
from transforms.resampling import Filter

# A chunk's composites and masks together stay below this.
_CHUNK_BYTES = 8 * 2**20


class _Section(BaseModel):
    # Strict: a word is no number and 1 is no truth value. Frozen: a recipe is a value.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Level = Annotated[int, Field(ge=0, le=255)]


class Canvas(_Section):
    """The size, shape and colour of every composite."""

    width: int = Field(224, ge=8, le=8192, description="width of every composite, in pixels")
    height: int = Field(224, ge=8, le=8192, description="height of every composite, in pixels")
    fit: Literal["crop", "stretch", "pad"] = Field(
        "crop",
        description="how a background of another shape is fitted: cropped around its centre, "
        "stretched, or padded with pad_colour",
    )
    pad_colour: tuple[_Level, _Level, _Level] = Field(
        (0, 0, 0),
        strict=False,
        description="fit pad: red, green and blue, 0 to 255, of what is beside the background",
    )
    filter: Filter = Field(
        "lanczos", description="Pillow's filter by which backgrounds are resized"
    )
    colour: Literal["rgb", "grey"] = Field(
        "rgb", description="of composites: three channels, or one of grey"
    )

    @model_validator(mode="after")
    def _padded(self) -> Canvas:
        if self.fit != "pad" and self.pad_colour != (0, 0, 0):
            raise ValueError(f"pad_colour goes with fit pad alone, not {self.fit}: leave it out")
        return self

    @property
    def channels(self) -> int:
        return 3 if self.colour == "rgb" else 1


class FixedSize(_Section):
    """Every foreground gets this width and height; its aspect is not kept."""

    mode: Literal["fixed"] = Field(description="every foreground has this width and height")
    width: int = Field(ge=1, le=8192, description="width of every foreground, in pixels")
    height: int = Field(ge=1, le=8192, description="height of every foreground, in pixels")


class HeightSize(_Section):
    """Every foreground gets this height, its aspect kept; less where it would be too wide."""

    mode: Literal["height"] = Field(description="every foreground has this height, aspect kept")
    height: int = Field(ge=1, le=8192, description="height of every foreground, in pixels")
    max_width: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="in pixels: a foreground that would be wider is made smaller; null: any width",
    )


class MaxSideSize(_Section):
    """The longer side of every foreground gets this length, its aspect kept."""

    mode: Literal["max_side"] = Field(
        description="the longer side of every foreground has this length, aspect kept"
    )
    max_side: int = Field(ge=1, le=8192, description="length of the longer side, in pixels")


class CanvasFractionSize(_Section):
    """The largest size, aspect kept, within this fraction of the canvas's width and height."""

    mode: Literal["canvas_fraction"] = Field(
        description="every foreground is as large as fits this fraction of the canvas, aspect kept"
    )
    fraction: float = Field(gt=0, le=4, description="of the canvas's width and height; 1 is all")


class NativeSize(_Section):
    """Foregrounds keep the size of their files."""

    mode: Literal["native"] = Field(description="foregrounds keep the size of their files")


ForegroundSize = Annotated[
    FixedSize | HeightSize | MaxSideSize | CanvasFractionSize | NativeSize,
    Field(discriminator="mode"),
]


class Foregrounds(_Section):
    """How large foregrounds are drawn."""

    size: ForegroundSize = Field(
        CanvasFractionSize(mode="canvas_fraction", fraction=0.5),
        description="size of foregrounds before scale, by one of five modes",
    )
    scale: tuple[float, float] = Field(
        (1.0, 1.0), strict=False, description="random factor on the size: [from, to], up to 16"
    )
    scale_each: Literal["example", "foreground"] = Field(
        "example", description="what gets a factor of its own: each example or each foreground"
    )
    filter: Filter = Field(
        "lanczos", description="Pillow's filter by which foregrounds are resized"
    )
    trim: bool = Field(False, description="first crop the clear frame around each cut-out")

    @model_validator(mode="after")
    def _ordered(self) -> Foregrounds:
        low, high = self.scale
        if not 0 < low <= high <= 16:
            raise ValueError(f"scale is [from, to] with 0 < from <= to <= 16, not [{low}, {high}]")
        return self

    @property
    def example_scale(self) -> tuple[float, float]:
        """The range of the factor that each example has of its own."""
        return self.scale if self.scale_each == "example" else (1.0, 1.0)

    def drawn_size(self, width: int, height: int, canvas: Canvas) -> tuple[int, int]:
        """Width and height at scale 1 of a foreground whose file is `width` × `height`."""
        size = self.size
        match size:
            case FixedSize():
                return size.width, size.height
            case NativeSize():
                return width, height
            case HeightSize():
                factor = size.height / height
                if size.max_width is not None:
                    factor = min(factor, size.max_width / width)
            case MaxSideSize():
                factor = size.max_side / max(width, height)
            case CanvasFractionSize():
                factor = size.fraction * min(canvas.width / width, canvas.height / height)
        # Rounded down, to stay within what is asked for; but 79.999… is 80.
        return max(1, int(width * factor + 1e-6)), max(1, int(height * factor + 1e-6))


class PlacementRules(_Section):
    """Where foregrounds land."""

    per_pair: int = Field(
        20, ge=1, le=100_000, description="places for each background, foreground and flip"
    )
    region: Literal["inside", "anywhere", "range"] = Field(
        "inside",
        description="inside: never cropped; anywhere: the centre lies on the canvas; range: the "
        "top left corner lies in x and y. What is beyond the edge is cropped",
    )
    x: tuple[int, int] | None = Field(
        None, strict=False, description="region range: the left edge, [from, to] in pixels"
    )
    y: tuple[int, int] | None = Field(
        None, strict=False, description="region range: the top edge, [from, to] in pixels"
    )
    half_open: bool = Field(
        False,
        description="region inside: never against the right or lower edge, as loops that draw "
        "from 0 to below canvas - foreground have it",
    )
    distinct: bool = Field(
        False, description="no x and no y twice among the places of one pair and flip"
    )
    flip: Literal["none", "own", "shared"] = Field(
        "own",
        description="flipped foregrounds: none, at places of their own, or at the plain one's",
    )
    transforms: tuple[Transform, ...] = Field(
        ("left_right",),
        min_length=1,
        strict=False,
        description="what flipping does, in turn by the number of the place: left_right, "
        "top_bottom, rotate_90 (anticlockwise), rotate_180, rotate_270, transpose, transverse",
    )

    @model_validator(mode="after")
    def _ranges(self) -> PlacementRules:
        for name, bounds in (("x", self.x), ("y", self.y)):
            if bounds is None and self.region == "range":
                raise ValueError(
                    f"region range needs {name}: such as {{region: range, x: [0, 79], y: [0, 79]}}"
                )
            if bounds is not None and self.region != "range":
                raise ValueError(
                    f"{name} goes with region range alone, not {self.region}: leave it out or, "
                    f"where it is of the base, set placements.{name} to null"
                )
            if bounds is not None and not 0 <= bounds[0] <= bounds[1]:
                raise ValueError(f"{name} is [from, to] with 0 <= from <= to, not {list(bounds)}")
        return self

    @model_validator(mode="after")
    def _together(self) -> PlacementRules:
        if self.half_open and self.region != "inside":
            raise ValueError(
                f"half_open goes with region inside alone, not {self.region}: leave it out"
            )
        if self.flip == "none" and self.transforms != ("left_right",):
            raise ValueError("transforms are of flipped foregrounds, and flip is none: set it own")
        swaps = [name for name in self.transforms if name in SWAPS_SIDES]
        if swaps and self.region != "range" and (self.distinct or self.flip == "shared"):
            key = "distinct: true" if self.distinct else "flip: shared"
            raise ValueError(
                f"{swaps[0]} makes width height, and so the places that there are differ: it does "
                f"not go with {key} but in region range"
            )
        return self

    @property
    def flips(self) -> tuple[bool, ...]:
        return (False,) if self.flip == "none" else (False, True)


class Masks(MaskCodec):
    """How masks are made and stored."""

    source: Literal["given", "alpha", "file", "colour"] = Field(
        "given",
        description="what masks are: alpha: the transparency; file: those of --masks; given: "
        "those of --masks where it is given, "
        "else the transparency; colour: where red, green and blue all lie in range and anything "
        "is seen",
    )
    range: tuple[int, int] = Field(
        (1, 255), strict=False, description="source colour: [from, to] of each channel, 0 to 255"
    )
    without_black: bool = Field(
        False, description="source alpha: 0 where the foreground's luminance is 0"
    )
    filter: Filter | None = Field(
        None, description="filter by which masks are resized; null: as their foregrounds"
    )
    soft: bool = Field(False, description="keep grey levels; else 0 and 255")
    squared: bool = Field(
        False, description="soft masks: v·v / 255, as one that is pasted through itself comes out"
    )
    dither: bool = Field(
        False, description="binary masks: by Floyd and Steinberg's dithering, not by threshold"
    )
    threshold: int = Field(
        128, ge=1, le=255, description="binary masks: alpha (or mask file) from which 255"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Masks:
        low, high = self.range
        if not 0 <= low <= high <= 255:
            raise ValueError(f"range is [from, to], 0 <= from <= to <= 255, not [{low}, {high}]")
        return self

    @model_validator(mode="after")
    def _together(self) -> Masks:
        if self.without_black and self.source != "alpha":
            raise ValueError(
                f"without_black goes with source alpha alone, not {self.source}: leave it out"
            )
        if self.squared and not self.soft:
            raise ValueError("squared is of soft masks: set soft to true too, or leave it out")
        if self.dither and self.soft:
            raise ValueError("dither makes masks of 0 and 255, and soft keeps greys: leave one out")
        return self

    @property
    def binary_threshold(self) -> int | None:
        """At which grey levels are cut; None for masks that are soft or dithered."""
        return None if self.soft or self.dither else self.threshold


class Splits(_Section):
    """Named parts of the examples, by exact counts."""

    by: Literal["example", "background", "foreground", "both"] = Field(
        "example",
        description="what is dealt out; by background (foreground), no two splits share one; by "
        "both, neither",
    )
    fractions: dict[str, float] = Field(
        {"train": 0.9, "test": 0.1},
        description="share of each split, by name, adding up to 1; by both, of each kind of "
        "picture",
    )
    between: str | None = Field(
        None,
        description="by both: the split of what lies between, such as a test background with a "
        "train foreground; null: left out",
    )

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        if not self.fractions:
            raise ValueError("fractions must name at least one split, such as train: 1.0")
        if self.between is not None and (self.by != "both" or self.between in self.fractions):
            raise ValueError(
                f"between ({self.between}) names a further split, where splits.by is both"
            )
        for name in self.names:
            if not is_split_name(name):
                raise ValueError(f"split names are ASCII letters, digits and _; not {name!r}")
        for name, fraction in self.fractions.items():
            if not 0 < fraction <= 1:
                raise ValueError(f"fractions lie above 0 and up to 1; {name} is {fraction}")
        total = math.fsum(self.fractions.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"fractions must add up to 1, not {total:g}")
        if self.between is not None and len(self.fractions) < 2:
            raise ValueError("nothing lies between fewer than two splits: set between to null")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Of all splits, in their order."""
        return (*self.fractions, *([self.between] if self.between else []))

    @property
    def dealt_out(self) -> tuple[str, ...]:
        """The kinds of pictures of which no two splits share one."""
        if self.by == "example":
            return ()
        return ("backgrounds", "foregrounds") if self.by == "both" else (f"{self.by}s",)


class Shards(_Section):
    """How examples are spread over files."""

    examples: int = Field(8000, ge=1, description="about how many examples a shard has")
    chunk: int | None = Field(
        None, ge=1, le=4096, description="examples in a unit of work; null: about 8 MiB of pixels"
    )


class Recipe(_Section):
    """Everything that decides what a dataset holds, but for the inputs and the depth model."""

    name: str = Field(
        "custom",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="of the recipe, for the dataset's card: ASCII letters, digits, _ and -",
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="of all that is random: another one, other places"
    )
    canvas: Canvas = Canvas()
    foregrounds: Foregrounds = Foregrounds()
    placements: PlacementRules = PlacementRules()
    image: ImageCodec = ImageCodec()
    masks: Masks = Masks()
    depth: DepthSettings = DepthSettings()
    compression: Compression = Field(
        "fast",
        description="of PNG; small: a tenth smaller than fast, and many times slower; pillow: as "
        "datasets of format 1 have it",
    )
    splits: Splits = Splits()
    shards: Shards = Shards()

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        canvas, rules = self.canvas, self.placements
        if rules.region == "inside":
            # The shape of the pictures is not known yet; what any picture must exceed is.
            width, height = self._least_size()
            for side, length, limit in (
                ("wide", width, canvas.width),
                ("high", height, canvas.height),
            ):
                if length > limit - rules.half_open:
                    short = " short of its edge" if rules.half_open else ""
                    raise ValueError(
                        f"foregrounds {length} pixels {side} cannot lie inside a canvas {limit} "
                        f"pixels {side}{short}: make foregrounds.size or scale smaller, the canvas "
                        "larger, or set placements.region to anywhere"
                    )
            return self
        sides = [canvas.width, canvas.height]
        for i, bounds in enumerate((rules.x, rules.y)):
            if bounds is not None:
                if bounds[1] >= sides[i]:
                    raise ValueError(
                        f"placements.{'xy'[i]} goes to {bounds[1]}, beyond a canvas "
                        f"{canvas.width}×{canvas.height}, where nothing would be seen"
                    )
                sides[i] = bounds[1] - bounds[0] + 1
        if rules.distinct and rules.per_pair > min(sides):
            raise ValueError(
                f"{rules.per_pair} distinct places need as many rows and columns; there are "
                f"{sides[0]}×{sides[1]}: set placements.per_pair lower or "
                "placements.distinct to false"
            )
        return self

    def _least_size(self) -> tuple[int, int]:
        size, largest = self.foregrounds.size, self.foregrounds.scale[1]
        match size:
            case FixedSize():
                return round(size.width * largest), round(size.height * largest)
            case HeightSize():
                return 1, round(size.height * largest) if size.max_width is None else 1
            case MaxSideSize():
                # One of the two sides is that long: it must fit the canvas's longer side.
                fits = round(size.max_side * largest) <= max(self.canvas.width, self.canvas.height)
                return (1, 1) if fits else (round(size.max_side * largest),) * 2
            case CanvasFractionSize():
                fraction = size.fraction * largest
                return round(self.canvas.width * fraction), round(self.canvas.height * fraction)
            case NativeSize():
                return 1, 1

    @property
    def drawing(self) -> Drawing:
        """How cut-outs are drawn."""
        masks = self.masks
        return Drawing(
            levels=MaskLevels(masks.binary_threshold, masks.dither, masks.squared),
            transforms=self.placements.transforms,
            filter=self.foregrounds.filter,
            mask_filter=masks.filter or self.foregrounds.filter,
        )

    @property
    def chunk_examples(self) -> int:
        """Examples a chunk, a multiple of 16 where that many fit."""
        if self.shards.chunk is not None:
            return self.shards.chunk
        pixels = self.canvas.width * self.canvas.height
        fitting = max(1, _CHUNK_BYTES // (pixels * (self.canvas.channels + 1)))
        return min(fitting // 16 * 16 or fitting, 512)

    def to_yaml(self) -> str:
        """The whole recipe, every default resolved."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
