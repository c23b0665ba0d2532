"""A dataset as layouts number it: every background with every foreground, at every place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.recipes import Recipe
from transforms.prepared import PreparedSource

_DIGITS = re.compile(r"([0-9]+)")
_MOST = 999
_LAST_NUMBER = re.compile(r"([0-9]+)$")


@dataclass(frozen=True)
class InputNumber:
    """The numbers of an input picture.

    `place`: from 1 on without gaps, in the natural order of names (2 before 10). `own`: the number
    that its name ends in where all names of its kind end in different ones of up to three digits
    (more are dates), else its place.
    """

    place: int
    own: int


@dataclass(frozen=True)
class Grid:
    """All examples of a dataset, those left out too.

    `backgrounds`, `foregrounds`: numbers by name. `places`: for each pair and flip. `flips`: 2
    where there are mirrored examples, else 1.
    """

    backgrounds: Mapping[str, InputNumber]
    foregrounds: Mapping[str, InputNumber]
    places: int
    flips: int

    @classmethod
    def of(cls, source: PreparedSource, recipe: Recipe) -> Grid:
        rules = recipe.placements
        return cls(
            number_names(picture.name for picture in source.backgrounds),
            number_names(picture.name for picture in source.foregrounds),
            rules.per_pair,
            len(rules.flips),
        )

    @property
    def examples(self) -> int:
        return len(self.backgrounds) * len(self.foregrounds) * self.a_pair

    @property
    def a_pair(self) -> int:
        """Examples of a background and a foreground."""
        return self.places * self.flips


def number_names(names: Iterable[str]) -> dict[str, InputNumber]:
    """Returns the numbers of all pictures of a kind, by name, in order."""
    ordered = sorted(names, key=_natural)
    found = [_LAST_NUMBER.search(name) for name in ordered]
    own = [int(match[1]) for match in found if match]
    if len(set(own)) < len(ordered) or max(own) > _MOST:
        own = list(range(1, len(ordered) + 1))
    return {
        name: InputNumber(place, number)
        for place, (name, number) in enumerate(zip(ordered, own, strict=True), 1)
    }


def _natural(name: str) -> tuple[list[str | int], str]:
    # Text and digits alternate, text first: like is compared with like.
    parts = _DIGITS.split(name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name
