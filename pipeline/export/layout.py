"""What a layout is: which files an export has, and what is in them."""

from __future__ import annotations

import abc
import csv
import functools
import inspect
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from depthmask.errors import UserError
from depthmask.features import Features
from depthmask.manifest import CARD, CROISSANT, DepthMeaning
from depthmask.parsing import JsonObject, count, dict_of, optional
from pipeline.export.pictures import DepthForm, Form, Picture
from pipeline.publish.sections import list_lines, marked, publication_sections
from pipeline.publish.summary import Summary

if TYPE_CHECKING:  # names of layouts are wanted where nothing of this is
    from pipeline.dataset import Dataset
    from pipeline.export.grid import Grid, InputNumber
    from pipeline.publish.publication import Publication
    from transforms.prepared import PreparedSource

# File systems take 255 bytes; the rest is for what layouts put around an example's name.
MAX_NAME = 220


@dataclass(frozen=True)
class File:
    """A file of an export: `name` in `container` (a .zip or .tar file), or None: in the folder.

    Containers of another kind are files that are the joined `data` of all that goes into them: the
    lines of a .csv or .txt, the maps of an .npz. So are files in a .zip of which there are several
    of one name; they need a `group` of their own, from 1 on: groups follow one another.
    """

    container: str | None
    name: str
    data: bytes
    group: int = 0


@dataclass(frozen=True)
class Example:
    """What is known of an example beside its pictures.

    `position` counts all `examples` of the dataset from 0, split by split, in the order of
    index.csv. `shard`, of the `shards` of its split, is the TFRecord file that it is in. `depth`:
    what stored depth means, or None.
    """

    position: int
    examples: int
    split: str
    shard: int
    shards: int
    features: Mapping[str, Any]
    grid: Grid
    depth: DepthMeaning | None

    @property
    def background(self) -> InputNumber:
        return self.grid.backgrounds[self.features["background"]]

    @property
    def foreground(self) -> InputNumber:
        return self.grid.foregrounds[self.features["foreground"]]

    @property
    def flip(self) -> int:
        return int(self.features["flip"])

    @property
    def k(self) -> int:
        """The number of the place, from 1 on."""
        return int(self.features["placement"]) + 1

    @property
    def in_pair(self) -> int:
        """Its number, from 0 on, among those of its background and foreground: by k, then flip."""
        return (self.k - 1) * self.grid.flips + self.flip

    @property
    def number(self) -> int:
        """Its number, from 0 on, by background, foreground, k and flip."""
        pair = (self.background.place - 1) * len(self.grid.foregrounds) + self.foreground.place - 1
        return pair * self.grid.a_pair + self.in_pair

    def is_among(self, count: int) -> bool:
        """Whether it is among so many at random: every n-th of a shuffled dataset."""
        position, examples = self.position, self.examples
        return position * count // examples != (position - 1) * count // examples

    @property
    def stem(self) -> str:
        """BG_FG_FLIP_K: the names of the two pictures, 0 or 1, and k from 0 on with two digits."""
        names = (flat_name(self.features[key]) for key in ("background", "foreground"))
        return "_".join((*names, str(self.flip), f"{self.k - 1:02d}"))


@functools.lru_cache(4096)
def flat_name(name: str) -> str:
    """A picture's name as part of a file name: letters, digits, ``-`` and ``%`` alone.

    All else is percent-encoded, so that names can be split at ``_``, ``.``, ``,`` and spaces.
    """
    return "".join(
        sign if sign.isalnum() or sign == "-" else "".join(f"%{byte:02X}" for byte in sign.encode())
        for sign in name
    )


@dataclass(frozen=True)
class InputPicture:
    """A prepared input: `kind` is background, foreground (with alpha) or foreground_mask; PNG.

    `label`: a background's class, or empty.
    """

    kind: str
    name: str
    label: str
    data: bytes
    grid: Grid

    @property
    def number(self) -> InputNumber:
        numbers = self.grid.backgrounds if self.kind == "background" else self.grid.foregrounds
        return numbers[self.name]

    @property
    def file_name(self) -> str:
        return f"{flat_name(self.name)}.png"


@dataclass(frozen=True)
class Facts:
    """What an export's own description says: of which dataset it is, and what its depth means.

    `splits`: examples, by name. `features`, `depth`: as the dataset stores them, or None of depth.
    """

    summary: Summary
    splits: Mapping[str, int]
    features: Features
    depth: DepthMeaning | None

    def to_json(self) -> dict[str, Any]:
        return {
            "summary": self.summary.to_json(),
            "splits": dict(self.splits),
            "features": self.features.to_json(),
            "depth": self.depth and self.depth.to_json(),
        }

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> Facts:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(
            summary=get("summary", Summary.from_json),
            splits=get("splits", dict_of(count)),
            features=get("features", Features.from_json),
            depth=get("depth", optional(DepthMeaning.from_json)),
        )


class Layout(abc.ABC):
    """A way to store a dataset."""

    name: ClassVar[str]
    image: ClassVar[Form] = Form()
    mask: ClassVar[Form] = Form()
    depth: ClassVar[DepthForm] = DepthForm()
    needs_depth: ClassVar[bool] = False
    needs_class: ClassVar[bool] = False
    # Whether files in zips are compressed.
    deflated: ClassVar[bool] = False
    # Python that reads a split, SPLIT, in the export's folder: `image`, `mask` and `depth`.
    reading: ClassVar[str]

    def order(self, example: Example) -> int:
        """Its place in every container, from 0 to below the number of examples."""
        return example.position

    @abc.abstractmethod
    def files(self, example: Example, pictures: Mapping[str, Picture]) -> Iterator[File]:
        """What becomes of an example; `pictures`: image, mask and depth in the layout's forms."""

    @abc.abstractmethod
    def input_files(self, picture: InputPicture) -> Iterator[File]:
        """What becomes of an input."""

    def header(self, container: str) -> bytes:
        """The first line of an index file."""
        return b""

    def depth_json(self, stored: DepthMeaning) -> dict[str, Any]:
        """What depth means in this layout: values × scale; `stored`: what the dataset's does."""
        meaning = stored.to_json()
        if self.depth.storage not in (None, stored.storage):
            meaning |= {"storage": self.depth.storage, "unit": None, "scale": 1 / 255}
        return meaning

    def describing(self, facts: Facts) -> Iterator[File]:
        """The file that says what depth is."""
        if facts.depth:
            text = json.dumps(self.depth_json(facts.depth), indent=2) + "\n"
            yield File("depth.json", "", text.encode())

    def published(self, facts: Facts, publication: Publication) -> dict[str, bytes]:
        """The files that follow from what its maker says of it, by name."""
        files = {CARD: marked(self.readme(facts, publication))}
        if croissant := self.croissant(facts, publication):
            files[CROISSANT] = croissant
        return files

    def croissant(self, facts: Facts, publication: Publication) -> bytes | None:
        """The export's croissant.json; None of a layout that readers of Croissant cannot read."""
        return None

    def readme(self, facts: Facts, publication: Publication) -> str:
        """The text of the export's README, with Python that reads it."""
        depth = facts.depth and self.depth_json(facts.depth)
        counts = ", ".join(f"{count:,} in {name}" for name, count in facts.splits.items())
        kinds = "Composites, masks and depth" if depth else "Composites and masks"
        summary = facts.summary
        sections = [
            ["## How it was made", "", *list_lines(summary.making)],
            ["## Known limits", "", *list_lines((*summary.limits, *publication.limits))],
            *publication_sections(publication, summary.inputs, facts.depth),
        ]
        return "\n".join(
            [
                f"# {publication.title or summary.name}, by layout {self.name}",
                "",
                *([publication.description, ""] if publication.description else []),
                f"{kinds}, made by depthmask: {counts}.",
                "",
                "## Files",
                "",
                inspect.cleandoc(self.__doc__ or ""),
                "",
                *([depth_text(depth), ""] if depth else []),
                "## Reading",
                "",
                "```python",
                self.reading.strip().replace("SPLIT", next(iter(facts.splits))),
                "```",
                "",
                "\n\n".join("\n".join(section) for section in sections),
                "",
            ]
        )

    def class_of(self, name: str, label: str) -> str:
        """The class of a background of this name and label, or empty."""
        return label

    def check(self, dataset: Dataset, source: PreparedSource) -> None:
        """Raises UserError where the dataset cannot fill the layout."""
        if self.needs_depth and dataset.manifest.depth is None:
            raise UserError(
                f"{dataset.path} has no depth, which layout {self.name} needs: make the dataset "
                "with a --depth-model, or export it by --layout folder or webdataset."
            )
        pictures = source.backgrounds
        without = [p.name for p in pictures if not self.class_of(p.name, p.label)]
        if self.needs_class and without:
            raise UserError(
                f"layout {self.name} has the backgrounds' classes, and background {without[0]} has "
                "none: make the dataset from backgrounds in a subfolder for each class, or export "
                "it by another layout."
            )


def depth_text(depth: Mapping[str, Any]) -> str:
    """What depth means, in sentences; `depth`: what a depth.json says."""
    what = f"Depth is {depth['quantity'].replace('_', ' ')}"
    if depth["storage"] in ("norm8", "plasma8"):
        what += ", each map from its least to its greatest value: 0 to 255"
        what += " on the colours of plasma" if depth["storage"] == "plasma8" else ""
    else:
        what += f": stored values × {depth['scale']:g}, in {depth['unit'] or 'no unit'}"
    if depth["model"]:
        by = f"It is by {depth['model']}."
    elif depth["storage"] in ("norm8", "plasma8"):
        by = "It was measured; what is unknown counts as 0 there, and cannot be told from it."
    else:
        by = "It was measured: 0 is unknown."
    return f"{what}. {by} `depth.json` says the same."


def line(separator: str, *values: object) -> bytes:
    """A line of an index file."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerow(values)
    return stream.getvalue().encode()
