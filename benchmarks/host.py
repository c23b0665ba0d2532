"""What one worker process makes with a network that costs nothing: what a GPU would wait for.

python -m benchmarks.host [--backgrounds DIR --foregrounds DIR] [--recipe NAME …] [--rounds R]

Each figure is of a process of its own, which places, composes, encodes and writes segments, all
that a worker does but for the network: every chunk has the depth that the builtin model gives the
first.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.common import CORES, add_inputs, input_folders, machine, settings
from depthmask.errors import UserError
from pipeline.cli import positive
from pipeline.inputs import InputFolders, prepare_inputs
from pipeline.job import Draft
from pipeline.recipes import Recipe, builtin_recipes, load_recipe
from transforms.compose import compose_chunk
from transforms.depth import parse_model
from transforms.prepared import PreparedInputs
from transforms.segments import ShardStore

THREADS = sorted({1, 2, CORES})
WARM_SECONDS = 2.0  # in which caches fill
SECONDS = 4.0
_T = TypeVar("_T")
_NONE = "benchmarks' own, no depth"
_OURS = {f"benchmarks' own, metric16 {side}×{side}": side for side in (112, 224)}


@dataclass(frozen=True)
class Work:
    """What a process makes, and the depth of each of its chunks (None: there is none)."""

    draft: Draft
    depths: np.ndarray | None


@dataclass(frozen=True)
class Speed:
    """Examples a second, and microseconds of CPU time an example."""

    rate: float
    cpu: float


def run(work: Work, threads: int) -> Speed:
    """Works for `SECONDS` in this process."""
    draft = work.draft
    inputs, encoder = PreparedInputs(draft.source), draft.encoder
    drawing = draft.recipe.drawing
    chunks = itertools.chain.from_iterable(map(draft.plan.chunk_keys, draft.plan.shard_keys()))
    keys = itertools.cycle(list(itertools.islice(chunks, 4096)))

    def make_until(end: float) -> int:
        made = 0
        while time.perf_counter() < end:
            chunk = compose_chunk(draft.plan.chunk(next(keys)), inputs, drawing)
            if work.depths is not None:
                chunk = dataclasses.replace(chunk, depths=work.depths[: len(chunk.images)])
            store.write_segment(encoder.encode(chunk))
            made += len(chunk.images)
        return made

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(threads) as executor:
        store = ShardStore(folder, folder, "host", draft.plan.shard_sizes)
        list(executor.map(make_until, [time.perf_counter() + WARM_SECONDS] * threads))
        started, busy = time.perf_counter(), time.process_time()
        made = sum(executor.map(make_until, [started + SECONDS] * threads))
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return Speed(made / seconds, 1e6 * busy / made)


def first_depths(draft: Draft) -> np.ndarray:
    """The depth of the first chunk."""
    if draft.depth is None:
        raise ValueError("a draft without depth")
    spec = draft.plan.chunk(next(draft.plan.chunk_keys(draft.plan.shard_keys()[0])))
    chunk = compose_chunk(spec, PreparedInputs(draft.source), draft.recipe.drawing)
    return draft.depth.load().predict(chunk.images)


def in_process(function: Callable[..., _T], *arguments: Any) -> _T:
    """What a function returns in a new process: with caches and threads of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def recipes(names: list[str]) -> dict[str, Recipe]:
    """What is measured, by its name in the table."""
    found = {_NONE: load_recipe("default", settings(20))}
    for name, side in _OURS.items():
        size = f"depth.size={{width: {side}, height: {side}}}"
        found[name] = load_recipe("default", [*settings(20), size])
    return found | {name: load_recipe(name, ["masks.source=given"]) for name in names}


def measure(folders: InputFolders, names: list[str], rounds: int, folder: Path) -> None:
    """Runs all in interleaved rounds and prints the table."""
    works = {}
    for number, (name, recipe) in enumerate(recipes(names).items()):
        print(f"preparing {name}", file=sys.stderr)
        prepared = folder / str(number)
        prepared.mkdir()
        source = prepare_inputs(folders, recipe, str(prepared)).source
        draft = Draft.of(recipe, source, None if name == _NONE else parse_model("builtin"))
        works[name] = Work(draft, in_process(first_depths, draft) if draft.depth else None)
    speeds: dict[tuple[str, int], list[Speed]] = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for name, threads in itertools.product(works, THREADS):
            speed = in_process(run, works[name], threads)
            speeds.setdefault((name, threads), []).append(speed)
    print(f"{machine()}\nexamples a second of one process, medians of {rounds} round(s)\n")
    header = "".join(f" {threads} thread{'s' * (threads > 1)} |" for threads in THREADS)
    print(f"| recipe |{header} ratio | µs of CPU, 1 thread |")
    print(f"|---|{'---:|' * (len(THREADS) + 2)}")
    for name in works:
        rates = [statistics.median(s.rate for s in speeds[name, threads]) for threads in THREADS]
        cells = [f"{rate:,.0f}" for rate in rates] + [f"{max(rates) / rates[0]:.2f}"]
        cells.append(f"{statistics.median(s.cpu for s in speeds[name, 1]):,.0f}")
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_inputs(parser)
    parser.add_argument(
        "--recipe",
        action="append",
        choices=builtin_recipes(),
        help="besides the benchmarks' own; can be given again; default: all",
    )
    parser.add_argument("--rounds", type=positive, default=3, metavar="R")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            folders = input_folders(arguments, Path(folder) / "samples")
            names = arguments.recipe or list(builtin_recipes())
            measure(folders, names, arguments.rounds, Path(folder))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
