"""Surface materials: patterns computed from a surface's own coordinates, in metres.

Colours are linear-light albedo triples in 0..1. Every pattern is told the footprint of a
pixel on the surface and fades to its mean where it would otherwise alias.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.floating[Any]]  # float32 wherever it is large
Colour = tuple[float, float, float]
# Random values on a lattice, shared by all noise; materials differ by their offset into it.
_LATTICE: Array = np.random.default_rng(20_240_501).random((256, 256), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Material:
    """What a surface is made of.

    `pattern` names a function of this module; `scale` is its period in metres; `accent` is its
    second colour. `gloss` (0..1) weighs the highlight, `glow` is light given off. `picture`
    (float32 [h, w, 3], linear) is stretched over `extent` metres for the pattern "picture".
    """

    colour: Colour
    pattern: str = "plain"
    accent: Colour = (0.5, 0.5, 0.5)
    scale: float = 1.0
    gloss: float = 0.0
    glow: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    picture: Array | None = None
    extent: tuple[float, float] = (1.0, 1.0)

    def albedo(self, u: Array, v: Array, footprint: Array) -> Array:
        """Return the colour, float32 [3, n], at u, v [n]; `footprint` [n] is metres a pixel."""
        if self.picture is not None:
            return _sample(self.picture, u / self.extent[0] + 0.5, 0.5 - v / self.extent[1])
        base = np.array(self.colour, np.float32)[:, None]
        accent = np.array(self.accent, np.float32)[:, None]
        u, v = u + self.offset[0], v + self.offset[1]
        tone, mix = _PATTERNS[self.pattern](u / self.scale, v / self.scale, footprint / self.scale)
        return np.clip((base + (accent - base) * mix) * tone, 0.0, 1.0).astype(np.float32)


Pattern = tuple[Array, Array]
_NONE: Array = np.zeros(1, np.float32)


def _sample(picture: Array, x: Array, y: Array) -> Array:
    """Read a picture with bilinear weights at x, y in 0..1 (top left is 0, 0)."""
    height, width = picture.shape[:2]
    x = np.clip(x * width - 0.5, 0, width - 1.001)
    y = np.clip(y * height - 0.5, 0, height - 1.001)
    column, row = x.astype(np.intp), y.astype(np.intp)
    fx, fy = (x - column)[:, None], (y - row)[:, None]
    top = picture[row, column] * (1 - fx) + picture[row, column + 1] * fx
    bottom = picture[row + 1, column] * (1 - fx) + picture[row + 1, column + 1] * fx
    return np.ascontiguousarray((top * (1 - fy) + bottom * fy).T)


def _cell(row: Array, column: Array) -> Array:
    """Give each cell of an integer grid its own value in 0..1."""
    values: Array = _LATTICE[row.astype(np.intp) & 255, column.astype(np.intp) & 255]
    return values


def _noise(u: Array, v: Array) -> Array:
    """Smooth value noise in 0..1 with features about 1 unit wide."""
    column, row = np.floor(u), np.floor(v)
    fu, fv = u - column, v - row
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    i, j = row.astype(np.intp), column.astype(np.intp)
    i0, i1, j0, j1 = i & 255, (i + 1) & 255, j & 255, (j + 1) & 255
    top = _LATTICE[i0, j0] * (1 - fu) + _LATTICE[i0, j1] * fu
    bottom = _LATTICE[i1, j0] * (1 - fu) + _LATTICE[i1, j1] * fu
    smooth: Array = top * (1 - fv) + bottom * fv
    return smooth


def _fractal(u: Array, v: Array, footprint: Array, octaves: int = 3) -> Array:
    """Noise of several octaves about 0, each fading out where a pixel covers its features."""
    total = np.zeros_like(u)
    for octave in range(octaves):
        f = 2.0**octave
        fade = np.clip(1.5 - footprint * f, 0, 1)
        if not fade.any():
            break
        total += (_noise(u * f + 17 * octave, v * f + 31 * octave) - 0.5) * fade / f
    return total


def _fade(footprint: Array) -> Array:
    fade: Array = np.clip(1.5 - 2.0 * footprint, 0, 1)
    return fade


def _lines(x: Array, width: float, footprint: Array) -> Array:
    """Coverage by lines of `width` at every integer of x."""
    distance = np.abs(x - np.round(x))
    fade = _fade(footprint)
    cover = np.clip((width / 2 - distance) / (footprint + 1e-4) + 0.5, 0, 1)
    return cover * fade + width * (1 - fade)


def _plain(u: Array, v: Array, footprint: Array) -> Pattern:
    return 1 + 0.06 * _fractal(u * 3, v * 3, footprint * 3, 2), _NONE


def _blotches(u: Array, v: Array, footprint: Array) -> Pattern:
    return 1 + 0.1 * _fractal(u * 30, v * 30, footprint * 30, 2), np.clip(
        0.5 + 1.6 * _fractal(u, v, footprint, 4), 0, 1
    )


def _carpet(u: Array, v: Array, footprint: Array) -> Pattern:
    fine = _fractal(u * 80, v * 80, footprint * 80, 2)
    return 1 + 0.45 * fine + 0.25 * _fractal(u * 4, v * 4, footprint * 4), _NONE


def _planks(u: Array, v: Array, footprint: Array) -> Pattern:
    row = np.floor(v)
    along = u / 9 + _cell(row, row * 7)
    tone = (_cell(row, np.floor(along)) - 0.5) * _fade(footprint)
    grain = _fractal(u * 0.6, v * 8, footprint * 6, 3)
    gaps = np.maximum(_lines(v, 0.03, footprint), _lines(along, 0.004, footprint / 9))
    return (1 + 0.35 * tone + 0.4 * grain) * (1 - 0.65 * gaps), np.clip(0.5 + tone, 0, 1)


def _wood(u: Array, v: Array, footprint: Array) -> Pattern:
    rings = _fractal(u * 0.8, v * 9, footprint * 9, 3)
    fine = _fractal(u * 5, v * 60, footprint * 60, 1)
    return 1 + 0.45 * rings + 0.15 * fine, np.clip(0.4 + rings, 0, 1)


def _tiles(u: Array, v: Array, footprint: Array) -> Pattern:
    tone = (_cell(np.floor(u + 0.5), np.floor(v + 0.5)) - 0.5) * _fade(footprint)
    grout = np.maximum(_lines(u + 0.5, 0.03, footprint), _lines(v + 0.5, 0.03, footprint))
    return 1 + 0.12 * tone + 0.1 * _fractal(u * 4, v * 4, footprint * 4), grout


def _bricks(u: Array, v: Array, footprint: Array) -> Pattern:
    row = np.floor(v + 0.5)
    along = u / 3 + 0.5 * (row % 2)
    tone = (_cell(row, np.floor(along + 0.5)) - 0.5) * _fade(footprint)
    mortar = np.maximum(_lines(v + 0.5, 0.14, footprint), _lines(along + 0.5, 0.05, footprint / 3))
    rough = _fractal(u * 5, v * 5, footprint * 5)
    return 1 + 0.4 * tone * (1 - mortar) + 0.3 * rough, mortar


def _checker(u: Array, v: Array, footprint: Array) -> Pattern:
    a = 2 * _lines(u / 2, 0.5, footprint / 2) - 1
    b = 2 * _lines(v / 2, 0.5, footprint / 2) - 1
    return 1 + 0.1 * _fractal(u * 3, v * 3, footprint * 3), 0.5 + 0.5 * a * b


def _stripes(u: Array, v: Array, footprint: Array) -> Pattern:
    return 1 + 0.05 * _fractal(u * 2, v * 2, footprint * 2), _lines(u, 0.45, footprint)


def _plaid(u: Array, v: Array, footprint: Array) -> Pattern:
    wide = _lines(u, 0.4, footprint) + _lines(v, 0.4, footprint)
    thin = _lines(u + 0.5, 0.06, footprint) + _lines(v + 0.5, 0.06, footprint)
    return 1 - 0.12 * thin, 0.5 * wide


def _dots(u: Array, v: Array, footprint: Array) -> Pattern:
    row = np.floor(v)
    x = u + 0.5 * (row % 2)
    radius = np.hypot(x - np.floor(x) - 0.5, v - row - 0.5)
    fade = _fade(footprint)
    cover = np.clip((0.22 - radius) / (footprint + 1e-4) + 0.5, 0, 1)
    return np.ones_like(u), cover * fade + 0.15 * (1 - fade)


def _marble(u: Array, v: Array, footprint: Array) -> Pattern:
    swirl = _fractal(u, v, footprint, 4)
    veins = 1 - np.abs(np.sin(3 * (u + 0.6 * v) + 9 * swirl))
    return 1 + 0.15 * swirl, 0.4 * veins**6 + 0.25 * np.clip(swirl + 0.5, 0, 1)


def _folds(u: Array, v: Array, footprint: Array) -> Pattern:
    wave = np.sin(2 * np.pi * (u + 0.25 * _noise(u, v * 0.2))) * _fade(footprint)
    return 0.85 + 0.22 * wave, _NONE


def _panels(u: Array, v: Array, footprint: Array) -> Pattern:
    groove = np.maximum(_lines(u, 0.05, footprint), _lines(v, 0.03, footprint))
    return 1 - 0.35 * groove, _NONE


def _gores(u: Array, v: Array, footprint: Array) -> Pattern:
    # On a round solid u runs round it, so stripes of u are the gores of a ball or umbrella.
    return np.ones_like(u), _lines(u, 0.5, footprint)


_PATTERNS = {
    "plain": _plain,
    "blotches": _blotches,
    "carpet": _carpet,
    "planks": _planks,
    "wood": _wood,
    "tiles": _tiles,
    "bricks": _bricks,
    "checker": _checker,
    "stripes": _stripes,
    "plaid": _plaid,
    "dots": _dots,
    "marble": _marble,
    "folds": _folds,
    "panels": _panels,
    "gores": _gores,
}


def pick(rng: np.random.Generator, *choices: str) -> str:
    """Return one of the choices."""
    return choices[int(rng.integers(len(choices)))]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the linear-light colour of a display hue (any real), saturation, value (0..1)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return red**2.2, green**2.2, blue**2.2


def _offset(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(0, 50)), float(rng.uniform(0, 50))


def wood(rng: np.random.Generator) -> Material:
    """Return a timber, from birch to wenge, sometimes painted white."""
    if rng.random() < 0.15:
        return plain(hsv(rng.uniform(0.05, 0.15), 0.06, rng.uniform(0.8, 0.95)), 0.25)
    hue, value = rng.uniform(0.05, 0.1), rng.uniform(0.28, 0.85)
    saturation = rng.uniform(0.35, 0.65)
    return Material(
        hsv(hue, saturation, value),
        "wood",
        hsv(hue - 0.01, saturation + 0.1, value * 0.75),
        scale=float(rng.uniform(0.3, 0.8)),
        gloss=float(rng.uniform(0.05, 0.3)),
        offset=_offset(rng),
    )


def plain(colour: Colour, gloss: float = 0.0, glow: float = 0.0) -> Material:
    """Return an even surface."""
    return Material(colour, gloss=gloss, glow=glow)


def dye(rng: np.random.Generator, strength: float = 0.7) -> Colour:
    """Return a colour of textiles and clothes; `strength` bounds the saturation."""
    if rng.random() < 0.3:
        return hsv(rng.uniform(0, 1), rng.uniform(0, 0.12), rng.uniform(0.15, 0.92))
    return hsv(rng.uniform(0, 1), rng.uniform(0.2, strength), rng.uniform(0.25, 0.85))


def cloth(rng: np.random.Generator, strength: float = 0.7) -> Material:
    """Return a textile: mostly plain weave, sometimes striped, checked or dotted."""
    pattern = pick(rng, *["carpet"] * 6, "stripes", "plaid", "dots")
    scale = 0.8 if pattern == "carpet" else float(rng.uniform(0.04, 0.16))
    return Material(dye(rng, strength), pattern, dye(rng, strength), scale, offset=_offset(rng))


def glaze(rng: np.random.Generator) -> Material:
    """Return a glossy colour for ceramics, plastics and toys."""
    return plain(dye(rng, 0.85), float(rng.uniform(0.3, 0.8)))


def metal(rng: np.random.Generator) -> Material:
    """Return a grey, black or brass metal."""
    if rng.random() < 0.2:
        return plain(hsv(0.11, 0.5, 0.7), 0.8)
    return plain(hsv(0.6, 0.05, rng.uniform(0.12, 0.8)), 0.7)


def floor(rng: np.random.Generator) -> Material:
    """Return a floor: planks, tiles, checker, carpet, marble or concrete."""
    pattern = pick(rng, *["planks"] * 5, *["carpet"] * 2, *["tiles"] * 2, "checker", "marble")
    offset = _offset(rng)
    if pattern == "planks":
        hue, value = rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.8)
        saturation = rng.uniform(0.25, 0.65)
        return Material(
            hsv(hue, saturation, value),
            pattern,
            hsv(hue - 0.01, saturation, value * 0.85),
            float(rng.uniform(0.07, 0.2)),
            float(rng.uniform(0, 0.4)),
            offset=offset,
        )
    if pattern == "carpet":
        hue = rng.uniform(0.03, 0.15) if rng.random() < 0.6 else rng.uniform(0, 1)
        pile = hsv(hue, rng.uniform(0.03, 0.3), rng.uniform(0.3, 0.75))
        return Material(pile, pattern, scale=float(rng.uniform(0.5, 2)), offset=offset)
    value = rng.uniform(0.35, 0.9)
    colour = hsv(rng.uniform(0.02, 0.15), rng.uniform(0.02, 0.3), value)
    darker = hsv(rng.uniform(0, 1), rng.uniform(0.02, 0.3), value * rng.uniform(0.3, 0.8))
    gloss = float(rng.uniform(0.1, 0.5))
    return Material(colour, pattern, darker, float(rng.uniform(0.2, 0.6)), gloss, offset=offset)


def wall(rng: np.random.Generator) -> Material:
    """Return a wall: paint for the most part, wallpaper, bricks, tiles, boards or plaster."""
    hue = rng.uniform(0.03, 0.17) if rng.random() < 0.6 else rng.uniform(0, 1)
    saturation, value = rng.uniform(0.02, 0.2), rng.uniform(0.65, 0.95)
    if rng.random() < 0.15:
        saturation, value = rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.75)
    paint = hsv(hue, saturation, value)
    second = hsv(hue + rng.uniform(-0.04, 0.04), saturation * 0.7, value * rng.uniform(0.8, 1.08))
    offset = _offset(rng)
    pattern = pick(rng, *["plain"] * 8, "stripes", "bricks", "tiles", "blotches", "planks", "dots")
    if pattern == "bricks":
        brick = hsv(rng.uniform(0.01, 0.07), rng.uniform(0.1, 0.6), rng.uniform(0.45, 0.85))
        return Material(brick, pattern, hsv(0.1, 0.08, 0.75), 0.075, offset=offset)
    scale = {"plain": 1.0, "blotches": 0.6}.get(pattern, float(rng.uniform(0.08, 0.3)))
    return Material(paint, pattern, second, scale, offset=offset)


def stretched(picture: Array, width: float, height: float, glow: float = 0.0) -> Material:
    """Return a picture, float32 [h, w, 3] linear, stretched over width × height metres."""
    gloss = 0.0 if glow else 0.15
    return Material(
        (0.5, 0.5, 0.5),
        gloss=gloss,
        glow=glow,
        picture=picture,
        extent=(width, height),
    )


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * c ** (1 / 2.2)) for c in colour)
    return red, green, blue


def _linear(image: Image.Image) -> Array:
    pixels = np.asarray(image.filter(ImageFilter.BoxBlur(1)), np.float32) / 255
    return pixels**2.2


def outdoors(rng: np.random.Generator) -> Array:
    """Return a view out of a window, float32 [96, 96, 3] linear: sky, hills, trees, houses."""
    image = Image.new("RGB", (96, 96))
    draw = ImageDraw.Draw(image)
    horizon = int(rng.integers(45, 80))
    hue = rng.uniform(0.52, 0.62)
    for y in range(96):
        draw.line((0, y, 96, y), _rgb(hsv(hue, 0.35 * (1 - y / 96) + 0.03, 0.97)))
    draw.rectangle((0, horizon, 96, 96), _rgb(hsv(rng.uniform(0.15, 0.33), 0.35, 0.6)))
    for _ in range(int(rng.integers(2, 8))):
        x, w, h = rng.uniform(-10, 90), rng.uniform(8, 30), rng.uniform(10, 45)
        if rng.random() < 0.5:
            colour = _rgb(hsv(rng.uniform(0.2, 0.38), 0.4, rng.uniform(0.35, 0.65)))
            draw.ellipse((x, horizon - h, x + w, horizon + 6), colour)
        else:
            colour = _rgb(hsv(rng.uniform(0, 0.12), 0.2, rng.uniform(0.5, 0.85)))
            draw.rectangle((x, horizon - h, x + w, horizon + 4), colour)
    return _linear(image)


def poster(rng: np.random.Generator) -> Array:
    """Return a picture to hang, float32 [96, 96, 3] linear: landscape, blocks, rings, portrait."""
    paper = _rgb(hsv(rng.uniform(0, 1), rng.uniform(0, 0.25), rng.uniform(0.75, 0.97)))
    image = Image.new("RGB", (96, 96), paper)
    draw = ImageDraw.Draw(image)
    kind = pick(rng, "landscape", "blocks", "rings", "portrait", "text")
    if kind == "landscape":
        hue = rng.uniform(0, 1)
        for line in range(96):
            fall = line / 96
            draw.line((0, line, 96, line), _rgb(hsv(hue, 0.5 - 0.4 * fall, 0.7 + 0.25 * fall)))
        x, y = rng.uniform(15, 80), rng.uniform(12, 35)
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), (250, 240, 205))
        for layer in range(3):
            base, phase = 42 + 16 * layer, rng.uniform(0, 6)
            ridge = [(x, base + 9 * np.sin(x / 14 + phase)) for x in range(0, 100, 4)]
            colour = _rgb(hsv(hue + 0.1 * layer + 0.3, 0.4, 0.65 - 0.17 * layer))
            draw.polygon([(0, 96), *ridge, (96, 96)], colour)
    elif kind == "portrait":
        draw.rectangle((0, 0, 96, 96), _rgb(dye(rng)))
        draw.ellipse((12, 62, 84, 130), _rgb(dye(rng)))
        draw.ellipse((27, 12, 69, 60), _rgb(hsv(0.07, 0.5, rng.uniform(0.15, 0.6))))
        draw.ellipse((32, 22, 64, 68), _rgb(hsv(0.06, 0.4, rng.uniform(0.5, 0.95))))
    elif kind == "text":
        draw.rectangle((12, 10, 84, 26), _rgb(dye(rng)))
        for line in range(34, 88, 7):
            draw.line((12, line, rng.uniform(50, 84), line), (90, 90, 90), 2)
    else:
        for _ in range(int(rng.integers(4, 14))):
            x, y, r = rng.uniform(0, 96), rng.uniform(0, 96), rng.uniform(5, 32)
            shape = (x - r, y - r * rng.uniform(0.4, 1), x + r, y + r)
            if kind == "blocks":
                draw.rectangle(shape, _rgb(dye(rng)))
            else:
                draw.ellipse(shape, _rgb(dye(rng)), _rgb(dye(rng)), 3)
    return _linear(image)
