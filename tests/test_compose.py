from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from depthmask.records import parse_example, unframe_records
from transforms.codecs import channels_last
from transforms.cutout import (
    SWAPS_SIDES,
    Cutout,
    MaskLevels,
    Stamp,
    Transform,
    binarise,
    paste,
    paste_mask,
    resize,
)
from transforms.prepared import decode_foreground, foreground_record

RNG = np.random.default_rng(11)
PLACES = [(0, 0), (5, 9), (-12, 3), (20, -15), (38, 30), (-15, -17), (47, 39)]


def picture(height: int, width: int, channels: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, channels)).astype(np.uint8))


def cutout_of(foreground: Image.Image) -> Cutout:
    alpha = foreground.getchannel("A")
    return Cutout(foreground.convert("RGB"), alpha, np.asarray(alpha))


def pasted(background: Image.Image, cutout: Cutout, x: int, y: int) -> bytes:
    canvas = channels_last(background).copy()
    paste(canvas, Stamp.of(cutout, MaskLevels(128)), x, y)
    return canvas.tobytes()


@pytest.mark.parametrize("place", PLACES)
def test_a_composite_is_pillows_paste_to_the_byte(place: tuple[int, int]):
    background, foreground = picture(40, 48, 3), picture(18, 16, 4)
    expected = background.copy()
    expected.paste(foreground, place, foreground)
    assert pasted(background, cutout_of(foreground), *place) == expected.tobytes()
    assert background.tobytes() != expected.tobytes()


def test_every_value_blends_by_every_alpha_as_pillow_does():
    levels = np.arange(256, dtype=np.uint8)
    below, alpha = (Image.fromarray(plane) for plane in np.meshgrid(levels, levels))
    for above in range(256):
        colour = Image.new("L", below.size, above)
        expected = below.copy()
        expected.paste(colour, (0, 0), alpha)
        assert pasted(below, Cutout(colour, alpha, np.asarray(alpha)), 0, 0) == expected.tobytes()


@pytest.mark.parametrize("place", [(48, 3), (3, 40), (-16, 0), (0, -18), (50, 42), (-17, -19)])
def test_what_lies_off_the_canvas_leaves_it_as_it_is(place: tuple[int, int]):
    background, cutout = picture(40, 48, 3), cutout_of(picture(18, 16, 4))
    assert pasted(background, cutout, *place) == background.tobytes()
    canvas = np.zeros((40, 48), np.uint8)
    paste_mask(canvas, cutout.mask, *place)
    assert not canvas.any()


@pytest.mark.parametrize("place", PLACES)
def test_a_mask_lies_where_its_foreground_does(place: tuple[int, int]):
    alpha = RNG.integers(1, 256, (18, 16)).astype(np.uint8)
    expected = Image.new("L", (48, 40))
    expected.paste(Image.fromarray(alpha), place)
    canvas = np.zeros((40, 48), np.uint8)
    paste_mask(canvas, alpha, *place)
    assert (canvas == np.asarray(expected)).all() and canvas.any()


def test_a_foreground_larger_than_the_canvas_is_cropped_on_all_sides():
    background, foreground = picture(20, 24, 3), picture(60, 70, 4)
    expected = background.copy()
    expected.paste(foreground, (-21, -13), foreground)
    assert pasted(background, cutout_of(foreground), -21, -13) == expected.tobytes()
    canvas = np.zeros((20, 24), np.uint8)
    paste_mask(canvas, np.asarray(foreground.getchannel("A")), -21, -13)
    assert (canvas == np.asarray(foreground.getchannel("A"))[13:33, 21:45]).all()


def test_grey_composites_are_pillows_paste_too():
    background, foreground = picture(30, 30, 3).convert("L"), picture(10, 12, 4)
    grey, alpha = foreground.convert("L"), foreground.getchannel("A")
    expected = background.copy()
    expected.paste(grey, (4, 5), alpha)
    cutout = Cutout(grey, alpha, np.asarray(alpha))
    assert pasted(background, cutout, 4, 5) == expected.tobytes()


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("left_right", lambda pixels: pixels[:, ::-1]),
        ("top_bottom", lambda pixels: pixels[::-1]),
        ("rotate_90", np.rot90),
        ("rotate_180", lambda pixels: np.rot90(pixels, 2)),
        ("rotate_270", lambda pixels: np.rot90(pixels, 3)),
        ("transpose", lambda pixels: np.swapaxes(pixels, 0, 1)),
        ("transverse", lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2)),
    ],
)
def test_transforming_transforms_every_part(
    transform: Transform, expected: Callable[[np.ndarray], np.ndarray]
):
    cutout = cutout_of(picture(9, 14, 4))
    found = cutout.transformed(transform)
    for part, other in (
        (cutout.colour, found.colour),
        (cutout.alpha, found.alpha),
        (cutout.mask, found.mask),
    ):
        np.testing.assert_array_equal(expected(np.asarray(part)), other)
    assert (found.colour.size != cutout.colour.size) == (transform in SWAPS_SIDES)


def test_levels_are_cut_dithered_squared_or_kept():
    levels = RNG.integers(0, 256, (40, 50)).astype(np.uint8)
    image = Image.fromarray(levels)
    through_itself = Image.new("L", image.size)
    through_itself.paste(image, (0, 0), image)
    for found, expected in (
        (MaskLevels(threshold=99), np.where(levels >= 99, 255, 0)),
        (MaskLevels(dither=True), np.asarray(image.convert("1")) * 255),
        (MaskLevels(squared=True), np.asarray(through_itself)),
        (MaskLevels(), levels),
    ):
        np.testing.assert_array_equal(found.apply(levels), expected)


def test_colours_and_mask_are_resized_each_by_its_filter():
    cutout = cutout_of(picture(40, 33, 4))
    resized = resize(cutout, 20, 25, "bilinear", "nearest")
    alpha = cutout.alpha.resize((20, 25), Image.Resampling.BILINEAR)
    mask = cutout.alpha.resize((20, 25), Image.Resampling.NEAREST)
    assert resized.alpha.tobytes() == alpha.tobytes()
    np.testing.assert_array_equal(resized.mask, mask)


def test_resizing_leaves_no_seam_from_colours_beneath_transparency():
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:, 10:] = (200, 100, 50, 255)  # the transparent half is black beneath
    resized = resize(cutout_of(Image.fromarray(pixels)), 13, 13)
    colour, alpha = np.asarray(resized.colour), np.asarray(resized.alpha)
    assert (colour[alpha > 60] >= (190, 90, 40)).all()
    assert resized.colour.size == (13, 13) and resized.mask.shape == (13, 13)


@pytest.mark.parametrize("size", [(16, 40), (47, 31), (90, 101), (1, 1), (33, 7)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_that_is_the_alpha_is_resized_as_any_other(
    size: tuple[int, int], mode: str, flip: bool
):
    drawn = cutout_of(picture(40, 33, 4))
    drawn = replace(drawn, colour=drawn.colour.convert(mode))
    (record,) = unframe_records(foreground_record("any", drawn, 33, 40))
    cutout = decode_foreground(parse_example(record))
    assert cutout.mask_is_alpha
    if flip:
        cutout = cutout.transformed("left_right")
    resized = resize(cutout, *size)
    expected = Image.fromarray(cutout.mask).resize(size, Image.Resampling.LANCZOS)
    assert (resized.mask == np.asarray(expected)).all()
    both = resize(replace(cutout, mask_is_alpha=False), *size)
    assert resized.colour.tobytes() == both.colour.tobytes()
    assert resized.alpha.tobytes() == both.alpha.tobytes()


def test_a_mask_of_its_own_is_resized_by_itself():
    drawn = cutout_of(picture(40, 33, 4))
    drawn = replace(drawn, mask=np.where(drawn.mask < 99, 0, 255).astype(np.uint8))
    (record,) = unframe_records(foreground_record("any", drawn, 33, 40))
    cutout = decode_foreground(parse_example(record))
    assert not cutout.mask_is_alpha
    expected = Image.fromarray(drawn.mask).resize((20, 25), Image.Resampling.LANCZOS)
    assert (resize(cutout, 20, 25).mask == np.asarray(expected)).all()


def test_binarise_takes_the_threshold_as_foreground():
    values = np.array([[0, 127, 128, 255]], np.uint8)
    assert binarise(values, 128).tolist() == [[0, 0, 255, 255]]
