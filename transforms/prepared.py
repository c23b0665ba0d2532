"""The prepared inputs as workers read them: each picture once, into a bounded cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import IO, Generic, TypeVar, cast

import numpy as np
from PIL import Image

from depthmask.manifest import BACKGROUND_DEPTHS, BACKGROUNDS, FOREGROUNDS
from depthmask.records import (
    FRAME_BYTES,
    FeatureValue,
    frame_record,
    parse_example,
    read_records,
    serialize_example,
    unframe_records,
)
from transforms.codecs import channels_last, encode_png, open_image
from transforms.cutout import Cutout, Drawing, Stamp, Transform
from transforms.depth.layers import DepthMap
from transforms.elements import Placement
from transforms.io.files import is_local, join, open_file

# What one worker process keeps of each: backgrounds, their depth, cut-outs, and these ready to be
# pasted.
CACHE_BYTES = 128 * 2**20
_COPY_BYTES = 8 * 2**20
_Picture = TypeVar("_Picture")


@dataclass(frozen=True)
class PreparedPicture:
    """Where a prepared picture lies in its TFRecord file, and what planning needs to know of it.

    `width` × `height` is the canvas size of a background, and of a foreground the size at which
    it is drawn at scale 1. `label` is a background's class (its folder's name, or empty).
    `pixels` is a hash of its pixels, by which twins under two names are known; 0: not known.
    """

    name: str
    width: int
    height: int
    offset: int
    length: int
    label: str = ""
    pixels: int = 0

    @classmethod
    def of_record(cls, record: bytes, offset: int) -> PreparedPicture:
        """That of an unframed record, whose frame begins at `offset` of its file."""
        features = parse_example(record)
        image = features.get("depth", features.get("image"))
        if not isinstance(image, bytes) or not {"name", "width", "height"} <= features.keys():
            raise ValueError("a record that is of no prepared picture")
        return cls(
            name=_text(features["name"]),
            width=int(features["width"]),
            height=int(features["height"]),
            offset=offset,
            length=len(record) + FRAME_BYTES,
            label=_text(features.get("class", b"")),
            # One encoder has written them all: the same pixels have the same bytes.
            pixels=int.from_bytes(hashlib.blake2b(image, digest_size=8).digest(), "little"),
        )


def background_record(name: str, label: str, image: Image.Image) -> bytes:
    """A framed record of a prepared background: name, class, image (PNG), width, height."""
    features: dict[str, FeatureValue] = {
        "name": name,
        "class": label,
        "image": encode_png(channels_last(image)),
        "width": image.width,
        "height": image.height,
    }
    return frame_record(serialize_example(features))


def foreground_record(name: str, cutout: Cutout, width: int, height: int) -> bytes:
    """A framed record of a prepared foreground: name, image (PNG with alpha), mask (PNG).

    `width` × `height` is the size at which it is drawn at scale 1; the pictures may be larger.
    """
    image = cutout.colour.copy()
    image.putalpha(cutout.alpha)
    features: dict[str, FeatureValue] = {
        "name": name,
        "image": encode_png(channels_last(image)),
        "mask": encode_png(cutout.mask[..., None]),
        "width": width,
        "height": height,
    }
    return frame_record(serialize_example(features))


def depth_record(name: str, depth: DepthMap) -> bytes:
    """A framed record of a background's depth: name, depth (16-bit PNG, steps), width, height."""
    height, width = depth.steps.shape
    features: dict[str, FeatureValue] = {
        "name": name,
        "depth": encode_png(depth.steps[..., None]),
        "width": width,
        "height": height,
    }
    return frame_record(serialize_example(features))


def open_png(data: bytes | int) -> Image.Image:
    """Decodes a PNG that this project wrote."""
    if not isinstance(data, bytes):
        raise ValueError(f"a PNG is bytes, not {type(data).__name__}")
    image = open_image(data)
    image.load()
    return image


def decode_foreground(features: dict[str, bytes | int]) -> Cutout:
    """The cut-out in a record that `foreground_record` wrote."""
    image = open_png(features["image"])
    colour = image.convert("L" if image.mode == "LA" else "RGB")
    alpha, mask = image.getchannel("A"), np.asarray(open_png(features["mask"]))
    return Cutout(colour, alpha, mask, mask_is_alpha=np.array_equal(mask, np.asarray(alpha)))


@dataclass(frozen=True)
class PreparedSource:
    """Where the prepared inputs lie: all that a worker needs to open them.

    `depths`: of the backgrounds, in their order; empty where there is none, or it is not known yet.
    """

    backgrounds_path: str
    backgrounds: tuple[PreparedPicture, ...]
    foregrounds_path: str
    foregrounds: tuple[PreparedPicture, ...]
    depths_path: str = ""
    depths: tuple[PreparedPicture, ...] = ()

    def moved(self, folder: str) -> PreparedSource:
        """The same files in another folder."""
        backgrounds_path, foregrounds_path = _paths(folder)
        return replace(
            self,
            backgrounds_path=backgrounds_path,
            foregrounds_path=foregrounds_path,
            depths_path=join(folder, BACKGROUND_DEPTHS),
        )

    def with_depths(self, folder: str) -> PreparedSource:
        """With the backgrounds' depth that a dataset holds.

        Raises OSError or ValueError for a damaged file, or one of other backgrounds.
        """
        path = join(folder, BACKGROUND_DEPTHS)
        depths = _read_pictures(path)
        if [depth.name for depth in depths] != [picture.name for picture in self.backgrounds]:
            raise ValueError(f"{path} is of other backgrounds")
        return replace(self, depths_path=path, depths=depths)

    @classmethod
    def of_dataset(cls, folder: str) -> PreparedSource:
        """The inputs that a dataset holds. Raises OSError or ValueError for damaged files."""
        backgrounds_path, foregrounds_path = _paths(folder)
        return cls(
            backgrounds_path,
            _read_pictures(backgrounds_path),
            foregrounds_path,
            _read_pictures(foregrounds_path),
        )


def _paths(folder: str) -> tuple[str, str]:
    return join(folder, BACKGROUNDS), join(folder, FOREGROUNDS)


def _read_pictures(path: str) -> tuple[PreparedPicture, ...]:
    pictures = []
    offset = 0
    with open_file(path) as file:
        for record in read_records(file):
            pictures.append(PreparedPicture.of_record(record, offset))
            offset += pictures[-1].length
    return tuple(pictures)


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class PreparedInputs:
    """Random access by name to backgrounds, their depth and foregrounds, prepared.

    What is decoded is kept, least recently used first out, within `CACHE_BYTES` for each kind.
    """

    def __init__(self, source: PreparedSource) -> None:
        self._background_file = _PictureFile(source.backgrounds_path)
        self._foreground_file = _PictureFile(source.foregrounds_path)
        self._depth_file = _PictureFile(source.depths_path)
        self._backgrounds = {picture.name: picture for picture in source.backgrounds}
        self._foregrounds = {picture.name: picture for picture in source.foregrounds}
        self._depths = {picture.name: picture for picture in source.depths}
        self.kept_depths: PictureCache[DepthMap] = PictureCache(CACHE_BYTES)
        self.kept_backgrounds: PictureCache[np.ndarray] = PictureCache(CACHE_BYTES)
        self.kept_foregrounds: PictureCache[Cutout] = PictureCache(CACHE_BYTES)
        self.kept_stamps: PictureCache[Stamp] = PictureCache(CACHE_BYTES)

    def background(self, name: str) -> np.ndarray:
        """A background, uint8 [H, W, C] as large as the canvas, not to be written to."""
        pixels = self.kept_backgrounds.get(name)
        if pixels is None:
            pixels = channels_last(
                open_png(self._background_file.read(self._backgrounds[name])["image"])
            )
            self.kept_backgrounds.keep(name, pixels, pixels.nbytes)
        return pixels

    def background_depth(self, name: str) -> DepthMap:
        """The depth of a background."""
        depth = self.kept_depths.get(name)
        if depth is None:
            image = open_png(self._depth_file.read(self._depths[name])["depth"])
            depth = DepthMap(np.asarray(image, np.uint16))
            self.kept_depths.keep(name, depth, depth.bytes)
        return depth

    def foreground(self, name: str, transform: Transform | None = None) -> Cutout:
        """A cut-out at the size at which it is stored, transformed."""
        cutout = self.kept_foregrounds.get((name, transform))
        if cutout is None:
            if transform:
                cutout = self.foreground(name).transformed(transform)
            else:
                cutout = decode_foreground(self._foreground_file.read(self._foregrounds[name]))
            self.kept_foregrounds.keep((name, transform), cutout, cutout.bytes)
        return cutout

    def stamp(self, placement: Placement, drawing: Drawing) -> Stamp:
        """The cut-out of an example as it is drawn.

        Kept if its size is that at which it is stored: others are of one example each.
        """
        name, transform = placement.foreground, drawing.transform(placement)
        size = placement.width, placement.height
        stamp = self.kept_stamps.get((name, transform, size, drawing))
        if stamp is None:
            cutout = self.foreground(name, transform)
            stamp = Stamp.of(drawing.resize(cutout, *size), drawing.levels)
            if cutout.colour.size == size:
                self.kept_stamps.keep((name, transform, size, drawing), stamp, stamp.bytes)
        return stamp


class PictureCache(Generic[_Picture]):
    """Keeps pictures within `capacity` bytes, least recently used first out, for any thread.

    The newest is kept however large it is. `bytes` are those of all that are kept.
    """

    def __init__(self, capacity: int) -> None:
        self.bytes = 0
        self._capacity = capacity
        self._kept: OrderedDict[Hashable, tuple[_Picture, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> _Picture | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, picture: _Picture, size: int) -> None:
        """Keeps a picture of `size` bytes, in place of what another thread may have read."""
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self._kept[key] = picture, size
            self.bytes += size - before
            while self.bytes > self._capacity and len(self._kept) > 1:
                _, (_, size) = self._kept.popitem(last=False)
                self.bytes -= size


class _PictureFile:
    """One of the files, open for reads at any place by any thread.

    One that lies elsewhere is copied to this machine's disk at the first read: there may be more
    pictures than the cache holds, and a request for each would be most of the work. The copy has
    no name, so that nothing is left of it however the process ends.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def read(self, picture: PreparedPicture) -> dict[str, bytes | int]:
        with self._lock:
            self._file = self._file or self._open()
        data = os.pread(self._file.fileno(), picture.length, picture.offset)
        (record,) = unframe_records(data)
        return parse_example(record)

    def _open(self) -> IO[bytes]:
        if is_local(self._path):
            return cast(IO[bytes], open_file(self._path))
        copy = tempfile.TemporaryFile()  # noqa: SIM115
        with open_file(self._path) as file:
            shutil.copyfileobj(file, copy, _COPY_BYTES)
        copy.flush()
        return copy
