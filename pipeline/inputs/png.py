"""PNG files without what stands beside their pixels, which Pillow may stumble on."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
# Pillow refuses more text in a file; some of it says how a picture is turned.
_MAX_TEXT = 2**20
_MAX_PROFILE = 32 * 2**20


@dataclass(frozen=True)
class PngFile:
    """A PNG taken apart.

    `data`: the file with its pixels, EXIF data and text of up to 1 MiB alone. `profile`: its ICC
    profile. `significant_bits`: those of a sample, where it declares them (sBIT). `left_out`: what
    was dropped because it is damaged or too large. `intact`: the checksums of its pixels match,
    which Pillow does not look at.
    """

    data: bytes
    profile: bytes | None = None
    significant_bits: int | None = None
    animated: bool = False
    left_out: tuple[str, ...] = ()
    intact: bool = True


def take_apart(data: bytes) -> PngFile:
    """Never raises: where chunks are damaged, the rest is left to the decoder as it is."""
    kept, left_out = [SIGNATURE], []
    profile = significant_bits = None
    animated, intact = False, True
    room = _MAX_TEXT
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        kind = data[start + 4 : start + 8]
        stop = start + 12 + length
        if stop > len(data):
            break
        chunk = data[start:stop]
        body = memoryview(chunk)[8:-4]
        whole = zlib.crc32(memoryview(chunk)[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if kind in _PIXELS:
            intact = intact and whole
            kept.append(chunk)
        elif kind == b"eXIf" and whole:
            kept.append(chunk)
        elif kind in _TEXT:
            room -= _text_bytes(kind, bytes(body), room)
            if room < 0 or not whole:
                left_out.append("text")
            else:
                kept.append(chunk)
        elif kind == b"iCCP":
            profile = _unpacked(bytes(body).partition(b"\0")[2][1:], _MAX_PROFILE)
            if profile is None:
                left_out.append("its colour profile")
        elif kind == b"sBIT" and 0 < max(body, default=0) <= 16:
            significant_bits = max(body)
        elif kind == b"acTL":
            animated = True
        elif kind == b"eXIf":
            left_out.append("EXIF data")
        start = len(data) if kind == b"IEND" else stop
    kept.append(data[start:])
    return PngFile(
        b"".join(kept), profile, significant_bits, animated, tuple(dict.fromkeys(left_out)), intact
    )


def _text_bytes(kind: bytes, body: bytes, room: int) -> int:
    """How much a chunk of text holds, or more than `room` where that is more."""
    if len(body) > room or kind == b"tEXt":
        return len(body)
    packed = body.partition(b"\0")[2]
    if kind == b"iTXt":
        if packed[:1] != b"\1":  # not compressed
            return len(body)
        packed = packed[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        packed = packed[1:]
    unpacked = _unpacked(packed, max(room, 1))
    return room + 1 if unpacked is None else len(unpacked)


def _unpacked(data: bytes, limit: int) -> bytes | None:
    """The bytes in a zlib stream; None where it is damaged or holds more than `limit`."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(data, limit)
    except zlib.error:
        return None
    return unpacked if stream.eof else None
