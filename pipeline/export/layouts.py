"""The layouts by name: those of the five published datasets, and three for any dataset."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from depthmask.errors import UserError
from pipeline.export.layout import (
    MAX_NAME,
    Example,
    Facts,
    File,
    InputPicture,
    Layout,
    flat_name,
    line,
)
from pipeline.export.parquet import features as parquet_features
from pipeline.export.parquet import row as parquet_row
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
      cuts masks), ``.depth.png`` (where there is depth; ``.depth.png16`` where it has 16 bits,
      which that package's own decoders would spoil) and ``.json`` with the columns of index.csv and
      what depth means
    - ``inputs.tar``: ``backgrounds/BG.png``, ``foregrounds/FG.png``, ``foreground_masks/FG.png``
    """

    name = "webdataset"
    reading = """
import glob

import webdataset
from depthmask.webdataset import decode

tars = sorted(glob.glob("SPLIT-*.tar"))
for example in webdataset.WebDataset(tars, shardshuffle=False).map(decode):
    image, mask, depth = example["image"], example["mask"], example.get("depth")
    # uint8 [H, W, C], uint8 [H, W, 1], float32 [h, w, 1] as depth.json says
```

Without depthmask, the same by hand:

```python
import io
import json

import numpy as np
from PIL import Image

def decode(sample):
    example = json.loads(sample["json"])
    scale = example.pop("depth", {}).get("scale")
    for name, data in sample.items():
        kind = name.split(".")[0]
        if kind in ("image", "mask", "depth"):
            picture = Image.open(io.BytesIO(data))
            pixels = np.array(picture.convert("L") if picture.mode == "1" else picture)
            example[kind] = pixels if pixels.ndim == 3 else pixels[..., None]
    if scale:  # but for maps in the colours of plasma
        example["depth"] = example["depth"].astype(np.float32) * np.float32(scale)
    return example
"""

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        container = f"{example.split}-{example.shard:05d}.tar"
        for kind, picture in pictures.items():
            suffix = picture.suffix
            if kind == "depth" and example.depth and example.depth.storage == "metric16":
                suffix += "16"
            yield File(container, f"{example.stem}.{kind}.{suffix}", picture.data)
        depth = {"depth": example.depth.to_json()} if example.depth else {}
        text = json.dumps(_metadata(example) | depth, ensure_ascii=False)
        yield File(container, f"{example.stem}.json", text.encode())

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File("inputs.tar", f"{picture.kind}s/{picture.file_name}", picture.data)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        if "inputs" in dataset.recipe.splits.names:
            raise UserError("layout webdataset has inputs.tar: name the split inputs otherwise.")


class Folder(_Named):
    """Folders of pictures as stored, and their indexes.

    - ``SPLIT/image/BG_FG_FLIP_K.jpg``, ``SPLIT/mask/BG_FG_FLIP_K.png`` (of 1 bit where the recipe
      cuts masks), ``SPLIT/depth/…``
    - ``SPLIT/metadata.jsonl``: a row an example, with the three paths: what ``load_dataset`` of
      Hugging Face reads as ``imagefolder``
    - ``backgrounds/BG.png``, ``foregrounds/FG.png``, ``foreground_masks/FG.png``
    - ``index.csv``: the dataset's, and the paths of the pictures (depth is empty where there is
      none)
    """

    name = "folder"
    reading = """
import csv

import numpy as np
from PIL import Image

with open("index.csv", newline="") as index:
    for row in csv.DictReader(index):
        if row["split"] == "SPLIT":
            image = np.asarray(Image.open(row["image"]))
            mask = np.asarray(Image.open(row["mask"]))
            depth = np.asarray(Image.open(row["depth"])) if row["depth"] else None
```

With Hugging Face's datasets, a row an example, with pictures called `image`, `mask` and `depth`:

```python
from datasets import load_dataset

examples = load_dataset("imagefolder", data_dir="SPLIT", split="train")
"""
    _KINDS = ("image", "mask", "depth")

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        paths = {}
        for kind, picture in pictures.items():
            paths[kind] = f"{example.split}/{kind}/{example.stem}.{picture.suffix}"
            yield File(None, paths[kind], picture.data)
        values = _metadata(example)
        names = {
            "file_name" if kind == "image" else f"{kind}_file_name": path.partition("/")[2]
            for kind, path in paths.items()
        }
        text = json.dumps(names | values, ensure_ascii=False) + "\n"
        yield File(f"{example.split}/metadata.jsonl", "", text.encode())
        row = [values[column] for column in INDEX_COLUMNS]
        yield File("index.csv", "", line(",", *row, *(paths.get(kind, "") for kind in self._KINDS)))

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File(None, f"{picture.kind}s/{picture.file_name}", picture.data)

    def header(self, container: str) -> bytes:
        return line(",", *INDEX_COLUMNS, *self._KINDS) if container == "index.csv" else b""

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        taken = {"backgrounds", "foregrounds", "foreground_masks"}
        for split in taken & set(dataset.recipe.splits.names):
            raise UserError(f"layout folder has a folder {split}: name that split otherwise.")


class HuggingFace(Layout):
    """Parquet files as Hugging Face's Hub and ``datasets`` take them; pictures as stored.

    - ``data/SPLIT-00000-of-000NN.parquet``, one a TFRecord shard: a row an example: ``image``,
      ``mask`` and, where there is depth, ``depth``, encoded; and the columns of index.csv
    - ``README.md``: this text, and what the Hub reads of it; its licence is yours to fill in
    """

    name = "huggingface"
    reading = """
import numpy as np
from datasets import load_dataset

for row in load_dataset(".", split="SPLIT", streaming=True):
    image, mask = np.asarray(row["image"]), np.asarray(row["mask"])
    depth = np.asarray(row["depth"]) if "depth" in row else None
"""
    _COLUMNS = tuple(name for name in INDEX_COLUMNS if name not in ("split", "shard"))
    _SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    _SIZE_NAMES = ("1K", "10K", "100K", "1M", "10M")

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        name = f"data/{example.split}-{example.shard:05d}-of-{example.shards:05d}.parquet"
        values = {column: example.features[column] for column in self._COLUMNS}
        yield File(name, "", parquet_row(values, pictures))

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield from ()

    def readme(self, facts: Facts) -> str:
        pictures = ("image", "mask", "depth") if facts.depth else ("image", "mask")
        described = {
            "license": "unknown",
            "task_categories": ["image-segmentation"] + ["depth-estimation"] * bool(facts.depth),
            "size_categories": [self._size(sum(facts.splits.values()))],
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [
                        {"split": split, "path": f"data/{split}-*.parquet"}
                        for split in facts.splits
                    ],
                }
            ],
            "dataset_info": {
                "features": [
                    {
                        "name": name,
                        "dtype": feature.get("dtype", "image"),
                    }
                    for name, feature in parquet_features((*pictures, *self._COLUMNS)).items()
                ],
                "splits": [
                    {"name": split, "num_examples": count} for split, count in facts.splits.items()
                ],
            },
        }
        head = yaml.safe_dump(described, sort_keys=False)
        return f"---\n{head}---\n\n{super().readme(facts)}"

    def _size(self, examples: int) -> str:
        """The Hub's word for so many examples."""
        place = bisect.bisect_right(self._SIZES, examples)
        if place == 0:
            return "n<1K"
        if place == len(self._SIZES):
            return "n>10M"
        return f"{self._SIZE_NAMES[place - 1]}<n<{self._SIZE_NAMES[place]}"


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Folder(),
        WebDataset(),
        HuggingFace(),
        Monodepthmask(),
        LivingRoom(),
        GreyGallery(),
        Office(),
        RestaurantMall(),
    )
}
