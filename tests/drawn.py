"""Pictures and files that tests of inputs draw for themselves."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.inputs import Finding, InputFolders, PreparedSet, prepare_inputs
from pipeline.recipes import load_recipe
from transforms.cutout import Cutout
from transforms.prepared import PreparedInputs

RECIPE = ("canvas={width: 96, height: 80}", "foregrounds.size={mode: native}")


def wall(width: int = 96, height: int = 80) -> np.ndarray:
    """A background of many colours, uint8 [height, width, 3]."""
    rows, columns = np.mgrid[:height, :width]
    red, green = columns * 255 // max(width - 1, 1), rows * 255 // max(height - 1, 1)
    return np.dstack([red, green, (columns // 8 + rows // 8) % 2 * 120 + 20]).astype(np.uint8)


def ball(width: int = 40, height: int = 40, radius: float = 14) -> np.ndarray:
    """The shape that masks have here, off the middle, bool [height, width]."""
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows - height / 2, columns - width / 2 + 2) < radius


def photo(width: int = 40, height: int = 40) -> np.ndarray:
    """An opaque foreground in which every pixel is another colour, uint8 [height, width, 3]."""
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns * 5 + 30, rows * 5 + 20, (rows + columns) * 2]).astype(np.uint8)


def rgba(shape: np.ndarray, colour: tuple[int, int, int] = (200, 120, 30)) -> Image.Image:
    """A cut-out of one colour."""
    pixels = np.zeros((*shape.shape, 4), np.uint8)
    pixels[shape] = (*colour, 255)
    return Image.fromarray(pixels)


class World:
    """Folders of inputs that a test fills, with one good background and one good foreground."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("b", "f", "m"):
            (root / name).mkdir(parents=True)
        Image.fromarray(wall()).save(root / "b" / "wall.png")

    def save(self, name: str, image: Image.Image | np.ndarray | bytes, **options: object) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
            image.save(path, **options)
        return path

    def prepare(self, *settings: str, masks: bool = False, skip_bad: bool = False) -> PreparedSet:
        folders = InputFolders(*(str(self.root / name) for name in ("bfm" if masks else "bf")))
        recipe = load_recipe("default", [*RECIPE, *settings])
        return prepare_inputs(folders, recipe, str(self.root / "out"), skip_bad)

    def background(self, name: str, *settings: str) -> tuple[np.ndarray, list[Finding]]:
        """As prepared, beside a foreground that is good; and what was told of it."""
        self.save("f/chair.png", rgba(ball()))
        prepared = self.prepare(*settings)
        findings = [each for each in prepared.findings if each.file.startswith(name)]
        return PreparedInputs(prepared.source).background(name), findings

    def foreground(
        self, name: str, *settings: str, masks: bool = False
    ) -> tuple[Cutout, list[Finding]]:
        """As prepared, and what was told of it and of its mask."""
        prepared = self.prepare(*settings, masks=masks)
        findings = [each for each in prepared.findings if each.file.startswith(name)]
        return PreparedInputs(prepared.source).foreground(name), findings


def told(findings: list[Finding]) -> str:
    """What was told, in one text."""
    return "\n".join(map(str, findings))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of uint8 or uint16 [h, w] or [h, w, C], with chunks before its pixels."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, bits, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    length = len(rows) // height
    packed = zlib.compress(
        b"".join(b"\0" + rows[i * length : (i + 1) * length] for i in range(height))
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + b"".join(png_chunk(*chunk) for chunk in chunks)
        + png_chunk(b"IDAT", packed)
        + png_chunk(b"IEND", b"")
    )


_TIFF_CODES = {3: "H", 4: "I", 8: "h", 9: "i", 11: "f", 12: "d"}
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(
    pixels: np.ndarray,
    order: str = "<",
    photometric: int | None = None,
    tags: dict[int, tuple[int, float]] | None = None,
    deflate: bool = False,
) -> bytes:
    """A TIFF of any samples [h, w] or [h, w, 3], with tags of (type, value) besides."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if deflate:
        data = zlib.compress(data)
    if photometric is None:
        photometric = 1 if channels == 1 else 2
    values: dict[int, tuple[int, list[float]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [pixels.dtype.itemsize * 8] * channels),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        273: (4, [8]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(data)]),
        339: (3, [_FORMATS[pixels.dtype.kind]] * channels),
    }
    values |= {tag: (kind, [value]) for tag, (kind, value) in (tags or {}).items()}
    start = 8 + len(data)
    entries, rest = b"", b""
    after = start + 2 + 12 * len(values) + 4
    for tag, (kind, numbers) in sorted(values.items()):
        packed = struct.pack(f"{order}{len(numbers)}{_TIFF_CODES[kind]}", *numbers)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", after + len(rest))
            rest += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    return head + data + struct.pack(f"{order}H", len(values)) + entries + b"\0" * 4 + rest
