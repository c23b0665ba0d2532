"""How pictures become bytes: settings and the encoders beneath them.

JPEG is written by libjpeg-turbo and PNG's data is compressed by libdeflate, both from imagecodecs:
of one version each they write the same bytes on any CPU and system. Neither holds Python's lock.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Literal

import imagecodecs
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

# How PNG is compressed; the pixels are the same. "pillow": as datasets of format 1 have it, by
# Pillow and Python's zlib, whose bytes depend on the system's zlib too.
Compression = Literal["fast", "small", "pillow"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, RGB, RGBA
_NO_FILTER, _UP, _PAETH = 0, 2, 4
# More than any canvas or foreground has.
_MAX_PIXELS = 100_000_000
_FAST, _SMALL, _MASK = 1, 10, 4  # levels of libdeflate
# Where the fast one leaves less than this share of the bytes, there is little noise, and a higher
# one finds much more.
_CLEAN = ((0.1, 6), (0.27, 4))
_FORMER_LEVEL = 4  # of zlib


class ImageCodec(BaseModel):
    """How composites are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["jpeg", "png"] = Field("jpeg", description="png keeps every pixel")
    quality: int = Field(90, ge=1, le=100, description="JPEG: 1 (worst) to 100")
    optimize: bool = Field(False, description="JPEG: optimal Huffman tables, smaller and slower")


class MaskCodec(BaseModel):
    """How masks are stored. PNG keeps them exactly; JPEG blurs their edges."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["png", "jpeg"] = Field("png", description="png keeps every pixel")
    quality: int = Field(90, ge=1, le=100, description="JPEG: 1 (worst) to 100")
    optimize: bool = Field(False, description="JPEG: optimal Huffman tables, smaller and slower")
    channels: Literal[1, 3] = Field(1, description="of stored masks; 3: the same grey three times")


def encoder_versions() -> dict[str, str]:
    """Returns the libraries that decide what bytes pictures become, and their versions."""
    found = (imagecodecs.jpeg8_version(), imagecodecs.deflate_version())
    # Such as "libjpeg_turbo 3.1.3/8.0", where 8.0 is the interface that it was built with.
    return dict(text.partition("/")[0].split() for text in found)


def to_image(pixels: np.ndarray) -> Image.Image:
    """Returns `pixels`, [H, W, C] or [H, W, 1], as a Pillow image without a copy of them."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def channels_last(image: Image.Image) -> np.ndarray:
    """Returns the pixels of an image, uint8 [H, W, C]: the inverse of `to_image`."""
    return np.asarray(image).reshape(image.height, image.width, -1)


def encode_image(pixels: np.ndarray, codec: ImageCodec, compression: Compression = "fast") -> bytes:
    """Encodes `pixels`, [H, W, 3] or [H, W, 1]: uint8, or for PNG uint16 too."""
    if codec.format == "png":
        return encode_png(pixels, compression)
    # As Pillow writes it: chroma of half the size.
    return bytes(
        imagecodecs.jpeg8_encode(
            pixels[..., 0] if pixels.shape[2] == 1 else pixels,
            codec.quality,
            subsampling="420",
            optimize=codec.optimize,
        )
    )


def decode_image(data: bytes) -> np.ndarray:
    """Returns the pixels, uint8 [H, W, C], of a picture that `encode_image` wrote with 8 bits.

    JPEG is decoded by its encoder's library, with the accurate transform, as Pillow and
    `depthmask.load` do.
    """
    if data.startswith(_PNG_SIGNATURE):
        return channels_last(open_image(data))
    return np.atleast_3d(imagecodecs.jpeg8_decode(data))


def encode_mask(
    mask: np.ndarray, codec: MaskCodec, binary: bool, compression: Compression = "fast"
) -> bytes:
    """Encodes `mask`, uint8 [H, W], of 0 and 255 alone where `binary`."""
    if binary and codec.format == "png" and codec.channels == 1:
        return encode_binary_mask(mask, compression)
    pixels = np.broadcast_to(mask[..., None], (*mask.shape, codec.channels))
    image = ImageCodec(format=codec.format, quality=codec.quality, optimize=codec.optimize)
    return encode_image(np.ascontiguousarray(pixels), image, compression)


# PNG as its specification (W3C, third edition) lays it out: files in section 5, filters in 9,
# compression in 10. Libraries that write it use a slower compressor, or one whose output depends on
# the CPU.


def encode_png(pixels: np.ndarray, compression: Compression = "fast") -> bytes:
    """Encodes `pixels`, uint8 or uint16 [H, W, C]: grey, grey and alpha, RGB or RGBA."""
    if compression == "pillow":
        stream = io.BytesIO()
        to_image(pixels).save(stream, "PNG", compress_level=_FORMER_LEVEL)
        return stream.getvalue()
    height, width, channels = pixels.shape
    rows = pixels.astype(pixels.dtype.newbyteorder(">"), "C").view(np.uint8).reshape(height, -1)
    pixel_bytes = channels * pixels.itemsize
    paeth = _paeth(rows, pixel_bytes)
    if compression == "small":
        data = _deflate(min(_up(rows), paeth, key=lambda f: len(_deflate(f, _FAST))), _SMALL)
    else:
        data = _deflate_fast(paeth)
    return _png(width, height, 8 * pixels.itemsize, _COLOUR_TYPES[channels], data)


def encode_binary_mask(mask: np.ndarray, compression: Compression = "fast") -> bytes:
    """Encodes `mask`, uint8 [H, W] of 0 and 255, as a 1-bit greyscale PNG.

    Readers return 0 and 255.
    """
    height, width = mask.shape
    packed = np.packbits(mask, axis=1)
    lines = _lines(_NO_FILTER, packed.shape)
    lines[:, 1:] = packed
    if compression == "pillow":
        data = zlib.compress(lines.tobytes(), _FORMER_LEVEL)
    else:
        data = _deflate(lines, _SMALL if compression == "small" else _MASK)
    return _png(width, height, 1, _COLOUR_TYPES[1], data)


def _lines(kind: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns new lines, uint8 [H, 1 + bytes], for the rows of that shape and kind of filter."""
    height, width = shape
    lines = np.empty((height, 1 + width), np.uint8)
    lines[:, 0] = kind
    return lines


def _up(rows: np.ndarray) -> np.ndarray:
    """Returns the lines of `rows`, uint8 [H, bytes], less the row above, modulo 256."""
    lines = _lines(_UP, rows.shape)
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    return lines


def _paeth(rows: np.ndarray, pixel_bytes: int) -> np.ndarray:
    """Returns the lines of `rows` less the neighbour nearest to left + above − corner.

    `pixel_bytes`: how far to the left the left one is.
    """
    height, width = rows.shape
    # With zeros above and to the left of it, each neighbour is a view of one flat array.
    pitch = width + pixel_bytes
    padded = np.zeros((height + 1) * pitch + pixel_bytes, np.uint8)
    padded[pixel_bytes:].reshape(height + 1, pitch)[1:, :width] = rows
    count = height * pitch
    above = padded[pixel_bytes:][:count]
    left, corner = padded[pitch:][:count], padded[:count]
    # Of left and above, that is the one farther from the corner; the corner itself only where it
    # lies between them, nearer to their middle than to either. Nothing here leaves 8 bits.
    low, high = np.minimum(left, above), np.maximum(left, above)
    over_low, under_high = np.maximum(corner, low) - low, high - np.minimum(corner, high)
    nearer = np.minimum(over_low, under_high)
    is_corner = np.maximum(over_low, under_high) - nearer < nearer
    predicted = _choose(is_corner, corner, _choose(under_high < over_low, low, high))
    lines = _lines(_PAETH, rows.shape)
    np.subtract(rows, predicted.reshape(height, pitch)[:, :width], out=lines[:, 1:])
    return lines


def _choose(condition: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What `np.where` returns of uint8, which takes ten times as long if conditions look random."""
    mask = np.negative(condition.view(np.uint8))  # 255 or 0
    return np.asarray(second ^ ((first ^ second) & mask))


def _deflate(lines: np.ndarray, level: int) -> bytes:
    return bytes(imagecodecs.deflate_encode(lines.tobytes(), level))


def _deflate_fast(lines: np.ndarray) -> bytes:
    found = _deflate(lines, _FAST)
    for share, level in _CLEAN:
        if len(found) < share * lines.size:
            return _deflate(lines, level)
    return found


def _png(width: int, height: int, bits: int, colour_type: int, data: bytes) -> bytes:
    """Returns the file of a picture whose rows `data` holds, filtered and compressed."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"".join((_PNG_SIGNATURE, *chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = imagecodecs.deflate_crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", crc)))


def decode_jpeg(data: bytes) -> np.ndarray:
    """Returns a JPEG's pixels, uint8 [H, W] or [H, W, 3]: Pillow's, in a quarter of the time."""
    return np.asarray(imagecodecs.jpeg8_decode(data))


def open_image(data: bytes) -> Image.Image:
    """Opens a picture that this project wrote; it is decoded when its pixels are asked for.

    Raises ValueError or OSError for what is none.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    if image.width * image.height > _MAX_PIXELS:  # before memory is taken for them
        raise ValueError(f"a picture of {image.width}×{image.height} pixels")
    return image
