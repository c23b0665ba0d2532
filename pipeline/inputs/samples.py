"""Samples of more than 8 bits, or with a sign, made 8 bits: which of them is black, which white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Warn = Callable[[str, str], None]

# Bits that cameras and programs use of a sample that could hold more.
_USUAL_BITS = (8, 10, 12, 14, 16, 24, 32)
# What is white among fractions, and how far from it the greatest of a picture may be.
_WHITES = (1.0, 255.0, 65535.0)
_NEAR_WHITE, _BEYOND_WHITE = 0.25, 1.06
# Fractions up to here are of a scene whose lights are brighter than white.
_BRIGHTEST = 16


@dataclass(frozen=True)
class SampleKind:
    """What a file says of its samples.

    `bits` has each; `significant`: how many of them count, where that is certain. `black`, `white`:
    the values that are, where it declares them. `inverted`: the least value is white.
    """

    bits: int
    signed: bool = False
    significant: int | None = None
    black: float | None = None
    white: float | None = None
    inverted: bool = False


@dataclass(frozen=True)
class Samples:
    """Samples as a file stores them.

    `values`: [h, w] or [h, w, C] of any dtype, C = 2 and 4 with transparency last. `transparent`:
    the colour that is clear.
    """

    values: np.ndarray
    kind: SampleKind
    transparent: int | tuple[int, ...] | None = None

    @property
    def has_transparency(self) -> bool:
        return self.values.ndim == 3 and self.values.shape[2] in (2, 4)

    @property
    def colours(self) -> np.ndarray:
        """[h, w] or [h, w, 3]: without transparency."""
        if not self.has_transparency:
            return self.values
        last = self.values.shape[2] - 1
        return self.values[..., 0] if last == 1 else self.values[..., :last]

    def alpha(self) -> np.ndarray | None:
        """uint8 [h, w], None where nothing is clear."""
        if self.has_transparency:
            return self._scaled(self.values[..., -1], _ignore)
        if self.transparent is None:
            return None
        key = np.array(self.transparent)
        clear = self.values == key if self.values.ndim == 2 else (self.values == key).all(axis=2)
        return np.where(clear, np.uint8(0), np.uint8(255))

    def eight_bits(self, warn: Warn) -> np.ndarray:
        """The colours, uint8 [h, w] or [h, w, 3].

        Black and white are what the file declares; else what its samples hold says so, and where
        that was a guess, `warn` is told. Raises ValueError for values that are no numbers.
        """
        grey = self._scaled(self.colours, warn)
        return 255 - grey if self.kind.inverted else grey

    def _scaled(self, values: np.ndarray, warn: Warn) -> np.ndarray:
        least, greatest = float(values.min()), float(values.max())
        if not np.isfinite([least, greatest]).all():
            raise ValueError("values that are no numbers")
        black, white = self._range(least, greatest, values.dtype.kind == "f", warn)
        bits = int(white + 1).bit_length() - 1
        if values.dtype.kind != "f" and black == 0 and white + 1 == 2**bits and bits >= 8:
            # As Pillow does it: the eight highest bits.
            return np.asarray(values >> (bits - 8)).astype(np.uint8)
        scaled: np.ndarray = (values - np.float32(black)) * np.float32(255 / (white - black))
        return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)

    def _range(
        self, least: float, greatest: float, fractions: bool, warn: Warn
    ) -> tuple[float, float]:
        """The values that are black and white."""
        black, white = self.kind.black, self.kind.white
        if black is not None and white is not None and black <= least < white >= greatest:
            return black, white
        if least < (-0.05 * max(1.0, greatest) if fractions else 0):
            warn(
                f"has samples from {least:,.6g} to {greatest:,.6g}",
                "The least was taken as black and the greatest as white.",
            )
            return least, greatest if greatest > least else least + 1
        if fractions:
            return 0, self._white_of_fractions(greatest, warn)
        kind = self.kind
        full = max(kind.bits - kind.signed, int(greatest).bit_length())
        if greatest == 0 or (kind.significant and greatest >= 2**kind.significant):
            return 0, 2.0**full - 1
        if kind.significant:
            return 0, 2.0**kind.significant - 1
        bits = next((bits for bits in _USUAL_BITS if greatest < 2**bits and bits < full), full)
        if bits < full:
            warn(
                f"has {kind.bits}-bit samples of at most {greatest:,.0f}",
                f"They were taken as of {bits} bits.",
            )
        return 0, 2.0**bits - 1

    @staticmethod
    def _white_of_fractions(greatest: float, warn: Warn) -> float:
        """1, 255 or 65535 where the greatest is near, as programs that resize leave it."""
        for white in _WHITES:
            if white * _NEAR_WHITE <= greatest <= white * _BEYOND_WHITE:
                return white
        white = greatest
        if greatest <= _BRIGHTEST:  # a dark picture, or lights brighter than white
            white = 1.0
            if greatest < white:
                return white
        warn(f"has samples of fractions up to {greatest:,.6g}", f"{white:,.6g} was taken as white.")
        return white


def _ignore(problem: str, remedy: str) -> None:
    pass
