"""Reading a dataset with PyTorch: by number (`MapDataset`) and as a stream (`StreamDataset`).

Both give what `depthmask.open(path).examples(split)` gives, decoded by Pillow: pictures as arrays
[H, W, C] with the values of `depthmask.load`. torch's own collation makes batches of tensors of
them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.utils.data

from depthmask.dataset import Examples, open_dataset
from depthmask.manifest import ShardEntry

Transform = Callable[[dict[str, Any]], Any]


def _examples(
    path: str | os.PathLike[str], split: str, features: Sequence[str] | None, decode_depth: bool
) -> Examples:
    return open_dataset(path).examples(split, features, decode_depth=decode_depth)


class MapDataset(torch.utils.data.Dataset[Any]):
    """The examples of a split by number, for samplers such as ``DistributedSampler``.

    Reads at once where each record begins: for what lies afar take `StreamDataset`.

    `features`, `decode_depth`: as for `depthmask.load`. `transform` is given each example's
    dictionary, and returns what a batch is made of. Raises DatasetError where there is no such
    dataset, split or feature, and later where a file is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str,
        *,
        features: Sequence[str] | None = None,
        decode_depth: bool = True,
        transform: Transform | None = None,
    ) -> None:
        self._examples = _examples(path, split, features, decode_depth)
        self._examples.find_records()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> Any:
        example = self._examples[number]
        return self._transform(example) if self._transform else example


class StreamDataset(torch.utils.data.IterableDataset[Any]):
    """The examples of a split as a stream, read file by file: for large and for remote datasets.

    Each rank gets as many examples as the others, and each worker of its ``DataLoader`` a part of
    them. With `shuffle`, each epoch deals out the shards in another order, and a worker draws from
    the next `buffer` records; the order depends on `seed`, the epoch, and the numbers of ranks and
    workers alone. Call `set_epoch` before each epoch.

    `rank` and `ranks` are those of torch.distributed, where it is initialised. The rest is as for
    `MapDataset`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str,
        *,
        features: Sequence[str] | None = None,
        decode_depth: bool = True,
        transform: Transform | None = None,
        shuffle: bool = True,
        buffer: int = 1000,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if rank is None:
            rank = torch.distributed.get_rank() if distributed else 0
        if ranks is None:
            ranks = torch.distributed.get_world_size() if distributed else 1
        self._rank, self._ranks = rank, ranks
        if not 0 <= self._rank < self._ranks:
            raise ValueError(f"rank is {self._rank}, of {self._ranks} ranks")
        if buffer < 1:
            raise ValueError(f"buffer is at least 1, not {buffer}")
        self._examples = _examples(path, split, features, decode_depth)
        self._transform = transform
        self._shuffle, self._buffer, self._seed = shuffle, buffer, seed
        # Shared with workers that live on from epoch to epoch: epoch, batches, their size.
        self._start = torch.zeros(3, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Examples a rank: with several, up to one less than ranks are left out of each epoch."""
        return len(self._examples) // self._ranks

    def set_epoch(self, epoch: int, *, batches: int = 0, batch_size: int = 1) -> None:
        """Which epoch is read next, from 0.

        To go on in its middle, say how many `batches` of `batch_size` the ``DataLoader`` of this
        rank has given: the next ones are those that would have followed. What was read is not
        decoded again.
        """
        self._start[:] = torch.tensor([epoch, batches, batch_size])

    def __iter__(self) -> Iterator[Any]:
        epoch, batches, batch_size = self._start.tolist()
        info = torch.utils.data.get_worker_info()
        workers = info.num_workers if info else 1
        # A loader asks its workers in turn, and begins with the first.
        worker = ((info.id if info else 0) + batches) % workers
        begin, end = _part(len(self), workers, worker)
        given = min(len(range(worker, batches, workers)) * batch_size, end - begin)
        first = self._rank * len(self)
        stream = self._stream(epoch, first + begin, first + end)
        if self._shuffle:
            random = np.random.default_rng([self._seed, epoch, self._rank, worker])
            stream = _shuffled(stream, self._buffer, random)
        for number, item in enumerate(stream):
            if number >= given:
                example = self._examples.decode(item.shard, item.record)
                yield self._transform(example) if self._transform else example

    def _stream(self, epoch: int, begin: int, end: int) -> Iterator[_Item]:
        """The records from `begin` to `end` of all shards, in the epoch's order."""
        shards = list(self._examples.shards)
        if self._shuffle:
            np.random.default_rng([self._seed, epoch]).shuffle(shards)
        first = 0
        for shard in shards:
            start, stop = max(begin - first, 0), min(end - first, shard.examples)
            if start < stop:
                records = self._examples.records(shard, start)
                for record in itertools.islice(records, stop - start):
                    yield _Item(shard, record)
            first += shard.examples


@dataclass(frozen=True)
class _Item:
    shard: ShardEntry
    record: bytes


def _part(count: int, parts: int, part: int) -> tuple[int, int]:
    """Where one of so many nearly equal runs begins and ends; the first ones are the longer."""
    size, longer = divmod(count, parts)
    begin = part * size + min(part, longer)
    return begin, begin + size + (part < longer)


def _shuffled(items: Iterator[_Item], buffer: int, random: np.random.Generator) -> Iterator[_Item]:
    """The items, each drawn from the next `buffer` ones that are left."""
    held: list[_Item] = []
    for item in items:
        if len(held) < buffer:
            held.append(item)
            continue
        drawn = int(random.integers(buffer))
        yield held[drawn]
        held[drawn] = item
    random.shuffle(held)
    yield from held
