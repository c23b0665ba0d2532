"""The same small job on each local runner: time, CPU, memory, processes, and the same bytes.

python -m benchmarks.runners [--backgrounds DIR --foregrounds DIR] [--prism-location FILE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import CORES, combinations, input_folders, machine, parser, settings
from depthmask.errors import UserError
from pipeline.dataset import open_dataset
from pipeline.inputs import InputFolders

SAMPLING_SECONDS = 0.25

Shards = list[tuple[str, int, int]]


@dataclass(frozen=True)
class Usage:
    """What a run and all of its child processes used. The last three are peaks.

    `other_cpu_seconds` is what the rest of the machine used meanwhile, which slowed the run.
    """

    seconds: float
    cpu_seconds: float
    other_cpu_seconds: float
    memory: int
    processes: int
    threads: int


def runners(prism: str | None) -> dict[str, list[str]]:
    """Beam's options for each configuration."""
    mode = "--direct_running_mode="
    workers = "--direct_num_workers="
    found = {
        "in-process runner, no worker process": [f"{mode}in_memory", f"{workers}1"],
        "in-process runner, 1 worker process": [f"{mode}multi_processing", f"{workers}1"],
        f"in-process runner, {CORES} worker processes": [
            f"{mode}multi_processing",
            f"{workers}{CORES}",
        ],
        f"in-process runner, {CORES} threads": [f"{mode}multi_threading", f"{workers}{CORES}"],
    }
    if prism:
        found["Prism"] = ["--runner=PrismRunner", f"--prism_location={prism}"]
    return found


def run_and_watch(command: list[str]) -> Usage:
    """Runs a command to its end. Raises UserError, with what it wrote, where it fails."""
    cpu: dict[tuple[int, float], float] = {}
    memory = processes = threads = 0
    started, busy = time.monotonic(), _busy_seconds()
    with tempfile.TemporaryFile("w+") as log:
        run = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            while not _ended(run):  # which waits between samples
                samples = _sample(run)
                cpu |= {key: seconds for key, (seconds, _, _) in samples.items()}
                memory = max(memory, sum(pss for _, pss, _ in samples.values()))
                processes = max(processes, len(samples))
                threads = max(threads, sum(count for _, _, count in samples.values()))
        finally:
            for process in _family(run):
                process.kill()
        seconds, busy = time.monotonic() - started, _busy_seconds() - busy
        if run.returncode != 0:
            log.seek(0)
            raise UserError(f"{' '.join(command)} failed:\n{log.read()}")
    mine = sum(cpu.values())
    return Usage(seconds, mine, max(0.0, busy - mine), memory, processes, threads)


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system)


def _ended(run: psutil.Popen) -> bool:
    try:
        run.wait(SAMPLING_SECONDS)
    except psutil.TimeoutExpired:
        return False
    return True


def _family(run: psutil.Popen) -> list[psutil.Process]:
    try:
        return [run, *run.children(recursive=True)] if run.poll() is None else []
    except psutil.NoSuchProcess:
        return []


def _sample(run: psutil.Popen) -> dict[tuple[int, float], tuple[float, int, int]]:
    """CPU seconds so far, bytes of memory (shared pages in proportion), threads; by process."""
    samples = {}
    for process in _family(run):
        try:
            with process.oneshot():
                cpu, memory = process.cpu_times(), process.memory_full_info()
                pss = getattr(memory, "pss", memory.uss)  # PSS is Linux's
                key = process.pid, process.create_time()
                samples[key] = cpu.user + cpu.system, pss, process.num_threads()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has just ended
    return samples


def generate(
    folders: InputFolders, places: int, output: Path, options: list[str]
) -> tuple[Usage, Shards]:
    """Makes the dataset in a process of its own."""
    command = [sys.executable, "-m", "pipeline", "generate", "--output", str(output)]
    command += ["--depth-model", "none"]
    command += ["--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds]
    command += [argument for setting in settings(places) for argument in ("--set", setting)]
    usage = run_and_watch(command + options)
    shards = open_dataset(str(output)).manifest.shards
    return usage, [(shard.file, shard.examples, shard.crc32c) for shard in shards]


def compare(folders: InputFolders, examples: int, prism: str | None, folder: Path) -> bool:
    """Runs every configuration and prints the table. Gives whether all made the same shards."""
    places = max(1, round(examples / combinations(folders)))
    made: list[Shards] = []
    lines = []
    for name, options in runners(prism).items():
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=folder) as output:
            usage, shards = generate(folders, places, Path(output) / "dataset", options)
        made.append(shards)
        count = sum(examples for _, examples, _ in shards)
        lines.append(
            _row(
                name,
                f"{usage.seconds:.1f}",
                f"{count / usage.seconds:,.0f}",
                f"{usage.cpu_seconds:.1f}",
                f"{usage.other_cpu_seconds:.1f}",
                f"{usage.memory / 2**20:,.0f}",
                str(usage.processes),
                str(usage.threads),
                "the same" if shards == made[0] else "DIFFERENT",
            )
        )
    print(f"{machine()}\n{count:,} examples in {len(made[0]):,} shards, one run each\n")
    print(
        _row(
            "", "seconds", "examples/s", "CPU s", "others", "peak MiB", "proc.", "threads", "bytes"
        )
    )
    print(*lines, sep="\n")
    print(
        "\nseconds: of the whole command, start-up included. others: CPU seconds of the rest of "
        "the\nmachine meanwhile. peak MiB: PSS of all its processes together, sampled every "
        f"{SAMPLING_SECONDS} s.\nbytes: the shards' checksums against the first line's."
    )
    return all(shards == made[0] for shards in made)


def _row(name: str, *cells: str) -> str:
    return f"{name:<40}" + "".join(f"{cell:>11}" for cell in cells)


def main() -> int:
    arguments_parser = parser(__doc__.partition("\n")[0], examples=20_000)
    arguments_parser.add_argument("--prism-location", metavar="FILE", help="Beam's prism binary")
    arguments = arguments_parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            folders = input_folders(arguments, Path(folder) / "samples")
            same = compare(folders, arguments.examples, arguments.prism_location, Path(folder))
    except UserError as error:
        sys.exit(str(error))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
