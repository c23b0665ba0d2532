"""Zip files whose parts are written separately and joined by copying bytes.

Entries are dated 1980-01-01, the first day that the format knows, so that equal content gives equal
bytes. The layout is that of PKWARE's APPNOTE, with the ZIP64 records (4.3.14, 4.3.15, 4.5.3) only
where they are needed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import imagecodecs

_DATE = 1 << 5 | 1
_UTF8 = 1 << 11
_VERSION, _VERSION_64 = 20, 45
_UNIX_FILE = 0o100644 << 16
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_HEADER = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_LEVEL = 1  # of libdeflate: pictures are compressed already


@dataclass(frozen=True)
class ZipEntry:
    """A file's entry: what is said of it in front of its data and in the directory at the end.

    `size`: bytes of the file. `stored`: bytes that the zip has of it.
    """

    name: str
    crc32: int
    size: int
    stored: int
    method: int = _STORED

    @classmethod
    def parse(cls, data: bytes) -> ZipEntry:
        """Returns the entry whose header `data` begins with."""
        *_, method, _, _, crc32, stored, size, length, _ = _HEADER.unpack_from(data)
        return cls(data[_HEADER.size :][:length].decode(), crc32, size, stored, method)

    @property
    def length(self) -> int:
        """Bytes of header and data."""
        return _HEADER.size + len(self.name.encode()) + self.stored

    def header(self) -> bytes:
        """Returns what precedes the file's data. Raises ValueError for 4 GiB and more."""
        if self.size >= _MAX_32:
            raise ValueError(f"{self.name}: files of 4 GiB and more do not go into a zip")
        name = self.name.encode()
        fields = (_VERSION, _UTF8, self.method, 0, _DATE, self.crc32, self.stored, self.size)
        return _HEADER.pack(b"PK\x03\x04", *fields, len(name), 0) + name

    def directory_record(self, offset: int) -> bytes:
        """Returns the file's record in the directory; `offset`: that of its header."""
        name = self.name.encode()
        extra, version, place = b"", _VERSION, offset
        if offset >= _MAX_32:
            extra, version, place = struct.pack("<2HQ", 1, 8, offset), _VERSION_64, _MAX_32
        fields = (3 << 8 | version, version, _UTF8, self.method, 0, _DATE, self.crc32)
        more = (self.stored, self.size, len(name), len(extra), 0, 0, 0, _UNIX_FILE, place)
        return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields, *more) + name + extra


def zip_file(name: str, data: bytes, deflated: bool) -> bytes:
    """Returns what a zip has of a file: header and data."""
    crc32 = zlib.crc32(data)
    if not deflated:
        return ZipEntry(name, crc32, len(data), len(data)).header() + data
    packed = bytes(imagecodecs.deflate_encode(data, _LEVEL, raw=True))
    return ZipEntry(name, crc32, len(data), len(packed), _DEFLATED).header() + packed


def end_of_directory(entries: int, size: int, offset: int) -> bytes:
    """Returns what follows a directory of `entries` records, `size` bytes long, at `offset`."""
    wide = b""
    if entries >= _MAX_16 or size >= _MAX_32 or offset >= _MAX_32:
        fields = (44, 3 << 8 | _VERSION_64, _VERSION_64, 0, 0, entries, entries, size, offset)
        wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", *fields)
        wide += struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size, 1)
    count = min(entries, _MAX_16)
    places = (min(size, _MAX_32), min(offset, _MAX_32), 0)
    return wide + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, *places)
