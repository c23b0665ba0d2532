"""Reads a dataset with depthmask.torch, in the environment of requirements-torch.txt.

    python tests/readers/by_torch.py DATASET SPLIT

Prints, as JSON: by reader, each example's id with a digest of its pictures. Fails where a stream is
not what it should be.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader

from depthmask.torch import MapDataset, StreamDataset

FEATURES = ["id", "image", "mask", "depth"]
BATCH = 4


def digests(batches: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for batch in batches:
        for number, name in enumerate(batch["id"]):
            pictures = [batch[kind][number].numpy() for kind in FEATURES[1:] if kind in batch]
            assert all(isinstance(batch[kind], torch.Tensor) for kind in FEATURES[1:])
            found.append(
                (name, hashlib.sha256(b"".join(p.tobytes() for p in pictures)).hexdigest())
            )
    return found


def main(path: str, split: str) -> None:
    dataset = MapDataset(path, split, features=FEATURES)
    by_number = digests(DataLoader(dataset, BATCH, shuffle=True, num_workers=2))
    whole = dict(by_number)

    # Two ranks of two workers: together each example once but for what ranks leave out.
    ranks = [
        StreamDataset(path, split, features=FEATURES, buffer=9, rank=rank, ranks=2)
        for rank in range(2)
    ]
    loaders = [DataLoader(rank, BATCH, num_workers=2, persistent_workers=True) for rank in ranks]
    epochs = []
    for epoch in range(2):
        for rank in ranks:
            rank.set_epoch(epoch)
        read = [digests(loader) for loader in loaders]
        assert [len(each) for each in read] == [len(dataset) // 2] * 2
        joined = read[0] + read[1]
        assert len(dict(joined)) == len(joined) and dict(joined).items() <= whole.items()
        epochs.append(read)
    assert epochs[0] != epochs[1], "each epoch has an order of its own"

    # Begun anew in the middle, in fresh processes: what would have followed, and nothing else.
    for rank, expected in zip(ranks, epochs[1], strict=True):
        for batches in (1, 2, 5):
            rank.set_epoch(1, batches=batches, batch_size=BATCH)
            left = digests(DataLoader(rank, BATCH, num_workers=2))
            assert left == expected[batches * BATCH :], batches
        rank.set_epoch(1)
        assert digests(DataLoader(rank, BATCH, num_workers=2)) == expected

    ordered = StreamDataset(path, split, features=FEATURES, shuffle=False)
    stream = digests(DataLoader(ordered, BATCH))
    assert [name for name, _ in stream] == [dataset[i]["id"] for i in range(len(dataset))]
    shapes = DataLoader(dataset, 2, collate_fn=list)
    assert next(iter(shapes))[0]["image"].flags.writeable, "torch warns of arrays it may not write"
    json.dump({"torch by number": whole, "torch stream": dict(stream)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
