"""TIFF files: what their tags say, and samples of kinds that Pillow does not read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
# Types of values that are numbers or bytes: their codes for struct.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d"}
_MAX_PAGES = 100
_MAX_VALUES = 2**20
_KINDS = {1: "u", 2: "i", 3: "f"}
_UNPACKED, _DEFLATE = 1, (8, 32946)

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, STRIP_BYTES, PLANAR = 273, 274, 277, 279, 284
PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT, LEAST, GREATEST = 317, 338, 339, 340, 341
SUBFILE_TYPE, SUBSAMPLING, PROFILE = 254, 530, 34675
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6
_TRANSPARENCY_MASK = 4


@dataclass(frozen=True)
class TiffPage:
    """One picture of a TIFF file: its tags, each with one or more numbers."""

    order: str
    tags: dict[int, tuple[float, ...]]

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

    @property
    def profile(self) -> bytes | None:
        values = self.tags.get(PROFILE)
        return bytes(int(value) & 255 for value in values) if values else None

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
            pages.append(TiffPage(order, dict(_tags(data, order, start + 2, count))))
            (start,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * count)
    except struct.error:
        pass
    return pages


def _tags(
    data: bytes, order: str, start: int, count: int
) -> Iterator[tuple[int, tuple[float, ...]]]:
    for entry in range(start, start + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, entry)
        code = _TYPES.get(kind)
        if code is None or not 0 < number <= (2**25 if tag == PROFILE else _MAX_VALUES):
            continue
        values = f"{order}{number}{code}"
        place = entry + 8
        if struct.calcsize(values) > 4:
            (place,) = struct.unpack_from(f"{order}I", data, place)
        if place + struct.calcsize(values) <= len(data):
            yield tag, struct.unpack_from(values, data, place)


def stored_samples(data: bytes, page: TiffPage) -> np.ndarray | None:
    """The samples of a grey, RGB or YCbCr page as they are stored, [h, w] or [h, w, C].

    None for a page of another kind, of samples that are 8 plain bits or less (but YCbCr's, which
    Pillow does not read), or compressed but for deflate: Pillow reads what it can of these.
    """
    bits, kind = page.tags.get(BITS, (1,)), _KINDS.get(page.number(SAMPLE_FORMAT, 1))
    (width, height), channels = page.size, page.number(SAMPLES, 1)
    photometric = page.number(PHOTOMETRIC, -1)
    plain = kind == "u" and bits[0] <= 8 and photometric != YCBCR
    if (
        kind is None
        or plain
        or len(set(bits)) > 1
        or page.bits not in ((16, 32, 64) if kind == "f" else (8, 16, 32))
        or photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR)
        or page.number(PLANAR, 1) != 1
        or page.number(PREDICTOR, 1) != 1
        or page.number(COMPRESSION, _UNPACKED) not in (_UNPACKED, *_DEFLATE)
    ):
        return None
    need = width * height * channels * page.bits // 8
    strips = []
    for offset, size in zip(
        page.tags.get(STRIP_OFFSETS, ()), page.tags.get(STRIP_BYTES, ()), strict=False
    ):
        strip = data[int(offset) : int(offset + size)]
        if page.number(COMPRESSION, _UNPACKED) in _DEFLATE:
            try:
                strip = zlib.decompressobj().decompress(strip, need)
            except zlib.error:
                return None
        strips.append(strip)
    joined = b"".join(strips)
    if not need or len(joined) < need or (photometric == YCBCR and len(joined) > need):
        return None
    values = np.frombuffer(joined[:need], f"{page.order}{kind}{page.bits // 8}")
    shape = (height, width) if channels == 1 else (height, width, channels)
    return values.reshape(shape).astype(values.dtype.newbyteorder("="))
