import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from transforms.codecs import ImageCodec, encode_binary_mask, encode_grey, encode_image

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(1, 1), (7, 8), (8, 9), (160, 160), (33, 250)])
def test_a_binary_mask_is_stored_exactly(shape: tuple[int, int]):
    mask = (RNG.random(shape) < 0.3).astype(np.uint8) * 255
    data = encode_binary_mask(mask)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(image.convert("L")) == mask).all()
    assert (tf.io.decode_png(data, channels=1).numpy()[..., 0] == mask).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_stored_exactly(dtype: type):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (31, 40), endpoint=True).astype(dtype)
    decoded = tf.io.decode_png(encode_grey(pixels), channels=1, dtype=tf.as_dtype(dtype))
    assert (decoded.numpy()[..., 0] == pixels).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_stored_as_the_codec_says(channels: int):
    pixels = RNG.integers(0, 256, (24, 32, channels)).astype(np.uint8)
    png = encode_image(pixels, ImageCodec(format="png"))
    assert (tf.io.decode_png(png).numpy() == pixels).all()
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=30, optimize=True)
    jpeg = encode_image(pixels, ImageCodec(format="jpeg", quality=30, optimize=True))
    assert jpeg == stream.getvalue()
