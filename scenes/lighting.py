"""Light on the surfaces that rays met: Lambert shading, soft shadows, occlusion, highlights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenes.solids import (
    RUN,
    Camera,
    Group,
    Runs,
    Solid,
    Surface,
    blocking,
    dot,
    mapped,
    surface,
    trace,
)
from scenes.textures import Array

# Metres of matter dim light by exp(-_DENSITY · metres): grazing rays make the penumbra.
_DENSITY = 120.0
# The rows of samples within a pixel see different points of a light: its shadow is soft.
_SPREAD: Array = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], np.float32) / 1.73


@dataclass(frozen=True, eq=False)
class Light:
    """A light at `position` [3] of linear `colour` [3] and `radius` in metres.

    With `facing` [3] it shines to that side only. With `gate` it is the sun, which does not
    weaken with distance and comes in through that solid alone.
    """

    position: Array
    colour: Array
    radius: float
    facing: Array | None = None
    gate: Solid | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """Groups of solids and what lights them; `above` and `below` [3] are the ambient light.

    `corners` is the lower and the upper corner [2, 3] of the room, whose edges are darkened.
    The first `shell` groups are its walls, which light does not have to pass.
    """

    groups: tuple[Group, ...]
    lights: tuple[Light, ...]
    above: Array
    below: Array
    corners: Array | None = None
    shell: int = 0

    @property
    def solids(self) -> list[Solid]:
        """All solids, group after group."""
        return [solid for group in self.groups for solid in group.solids]


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture in linear light: `colour` [h, w, 3], already weighed by `coverage` [h, w]."""

    colour: Array
    coverage: Array


def grid(low: float, high: float, count: int) -> Array:
    """Return the middles of `count` equal cells from low to high."""
    return (low + (np.arange(count) + 0.5) * (high - low) / count).astype(np.float32)


def _openness(seen: Surface, runs: Runs, scene: Scene) -> Array:
    """Return the share [n] of ambient light that is not shut off by what is close."""
    openness = np.ones_like(seen.gloss)
    if scene.corners is not None:
        low, high = scene.corners
        for axis in range(3):
            facing = 1 - np.abs(seen.normal[axis])
            coordinate = seen.point[axis]
            gap = np.minimum(coordinate - low[axis], high[axis] - coordinate)
            openness *= 1 - 0.4 * facing * np.exp(-np.abs(gap) / 0.3)
    group_of = np.repeat(np.arange(len(scene.groups)), [len(g.solids) for g in scene.groups])
    owner = group_of[seen.owner].reshape(-1, RUN)
    near_by = np.ones(owner.shape, np.float32)
    for number, group in enumerate(scene.groups[scene.shell :], scene.shell):
        bound = group.bound
        reach = float(np.linalg.norm(bound.half)) + 0.4 + runs.spread
        offset = runs.middle - bound.centre[:, None]
        close = np.flatnonzero(dot(offset, offset) < reach * reach)
        if close.size == 0:
            continue
        local = mapped(bound.axes, runs.points[:, close] - bound.centre[:, None, None])
        outside = [np.maximum(np.abs(c) - h, 0) for c, h in zip(local, bound.half, strict=True)]
        gap = np.sqrt(outside[0] ** 2 + outside[1] ** 2 + outside[2] ** 2)
        shut = np.where(owner[close] == number, 0, 0.45 * np.exp(-gap / 0.1))
        near_by[close] *= 1 - shut.astype(np.float32)
    return openness * near_by.ravel()


def _lit(
    seen: Surface, runs: Runs, light: Light, casters: Sequence[Solid], source: NDArray[np.intp]
) -> Array:
    """Return the light [n] that falls on each point, before its colour."""
    towards = light.position[:, None] - seen.point
    square = dot(towards, towards)
    towards /= np.sqrt(square)
    power = np.maximum(dot(seen.normal, towards), 0)
    if light.gate is None:
        power = power / (square + 0.4)
    if light.facing is not None:
        power = power * np.maximum(-dot(light.facing, towards), 0)
    by_run = power.reshape(-1, RUN)
    target = light.position[:, None] + light.radius * _SPREAD.T
    target = target[:, source].reshape(3, -1, RUN)
    if light.gate is not None:
        by_run *= blocking(runs, target, light.position, light.radius, [light.gate]) > 0
    # What little light comes from afar is not worth its shadows.
    reached = np.flatnonzero(by_run.max(axis=1) * light.colour.max() > 0.02)
    # Points next to each other share their shadow, which is soft anyway.
    end = target[:, reached, ::2]
    metres = blocking(runs.thinned(reached), end, light.position, light.radius, casters)
    by_run[reached] *= np.repeat(np.exp(-_DENSITY * metres), 2, axis=1)
    half = towards + seen.view
    half /= np.sqrt(dot(half, half)) + 1e-6
    shine = np.maximum(dot(half, seen.normal), 0)
    for _ in range(5):
        shine *= shine  # to the power of 32, faster than by a logarithm
    highlight = 1.5 * seen.gloss * shine / np.maximum(seen.albedo.mean(axis=0), 0.05)
    lit: Array = power * (1 + highlight)
    return lit


def _shaded(seen: Surface, scene: Scene, source: NDArray[np.intp]) -> Array:
    """Return the light [3, n] that each point sends to the eye."""
    runs = Runs.of(seen.point)
    upward = 0.5 + 0.5 * seen.normal[2]
    light = scene.below[:, None] * (1 - upward) + scene.above[:, None] * upward
    light = light * _openness(seen, runs, scene)
    casters = [s for g in scene.groups[scene.shell :] for s in g.solids if s.half.max() > 0.05]
    for lamp in scene.lights:
        light += lamp.colour[:, None] * _lit(seen, runs, lamp, casters, source)
    sent: Array = seen.albedo * (light + seen.glow)
    return sent


def render(
    camera: Camera,
    scene: Scene,
    xs: tuple[float, float],
    ys: tuple[float, float],
    width: int,
    height: int,
    samples: int,
) -> Frame:
    """Render the image-plane window xs × ys (ys from the top down), samples² rays a pixel."""
    solids = scene.solids
    across, down = grid(*xs, width * samples), grid(*ys, height * samples)
    colour = np.zeros((height, width, 3), np.float32)
    coverage = np.zeros((height, width), np.float32)
    # Bands of rows bound the memory at large sizes.
    step = max(1, 262_144 // (width * samples**2))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        band = down[rows.start * samples : rows.stop * samples]
        hits = trace(camera, solids, across, band)
        seen = surface(camera, solids, hits, across, band)
        # Alike for every pixel, as soft shadows would show a pattern otherwise.
        source = seen.where // len(across) % min(samples, len(_SPREAD))
        light = np.zeros((len(band) * len(across), 3), np.float32)
        # Highlights are clipped before the samples are averaged, as their edges would be jagged.
        light[seen.where] = np.minimum(_shaded(seen, scene, source), 4.0).T
        shape = (len(band) // samples, samples, width, samples)
        colour[rows] = light.reshape(*shape, 3).mean(axis=(1, 3))
        coverage[rows] = (hits.index >= 0).reshape(shape).mean(axis=(1, 3))
    return Frame(colour, coverage)
