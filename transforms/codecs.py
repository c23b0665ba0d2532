"""How pictures become bytes: settings and the encoders beneath them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ImageCodec(BaseModel):
    """How composites are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["jpeg", "png"] = "jpeg"
    quality: int = Field(90, ge=1, le=100, description="JPEG quality")
    optimize: bool = Field(False, description="JPEG: optimal Huffman tables, smaller and slower")


class MaskCodec(BaseModel):
    """How masks are stored. PNG keeps them exactly; JPEG blurs their edges."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["png", "jpeg"] = "png"
    quality: int = Field(90, ge=1, le=100, description="JPEG quality")
    channels: Literal[1, 3] = Field(1, description="3: the same grey three times")


def to_image(pixels: np.ndarray) -> Image.Image:
    """`pixels`, uint8 [H, W, 3] or [H, W, 1], as an RGB or L image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def channels_last(image: Image.Image) -> np.ndarray:
    """The pixels of an RGB or L image, uint8 [H, W, C]: the inverse of `to_image`."""
    return np.asarray(image).reshape(image.height, image.width, -1)


def encode_image(pixels: np.ndarray, codec: ImageCodec) -> bytes:
    """Encodes `pixels`, uint8 [H, W, 3] or [H, W, 1]."""
    image = to_image(pixels)
    stream = io.BytesIO()
    if codec.format == "jpeg":
        image.save(stream, "JPEG", quality=codec.quality, optimize=codec.optimize)
    else:
        image.save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def encode_mask(mask: np.ndarray, codec: MaskCodec, binary: bool) -> bytes:
    """Encodes `mask`, uint8 [H, W], of 0 and 255 alone where `binary`."""
    if codec.format == "png" and codec.channels == 1:
        return encode_binary_mask(mask) if binary else encode_grey(mask)
    pixels = np.broadcast_to(mask[..., None], (*mask.shape, codec.channels))
    return encode_image(pixels, ImageCodec(format=codec.format, quality=codec.quality))


def encode_binary_mask(mask: np.ndarray) -> bytes:
    """Encodes `mask`, uint8 [H, W] of 0 and 255, as a 1-bit greyscale PNG.

    Readers give 0 and 255 back. The file is written here, as the PNG specification (W3C, third
    edition, sections 5 and 11) lays it out, because Pillow's general writer takes three times as
    long for so small a picture, a third of the time of a whole example.
    """
    height, width = mask.shape
    rows = np.zeros((height, 1 + (width + 7) // 8), np.uint8)  # each row begins with filter type 0
    rows[:, 1:] = np.packbits(mask, axis=1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"".join(
        (
            _PNG_SIGNATURE,
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", zlib.compress(rows.tobytes(), 4)),
            _png_chunk(b"IEND", b""),
        )
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def encode_grey(pixels: np.ndarray) -> bytes:
    """Encodes `pixels`, uint8 or uint16 [H, W], as a greyscale PNG of 8 or 16 bits."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def open_image(data: bytes) -> Image.Image:
    """Decodes a picture that this project wrote."""
    return Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
