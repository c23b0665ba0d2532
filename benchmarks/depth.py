"""DenseDepth in pictures a second: as notebooks run it and as depthmask does.

python -m benchmarks.depth [--size 160] [--rounds 3]        on the CPU, with TensorFlow
python -m benchmarks.depth --device [--peak-tflops 989]     on an accelerator, with any Keras

The weights are random: speed does not depend on them. On the CPU each way runs in fresh processes
and the ways take turns, so that what else the machine does meets all of them. `--device` needs
neither TensorFlow nor Beam: KERAS_BACKEND=jax or torch will do.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier

import numpy as np

from transforms.depth import PictureSize
from transforms.depth.densedepth import build_densedepth
from transforms.depth.interface import ModelInterface

CORES = os.cpu_count() or 1
BATCH = 2  # that of the five teams' notebooks


@dataclass(frozen=True)
class Way:
    """One way to run the network: with model.predict, or as depthmask does in `processes`."""

    name: str
    predict: bool = False
    batch: int = 16
    processes: int = 1
    threads: int = 1
    precision: str = "float32"


WAYS = (
    Way(f"model.predict(batch_size={BATCH})", predict=True, batch=BATCH, threads=CORES),
    Way("model.predict(batch_size=16)", predict=True, threads=CORES),
    Way(f"depthmask, one process of {CORES} threads", threads=CORES),
    Way(f"depthmask, {CORES} processes, batch {BATCH}", batch=BATCH, processes=CORES),
    Way(f"depthmask, {CORES} processes, batch 16", processes=CORES),
    Way(f"depthmask, {CORES} processes, batch 16, bfloat16", processes=CORES, precision="bfloat16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", type=int, default=160, metavar="PIXELS")
    parser.add_argument("--pictures", type=int, default=64, metavar="N", help="a process and round")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--device", action="store_true", help="the accelerator that Keras finds")
    parser.add_argument(
        "--peak-tflops", type=float, metavar="T", help="of the device in 16 bits: adds the share"
    )
    for own in ("--way", "--model"):  # what this script tells processes of its own
        parser.add_argument(own, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        way = Way(**json.loads(arguments.way))
        run_way(way, arguments.model, arguments.size, arguments.pictures)
    elif arguments.device:
        measure_device(arguments.size, arguments.pictures, arguments.peak_tflops)
    else:
        compare(arguments.size, arguments.pictures, arguments.rounds)


def compare(size: int, pictures: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "densedepth.keras")
        build_densedepth(PictureSize(width=size, height=size)).save(model)
        command = [sys.executable, "-m", "benchmarks.depth", "--model", model]
        command += ["--size", str(size), "--pictures", str(pictures)]
        for number in range(rounds):
            for way in WAYS:
                own = [*command, "--way", json.dumps(asdict(way))]
                output = subprocess.run(own, check=True, capture_output=True, text=True).stdout
                rates[way.name].append(float(output.split()[-1]))
                print(f"round {number + 1}: {way.name}: {rates[way.name][-1]:.1f}", file=sys.stderr)
    base = rates[WAYS[0].name]
    print(f"DenseDepth at {size}×{size} on {CORES} cores, medians of {rounds} rounds")
    print("| way | pictures/s | ms a picture | × predict(batch_size=2) |\n|---|---:|---:|---:|")
    for name, found in rates.items():
        median = statistics.median(found)
        ratios = [rate / first for rate, first in zip(found, base, strict=True)]
        print(f"| {name} | {median:.1f} | {1000 / median:.1f} | {statistics.median(ratios):.2f} |")


def run_way(way: Way, model: str, size: int, pictures: int) -> None:
    """Prints the pictures a second of all processes together, each of which does so many."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(way.processes + 1, timeout=1800)
    workers = [
        context.Process(target=_work, args=(way, model, size, pictures, barrier))
        for _ in range(way.processes)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    print(way.processes * pictures / (time.perf_counter() - started))
    for worker in workers:
        worker.join()


def _work(way: Way, model: str, size: int, pictures: int, barrier: Barrier) -> None:
    images = np.random.default_rng(0).integers(0, 256, (pictures, size, size, 3)).astype(np.uint8)
    run = _runner(way, model, size)
    run(images[: way.batch])
    barrier.wait()
    run(images)
    barrier.wait()


def _runner(way: Way, model: str, size: int) -> Callable[[np.ndarray], np.ndarray]:
    import keras
    import tensorflow as tf

    from transforms.depth.keras_model import KerasModel
    from transforms.depth.model import DepthSettings, DepthStage

    tf.config.threading.set_intra_op_parallelism_threads(way.threads)
    tf.constant(0)  # TensorFlow starts here: what loading sets comes too late
    if way.predict:
        network = keras.saving.load_model(model, compile=False)
        return lambda images: network.predict(
            images.astype(np.float32) / 255, batch_size=way.batch, verbose=0
        )
    settings = DepthSettings(
        batch_size=way.batch,
        precision=way.precision,
        model=ModelInterface(output="disparity", unit=10.0),
    )
    canvas = PictureSize(width=size, height=size)
    return DepthStage.of(KerasModel(model), settings, canvas).load().predict


def measure_device(size: int, pictures: int, peak_tflops: float | None) -> None:
    """Batches and precisions on one device, against batch 2 in float32 and the device's peak."""
    import keras

    operations = 2 * multiply_adds(build_densedepth(PictureSize(width=size, height=size)))
    print(f"DenseDepth at {size}×{size}, Keras on {keras.backend.backend()}")
    print(f"{operations / 1e9:.1f} GFLOP a picture")
    base = None
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(precision)
        network = build_densedepth(PictureSize(width=size, height=size))
        for batch in (BATCH, 16, 64, 256):
            if precision == "float32" and batch == 256:
                continue
            values = np.random.default_rng(0).random((batch, size, size, 3), np.float32)
            network.predict_on_batch(values)
            repeats = max(2, pictures // batch)
            started = time.perf_counter()
            for _ in range(repeats):
                network.predict_on_batch(values)
            rate = repeats * batch / (time.perf_counter() - started)
            base = base or rate
            share = rate * operations / (peak_tflops * 1e12) if peak_tflops else float("nan")
            print(
                f"{precision}, batch {batch}: {rate:,.0f} pictures/s, {rate / base:.2f} × the "
                f"first, {share:.1%} of the peak",
                flush=True,
            )


def multiply_adds(network: object) -> int:
    """Of the network's convolutions for one picture, counted from the shapes of their kernels."""
    total = 0
    for layer in network.layers:  # type: ignore[attr-defined]
        if hasattr(layer, "kernel"):
            rows, columns = layer.output.shape[1:3]
            total += rows * columns * int(np.prod(layer.kernel.shape))
    return total


if __name__ == "__main__":
    main()
