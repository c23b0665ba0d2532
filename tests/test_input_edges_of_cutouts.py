"""Edges of cut-outs, and what is told of those that are hardly cut out or lost in their frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.drawn import World, ball, photo, rgba, told, wall
from transforms.cutout import Cutout, resize

LANCZOS = Image.Resampling.LANCZOS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shapes() -> dict[str, np.ndarray]:
    rows, columns = np.mgrid[:400, :400] - 199.5
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    return {
        "disc": radius < 180,
        "star": radius < 120 + 70 * np.sin(5 * angle),
        "grid": ((columns // 13 + rows // 17) % 3 == 0) & (radius < 190),
        "hole": (radius < 180) & (radius > 60),
    }


def of(image: Image.Image, mode: str = "RGB") -> Cutout:
    alpha = image.getchannel("A")
    return Cutout(image.convert(mode), alpha, np.asarray(alpha))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("side", [40, 133, 350, 500])
@pytest.mark.parametrize("beneath", [(0, 0, 0), (255, 0, 255)])
@pytest.mark.parametrize("colour", [(200, 120, 30), (255, 240, 225), (5, 10, 250)])
def test_an_even_shape_stays_even(
    colour: tuple[int, int, int], beneath: tuple[int, int, int], side: int, mode: str
):
    """Whatever lies beneath its transparency: no rim, bright or dark."""
    for name, shape in shapes().items():
        pixels = np.zeros((400, 400, 4), np.uint8)
        pixels[..., :3] = beneath
        pixels[shape] = (*colour, 255)
        cutout = of(Image.fromarray(pixels), mode)
        even = np.asarray(cutout.colour)[shape][0]
        resized = resize(cutout, side, side)
        off = np.abs(np.asarray(resized.colour).astype(int) - even).reshape(side, side, -1).max(2)
        alpha = np.asarray(resized.alpha)
        assert off[alpha >= 64].max() <= 2 and off[alpha >= 8].max() <= 4, name


def test_what_is_opaque_far_around_is_resized_as_any_picture():
    picture = Image.fromarray(wall(300, 300))
    cutout = picture.copy()
    cutout.putalpha(Image.fromarray(ball(300, 300, 120) * np.uint8(255)))
    resized = np.asarray(resize(of(cutout), 100, 90).colour)
    inner = ball(100, 90, 28)
    assert (resized[inner] == np.asarray(picture.resize((100, 90), LANCZOS))[inner]).all()


def test_where_nothing_is_seen_a_resized_cut_out_is_black():
    resized = resize(of(rgba(ball(200, 200, 50))), 60, 60)
    assert not np.asarray(resized.colour)[np.asarray(resized.alpha) == 0].any()


def soft_ball(radius: float = 14, blur: float = 2) -> np.ndarray:
    return np.asarray(
        Image.fromarray(ball(60, 60, radius) * np.uint8(255)).filter(ImageFilter.GaussianBlur(blur))
    )


def premultiplied(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([np.rint(pixels * (alpha[..., None] / 255)).astype(np.uint8), alpha])


BRIGHT = (wall(60, 60) // 2 + 110).astype(np.uint8)


def test_colours_that_are_multiplied_by_their_alpha_are_divided_by_it(world: World):
    alpha = soft_ball()
    world.save("f/dark.png", premultiplied(BRIGHT, alpha))
    cutout, findings = world.foreground("dark")
    assert "mixed with black (premultiplied alpha)" in told(findings)
    off = np.abs(np.asarray(cutout.colour).astype(int) - BRIGHT).max(axis=2)
    assert off[alpha >= 64].max() <= 3 and (np.asarray(cutout.alpha) == alpha).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.dstack([BRIGHT, soft_ball()]),  # straight
        premultiplied((BRIGHT // 12).astype(np.uint8), soft_ball()),  # dark: no rim is seen
        np.dstack([(BRIGHT // 12).astype(np.uint8), soft_ball()]),
        np.asarray(rgba(ball(60, 60))),  # hard
    ],
)
def test_other_edges_are_left_as_they_are(world: World, pixels: np.ndarray):
    world.save("f/good.png", pixels)
    cutout, findings = world.foreground("good")
    assert "mixed" not in told(findings)
    assert (
        np.asarray(cutout.colour)[pixels[..., 3] > 0] == pixels[pixels[..., 3] > 0][:, :3]
    ).all()


# Hardly cut out


def opaque_but(*clear: tuple[slice | int, slice | int]) -> np.ndarray:
    alpha = np.full((40, 40), 255, np.uint8)
    for place in clear:
        alpha[place] = 0
    return np.dstack([photo(), alpha])


@pytest.mark.parametrize(
    "pixels",
    [
        np.dstack([photo(), np.random.default_rng(1).integers(250, 256, (40, 40))]),
        np.dstack([photo(), np.where(np.arange(1600).reshape(40, 40) == 77, 254, 255)]),
        np.dstack([photo(), np.full((40, 40), 200)]),
        opaque_but((0, slice(None))),
        opaque_but((slice(None), 39)),
        opaque_but((20, slice(None))),
        opaque_but((slice(0, 9), slice(None)), (slice(None), slice(0, 5))),
        opaque_but((7, 7), (30, 3)),
    ],
)
def test_a_rectangle_is_told(world: World, pixels: np.ndarray):
    world.save("f/whole.png", pixels.astype(np.uint8))
    _, findings = world.foreground("whole")
    assert "is opaque all over a rectangle. Is it cut out?" in told(findings)


@pytest.mark.parametrize("shape", [ball(), ball(radius=22), np.tril(np.ones((40, 40), bool))])
def test_a_shape_is_not_told(world: World, shape: np.ndarray):
    world.save("f/good.png", np.dstack([photo(), shape * np.uint8(255)]))
    assert world.foreground("good")[1] == []


# In a clear frame


def in_a_frame(size: int = 200, radius: float = 12) -> Image.Image:
    image = Image.new("RGBA", (size, size))
    image.paste(rgba(ball(30, 30, radius)), (size - 40, size - 50))
    return image


def test_a_small_thing_in_a_large_frame_is_told_with_the_remedy(world: World):
    world.save("f/small.png", in_a_frame())
    _, findings = world.foreground("small", "placements.region=anywhere")
    assert "is small in a clear frame: 23×23 of 200×200" in told(findings)
    assert "--set foregrounds.trim=true" in told(findings)


def test_trimmed_it_is_as_without_its_frame(world: World):
    world.save("f/small.png", in_a_frame())
    bare = np.asarray(in_a_frame().crop(in_a_frame().getbbox()))
    cutout, findings = world.foreground("small", "foregrounds.trim=true")
    assert (np.asarray(cutout.colour)[bare[..., 3] > 0] == bare[bare[..., 3] > 0][:, :3]).all()
    assert (np.asarray(cutout.alpha) == bare[..., 3]).all() and (cutout.mask == bare[..., 3]).all()
    assert findings == []


def test_a_frame_of_traces_is_a_frame(world: World):
    """Networks that cut out leave an alpha of 1 to 3 here and there."""
    pixels = np.array(in_a_frame())
    pixels[::17, ::13, 3] |= 3
    world.save("f/small.png", pixels)
    cutout, _ = world.foreground("small", "foregrounds.trim=true")
    assert cutout.colour.size == (23, 23)


def test_a_mask_is_trimmed_alike(world: World):
    world.save("f/ball.png", in_a_frame())
    mask = np.zeros((200, 200), np.uint8)
    mask[155:175, 165:180] = 1
    world.save("m/ball.png", mask)
    cutout, _ = world.foreground("ball", "foregrounds.trim=true", masks=True)
    left, top, *_ = in_a_frame().getbbox()
    expected = np.zeros((23, 23), np.uint8)
    expected[155 - top : 175 - top, 165 - left : 180 - left] = 255
    assert (cutout.mask == expected).all()


def test_without_being_asked_nothing_is_trimmed(world: World):
    world.save("f/small.png", in_a_frame(100))
    assert world.foreground("small", "placements.region=anywhere")[0].colour.size == (100, 100)
