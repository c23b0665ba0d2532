"""A finished dataset, opened: what its files say of it, and its examples, without TensorFlow."""

from __future__ import annotations

import functools
import itertools
import os
import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, SupportsIndex

from depthmask.errors import DatasetError
from depthmask.features import Features
from depthmask.files import join, open_file, path_of, read_file
from depthmask.manifest import FEATURES, MANIFEST, Manifest, ShardEntry
from depthmask.tally import Moments

if TYPE_CHECKING:  # Pillow and protobuf: who reads with TensorFlow may lack them
    from depthmask.decoding import Decoder


@dataclass(frozen=True)
class Dataset:
    """A dataset's folder, and what its manifest and features.json say of it."""

    path: str
    manifest: Manifest
    features: Features

    @property
    def splits(self) -> dict[str, int]:
        """Examples by split."""
        return self.manifest.splits

    @property
    def statistics(self) -> Mapping[str, Moments]:
        """Exact statistics of all pictures before encoding, with `mean` and `std` per channel.

        By kind: ``backgrounds``, ``foregrounds``, ``foreground_masks``, ``composites``, ``masks``
        and, where the dataset has it, ``depth``: of the pixels where it is known. As in
        statistics.json.
        """
        return self.manifest.tally.moments

    def file(self, name: str) -> str:
        """The path of a file of the dataset."""
        return join(self.path, name)

    def shards(self, split: str) -> tuple[ShardEntry, ...]:
        """A split's TFRecord files, in order. Raises DatasetError for no such split."""
        if split not in self.splits:
            raise DatasetError(
                f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        return tuple(self.manifest.shards_of(split))

    def examples(
        self, split: str, features: Sequence[str] | None = None, *, decode_depth: bool = True
    ) -> Examples:
        """The examples of a split, by number and in order. Arguments are those of `load`.

        Raises DatasetError for no such split or feature.
        """
        return Examples(self, self.shards(split), self.decoder(features, decode_depth=decode_depth))

    def decoder(self, features: Sequence[str] | None, *, decode_depth: bool = True) -> Decoder:
        """What decodes a record to some features, None: to all. Raises DatasetError."""
        from depthmask.decoding import Decoder

        names = self.names(features)
        return Decoder(self.features, names, self.manifest.depth if decode_depth else None)

    def names(self, features: Sequence[str] | None) -> tuple[str, ...]:
        """The names of the features asked for, None: of all. Raises DatasetError for others."""
        if isinstance(features, str):
            raise DatasetError(f"features is a list of names, such as [{features!r}].")
        known = self.features.by_name
        names = tuple(known) if features is None else tuple(features)
        for name in names:
            if name not in known:
                raise DatasetError(
                    f"{self.path} has no feature {name!r}; it has {', '.join(known)}."
                )
        return names


def open_dataset(path: str | os.PathLike[str], read: Callable[[str], bytes] = read_file) -> Dataset:
    """Opens the dataset in a folder: local, or remote by what fsspec knows (``depthmask[remote]``).

    `read` returns a file's bytes. Raises DatasetError where there is no finished dataset, or its
    description is damaged.
    """
    path = path_of(path)
    data = {}
    for name in (MANIFEST, FEATURES):
        try:
            data[name] = read(join(path, name))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DatasetError(
                f"{path} is not a finished depthmask dataset: it has no {name}."
            ) from error
        except OSError as error:
            raise DatasetError(f"{join(path, name)} cannot be read: {error}.") from error
    manifest = Manifest.from_bytes(data[MANIFEST], join(path, MANIFEST))
    return Dataset(path, manifest, Features.from_bytes(data[FEATURES], join(path, FEATURES)))


class Examples(Sequence[dict[str, Any]]):
    """The examples of a split, as dictionaries of NumPy arrays, str, int and bool.

    Iterating reads the files in order. The first example asked for by its number reads where each
    record begins, once; on a remote file system that is slow. Raises DatasetError where a file is
    damaged. Can be sent to other processes, and is what PyTorch's ``DataLoader`` takes.
    """

    def __init__(self, dataset: Dataset, shards: Sequence[ShardEntry], decode: Decoder) -> None:
        self._dataset, self.shards, self._decode = dataset, tuple(shards), decode
        self._ends = tuple(itertools.accumulate(shard.examples for shard in self.shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for shard in self.shards:
            for record in self.records(shard):
                yield self.decode(shard, record)

    def __getitem__(self, number: SupportsIndex) -> dict[str, Any]:  # type: ignore[override]
        index = number.__index__()
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self):,} examples, and no number {index:,}")
        index %= len(self)
        at = bisect_right(self._ends, index)
        shard = self.shards[at]
        begin = self._offsets[at][index - self._ends[at] + shard.examples]
        with open_file(self._dataset.file(shard.file)) as file:
            file.seek(begin)
            record = next(self._checked(shard, file, 0), None)
        if record is None:
            raise DatasetError(f"{self._dataset.file(shard.file)} is shorter than it was.")
        return self.decode(shard, record)

    def records(self, shard: ShardEntry, skip: int = 0) -> Iterator[bytes]:
        """The serialised records of a shard, without the first `skip`."""
        path, count = self._dataset.file(shard.file), skip
        with open_file(path) as file:
            for record in self._checked(shard, file, skip):
                count += 1
                yield record
        if count != shard.examples:
            raise self._of_other_length(path, count, shard)

    def decode(self, shard: ShardEntry, record: bytes) -> dict[str, Any]:
        """The values of one of its records."""
        try:
            return self._decode(record)
        except ValueError as error:
            raise DatasetError(f"{self._dataset.file(shard.file)}: {error}.") from error

    def _checked(self, shard: ShardEntry, file: BinaryIO, skip: int) -> Iterator[bytes]:
        from depthmask.records import read_records

        try:
            yield from read_records(file, skip)
        except ValueError as error:
            raise DatasetError(f"{self._dataset.file(shard.file)} is damaged: {error}.") from error

    def _of_other_length(self, path: str, count: int, shard: ShardEntry) -> DatasetError:
        return DatasetError(
            f"{path} has {count:,} records, and the manifest says {shard.examples:,}. Repair it "
            f"with: depthmask verify --repair {self._dataset.path}"
        )

    def find_records(self) -> None:
        """Reads where each record begins, so that copies in other processes need not."""
        _ = self._offsets

    @functools.cached_property
    def _offsets(self) -> tuple[array[int], ...]:
        """Where each record begins, in bytes, by shard."""
        return tuple(self._read_offsets(shard) for shard in self.shards)

    def _read_offsets(self, shard: ShardEntry) -> array[int]:
        from depthmask.records import FRAME_BYTES

        path = self._dataset.file(shard.file)
        offsets = array("q")
        offset = 0
        with open_file(path) as file:
            for number in range(shard.examples):
                offsets.append(offset)
                file.seek(offset)
                header = file.read(8)
                if len(header) < 8:
                    raise self._of_other_length(path, number, shard)
                offset += FRAME_BYTES + struct.unpack("<Q", header)[0]
        return offsets
