"""The layouts of the five published datasets: what each team's own loading code reads.

B and F are the numbers of an example's background and foreground, from 1 on in the natural order of
their names (2 before 10); k is the number of its place, from 1 on; flip is 0 or 1. ``names.csv``
says which of the dataset's pictures is which. Pictures are as large as the dataset has them: each
team's recipe makes them as large as theirs were.
"""

from __future__ import annotations

import abc
import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from depthmask.errors import UserError
from pipeline.export.grid import Grid
from pipeline.export.joining import FARTHEST
from pipeline.export.layout import Example, File, InputPicture, Layout, line
from pipeline.export.pictures import DepthForm, Form, Picture, fit_input

if TYPE_CHECKING:
    from depthmask.manifest import DepthMeaning
    from pipeline.dataset import Dataset
    from transforms.prepared import PreparedSource

NAMES = "names.csv"
_MIRROR = ("left_right",)
# How they stored their inputs is not known; this is nearly as prepared.
_INPUT_QUALITY = 95
_RGB, _GREY = Form("jpeg", 3, _INPUT_QUALITY), Form("jpeg", 1, _INPUT_QUALITY)


class PublishedLayout(Layout):
    """A layout that numbers pictures, and lists in ``names.csv`` which is which.

    Its columns: kind (background or foreground), the name in the dataset, and that in the export.
    """

    needs_depth = True
    # Whether flipped foregrounds are mirrored and nothing else.
    mirrors_only: ClassVar[bool] = True

    def order(self, example: Example) -> int:
        return example.number

    def input_name(self, picture: InputPicture) -> str:
        """What the names of files call a background or a foreground."""
        return str(picture.number.place)

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        if picture.kind != "foreground_mask":
            row = line(",", picture.kind, picture.name, self.input_name(picture))
            yield File(NAMES, "", row)
        yield from self.pictures(picture)

    @abc.abstractmethod
    def pictures(self, picture: InputPicture) -> Iterator[File]:
        """The pictures that an input becomes."""

    def header(self, container: str) -> bytes:
        return line(",", "kind", "name", "exported") if container == NAMES else b""

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        transforms = dataset.recipe.placements.transforms
        if self.mirrors_only and transforms != _MIRROR:
            raise UserError(
                f"layout {self.name} has mirrored foregrounds, and {dataset.path} has flipped ones "
                f"by {', '.join(transforms)}: make the dataset with placements.transforms "
                f"[{_MIRROR[0]}], or export it by layout restaurant-mall."
            )


class Monodepthmask(PublishedLayout):
    """Zips of 4,000 pairs each, one of backgrounds, and CSV files.

    - ``my_python_files_0k4k.zip``, ``…_4k8k.zip`` …: ``image_HEX_BG.jpg`` and ``mask_HEX_BG.jpg``
      (RGB) of so many thousand pairs of a background and a foreground; HEX is ten digits, others
      for every example
    - ``depth_0k4k.zip`` …: ``depth_image_HEX_BG.jpg`` (plasma colour map, RGB)
    - ``bg_images.zip``: ``BG.jpg``
    - ``DepthMapDataSet.csv``, and of each split ``DepthMapDataSetTrain.csv``, ``…Test.csv``; 500 at
      random in ``…Sample.csv``: names of the files and of the zips, and the background's class

    BG begins with the class and ``_``: a subfolder's name, or what stands before the first ``_`` of
    the background's own. Their code takes it from there, and digits out of it. It also wants masks
    and depth of one channel, which the files that they published do not have either.
    """

    name = "monodepthmask"
    reading = """
import csv
import functools
import zipfile

import numpy as np
from PIL import Image

opened = functools.cache(zipfile.ZipFile)
with open("DepthMapDataSet.csv", newline="") as index:
    for row in csv.DictReader(index):
        images, depths = opened(row["BaseImageFName"]), opened(row["DepthImageFName"])
        image = np.asarray(Image.open(images.open(row["ImageName"])))
        mask = np.asarray(Image.open(images.open(row["MaskName"])))
        depth = np.asarray(Image.open(depths.open(row["Depthname"])))
"""
    image = Form("jpeg", 3, 80)
    mask = Form("jpeg", 3, 80)
    depth = DepthForm("plasma8", "jpeg", 100)
    needs_class = True
    _COLUMNS = (
        *("ImageName", "MaskName", "Depthname", "BGImageName", "BaseImageFName"),
        *("DepthImageFName", "BGType", "BGImageFName"),
    )
    _BACKGROUNDS = "bg_images.zip"
    _INDEX = "DepthMapDataSet"
    _SAMPLE = 500
    _PAIRS, _THOUSANDS = 4000, 4  # a zip

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        number = example.number
        thousands = number // example.grid.a_pair // self._PAIRS * self._THOUSANDS
        part = f"{thousands}k{thousands + self._THOUSANDS}k"
        features = example.features
        background = _classed_name(features["background"], features["background_class"])
        # Odd, so that no two numbers below 2**40 give the same digits.
        digits = f"{number * 0x9E3779B97F4A7C15 % 2**40:010x}"
        images, depths = f"my_python_files_{part}.zip", f"depth_{part}.zip"
        names = [f"{start}_{digits}_{background}.jpg" for start in ("image", "mask", "depth_image")]
        for container, name, kind in zip(
            (images, images, depths), names, ("image", "mask", "depth"), strict=True
        ):
            yield File(container, name, pictures[kind].data)
        label = self.class_of(features["background"], features["background_class"])
        files = (*names, f"{background}.jpg", images, depths)
        row = line(",", *files, label, self._BACKGROUNDS)
        yield File(f"{self._INDEX}.csv", "", row)
        yield File(f"{self._INDEX}{example.split.capitalize()}.csv", "", row)
        if example.is_among(self._SAMPLE):
            yield File(f"{self._INDEX}Sample.csv", "", row)

    def input_name(self, picture: InputPicture) -> str:
        if picture.kind == "background":
            return _classed_name(picture.name, picture.label)
        return super().input_name(picture)

    def pictures(self, picture: InputPicture) -> Iterator[File]:
        if picture.kind == "background":
            data = fit_input(picture.data, _RGB)
            yield File(self._BACKGROUNDS, f"{self.input_name(picture)}.jpg", data)

    def header(self, container: str) -> bytes:
        is_index = container.startswith(self._INDEX)
        return line(",", *self._COLUMNS) if is_index else super().header(container)

    def class_of(self, name: str, label: str) -> str:
        return re.sub("[0-9]", "", _classed_name(name, label).partition("_")[0])

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        taken = {"Sample"}
        for split in dataset.recipe.splits.names:
            if split.capitalize() in taken:
                raise UserError(
                    f"layout monodepthmask has another {self._INDEX}{split.capitalize()}.csv: name "
                    f"the split {split} otherwise."
                )
            taken.add(split.capitalize())
        labels: dict[str, str] = {}
        names: dict[str, str] = {}
        for picture in source.backgrounds:
            found = self.class_of(picture.name, picture.label)
            label = picture.label or found
            if labels.setdefault(found, label) != label:
                raise UserError(
                    f"layout monodepthmask knows classes by their letters alone, by which "
                    f"{labels[found]} and {label} are both {found}: name one of them otherwise."
                )
            name = _classed_name(picture.name, picture.label)
            if names.setdefault(name.casefold(), picture.name) != picture.name:
                raise UserError(
                    f"layout monodepthmask names {names[name.casefold()]} and {picture.name} both "
                    f"{name}: rename one of these backgrounds."
                )


@functools.lru_cache(4096)
def _classed_name(name: str, label: str) -> str:
    """A background's name as CLASS_NAME; without a class as `name`, if that has a ``_``."""
    stem = _plain(name.rsplit("/", 1)[-1])
    if label:
        return f"{_plain(label).replace('_', '-')}_{stem}"
    return stem if "_" in stem else f"_{stem}"


def _plain(name: str) -> str:
    """Letters, digits, ``-`` and ``_`` alone."""
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)


class LivingRoom(PublishedLayout):
    """Five zips of a fifth of the foregrounds each, inputs, and ``labels.txt``.

    - ``data_part1.zip`` … ``data_part5.zip``, deflated: ``data_P/Fg-Bg/fg-bgN.jpg``,
      ``data_P/Fg-Bg-Mask/fg-bg-maskN.jpg`` and ``data_P/Depth/depthN.jpg`` (grey, each map from its
      least to its greatest value). N counts from 1 by part, background, foreground, k and flip:
      with 100 foregrounds at 20 places and mirrored, there are 800 to a background
    - ``Background/bgB.jpg``, ``Foreground/fgF.png`` (with alpha), ``Mask/maskF.jpg``
    - ``labels.txt``: a line an example, tab separated, without a header: the paths of bg, fg,
      fg_bg, mask and depth; in the order of N
    """

    name = "living-room"
    reading = """
import csv
import functools
import zipfile

import numpy as np
from PIL import Image

opened = functools.cache(zipfile.ZipFile)
with open("labels.txt", newline="") as index:
    for background, foreground, *paths in csv.reader(index, delimiter="\\t"):
        part = opened(paths[0].split("/")[0].replace("_", "_part") + ".zip")
        image, mask, depth = (np.asarray(Image.open(part.open(path))) for path in paths)
"""
    image = Form("jpeg", 3, 30, optimize=True)
    mask = Form("jpeg", 1, 30, optimize=True)
    depth = DepthForm("norm8", "jpeg", 75)
    deflated = True
    _PARTS = 5

    def order(self, example: Example) -> int:
        grid = example.grid
        a_part = len(grid.foregrounds) // self._PARTS
        part, foreground = divmod(example.foreground.place - 1, a_part)
        background = part * len(grid.backgrounds) + example.background.place - 1
        return (background * a_part + foreground) * grid.a_pair + example.in_pair

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        number = self.order(example) + 1
        part = self._part(example)
        paths = {
            "image": f"data_{part}/Fg-Bg/fg-bg{number}.jpg",
            "mask": f"data_{part}/Fg-Bg-Mask/fg-bg-mask{number}.jpg",
            "depth": f"data_{part}/Depth/depth{number}.jpg",
        }
        for kind, path in paths.items():
            yield File(f"data_part{part}.zip", path, pictures[kind].data)
        background, foreground = example.background.place, example.foreground.place
        inputs = f"Background/bg{background}.jpg", f"Foreground/fg{foreground}.png"
        yield File("labels.txt", "", line("\t", *inputs, *paths.values()))

    def _part(self, example: Example) -> int:
        a_part = len(example.grid.foregrounds) // self._PARTS
        return (example.foreground.place - 1) // a_part + 1

    def pictures(self, picture: InputPicture) -> Iterator[File]:
        number = picture.number.place
        if picture.kind == "background":
            yield File(None, f"Background/bg{number}.jpg", fit_input(picture.data, _RGB))
        elif picture.kind == "foreground":
            yield File(None, f"Foreground/fg{number}.png", picture.data)
        else:
            yield File(None, f"Mask/mask{number}.jpg", fit_input(picture.data, _GREY))

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        count = len(source.foregrounds)
        if rest := count % self._PARTS:
            fitting = {count - rest, count - rest + self._PARTS} - {0}
            raise UserError(
                f"layout living-room has {self._PARTS} parts of equally many foregrounds, and "
                f"{dataset.path} has {count}: {' or '.join(map(str, sorted(fitting)))} would fit."
            )
        examples, every = dataset.manifest.examples, Grid.of(source, dataset.recipe).examples
        if examples != every:
            raise UserError(
                f"layout living-room knows an example's background by its number alone, so that "
                f"none may be left out, and {dataset.path} has {examples:,} of {every:,}: export "
                "it by another layout."
            )


class GreyGallery(PublishedLayout):
    """Ten zips of a tenth of the foregrounds each; no index: names say it all.

    ``batch1_images.zip`` … ``batch10_images.zip``, each with what is of its foregrounds:
    ``fg_bg_jpg/fg_bg_F_B_FLIP_K.jpg``, ``mask_black_jpg/bg_mask_F_B_FLIP_K.jpg``,
    ``depth_fg_bg_jpg/depth_fg_bg_F_B_FLIP_K.jpg`` (grey, each map from its least to its greatest
    value), ``fg_jpg/fg_img_F.jpg`` (on black), ``mask_jpg/mask_img_F.jpg``, and every
    ``bg_jpg/bg_img_B.jpg``. All are grey.
    """

    name = "grey-gallery"
    reading = """
import zipfile

import numpy as np
from PIL import Image

for number in range(1, 11):
    with zipfile.ZipFile(f"batch{number}_images.zip") as batch:
        for path in batch.namelist():
            if path.startswith("fg_bg_jpg/"):
                name = path.removeprefix("fg_bg_jpg/fg_bg_")  # F_B_FLIP_K.jpg
                image = np.asarray(Image.open(batch.open(path)))
                mask = np.asarray(Image.open(batch.open(f"mask_black_jpg/bg_mask_{name}")))
                depth = np.asarray(Image.open(batch.open(f"depth_fg_bg_jpg/depth_fg_bg_{name}")))
"""
    image = Form("jpeg", 1, 75)
    mask = Form("jpeg", 1, 75)
    depth = DepthForm("norm8", "jpeg", 75)
    _BATCHES = 10

    def order(self, example: Example) -> int:
        grid = example.grid
        background = (example.foreground.place - 1) * len(grid.backgrounds)
        pair = background + example.background.place - 1
        return (pair * grid.flips + example.flip) * grid.places + example.k - 1

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        batch = self._batch(example.foreground.place, len(example.grid.foregrounds))
        pair = f"{example.foreground.place}_{example.background.place}"
        name = f"{pair}_{example.flip}_{example.k}.jpg"
        paths = {
            "image": f"fg_bg_jpg/fg_bg_{name}",
            "mask": f"mask_black_jpg/bg_mask_{name}",
            "depth": f"depth_fg_bg_jpg/depth_fg_bg_{name}",
        }
        for kind, path in paths.items():
            yield File(self._container(batch), path, pictures[kind].data)

    def _batch(self, foreground: int, foregrounds: int) -> int:
        return (foreground - 1) * self._BATCHES // foregrounds + 1

    @staticmethod
    def _container(batch: int) -> str:
        return f"batch{batch}_images.zip"

    def pictures(self, picture: InputPicture) -> Iterator[File]:
        data = fit_input(picture.data, _GREY)
        number = picture.number.place
        if picture.kind == "background":
            for batch in range(1, self._BATCHES + 1):
                yield File(self._container(batch), f"bg_jpg/bg_img_{number}.jpg", data)
            return
        kind = {"foreground": "fg", "foreground_mask": "mask"}[picture.kind]
        batch = self._batch(number, len(picture.grid.foregrounds))
        yield File(self._container(batch), f"{kind}_jpg/{kind}_img_{number}.jpg", data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        if (count := len(source.foregrounds)) < self._BATCHES:
            raise UserError(
                f"layout grey-gallery has {self._BATCHES} batches of foregrounds, and "
                f"{dataset.path} has only {count}: {self._BATCHES} or more would fit."
            )


class Office(PublishedLayout):
    """One zip of pictures and labels, and depth as arrays, one for each background.

    - ``depth_mask_dataset.zip``: ``data/fg_bg/BG/BG_FG_INDEX.jpg``, ``data/fg_bg_mask/BG/`` under
      the same name (grey); ``data/labels/BG_label_info.txt`` and ``data_label.txt``: a line an
      example, tab separated, without a header: image, mask, x, y, w, h (of the box in pixels,
      uncropped: x and y may be negative)
    - ``data/fg_bg_depth/depthmap_output_batch1.npz`` …, compressed: the array ``output``, float32
      [n, h, w, 1], metres / 10, in the order of the labels
    - ``bg/BG.jpg``, ``fg/FG.png`` (with alpha), ``fg_mask/FG.png``

    BG and FG are ``bg`` and ``fg`` and the number with three digits; INDEX counts with six from 1
    by background, foreground, k and flip.
    """

    name = "office"
    reading = """
import csv
import io
import itertools
import zipfile

import numpy as np
from PIL import Image

files = zipfile.ZipFile("depth_mask_dataset.zip")
labels = csv.reader(io.TextIOWrapper(files.open("data_label.txt")), delimiter="\\t")
backgrounds = itertools.groupby(labels, lambda label: label[0].split("/")[2])
for background, rows in backgrounds:
    batch = int(background.removeprefix("bg"))
    depths = np.load(f"data/fg_bg_depth/depthmap_output_batch{batch}.npz")["output"]
    for depth, (image_path, mask_path, x, y, width, height) in zip(depths, rows, strict=True):
        image = np.asarray(Image.open(files.open(image_path)))
        mask = np.asarray(Image.open(files.open(mask_path)))
"""
    image = Form("jpeg", 3, 50, optimize=True)
    mask = Form("jpeg", 1, 50, optimize=True)
    _CONTAINER = "depth_mask_dataset.zip"

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        background = f"bg{example.background.place:03d}"
        stem = f"{background}_fg{example.foreground.place:03d}_{example.number + 1:06d}"
        paths = []
        for kind, folder in (("image", "fg_bg"), ("mask", "fg_bg_mask")):
            paths.append(f"data/{folder}/{background}/{stem}.jpg")
            yield File(self._CONTAINER, paths[-1], pictures[kind].data)
        box = [example.features[key] for key in ("x", "y", "width", "height")]
        label = line("\t", *paths, *box)
        group = example.background.place
        yield File(self._CONTAINER, f"data/labels/{background}_label_info.txt", label, group)
        last = len(example.grid.backgrounds) + 1
        yield File(self._CONTAINER, "data_label.txt", label, last)
        batch = f"data/fg_bg_depth/depthmap_output_batch{example.background.place}.npz"
        yield File(batch, "", pictures["depth"].data)

    def depth_json(self, stored: DepthMeaning) -> dict[str, Any]:
        return stored.to_json() | {"storage": "float32", "scale": FARTHEST}

    def input_name(self, picture: InputPicture) -> str:
        return f"{'bg' if picture.kind == 'background' else 'fg'}{picture.number.place:03d}"

    def pictures(self, picture: InputPicture) -> Iterator[File]:
        name = self.input_name(picture)
        if picture.kind == "background":
            yield File(None, f"bg/{name}.jpg", fit_input(picture.data, _RGB))
        else:
            folder = {"foreground": "fg", "foreground_mask": "fg_mask"}[picture.kind]
            yield File(None, f"{folder}/{name}.png", picture.data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        depth = dataset.manifest.depth
        if depth and depth.unit != "metre":
            raise UserError(
                f"{dataset.path} has depth as {depth.storage} in {depth.unit or 'no unit'}, "
                "and layout office needs metres: make the dataset with depth.storage metric16 and "
                "a model that gives metres."
            )


class RestaurantMall(PublishedLayout):
    """Zips of composites, of masks and of depth, whose names have each picture's number twice.

    - ``maskrcnndataset_overlay.zip``: ``content/fg_bg_dataset/bgfg_overlay/NAME.png``, NAME being
      ``ol_bgBBBfgFFFK_fg_FFF``, with an ``f`` after K where the foreground is flipped; JPEG all
      the same
    - ``maskrcnndataset_mask.zip``: ``content/fg_bg_dataset/bgfg_mask/mask_NAME.png`` (grey JPEG)
    - ``bgfg_depth.zip``: ``bgfg_depth/depth_NAME.jpg`` (grey, each map from its least to its
      greatest value); only the path within is known
    - ``bg.zip``: ``bg/bg_BBB.jpg``; ``fg.zip``: ``fg/fg_FFF.png`` (with alpha);
      ``fg_mask/mask_fg_FFF.png``

    BBB and FFF are the numbers, with three digits, that the inputs' names end in, such as 26 of
    ``bg_026``; the places of names where these are not all different.
    """

    name = "restaurant-mall"
    reading = """
import zipfile

import numpy as np
from PIL import Image

images, masks, depths = map(
    zipfile.ZipFile, ("maskrcnndataset_overlay.zip", "maskrcnndataset_mask.zip", "bgfg_depth.zip")
)
for path in images.namelist():
    name = path.split("/")[-1].removesuffix(".png")
    image = np.asarray(Image.open(images.open(path)))
    mask = np.asarray(
        Image.open(masks.open(f"content/fg_bg_dataset/bgfg_mask/mask_{name}.png"))
    )
    depth = np.asarray(Image.open(depths.open(f"bgfg_depth/depth_{name}.jpg")))
"""
    image = Form("jpeg", 3, 65, optimize=True)
    mask = Form("jpeg", 1, 65, optimize=True)
    depth = DepthForm("norm8", "jpeg", 75)
    mirrors_only = False
    _MOST = 999

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        foreground = f"{example.foreground.own:03d}"
        flipped = "f" if example.flip else ""
        background = f"{example.background.own:03d}"
        name = f"ol_bg{background}fg{foreground}{example.k}{flipped}_fg_{foreground}"
        folder = "content/fg_bg_dataset"
        for kind, container, path in (
            ("image", "maskrcnndataset_overlay.zip", f"{folder}/bgfg_overlay/{name}.png"),
            ("mask", "maskrcnndataset_mask.zip", f"{folder}/bgfg_mask/mask_{name}.png"),
            ("depth", "bgfg_depth.zip", f"bgfg_depth/depth_{name}.jpg"),
        ):
            yield File(container, path, pictures[kind].data)

    def input_name(self, picture: InputPicture) -> str:
        return f"{'bg' if picture.kind == 'background' else 'fg'}_{picture.number.own:03d}"

    def pictures(self, picture: InputPicture) -> Iterator[File]:
        name = self.input_name(picture)
        if picture.kind == "background":
            yield File("bg.zip", f"bg/{name}.jpg", fit_input(picture.data, _RGB))
        elif picture.kind == "foreground":
            yield File("fg.zip", f"fg/{name}.png", picture.data)
        else:
            yield File(None, f"fg_mask/mask_{name}.png", picture.data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        for kind, pictures in (
            ("backgrounds", source.backgrounds),
            ("foregrounds", source.foregrounds),
        ):
            if len(pictures) > self._MOST:
                raise UserError(
                    f"layout restaurant-mall has three digits for the number of each picture, and "
                    f"{dataset.path} has {len(pictures):,} {kind}: up to {self._MOST} would fit."
                )
