"""Checks a dataset by reading it back, with TensorFlow's own readers and decoders."""

from __future__ import annotations

import csv
import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from depthmask.manifest import INDEX_COLUMNS
from depthmask.tally import Tally
from pipeline.dataset.finish import statistics_json
from pipeline.dataset.opened import Dataset, open_dataset
from pipeline.plan.plan import Plan
from pipeline.run.cores import usable_cores
from pipeline.run.pool import WorkerPool
from transforms.codecs import encode_image, encode_mask
from transforms.cutout import binarise, paste_mask, resize
from transforms.io.files import AnyPath, crc_text, join, open_file, stored_checksum
from transforms.measure import measure
from transforms.prepared import PreparedInputs, PreparedSource
from transforms.quiet import quiet_stderr

# JPEG codes blocks of at most 16×16 pixels one by one; its decoders smooth chroma over the border.
_JPEG_BLOCK = 16
_JPEG_BORDER = 2
_READ_BYTES = 2**20
# Of each check, so many findings are printed.
_SHOWN = 5


@dataclass
class Check:
    """One line of the report: what was looked at, and what is wrong with it (nothing: it holds)."""

    name: str
    detail: str = ""
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.problems:
            return f"ok    {self.name}: {self.detail}"
        shown = [f"        {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"        … and {len(self.problems) - _SHOWN:,} more")
        return "\n".join([f"FAIL  {self.name}: {len(self.problems):,} wrong", *shown])


@dataclass
class IndexCheck(Check):
    """Also where in index.csv each shard's rows begin, None for a shard that has none."""

    starts: list[int | None] = field(default_factory=list)


@dataclass
class ShardReport:
    """What reading one shard found: problems by check, and the statistics of what is stored."""

    examples: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    outside_compared: int = 0

    def add(self, check: str, problem: str) -> None:
        self.problems.setdefault(check, []).append(problem)


def verify(dataset: AnyPath, sample: int | None = None) -> Iterator[Check]:
    """Checks a dataset, decoding all examples or about `sample` of them.

    Yields one `Check` after another; the dataset is right when none has problems.
    """
    opened = open_dataset(dataset)
    files = check_files(opened)
    yield files
    if any("missing" in problem for problem in files.problems):
        return
    try:
        source = PreparedSource.of_dataset(opened.path)
    except ValueError as error:
        yield Check("inputs", problems=[f"the prepared inputs are damaged: {error}"])
        return
    yield _check_inputs(opened, source)
    index = _check_index(opened, source)
    yield index
    if index.problems:
        return
    yield from _check_examples(opened, index.starts, sample)


def check_files(dataset: Dataset) -> Check:
    """Every file that the manifest names is there, with its size and checksum."""
    check = Check("files")
    expected: list[tuple[str, str, int | None]] = [
        (name, entry["crc32c"], None) for name, entry in dataset.manifest["files"].items()
    ]
    shards = dataset.manifest["shards"]
    expected += [(shard["file"], shard["crc32c"], shard["bytes"]) for shard in shards]
    total = 0
    for name, crc, size in expected:
        try:
            found_crc, found_size = stored_checksum(dataset.file(name))
        except OSError:
            check.problems.append(f"{name} is missing")
            continue
        total += found_size
        if size is not None and found_size != size:
            check.problems.append(f"{name} has {found_size:,} bytes instead of {size:,}")
        elif crc_text(found_crc) != crc:
            check.problems.append(f"{name} has CRC-32C {crc_text(found_crc)} instead of {crc}")
    check.detail = f"{len(expected)} files, {total / 1e6:,.1f} MB, sizes and checksums agree"
    return check


def _check_inputs(dataset: Dataset, source: PreparedSource) -> Check:
    """The statistics of the prepared inputs, from their pixels."""
    check = Check("inputs")
    inputs = PreparedInputs(source)
    threshold = dataset.recipe.masks.binary_threshold
    parts: list[Tally] = []
    for picture in source.backgrounds:
        parts.append(Tally({"backgrounds": measure(inputs.background(picture.name)[None])}))
    for picture in source.foregrounds:
        cutout = inputs.foreground(picture.name, False)
        pixels = np.dstack([np.asarray(cutout.colour), np.asarray(cutout.alpha)])
        mask = cutout.mask if threshold is None else binarise(cutout.mask, threshold)
        parts.append(
            Tally({"foregrounds": measure(pixels[None]), "foreground_masks": measure(mask[None])})
        )
    for kind, found in statistics_json(Tally.total(parts)).items():
        if found != dataset.statistics.get(kind):
            check.problems.append(f"statistics.json says otherwise of {kind}")
    check.detail = (
        f"{len(source.backgrounds):,} backgrounds, {len(source.foregrounds):,} foregrounds, "
        "statistics agree exactly"
    )
    return check


@dataclass(frozen=True)
class _IndexRow:
    """A row of index.csv, and the byte of the file where it begins."""

    start: int
    values: dict[str, str]


def _index_rows(path: str) -> Iterator[_IndexRow]:
    """The rows of a dataset's index. A row is always one line.

    Raises ValueError where the file is no such index.
    """
    with open_file(join(path, "index.csv")) as file:
        header = file.readline()
        columns = header.decode().strip().split(",")
        start = len(header)
        for line in file:
            (values,) = csv.reader([line.decode()])
            yield _IndexRow(start, dict(zip(columns, values, strict=True)))
            start += len(line)


def _check_index(dataset: Dataset, source: PreparedSource) -> IndexCheck:
    """Every combination has exactly one row, and rows are as many as records, shard by shard."""
    check = IndexCheck("index")
    rules = dataset.recipe.placements
    backgrounds = {picture.name: number for number, picture in enumerate(source.backgrounds)}
    foregrounds = {picture.name: number for number, picture in enumerate(source.foregrounds)}
    shape = (len(backgrounds), len(foregrounds), len(rules.flips), rules.per_pair)
    seen = np.zeros(shape, np.bool_)
    shards = dataset.manifest["shards"]
    places = _places(shards)
    counts = [0] * len(shards)
    check.starts = [None] * len(shards)
    try:
        for row in _index_rows(dataset.path):
            values = row.values
            place = places[values["split"], values["shard"]]
            counts[place] += 1
            if check.starts[place] is None:
                check.starts[place] = row.start
            try:
                cell = (
                    backgrounds[values["background"]],
                    foregrounds[values["foreground"]],
                    int(values["flip"]),
                    int(values["placement"]),
                )
                if seen[cell]:
                    check.problems.append(f"{values['id']} is there twice")
                seen[cell] = True
            except (KeyError, IndexError, ValueError):
                check.problems.append(f"{values['id']} is of no known background and foreground")
    except (KeyError, ValueError, csv.Error) as error:
        check.problems.append(f"index.csv is not an index of these shards: {error}")
        return check
    left_out = sum(len(shard["tally"]["left_out"]) for shard in shards)
    missing = int(seen.size - np.count_nonzero(seen)) - left_out
    if missing:
        check.problems.append(f"{missing:,} of {seen.size:,} combinations are missing")
    for count, shard in zip(counts, shards, strict=True):
        if count != shard["examples"]:
            check.problems.append(
                f"{shard['file']}: {count:,} rows for {shard['examples']:,} examples"
            )
    check.detail = f"{seen.size - left_out:,} combinations, each there once"
    if left_out:
        check.detail += f"; {left_out:,} left out, as errors.jsonl says"
    return check


def _places(shards: Sequence[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Where a shard stands in the manifest, by its split and its number as index.csv has them."""
    numbers: Counter[str] = Counter()
    places = {}
    for place, shard in enumerate(shards):
        split = shard["split"]
        places[split, str(numbers[split])] = place
        numbers[split] += 1
    return places


def _check_examples(
    dataset: Dataset, starts: Sequence[int | None], sample: int | None
) -> Iterator[Check]:
    shards = dataset.manifest["shards"]
    total = sum(shard["examples"] for shard in shards)
    limits: list[int | None] = [
        None if sample is None else max(1, round(sample * shard["examples"] / total))
        for shard in shards
    ]
    reports = []
    with (
        WorkerPool(usable_cores()) as pool,
        tqdm(total=len(shards), unit="shard", disable=None) as bar,
    ):
        futures = [
            pool.submit(check_shard, dataset.path, number, start, limit)
            for number, (start, limit) in enumerate(zip(starts, limits, strict=True))
        ]
        for future in futures:
            reports.append(future.result())
            bar.update()
    examples = sum(report.examples for report in reports)
    looked = f"{examples:,} of {total:,} examples" if sample is not None else f"{examples:,}"
    compared = sum(report.outside_compared for report in reports)
    details = {
        "records": f"{looked} parse and agree with index.csv, and both with the recipe",
        "pictures": f"{looked} decode to the right size",
        "masks": f"{looked} are exactly their foreground's, at x, y, width, height",
        "composites": f"{compared:,} compared; equal to the background outside the foreground",
    }
    if dataset.manifest["depth"]:
        details["depth"] = f"{looked} are of full range"
    for name, detail in details.items():
        problems = [problem for report in reports for problem in report.problems.get(name, [])]
        yield Check(name, detail, problems)
    if sample is None:
        yield _check_statistics(dataset, Tally.total(report.tally for report in reports))


def _check_statistics(dataset: Dataset, tally: Tally) -> Check:
    """Statistics of what is stored: equal where storage is lossless, else the difference told."""
    check = Check("statistics")
    codecs = {"composites": dataset.recipe.image, "depth": dataset.recipe.depth.codec}
    lossy = {kind for kind, codec in codecs.items() if codec.format == "jpeg"}
    details = []
    for kind, found in statistics_json(tally).items():
        stated = dataset.statistics.get(kind)
        if stated is None:
            check.problems.append(f"statistics.json has no {kind}")
        elif kind in lossy:
            mean, std = (
                max(abs(a - b) for a, b in zip(found[key], stated[key], strict=True))
                for key in ("mean", "std")
            )
            details.append(f"{kind} within the JPEG loss (mean ±{mean:.5f}, std ±{std:.5f})")
            if found["images"] != stated["images"] or max(mean, std) > 0.02:
                check.problems.append(f"{kind}: mean differs by {mean:.5f}, std by {std:.5f}")
        elif found != stated:
            check.problems.append(f"statistics.json says otherwise of {kind}")
        else:
            details.append(f"{kind} exact")
    check.detail = ", ".join(details)
    return check


def check_shard(path: str, number: int, start: int | None, limit: int | None) -> ShardReport:
    """Reads one shard, or its first `limit` examples, and compares it with what it should be.

    `path`: the dataset's. `number`: the shard's in the manifest. `start`: where its rows begin in
    index.csv, None where it has none.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # reading needs no GPU; another process may
    with quiet_stderr():
        import tensorflow as tf

        from depthmask.reading import decoder, read_info

        tf.config.list_physical_devices()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    checker = _example_checker(path)
    shard = checker.dataset.manifest["shards"][number]
    report = ShardReport()
    decode = decoder(read_info(path), decode_depth=False)
    records = tf.data.TFRecordDataset(join(path, shard["file"]), buffer_size=_READ_BYTES)
    if limit is not None:
        records = records.take(limit)
    batches = records.map(decode).batch(64).prefetch(1).as_numpy_iterator()
    rows = checker.planned_rows(number, start, report)
    try:
        for batch in batches:
            checker.check(batch, rows, report)
    except tf.errors.DataLossError as error:
        report.add("records", f"{shard['file']}: {_first_sentence(error.message)}")
    except tf.errors.InvalidArgumentError as error:
        report.add(
            "pictures",
            f"{shard['file']}: after {report.examples:,} examples: "
            f"{_first_sentence(error.message)}",
        )
    expected = shard["examples"] if limit is None else min(limit, shard["examples"])
    if report.examples != expected and not report.problems:
        report.add("records", f"{shard['file']}: {report.examples:,} instead of {expected:,}")
    return report


def _first_sentence(message: str) -> str:
    return message.split(" [Op:", maxsplit=1)[0].splitlines()[0]


@functools.cache
def _example_checker(path: str) -> _ExampleChecker:
    """The dataset's, one a process: its shards have the same inputs."""
    return _ExampleChecker(open_dataset(path))


class _ExampleChecker:
    """Compares batches of decoded examples with index, inputs and recipe."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._recipe = dataset.recipe
        source = PreparedSource.of_dataset(dataset.path)
        self._plan = Plan(dataset.recipe, source.backgrounds, source.foregrounds)
        self._inputs = PreparedInputs(source)
        self._stored_background = functools.lru_cache(1024)(self._encode_background)

    def planned_rows(
        self, number: int, start: int | None, report: ShardReport
    ) -> Iterator[dict[str, str]]:
        """What the recipe places in a shard, as index.csv should have it from byte `start` on."""
        left_out = {
            example["id"]
            for example in self.dataset.manifest["shards"][number]["tally"]["left_out"]
        }
        with open_file(join(self.dataset.path, "index.csv")) as file:
            file.seek(start or 0)
            for key in self._plan.chunk_keys(self._plan.shard_keys()[number]):
                text = self._plan.chunk(key).index_rows(left_out)
                if file.read(len(text.encode())) != text.encode():
                    report.add(
                        "records", f"index.csv, from byte {start}: not what the recipe places"
                    )
                yield from csv.DictReader(text.splitlines(), INDEX_COLUMNS)

    def check(
        self, batch: dict[str, np.ndarray], rows: Iterator[dict[str, str]], report: ShardReport
    ) -> None:
        """`batch`: as `depthmask.load` batches it, depth as stored. `rows`: as planned."""
        n = len(batch["id"])
        texts = {
            name: [value.decode() for value in batch[name]]
            for name in ("id", "background", "background_class", "foreground")
        }
        numbers = {
            name: batch[name].astype(np.int64).tolist()
            for name in ("flip", "placement", "x", "y", "width", "height")
        }
        expected_masks = np.zeros(batch["mask"].shape[:3], np.uint8)
        for i, row in zip(range(n), rows, strict=False):
            example = {name: str(values[i]) for name, values in (texts | numbers).items()}
            if any(row[name] != value for name, value in example.items()):
                report.add("records", f"{example['id']} is not what the recipe places there")
                continue
            box = _Box(*(numbers[name][i] for name in ("x", "y", "width", "height")))
            cutout = resize(
                self._inputs.foreground(texts["foreground"][i], bool(numbers["flip"][i])),
                box.width,
                box.height,
            )
            paste_mask(expected_masks[i], cutout.mask, box.x, box.y)
            self._check_outside(
                texts["id"][i], batch["image"][i], texts["background"][i], box, report
            )
        threshold = self._recipe.masks.binary_threshold
        if threshold is not None:
            expected_masks = binarise(expected_masks, threshold)
        differ = batch["mask"] != self._stored_masks(expected_masks)
        for i in np.flatnonzero(differ.any(axis=(1, 2, 3))).tolist():
            report.add("masks", f"{texts['id'][i]}: the mask is not its foreground's at its place")
        # Statistics are those before encoding, which a mask that passed is proof of.
        lossy = self._recipe.masks.format == "jpeg"
        masks = expected_masks if lossy else batch["mask"][..., 0]
        moments = {"composites": measure(batch["image"]), "masks": measure(masks)}
        if "depth" in batch:
            moments["depth"] = measure(batch["depth"])
            self._check_depth(texts["id"], batch["depth"], report)
        report.tally += Tally(moments)
        report.examples += n

    def _check_depth(self, names: list[str], stored: np.ndarray, report: ShardReport) -> None:
        for name, depth in zip(names, stored, strict=True):
            if fault := self._recipe.depth.fault(depth):
                report.add("depth", f"{name}: {fault}")

    def _check_outside(
        self, name: str, image: np.ndarray, background: str, box: _Box, report: ShardReport
    ) -> None:
        """Outside the box a composite is stored exactly as its background alone would be.

        JPEG codes its blocks independently, so that this holds to the bit for JPEG too, a border
        of one block aside.
        """
        stored = self._stored_background(background)
        differs = (image != stored).any(axis=2)
        rows, columns = box.touched(self._recipe.image.format == "jpeg")
        differs[rows, columns] = False
        report.outside_compared += 1
        if differs.any():
            y, x = np.argwhere(differs)[0]
            report.add(
                "composites", f"{name}: differs from {background} outside its box, at x={x} y={y}"
            )

    def _stored_masks(self, masks: np.ndarray) -> np.ndarray:
        """Masks uint8 [n, H, W] as a reader finds them, [n, H, W, C]: after the codec's loss."""
        from depthmask.reading import decode_jpeg

        codec = self._recipe.masks
        if codec.format == "png":
            return np.broadcast_to(masks[..., None], (*masks.shape, codec.channels))
        return np.stack(
            [
                decode_jpeg(encode_mask(mask, codec, not codec.soft), codec.channels)
                for mask in masks
            ]
        )

    def _encode_background(self, name: str) -> np.ndarray:
        from depthmask.reading import decode_jpeg

        pixels = self._inputs.background(name)
        if self._recipe.image.format == "png":
            return pixels
        data = encode_image(pixels, self._recipe.image)
        return np.asarray(decode_jpeg(data, pixels.shape[2]))


@dataclass(frozen=True)
class _Box:
    x: int
    y: int
    width: int
    height: int

    def touched(self, jpeg: bool) -> tuple[slice, slice]:
        """Rows and columns whose stored pixels the foreground may have changed."""
        return (
            _touched(self.y, self.y + self.height, jpeg),
            _touched(self.x, self.x + self.width, jpeg),
        )


def _touched(start: int, stop: int, jpeg: bool) -> slice:
    if jpeg:
        start = start // _JPEG_BLOCK * _JPEG_BLOCK - _JPEG_BORDER
        stop = -(-stop // _JPEG_BLOCK) * _JPEG_BLOCK + _JPEG_BORDER
    return slice(max(0, start), max(0, stop))
