"""TIFF files: what their tags say, and samples of kinds that Pillow does not read."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
# The bytes that a TIFF begins with.
SIGNATURES = frozenset(_ORDERS)
# Types of values that are numbers or bytes: their codes for struct.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d"}
_MAX_PAGES = 100
_MAX_VALUES = 2**20
_KINDS = {1: "u", 2: "i", 3: "f"}
_UNPACKED, _DEFLATE = 1, (8, 32946)

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, STRIP_BYTES, PLANAR = 273, 274, 277, 279, 284
PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT, LEAST, GREATEST = 317, 338, 339, 340, 341
SUBFILE_TYPE, PROFILE = 254, 34675
# Others are not looked at: a file may have thousands, each of a million values.
_KNOWN = {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION, SAMPLES),
    *(STRIP_BYTES, PLANAR, PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT, LEAST, GREATEST, SUBFILE_TYPE),
}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6
# Samples a pixel, by what they mean.
_CHANNELS = {WHITE_IS_ZERO: (1,), BLACK_IS_ZERO: (1, 2), RGB: (3, 4), YCBCR: (3,)}
_NOT_ALPHA, _STRAIGHT_ALPHA = 0, 2
_TRANSPARENCY_MASK = 4


@dataclass(frozen=True)
class TiffPage:
    """One picture of a TIFF file: its tags, each with one or more numbers, and its ICC profile."""

    order: str
    tags: dict[int, tuple[float, ...]]
    profile: bytes | None

    def number(self, tag: int, default: int = 0) -> int:
        values = self.tags.get(tag)
        return int(values[0]) if values else default

    @property
    def size(self) -> tuple[int, int]:
        return self.number(WIDTH), self.number(HEIGHT)

    @property
    def bits(self) -> int:
        return self.number(BITS, 1)

    @property
    def signed(self) -> bool:
        return self.number(SAMPLE_FORMAT, 1) == 2

    def declared(self, tag: int) -> float | None:
        values = self.tags.get(tag)
        return float(values[0]) if values else None

    @property
    def is_mask(self) -> bool:
        """Whether it says which pixels of another page are seen, and is no picture."""
        return bool(self.number(SUBFILE_TYPE) & _TRANSPARENCY_MASK)


def tiff_pages(data: bytes) -> list[TiffPage]:
    """The pages of a TIFF in order, as many as can be read; none of another file (or a BigTIFF)."""
    order = _ORDERS.get(data[:4])
    if order is None:
        return []
    pages: list[TiffPage] = []
    seen = set()
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        while start and start not in seen and len(pages) < _MAX_PAGES:
            seen.add(start)
            (count,) = struct.unpack_from(f"{order}H", data, start)
            pages.append(_page(data, order, start + 2, count))
            (start,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * count)
    except struct.error:
        pass
    return pages


def _page(data: bytes, order: str, start: int, count: int) -> TiffPage:
    """Reads the page whose `count` tags begin at `start`."""
    tags: dict[int, tuple[float, ...]] = {}
    profile = None
    for entry in range(start, start + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, entry)
        code = _TYPES.get(kind)
        if code is None or not 0 < number <= len(data):
            continue
        size, place = struct.calcsize(f"{order}{number}{code}"), entry + 8
        if size > 4:
            (place,) = struct.unpack_from(f"{order}I", data, place)
        if place + size > len(data):
            continue
        if tag == PROFILE:
            profile = data[place : place + size]
        elif tag in _KNOWN and tag not in tags and number <= _MAX_VALUES:
            tags[tag] = struct.unpack_from(f"{order}{number}{code}", data, place)
    return TiffPage(order, tags, profile)


def stored_samples(data: bytes, page: TiffPage) -> np.ndarray | None:
    """The samples of a grey, RGB or YCbCr page as they are stored, [h, w] or [h, w, C].

    None for a page of another kind, of samples that are 8 plain bits or less (but YCbCr's, which
    Pillow does not read), or compressed but for deflate: Pillow reads what it can of these.
    """
    bits, kind = page.tags.get(BITS, (1,)), _KINDS.get(page.number(SAMPLE_FORMAT, 1))
    (width, height), channels = page.size, page.number(SAMPLES, 1)
    photometric, extra = page.number(PHOTOMETRIC, -1), page.number(EXTRA_SAMPLES, _STRAIGHT_ALPHA)
    plain = kind == "u" and bits[0] <= 8 and photometric != YCBCR
    if (
        kind is None
        or plain
        or len(set(bits)) > 1
        or page.bits not in ((16, 32, 64) if kind == "f" else (8, 16, 32))
        or channels not in _CHANNELS.get(photometric, ())
        or extra not in (_NOT_ALPHA, _STRAIGHT_ALPHA)
        or page.number(PLANAR, 1) != 1
        or page.number(PREDICTOR, 1) != 1
        or page.number(COMPRESSION, _UNPACKED) not in (_UNPACKED, *_DEFLATE)
    ):
        return None
    need = width * height * channels * page.bits // 8
    stored = _joined_strips(data, page, need)
    if stored is None:
        return None
    values = np.frombuffer(stored, f"{page.order}{kind}{page.bits // 8}")
    values = values.astype(values.dtype.newbyteorder("="))
    if channels == 1:
        return values.reshape(height, width)
    values = values.reshape(height, width, channels)
    if extra == _NOT_ALPHA and channels in (2, 4):
        return values[..., 0] if channels == 2 else values[..., :3]
    return values


def _joined_strips(data: bytes, page: TiffPage, need: int) -> bytes | None:
    """The bytes of a page's strips, unpacked: as many as it needs. None where it has others."""
    strips = bytearray()
    for offset, size in zip(
        page.tags.get(STRIP_OFFSETS, ()), page.tags.get(STRIP_BYTES, ()), strict=False
    ):
        if len(strips) >= need:
            return None  # subsampled, or another kind than its tags say
        strip = data[int(offset) : int(offset + size)]
        if page.number(COMPRESSION, _UNPACKED) in _DEFLATE:
            try:
                strip = zlib.decompressobj().decompress(strip, need - len(strips) + 1)
            except zlib.error:
                return None
        strips += strip
    return bytes(strips) if 0 < need == len(strips) else None
