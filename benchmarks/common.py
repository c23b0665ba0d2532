"""What the benchmarks share: inputs, settings, the line about the machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from pathlib import Path

from depthmask.errors import UserError
from pipeline.cli import positive
from pipeline.inputs import InputFolders, find_pictures
from pipeline.processes.cores import usable_cores
from scenes import write_samples
from transforms.codecs import encoder_versions

CANVAS = 160
QUALITY = 50
THRESHOLD = 128
CORES = usable_cores()
_SAMPLES = 20  # backgrounds, and foregrounds, to draw where no folders are given


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where the pictures are."""
    parser.add_argument("--backgrounds", metavar="DIR", help="without folders, samples are drawn")
    parser.add_argument("--foregrounds", metavar="DIR", help="cut-outs (RGBA)")


def parser(description: str, examples: int) -> argparse.ArgumentParser:
    """A parser with the arguments that every benchmark of the whole pipeline has."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    add_inputs(parser)
    parser.add_argument(
        "--examples",
        type=positive,
        default=examples,
        metavar="N",
        help=f"that the pipeline makes, about (default {examples:,}): rounded to whole places for "
        "each pair of pictures, plain and mirrored",
    )
    return parser


def input_folders(arguments: argparse.Namespace, folder: Path) -> InputFolders:
    """The user's folders, or sample inputs drawn into `folder`."""
    given = (arguments.backgrounds, arguments.foregrounds)
    if all(given):
        return InputFolders(*given)
    if any(given):
        raise UserError("give both --backgrounds and --foregrounds, or neither.")
    print("drawing sample inputs", file=sys.stderr)
    write_samples(folder, _SAMPLES, _SAMPLES, CANVAS, seed=0)
    return InputFolders(str(folder / "backgrounds"), str(folder / "foregrounds"))


def combinations(folders: InputFolders) -> int:
    """Pairs of a background and a foreground, plain and mirrored."""
    return (
        2
        * len(find_pictures(folders.backgrounds).pictures)
        * len(find_pictures(folders.foregrounds).pictures)
    )


def settings(places: int) -> list[str]:
    """The recipe of every benchmark, as changes of the default one."""
    return [
        f"canvas.width={CANVAS}",
        f"canvas.height={CANVAS}",
        "foregrounds.size={mode: native}",
        "placements.region=anywhere",
        f"placements.per_pair={places}",
        f"image.quality={QUALITY}",
        f"masks.threshold={THRESHOLD}",
    ]


def machine() -> str:
    """The machine and the versions that decide how fast things are, in two lines."""
    names = ("depthmask", "apache-beam", "numpy", "pillow")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    versions += [f"{name} {version}" for name, version in encoder_versions().items()]
    return (
        f"{CORES} cores, {_cpu_model()}, {platform.system()}\n"
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
