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
_MAX_SHARDS = 1_000_000


@dataclass(frozen=True)
class Block:
    """Every one of some backgrounds with every one of some foregrounds: indices of the plan's."""

    backgrounds: tuple[int, ...]
    foregrounds: tuple[int, ...]

    @property
    def pairs(self) -> int:
        return len(self.backgrounds) * len(self.foregrounds)


@dataclass(frozen=True)
class Split:
    """A named part of the examples.

    It is the run [start, stop) of the seeded permutation of all examples that its blocks give.
    `shard_sizes`: examples, shard by shard.
    """

    name: str
    blocks: tuple[Block, ...]
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
        rules = self.recipe.splits
        backgrounds = self._dealt("backgrounds", self.backgrounds)
        foregrounds = self._dealt("foregrounds", self.foregrounds)
        blocks: dict[str, tuple[Block, ...]] = {
            name: (Block(backgrounds[name], foregrounds[name]),) for name in rules.fractions
        }
        if rules.by == "example":
            total = self._examples_of(next(iter(blocks.values())))
            counts = _apportion(total, rules.fractions, "examples")
            ends = itertools.accumulate(counts.values())
            return {
                name: self._split(name, blocks[name], end - counts[name], end)
                for name, end in zip(counts, ends, strict=True)
            }
        if rules.between is not None:
            blocks[rules.between] = tuple(
                Block(backgrounds[one], foregrounds[other])
                for one, other in itertools.permutations(rules.fractions, 2)
            )
        return {
            name: self._split(name, mine, 0, self._examples_of(mine))
            for name, mine in blocks.items()
        }

    def _split(self, name: str, blocks: tuple[Block, ...], start: int, stop: int) -> Split:
        sizes = _shard_sizes(stop - start, self.recipe.shards.examples)
        return Split(name, blocks, start, stop, sizes)

    def _dealt(self, kind: str, pictures: Sequence[PreparedPicture]) -> dict[str, tuple[int, ...]]:
        """Indices of each split's pictures: all, where those of this kind are not dealt out."""
        rules = self.recipe.splits
        if kind not in rules.dealt_out:
            return dict.fromkeys(rules.fractions, tuple(range(len(pictures))))
        counts = _apportion(len(pictures), rules.fractions, kind)
        dealt = _deal(_twins(pictures, self.recipe.seed), counts)
        return {name: tuple(sorted(indices)) for name, indices in dealt.items()}

    @property
    def examples(self) -> int:
        return sum(split.examples for split in self.splits.values())

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
        total = self._examples_of(split.blocks)
        positions = np.arange(first, first + count, dtype=np.uint64)
        shuffle = np.uint64(hash_key(recipe.seed, "shuffle"))
        numbers = permute(
            positions, np.full(count, total, np.uint64), np.full(count, shuffle)
        ).astype(np.int64)
        numbers, indices = np.divmod(numbers, recipe.placements.per_pair)
        numbers, flip_numbers = np.divmod(numbers, len(flips))
        backgrounds, foregrounds = _pairs(split.blocks, numbers)
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

    def _examples_of(self, blocks: Sequence[Block]) -> int:
        rules = self.recipe.placements
        return sum(block.pairs for block in blocks) * len(rules.flips) * rules.per_pair

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


def _pairs(
    blocks: Sequence[Block], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Backgrounds and foregrounds of the pairs of these numbers; blocks are counted through."""
    backgrounds, foregrounds = np.empty_like(numbers), np.empty_like(numbers)
    first = 0
    for block in blocks:
        mine = (first <= numbers) & (numbers < first + block.pairs)
        rows, columns = np.divmod(numbers[mine] - first, len(block.foregrounds))
        backgrounds[mine] = np.array(block.backgrounds)[rows]
        foregrounds[mine] = np.array(block.foregrounds)[columns]
        first += block.pairs
    return backgrounds, foregrounds


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
    shards = -(-examples // per_shard)
    if shards > _MAX_SHARDS:
        raise UserError(
            f"shards.examples: {per_shard:,} make {shards:,} shards of {examples:,} examples, more "
            f"than {_MAX_SHARDS:,}: raise it."
        )
    size, larger = divmod(examples, shards)
    return (size + 1,) * larger + (size,) * (shards - larger)


def shards_text(count: int) -> str:
    """``1 shard`` or ``2 shards``."""
    return f"{count:,} shard{'' if count == 1 else 's'}"
