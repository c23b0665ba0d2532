"""How near depth is to the truth.

D. Eigen, C. Puhrsch and R. Fergus, "Depth map prediction from a single image using a multi-scale
deep network" (2014), arXiv:1406.2283; log10 is of later tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Depth that is nearer than this counts as so near: a network may say 0.
_NEAREST = 0.001


@dataclass(frozen=True)
class Scores:
    """Errors of depth over a set of pixels, of which none is rescaled; they add up.

    Sums over pixels of depth p in metres, against the true t. `within`: how many are off by a
    factor of less than 1.25, 1.25² and 1.25³.
    """

    pixels: int = 0
    relative: float = 0.0  # |p - t| / t
    squares: float = 0.0  # (p - t)²
    log_squares: float = 0.0  # (ln p - ln t)²
    logs10: float = 0.0  # |log10 p - log10 t|
    within: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray) -> Scores:
        """Compares two arrays of one shape, in metres; `truth` is above 0."""
        if predicted.shape != truth.shape:
            raise ValueError(f"depths of shape {predicted.shape} against a truth of {truth.shape}")
        p, t = np.maximum(predicted.astype(np.float64), _NEAREST), truth.astype(np.float64)
        logs = np.log(p / t)
        factor = np.exp(np.abs(logs))
        one, two, three = (int(np.count_nonzero(factor < 1.25**power)) for power in (1, 2, 3))
        return cls(
            pixels=p.size,
            relative=float(np.sum(np.abs(p - t) / t)),
            squares=float(np.sum((p - t) ** 2)),
            log_squares=float(np.sum(logs**2)),
            logs10=float(np.sum(np.abs(logs))) / math.log(10),
            within=(one, two, three),
        )

    def __add__(self, other: Scores) -> Scores:
        one, two, three = (a + b for a, b in zip(self.within, other.within, strict=True))
        return Scores(
            self.pixels + other.pixels,
            self.relative + other.relative,
            self.squares + other.squares,
            self.log_squares + other.log_squares,
            self.logs10 + other.logs10,
            (one, two, three),
        )

    def __str__(self) -> str:
        one, two, three = self.shares_within
        return (
            f"AbsRel {self.absolute_relative:.4f}  RMSE {self.rmse:.4f} m  RMSE(log) "
            f"{self.rmse_log:.4f}  log10 {self.log10:.4f}  δ<1.25 {one:.4f}  δ<1.25² {two:.4f}  "
            f"δ<1.25³ {three:.4f}"
        )

    @property
    def absolute_relative(self) -> float:
        return self.relative / max(self.pixels, 1)

    @property
    def rmse(self) -> float:
        """In metres."""
        return math.sqrt(self.squares / max(self.pixels, 1))

    @property
    def rmse_log(self) -> float:
        """Of the natural logarithm."""
        return math.sqrt(self.log_squares / max(self.pixels, 1))

    @property
    def log10(self) -> float:
        return self.logs10 / max(self.pixels, 1)

    @property
    def shares_within(self) -> tuple[float, float, float]:
        """Shares of pixels that are off by a factor of less than 1.25, 1.25², 1.25³."""
        one, two, three = (count / max(self.pixels, 1) for count in self.within)
        return one, two, three
