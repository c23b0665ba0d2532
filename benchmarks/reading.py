"""How fast each reader reads a dataset, beside decoding the same bytes and doing nothing else.

python -m benchmarks.reading DATASET [--split NAME] [--examples N] [--rounds R]

Those of TensorFlow and PyTorch are measured where they are installed. A reader and its bare
decoding take turns; a ratio of 1 means that all time goes into decoding.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import depthmask
from depthmask.decoding import decode_pixels
from depthmask.records import parse_example

BATCH = 64


@dataclass(frozen=True)
class Reading:
    """A reader of the first examples of a split; each function runs once through them."""

    name: str
    read: Callable[[], None]
    decode: Callable[[], None]


def run_through(items: Any) -> None:
    """Takes every item, and keeps none."""
    for _ in items:
        pass


def by_numpy(dataset: str, split: str, count: int, pictures: list[list[bytes]]) -> list[Reading]:
    """Without TensorFlow, in one process: in order, and by number."""
    examples = depthmask.open(dataset).examples(split)
    _ = examples[0]  # finds where records begin

    def decode() -> None:
        for one in pictures:
            for data in one:
                decode_pixels(data)

    return [
        Reading(
            "depthmask.open, in order",
            lambda: run_through(itertools.islice(examples, count)),
            decode,
        ),
        Reading(
            "depthmask.open, by number",
            lambda: run_through(examples[number] for number in range(count)),
            decode,
        ),
    ]


def by_tensorflow(
    dataset: str, split: str, count: int, pictures: list[list[bytes]]
) -> list[Reading]:
    """`depthmask.load`, and what it decodes by TensorFlow's own functions, in batches."""
    import tensorflow as tf

    from depthmask.reading import decode_jpeg

    features = list(depthmask.open(dataset).features.pictures.values())
    columns = tuple(tf.constant(list(column)) for column in zip(*pictures, strict=True))

    def decode(*column: tf.Tensor) -> list[tf.Tensor]:
        return [
            decode_jpeg(data, feature.channels)
            if feature.encoding == "jpeg"
            else tf.io.decode_png(data, feature.channels, tf.as_dtype(feature.dtype))
            for feature, data in zip(features, column, strict=True)
        ]

    bare = tf.data.Dataset.from_tensor_slices(columns).map(decode, tf.data.AUTOTUNE)
    loaded = depthmask.load(dataset, split).take(count)
    return [
        Reading(
            "depthmask.load",
            lambda: run_through(loaded.batch(BATCH)),
            lambda: run_through(bare.batch(BATCH).prefetch(tf.data.AUTOTUNE)),
        )
    ]


def by_torch(dataset: str, split: str, count: int, pictures: list[list[bytes]]) -> list[Reading]:
    """Both datasets through a DataLoader with two workers, beside one that only decodes."""
    import torch

    from depthmask.torch import MapDataset, StreamDataset

    def loader(data: Any) -> Iterator[Any]:
        found = torch.utils.data.DataLoader(data, BATCH, num_workers=2)
        return itertools.islice(found, -(-count // BATCH))

    class Bare(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return count

        def __getitem__(self, number: int) -> Any:
            return [torch.from_numpy(decode_pixels(data)) for data in pictures[number]]

    stream, by_number = StreamDataset(dataset, split), MapDataset(dataset, split)
    return [
        Reading(
            name, lambda data=data: run_through(loader(data)), lambda: run_through(loader(Bare()))
        )
        for name, data in (("depthmask.torch, stream", stream), ("depthmask.torch, map", by_number))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--split", default="train", metavar="NAME")
    parser.add_argument("--examples", type=int, default=4096, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="R")
    arguments = parser.parse_args()
    opened = depthmask.open(arguments.dataset)
    count = min(arguments.examples, opened.splits[arguments.split])
    examples = opened.examples(arguments.split)
    records = itertools.chain.from_iterable(map(examples.records, examples.shards))
    pictures = [
        [features[name] for name in opened.features.pictures]
        for features in map(parse_example, itertools.islice(records, count))
    ]
    makers = [by_numpy]
    makers += [by_tensorflow] if importlib.util.find_spec("tensorflow") else []
    makers += [by_torch] if importlib.util.find_spec("torch") else []
    print("| reader | examples a second | decoding alone | ratio |\n|---|---:|---:|---:|")
    for make in makers:
        for reading in make(arguments.dataset, arguments.split, count, pictures):
            rates = []
            for _ in range(arguments.rounds + 1):  # the first one warms caches
                seconds = []
                for function in (reading.read, reading.decode):
                    started = time.perf_counter()
                    function()
                    seconds.append(time.perf_counter() - started)
                rates.append(tuple(count / s for s in seconds))
            read, decode = (statistics.median(side) for side in zip(*rates[1:], strict=True))
            ratio = statistics.median(a / b for a, b in rates[1:])
            print(f"| {reading.name} | {read:,.0f} | {decode:,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
