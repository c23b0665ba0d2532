"""Samples of more than 8 bits, or with a sign, come out as bright as they are meant to be."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthmask.errors import UserError
from tests.drawn import World, ball, png, rgba, tiff, told, wall

GREY = wall()[..., 0]  # 0 … 255
DARK = (GREY // 16).astype(np.uint8)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def scaled(white: float, dtype: str, black: float = 0) -> np.ndarray:
    values = GREY / 255 * (white - black) + black
    return (np.rint(values) if np.dtype(dtype).kind != "f" else values).astype(dtype)


def lzw(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", compression="tiff_lzw")
    return stream.getvalue()


# How each is stored, and what is told of it.
KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "16 of 16.png": (lambda: png(scaled(65535, "u2")), ""),
    "8 of 16.png": (lambda: png(scaled(255, "u2")), "at most 255. They were taken as of 8 bits"),
    "10 of 16.png": (lambda: png(scaled(1023, "u2")), "taken as of 10 bits"),
    "12 of 16.png": (lambda: png(scaled(4095, "u2")), "at most 4,095. They were taken as of 12"),
    "14 of 16.png": (lambda: png(scaled(16383, "u2")), "taken as of 14 bits"),
    "12 declared.png": (lambda: png(scaled(4095, "u2"), (b"sBIT", b"\x0c")), ""),
    "12 of 16 at the top.png": (lambda: png(scaled(4095, "u2") << 4, (b"sBIT", b"\x0c")), ""),
    "RGB of 12.png": (lambda: png(np.dstack([scaled(4095, "u2")] * 3)), "taken as of 12 bits"),
    "RGB of 16.png": (lambda: png(np.dstack([scaled(65535, "u2")] * 3)), ""),
    "grey and alpha.png": (
        lambda: png(np.dstack([scaled(4095, "u2"), np.full_like(GREY, 65535, "u2")])),
        "taken as of 12 bits",
    ),
    "12 of 16.tif": (lambda: tiff(scaled(4095, "u2")), "taken as of 12 bits"),
    "big-endian.tif": (lambda: tiff(scaled(65535, "u2"), ">"), ""),
    "lzw.tif": (lambda: lzw(scaled(65535, "u2")), ""),
    "12 in lzw.tif": (lambda: lzw(scaled(4095, "u2")), "taken as of 12 bits"),
    "deflate.tif": (lambda: tiff(scaled(65535, "u2"), deflate=True), ""),
    "RGB.tif": (lambda: tiff(np.dstack([scaled(4095, "u2")] * 3)), "taken as of 12 bits"),
    "signed 16.tif": (lambda: tiff(scaled(32767, "i2")), ""),
    "signed 12 of 16.tif": (lambda: tiff(scaled(4095, "i2")), "taken as of 12 bits"),
    "signed 8.tif": (lambda: tiff(scaled(127, "i1")), ""),
    "signed below nothing.tif": (lambda: tiff(scaled(3000, "i2", -1000)), "from -1,000 to 3,000"),
    "32.tif": (lambda: tiff(scaled(2**32 - 1, "u4")), ""),
    "32, big-endian.tif": (lambda: tiff(scaled(2**32 - 1, "u4"), ">"), ""),
    "signed 32.tif": (lambda: tiff(scaled(2**31 - 1, "i4")), ""),
    "16 of 32.tif": (lambda: tiff(scaled(65535, "u4")), "taken as of 16 bits"),
    "8 of 32.tif": (lambda: tiff(scaled(255, "i4")), "taken as of 8 bits"),
    "to 1.tif": (lambda: tiff(scaled(1, "f4")), ""),
    "double to 1.tif": (lambda: tiff(scaled(1, "f8")), ""),
    "half to 1.tif": (lambda: tiff(scaled(1, "f2"), ">"), ""),
    "a little more than 1.tif": (lambda: tiff(scaled(1.004, "f4")), ""),
    "to 255.tif": (lambda: tiff(scaled(255, "f4")), ""),
    "to 65535.tif": (lambda: tiff(scaled(65535, "f4")), ""),
    "to 1000.tif": (lambda: tiff(scaled(1000, "f4")), "1,000 was taken as white"),
    "to 4095.tif": (lambda: tiff(scaled(4095, "f4")), "4,095 was taken as white"),
    "from -1 to 1.tif": (lambda: tiff(scaled(1, "f4", -1)), "from -1 to 1"),
    "RGB to 1.tif": (lambda: tiff(np.dstack([scaled(1, "f4")] * 3)), ""),
    "white is zero.tif": (lambda: tiff(scaled(0, "u2", 65535), photometric=0), ""),
    "white is zero, big-endian.tif": (lambda: tiff(scaled(0, "u2", 65535), ">", 0), ""),
    "white is zero, float.tif": (lambda: tiff(scaled(0, "f4", 1), photometric=0), ""),
    "declared.tif": (
        lambda: tiff(scaled(5000, "u2", 1000), tags={340: (3, 1000), 341: (3, 5000)}),
        "",
    ),
    "declared, float.tif": (
        lambda: tiff(scaled(7.5, "f4", 2.5), tags={340: (11, 2.5), 341: (11, 7.5)}),
        "",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_is_as_bright_as_it_is_meant_to_be(world: World, name: str):
    make, message = KINDS[name]
    world.save(f"b/{name}", make())
    pixels, findings = world.background(name.rpartition(".")[0])
    assert np.abs(pixels.astype(int) - GREY[..., None]).max() <= 1
    assert message in told(findings) and bool(message) == bool(findings)


def test_a_tiff_that_only_our_own_reader_reads_needs_no_suffix(world: World):
    """Found by the soak: it was passed over."""
    world.save("b/deep", tiff(np.dstack([scaled(1, "f8")] * 3), ">", deflate=True))
    world.save("b/notes", b"II*\0 in the margin")
    pixels, _ = world.background("deep")
    assert np.abs(pixels.astype(int) - GREY[..., None]).max() <= 1


def test_lights_brighter_than_white_are_white(world: World):
    values = scaled(1, "f4")
    values[:8, :8] = 4
    world.save("b/lights.tif", tiff(values))
    pixels, findings = world.background("lights")
    assert (pixels[:8, :8] == 255).all() and "1 was taken as white" in told(findings)
    assert np.abs(pixels[8:].astype(int) - GREY[8:, :, None]).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_an_error(world: World, value: float):
    values = scaled(1, "f4")
    values[5, 5] = value
    world.save("b/broken.tif", tiff(values))
    with pytest.raises(UserError, match=r"broken.tif: has values that are no numbers"):
        world.background("broken")


def test_a_tiff_of_a_kind_that_cannot_be_read_says_which(world: World):
    world.save("b/complex.tif", tiff(scaled(65535, "u2"), tags={339: (3, 6)}))
    with pytest.raises(UserError, match=r"complex.tif: is a TIFF of a kind .*16 bits a sample"):
        world.background("complex")


def test_a_tiff_of_ycbcr_as_it_is_stored_is_read(world: World):
    ycbcr = np.asarray(Image.fromarray(wall()).convert("YCbCr"))
    world.save("b/video.tif", tiff(ycbcr, photometric=6))
    pixels, _ = world.background("video")
    assert np.abs(pixels.astype(int) - wall()).max() <= 3


# A transparent colour of 16 bits


def keyed(colour: tuple[int, ...], near: tuple[int, ...]) -> np.ndarray:
    """16-bit pixels: a shape in other colours, one pixel of it near the transparent colour."""
    shape = ball()
    pixels = np.zeros((40, 40, len(colour)), np.uint16) + np.array(colour, np.uint16)
    pixels[shape] = 49152 if len(colour) == 1 else (49344, 8224, 4112)
    pixels[20, 18] = near
    return pixels if len(colour) > 1 else pixels[..., 0]


@pytest.mark.parametrize(
    ("colour", "near"),
    [
        ((0x1234,), (0x1235,)),
        ((0x12AB, 0x34CD, 0x56EF), (0x12AC, 0x34CD, 0x56EF)),
        ((0, 0, 0), (0, 0, 1)),
        ((65535, 65535, 65535), (65535, 65535, 65534)),
    ],
)
def test_a_transparent_colour_of_16_bits_is_that_colour_alone(
    world: World, colour: tuple[int, ...], near: tuple[int, ...]
):
    key = b"".join(value.to_bytes(2, "big") for value in colour)
    world.save("f/keyed.png", png(keyed(colour, near), (b"tRNS", key)))
    cutout, _ = world.foreground("keyed")
    assert (np.asarray(cutout.alpha) == ball() * 255).all()
    assert (np.asarray(cutout.colour)[20, 18] == np.array(near) >> 8).all()


# Pictures that come out as none is meant to be


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (DARK, "comes out nearly black"),
        (255 - DARK, "comes out nearly white"),
        (np.full((80, 96), 90, np.uint8), "comes out of one colour"),
    ],
)
@pytest.mark.parametrize(
    "fit",
    [
        ["canvas.fit=crop"],
        ["canvas.fit=pad"],
        ["canvas.fit=pad", "canvas.pad_colour=[255, 255, 255]"],
    ],
    ids=["crop", "pad", "pad-with-white"],
)
def test_a_background_that_is_nearly_black_white_or_flat_is_told(
    world: World, pixels: np.ndarray, message: str, fit: list[str]
):
    world.save("b/dull.png", np.hstack([pixels, pixels]))
    assert message in told(world.background("dull", *fit)[1])


def test_a_background_of_the_colour_beside_it_is_told(world: World):
    world.save("b/dull.png", np.full((80, 192), 255, np.uint8))
    settings = ("canvas.fit=pad", "canvas.pad_colour=[255, 255, 255]")
    assert "comes out nearly white" in told(world.background("dull", *settings)[1])


def test_pictures_with_a_little_light_are_not_told(world: World):
    night = DARK.copy()
    night[:12, :12] = 200
    world.save("b/night.png", night)
    assert world.background("night")[1] == []


@pytest.mark.parametrize(("level", "message"), [(9, "nearly black"), (250, "nearly white")])
def test_a_foreground_that_is_nearly_black_or_white_is_told(world: World, level: int, message: str):
    world.save("f/dull.png", rgba(ball(), (level, level, level)))
    assert message in told(world.foreground("dull")[1])


def test_a_foreground_of_12_bits_is_cut_out_by_its_mask(world: World):
    world.save("f/ball.png", png(scaled(4095, "u2")[:40, -40:]))
    world.save("m/ball.png", png(np.where(ball(), 1, 0).astype(np.uint8)))
    cutout, findings = world.foreground("ball", masks=True)
    grey = np.asarray(cutout.colour)[..., 0].astype(int)
    assert np.abs(grey - GREY[:40, -40:]).max() <= 1
    assert "taken as of 12 bits" in told(findings)
