"""The layouts by name: those of the five published datasets, and two for any dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from depthmask.errors import UserError
from pipeline.export.layout import (
    MAX_NAME,
    Example,
    File,
    InputPicture,
    Layout,
    flat_name,
    line,
)
from pipeline.export.pictures import Picture
from pipeline.export.published import (
    GreyGallery,
    LivingRoom,
    Monodepthmask,
    Office,
    RestaurantMall,
)
from transforms.index import INDEX_COLUMNS

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from transforms.prepared import PreparedPicture, PreparedSource


def _metadata(example: Example) -> dict[str, Any]:
    return {"split": example.split, "shard": example.shard} | {
        key: example.features[key] for key in INDEX_COLUMNS if key in example.features
    }


class _Named(Layout):
    """A layout whose files are named as the dataset's pictures."""

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        longest = max(map(_length, source.backgrounds)) + max(map(_length, source.foregrounds))
        if longest > MAX_NAME:
            raise UserError(
                f"{dataset.path}: the longest names of a background and a foreground come to "
                f"{longest} bytes, too long for a file's name: rename them to at most {MAX_NAME} "
                "together, and make the dataset again."
            )


def _length(picture: PreparedPicture) -> int:
    return len(flat_name(picture.name).encode())


class WebDataset(_Named):
    """Tar shards for the ``webdataset`` package, one a TFRecord shard; pictures as stored.

    - ``SPLIT-00000.tar`` …: ``BG_FG_FLIP_K.image.jpg``, ``.mask.png`` (of 1 bit where the recipe
      cuts masks), ``.depth.png`` (where there is depth) and ``.json`` with the columns of index.csv
    - ``inputs.tar``: ``backgrounds/BG.png``, ``foregrounds/FG.png``, ``foreground_masks/FG.png``
    """

    name = "webdataset"

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        container = f"{example.split}-{example.shard:05d}.tar"
        for kind, picture in pictures.items():
            yield File(container, f"{example.stem}.{kind}.{picture.suffix}", picture.data)
        text = json.dumps(_metadata(example), ensure_ascii=False)
        yield File(container, f"{example.stem}.json", text.encode())

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File("inputs.tar", f"{picture.kind}s/{picture.file_name}", picture.data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        if "inputs" in dataset.recipe.splits.fractions:
            raise UserError("layout webdataset has inputs.tar: name the split inputs otherwise.")


class Folder(_Named):
    """Folders of pictures as stored, and an index.

    ``SPLIT/image/BG_FG_FLIP_K.jpg``, ``SPLIT/mask/BG_FG_FLIP_K.png`` (of 1 bit where the recipe
    cuts masks), ``SPLIT/depth/…``;
    ``backgrounds/BG.png``, ``foregrounds/FG.png``, ``foreground_masks/FG.png``; ``index.csv``: the
    dataset's, and the paths of the pictures (depth is empty where there is none).
    """

    name = "folder"
    _KINDS = ("image", "mask", "depth")

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        paths = {}
        for kind, picture in pictures.items():
            paths[kind] = f"{example.split}/{kind}/{example.stem}.{picture.suffix}"
            yield File(None, paths[kind], picture.data)
        values = _metadata(example)
        row = [values[column] for column in INDEX_COLUMNS]
        yield File("index.csv", "", line(",", *row, *(paths.get(kind, "") for kind in self._KINDS)))

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File(None, f"{picture.kind}s/{picture.file_name}", picture.data)

    def header(self, container: str) -> bytes:
        return line(",", *INDEX_COLUMNS, *self._KINDS) if container == "index.csv" else b""

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
