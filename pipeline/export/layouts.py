"""The layouts: which files an export has, and what is in them.

How the five teams stored their datasets is known from their descriptions: encodings, numbers of
zips, index columns. Exact file names are not; those here are of their kind, and each layout below
says them. Everywhere BG and FG are the names of the two pictures, FLIP is 0 or 1, K the number of
the placement with two digits; what is no letter, digit or hyphen in a name is percent-encoded, so
that names can be split at ``_``, ``.``, ``,`` and spaces.
"""

from __future__ import annotations

import abc
import csv
import functools
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from depthmask.errors import UserError
from pipeline.export.pictures import DepthForm, Form, Picture
from transforms.depth import depth_in_metres
from transforms.index import INDEX_COLUMNS

if TYPE_CHECKING:  # names of layouts are wanted where nothing of this is
    from depthmask.manifest import DepthMeaning
    from pipeline.dataset import Dataset
    from transforms.prepared import PreparedPicture, PreparedSource

# File systems take 255 bytes; the rest is for what layouts put around an example's name.
MAX_NAME = 220
_NPZ_EXAMPLES = 4000
_SAMPLE = 500


@dataclass(frozen=True)
class File:
    """A file of an export: `name` in `container` (a .zip or .tar file), or None: in the folder.

    Containers of another kind are files that are the joined `data` of all that goes into them: the
    lines of a .csv or .txt, the rows of the array in an .npz.
    """

    container: str | None
    name: str
    data: bytes


@dataclass(frozen=True)
class Example:
    """One example, its pictures in the layout's forms.

    `number` counts all examples of the dataset from 0, split by split, in the order of index.csv.
    `stored_depth` is the depth map as the dataset holds it.
    """

    number: int
    total: int
    split: str
    shard: int
    features: Mapping[str, Any]
    pictures: Mapping[str, Picture]
    stored_depth: bytes | None
    depth: DepthMeaning | None

    @property
    def background(self) -> str:
        return flat_name(self.features["background"])

    @property
    def foreground(self) -> str:
        return flat_name(self.features["foreground"])

    @property
    def numbers(self) -> str:
        """FLIP_K."""
        return f"{self.features['flip']}_{self.features['placement']:02d}"

    @property
    def stem(self) -> str:
        """BG_FG_FLIP_K."""
        return f"{self.background}_{self.foreground}_{self.numbers}"

    def part(self, parts: int) -> int:
        """Which of so many runs of equal length it is in, from 1."""
        return self.number * parts // self.total + 1


@functools.lru_cache(4096)
def flat_name(name: str) -> str:
    """A picture's name as part of a file name: letters, digits, ``-`` and ``%`` alone."""
    return "".join(
        sign if sign.isalnum() or sign == "-" else "".join(f"%{byte:02X}" for byte in sign.encode())
        for sign in name
    )


@dataclass(frozen=True)
class InputPicture:
    """A prepared input: `kind` is background, foreground (RGBA) or foreground_mask; PNG."""

    kind: str
    name: str
    data: bytes

    @property
    def file_name(self) -> str:
        return f"{flat_name(self.name)}.png"


class Layout(abc.ABC):
    """A way to store a dataset."""

    name: ClassVar[str]
    image: ClassVar[Form] = Form()
    mask: ClassVar[Form] = Form()
    depth: ClassVar[DepthForm | None] = DepthForm()
    needs_depth: ClassVar[bool] = False
    needs_class: ClassVar[bool] = False

    @abc.abstractmethod
    def files(self, example: Example) -> Iterator[File]:
        """What becomes of an example."""

    @abc.abstractmethod
    def input_files(self, picture: InputPicture) -> Iterator[File]:
        """What becomes of an input."""

    def header(self, container: str) -> bytes:
        """The first line of an index file."""
        return b""

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        """Raises UserError where the dataset lacks what the layout has."""
        if self.needs_depth and dataset.manifest.depth is None:
            raise UserError(
                f"{dataset.path} has no depth, which layout {self.name} needs: make the dataset "
                "with a --depth-model, or export it by --layout folder or webdataset."
            )
        without = [picture.name for picture in source.backgrounds if not picture.label]
        if self.needs_class and without:
            raise UserError(
                f"layout {self.name} has the backgrounds' classes, and background {without[0]} has "
                "none: make the dataset from backgrounds in a subfolder for each class, or export "
                "it by another layout."
            )
        longest = max(map(_length, source.backgrounds)) + max(map(_length, source.foregrounds))
        if longest > MAX_NAME:
            raise UserError(
                f"{dataset.path}: the longest names of a background and a foreground come to "
                f"{longest} bytes, too long for a file's name: rename them to at most {MAX_NAME} "
                "together, and make the dataset again."
            )


def _length(picture: PreparedPicture) -> int:
    return len(flat_name(picture.name).encode())


def _line(separator: str, *values: object) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerow(values)
    return stream.getvalue().encode()


class Monodepthmask(Layout):
    """Four zips of a quarter of the examples each, one of backgrounds, and three CSV files.

    - ``fgbg_1.zip`` … ``fgbg_4.zip``: ``BG_FG_FLIP_K.jpg``, ``BG_FG_FLIP_K_mask.jpg`` (RGB) and
      ``BG_FG_FLIP_K_depth.jpg`` (plasma colour map, RGB)
    - ``backgrounds.zip``: ``BG.png``
    - ``train.csv``, ``test.csv`` (by split) and ``sample.csv`` (the first 500 of the former): names
      of the files and of the zips that they are in, and the background's class
    """

    name = "monodepthmask"
    image = Form("jpeg", 3, 80)
    mask = Form("jpeg", 3, 80)
    depth = DepthForm("plasma8", "jpeg", 100)
    needs_depth = needs_class = True
    _COLUMNS = (
        *("ImageName", "MaskName", "Depthname", "BGImageName", "BaseImageFName"),
        *("DepthImageFName", "BGType", "BGImageFName"),
    )
    _BACKGROUNDS = "backgrounds.zip"

    def files(self, example: Example) -> Iterator[File]:
        container = f"fgbg_{example.part(4)}.zip"
        endings = {"image": "", "mask": "_mask", "depth": "_depth"}
        names = {
            kind: f"{example.stem}{ending}.{example.pictures[kind].suffix}"
            for kind, ending in endings.items()
        }
        for kind, name in names.items():
            yield File(container, name, example.pictures[kind].data)
        row = _line(
            ",",
            *names.values(),
            f"{example.background}.png",
            container,
            container,
            example.features["background_class"],
            self._BACKGROUNDS,
        )
        yield File(f"{example.split}.csv", "", row)
        if example.number < _SAMPLE:
            yield File("sample.csv", "", row)

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        if picture.kind == "background":
            yield File(self._BACKGROUNDS, picture.file_name, picture.data)

    def header(self, container: str) -> bytes:
        return _line(",", *self._COLUMNS) if container.endswith(".csv") else b""

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        if "sample" in dataset.recipe.splits.fractions:
            raise UserError(
                "layout monodepthmask has a sample.csv of its own: name the split sample otherwise."
            )


class LivingRoom(Layout):
    """Five zips of a fifth of the examples each, one of inputs, and ``labels.txt``.

    - ``fg_bg_mask_depth_1.zip`` … ``_5.zip``: ``fg_bg/BG_FG_FLIP_K.jpg``, and under the same name
      in ``mask/`` and ``depth/`` (grey, each map from its least to its greatest value)
    - ``bg_fg.zip``: ``bg/BG.png``, ``fg/FG.png`` (RGBA)
    - ``labels.txt``: a line an example, tab separated, without a header: the paths of bg, fg,
      fg_bg, mask and depth; zip by zip
    """

    name = "living-room"
    image = Form("jpeg", 3, 30)
    mask = Form("jpeg", 1, 30)
    depth = DepthForm("norm8", "jpeg", 90)
    needs_depth = True

    def files(self, example: Example) -> Iterator[File]:
        container = f"fg_bg_mask_depth_{example.part(5)}.zip"
        paths = [f"bg/{example.background}.png", f"fg/{example.foreground}.png"]
        for kind, folder in (("image", "fg_bg"), ("mask", "mask"), ("depth", "depth")):
            picture = example.pictures[kind]
            paths.append(f"{folder}/{example.stem}.{picture.suffix}")
            yield File(container, paths[-1], picture.data)
        yield File("labels.txt", "", _line("\t", *paths))

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        folders = {"background": "bg", "foreground": "fg"}
        if picture.kind in folders:
            yield File("bg_fg.zip", f"{folders[picture.kind]}/{picture.file_name}", picture.data)


class GreyGallery(Layout):
    """Ten zips of a tenth of the examples each and one of inputs; no index: names say it all.

    - ``fg_bg_01.zip`` … ``fg_bg_10.zip``: ``fg_bg/fg_bg_FG_BG_FLIP_K.jpg``, and under the same
      name in ``mask/`` and, as .png through the plasma colour map, in ``depth/``
    - ``inputs.zip``: ``bg/BG.png``, ``fg/FG.png`` (with alpha), ``fg_mask/FG.png``
    """

    name = "grey-gallery"
    image = Form("jpeg", 1, 75)
    mask = Form("jpeg", 1, 75)
    depth = DepthForm("plasma8", "png")
    needs_depth = True

    def files(self, example: Example) -> Iterator[File]:
        container = f"fg_bg_{example.part(10):02d}.zip"
        stem = f"fg_bg_{example.foreground}_{example.background}_{example.numbers}"
        for kind, folder in (("image", "fg_bg"), ("mask", "mask"), ("depth", "depth")):
            picture = example.pictures[kind]
            yield File(container, f"{folder}/{stem}.{picture.suffix}", picture.data)

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        folders = {"background": "bg", "foreground": "fg", "foreground_mask": "fg_mask"}
        yield File("inputs.zip", f"{folders[picture.kind]}/{picture.file_name}", picture.data)


class Office(Layout):
    """One zip of pictures, ``data_label.txt``, and depth as raw float arrays.

    - ``data.zip``: ``images/BG_FG_FLIP_K.jpg``, ``masks/BG_FG_FLIP_K.jpg`` (grey), and
      ``bg/BG.png``, ``fg/FG.png``
    - ``data_label.txt``: a line an example, tab separated, without a header: image, mask, x, y,
      w, h (the box in pixels; x and y may be negative)
    - ``depth_000.npz`` …: of 4,000 examples each, in the order of the lines: the array ``depth``,
      float32 [n, h, w], metres
    """

    name = "office"
    image = Form("jpeg", 3, 50)
    mask = Form("jpeg", 1, 50)
    depth = None
    needs_depth = True

    def files(self, example: Example) -> Iterator[File]:
        paths = []
        for kind in ("image", "mask"):
            picture = example.pictures[kind]
            paths.append(f"{kind}s/{example.stem}.{picture.suffix}")
            yield File("data.zip", paths[-1], picture.data)
        box = [example.features[key] for key in ("x", "y", "width", "height")]
        yield File("data_label.txt", "", _line("\t", *paths, *box))
        if example.stored_depth is None or example.depth is None:
            raise ValueError(f"{example.stem} has no depth")
        depth = depth_in_metres(example.stored_depth, example.depth.scale)
        container = f"depth_{example.number // _NPZ_EXAMPLES:03d}.npz"
        yield File(container, "", depth.astype("<f4").tobytes())

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        folders = {"background": "bg", "foreground": "fg"}
        if picture.kind in folders:
            yield File("data.zip", f"{folders[picture.kind]}/{picture.file_name}", picture.data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        depth = dataset.manifest.depth
        if depth and depth.unit != "metre":
            raise UserError(
                f"{dataset.path} has depth as {depth.storage} in {depth.unit or 'no unit'}, "
                "and layout office needs metres: make the dataset with depth.storage metric16 and "
                "a model that gives metres."
            )


class RestaurantMall(Layout):
    """Folders of pictures.

    ``fg_bg/BG_FG_FLIP_K.jpg``; ``fg_bg_mask/`` and ``fg_bg_depth/`` (both grey, .png or .jpg as
    stored) under the same name; ``bg/BG.png``, ``fg/FG.png`` (RGBA), ``fg_mask/FG.png``.
    """

    name = "restaurant-mall"
    image = Form("jpeg", 3, 75)
    mask = Form(None, 1)
    depth = DepthForm("norm8")
    needs_depth = True

    def files(self, example: Example) -> Iterator[File]:
        folders = (("image", "fg_bg"), ("mask", "fg_bg_mask"), ("depth", "fg_bg_depth"))
        for kind, folder in folders:
            picture = example.pictures[kind]
            yield File(None, f"{folder}/{example.stem}.{picture.suffix}", picture.data)

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        folders = {"background": "bg", "foreground": "fg", "foreground_mask": "fg_mask"}
        yield File(None, f"{folders[picture.kind]}/{picture.file_name}", picture.data)


def _metadata(example: Example) -> dict[str, Any]:
    return {"split": example.split, "shard": example.shard} | {
        key: example.features[key] for key in INDEX_COLUMNS if key in example.features
    }


class WebDataset(Layout):
    """Tar shards for the ``webdataset`` package, one a TFRecord shard; pictures as stored.

    - ``SPLIT-00000.tar`` …: ``BG_FG_FLIP_K.image.jpg``, ``.mask.png`` (of 1 bit where the recipe
      cuts masks), ``.depth.png`` (where there is depth) and ``.json`` with the columns of index.csv
    - ``inputs.tar``: ``backgrounds/BG.png``, ``foregrounds/FG.png``, ``foreground_masks/FG.png``
    """

    name = "webdataset"

    def files(self, example: Example) -> Iterator[File]:
        container = f"{example.split}-{example.shard:05d}.tar"
        for kind, picture in example.pictures.items():
            yield File(container, f"{example.stem}.{kind}.{picture.suffix}", picture.data)
        text = json.dumps(_metadata(example), ensure_ascii=False)
        yield File(container, f"{example.stem}.json", text.encode())

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File("inputs.tar", f"{picture.kind}s/{picture.file_name}", picture.data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        if "inputs" in dataset.recipe.splits.fractions:
            raise UserError("layout webdataset has inputs.tar: name the split inputs otherwise.")


class Folder(Layout):
    """Folders of pictures as stored, and an index.

    ``SPLIT/image/BG_FG_FLIP_K.jpg``, ``SPLIT/mask/BG_FG_FLIP_K.png`` (of 1 bit where the recipe
    cuts masks), ``SPLIT/depth/…``;
    ``backgrounds/BG.png``, ``foregrounds/FG.png``, ``foreground_masks/FG.png``; ``index.csv``: the
    dataset's, and the paths of the pictures (depth is empty where there is none).
    """

    name = "folder"
    _KINDS = ("image", "mask", "depth")

    def files(self, example: Example) -> Iterator[File]:
        paths = {}
        for kind, picture in example.pictures.items():
            paths[kind] = f"{example.split}/{kind}/{example.stem}.{picture.suffix}"
            yield File(None, paths[kind], picture.data)
        values = _metadata(example)
        row = [values[column] for column in INDEX_COLUMNS]
        yield File(
            "index.csv", "", _line(",", *row, *(paths.get(kind, "") for kind in self._KINDS))
        )

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File(None, f"{picture.kind}s/{picture.file_name}", picture.data)

    def header(self, container: str) -> bytes:
        return _line(",", *INDEX_COLUMNS, *self._KINDS) if container == "index.csv" else b""

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        taken = {"backgrounds", "foregrounds", "foreground_masks"}
        for split in taken & dataset.recipe.splits.fractions.keys():
            raise UserError(f"layout folder has a folder {split}: name that split otherwise.")


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Folder(),
        WebDataset(),
        Monodepthmask(),
        LivingRoom(),
        GreyGallery(),
        Office(),
        RestaurantMall(),
    )
}
