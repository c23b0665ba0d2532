"""What grows with the number of inputs: planning, the graph, a worker's cache.

python -m benchmarks.scale [--pictures N]

Makes N backgrounds and N foregrounds out of a hundred drawn ones, prepares and plans them, and
composes chunks from all over the dataset as a worker does, watching its memory.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from apache_beam.internal import pickler
from PIL import Image

from benchmarks.common import machine
from pipeline.cli import positive
from pipeline.inputs import InputFolders, find_pictures, prepare_inputs
from pipeline.plan import Plan
from pipeline.recipes import load_recipe
from scenes import write_samples
from transforms.compose import compose_chunk
from transforms.prepared import PreparedInputs

DRAWN = 100
SIDE = 32
SETTINGS = ("canvas.width=160", "canvas.height=160")


def make_pictures(folder: Path, count: int) -> InputFolders:
    """`count` distinct pictures of each kind: drawn ones with a little noise."""
    write_samples(folder / "drawn", DRAWN, DRAWN, SIDE, seed=0)
    rng = np.random.default_rng(0)
    for kind in ("backgrounds", "foregrounds"):
        (folder / kind).mkdir()
        paths = [file.path for file in find_pictures(str(folder / "drawn" / kind)).pictures]
        drawn = [np.asarray(Image.open(path)).astype(np.int16) for path in paths]
        for i in range(count):
            pixels = drawn[i % DRAWN].copy()
            pixels[..., :3] += rng.integers(-9, 10, (*pixels.shape[:2], 3), np.int16)
            picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            picture.save(folder / kind / f"{i:05d}.png", compress_level=1)
    return InputFolders(str(folder / "backgrounds"), str(folder / "foregrounds"))


class CountingInputs(PreparedInputs):
    """Counts the backgrounds that are not in the cache."""

    read = 0

    def background(self, name: str) -> np.ndarray:
        self.read += self.kept_backgrounds.get(name) is None
        return super().background(name)


def memory() -> float:
    """MiB of this process."""
    return float(psutil.Process().memory_full_info().pss) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--pictures", type=positive, default=10_000, metavar="N")
    count = parser.parse_args().pictures
    recipe = load_recipe("default", SETTINGS)
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = make_pictures(folder, count)
        before, started = memory(), time.monotonic()
        source = prepare_inputs(folders, recipe, str(folder)).source
        print(f"preparing: {time.monotonic() - started:.1f} s, {memory() - before:.0f} MiB")
        before, started = memory(), time.monotonic()
        plan = Plan(recipe, source.backgrounds, source.foregrounds)
        print(plan.summary)
        keys = plan.shard_keys()
        rng = random.Random(0)
        chunks = [rng.choice(list(plan.chunk_keys(rng.choice(keys)))) for _ in range(400)]
        planned = time.monotonic()
        specs = [plan.chunk(key) for key in chunks]
        seconds = (time.monotonic() - planned) / len(chunks)
        print(
            f"planning: {planned - started:.1f} s, {memory() - before:.0f} MiB, then "
            f"{seconds * 1000:.1f} ms a chunk of {chunks[0].examples}; as the graph carries it: "
            f"{len(pickler.dumps(plan)) / 1e6:.1f} MB"
        )
        inputs = CountingInputs(source)
        before = memory()
        for done, spec in enumerate(specs, 1):
            compose_chunk(spec, inputs, recipe.drawing)
            if done % 80 == 0:
                backgrounds, foregrounds = inputs.kept_backgrounds, inputs.kept_foregrounds
                examples = sum(len(spec.placements) for spec in specs[:done])
                print(
                    f"{done} chunks: cache {memory() - before:.0f} MiB, "
                    f"{len(backgrounds):,} of {count:,} backgrounds in "
                    f"{backgrounds.bytes / 2**20:.0f} MiB, "
                    f"{len(foregrounds):,} of {2 * count:,} cut-outs in "
                    f"{foregrounds.bytes / 2**20:.0f} MiB, of these ready to paste "
                    f"{len(inputs.kept_stamps):,} in "
                    f"{inputs.kept_stamps.bytes / 2**20:.0f} MiB, "
                    f"{inputs.read / examples:.0%} of examples read their background"
                )


if __name__ == "__main__":
    main()
