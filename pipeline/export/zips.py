"""Zip files whose parts are written separately and joined by copying bytes.

Entries are stored, not compressed (pictures are compressed already), and dated 1980-01-01, the
first day that the format knows, so that equal content gives equal bytes. The layout is that of
PKWARE's APPNOTE, with the ZIP64 records (4.3.14, 4.3.15, 4.5.3) only where they are needed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_DATE = 1 << 5 | 1
_UTF8 = 1 << 11
_VERSION, _VERSION_64 = 20, 45
_UNIX_FILE = 0o100644 << 16
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True)
class ZipEntry:
    """A file's entry in the directory at the end of a zip file."""

    name: str
    crc32: int
    size: int

    @classmethod
    def of(cls, name: str, data: bytes) -> ZipEntry:
        return cls(name, zlib.crc32(data), len(data))

    @property
    def stored_size(self) -> int:
        """Bytes of header and data."""
        return 30 + len(self.name.encode()) + self.size

    def header(self) -> bytes:
        """Returns what precedes the file's data. Raises ValueError for 4 GiB and more."""
        if self.size >= _MAX_32:
            raise ValueError(f"{self.name}: pictures of 4 GiB and more do not go into a zip")
        name = self.name.encode()
        fields = (_VERSION, _UTF8, 0, 0, _DATE, self.crc32, self.size, self.size, len(name), 0)
        return struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name

    def directory_record(self, offset: int) -> bytes:
        """Returns the file's record in the directory; `offset`: that of its header."""
        name = self.name.encode()
        extra, version, place = b"", _VERSION, offset
        if offset >= _MAX_32:
            extra, version, place = struct.pack("<2HQ", 1, 8, offset), _VERSION_64, _MAX_32
        fields = (3 << 8 | version, version, _UTF8, 0, 0, _DATE, self.crc32, self.size, self.size)
        more = (len(name), len(extra), 0, 0, 0, _UNIX_FILE, place)
        return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields, *more) + name + extra


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
