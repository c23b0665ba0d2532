"""A picture file of any kind decoded: its pixels as they are stored, and what it says of them."""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from pipeline.inputs import png, tiff
from pipeline.inputs.samples import SampleKind, Samples, Warn
from transforms.io.files import is_local, open_file

MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 * 2**20
# What Pillow reads by itself, and HEIF; of its other formats some run programs, and none are
# pictures.
_FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "FITS", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000"),
    *("PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM"),
    "HEIF",
)
# Those that a file shows by its first bytes.
_BY_CONTENT = tuple(
    name for name in _FORMATS if name not in ("DIB", "ICO", "PCX", "SGI", "TGA", "XBM", "XPM")
)
# Unpackers of 16-bit channels, and those that give the bytes that they leave out, or all of them.
_OTHER_BYTES = {
    "LA;16B": "RGBA",
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGB;16N": f"RGB;16{'B' if sys.byteorder == 'little' else 'L'}",
    "RGBA;16N": f"RGBA;16{'B' if sys.byteorder == 'little' else 'L'}",
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Without it, what Pillow logs of strange files would be written to standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class BadPicture(Exception):
    """A picture that cannot be used: what is wrong, and the remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Decoded:
    """A decoded picture, not yet turned upright.

    `stored`: samples where those have more than 8 bits or a sign, else an image of any of Pillow's
    modes. `turn`: the EXIF orientation (1 … 8) that brings it upright; `orientation`: that of the
    file, which is already applied to some TIFFs. `profile`: its ICC profile. `lossy`: it has the
    noise of JPEG.
    """

    stored: Image.Image | Samples
    turn: int
    orientation: int
    profile: bytes | None
    lossy: bool = False


def is_picture(path: str) -> bool:
    """Whether the first bytes of a file are those of a picture."""
    if not _is_plain(path):
        return False
    try:
        with open_file(path) as file:
            Image.open(file, formats=_built_in(_BY_CONTENT)).close()
    except Image.DecompressionBombError:
        return True
    except Exception:  # decoders raise whatever they stumble on
        return _is_deep_tiff(path)
    return True


def _is_deep_tiff(path: str) -> bool:
    """Whether a file is a TIFF that Pillow does not read, and we do."""
    try:
        with open_file(path) as file:
            if file.read(4) not in tiff.SIGNATURES:
                return False
        data = read_bytes(path)
        pages = tiff.tiff_pages(data)
        return bool(pages) and tiff.stored_samples(data, pages[0]) is not None
    except Exception:  # whatever else it may be
        return False


@functools.cache
def reads_heif() -> bool:
    """Whether the extra for HEIF is here; Pillow reads it from then on."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


@functools.cache
def _built_in(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Those that this Pillow was built with, or has as an extra."""
    Image.init()
    reads_heif()
    return tuple(name for name in formats if name in Image.OPEN)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """`image` as a viewer shows it that heeds this EXIF orientation."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def decode(path: str, warn: Warn) -> Decoded:
    """Decodes a picture file. Raises BadPicture."""
    data = read_bytes(path)
    try:
        return _decode(data, warn)
    except UnidentifiedImageError as error:
        pages = tiff.tiff_pages(data)
        if pages and all(pages[0].size):
            raise BadPicture(
                f"is a TIFF of a kind that cannot be read ({pages[0].bits} bits a sample, sample "
                f"format {pages[0].number(tiff.SAMPLE_FORMAT, 1)}, photometric interpretation "
                f"{pages[0].number(tiff.PHOTOMETRIC)})",
                "Convert it to 8 or 16 bits a sample.",
            ) from error
        raise BadPicture("is not a picture", "Take it away or convert it.") from error
    except Image.DecompressionBombError as error:
        raise BadPicture("has far too many pixels", "Make it smaller.") from error
    except BadPicture:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble on
        raise BadPicture(
            f"is damaged or truncated ({error})", "Copy it anew or take it away."
        ) from error


def _is_plain(path: str) -> bool:
    """Whether reading a path ends: a pipe would wait for ever."""
    return not is_local(path) or os.path.isfile(path) or not os.path.exists(path)


def read_bytes(path: str) -> bytes:
    """Returns all bytes of a file that may hold a picture. Raises BadPicture."""
    if not _is_plain(path):
        raise BadPicture("is not a plain file", "Take it away.")
    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadPicture(f"cannot be read ({error})", "Check the file and its rights.") from error
    if not data:
        raise BadPicture("is empty", "Copy it anew or take it away.")
    if len(data) > MAX_FILE_BYTES:
        raise BadPicture(f"is larger than {MAX_FILE_BYTES >> 20} MiB", "Make it smaller.")
    return data


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadPicture(
            f"has {width}×{height} pixels, more than {MAX_PIXELS // 10**6} million",
            "Make it smaller.",
        )


def _decode(data: bytes, warn: Warn) -> Decoded:
    if data.startswith(png.SIGNATURE):
        return _decode_png(data, warn)
    pages = tiff.tiff_pages(data)
    if pages:
        return _decode_tiff(data, pages, warn)
    image = _open(data)
    if image.format in ("GIF", "WEBP", "AVIF") and getattr(image, "is_animated", False):
        _warn_of_animation(warn)
    pictures = getattr(image, "n_frames", 1)
    if image.format == "HEIF" and pictures > 1:
        warn(f"has {pictures} pictures", "The main one was taken.")
    # Other formats say how many bits count, and Pillow brings them to all 16.
    return _decode_image(data, image, SampleKind(bits=16, significant=16), warn)


def _decode_png(data: bytes, warn: Warn) -> Decoded:
    file = png.take_apart(data)
    if not file.intact:
        raise ValueError("a checksum does not match")
    if file.left_out:
        warn(f"has {' and '.join(file.left_out)} too large or damaged", "Its pixels were read.")
    if file.animated:
        _warn_of_animation(warn)
    kind = SampleKind(bits=16, significant=file.significant_bits)
    decoded = _decode_image(file.data, _open(file.data), kind, warn)
    return dataclasses.replace(decoded, profile=file.profile)


def _warn_of_animation(warn: Warn) -> None:
    warn("is an animation", "Its first frame was taken.")


def _decode_tiff(data: bytes, pages: list[tiff.TiffPage], warn: Warn) -> Decoded:
    pictures = [number for number, page in enumerate(pages) if not page.is_mask] or [0]
    number = max(pictures, key=lambda number: pages[number].size[0] * pages[number].size[1])
    page = pages[number]
    _check_size(*page.size)
    if len(pictures) > 1:
        warn(
            f"has {len(pictures)} pages",
            f"The {'largest' if number else 'first'} was taken ({page.size[0]}×{page.size[1]}).",
        )
    kind = SampleKind(
        bits=page.bits,
        signed=page.signed,
        significant=None if page.bits in (8, 16, 32) else page.bits,
        black=page.declared(tiff.LEAST),
        white=page.declared(tiff.GREATEST),
        inverted=page.number(tiff.PHOTOMETRIC) == tiff.WHITE_IS_ZERO,
    )
    values = tiff.stored_samples(data, page)
    if values is None:
        return _decode_image(data, _open(data, number), kind, warn)
    stored: Image.Image | Samples = Samples(values, kind)
    if page.number(tiff.PHOTOMETRIC) == tiff.YCBCR:
        stored = Image.frombytes("YCbCr", page.size, values.tobytes())
    orientation = page.number(tiff.ORIENTATION, 1)
    return Decoded(stored, orientation, orientation, page.profile)


def _open(data: bytes, page: int = 0) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(data), formats=_built_in(_FORMATS))
    if page:
        image.seek(page)
    _check_size(*image.size)
    return image


def _decode_image(data: bytes, image: ImageFile.ImageFile, kind: SampleKind, warn: Warn) -> Decoded:
    """By Pillow. `kind`: that of samples, where they have more than 8 bits."""
    raw_mode, page = _raw_mode(image), image.tell()
    profile = image.info.get("icc_profile")
    orientation = _orientation(image, warn)
    image.load()
    key = image.info.get("transparency")
    stored: Image.Image | Samples = image
    if image.mode[0] in "IF" or (image.mode == "L" and kind.signed):
        stored = Samples(_one_channel(image, kind), kind, key)
    elif raw_mode in _OTHER_BYTES and (key or _is_dark(image)):
        other = _open(data, page)
        other.tile = [tile._replace(args=_other_args(tile.args)) for tile in other.tile]
        other.load()
        if raw_mode == "LA;16B":
            values = np.asarray(other).view(">u2")
        else:
            values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(other)
        stored = Samples(values, kind, key)
    return Decoded(
        stored=stored,
        turn=1 if image.format == "TIFF" else orientation,  # Pillow has turned those
        orientation=orientation,
        profile=profile,
        lossy=image.format in ("JPEG", "MPO"),
    )


def _one_channel(image: Image.Image, kind: SampleKind) -> np.ndarray:
    values = np.asarray(image)
    if image.mode == "L":
        return values.view(np.int8)
    if image.mode == "I" and kind.bits == 32 and not kind.signed:
        return values.view(np.uint32)
    return values


def _is_dark(image: Image.Image) -> bool:
    """Whether the samples of 16 bits, of which an image has the upper 8, may be of 14 or less."""
    return bool(np.asarray(image)[..., :3].max() < 64)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How Pillow will unpack the file's bytes."""
    args = image.tile[0].args if image.tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _other_args(args: Any) -> Any:
    if isinstance(args, tuple):
        return (_OTHER_BYTES[args[0]], *args[1:])
    return _OTHER_BYTES[args]


def _orientation(image: Image.Image, warn: Warn) -> int:
    """The EXIF orientation of a file, 1 where it says nothing that makes sense."""
    data, value = image.info.get("exif"), 0
    try:
        if isinstance(data, bytes):
            block = tiff.tiff_pages(data.removeprefix(b"Exif\0\0"))
            value = block[0].number(tiff.ORIENTATION) if block else 0
        exif = image.getexif()
        # Pillow finds it in other data too.
        value = value or exif.get(tiff.ORIENTATION, 1)
        if data:
            exif.tobytes()
    except Exception:  # it raises whatever it stumbles on
        warn("has EXIF data that is damaged", "Only how it is turned was read of it.")
    return value if value in _TURNS else 1
