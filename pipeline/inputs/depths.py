"""Measured depth of a background: read from its file, fitted to the canvas as its picture is."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipeline.inputs.backgrounds import PreparedBackground
from pipeline.inputs.decoding import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    BadPicture,
    decode,
    read_bytes,
    turned,
)
from pipeline.inputs.findings import Finding
from pipeline.inputs.folders import InputFile
from pipeline.inputs.pictures import lying_as
from pipeline.inputs.samples import Samples, Warn
from pipeline.recipes import Recipe
from transforms.depth import DepthMap, DepthStorage, Layers, PictureSize

# How much the ratios of width to height of a picture and its depth may differ: rounding.
_ASPECT = 1.02
# A larger share of pixels beyond the range of storage is a mistake.
_CLIPPED = 0.01
_NEAREST = Image.Resampling.NEAREST
_DEPTH_KINDS = "16-bit grey PNG or TIFF, or fractions of metres as .npy, .npz or TIFF"


@dataclass(frozen=True)
class MeasuredDepth:
    """A background's depth. `median`: of what is known, in metres."""

    map: DepthMap
    median: float


def measured_layers(recipe: Recipe) -> Layers:
    """How measured depth is drawn."""
    canvas = PictureSize(width=recipe.canvas.width, height=recipe.canvas.height)
    return Layers(recipe.depth.size or canvas, recipe.depth.absolute, inverse=False, measured=True)


def prepare_depth(
    file: InputFile,
    background: PreparedBackground,
    picture_name: str,
    recipe: Recipe,
    findings: list[Finding],
) -> MeasuredDepth:
    """Reads the depth in `file`, of the picture of that name. Raises BadPicture."""
    try:
        metres = _fitted(_upright(file, background, picture_name, recipe, findings), recipe)
        known = metres[metres > 0]
        if not known.size:
            raise BadPicture(
                "has no pixel of known depth (above 0, finite)", "Give its measurement."
            )
        unknown = 1 - known.size / metres.size
        _check_storage(known, unknown, recipe.depth)
    except BadPicture as error:
        raise BadPicture(f"its depth {file.file} {error.problem}", error.remedy) from error
    depth = measured_layers(recipe).map(metres, recipe.depth)
    return MeasuredDepth(depth, float(np.median(known)))


def _check_storage(known: np.ndarray, unknown: float, storage: DepthStorage) -> None:
    if not storage.absolute and unknown:
        raise BadPicture(
            f"is unknown in {unknown:.1%} of its pixels, for which {storage.storage} has no value",
            "Set depth.storage to metric16.",
        )
    if storage.clipped_share(known) > _CLIPPED:
        raise BadPicture(
            f"goes from {known.min():.4g} to {known.max():.4g} m, which does not fit into 16 bits "
            f"in steps of {storage.scale:g} m",
            "Correct depth.measured_unit or depth.scale.",
        )


def _upright(
    file: InputFile,
    background: PreparedBackground,
    name: str,
    recipe: Recipe,
    findings: list[Finding],
) -> Image.Image:
    """Metres lying as the picture does, 0 where unknown: mode F."""
    warn = file.warn_into(findings)
    picture = background.picture
    values, orientation = _read(file.path, warn)
    if values.dtype.kind in "iu":
        metres = values.astype(np.float32) * np.float32(recipe.depth.measured_unit)
    else:
        metres = values.astype(np.float32)
    known = np.isfinite(metres) & (metres > 0)
    image = turned(Image.fromarray(np.where(known, metres, np.float32(0))), orientation)
    alike = lying_as(image, orientation, picture, f"picture {name}", warn, _ASPECT)
    size = picture.image.size
    if alike is None:
        raise BadPicture(
            f"is {image.width}×{image.height}, of another shape than its {size[0]}×{size[1]}",
            "Give depth of just what the picture shows.",
        )
    if alike.size != size:
        warn(
            f"is {alike.width}×{alike.height} and its picture {name} is {size[0]}×{size[1]}",
            "Of each pixel the nearest depth was taken.",
        )
    return alike


def _fitted(image: Image.Image, recipe: Recipe) -> np.ndarray:
    """Metres as large as stored maps, float32: of each pixel the nearest, none mixed."""
    canvas = recipe.canvas
    size = (canvas.width, canvas.height)
    match canvas.fit:
        case "crop":
            image = ImageOps.fit(image, size, _NEAREST)
        case "stretch":
            image = image.resize(size, _NEAREST)
        case "pad":  # beside the picture nothing is known
            image = ImageOps.pad(image, size, _NEAREST, color=0)
    stored = measured_layers(recipe).size
    return np.asarray(image.resize((stored.width, stored.height), _NEAREST))


def _read(path: str, warn: Warn) -> tuple[np.ndarray, int]:
    """Numbers [h, w] of a file, as stored, and the EXIF orientation that brings them upright."""
    orientation = 1
    if path.lower().endswith((".npy", ".npz")):
        data = read_bytes(path)
        try:
            values = _of_npz(data) if path.lower().endswith(".npz") else _of_npy(data)
        except BadPicture:
            raise
        except Exception as error:  # readers of damaged files raise whatever they stumble on
            raise BadPicture(f"is damaged or no NumPy file ({error})", "Copy it anew.") from error
    else:
        decoded = decode(path, warn)
        if not isinstance(decoded.stored, Samples):
            raise BadPicture("has 8 bits a sample or colours", f"Give {_DEPTH_KINDS}.")
        values, orientation = decoded.stored.values, decoded.turn
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[..., 0] if values.shape[2] == 1 else values[0]
    if values.ndim != 2 or values.dtype.kind not in "iuf" or not values.size:
        raise BadPicture(
            f"holds {values.dtype} {list(values.shape)}, not numbers [height, width]",
            f"Give {_DEPTH_KINDS}.",
        )
    return values, orientation


def _of_npz(data: bytes) -> np.ndarray:
    """The one array in an archive, or that called depth."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        chosen = names if len(names) == 1 else [name for name in names if name == "depth.npy"]
        if len(chosen) != 1:
            listed = ", ".join(name.removesuffix(".npy") for name in names[:6])
            raise BadPicture(f"holds {len(names)} arrays ({listed})", "Call one of them depth.")
        with archive.open(chosen[0]) as member:
            inside = member.read(MAX_FILE_BYTES + 1)  # whatever size the archive claims
    if len(inside) > MAX_FILE_BYTES:
        raise BadPicture(f"holds more than {MAX_FILE_BYTES >> 20} MiB", "Make it smaller.")
    return _of_npy(inside)


def _of_npy(data: bytes) -> np.ndarray:
    """An array of plain numbers, whose header says just what is there; nothing is executed."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise BadPicture(f"is of NumPy's format {version}", "Save it anew by numpy.save.")
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        raise BadPicture("holds Python objects, which are not loaded", "Save numbers alone.")
    count = 1
    for side in shape:  # of any length: Python's whole numbers do not overflow
        count *= side
    if count > MAX_PIXELS or stream.tell() + count * dtype.itemsize != len(data):
        raise BadPicture(
            f"says that it holds {list(shape)} {dtype}, and has {len(data):,} bytes",
            "Copy it anew.",
        )
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
