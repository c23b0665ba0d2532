"""Mask files of every encoding are read as what they mean."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from depthmask.errors import UserError
from tests.drawn import World, ball, photo, png, rgba, tiff, told

SHAPE = ball()
UPPER = SHAPE & (np.mgrid[:40, :40][0] < 20)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.save("f/ball.png", photo())
    return world


def of(inside: float, outside: float = 0, dtype: str = "u1") -> np.ndarray:
    return np.where(SHAPE, inside, outside).astype(dtype)


def classes(*values: float, dtype: str = "u1") -> np.ndarray:
    """The upper half of the ball of one class, the lower of another, a ring of a third, if any."""
    mask = np.where(UPPER, values[0], np.where(SHAPE, values[1], 0))
    if len(values) > 2:
        ring = SHAPE & ~ball(radius=11)
        mask = np.where(ring, values[2], mask)
    return mask.astype(dtype)


def colours(*values: tuple[int, int, int], background: tuple[int, int, int] = (0, 0, 0)):
    pixels = np.zeros((40, 40, 3), np.uint8) + np.array(background, np.uint8)
    pixels[SHAPE] = values[-1]
    pixels[UPPER] = values[0]
    return pixels


def palette(numbers: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(numbers.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


def encoded(image: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(stream, kind, **options)
    return stream.getvalue()


BLACK, WHITE = (0, 0, 0), (255, 255, 255)
EXACT: dict[str, Callable[[], bytes]] = {
    "0 and 1": lambda: png(of(1)),
    "0 and 7": lambda: png(of(7)),
    "0 and 128": lambda: png(of(128)),
    "50 and 255": lambda: png(of(255, 50)),
    "16 bits of 0 and 1": lambda: png(of(1, dtype="u2")),
    "16 bits of 0 and 255": lambda: png(of(255, dtype="u2")),
    "16 bits of 0 and 4095": lambda: png(of(4095, dtype="u2")),
    "16 bits of 0 and 65535": lambda: png(of(65535, dtype="u2")),
    "16-bit RGB of 0 and 1": lambda: png(np.dstack([of(1, dtype="u2")] * 3)),
    "16-bit RGB of 0 and 255": lambda: png(np.dstack([of(255, dtype="u2")] * 3)),
    "bool": lambda: encoded(Image.fromarray(SHAPE), "PNG"),
    "bool as TIFF": lambda: encoded(Image.fromarray(SHAPE), "TIFF"),
    "float 0 and 1": lambda: tiff(of(1, dtype="f4")),
    "float 0 and 0.5": lambda: tiff(of(0.5, dtype="f4")),
    "float 0 and 255": lambda: tiff(of(255, dtype="f4"), ">"),
    "double 0 and 1": lambda: tiff(of(1, dtype="f8")),
    "signed -1 and 1": lambda: tiff(of(1, -1, dtype="i2")),
    "32 bits of 0 and 1": lambda: tiff(of(1, dtype="u4")),
    "32 bits of 0 and all": lambda: tiff(of(2**32 - 1, dtype="u4")),
    "white is zero": lambda: tiff(of(0, 65535, dtype="u2"), photometric=0),
    "white is zero, 0 and 1": lambda: tiff(of(0, 1, dtype="u2"), photometric=0),
    "palette of black and white": lambda: encoded(palette(of(1), BLACK, WHITE), "PNG"),
    "palette the other way": lambda: encoded(palette(of(0, 1), WHITE, BLACK), "PNG"),
    "palette of one class": lambda: encoded(palette(of(1), BLACK, (128, 0, 0)), "PNG"),
    "palette of nothing": lambda: encoded(palette(of(1), BLACK, BLACK), "PNG"),
    "palette of dark grey": lambda: encoded(palette(of(1), BLACK, (1, 1, 1)), "PNG"),
    "blue": lambda: encoded(colours((0, 0, 255)), "PNG"),
    "dark blue": lambda: encoded(colours((0, 0, 64)), "PNG"),
    "blue as BMP": lambda: encoded(colours((0, 0, 255)), "BMP"),
    "white on clear": lambda: encoded(np.dstack([of(255)] * 4), "PNG"),
    "black on clear": lambda: encoded(np.dstack([of(0)] * 3 + [of(255)]), "PNG"),
    "red on clear": lambda: encoded(np.dstack([of(255), of(0), of(0), of(255)]), "PNG"),
    "red everywhere, seen in the shape": lambda: encoded(
        np.dstack([np.full((40, 40), 255), of(0), of(0), of(255)]).astype(np.uint8), "PNG"
    ),
    "white on black, opaque": lambda: encoded(np.dstack([of(255)] * 3 + [of(255, 255)]), "PNG"),
    "grey and alpha": lambda: png(np.dstack([of(255), of(255)])),
}
SEVERAL: dict[str, tuple[Callable[[], bytes], str]] = {
    "numbers": (lambda: png(classes(1, 2)), "0, 1 and 2"),
    "numbers and a border of 255": (lambda: png(classes(1, 15, 255)), "0, 1, 15 and 255"),
    "16-bit numbers": (lambda: png(classes(7, 300, dtype="u2")), "0, 7 and 300"),
    "float numbers": (lambda: tiff(classes(1, 2, dtype="f4")), "0, 1 and 2"),
    "greys": (lambda: png(classes(38, 75)), "0, 38 and 75"),
    "greys and white": (lambda: png(classes(100, 255)), "0, 100 and 255"),
    "colours": (
        lambda: encoded(colours((128, 0, 0), (192, 128, 128)), "PNG"),
        "(128, 0, 0)",
    ),
    "palette": (
        lambda: encoded(palette(classes(1, 2), BLACK, (128, 0, 0), (0, 128, 0)), "PNG"),
        "(0, 128, 0)",
    ),
    "JPEG of greys": (lambda: encoded(classes(75, 150), "JPEG", quality=95), "fill areas"),
}


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", EXACT)
def test_a_mask_of_two_values_is_the_shape(world: World, kind: str, soft: bool):
    world.save(f"m/ball.{'png' if EXACT[kind]()[:2] == b'.P' else 'tif'}", EXACT[kind]())
    cutout, findings = world.foreground("ball", f"masks.soft={str(soft).lower()}", masks=True)
    assert (cutout.mask == of(255)).all() and (np.asarray(cutout.alpha) == of(255)).all()
    assert (np.asarray(cutout.colour) == photo()).all()
    assert findings == []


@pytest.mark.parametrize("kind", SEVERAL)
def test_whatever_is_not_background_is_foreground_and_told(world: World, kind: str):
    make, seen = SEVERAL[kind]
    world.save("m/ball.png", make())
    cutout, findings = world.foreground("ball", masks=True)
    wrong = cutout.mask != of(255)
    if "JPEG" in kind:  # within a pixel of the shape's edge
        edge = np.asarray(Image.fromarray(SHAPE).convert("L").filter(ImageFilter.FIND_EDGES)) > 0
        grown = np.asarray(Image.fromarray(edge).convert("L").filter(ImageFilter.MaxFilter(3)))
        wrong &= grown == 0
    assert not wrong.any() and set(np.unique(cutout.alpha)) == {0, 255}
    assert seen in told(findings) and "taken as foreground" in told(findings)


def test_a_jpeg_of_a_coloured_mask_is_its_shape(world: World):
    world.save("m/ball.jpg", encoded(colours((0, 0, 255)), "JPEG", quality=85))
    cutout, findings = world.foreground("ball", masks=True)
    assert (cutout.mask[ball(radius=12)] == 255).all() and (
        cutout.mask[~ball(radius=16)] == 0
    ).all()
    assert findings == []


def test_noise_of_a_jpeg_makes_no_halo(world: World):
    world.save("m/ball.jpg", encoded(of(255), "JPEG", quality=40))
    cutout, findings = world.foreground("ball", masks=True)
    assert set(np.unique(cutout.alpha)) == {0, 255} == set(np.unique(cutout.mask))
    assert np.count_nonzero(cutout.mask != of(255)) < 30 and findings == []
    soft, _ = world.foreground("ball", "masks.soft=true", masks=True)
    edge = ball(radius=16) & ~ball(radius=12)
    assert (soft.mask[~edge] == of(255)[~edge]).all()


def test_a_soft_mask_in_a_jpeg_stays_soft(world: World):
    world.save("m/ball.jpg", encoded(blurred(), "JPEG", quality=90))
    cutout, findings = world.foreground("ball", "masks.soft=true", masks=True)
    assert np.abs(cutout.mask.astype(int) - blurred()).max() <= 25 and findings == []


def blurred(radius: float = 3) -> np.ndarray:
    return np.asarray(Image.fromarray(of(255)).filter(ImageFilter.GaussianBlur(radius)))


def test_a_soft_recipe_keeps_greys(world: World):
    for name, data in (
        ("png", png(blurred())),
        ("16", png(blurred().astype(np.uint16) * 257)),
        ("tif", tiff((blurred() / 255).astype(np.float32))),
    ):
        world.save("m/ball.png", data)
        cutout, findings = world.foreground("ball", "masks.soft=true", masks=True)
        assert (cutout.mask == blurred()).all(), name
        assert (np.asarray(cutout.alpha) == blurred()).all() and findings == []


def test_a_soft_recipe_keeps_a_grey_area_beside_white(world: World):
    world.save("m/ball.png", png(classes(100, 255)))
    cutout, findings = world.foreground("ball", "masks.soft=true", masks=True)
    assert (cutout.mask == classes(100, 255)).all() and findings == []


@pytest.mark.parametrize("brightest", [255, 200, 140, 60])
def test_a_binary_recipe_draws_no_opaque_foreground_see_through(world: World, brightest: int):
    """But for the pixels along the mask's edge, whose greys are smooth."""
    mask = np.rint(blurred() * (brightest / 255)).astype(np.uint8)
    world.save("m/ball.png", png(mask))
    cutout, findings = world.foreground("ball", masks=True)
    alpha, label = np.asarray(cutout.alpha), cutout.mask >= 128
    inner = np.asarray(Image.fromarray(label).convert("L").filter(ImageFilter.MinFilter(3))) > 0
    outer = np.asarray(Image.fromarray(label).convert("L").filter(ImageFilter.MaxFilter(3))) > 0
    assert (alpha[inner] == 255).all() and (alpha[~outer] == 0).all() and inner.any()
    assert np.count_nonzero(label != (blurred() >= 128)) <= 12
    assert ("has no white" in told(findings)) == (brightest < 255)


def test_a_dim_soft_mask_is_kept_and_told(world: World):
    mask = (blurred() // 2).astype(np.uint8)
    world.save("m/ball.png", png(mask))
    cutout, findings = world.foreground("ball", "masks.soft=true", masks=True)
    assert (cutout.mask == mask).all()
    assert f"its brightest pixel is {mask.max()} of 255. That is kept" in told(findings)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (of(0), "is black all over"),
        (
            np.rint(blurred() / 40).astype(np.uint8),
            "is black nearly all over: its brightest pixel is 6 of",
        ),
        (classes(1, 2) + 1, "has the values 1, 2 and 3, .* and no 0"),
        (photo(), "has colours as a photo has. Is it a mask?"),
        (
            colours((0, 0, 255), background=(0, 200, 0)),
            r"has the colours \(0, 200, 0\) and \(0, 0, 255\) and no black",
        ),
    ],
)
def test_a_mask_that_does_not_say_what_is_foreground_is_an_error(
    world: World, mask: np.ndarray, message: str
):
    world.save("m/ball.png", png(mask))
    with pytest.raises(UserError, match=rf"ball.png: its mask ball.png {message}"):
        world.prepare(masks=True)


def test_an_inverted_mask_of_an_opaque_foreground_is_told(world: World):
    world.save("m/ball.png", png(of(0, 255)))
    _, findings = world.foreground("ball", masks=True)
    assert "white along the picture's edge and black inside. Is it inverted?" in told(findings)
    shape = ball(radius=19) | (np.mgrid[:40, :40][0] > 30)  # touches three edges
    world.save("m/ball.png", png(np.where(shape, 255, 0).astype(np.uint8)))
    assert world.foreground("ball", masks=True)[1] == []


def test_a_mask_that_is_white_all_over_is_told(world: World):
    world.save("m/ball.png", png(of(255, 255)))
    _, findings = world.foreground("ball", masks=True)
    assert "is opaque all over a rectangle. Is it cut out?" in told(findings)


def test_a_cut_out_keeps_its_own_transparency_beside_any_mask(world: World):
    world.save("f/ball.png", rgba(SHAPE))
    world.save("m/ball.png", png(of(1)))
    cutout, findings = world.foreground("ball", masks=True)
    assert (np.asarray(cutout.alpha) == of(255)).all() and (cutout.mask == of(255)).all()
    assert findings == []


@pytest.mark.parametrize("least", [254, 250, 140])
def test_a_foreground_that_is_nearly_opaque_is_cut_out_by_its_mask(world: World, least: int):
    alpha = np.random.default_rng(1).integers(least, 256, (40, 40, 1)).astype(np.uint8)
    world.save("f/ball.png", np.dstack([photo(), alpha]))
    world.save("m/ball.png", png(of(255)))
    cutout, findings = world.foreground("ball", masks=True)
    assert (np.asarray(cutout.alpha) == of(255)).all() and findings == []


# How a photo is turned, and its mask


def turned_photo(orientation: int, width: int = 60, height: int = 90) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(width, height), "PNG", exif=exif)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_pixels_as_stored_is_turned_as_its_photo(world: World, orientation: int):
    stored = ball(60, 90, 25)
    stored[:10] = True  # so that it is not the same turned
    world.save("f/ball.png", turned_photo(orientation))
    world.save("m/ball.png", png(np.where(stored, 255, 0).astype(np.uint8)))
    cutout, findings = world.foreground("ball", "placements.region=anywhere", masks=True)
    turn = {5: np.transpose, 6: lambda a: np.rot90(a, -1), 8: np.rot90}
    turn[7] = lambda a: np.rot90(np.transpose(a), 2)
    assert (cutout.mask == turn[orientation](stored) * 255).all()
    assert (np.asarray(cutout.colour)[..., 0] == turn[orientation](photo(60, 90)[..., 0])).all()
    assert "It was turned upright as that is" in told(findings)


def test_a_mask_of_the_photo_upright_is_left_as_it_is(world: World):
    world.save("f/ball.png", turned_photo(6))
    world.save("m/ball.png", png(np.where(ball(90, 60, 20), 255, 0).astype(np.uint8)))
    cutout, findings = world.foreground("ball", "placements.region=anywhere", masks=True)
    assert (cutout.mask == ball(90, 60, 20) * 255).all() and findings == []


@pytest.mark.parametrize(("orientation", "size"), [(6, (40, 40)), (3, (40, 60))])
def test_where_a_mask_may_lie_either_way_it_is_told(
    world: World, orientation: int, size: tuple[int, int]
):
    world.save("f/ball.png", turned_photo(orientation, *size))
    world.save("m/ball.png", png(np.where(ball(*size), 255, 0).astype(np.uint8)))
    _, findings = world.foreground("ball", masks=True)
    assert "It was taken as upright: is it?" in told(findings)


@pytest.mark.parametrize("size", [(90, 60), (40, 30), (64, 36), (80, 100)])
def test_a_mask_of_another_shape_is_an_error(world: World, size: tuple[int, int]):
    world.save("m/ball.png", png(np.where(ball(*size), 255, 0).astype(np.uint8)))
    with pytest.raises(UserError, match=rf"its mask ball.png is {size[0]}×{size[1]}, of another"):
        world.prepare(masks=True)


def test_a_mask_of_another_size_but_the_same_shape_is_resized_and_told(world: World):
    world.save("m/ball.png", png(np.where(ball(81, 80, 28), 1, 0).astype(np.uint8)))
    cutout, findings = world.foreground("ball", masks=True)
    assert cutout.mask.shape == (40, 40) and "It was resized" in told(findings)
    assert np.count_nonzero((cutout.mask >= 128) != SHAPE) < 60
