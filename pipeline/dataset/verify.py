"""Checks a dataset by reading it back, with TensorFlow's own readers and decoders."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from depthmask.manifest import INDEX, STATISTICS, ShardEntry
from depthmask.parsing import ParseError, parse_json
from depthmask.tally import Tally
from pipeline.dataset.finish import statistics_json
from pipeline.dataset.opened import Dataset, check_files, check_plan, open_dataset
from pipeline.plan import Plan
from pipeline.processes.cores import usable_cores
from pipeline.processes.pool import WorkerPool
from transforms.codecs import encode_image, encode_mask
from transforms.cutout import paste_mask
from transforms.elements import Placement, ShardKey
from transforms.index import index_rows, read_index
from transforms.io.files import AnyPath, open_file, read_file
from transforms.measure import measure
from transforms.prepared import PreparedInputs, PreparedPicture, PreparedSource
from transforms.quiet import quiet_stderr

# JPEG codes blocks of at most 16×16 pixels one by one; its decoders smooth chroma over the border.
_JPEG_BLOCK = 16
_JPEG_BORDER = 2
_READ_BYTES = 2**20
# What a mask marks is drawn: real masks mark more than is seen, but not ten times more.
_LEAST_OPACITY = 0.1
# Problems of a check that its text shows.
_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One check: what it looked at, and what is wrong with that (nothing: it holds)."""

    name: str
    detail: str = ""
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line of text, and some of the problems a line each."""
        if not self.problems:
            return f"ok    {self.name}: {self.detail}"
        shown = [f"        {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"        … and {len(self.problems) - _SHOWN:,} more")
        return "\n".join([f"FAIL  {self.name}: {len(self.problems):,} wrong", *shown])


@dataclass(frozen=True)
class _IndexCheck(Check):
    """Also the byte of index.csv at which each shard's rows begin, None for one without rows."""

    starts: tuple[int | None, ...] = ()


@dataclass
class ShardReport:
    """What reading one shard showed: problems by check, and the statistics of what is stored."""

    examples: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    outside_compared: int = 0

    def add(self, check: str, problem: str) -> None:
        self.problems.setdefault(check, []).append(problem)


def verify_dataset(dataset: AnyPath, sample: int | None = None) -> Iterator[Check]:
    """Checks a dataset, decoding all examples or about `sample` of them.

    Yields one `Check` after another; the dataset is right when none has problems. Raises
    DatasetError where there is no finished dataset.
    """
    opened = open_dataset(dataset)
    files = check_files(opened)
    detail = f"{files.files} files, {files.bytes / 1e6:,.1f} MB, sizes and checksums agree"
    yield Check("files", detail, files.problems)
    if files.missing:
        return
    try:
        source = PreparedSource.of_dataset(opened.path)
    except ValueError as error:
        yield Check("inputs", problems=(f"the prepared inputs are damaged: {error}",))
        return
    check_plan(opened, Plan(opened.recipe, source.backgrounds, source.foregrounds))
    yield _check_inputs(opened, source)
    index = _check_index(opened, source)
    yield index
    if index.problems:
        return
    yield from _check_examples(opened, index.starts, sample)


def _check_inputs(dataset: Dataset, source: PreparedSource) -> Check:
    """Compares the statistics of the prepared inputs with their pixels."""
    inputs = PreparedInputs(source)
    levels = dataset.recipe.drawing.levels
    parts: list[Tally] = []
    problems = []
    for picture in source.backgrounds:
        parts.append(Tally({"backgrounds": measure(inputs.background(picture.name)[None])}))
    for picture in source.foregrounds:
        cutout = inputs.foreground(picture.name)
        pixels = np.dstack([np.asarray(cutout.colour), np.asarray(cutout.alpha)])
        mask = levels.apply(cutout.mask)
        opacity = pixels[..., -1][mask > 0].mean() / 255 if mask.any() else 0.0
        if not dataset.recipe.masks.soft and opacity < _LEAST_OPACITY:
            problems.append(
                f"{picture.name}: what its mask marks is drawn at an opacity of {opacity:.1%}"
            )
        parts.append(
            Tally({"foregrounds": measure(pixels[None]), "foreground_masks": measure(mask[None])})
        )
    stated = dataset.manifest.input_tally.moments
    problems += [
        f"the manifest has other statistics of {kind}"
        for kind, found in Tally.total(parts).moments.items()
        if found != stated[kind]
    ]
    detail = (
        f"{len(source.backgrounds):,} backgrounds, {len(source.foregrounds):,} foregrounds, "
        "statistics agree exactly"
    )
    warnings = sum(finding.level == "warning" for finding in dataset.manifest.findings)
    if warnings:
        detail += f"; {warnings:,} warnings about them are in errors.jsonl"
    return Check("inputs", detail, tuple(problems))


def _check_index(dataset: Dataset, source: PreparedSource) -> _IndexCheck:
    """Checks that every combination has exactly one row, and each shard as many as examples."""
    rules, shards = dataset.recipe.placements, dataset.manifest.shards
    backgrounds = {picture.name: number for number, picture in enumerate(source.backgrounds)}
    foregrounds = {picture.name: number for number, picture in enumerate(source.foregrounds)}
    shape = (len(backgrounds), len(foregrounds), len(rules.flips), rules.per_pair)
    seen = np.zeros(shape, np.bool_)
    counts = dict.fromkeys((ShardKey(shard.split, shard.number) for shard in shards), 0)
    starts: dict[ShardKey, int] = {}
    problems: list[str] = []
    dealt = {kind: dict[str, set[str]]() for kind in dataset.recipe.splits.dealt_out}
    try:
        with open_file(dataset.file(INDEX)) as file:
            for row in read_index(file):
                counts[row.shard] += 1
                starts.setdefault(row.shard, row.start)
                example = row.placement
                if row.shard.split != dataset.recipe.splits.between:
                    for kind, splits in dealt.items():
                        name = getattr(example, kind.removesuffix("s"))
                        splits.setdefault(name, set()).add(row.shard.split)
                try:
                    cell = (
                        backgrounds[example.background],
                        foregrounds[example.foreground],
                        int(example.flip),
                        example.index,
                    )
                    if seen[cell]:
                        problems.append(f"{example.id} is there twice")
                    seen[cell] = True
                except (KeyError, IndexError):
                    problems.append(f"{example.id} is of no known background and foreground")
    except (KeyError, ValueError) as error:
        problems.append(f"index.csv is not an index of these shards: {error}")
        return _IndexCheck("index", problems=tuple(problems))
    for kind, splits in dealt.items():
        problems += _in_two_splits(getattr(source, kind), splits)
    left_out = len(dataset.manifest.tally.left_out)
    planned = Plan(dataset.recipe, source.backgrounds, source.foregrounds).examples
    missing = planned - int(np.count_nonzero(seen)) - left_out
    if missing:
        problems.append(f"{missing:,} of {planned:,} combinations are missing")
    for count, shard in zip(counts.values(), shards, strict=True):
        if count != shard.examples:
            problems.append(f"{shard.file}: {count:,} rows for {shard.examples:,} examples")
    detail = f"{planned - left_out:,} combinations, each there once"
    if left_out:
        detail += f"; {left_out:,} left out, as errors.jsonl says"
    return _IndexCheck("index", detail, tuple(problems), tuple(map(starts.get, counts)))


def _in_two_splits(
    pictures: Sequence[PreparedPicture], splits: Mapping[str, set[str]]
) -> Iterator[str]:
    """Yields what is wrong where a picture, under whatever names, is in two splits.

    `splits`: those that each name is in.
    """
    twins: dict[int, list[str]] = {}
    for picture in pictures:
        twins.setdefault(picture.pixels, []).append(picture.name)
    for names in twins.values():
        found = set().union(*(splits.get(name, ()) for name in names))
        if len(found) > 1:
            yield f"{' = '.join(names)} is in {' and '.join(sorted(found))}"


def _check_examples(
    dataset: Dataset, starts: Sequence[int | None], sample: int | None
) -> Iterator[Check]:
    shards, total = dataset.manifest.shards, dataset.manifest.examples
    limits: list[int | None] = [
        None if sample is None else max(1, round(sample * shard.examples / total))
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
    found = Tally.total(report.tally for report in reports)
    empty = f"; {found.empty_masks:,} are empty" if found.empty_masks else ""
    details = {
        "records": f"{looked} parse and agree with index.csv, and both with the recipe",
        "pictures": f"{looked} decode to the right size",
        "masks": f"{looked} are exactly their foreground's, at x, y, width, height{empty}",
        "composites": f"{compared:,} compared; equal to the background outside the foreground",
    }
    if dataset.manifest.depth:
        details["depth"] = f"{looked} are of full range"
    for name, detail in details.items():
        problems = [problem for report in reports for problem in report.problems.get(name, [])]
        yield Check(name, detail, tuple(problems))
    if sample is None:
        yield _check_statistics(dataset, found)


def _check_statistics(dataset: Dataset, tally: Tally) -> Check:
    """Compares statistics with what is stored: exactly, or within the loss of JPEG.

    statistics.json must say what the manifest does.
    """
    codecs = {"composites": dataset.recipe.image, "depth": dataset.recipe.depth.codec}
    lossy = {kind for kind, codec in codecs.items() if codec.format == "jpeg"}
    details: list[str] = []
    problems: list[str] = []
    stated = dataset.manifest.tally.moments
    if tally.empty_masks != dataset.manifest.tally.empty_masks:
        problems.append(
            f"{tally.empty_masks:,} masks are empty, and the manifest says "
            f"{dataset.manifest.tally.empty_masks:,}"
        )
    try:
        written = parse_json(read_file(dataset.file(STATISTICS)))
    except ParseError as error:
        written = None
        problems.append(f"statistics.json is damaged: {error}")
    for kind, entry in statistics_json(stated).items():
        if isinstance(written, dict) and written.get(kind) != entry:
            problems.append(f"statistics.json has other figures of {kind} than the manifest")
    for kind, found in tally.moments.items():
        expected = stated[kind]
        if kind in lossy:
            mean, std = (
                max(abs(a - b) for a, b in zip(*pair, strict=True))
                for pair in ((found.mean, expected.mean), (found.std, expected.std))
            )
            details.append(f"{kind} within the JPEG loss (mean ±{mean:.5f}, std ±{std:.5f})")
            if found.images != expected.images or max(mean, std) > 0.02:
                problems.append(f"{kind}: mean differs by {mean:.5f}, std by {std:.5f}")
        elif found != expected:
            problems.append(f"the manifest has other statistics of {kind}")
        else:
            details.append(f"{kind} exact")
    return Check("statistics", ", ".join(details), tuple(problems))


def check_shard(path: str, number: int, start: int | None, limit: int | None) -> ShardReport:
    """Reads one shard, or its first `limit` examples, and compares it with what it should be.

    `path`: the dataset's. `number`: the shard's in the manifest. `start`: where its rows begin in
    index.csv, None where it has none.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # reading needs no GPU; another process may
    with quiet_stderr():
        import tensorflow as tf

        from depthmask.dataset import open_dataset as open_for_reading
        from depthmask.reading import decoder

        tf.config.list_physical_devices()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    checker = _example_checker(path)
    shard = checker.dataset.manifest.shards[number]
    report = ShardReport()
    decode = decoder(open_for_reading(path), decode_depth=False)
    records = tf.data.TFRecordDataset(checker.dataset.file(shard.file), buffer_size=_READ_BYTES)
    if limit is not None:
        records = records.take(limit)
    batches = records.map(decode).batch(64).prefetch(1).as_numpy_iterator()
    planned = checker.planned(shard, start, report)
    try:
        for batch in batches:
            checker.check(batch, planned, report)
    except tf.errors.DataLossError as error:
        report.add("records", f"{shard.file}: {_first_sentence(error.message)}")
    except tf.errors.InvalidArgumentError as error:
        report.add(
            "pictures",
            f"{shard.file}: after {report.examples:,} examples: {_first_sentence(error.message)}",
        )
    expected = shard.examples if limit is None else min(limit, shard.examples)
    if report.examples != expected and not report.problems:
        report.add("records", f"{shard.file}: {report.examples:,} instead of {expected:,}")
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
        self._drawing = dataset.recipe.drawing
        source = PreparedSource.of_dataset(dataset.path)
        self._plan = Plan(dataset.recipe, source.backgrounds, source.foregrounds)
        self._inputs = PreparedInputs(source)
        self._stored_background = functools.lru_cache(1024)(self._encode_background)

    def planned(
        self, shard: ShardEntry, start: int | None, report: ShardReport
    ) -> Iterator[Placement]:
        """Yields the examples that the recipe places in a shard.

        On the way it compares them with index.csv, from byte `start` on.
        """
        left_out = {example.id for example in shard.tally.left_out}
        with open_file(self.dataset.file(INDEX)) as file:
            file.seek(start or 0)
            for key in self._plan.chunk_keys(ShardKey(shard.split, shard.number)):
                spec = self._plan.chunk(key)
                rows = index_rows(spec, left_out).encode()
                if file.read(len(rows)) != rows:
                    report.add(
                        "records", f"index.csv, from byte {start}: not what the recipe places"
                    )
                yield from (each for each in spec.placements if each.id not in left_out)

    def check(
        self, batch: dict[str, np.ndarray], planned: Iterator[Placement], report: ShardReport
    ) -> None:
        """Checks a batch as `depthmask.load` makes it, but with depth as stored."""
        examples = _placements(batch)
        expected_masks = np.zeros(batch["mask"].shape[:3], np.uint8)
        for i, (example, wanted) in enumerate(zip(examples, planned, strict=False)):
            if example != wanted:
                report.add("records", f"{example.id} is not what the recipe places there")
                continue
            stamp = self._inputs.stamp(example, self._drawing)
            paste_mask(expected_masks[i], stamp.label, example.x, example.y)
            self._check_outside(example, batch["image"][i], report)
        differ = batch["mask"] != self._stored_masks(expected_masks)
        for i in np.flatnonzero(differ.any(axis=(1, 2, 3))).tolist():
            report.add("masks", f"{examples[i].id}: the mask is not its foreground's at its place")
        # Statistics are those before encoding, which a mask that passed is proof of.
        lossy = self._recipe.masks.format == "jpeg"
        masks = expected_masks if lossy else batch["mask"][..., 0]
        moments = {"composites": measure(batch["image"]), "masks": measure(masks)}
        if "depth" in batch:
            moments["depth"] = measure(batch["depth"])
            self._check_depth(examples, batch["depth"], report)
        report.tally += Tally(moments, empty_masks=int(np.count_nonzero(~masks.any(axis=(1, 2)))))
        report.examples += len(examples)

    def _check_depth(
        self, examples: list[Placement], stored: np.ndarray, report: ShardReport
    ) -> None:
        for example, depth in zip(examples, stored, strict=True):
            if fault := self._recipe.depth.fault(depth):
                report.add("depth", f"{example.id}: {fault}")

    def _check_outside(self, example: Placement, image: np.ndarray, report: ShardReport) -> None:
        """Compares a composite outside its foreground's box with its background stored alone.

        JPEG codes its blocks independently, so that this holds to the bit for JPEG too, a border
        of one block aside.
        """
        differs = (image != self._stored_background(example.background)).any(axis=2)
        jpeg = self._recipe.image.format == "jpeg"
        rows = _touched(example.y, example.y + example.height, jpeg)
        columns = _touched(example.x, example.x + example.width, jpeg)
        differs[rows, columns] = False
        report.outside_compared += 1
        if differs.any():
            y, x = np.argwhere(differs)[0]
            report.add(
                "composites",
                f"{example.id}: differs from {example.background} outside its box, at x={x} y={y}",
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


def _placements(batch: dict[str, np.ndarray]) -> list[Placement]:
    """Returns what a batch of records says of its examples."""
    columns: dict[str, list[Any]] = {}
    for name in ("id", "background", "background_class", "foreground"):
        columns[name] = [value.decode(errors="replace") for value in batch[name]]
    for name in ("flip", "placement", "x", "y", "width", "height"):
        columns[name] = batch[name].astype(np.int64).tolist()
    return [
        Placement.from_features(dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def _touched(start: int, stop: int, jpeg: bool) -> slice:
    """Returns the pixels from `start` to `stop`, and those whose JPEG blocks they touch."""
    if jpeg:
        start = start // _JPEG_BLOCK * _JPEG_BLOCK - _JPEG_BORDER
        stop = -(-stop // _JPEG_BLOCK) * _JPEG_BLOCK + _JPEG_BORDER
    return slice(max(0, start), max(0, stop))
