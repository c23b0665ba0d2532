import io
import itertools
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from depthmask.plasma import PLASMA
from transforms.codecs import (
    Compression,
    ImageCodec,
    MaskCodec,
    decode_image,
    encode_binary_mask,
    encode_image,
    encode_mask,
    encode_png,
    encoder_versions,
)

RNG = np.random.default_rng(5)
# JPEG plain and optimised; then of each compression RGB, 16 bits and a mask.
CHECKSUMS = [
    "1d8641d9",
    "3f2fe4ee",
    "94426ecf",
    "5943993a",
    "b1dea3a9",
    "24d48e0e",
    "876f5e3d",
    "8228ac35",
]
Drawn = Callable[[int], np.ndarray]
COMPRESSIONS: tuple[Compression, ...] = ("fast", "small", "pillow")


def scene(height: int, width: int, channels: int, peak: int = 255) -> np.ndarray:
    """Slopes, an edge and a little noise: something to compress."""
    rows, columns = np.mgrid[:height, :width]
    planes = [
        np.sin(rows / (9 + c)) + columns / width + (columns > rows + c) for c in range(channels)
    ]
    values = np.stack(planes, axis=2) / 4 + 0.3 + RNG.normal(0, 0.002, (height, width, channels))
    return (values.clip(0, 1) * peak).astype(np.uint8 if peak == 255 else np.uint16)


def pillow(pixels: np.ndarray, format: str, **settings: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(stream, format, **settings)
    return stream.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 8), (8, 9), (160, 160), (33, 250)])
def test_a_binary_mask_is_stored_exactly(shape: tuple[int, int], compression: Compression):
    mask = (RNG.random(shape) < 0.3).astype(np.uint8) * 255
    data = encode_binary_mask(mask, compression)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(image.convert("L")) == mask).all()
    assert (tf.io.decode_png(data, channels=1).numpy()[..., 0] == mask).all()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (31, 40)])
@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(1, np.uint8), (1, np.uint16), (2, np.uint8), (3, np.uint8), (4, np.uint8)],
)
def test_png_is_lossless(
    channels: int, dtype: type, shape: tuple[int, int], compression: Compression
):
    peak = np.iinfo(dtype).max
    noise = RNG.integers(0, peak, (*shape, channels), endpoint=True).astype(dtype)
    extremes = RNG.choice([0, 1, 2, peak // 2, peak - 1, peak], noise.shape).astype(dtype)
    for pixels in (noise, extremes, scene(*shape, channels, peak), noise[::-1, ::-1]):
        data = encode_png(pixels, compression)
        decoded = tf.io.decode_png(data, dtype=tf.as_dtype(dtype)).numpy()
        assert decoded.shape == pixels.shape and (decoded == pixels).all()
        with Image.open(io.BytesIO(data)) as image:
            assert (np.asarray(image).reshape(pixels.shape) == pixels).all()


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_pillow_writes_to_the_byte(channels: int, optimize: bool):
    for quality in (1, 30, 50, 75, 90, 95, 96, 100):
        noise = RNG.integers(0, 256, (16, 33, channels)).astype(np.uint8)
        for pixels in (scene(37, 50, channels), noise):
            codec = ImageCodec(format="jpeg", quality=quality, optimize=optimize)
            expected = pillow(pixels, "JPEG", quality=quality, optimize=optimize)
            assert encode_image(pixels, codec) == expected


def test_masks_of_three_channels_and_in_jpeg():
    mask = (scene(20, 30, 1)[..., 0] > 99).astype(np.uint8) * 255
    grey = np.repeat(mask[..., None], 3, axis=2)
    png = encode_mask(mask, MaskCodec(channels=3), binary=True)
    assert (tf.io.decode_png(png).numpy() == grey).all()
    jpeg = encode_mask(mask, MaskCodec(format="jpeg", quality=70, channels=3), binary=True)
    assert jpeg == pillow(grey, "JPEG", quality=70)
    soft = encode_mask(mask // 2, MaskCodec(), binary=False)
    assert (tf.io.decode_png(soft).numpy()[..., 0] == mask // 2).all()


def network_depth(side: int) -> np.ndarray:
    """Millimetres as a network's last layer gives them: of half the size, enlarged bilinearly."""
    slope, texture = (
        np.mgrid[: side // 2, : side // 2][0] * 40.0,
        RNG.normal(0, 15, (side // 2,) * 2),
    )
    half = Image.fromarray((2000 + slope + texture).astype(np.float32))
    whole = np.asarray(half.resize((side, side), Image.Resampling.BILINEAR))
    return np.rint(whole).astype(np.uint16)[..., None]


@pytest.mark.parametrize("side", [112, 224])
def test_depth_in_png_grows_by_at_most_a_tenth(side: int):
    pixels = network_depth(side)
    fast, small, before = (len(encode_png(pixels, compression)) for compression in COMPRESSIONS)
    assert small < fast <= 1.1 * before


def planes(side: int) -> np.ndarray:
    """A room without noise, in millimetres: floor, walls that recede, and a box."""
    rows, columns = np.mgrid[:side, :side] / side
    room = np.minimum(2e3 / (0.2 + rows), 3e3 + 4e3 * np.abs(columns - 0.4))
    box = (np.abs(rows - 0.6) < 0.2) & (np.abs(columns - 0.7) < 0.15)
    return np.rint(np.where(box, 1500 + 700 * columns, room)).astype(np.uint16)[..., None]


def slopes(side: int) -> np.ndarray:
    """A plane without noise."""
    rows, columns = np.mgrid[:side, :side]
    return np.rint(1000 + 13.7 * rows + 2.3 * columns).astype(np.uint16)[..., None]


@pytest.mark.parametrize("side", [112, 224])
@pytest.mark.parametrize("draw", [planes, slopes])
def test_depth_without_noise_grows_by_at_most_a_tenth(draw: Drawn, side: int):
    deep = draw(side)
    grey = ((deep - deep.min()) * 255.0 / np.ptp(deep)).astype(np.uint8)
    for pixels in (deep, grey, PLASMA[grey[..., 0]]):
        fast, small, before = (len(encode_png(pixels, c)) for c in COMPRESSIONS)
        assert small <= fast <= 1.1 * before


def test_masks_grow_by_at_most_a_tenth():
    rows, columns = np.mgrid[:160, :160]
    for x, y, width, height in ((80, 70, 30, 45), (10, 130, 60, 60), (120, 40, 12, 25)):
        mask = np.hypot((columns - x) / width, (rows - y) / height) < 1 + np.sin(rows / 5) / 9
        sizes = [len(encode_binary_mask(mask.astype(np.uint8) * 255, c)) for c in COMPRESSIONS]
        assert sizes[1] <= sizes[0] <= 1.1 * sizes[2]


def photograph(side: int, channels: int) -> np.ndarray:
    """Detail of every size, the less the finer, as photographs have it."""
    values = np.full((side, side, channels), 128.0)
    for n, channel in itertools.product((5, 10, 20, 40, 80, 160), range(channels)):
        octave = Image.fromarray(RNG.normal(0, 400 / n, (n, n)).astype(np.float32))
        values[..., channel] += np.asarray(octave.resize((side, side), Image.Resampling.BICUBIC))
    return values.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_in_png_grow_by_at_most_a_tenth(channels: int):
    pixels = photograph(160, channels)
    fast, small, before = (len(encode_png(pixels, compression)) for compression in COMPRESSIONS)
    assert small < fast <= 1.1 * before


@pytest.mark.parametrize("channels", [1, 3])
def test_the_former_png_is_pillows(channels: int):
    pixels = scene(30, 40, channels)
    assert encode_png(pixels, "pillow") == pillow(pixels, "PNG", compress_level=4)


def test_pictures_become_the_same_bytes_on_any_machine():
    """Held for the versions that requirements.txt brings; with others they may be others."""
    if encoder_versions() != {"libjpeg_turbo": "3.1.3", "libdeflate": "1.25"}:
        pytest.skip("needs the pinned versions")
    rows, columns, channels = np.mgrid[:64, :80, :3]
    pixels = (rows * columns * (channels + 3) // 11 + rows % 7).astype(np.uint8)
    deep = (np.mgrid[:64, :80][0] * 311 + pixels[..., 0] % 50).astype(np.uint16)[..., None]
    mask = (pixels[..., 0] > 128).astype(np.uint8) * 255
    encoded = [encode_image(pixels, ImageCodec(quality=50, optimize=o)) for o in (False, True)]
    for compression in ("fast", "small"):
        encoded += [encode_png(pixels, compression), encode_png(deep, compression)]
        encoded.append(encode_binary_mask(mask, compression))
    assert [f"{zlib.crc32(data):08x}" for data in encoded] == CHECKSUMS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", [ImageCodec(format="png"), ImageCodec(quality=30)])
def test_pictures_are_decoded_as_pillow_and_tensorflow_do(channels: int, codec: ImageCodec):
    for shape in ((160, 160), (33, 250), (7, 8)):
        data = encode_image(scene(*shape, channels), codec)
        found = decode_image(data)
        assert found.shape == (*shape, channels) and found.dtype == np.uint8
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(found.reshape(np.asarray(image).shape), image)
        if codec.format == "jpeg":
            theirs = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
            np.testing.assert_array_equal(found, theirs)
