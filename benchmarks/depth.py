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

import h5py
import keras
import numpy as np
from keras import layers

from pipeline.processes.cores import usable_cores

CORES = usable_cores()
_KERAS_FILE, _WEIGHTS_FILE = "densedepth.keras", "densedepth.h5"
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
    for own in ("--way", "--models"):  # what this script tells processes of its own
        parser.add_argument(own, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        way = Way(**json.loads(arguments.way))
        run_way(way, arguments.models, arguments.size, arguments.pictures)
    elif arguments.device:
        measure_device(arguments.size, arguments.pictures, arguments.peak_tflops)
    else:
        compare(arguments.size, arguments.pictures, arguments.rounds)


def build_densedepth(size: int) -> keras.Model:
    """The published network in Keras's own layers, but for the corners: its upsampling has others.

    That costs the same, and any Keras can load the network and run it.
    """
    encoder = keras.applications.DenseNet169(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    filters = encoder.output.shape[-1]
    x = layers.Conv2D(filters, 1)(encoder.output)
    for skip in ("pool3_pool", "pool2_pool", "pool1", "conv1_relu"):
        filters //= 2
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = layers.Concatenate()([x, encoder.get_layer(skip).output])
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.LeakyReLU(0.2)(layers.Conv2D(filters, 3, padding="same")(x))
    return keras.Model(encoder.input, layers.Conv2D(1, 3, padding="same")(x), name="densedepth")


def compare(size: int, pictures: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        build_densedepth(size).save(os.path.join(folder, _KERAS_FILE))
        _write_weights(os.path.join(folder, _WEIGHTS_FILE), size)
        command = [sys.executable, "-m", "benchmarks.depth", "--models", folder]
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


def _write_weights(path: str, size: int) -> None:
    """Weights alone, as Keras 2 writes them."""
    from transforms.depth import PictureSize
    from transforms.depth.densedepth_network import densedepth_config

    rng = np.random.default_rng(0)
    shapes = densedepth_config(half_width=False, upsampling="align_corners").weights(
        PictureSize(width=size, height=size)
    )
    weights: dict[str, list[str]] = {}
    with h5py.File(path, "w") as file:
        for name, shape in shapes.items():
            layer = name.rpartition("/")[0]
            weights.setdefault(layer, []).append(name)
            scale = np.sqrt(2 / np.prod(shape[:-1]), dtype=np.float32)
            file[f"{layer}/{name}"] = rng.random(shape, np.float32) * scale
        file.attrs["layer_names"] = list(weights)
        for layer, names in weights.items():
            file[layer].attrs["weight_names"] = names


def run_way(way: Way, models: str, size: int, pictures: int) -> None:
    """Prints the pictures a second of all processes together, each of which does so many."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(way.processes + 1, timeout=1800)
    workers = [
        context.Process(target=_work, args=(way, models, size, pictures, barrier))
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


def _work(way: Way, models: str, size: int, pictures: int, barrier: Barrier) -> None:
    images = np.random.default_rng(0).integers(0, 256, (pictures, size, size, 3)).astype(np.uint8)
    run = _runner(way, models, size)
    run(images[: way.batch])
    barrier.wait()
    run(images)
    barrier.wait()


def _runner(way: Way, models: str, size: int) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    from transforms.depth import DepthSettings, DepthStage, ModelInterface, PictureSize
    from transforms.depth.densedepth import DenseDepthModel

    tf.config.threading.set_intra_op_parallelism_threads(way.threads)
    tf.constant(0)  # TensorFlow starts here: what loading sets comes too late
    if way.predict:
        network = keras.saving.load_model(os.path.join(models, _KERAS_FILE), compile=False)
        return lambda images: network.predict(
            images.astype(np.float32) / 255, batch_size=way.batch, verbose=0
        )
    settings = DepthSettings(
        batch_size=way.batch, precision=way.precision, model=ModelInterface(unit=10.0)
    )
    model = DenseDepthModel(os.path.join(models, _WEIGHTS_FILE))
    canvas = PictureSize(width=size, height=size)
    return DepthStage.of(model, settings, canvas).load().predict


def measure_device(size: int, pictures: int, peak_tflops: float | None) -> None:
    """Batches and precisions on one device, against batch 2 in float32 and the device's peak."""
    operations = 2 * multiply_adds(build_densedepth(size))
    print(f"DenseDepth at {size}×{size}, Keras on {keras.backend.backend()}")
    print(f"{operations / 1e9:.1f} GFLOP a picture")
    base = None
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(precision)
        network = build_densedepth(size)
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
