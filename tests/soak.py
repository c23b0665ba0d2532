"""Kills runs at random moments until they complete, and compares every byte. ``make soak``."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.inputs import InputFolders
from tests.conftest import draw_inputs, file_bytes


@dataclass(frozen=True)
class Kills:
    """How often a run was killed, and how often one took up what a killed one had left."""

    kills: int
    resumed: int


def kill_until_done(
    command: list[str],
    output: Path,
    rng: random.Random,
    at_least: int,
    seconds: tuple[float, float],
) -> Kills:
    """Starts `command` again and again, and kills its process group (SIGKILL) after a random time.

    Once it was killed `at_least` times it may finish; finished earlier, its `output` is deleted and
    begun anew. Raises RuntimeError with its output where it fails by itself.
    """
    kills = resumed = 0
    while True:
        resumed += any(output.glob("_unfinished/*/*-n*.json"))
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        limit = rng.uniform(*seconds) if kills < at_least else 600
        try:
            text, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        if process.returncode != 0:
            raise RuntimeError(f"exit {process.returncode} after {kills} kills:\n{text}")
        if kills >= at_least:
            return Kills(kills, resumed)
        shutil.rmtree(output)


def save_depth_model(path: Path) -> None:
    """A small convolutional network with fixed random weights."""
    import keras

    keras.utils.set_random_seed(3)
    picture = keras.Input((None, None, 3))
    hidden = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(picture)
    depth = keras.layers.Conv2D(1, 3, padding="same", activation="softplus")(hidden)
    keras.Model(picture, depth).save(path)


def soak(folder: Path, folders: InputFolders, kills: int, seed: int) -> None:
    """Three jobs of 8,000 examples each, one of them with depth, each killed a third of `kills`."""
    rng = random.Random(seed)
    model = folder / "model.keras"
    save_depth_model(model)
    total = resumed = 0
    jobs = {
        "plain": ["--depth-model", "none"],
        "small chunks": [
            "--depth-model",
            "none",
            "--set",
            "shards.chunk=5",
            "--set",
            "shards.examples=700",
        ],
        "with depth": ["--depth-model", f"keras:{model}"],
    }
    for number, (name, extra) in enumerate(jobs.items()):
        outputs = [folder / f"{number}-whole", folder / f"{number}-killed"]
        commands = [
            [
                *(sys.executable, "-m", "pipeline", "generate", "--output", str(output)),
                *("--backgrounds", folders.backgrounds, "--foregrounds", folders.foregrounds),
                *("--set", "canvas.width=160", "--set", "canvas.height=160"),
                *("--set", "placements.per_pair=100", "--set", "shards.examples=1000", *extra),
            ]
            for output in outputs
        ]
        started = time.monotonic()
        subprocess.run(commands[0], check=True, capture_output=True)
        whole = time.monotonic() - started
        # Half of it is start-up: kills fall before, amid and after the work.
        share = -(-(kills - total) // (len(jobs) - number))
        done = kill_until_done(commands[1], outputs[1], rng, share, (whole * 0.3, whole * 1.02))
        total += done.kills
        resumed += done.resumed
        same = file_bytes(outputs[0]) == file_bytes(outputs[1])
        print(
            f"{name}: {whole:.1f} s uninterrupted; {done.kills} kills, {done.resumed} runs "
            f"resumed; identical: {same}",
            flush=True,
        )
        if not same:
            raise SystemExit("the datasets differ")
    if resumed * 3 < total:
        raise SystemExit(f"{total} kills left only {resumed} runs something to go on with")
    print(
        f"{total} kills, {resumed} runs resumed over {len(jobs) * 8_000:,} examples: every dataset "
        "identical"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=51)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = draw_inputs(folder / "inputs", backgrounds=8, foregrounds=5)
        soak(folder, folders, arguments.kills, arguments.seed)


if __name__ == "__main__":
    main()
