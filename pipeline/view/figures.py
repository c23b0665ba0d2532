"""The gallery's figures: how much masks cover, and where foregrounds lie."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from depthmask.manifest import INDEX
from depthmask.plasma import PLASMA
from pipeline.dataset import Dataset
from transforms.index import read_index
from transforms.io.files import open_file

_ROWS = 65_536
_BINS = 25
_WIDTH, _HEIGHT = 660, 290
_LEFT, _RIGHT, _BOTTOM, _TOP = 50, 24, 44, 12


def placement_map(dataset: Dataset) -> np.ndarray:
    """Returns how many of all examples' boxes cover each pixel of the canvas, int64 [H, W]."""
    canvas = dataset.recipe.canvas
    # Corners of boxes, summed up at the end: four numbers an example, whatever its size.
    corners = np.zeros((canvas.height + 1, canvas.width + 1), np.int64)
    for boxes in _boxes(dataset):
        left, top, width, height = boxes.T
        sides = []
        for start, length, limit in ((left, width, canvas.width), (top, height, canvas.height)):
            sides.append((np.clip(start, 0, limit), np.clip(start + length, 0, limit)))
        (x0, x1), (y0, y1) = sides
        for y, x, sign in ((y0, x0, 1), (y1, x1, 1), (y0, x1, -1), (y1, x0, -1)):
            np.add.at(corners, (y, x), sign)
    return np.asarray(corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1])


def _boxes(dataset: Dataset) -> Iterator[np.ndarray]:
    """Yields x, y, width, height of all examples from index.csv, int64 [n, 4] at a time."""
    with open_file(dataset.file(INDEX)) as file:
        examples = (row.placement for row in read_index(file))
        while block := list(itertools.islice(examples, _ROWS)):
            yield np.array([(e.x, e.y, e.width, e.height) for e in block], np.int64)


def heat_picture(counts: np.ndarray) -> Image.Image:
    """Returns `counts` in plasma colours, from 0 to the greatest."""
    grey = np.rint(counts / max(int(counts.max()), 1) * 255).astype(np.uint8)
    image = Image.fromarray(grey)
    image.putpalette(PLASMA.tobytes())
    return image


def histogram(shares: Sequence[float]) -> str:
    """Returns a histogram of `shares` (0 … 1) as SVG; its colours are the page's."""
    top = max(max(shares, default=0.0), 0.01)
    # Up to a round number of per cent, so that bins have round bounds.
    end = next(step for step in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0) if top <= step or step == 1.0)
    counts, _ = np.histogram(shares, bins=_BINS, range=(0, end))
    peak = max(int(counts.max()), 1)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP
    step = width / _BINS
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="mask coverage">']
    for fraction in (0, 0.5, 1):
        y = _TOP + height * (1 - fraction)
        share = peak * fraction / max(len(shares), 1)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + width}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{share:.1%}</text>')
    for i, count in enumerate(counts.tolist()):
        bar = height * count / peak
        low, high = end * i / _BINS, end * (i + 1) / _BINS
        parts.append(
            f'<rect class="bar" x="{_LEFT + i * step + 1:.2f}" y="{_TOP + height - bar:.2f}" '
            f'width="{step - 2:.2f}" height="{bar:.2f}">'
            f"<title>{low:.1%} to {high:.1%}: {count:,} masks</title></rect>"
        )
    for i in range(6):
        x = _LEFT + width * i / 5
        label = f"{end * i / 5 * 100:g}%"
        parts.append(
            f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{label}</text>'
        )
    middle = _LEFT + width / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">of the canvas covered</text>'
    )
    return "".join([*parts, "</svg>"])
