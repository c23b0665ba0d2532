"""Opening a picture file of any kind."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from transforms.io.files import open_file

MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 * 2**20


class BadPicture(Exception):
    """A picture that cannot be used: what is wrong, and the remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def open_picture(path: str) -> Image.Image:
    """The picture in a file: whole, upright, 8 bits, in mode L, LA, RGB or RGBA."""
    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadPicture(f"cannot be read ({error})", "Check the file and its rights.") from error
    if not data:
        raise BadPicture("is empty", "Copy it anew or take it away.")
    if len(data) > MAX_FILE_BYTES:
        raise BadPicture(f"is larger than {MAX_FILE_BYTES >> 20} MiB", "Make it smaller.")
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise BadPicture(
                f"has {image.width}×{image.height} pixels, more than {MAX_PIXELS // 10**6} million",
                "Make it smaller.",
            )
        image.load()
        image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise BadPicture("is not a picture", "Take it away or convert it.") from error
    except Image.DecompressionBombError as error:
        raise BadPicture("has far too many pixels", "Make it smaller.") from error
    except BadPicture:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble on
        raise BadPicture(
            f"is damaged or truncated ({error})", "Copy it anew or take it away."
        ) from error
    return _eight_bit(image)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise BadPicture("has values that are no numbers", "Take it away or convert it.")
        largest = values.max(initial=0)
        peak = 65535 if largest > 255 else 1 if image.mode == "F" and largest <= 1 else 255
        return Image.fromarray(np.clip(values * (255 / peak), 0, 255).astype(np.uint8))
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    has_alpha = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    return image.convert("RGBA" if has_alpha else "RGB")
