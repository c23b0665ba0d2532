"""The plan: which examples there are, in which split, shard and chunk. Nothing is materialised."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from depthmask.errors import UserError
from pipeline.plan.placement import name_key, place
from pipeline.plan.randomness import UInt64, hash_key, permute
from pipeline.recipes import Recipe
from transforms.elements import ChunkKey, ChunkSpec, Placement, ShardKey
from transforms.prepared import PreparedPicture

# Classes of backgrounds that are named in the summary.
_CLASSES = 20


@dataclass(frozen=True)
class Split:
    """A named part of the examples.

    It is the run [start, stop) of the seeded permutation of all examples that its backgrounds and
    foregrounds (indices into the plan's) give. `shard_sizes`: examples, shard by shard.
    """

    name: str
    backgrounds: tuple[int, ...]
    foregrounds: tuple[int, ...]
    start: int
    stop: int
    shard_sizes: tuple[int, ...]

    @property
    def examples(self) -> int:
        return self.stop - self.start

    def first(self, shard: int) -> int:
        """Where in the permutation a shard begins: sizes differ by one, the larger shards first."""
        size = self.shard_sizes[-1]
        larger = self.examples - size * len(self.shard_sizes)
        return self.start + shard * size + min(shard, larger)


@dataclass(frozen=True)
class Plan:
    """Every example of a dataset as a function of its place in it."""

    recipe: Recipe
    backgrounds: tuple[PreparedPicture, ...]
    foregrounds: tuple[PreparedPicture, ...]

    @functools.cached_property
    def splits(self) -> dict[str, Split]:
        """The splits in the recipe's order, by name, with exact counts."""
        recipe = self.recipe
        everything = tuple(range(len(self.backgrounds))), tuple(range(len(self.foregrounds)))
        splits: dict[str, Split] = {}
        if recipe.splits.by == "example":
            total = self._combinations(*everything)
            start = 0
            for name, count in _apportion(total, recipe.splits.fractions, "examples").items():
                sizes = _shard_sizes(count, recipe.shards.examples)
                splits[name] = Split(name, *everything, start, start + count, sizes)
                start += count
            return splits
        pictures = self.backgrounds if recipe.splits.by == "background" else self.foregrounds
        counts = _apportion(len(pictures), recipe.splits.fractions, f"{recipe.splits.by}s")
        for name, dealt in _deal(_twins(pictures, recipe.seed), counts).items():
            mine = tuple(sorted(dealt))
            sides = (
                (mine, everything[1]) if recipe.splits.by == "background" else (everything[0], mine)
            )
            examples = self._combinations(*sides)
            sizes = _shard_sizes(examples, recipe.shards.examples)
            splits[name] = Split(name, *sides, 0, examples, sizes)
        return splits

    @property
    def examples(self) -> int:
        return sum(split.examples for split in self.splits.values())

    @property
    def combinations(self) -> int:
        """How many examples there are, by arithmetic alone."""
        rules = self.recipe.placements
        pairs = len(self.backgrounds) * len(self.foregrounds)
        return pairs * len(rules.flips) * rules.per_pair

    @property
    def shard_sizes(self) -> dict[str, tuple[int, ...]]:
        return {name: split.shard_sizes for name, split in self.splits.items()}

    @property
    def summary(self) -> str:
        """What the plan comes to, in a line; in another the backgrounds' classes, if any."""
        shards = sum(len(sizes) for sizes in self.shard_sizes.values())
        rules = self.recipe.placements
        return (
            f"{len(self.backgrounds):,} backgrounds × {len(self.foregrounds):,} foregrounds × "
            f"{len(rules.flips)} × {rules.per_pair:,} places: {self.examples:,} examples in "
            f"{shards_text(shards)}{self._classes}"
        )

    @property
    def _classes(self) -> str:
        counts = Counter(picture.label for picture in self.backgrounds)
        if counts.keys() == {""}:
            return ""
        shown = [f"{label or 'none'} ({count:,})" for label, count in sorted(counts.items())]
        more = f" and {len(shown) - _CLASSES:,} more" if len(shown) > _CLASSES else ""
        return f"\nclasses of backgrounds: {', '.join(shown[:_CLASSES])}{more}"

    def shard_keys(self) -> list[ShardKey]:
        """Every shard of every split."""
        return [
            ShardKey(name, shard)
            for name, split in self.splits.items()
            for shard in range(len(split.shard_sizes))
        ]

    def chunk_keys(self, shard: ShardKey) -> Iterator[ChunkKey]:
        """The chunks of a shard, in order."""
        size = self.splits[shard.split].shard_sizes[shard.shard]
        step = self.recipe.chunk_examples
        for start in range(0, size, step):
            yield ChunkKey(shard, start, min(step, size - start))

    def chunk(self, key: ChunkKey) -> ChunkSpec:
        """The placements of a chunk's examples."""
        split = self.splits[key.shard.split]
        first = split.first(key.shard.shard) + key.start
        return ChunkSpec(key, self._placements(split, first, key.examples))

    def _placements(self, split: Split, first: int, count: int) -> tuple[Placement, ...]:
        recipe = self.recipe
        flips = recipe.placements.flips
        total = self._combinations(split.backgrounds, split.foregrounds)
        positions = np.arange(first, first + count, dtype=np.uint64)
        shuffle = np.uint64(hash_key(recipe.seed, "shuffle"))
        numbers = permute(
            positions, np.full(count, total, np.uint64), np.full(count, shuffle)
        ).astype(np.int64)
        numbers, indices = np.divmod(numbers, recipe.placements.per_pair)
        numbers, flip_numbers = np.divmod(numbers, len(flips))
        background_numbers, foreground_numbers = np.divmod(numbers, len(split.foregrounds))
        backgrounds = np.array(split.backgrounds)[background_numbers]
        foregrounds = np.array(split.foregrounds)[foreground_numbers]
        background_keys, foreground_keys = self._name_keys
        widths, heights = self._foreground_sizes
        boxes = place(
            recipe,
            background_keys[backgrounds],
            foreground_keys[foregrounds],
            np.array(flips)[flip_numbers],
            indices,
            widths[foregrounds],
            heights[foregrounds],
        )
        return tuple(
            self._placement(*values)
            for values in zip(
                backgrounds.tolist(),
                foregrounds.tolist(),
                flip_numbers.tolist(),
                indices.tolist(),
                boxes.x.tolist(),
                boxes.y.tolist(),
                boxes.width.tolist(),
                boxes.height.tolist(),
                strict=True,
            )
        )

    def _placement(
        self,
        background_number: int,
        foreground_number: int,
        flip: int,
        index: int,
        x: int,
        y: int,
        width: int,
        height: int,
    ) -> Placement:
        background = self.backgrounds[background_number]
        foreground = self.foregrounds[foreground_number]
        return Placement(
            # Names hold no "+": the four parts can always be told apart.
            id=f"{background.name}+{foreground.name}+{flip}+{index:02d}",
            background=background.name,
            background_class=background.label,
            foreground=foreground.name,
            flip=bool(flip),
            index=index,
            x=x,
            y=y,
            width=width,
            height=height,
        )

    def _combinations(self, backgrounds: tuple[int, ...], foregrounds: tuple[int, ...]) -> int:
        rules = self.recipe.placements
        return len(backgrounds) * len(foregrounds) * len(rules.flips) * rules.per_pair

    @functools.cached_property
    def _name_keys(self) -> tuple[UInt64, UInt64]:
        background_keys, foreground_keys = (
            np.array([name_key(self.recipe.seed, picture.name) for picture in pictures], np.uint64)
            for pictures in (self.backgrounds, self.foregrounds)
        )
        return background_keys, foreground_keys

    @functools.cached_property
    def _foreground_sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        widths, heights = np.array(
            [(picture.width, picture.height) for picture in self.foregrounds], np.int64
        ).T
        return widths, heights


def _apportion(total: int, fractions: Mapping[str, float], things: str) -> dict[str, int]:
    """Whole counts that add up to `total`, by largest remainder."""
    # As written in the recipe: 0.7 of 400,000 is 280,000, whatever binary floats make of it.
    shares = {name: total * Fraction(str(fraction)) for name, fraction in fractions.items()}
    counts = {name: math.floor(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    for name, count in counts.items():
        if count < 1:
            raise UserError(
                f"splits.fractions: {name} ({fractions[name]:g}) gets none of the {total} "
                f"{things}: raise its fraction, or give more pictures."
            )
    return counts


def _twins(pictures: Sequence[PreparedPicture], seed: int) -> list[list[int]]:
    """Indices of pictures, those of the same pixels together, in the order to deal them out.

    That of a picture's group depends on the names in it alone.
    """
    groups: dict[int | str, list[int]] = {}
    for index in sorted(range(len(pictures)), key=lambda index: pictures[index].name):
        groups.setdefault(pictures[index].pixels or pictures[index].name, []).append(index)
    return sorted(
        groups.values(), key=lambda group: hash_key(seed, "split", pictures[group[0]].name)
    )


def _deal(groups: Sequence[list[int]], counts: Mapping[str, int]) -> dict[str, list[int]]:
    """Deals groups out in order, to each name as nearly its count as whole groups allow.

    Raises UserError where there are fewer groups than names.
    """
    if len(groups) < len(counts):
        raise UserError(
            f"splits.fractions: {len(counts)} splits of {len(groups)} different pictures (the same "
            "picture twice goes to one split): give more pictures, or name fewer splits."
        )
    ends = list(itertools.accumulate(map(len, groups), initial=0))
    dealt, first, wanted = {}, 0, 0
    for later, (name, count) in zip(reversed(range(len(counts))), counts.items(), strict=True):
        wanted += count
        # One group at least for this name, and one for each later one.
        last = min(
            range(first + 1, len(groups) - later + 1), key=lambda end: abs(ends[end] - wanted)
        )
        dealt[name] = [index for group in groups[first:last] for index in group]
        first = last
    return dealt


def _shard_sizes(examples: int, per_shard: int) -> tuple[int, ...]:
    shards = math.ceil(examples / per_shard)
    size, larger = divmod(examples, shards)
    return (size + 1,) * larger + (size,) * (shards - larger)


def shards_text(count: int) -> str:
    """``1 shard`` or ``2 shards``."""
    return f"{count:,} shard{'' if count == 1 else 's'}"
