"""Composites and masks, no depth: the pipeline against the plain loop and the encoders alone.

python -m benchmarks.compose [--backgrounds DIR --foregrounds DIR] [--examples N] [--rounds R]
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.common import (
    CANVAS,
    CORES,
    QUALITY,
    THRESHOLD,
    combinations,
    input_folders,
    machine,
    parser,
    settings,
)
from depthmask.errors import RunError, UserError
from pipeline.cli import positive
from pipeline.generate import generate
from pipeline.inputs import InputFolders, find_pictures, prepare_inputs
from pipeline.plan import Plan
from pipeline.recipes import Recipe, load_recipe
from pipeline.request import Request
from transforms.codecs import ImageCodec, encode_binary_mask, encode_image
from transforms.compose import compose_chunk
from transforms.elements import ChunkKey
from transforms.prepared import PreparedInputs, PreparedSource

SIZE = (CANVAS, CANVAS)
LOOP_PAIRS = 100  # drawn at random in each round, the same for both loops
LOOP_PLACES = 20
ENCODER_CHUNKS = 16  # that each process holds in memory
ENCODER_PASSES = 6  # over them
PATIENCE = 120.0  # seconds for the slowest of the encoders' processes

LOOP = "plain loop"
LOOP_ONCE = "plain loop, opening once"
ENCODERS = "encoders"
ENCODERS_PILLOW = "encoders, Pillow's"
WHOLE = "pipeline, whole run"
STEADY = "pipeline, steady"
RATIOS = (
    (WHOLE, LOOP),
    (STEADY, LOOP),
    (WHOLE, LOOP_ONCE),
    (STEADY, LOOP_ONCE),
    (ENCODERS, WHOLE),
    (ENCODERS, STEADY),
    (ENCODERS_PILLOW, STEADY),
)

Pair = tuple[str, str]


def plain_loop(pairs: Sequence[Pair], folder: Path, once: bool) -> float:
    """Examples a second of the loop that people write by hand, in one process."""
    rng = random.Random(0)
    open_both = functools.lru_cache(1)(_open_both) if once else _open_both
    made = 0
    started = time.perf_counter()
    with zipfile.ZipFile(folder / "dataset.zip", "w", zipfile.ZIP_STORED) as archive:
        for pair in pairs:
            for flip, _ in itertools.product((False, True), range(LOOP_PLACES)):
                background, foreground = open_both(pair, flip)
                x = rng.randrange(CANVAS) - foreground.width // 2
                y = rng.randrange(CANVAS) - foreground.height // 2
                composite = background.copy()
                composite.paste(foreground, (x, y), foreground)
                mask = Image.new("L", SIZE)
                alpha = foreground.getchannel("A")
                mask.paste(alpha.point(lambda value: 255 * (value >= THRESHOLD)), (x, y))
                for kind, image in (("image", composite), ("mask", mask)):
                    path = folder / f"{kind}_{made:06d}.jpg"
                    image.save(path, quality=QUALITY)
                    archive.write(path, path.name)
                made += 1
    return made / (time.perf_counter() - started)


def _open_both(pair: Pair, flip: bool) -> tuple[Image.Image, Image.Image]:
    background = Image.open(pair[0]).convert("RGB")
    if background.size != SIZE:
        background = ImageOps.fit(background, SIZE)
    foreground = Image.open(pair[1]).convert("RGBA")
    return background, ImageOps.mirror(foreground) if flip else foreground


def encoders(plan: Plan, source: PreparedSource) -> tuple[float, float]:
    """Examples a second of encoding alone, in a process a core, from arrays in memory.

    By the fastest encoders that write the same bytes on any CPU, and by Pillow's own.
    """
    chunks = itertools.chain.from_iterable(map(plan.chunk_keys, plan.shard_keys()))
    keys = list(itertools.islice(chunks, CORES * ENCODER_CHUNKS))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(CORES + 1, timeout=PATIENCE)
    processes = [
        context.Process(target=_encode, args=(plan, source, keys[i::CORES], barrier), daemon=True)
        for i in range(CORES)
    ]
    for process in processes:
        process.start()
    examples = ENCODER_PASSES * sum(key.examples for key in keys)
    rates = []
    for _ in range(2):
        barrier.wait()  # all have their arrays
        started = time.perf_counter()
        barrier.wait()  # all have encoded them
        rates.append(examples / (time.perf_counter() - started))
    for process in processes:
        process.join()
    return rates[0], rates[1]


def _encode(plan: Plan, source: PreparedSource, keys: Sequence[ChunkKey], barrier: Barrier) -> None:
    recipe, inputs = plan.recipe, PreparedInputs(source)
    chunks = [compose_chunk(plan.chunk(key), inputs, recipe.drawing) for key in keys]
    for encode in (_encode_fast, _encode_by_pillow):
        barrier.wait()
        for chunk in chunks * ENCODER_PASSES:
            for image, mask in zip(chunk.images, chunk.masks, strict=True):
                encode(image, mask, recipe.image)
        barrier.wait()


def _encode_fast(image: np.ndarray, mask: np.ndarray, codec: ImageCodec) -> None:
    encode_image(image, codec)
    encode_binary_mask(mask)


def _encode_by_pillow(image: np.ndarray, mask: np.ndarray, codec: ImageCodec) -> None:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=codec.quality)
    Image.fromarray(mask > 0).save(stream, "PNG", compress_level=4)


def pipeline_seconds(folders: InputFolders, recipe: Recipe) -> float:
    """Seconds of a whole run on the local default runner."""
    request = Request.of(folders.backgrounds, folders.foregrounds, recipe=recipe, depth_model=None)
    silent = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
    ):
        started = time.perf_counter()
        generate(request, Path(folder) / "dataset")
        return time.perf_counter() - started


def measure(folders: InputFolders, examples: int, rounds: int, folder: Path) -> None:
    """Runs everything in interleaved rounds and prints the table."""
    places = max(4, round(examples / combinations(folders)))
    small, large = (load_recipe("default", settings(k)) for k in (places // 4, places))
    inputs = prepare_inputs(folders, large, str(folder))
    plans = [
        Plan(recipe, inputs.source.backgrounds, inputs.source.foregrounds)
        for recipe in (small, large)
    ]
    few, many = (plan.examples for plan in plans)
    backgrounds, foregrounds = (
        [picture.path for picture in find_pictures(kind).pictures]
        for kind in (folders.backgrounds, folders.foregrounds)
    )
    rates: dict[str, list[float]] = {}
    pipeline_seconds(folders, small)  # whatever is loaded at the first run only
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        rng = random.Random(number)
        pairs = [(rng.choice(backgrounds), rng.choice(foregrounds)) for _ in range(LOOP_PAIRS)]
        figures = {}
        for name, once in ((LOOP, False), (LOOP_ONCE, True)):
            with tempfile.TemporaryDirectory() as loop_folder:
                figures[name] = plain_loop(pairs, Path(loop_folder), once)
        figures[ENCODERS], figures[ENCODERS_PILLOW] = encoders(plans[1], inputs.source)
        short, long = (pipeline_seconds(folders, recipe) for recipe in (small, large))
        if long <= short:
            raise UserError("the runs are too short to tell a steady rate: give more --examples.")
        figures[WHOLE], figures[STEADY] = many / long, (many - few) / (long - short)
        for name, figure in figures.items():
            rates.setdefault(name, []).append(figure)

    print(
        f"{machine()}\n{plans[1].summary}, {CANVAS}×{CANVAS}, JPEG {QUALITY}; {rounds} round(s)\n"
    )
    _print_row("examples a second", "median", "min", "max")
    for name, values in rates.items():
        _print_row(name, *(f"{value:,.0f}" for value in _spread(values)))
    print()
    _print_row("ratio in a round", "median", "min", "max")
    for above, below in RATIOS:
        values = [a / b for a, b in zip(rates[above], rates[below], strict=True)]
        _print_row(f"{above} / {below}", *map("{:.2f}".format, _spread(values)))
    print(
        f"\nplain loop: one process, {LOOP_PAIRS * LOOP_PLACES * 2:,} examples; opens both for "
        "each example.\n"
        f"opening once: the same, but opens them once for {LOOP_PLACES} places.\n"
        f"encoders: {CORES} processes, pixels in memory, nothing stored: the fastest known that "
        "write\nthe same bytes on any CPU, which are the pipeline's; and Pillow's writers.\n"
        f"whole run: {many:,} examples, from preparing the inputs and starting {CORES} worker "
        "processes to the manifest.\n"
        f"steady: what a run of {many:,} makes beyond one of {few:,}, in the time it takes beyond "
        "it: no start-up."
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _print_row(name: str, *cells: str) -> None:
    print(f"{name:<60}" + "".join(f"{cell:>9}" for cell in cells))


def main() -> None:
    arguments_parser = parser(__doc__.partition("\n")[0], examples=80_000)
    arguments_parser.add_argument("--rounds", type=positive, default=3, metavar="R")
    arguments = arguments_parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            folders = input_folders(arguments, Path(folder) / "samples")
            measure(folders, arguments.examples, arguments.rounds, Path(folder))
    except (UserError, RunError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
