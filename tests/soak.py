"""Kills runs, or parts of them, at random moments until they complete, and compares every byte.

And prepares pictures and masks of every kind, drawn at random: ``make soak``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.inputs import InputFolders
from tests.conftest import draw_inputs, file_bytes
from tests.sessions import END_SECONDS, Ended, Session
from tests.soak_pictures import soak_pictures

# Who gets which signal: all processes, the launcher alone, one worker.
_VICTIMS: dict[str, Callable[[Session], None]] = {
    "all killed": lambda session: session.signal_all(signal.SIGKILL),
    "launcher killed": lambda session: session.signal(signal.SIGKILL),
    "worker killed": lambda session: session.signal_worker(signal.SIGKILL),
    "launcher terminated": lambda session: session.signal(signal.SIGTERM),
    "all interrupted": lambda session: session.signal_all(signal.SIGINT),
}


@dataclass
class Kills:
    """How often a run was killed, and how often one took up what a killed one had left.

    `slowest`: by who was killed, the most seconds that the command then took to end.
    """

    resumed: int = 0
    slowest: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.counts.total()


def kill_until_done(
    command: list[str],
    output: Path,
    rng: random.Random,
    at_least: int,
    seconds: tuple[float, float],
    victims: Sequence[str] = ("all killed",),
) -> Kills:
    """Starts `command` again and again, and kills it, or part of it, after a random time.

    Once it was killed `at_least` times it may finish; finished earlier, its `output` is deleted and
    begun anew. Raises RuntimeError with its output where it fails by itself, where it ends by a
    signal otherwise than it should, or leaves a process behind.
    """
    kills = Kills()
    while True:
        kills.resumed += any(output.glob("_unfinished/*/*-n*.json"))
        killed = ""
        with Session(command) as session:
            if kills.total < at_least:
                session.wait_for(rng.uniform(*seconds))
                heeds = session.heeds_signals()
                with contextlib.suppress(IndexError, psutil.NoSuchProcess, ProcessLookupError):
                    victim = rng.choice(victims)
                    _VICTIMS[victim](session)
                    killed = victim  # it was there
            ended = session.wait(600 if not killed else END_SECONDS)
        if killed and not _is_right(killed, ended, heeds):
            raise RuntimeError(f"{killed}: {ended}")
        if killed and ended.code != 0:
            kills.counts[killed] += 1
            kills.slowest[killed] = max(kills.slowest.get(killed, 0), ended.seconds)
        elif ended.code != 0:
            raise RuntimeError(f"exit {ended.code} after {kills.total} kills:\n{ended.text}")
        elif kills.total >= at_least:
            return kills
        else:
            shutil.rmtree(output)


def _is_right(killed: str, ended: Ended, heeds: bool) -> bool:
    """Whether a command ended as it should; it may have been done just before."""
    if ended.left:
        return False
    if "worker" in killed:
        return ended.code == 0 or (ended.code == 1 and "a worker process ended" in ended.text)
    if killed.endswith("killed") or not heeds:
        return True
    return ended.code in (0, 130)


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
    slowest: dict[str, float] = {}
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
        "with depth": ["--depth-model", f"keras:{model}", "--set", "depth.model.output=depth"],
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
        # From the first moment on: half of it is start-up.
        share = -(-(kills - total) // (len(jobs) - number))
        moments = (0.0, whole * 1.02)
        done = kill_until_done(commands[1], outputs[1], rng, share, moments, list(_VICTIMS))
        total += done.total
        resumed += done.resumed
        for victim, seconds in done.slowest.items():
            slowest[victim] = max(slowest.get(victim, 0), seconds)
        same = file_bytes(outputs[0]) == file_bytes(outputs[1])
        print(
            f"{name}: {whole:.1f} s uninterrupted; {dict(done.counts)}, {done.resumed} runs "
            f"resumed; identical: {same}",
            flush=True,
        )
        if not same:
            raise SystemExit("the datasets differ")
    if resumed * 5 < total:
        raise SystemExit(f"{total} kills left only {resumed} runs something to go on with")
    print("seconds to end, at most:", {name: round(most, 1) for name, most in slowest.items()})
    print(
        f"{total} kills, {resumed} runs resumed over {len(jobs) * 8_000:,} examples: every dataset "
        "identical"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=51)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = soak_pictures(arguments.pictures, arguments.seed)
    print(f"{kinds.total():,} pictures and masks of {len(kinds)} kinds: every pixel is right")
    if arguments.kills == 0:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = draw_inputs(folder / "inputs", backgrounds=8, foregrounds=5)
        soak(folder, folders, arguments.kills, arguments.seed)


if __name__ == "__main__":
    main()
