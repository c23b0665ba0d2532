"""Pictures and masks of every kind, drawn at random with their right pixels known."""

from __future__ import annotations

import io
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFilter

from pipeline.inputs import InputFolders, prepare_inputs
from pipeline.recipes import load_recipe
from tests.drawn import ball, png, rgba, tiff
from tests.test_input_colour import ADOBE, WIDE, converted, rgb_profile
from transforms.prepared import PreparedInputs

# Pictures that are prepared together.
_BATCH = 25
# How a picture is stored under each orientation of EXIF: that turned back.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_PROFILES = {
    "sRGB": _SRGB,
    "Adobe": rgb_profile(ADOBE),
    "wide": rgb_profile(WIDE, 1.8),
    "swapped": rgb_profile((ADOBE[1], ADOBE[0], ADOBE[2])),
}


@dataclass(frozen=True)
class Drawn:
    """A file, and its right pixels: every one of them within `levels`."""

    kind: str
    data: bytes
    pixels: np.ndarray
    levels: int = 0


def _truth(rng: random.Random, width: int, height: int) -> np.ndarray:
    """Smooth colours with black and white somewhere, uint8 [height, width, 3]."""
    rows, columns = np.mgrid[:height, :width]
    waves = [
        np.sin(rows * rng.uniform(0.02, 0.2) + columns * rng.uniform(0.02, 0.2) + rng.uniform(0, 6))
        for _ in range(3)
    ]
    pixels = np.rint(np.dstack(waves) * 127 + 128).clip(0, 255).astype(np.uint8)
    pixels[: height // 8 + 1, : width // 8 + 1] = 0
    pixels[-(height // 8) - 1 :, -(width // 8) - 1 :] = 255
    return pixels


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# Backgrounds: from right pixels, uint8 [h, w, 3]


def _by_pillow(rng: random.Random, pixels: np.ndarray) -> Drawn:
    name = rng.choice(["PNG", "BMP", "TGA", "PPM", "WEBP", "TIFF"])
    options = {"WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}.get(name, {})
    return Drawn(name, _saved(Image.fromarray(pixels), name, **options), pixels)


def _turned(rng: random.Random, pixels: np.ndarray) -> Drawn:
    """Stored so that turning it as its tag says gives the picture back."""
    orientation, name = rng.choice(list(_STORED)), rng.choice(["PNG", "WEBP", "TIFF"])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "WEBP" else {}
    stored = Image.fromarray(pixels).transpose(_STORED[orientation])
    data = _saved(stored, name, exif=exif, **options)
    return Drawn(f"{name} of orientation {orientation}", data, pixels)


def _with_profile(rng: random.Random, pixels: np.ndarray) -> Drawn:
    name, container = rng.choice(list(_PROFILES)), rng.choice(["PNG", "TIFF"])
    profile, image = _PROFILES[name], Image.fromarray(pixels)
    right = pixels if name == "sRGB" else converted(image, profile)
    return Drawn(f"{container}, {name}", _saved(image, container, icc_profile=profile), right)


def _sixteen_bits(rng: random.Random, pixels: np.ndarray) -> Drawn:
    chunks = [(b"tEXt", b"note\0" + bytes(2**21))] if rng.random() < 0.2 else []
    kind = "16-bit PNG with 2 MiB of text" if chunks else "16-bit PNG"
    return Drawn(kind, png(pixels.astype(np.uint16) * 257, *chunks), pixels)


def _tiff(rng: random.Random, pixels: np.ndarray) -> Drawn:
    kinds = [("u1", 255), ("u2", 65535), ("u4", 2**32 - 1), ("f4", 1), ("f8", 1), ("f4", 255)]
    dtype, white = rng.choice(kinds)
    values = pixels / 255 * white
    values = values if dtype[0] == "f" else np.rint(values)
    data = tiff(values.astype(dtype), rng.choice("<>"), deflate=rng.random() < 0.5)
    return Drawn(f"TIFF of {dtype} to {white}", data, pixels, 1)


def _grey(rng: random.Random, pixels: np.ndarray) -> Drawn:
    grey = pixels[..., 0]
    right, bits = np.dstack([grey] * 3), rng.choice([0, 8, 10, 12, 14, 16])
    if not bits:
        values = (65535 - grey.astype("u2") * 257).astype("u2")
        return Drawn("white is zero", tiff(values, rng.choice("<>"), photometric=0), right, 1)
    values = np.rint(grey / 255 * (2**bits - 1)).astype("u2")
    return Drawn(f"{bits} of 16 bits", png(values), right, 1)


def _palette(rng: random.Random, pixels: np.ndarray) -> Drawn:
    few = Image.fromarray(pixels).quantize(rng.choice([2, 16, 256]))
    name = rng.choice(["PNG", "GIF", "BMP"])
    return Drawn(f"palette, {name}", _saved(few, name), np.asarray(few.convert("RGB")))


def _jpeg(rng: random.Random, pixels: np.ndarray) -> Drawn:
    """What it shows, not what was lost, is right."""
    options = {"quality": rng.randint(20, 100), "progressive": rng.random() < 0.5}
    data = _saved(Image.fromarray(pixels), "JPEG", **options)
    return Drawn("JPEG", data, np.asarray(Image.open(io.BytesIO(data))))


BACKGROUNDS = (*(_by_pillow, _turned, _with_profile, _sixteen_bits, _tiff, _grey, _palette, _jpeg),)


# Masks: from a shape, bool [h, w]


def _numbers(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    bits = rng.choice([8, 16])
    return f"{bits} bits", png(shape * np.dtype(f"u{bits // 8}").type(rng.randrange(1, 2**bits)))


def _large_numbers(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    value = rng.choice([np.uint32(1), np.uint32(2**32 - 1), *map(np.float32, (0.5, 1, 255))])
    return f"TIFF of {value.dtype}", tiff(shape * value, rng.choice("<>"))


def _bool(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    name = rng.choice(["PNG", "TIFF", "BMP"])
    return f"bool, {name}", _saved(Image.fromarray(shape), name)


def _mask_palette(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    image = Image.fromarray(shape.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, *_colour(rng)])
    return "palette", _saved(image, "PNG")


def _classes(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    pixels = np.zeros((*shape.shape, 3), np.uint8)
    pixels[shape] = _colour(rng)
    count = rng.randint(1, 2)
    if count == 2:
        pixels[shape & (np.mgrid[:40, :40][0] < 20)] = _colour(rng)
    name = rng.choice(["PNG", "BMP", "TIFF"])
    return f"{count} colours, {name}", _saved(Image.fromarray(pixels), name)


def _alpha(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    colour = [shape * np.uint8(rng.randint(0, 255)) for _ in range(3)]
    pixels = np.dstack([*colour, shape * np.uint8(255)])
    return "on clear", _saved(Image.fromarray(pixels), "PNG")


def _mask_jpeg(rng: random.Random, shape: np.ndarray) -> tuple[str, bytes]:
    image = Image.fromarray((shape * 255).astype(np.uint8))
    return "JPEG", _saved(image, "JPEG", quality=rng.choice([60, 80, 95]))


MASKS = (*(_numbers, _large_numbers, _bool, _mask_palette, _classes, _alpha, _mask_jpeg),)


def _colour(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randint(40, 255) for _ in range(3))


def _shape(rng: random.Random) -> np.ndarray:
    """Some discs together, away from the edge, bool [40, 40]."""
    rows, columns = np.mgrid[:40, :40]
    shape = np.zeros((40, 40), bool)
    for _ in range(rng.randint(1, 3)):
        x, y, radius = rng.uniform(14, 26), rng.uniform(14, 26), rng.uniform(6, 12)
        shape |= np.hypot(rows - y, columns - x) < radius
    return shape


def _is_wrong(found: np.ndarray, drawn: Drawn) -> bool:
    if found.shape != drawn.pixels.shape:
        return True
    wrong = np.abs(found.astype(int) - drawn.pixels) > drawn.levels
    if found.ndim == 2 and drawn.kind == "JPEG":  # of a mask's edge it has lost what it was
        image = Image.fromarray(drawn.pixels)
        filters = ImageFilter.MaxFilter(3), ImageFilter.MinFilter(3)
        grown, shrunk = (np.asarray(image.filter(each)) for each in filters)
        wrong &= grown == shrunk
    return bool(wrong.any())


def _suffix(rng: random.Random, kind: str) -> str:
    """The suffix says nothing of what a file is, but of TGA, which has no other sign."""
    if kind == "TGA":
        return ".tga"
    return rng.choice([".png", ".jpg", ".PNG", ".tif", ".bmp", ".jfif", ""])


def soak_pictures(count: int, seed: int) -> Counter[str]:
    """Prepares so many backgrounds and masks, and looks at each; returns of which kinds.

    Raises SystemExit where one has other pixels than it should.
    """
    rng, kinds = random.Random(seed), Counter[str]()
    while kinds.total() < count:
        for prepare in (_prepare_backgrounds, _prepare_masks):
            with tempfile.TemporaryDirectory() as name:
                for folder in ("b", "f", "m"):
                    (Path(name) / folder).mkdir()
                for kind, drawn, found in prepare(rng, Path(name)):
                    kinds[kind] += 1
                    if _is_wrong(found, drawn):
                        Path("wrong-picture").write_bytes(drawn.data)
                        raise SystemExit(f"{kind}: other pixels than it has; see wrong-picture")
    return kinds


_Looked = Iterator[tuple[str, Drawn, np.ndarray]]


def _prepare_backgrounds(rng: random.Random, folder: Path) -> _Looked:
    width, height = rng.randint(16, 120), rng.randint(16, 120)
    all_drawn = {}
    for number in range(_BATCH):
        drawn = rng.choice(BACKGROUNDS)(rng, _truth(rng, width, height))
        all_drawn[f"p{number}"] = drawn
        (folder / "b" / f"p{number}{_suffix(rng, drawn.kind)}").write_bytes(drawn.data)
    rgba(ball(12, 12, 4)).save(folder / "f" / "chair.png")
    inputs = _prepared(folder, f"canvas={{width: {width}, height: {height}, fit: stretch}}")
    for name, drawn in all_drawn.items():
        yield f"background: {drawn.kind}", drawn, inputs.background(name)


def _prepare_masks(rng: random.Random, folder: Path) -> _Looked:
    Image.fromarray(_truth(rng, 96, 80)).save(folder / "b" / "wall.png")
    all_drawn = {}
    for number in range(_BATCH):
        shape = _shape(rng)
        kind, data = rng.choice(MASKS)(rng, shape)
        all_drawn[f"p{number}"] = Drawn(kind, data, (shape * 255).astype(np.uint8))
        (folder / "m" / f"p{number}{_suffix(rng, kind)}").write_bytes(data)
        Image.fromarray(_truth(rng, 40, 40)).save(folder / "f" / f"p{number}.png")
    inputs = _prepared(folder, "foregrounds.size={mode: native}", masks=True)
    for name, drawn in all_drawn.items():
        yield f"mask: {drawn.kind}", drawn, inputs.foreground(name).mask


def _prepared(folder: Path, setting: str, masks: bool = False) -> PreparedInputs:
    folders = InputFolders(*(str(folder / name) for name in ("bfm" if masks else "bf")))
    recipe = load_recipe("default", ["canvas={width: 96, height: 80}", setting])
    return PreparedInputs(prepare_inputs(folders, recipe, str(folder / "out")).source)
