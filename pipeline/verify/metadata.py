"""Checks what is said of a dataset: its manifest, and the files that say the same in other ways."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from typing import Any

from depthmask.errors import UserError
from depthmask.manifest import ERRORS, FORMAT_VERSION, RECIPE
from depthmask.parsing import ParseError, parse_json
from pipeline.dataset import Dataset, described, json_text
from pipeline.verify.check import Check
from pipeline.verify.depth import expected_meaning
from transforms.io.files import read_file
from transforms.prepared import PreparedSource

# Of other machines, the last digit of a square root may be another.
_SAME_FIGURE = 1e-12


def check_metadata(dataset: Dataset, source: PreparedSource) -> Check:
    """Compares the manifest with recipe and inputs, and with it each file that follows from it."""
    problems = [*_of_manifest(dataset, source), *_of_files(dataset)]
    detail = "recipe, splits, depth, statistics, features and errors agree with the manifest"
    return Check("metadata", detail, tuple(problems))


def _of_manifest(dataset: Dataset, source: PreparedSource) -> Iterator[str]:
    manifest = dataset.manifest
    for kind, stated, pictures in (
        ("backgrounds", manifest.backgrounds, source.backgrounds),
        ("foregrounds", manifest.foregrounds, source.foregrounds),
    ):
        if stated != len(pictures):
            yield f"the manifest says {stated:,} {kind}; there are {len(pictures):,}"
    if manifest.depth is None and manifest.tally.left_out:
        yield f"{len(manifest.tally.left_out):,} examples are left out of a dataset without depth"
    if manifest.depth is None:
        return
    try:
        expected = expected_meaning(dataset)
    except UserError as error:
        yield f"the manifest's depth model: {error}"
        return
    yield from (
        f"manifest.json, depth{problem}"
        for problem in differences(manifest.depth.to_json(), expected.to_json())
    )


def _of_files(dataset: Dataset) -> Iterator[str]:
    manifest = dataset.manifest
    for name, wanted in described(dataset.recipe, manifest, manifest.tally.moments).items():
        found = read_file(dataset.file(name))
        # A former format's recipe has the keys of then, and its checksum was compared.
        if found == wanted or (name == RECIPE and manifest.format < FORMAT_VERSION):
            continue
        if name in (RECIPE, ERRORS):
            yield f"{name} is not what the manifest says{_first_line(found, wanted)}"
            continue
        try:
            value = parse_json(found)
        except ParseError as error:
            yield f"{name} is damaged: {error}"
            continue
        problems = list(differences(value, parse_json(wanted)))
        if not problems and json_text(value).encode() != found:
            problems = [" is not written as depthmask writes it"]
        yield from (f"{name}{problem}" for problem in problems)


def _first_line(found: bytes, wanted: bytes) -> str:
    lines = zip(found.splitlines(), wanted.splitlines(), strict=False)
    for number, (line, wanted_line) in enumerate(lines, 1):
        if line != wanted_line:
            text = line.decode(errors="replace")
            return f", in line {number}: {reprlib.repr(text)}"
    return ": it has other lines at its end"


def differences(found: Any, wanted: Any, at: str = "") -> Iterator[str]:
    """Yields where two values of JSON differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in wanted.keys() - found.keys():
            yield f"{at}.{key} is missing"
        for key, value in found.items():
            if key in wanted:
                yield from differences(value, wanted[key], f"{at}.{key}")
            else:
                yield f"{at}.{key} is of nothing in the dataset"
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, pair in enumerate(zip(found, wanted, strict=True)):
            yield from differences(*pair, f"{at}[{number}]")
    elif type(found) is not type(wanted) or not (
        math.isclose(found, wanted, rel_tol=_SAME_FIGURE)
        if isinstance(found, float)
        else found == wanted
    ):
        yield f"{at} is {reprlib.repr(found)}, not {reprlib.repr(wanted)}"
