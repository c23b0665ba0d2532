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
    depth_text,
    flat_name,
    line,
)
from pipeline.export.parquet import features as parquet_features
from pipeline.export.parquet import row as parquet_row
from pipeline.export.pictures import SUFFIXES, Picture
from pipeline.export.published import (
    GreyGallery,
    LivingRoom,
    Monodepthmask,
    Office,
    RestaurantMall,
)
from pipeline.publish.croissant import (
    CSV,
    JSON_LINES,
    PARQUET,
    DataType,
    Field,
    FileSet,
    RecordSet,
    croissant_json,
    example_fields,
    split_field,
)
from pipeline.publish.licences import hub_licence
from transforms.index import INDEX_COLUMNS

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.publish.publication import Publication
    from transforms.prepared import PreparedPicture, PreparedSource


def _metadata(example: Example) -> dict[str, Any]:
    return {"split": example.split, "shard": example.shard} | {
        key: example.features[key] for key in INDEX_COLUMNS if key in example.features
    }


_KINDS: dict[str, DataType] = {
    "image": "sc:ImageObject",
    "mask": "mask",
    "depth": "sc:ImageObject",
}


def _pictures(facts: Facts) -> dict[str, str]:
    """What each picture of an example is, in words."""
    said = {
        "image": "The composite.",
        "mask": "The foreground's mask: 255 where it is, 0 where it is not.",
    }
    return said | ({"depth": depth_text(facts.depth.to_json())} if facts.depth else {})


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
    - ``croissant.json``: all of it for readers of Croissant
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
```

With mlcroissant, pictures by their paths, which `examples` has. It makes 8-bit RGB of every picture
file: of 16-bit depth it gives the paths alone.

```python
import mlcroissant

dataset = mlcroissant.Dataset("croissant.json")
for record in dataset.records("images", {"images/split": "SPLIT"}):
    image, path = record["images/image"], record["images/path"].decode()
"""

    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        paths = {}
        for kind, picture in pictures.items():
            paths[kind] = f"{example.split}/{kind}/{example.stem}.{picture.suffix}"
            yield File(None, paths[kind], picture.data)
        values = _metadata(example)
        names = {_path_column(kind): path.partition("/")[2] for kind, path in paths.items()}
        text = json.dumps(names | values, ensure_ascii=False) + "\n"
        yield File(f"{example.split}/metadata.jsonl", "", text.encode())
        row = [values[column] for column in INDEX_COLUMNS]
        yield File("index.csv", "", line(",", *row, *(paths.get(kind, "") for kind in _KINDS)))

    def input_files(self, picture: InputPicture) -> Iterator[File]:
        yield File(None, f"{picture.kind}s/{picture.file_name}", picture.data)

    def header(self, container: str) -> bytes:
        return line(",", *INDEX_COLUMNS, *_KINDS) if container == "index.csv" else b""

    def croissant(self, facts: Facts, publication: Publication) -> bytes:
        splits, pictures = "|".join(facts.splits), _pictures(facts)
        examples = RecordSet(
            name="examples",
            files="metadata",
            key="id",
            description="Where each example's foreground lies, and the paths of its pictures.",
            fields=(
                *(
                    Field(
                        f"{kind}_path",
                        "sc:Text",
                        _path_column(kind),
                        f"Path below the split's folder. {said}",
                    )
                    for kind, said in pictures.items()
                ),
                *example_fields(numbers_kept=False),
                # Readers apply it twice where they join splits: it takes a name for itself too.
                split_field("fullpath", rf"^({splits})(?:/metadata\.jsonl)?$"),
            ),
        )
        records, files = [examples], []
        names = [f"{split}/metadata.jsonl" for split in facts.splits]
        files.append(FileSet("metadata", JSON_LINES, names, "A row an example."))
        for kind, said in pictures.items():
            feature = facts.features.pictures[kind]
            suffix = SUFFIXES[feature.encoding]
            names = [f"{split}/{kind}/*.{suffix}" for split in facts.splits]
            files.append(FileSet(f"{kind}-files", f"image/{feature.encoding}", names, said))
            # mlcroissant makes 8-bit RGB of picture files: of 16 bits it gives the paths alone.
            if feature.dtype == "uint8":
                records.append(_picture_records(kind, said, splits, suffix))
        inputs = [f"{kind}/*.png" for kind in ("backgrounds", "foregrounds", "foreground_masks")]
        files.append(FileSet("inputs", "image/png", inputs, "The prepared inputs, by name."))
        files.append(FileSet("index", CSV, ["index.csv"], "A row an example, of all splits."))
        return croissant_json(facts.summary, publication, list(facts.splits), files, records)

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        super().check(dataset, source)
        taken = {"backgrounds", "foregrounds", "foreground_masks"}
        for split in taken & set(dataset.recipe.splits.names):
            raise UserError(f"layout folder has a folder {split}: name that split otherwise.")


def _path_column(kind: str) -> str:
    """The column of metadata.jsonl that has the path of a picture below the split's folder."""
    return "file_name" if kind == "image" else f"{kind}_file_name"


def _picture_records(kind: str, said: str, splits: str, suffix: str) -> RecordSet:
    """The records of all pictures of a kind, by their paths."""
    return RecordSet(
        name=f"{kind}s",
        files=f"{kind}-files",
        key="path",
        description=f"{said} By its path, which examples/{kind}_path has.",
        fields=(
            Field(kind, _KINDS[kind], "content", said),
            Field(
                "path",
                "sc:Text",
                "fullpath",
                "path below the split's folder",
                regex=rf"^(?:{splits})/(.+)$",
            ),
            Field(
                "split",
                "sc:Text",
                "fullpath",
                "the split",
                regex=rf"^({splits})/{kind}/.+\.{suffix}$",
            ),
        ),
    )


class HuggingFace(Layout):
    """Parquet files as Hugging Face's Hub and ``datasets`` take them; pictures as stored.

    - ``data/SPLIT-00000-of-000NN.parquet``, one a TFRecord shard: a row an example: ``image``,
      ``mask`` and, where there is depth, ``depth``, encoded; and the columns of index.csv
    - ``README.md``: this text, and what the Hub reads of it
    - ``croissant.json``: the same for readers of Croissant
    """

    name = "huggingface"
    reading = """
import numpy as np
from datasets import load_dataset

for row in load_dataset(".", split="SPLIT", streaming=True):
    image, mask = np.asarray(row["image"]), np.asarray(row["mask"])
    depth = np.asarray(row["depth"]) if "depth" in row else None
```

With mlcroissant; without a split, it holds all of them in memory:

```python
import mlcroissant

dataset = mlcroissant.Dataset("croissant.json")
for record in dataset.records("examples", {"examples/split": "SPLIT"}):
    image, mask = record["examples/image"], record["examples/mask"]
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

    def readme(self, facts: Facts, publication: Publication) -> str:
        pictures = ("image", "mask", "depth") if facts.depth else ("image", "mask")
        described = {
            **hub_licence(publication.licence),
            **({"pretty_name": publication.title} if publication.title else {}),
            **({"tags": publication.keywords} if publication.keywords else {}),
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
        head = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
        return f"---\n{head}---\n\n{super().readme(facts, publication)}"

    def croissant(self, facts: Facts, publication: Publication) -> bytes:
        # Readers apply it twice where they join splits: it takes a split's name for itself too.
        split = rf"^(?:data/)?({'|'.join(facts.splits)})(?:-.+\.parquet)?$"
        examples = RecordSet(
            name="examples",
            files="parquet",
            key="id",
            description="A composite with its mask and depth, and where its foreground lies.",
            fields=(
                *(
                    Field(name, _KINDS[name], name, said, json_path="bytes")
                    for name, said in _pictures(facts).items()
                ),
                *example_fields(numbers_kept=True),
                split_field("fullpath", split),
            ),
        )
        files = FileSet("parquet", PARQUET, ["data/*.parquet"], "The examples, a file a shard.")
        return croissant_json(facts.summary, publication, list(facts.splits), [files], [examples])

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
