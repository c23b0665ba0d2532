"""Checks a dataset against its recipe and the inputs that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from depthmask.manifest import BACKGROUND_DEPTHS, DECODED_STATISTICS
from depthmask.parsing import ParseError, parse_json
from depthmask.tally import Moments, Tally
from pipeline.dataset import (
    Dataset,
    check_files,
    check_model,
    in_proportion,
    json_text,
    open_dataset,
    statistics_json,
)
from pipeline.processes.cores import usable_cores
from pipeline.processes.pool import WorkerPool
from pipeline.verify.check import Check
from pipeline.verify.depth import MAPS_ESTIMATED, estimate_again
from pipeline.verify.index import check_index
from pipeline.verify.inputs import check_inputs
from pipeline.verify.look import EXAMPLES_LOOKED_AT, look_at_examples
from pipeline.verify.metadata import check_metadata, differences
from pipeline.verify.shards import check_shard
from transforms.depth import KINDS, ModelChoice, parse_model
from transforms.io.files import AnyPath, checked_path, exists, join, read_file, replace_file
from transforms.parts import unfinished_path
from transforms.prepared import PreparedSource


@dataclass(frozen=True)
class StatisticsCheck(Check):
    """Also the statistics of all pictures as readers decode them, where nothing is wrong."""

    decoded: Mapping[str, Moments] = field(default_factory=dict)


def verify_dataset(
    dataset: AnyPath, sample: int | None = None, depth_model: str | None = None
) -> Iterator[Check]:
    """Checks a dataset, making all examples again or about `sample` of them.

    `depth_model`: the one that made its depth, to estimate a sample of that again; ``builtin`` need
    not be named. Yields one `Check` after another; the dataset is right when none has problems.
    Raises DatasetError where there is no finished dataset, UserError for another model.
    """
    opened = open_dataset(dataset)
    model = _model(opened, depth_model)
    files = check_files(opened)
    detail = f"{files.files} files, {files.bytes / 1e6:,.1f} MB, sizes and checksums agree"
    yield Check("files", detail, files.problems)
    if files.missing:
        return
    try:
        source = PreparedSource.of_dataset(opened.path)
        if BACKGROUND_DEPTHS in opened.manifest.files:
            source.with_depths(opened.path)
    except (OSError, ValueError, LookupError) as error:
        yield Check("inputs", problems=(f"the prepared inputs are damaged: {error}",))
        return
    yield check_inputs(opened, source)
    yield check_metadata(opened, source)
    index = check_index(opened, source)
    yield index
    if not index.problems:
        yield from _check_examples(opened, index.starts, sample, model)


def _check_examples(
    dataset: Dataset, starts: Sequence[int | None], sample: int | None, model: ModelChoice | None
) -> Iterator[Check]:
    total = dataset.manifest.examples
    limits = (
        [None] * len(starts)
        if sample is None
        else [wanted for _, wanted in in_proportion(dataset, sample)]
    )
    looks = min(sample or total, EXAMPLES_LOOKED_AT)
    estimates = min(sample or total, MAPS_ESTIMATED)
    with (
        WorkerPool(usable_cores()) as pool,
        tqdm(total=len(starts), unit="shard", disable=None) as bar,
    ):
        # Those first, which cannot be shared out.
        looking = pool.submit(look_at_examples, dataset.path, looks)
        if BACKGROUND_DEPTHS in dataset.manifest.files:  # examples follow from it
            model = None
        estimating = pool.submit(estimate_again, dataset.path, model, estimates) if model else None
        reports = []
        for future in [
            pool.submit(check_shard, dataset.path, number, start, limit)
            for number, (start, limit) in enumerate(zip(starts, limits, strict=True))
        ]:
            reports.append(future.result())
            bar.update()
        looked = looking.result()
        again = estimating.result() if estimating else None
    examples = sum(report.examples for report in reports)
    compared = f"{examples:,} of {total:,} examples" if sample is not None else f"{examples:,}"
    tally = Tally.total(report.tally for report in reports)
    empty = f"; {tally.empty_masks:,} are empty" if tally.empty_masks else ""
    details = {
        "records": f"{compared} agree with index.csv, and both with the recipe",
        "pictures": f"{compared} decode, and are stored as the recipe says",
        "masks": f"{compared} are exactly their foreground's, at x, y, width, height{empty}",
        "composites": f"{compared} are their foreground on their background",
    }
    if dataset.manifest.depth:
        if BACKGROUND_DEPTHS in dataset.manifest.files:
            details["depth"] = (
                f"{compared} are exactly their background's, their foreground before it"
            )
        else:
            details["depth"] = f"{compared} are of full range; " + (
                f"{again.examples:,} estimated again by {dataset.manifest.provenance.depth_model}"
                if again
                else "none estimated again: name its model by --depth-model"
            )
    problems: dict[str, list[str]] = {}
    for report in reports:
        for check, found in report.problems.items():
            problems.setdefault(check, []).extend(found)
    if again and again.problems:
        problems.setdefault("depth", []).extend(again.problems)
    for name, detail in details.items():
        yield Check(name, detail, tuple(problems.get(name, ())))
    seen = f"{looked.examples:,}, read by TensorFlow, are what Pillow alone draws"
    yield Check("readers", seen, looked.problems)
    if sample is None:
        decoded = {} if problems else Tally.total(report.decoded for report in reports).moments
        yield _check_statistics(dataset, decoded, problems)


def _check_statistics(
    dataset: Dataset, decoded: Mapping[str, Moments], found: Mapping[str, list[str]]
) -> Check:
    """Those of shards were compared where they were counted; `found`: what was wrong with any."""
    problems = list(found.get("statistics", ()))
    if not found and exists(path := dataset.file(DECODED_STATISTICS)):
        try:
            written = parse_json(read_file(path))
            problems += (
                f"{DECODED_STATISTICS}{problem}: delete it, and verify writes it anew"
                for problem in differences(written, statistics_json(decoded))
            )
        except ParseError as error:
            problems.append(f"{DECODED_STATISTICS} is damaged: {error}")
    kinds = ", ".join(dataset.manifest.tally.moments)
    detail = f"{kinds} are those of the pixels before they were encoded, shard by shard"
    return StatisticsCheck("statistics", detail, tuple(problems), decoded)


def write_decoded(dataset: AnyPath, check: StatisticsCheck) -> str:
    """Writes the statistics of decoded pictures into a dataset; says where, or why it could not."""
    path = join(checked_path(dataset), DECODED_STATISTICS)
    data = json_text(statistics_json(check.decoded)).encode()
    try:
        if not exists(path):
            replace_file(path, unfinished_path(path), [data])
    except OSError as error:
        return f"Statistics of the decoded pictures could not be written: {error}"
    return f"Statistics of the decoded pictures are in {path}"


def _model(dataset: Dataset, name: str | None) -> ModelChoice | None:
    """The model that made the depth, where it is at hand. Raises UserError for another."""
    made_by = dataset.manifest.provenance.depth_model
    if name is not None:
        model = parse_model(name)
        if model is not None:
            check_model(dataset, model)
        return model
    if made_by is None or made_by.kind not in KINDS or KINDS[made_by.kind].needs_path:
        return None
    model = KINDS[made_by.kind]()
    return model if model.identity() == made_by else None
