"""Checks index.csv: that every combination of background and foreground is there once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from depthmask.errors import UserError
from depthmask.manifest import INDEX
from pipeline.dataset import Dataset, check_plan
from pipeline.plan import Plan
from pipeline.verify.check import Check
from transforms.elements import ShardKey
from transforms.index import read_index
from transforms.io.files import open_file
from transforms.prepared import PreparedPicture, PreparedSource

# Bytes of a row, at least.
_LEAST_ROW = 20


@dataclass(frozen=True)
class IndexCheck(Check):
    """Also the byte of index.csv at which each shard's rows begin, None for one without rows."""

    starts: tuple[int | None, ...] = ()


def check_index(dataset: Dataset, source: PreparedSource) -> IndexCheck:
    """Checks that every combination has exactly one row, and each shard as many as examples."""
    if problem := _cannot_be(dataset, source):
        return IndexCheck("index", problems=(problem,))
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
        return IndexCheck("index", problems=tuple(problems))
    for kind, splits in dealt.items():
        problems += _in_two_splits(getattr(source, kind), splits)
    planned = sum(shard.planned for shard in shards)
    left_out = len(dataset.manifest.tally.left_out)
    missing = planned - int(np.count_nonzero(seen)) - left_out
    if missing:
        problems.append(f"{missing:,} of {planned:,} combinations are missing")
    for count, shard in zip(counts.values(), shards, strict=True):
        if count != shard.examples:
            problems.append(f"{shard.file}: {count:,} rows for {shard.examples:,} examples")
    detail = f"{planned - left_out:,} combinations, each there once"
    if left_out:
        detail += f"; {left_out:,} left out, as errors.jsonl says"
    return IndexCheck("index", detail, tuple(problems), tuple(map(starts.get, counts)))


def _cannot_be(dataset: Dataset, source: PreparedSource) -> str | None:
    """Returns why this cannot be the index, before memory is taken for as many rows as are said."""
    try:
        check_plan(dataset, Plan(dataset.recipe, source.backgrounds, source.foregrounds))
    except UserError as error:
        return str(error)
    examples = dataset.manifest.examples
    with open_file(dataset.file(INDEX)) as file:
        if file.seek(0, os.SEEK_END) < examples * _LEAST_ROW:
            return f"index.csv has fewer than {examples:,} rows"
    return None


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
