from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthmask.errors import UserError
from pipeline.inputs import InputFolders, PreparedSet, prepare_inputs
from pipeline.inputs.decoding import MAX_PIXELS
from pipeline.recipes import load_recipe
from transforms.prepared import PreparedInputs

NATIVE = "foregrounds.size={mode: native}"


def cutout(width: int = 16, height: int = 12) -> Image.Image:
    image = Image.new("RGBA", (width, height))
    image.paste((200, 40, 30, 255), (3, 3, width - 3, height - 3))
    return image


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in "bfm":
            (root / name).mkdir()
        rows, columns = np.mgrid[:50, :50]
        wall = np.dstack([rows * 4, columns * 4, rows + columns]).astype(np.uint8)
        Image.fromarray(wall).save(root / "b/wall.png")
        cutout().save(root / "f/chair.png")

    def prepare(self, *settings: str, masks: bool = False, skip_bad: bool = False) -> PreparedSet:
        folders = InputFolders(*(str(self.root / n) for n in "bf"), None)
        if masks:
            folders = InputFolders(*(str(self.root / n) for n in "bfm"))
        recipe = load_recipe("default", ["canvas={width: 40, height: 30}", *settings])
        return prepare_inputs(folders, recipe, str(self.root / "out"), skip_bad)

    def read(self, *settings: str, masks: bool = False) -> PreparedInputs:
        return PreparedInputs(self.prepare(*settings, masks=masks).source)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def names(prepared: PreparedSet) -> list[str]:
    return [picture.name for picture in prepared.source.foregrounds]


def test_bad_backgrounds_foregrounds_and_masks_are_listed_together(world: World):
    (world.root / "b/notes.png").write_text("no picture")
    Image.new("RGBA", (9, 9)).save(world.root / "f/ghost.png")
    cutout(41, 12).save(world.root / "f/wide.png")
    for name in ("chair", "ghost", "wide"):
        mask = Image.new("L", (41, 12) if name == "wide" else (16, 12), 255)
        mask.save(world.root / f"m/{name}.png")
    with pytest.raises(UserError) as caught:
        world.prepare(NATIVE, masks=True)
    text = str(caught.value)
    assert text.startswith("3 bad inputs")
    for problem in (
        "notes.png: is not a picture. Take it away",
        "ghost.png: is wholly transparent. Cut it out anew",
        "wide.png: is too large. It is drawn 41 pixels wide",
    ):
        assert problem in text


def test_all_folders_that_are_wrong_are_said_at_once(tmp_path: Path):
    (tmp_path / "f").mkdir()
    with pytest.raises(UserError) as caught:
        prepare_inputs(
            InputFolders(str(tmp_path / "nowhere"), str(tmp_path / "f")),
            load_recipe("default"),
            str(tmp_path / "out"),
        )
    assert "no such folder" in str(caught.value) and "no pictures in it" in str(caught.value)


def test_what_an_error_is_about_is_left_out(world: World):
    """Finding's promise: an error leaves the input out."""
    cutout().save(world.root / "f/table.png")
    cutout().getchannel("A").save(world.root / "m/chair.png")
    prepared = world.prepare(masks=True, skip_bad=True)
    assert [finding.level for finding in prepared.findings] == ["error"]
    assert names(prepared) == ["chair"]


def test_one_bad_input_is_counted_once(world: World):
    Image.new("RGB", (9, 9)).save(world.root / "f/photo.png")
    cutout().getchannel("A").save(world.root / "m/chair.png")
    with pytest.raises(UserError, match=r"^1 bad input;"):
        world.prepare(masks=True)


def test_a_damaged_mask_leaves_its_foreground_out(world: World):
    cutout().save(world.root / "f/table.png")
    cutout().getchannel("A").save(world.root / "m/chair.png")
    (world.root / "m/table.png").write_bytes(b"")
    prepared = world.prepare(masks=True, skip_bad=True)
    (finding,) = prepared.findings
    assert finding.level == "error" and "table.png is empty" in str(finding)
    assert names(prepared) == ["chair"]


def test_a_jpeg_photographed_on_its_side_comes_out_upright(world: World):
    upright = np.zeros((40, 40, 3), np.uint8)
    upright[:20, :20] = 255  # white in the top left
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    turned.save(world.root / "b/side.jpg", exif=exif, quality=100)
    pixels = world.read("canvas={width: 40, height: 40}").background("side").astype(int)
    assert np.abs(pixels - upright).max() <= 8


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_transparency_of_every_mode_is_kept(world: World, mode: str):
    grey = Image.new("L", (16, 12), 90)
    alpha = Image.new("L", (16, 12), 0)
    alpha.paste(200, (3, 3, 13, 9))
    image = Image.merge("LA", (grey, alpha))
    if mode == "PA":
        image = Image.merge("RGBA", (grey, grey, grey, alpha)).quantize(4)
    image.convert("RGBA" if mode == "RGBA" else image.mode).save(world.root / "f/grey.png")
    read = world.read(NATIVE).foreground("grey")
    assert (read.colour.mode, read.alpha.mode) == ("RGB", "L")
    assert (np.asarray(read.alpha) == np.asarray(alpha)).all()
    assert read.colour.getpixel((8, 6)) == (90, 90, 90)


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (5, 6, 7)), ("L", 90), ("1", 1)])
def test_a_transparent_colour_is_transparency(world: World, mode: str, colour):
    image = Image.new(mode, (16, 12))
    image.paste(colour, (3, 3, 13, 9))
    image.save(world.root / "f/keyed.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    alpha = np.asarray(world.read(NATIVE).foreground("keyed").alpha)
    assert (alpha[3:9, 3:13] == 255).all() and (alpha == 255).sum() == 60


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_masks_of_every_mode_say_the_same(world: World, mode: str):
    mask = Image.new("L", (16, 12))
    mask.paste(255, (2, 2, 9, 9))
    stored = mask.convert(mode) if mode != "I;16" else None
    if stored is None:
        stored = Image.fromarray(np.asarray(mask).astype(np.uint16) * 257)
    stored.save(world.root / "m/chair.png")
    read = world.read(NATIVE, masks=True).foreground("chair")
    assert (read.mask == np.asarray(mask)).all()


def test_a_white_shape_on_transparency_is_a_mask_of_the_shape(world: World):
    mask = Image.new("RGBA", (16, 12), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (4, 4, 8, 8))
    mask.save(world.root / "m/chair.png")
    read = world.read(NATIVE, masks=True).foreground("chair").mask
    assert (read == 255).sum() == 16


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_picture_of_fractions_is_read_or_refused_but_never_black(world: World, value: float):
    Image.fromarray(np.full((50, 50), value, np.float32)).save(world.root / "b/float.tif")
    try:
        shown = world.read().background("float")[5, 5]
    except UserError as error:
        assert "float.tif" in str(error)
    else:
        assert abs(shown[0] - 127) <= 1


def test_a_header_of_too_many_pixels_is_refused_before_decoding(world: World, monkeypatch):
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    # Above our limit, below the one at which Pillow itself refuses.
    header = struct.pack(">IIBBBBB", 10_001, MAX_PIXELS // 10_000, 8, 0, 0, 0, 0)
    (world.root / "b/big.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"big.png: has 10001×10000 pixels, more than 100 million"):
        world.prepare()


def test_a_foreground_that_would_be_drawn_gigantic_is_a_bad_input(world: World, monkeypatch):
    """2,000 × 1 pixels at a height of 8,000 are 16 million × 8,000."""

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr("transforms.cutout.resize", no_memory)  # as it does, without the waiting
    (world.root / "f/chair.png").unlink()
    line = np.full((1, 2000, 4), 255, np.uint8)
    line[0, 0, 3] = 0
    Image.fromarray(line).save(world.root / "f/line.png")
    with pytest.raises(UserError, match=r"line\.png"):
        world.prepare("foregrounds.size={mode: height, height: 8000}", "placements.region=anywhere")


def test_prepared_pictures_read_back_with_the_same_pixels(world: World):
    rng = np.random.default_rng(3)
    background = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    foreground = rng.integers(0, 256, (9, 11, 4)).astype(np.uint8)
    foreground[0, 0, 3] = 0
    Image.fromarray(background).save(world.root / "b/noise.png")
    Image.fromarray(foreground).save(world.root / "f/noise.png")
    inputs = world.read(NATIVE)
    assert (inputs.background("noise") == background).all()
    for transform, expected in ((None, foreground), ("left_right", foreground[:, ::-1])):
        read = inputs.foreground("noise", transform)
        assert (np.asarray(read.colour) == expected[..., :3]).all()
        assert (np.asarray(read.alpha) == expected[..., 3]).all()
        assert (read.mask == expected[..., 3]).all()


def test_names_stay_apart_when_made_safe(world: World):
    for name in ("a+b", "a%2Bb", "кот", "new\nline"):
        Image.new("RGB", (9, 9)).save(world.root / f"b/{name}.png")
    found = {picture.name for picture in world.prepare().source.backgrounds}
    assert found == {"a%2Bb", "a%252Bb", "кот", "new%0Aline", "wall"}
