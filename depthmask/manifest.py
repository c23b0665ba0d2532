"""A dataset's manifest, typed: what the dataset holds, what its values mean, and what made it.

manifest.json is written last: a folder without it holds no finished dataset. The names of all of a
dataset's files are here too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from depthmask.errors import DatasetError
from depthmask.former import as_present
from depthmask.parsing import (
    JsonObject,
    ParseError,
    anything,
    between,
    count,
    dict_of,
    one_of,
    optional,
    parse_json,
    positive_count,
    positive_number,
    text,
    tuple_of,
    wrong,
)
from depthmask.tally import Tally

FORMAT_VERSION = 3

MANIFEST = "manifest.json"
BACKGROUNDS = "backgrounds.tfrecord"
FOREGROUNDS = "foregrounds.tfrecord"
PREPARED = (BACKGROUNDS, FOREGROUNDS)
# Of a dataset whose depth is of its backgrounds: prepared too, if it was measured, else estimated.
BACKGROUND_DEPTHS = "background_depths.tfrecord"
INDEX = "index.csv"
RECIPE = "recipe.yaml"
STATISTICS = "statistics.json"
FEATURES = "features.json"
DATASET_INFO = "dataset_info.json"
ERRORS = "errors.jsonl"
# What its publisher says of it, from which these two are written anew: the manifest has no checksum
# of any of the three.
PUBLICATION = "publish.yaml"
CARD = "README.md"
CROISSANT = "croissant.json"
# Of the pictures as readers decode them: verify writes it.
DECODED_STATISTICS = "decoded_statistics.json"
# The files beside the shards whose checksums the manifest has.
CHECKED_FILES = (*PREPARED, INDEX, RECIPE, STATISTICS, FEATURES, DATASET_INFO, ERRORS)

DepthStorageName = Literal["metric16", "norm8", "plasma8"]
_SHARD_NAME = re.compile(r"depthmask-(\w+)\.tfrecord-(\d{5,})-of-(\d{5,})")
_MAX_SIDE = 65535


# Names and checksums: what makes a text also parses it.


@dataclass(frozen=True)
class ShardName:
    """What a shard's file name says: shard `number`, from 0, of the `count` in its split."""

    split: str
    number: int
    count: int


def shard_name(split: str, number: int, count: int) -> str:
    """The file name of a shard, such as ``depthmask-train.tfrecord-00003-of-00035``."""
    return f"depthmask-{split}.tfrecord-{number:05d}-of-{count:05d}"


def parse_shard_name(name: str) -> ShardName | None:
    """The inverse of `shard_name`; None for any other name."""
    if not (found := _SHARD_NAME.fullmatch(name)) or not is_split_name(found[1]):
        return None
    parsed = ShardName(found[1], int(found[2]), int(found[3]))
    is_one = parsed.number < parsed.count and name == shard_name(*dataclasses.astuple(parsed))
    return parsed if is_one else None


def is_dataset_file(name: str) -> bool:
    """Whether a run may put a file of this name into its output folder."""
    others = (MANIFEST, CARD, CROISSANT, DECODED_STATISTICS, BACKGROUND_DEPTHS, *CHECKED_FILES)
    return name in others or parse_shard_name(name) is not None


def crc_text(crc: int) -> str:
    """A CRC-32C as eight hexadecimal digits."""
    return f"{crc:08x}"


def parse_crc(data: Any, at: str) -> int:
    """The inverse of `crc_text`. Raises ParseError."""
    if not re.fullmatch("[0-9a-f]{8}", text(data, at)):
        raise wrong(data, at, "a CRC-32C of eight hexadecimal digits")
    return int(data, 16)


def is_split_name(name: str) -> bool:
    """Whether a split may have this name: it becomes part of file names."""
    return name.isidentifier() and name.isascii()


def _split_name(data: Any, at: str) -> str:
    if not is_split_name(text(data, at)):
        raise wrong(data, at, "the name of a split")
    return str(data)


# The manifest


@dataclass(frozen=True)
class ModelIdentity:
    """Which depth model made a dataset's depth.

    `name`: of its file or folder; empty for a kind with one of its own. `crc32c`: of its files.
    """

    kind: str
    name: str
    crc32c: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "crc32c": crc_text(self.crc32c)}

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> ModelIdentity:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(get("kind", text), get("name", text), get("crc32c", parse_crc))


@dataclass(frozen=True)
class Provenance:
    """What decides a dataset's bytes. A run may only complete what a run of the same has left.

    `recipe`: with every default resolved. `inputs`: CRC-32C of the prepared inputs, by file name.
    `versions`: of packages, and the accelerator where there was one.
    """

    recipe: Mapping[str, Any]
    inputs: Mapping[str, int]
    depth_model: ModelIdentity | None
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": dict(self.recipe),
            "inputs": {name: crc_text(crc) for name, crc in self.inputs.items()},
            "depth_model": self.depth_model and self.depth_model.to_json(),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> Provenance:
        """Raises ParseError. The recipe is only known to be an object."""
        get = JsonObject(data, at).get
        return cls(
            recipe=get("recipe", dict_of(anything)),
            inputs=get("inputs", dict_of(parse_crc, one_of(*PREPARED, BACKGROUND_DEPTHS))),
            depth_model=get("depth_model", optional(ModelIdentity.from_json)),
            versions=get("versions", dict_of(text)),
        )


@dataclass(frozen=True)
class DepthMeaning:
    """What stored depth means: value × `scale` is `quantity`.

    `unit`: ``metre``, or None where depth is relative. Maps stored as ``norm8`` or ``plasma8`` go
    from the least (0) to the greatest (1) value of each. `quantity`: ``depth``, ``disparity`` …
    `width`, `height`: pixels of every stored map. `model`: its name, for people; None: depth was
    measured, and a stored 0 is unknown. `licence`: of the model's weights; None where nobody has
    said it.
    """

    storage: DepthStorageName
    quantity: str
    unit: str | None
    scale: float
    width: int
    height: int
    model: str | None
    licence: str | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> DepthMeaning:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(
            storage=get("storage", one_of(*get_args(DepthStorageName))),
            quantity=get("quantity", text),
            unit=get("unit", optional(one_of("metre"))),
            scale=get("scale", positive_number),
            width=get("width", between(1, _MAX_SIDE)),
            height=get("height", between(1, _MAX_SIDE)),
            model=get("model", optional(text)),
            licence=get("licence", optional(text)),
        )


@dataclass(frozen=True)
class InputFinding:
    """What was wrong with an input. An ``error`` left it out; a ``warning`` did not.

    `file`: its path below its folder, so that the same inputs elsewhere give the same bytes.
    """

    level: str
    file: str
    problem: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> InputFinding:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        return cls(
            level=get("level", one_of("error", "warning")),
            file=get("file", text),
            problem=get("problem", text),
            remedy=get("remedy", text),
        )


@dataclass(frozen=True)
class ShardEntry:
    """A TFRecord file: shard `number`, from 0, of the `of` shards of its split.

    `examples` are those in it; what was left out, as `tally` says, comes on top.
    """

    split: str
    number: int
    of: int
    examples: int
    bytes: int
    crc32c: int
    tally: Tally = field(repr=False)

    @property
    def file(self) -> str:
        """The name of the file."""
        return shard_name(self.split, self.number, self.of)

    @property
    def planned(self) -> int:
        """Examples in the shard, and those left out of it."""
        return self.examples + len(self.tally.left_out)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "split": self.split,
            "number": self.number,
            "of": self.of,
            "examples": self.examples,
            "bytes": self.bytes,
            "crc32c": crc_text(self.crc32c),
            "tally": self.tally.to_json(),
        }

    @classmethod
    def from_json(cls, data: Any, at: str = "") -> ShardEntry:
        """Raises ParseError."""
        get = JsonObject(data, at).get
        entry = cls(
            split=get("split", _split_name),
            number=get("number", count),
            of=get("of", positive_count),
            examples=get("examples", count),
            bytes=get("bytes", count),
            crc32c=get("crc32c", parse_crc),
            tally=get("tally", Tally.from_json),
        )
        get("file", one_of(entry.file))
        return entry


@dataclass(frozen=True)
class Manifest:
    """A dataset, as its manifest.json describes it.

    `backgrounds`, `foregrounds`: how many. `depth`: None for a dataset without depth.
    `input_tally`: of the prepared inputs. `files`: CRC-32C of the files beside the shards, by name.
    `shards`: split by split, in order.

    `format`: that of the files; a former one is read as the present one has it, and not written.

    Before a dataset is made its manifest has no `shards` yet, and of `files` at most the depth of
    its backgrounds.
    """

    provenance: Provenance
    backgrounds: int
    foregrounds: int
    depth: DepthMeaning | None
    input_tally: Tally = field(repr=False)
    findings: tuple[InputFinding, ...]
    files: Mapping[str, int] = field(default_factory=dict)
    shards: tuple[ShardEntry, ...] = ()
    format: int = FORMAT_VERSION

    @property
    def examples(self) -> int:
        return sum(shard.examples for shard in self.shards)

    @property
    def total_bytes(self) -> int:
        """Size of all shards together."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def splits(self) -> dict[str, int]:
        """Examples by split."""
        return {
            split: sum(shard.examples for shard in self.shards_of(split))
            for split in dict.fromkeys(shard.split for shard in self.shards)
        }

    def shards_of(self, split: str) -> tuple[ShardEntry, ...]:
        """The shards of a split, in order; none where there is no such split."""
        return tuple(shard for shard in self.shards if shard.split == split)

    @property
    def checksums(self) -> dict[str, int]:
        """CRC-32C of every file, shards too, by name."""
        return {**self.files, **{shard.file: shard.crc32c for shard in self.shards}}

    @property
    def shard_sizes(self) -> dict[str, tuple[int, ...]]:
        """Examples by split, shard by shard, those left out included."""
        return {
            split: tuple(shard.planned for shard in self.shards_of(split)) for split in self.splits
        }

    @functools.cached_property
    def tally(self) -> Tally:
        """Inputs and shards added up: all statistics, all that was left out."""
        return Tally.total([self.input_tally, *(shard.tally for shard in self.shards)])

    @property
    def inputs_left_out(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT_VERSION,
            "provenance": self.provenance.to_json(),
            "examples": self.examples,
            "backgrounds": self.backgrounds,
            "foregrounds": self.foregrounds,
            "depth": self.depth and self.depth.to_json(),
            "input_tally": self.input_tally.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "files": {name: crc_text(crc) for name, crc in sorted(self.files.items())},
            "shards": [shard.to_json() for shard in self.shards],
        }

    @classmethod
    def from_json(cls, data: Any, path: str = MANIFEST) -> Manifest:
        """The manifest of a finished dataset; `path`: its file, for messages.

        Raises DatasetError for what is no such manifest, or is one of a newer format.
        """
        with _naming(path):
            version = JsonObject(data, "").get("format", positive_count)
            if version > FORMAT_VERSION:
                raise DatasetError(
                    f"{path} was made by a newer depthmask: format {version}; this reads up to "
                    f"{FORMAT_VERSION}. Install the newer version."
                )
            get = JsonObject(as_present(data), "").get
            manifest = cls(
                provenance=get("provenance", Provenance.from_json),
                backgrounds=get("backgrounds", positive_count),
                foregrounds=get("foregrounds", positive_count),
                depth=get("depth", optional(DepthMeaning.from_json)),
                input_tally=get("input_tally", Tally.from_json),
                findings=get("findings", tuple_of(InputFinding.from_json)),
                files=get("files", dict_of(parse_crc, one_of(*CHECKED_FILES, BACKGROUND_DEPTHS))),
                shards=get("shards", tuple_of(ShardEntry.from_json)),
                format=version,
            )
            manifest._check(get("examples", positive_count))
        return manifest

    def _check(self, examples: int) -> None:
        """Raises ParseError where parts do not agree; `examples`: those that were counted."""
        if self.files.keys() - {BACKGROUND_DEPTHS} != set(CHECKED_FILES):
            raise ParseError(f"files are not exactly {', '.join(CHECKED_FILES)}")
        inputs, model = self.provenance.inputs, self.provenance.depth_model
        if not inputs.keys() >= set(PREPARED) or inputs != {
            name: self.files.get(name) for name in inputs
        }:
            raise ParseError("provenance.inputs and files have different checksums")
        measured = self.depth is not None and self.depth.model is None
        if measured != (BACKGROUND_DEPTHS in inputs):
            raise ParseError("depth and provenance.inputs do not go together")
        if (self.depth is None or measured) != (model is None):
            raise ParseError("depth and provenance.depth_model do not go together")
        if examples != self.examples:
            raise ParseError(f"examples is {examples}, but shards have {self.examples}")
        counts = Counter(shard.split for shard in self.shards)
        names = [
            shard_name(split, number, counts[split])
            for split in counts
            for number in range(counts[split])
        ]
        if names != [shard.file for shard in self.shards]:
            raise ParseError("shards are not all those of each split, in order")
        pictures = {"backgrounds": self.backgrounds, "foregrounds": self.foregrounds}
        pictures["foreground_masks"] = self.foregrounds
        _check_images(self.input_tally, pictures, "input_tally")
        kinds = ("composites", "masks", *(("depth",) if self.depth else ()))
        for number, shard in enumerate(self.shards):
            _check_images(
                shard.tally, dict.fromkeys(kinds, shard.examples), f"shards[{number}].tally"
            )
        try:
            _ = self.tally
        except ValueError as error:
            raise ParseError(str(error)) from error

    def to_bytes(self) -> bytes:
        """The bytes of manifest.json."""
        return (json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Manifest:
        """The inverse of `to_bytes`. Raises DatasetError, as `from_json` does."""
        with _naming(path):
            return cls.from_json(parse_json(data), path)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Raises DatasetError, naming the manifest's file, for a ParseError in the block."""
    try:
        yield
    except ParseError as error:
        raise DatasetError(
            f"{path} is damaged: {error}. Put it back from a copy, or make the dataset again."
        ) from error


def _check_images(tally: Tally, expected: Mapping[str, int], at: str) -> None:
    found = {kind: moments.images for kind, moments in tally.moments.items()}
    if found != expected:
        raise ParseError(f"{at} is of {found} pictures instead of {dict(expected)}")
