"""What each kind of strange picture gets: correct handling, or an error of its own."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthmask.errors import DepthModelError, UserError
from pipeline.inputs import InputFolders, prepare_inputs
from pipeline.recipes import load_recipe
from transforms.depth import PictureSize
from transforms.depth.keras_model import KerasModel
from transforms.depth.model import DepthStage
from transforms.prepared import PreparedInputs

RECIPE = load_recipe(
    "default",
    ["canvas.width=32", "canvas.height=32", "canvas.fit=stretch", "depth.model.output=depth"],
)
# Left half red, right half blue: what a right reading of each file must show.
RED, BLUE = (200, 30, 40), (20, 40, 210)


def halves(width: int = 32, height: int = 32) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def bomb() -> bytes:
    """A PNG that declares 100,000 × 100,000 pixels in a few hundred bytes."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", rows)
        + png_chunk(b"IEND", b"")
    )


def flipped_bits() -> bytes:
    data = bytearray(saved(halves(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a viewer
    return saved(halves().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def sixteen_bits() -> bytes:
    grey = np.asarray(halves().convert("L")).astype(np.uint16) * 257
    return saved(Image.fromarray(grey), "PNG")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.jpg": (lambda: saved(halves(), "JPEG")[:300], "is damaged or truncated"),
    "truncated.png": (lambda: saved(halves(), "PNG")[:-30], "is damaged or truncated"),
    "flipped.png": (flipped_bits, "is damaged or truncated"),
    "empty.png": (lambda: b"", "is empty"),
    "bomb.png": (bomb, "has far too many pixels"),
    "text.png": (lambda: b"These are the notes of a meeting.\n" * 9, "is not a picture"),
    "html.jpg": (lambda: b"<html>404 not found</html>", "is not a picture"),
}
READ: dict[str, tuple[Callable[[], bytes], bool]] = {  # and whether it is grey
    "cmyk.jpg": (lambda: saved(halves().convert("CMYK"), "JPEG", quality=100), False),
    "palette.gif": (lambda: saved(halves().quantize(8), "GIF"), False),
    "palette-transparent.png": (
        lambda: saved(halves().quantize(8), "PNG", transparency=7),
        False,
    ),
    "animated.gif": (
        lambda: saved(
            halves(), "GIF", save_all=True, append_images=[Image.new("RGB", (32, 32), "green")]
        ),
        False,
    ),
    "rotated.png": (rotated, False),
    "sixteen.png": (sixteen_bits, True),
    "grey.png": (lambda: saved(halves().convert("L"), "PNG"), True),
    "alpha.webp": (lambda: saved(halves().convert("RGBA"), "WEBP", lossless=True), False),
    "комната 客厅.png": (lambda: saved(halves(), "PNG"), False),
    "new\nline.png": (lambda: saved(halves(), "PNG"), False),
    "two..dots.png": (lambda: saved(halves(), "PNG"), False),
    "[a] *?+%<b>.png": (lambda: saved(halves(), "PNG"), False),
    "UPPER.JPG": (lambda: saved(halves(), "JPEG", quality=100, subsampling=0), False),
}


@pytest.fixture
def folders(tmp_path: Path) -> InputFolders:
    backgrounds, foregrounds = tmp_path / "the [b]*", tmp_path / "f"
    backgrounds.mkdir()
    foregrounds.mkdir()
    cutout = halves(8, 8)
    cutout.putalpha(Image.fromarray(np.eye(8, dtype=np.uint8) * 255))
    cutout.save(foregrounds / "cutout.png")
    return InputFolders(str(backgrounds), str(foregrounds))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(folders: InputFolders, tmp_path: Path, name: str):
    make, problem = REFUSED[name]
    (Path(folders.backgrounds) / name).write_bytes(make())
    with pytest.raises(UserError) as caught:
        prepare_inputs(folders, RECIPE, str(tmp_path / "out"))
    assert name in str(caught.value) and problem in str(caught.value)


@pytest.mark.parametrize("name", READ)
def test_read_rightly(folders: InputFolders, tmp_path: Path, name: str):
    make, grey = READ[name]
    (Path(folders.backgrounds) / name).write_bytes(make())
    prepared = prepare_inputs(folders, RECIPE, str(tmp_path / "out"))
    (picture,) = prepared.source.backgrounds
    assert picture.name.isprintable() and not set(picture.name) & set('\n+:*?"<>|\\')
    image = PreparedInputs(prepared.source).background(picture.name)
    assert image.shape == (32, 32, 3)
    expected = halves().convert("L").convert("RGB") if grey else halves()
    difference = np.abs(image.astype(int) - np.asarray(expected))
    assert difference.max() <= 6, name


def test_a_link_to_itself(folders: InputFolders, tmp_path: Path):
    link = Path(folders.backgrounds) / "loop.png"
    link.symlink_to(link)
    with pytest.raises(UserError, match=r"loop.png: cannot be read \(.*symbolic links"):
        prepare_inputs(folders, RECIPE, str(tmp_path / "out"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read(folders: InputFolders, tmp_path: Path):
    path = Path(folders.backgrounds) / "secret.png"
    halves().save(path)
    path.chmod(0)
    with pytest.raises(UserError, match=r"secret.png: cannot be read \(.*Permission denied"):
        prepare_inputs(folders, RECIPE, str(tmp_path / "out"))


def test_names_cannot_leave_the_output(folders: InputFolders, tmp_path: Path):
    nested = Path(folders.backgrounds) / "up.. " / "x"
    nested.mkdir(parents=True)
    halves().save(nested / "a.png")
    prepared = prepare_inputs(folders, RECIPE, str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "backgrounds.tfrecord",
        "foregrounds.tfrecord",
    ]
    assert len(prepared.source.backgrounds) == 1


def load_keras(path: Path) -> None:
    canvas = PictureSize(width=32, height=32)
    DepthStage.of(KerasModel(str(path)), RECIPE.depth, canvas).load()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("text.keras", b"not a model"),
        ("zip.keras", b"PK\x03\x04" + b"\0" * 60),
        ("pickle.keras", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch harmed\x85R."),
    ],
)
def test_models_that_are_none(tmp_path: Path, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DepthModelError, match=f"{name}: not a Keras model"):
        load_keras(path)
    assert not Path("harmed").exists()


def test_a_model_with_code_in_it_is_refused(tmp_path: Path):
    import keras

    picture = keras.Input((None, None, 3))
    code = keras.layers.Lambda(lambda values: values[..., :1], output_shape=(None, None, 1))
    path = tmp_path / "lambda.keras"
    keras.Model(picture, code(picture)).save(path)
    with pytest.raises(DepthModelError, match=r"lambda.keras: not a Keras model"):
        load_keras(path)


def test_a_picture_just_over_the_limit_is_refused_before_it_is_decoded(
    folders: InputFolders, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("pipeline.inputs.decoding.MAX_PIXELS", 32 * 32 - 1)
    (Path(folders.backgrounds) / "large.png").write_bytes(saved(halves(), "PNG"))
    with pytest.raises(UserError, match="has 32×32 pixels, more than"):
        prepare_inputs(folders, RECIPE, str(tmp_path / "out"))
