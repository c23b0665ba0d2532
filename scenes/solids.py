"""Convex solids, a pinhole camera, and the vectorised ray casting of one by the other.

World axes are x to the right, y forward and z up, in metres. A solid is a unit shape (the cube
[-1, 1]³, the unit ball, or the drum of radius 1 at z = -1 and `taper` at z = 1) carried into the
world by an affine map, so each ray meets it in one interval of its parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scenes.textures import Array, Material, plain

RUN = 256  # points that are tested together against what may shade them
NEAR = 0.05  # metres; nothing closer than this is seen
_CORNERS: Array = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), np.float32).reshape(3, 8)
_BOUND = plain((0.0, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Solid:
    """One convex solid: centre [3], rows of `axes` [3, 3] its unit axes, `half` [3] its sizes."""

    shape: Literal["box", "ball", "drum"]
    centre: Array
    axes: Array
    half: Array
    material: Material
    taper: float = 1.0

    @cached_property
    def unit(self) -> Array:
        """The matrix [3, 3] from offsets in the world to the solid's unit space."""
        return self.axes / self.half[:, None]

    @cached_property
    def corners(self) -> Array:
        """The corners [3, 8] of the bounding box, in the world."""
        return self.centre[:, None] + self.axes.T @ (self.half[:, None] * _CORNERS)


@dataclass(frozen=True, eq=False)
class Group:
    """Solids that belong together, such as a chair, and the box that bounds them."""

    solids: tuple[Solid, ...]
    bound: Solid


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole at `eye` [3] with orthonormal `right`, `up`, `forward` [3]."""

    eye: Array
    right: Array
    up: Array
    forward: Array


@dataclass(frozen=True, eq=False)
class Hits:
    """What the rays met: `depth` [h, w] along the optical axis (inf: nothing), `index` [h, w]."""

    depth: Array
    index: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Surface:
    """The visible points: `where` [n] into the flat picture, the others [3, n] or [n].

    `view` points from the surface to the eye; `owner` is the index of the solid met. n is a
    multiple of `RUN`: the last point is repeated to fill up.
    """

    where: NDArray[np.intp]
    point: Array
    normal: Array
    view: Array
    albedo: Array
    gloss: Array
    glow: Array
    owner: NDArray[np.int16]


def _vector(*values: float) -> Array:
    return np.array(values, np.float32)


def box(
    material: Material, x: float, y: float, z: float, width: float, depth: float, height: float
) -> Solid:
    """Return a box centred at x, y that stands on z."""
    half = _vector(width / 2, depth / 2, height / 2)
    return Solid("box", _vector(x, y, z + height / 2), np.eye(3, dtype=np.float32), half, material)


def ball(
    material: Material, x: float, y: float, z: float, rx: float, ry: float, rz: float
) -> Solid:
    """Return an ellipsoid centred at x, y, z."""
    axes = np.eye(3, dtype=np.float32)
    return Solid("ball", _vector(x, y, z), axes, _vector(rx, ry, rz), material)


def drum(
    material: Material,
    x: float,
    y: float,
    z: float,
    radius: float,
    height: float,
    taper: float = 1.0,
) -> Solid:
    """Return an upright cone frustum on z; its top has `taper` times the radius of its foot."""
    half = _vector(radius, radius, height / 2)
    axes = np.eye(3, dtype=np.float32)
    return Solid("drum", _vector(x, y, z + height / 2), axes, half, material, taper)


def rod(
    material: Material,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius: float,
    taper: float = 1.0,
) -> Solid:
    """Return a frustum between two points, of `radius` at the first."""
    reach = [e - s for s, e in zip(start, end, strict=True)]
    length = math.hypot(*reach)
    x, y, z = (r / length for r in reach)
    # Some direction across the rod: along × y, or along × x for a rod near to y.
    aside = (-z, 0.0, x) if abs(y) < 0.9 else (0.0, z, -y)
    norm = math.hypot(*aside)
    u, v, w = (a / norm for a in aside)
    axes = np.array(
        [[u, v, w], [y * w - z * v, z * u - x * w, x * v - y * u], [x, y, z]], np.float32
    )
    middle = _vector(*((s + e) / 2 for s, e in zip(start, end, strict=True)))
    half = _vector(radius, radius, length / 2)
    return Solid("drum", middle, axes, half, material, taper)


def limb(
    material: Material,
    points: Sequence[tuple[float, float, float]],
    radii: Sequence[float],
) -> list[Solid]:
    """Return a chain of frusta with round joints through the points."""
    parts = [ball(material, *p, r, r, r) for p, r in zip(points, radii, strict=True)]
    for i in range(len(points) - 1):
        parts.append(rod(material, points[i], points[i + 1], radii[i], radii[i + 1] / radii[i]))
    return parts


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """Return the matrix [3, 3] that rolls about y, then pitches about x, then yaws about z."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    # Rounded, so that quarter turns have zeros where they should.
    turn: Array = (about_z @ about_x @ about_y).round(7).astype(np.float32)
    return turn


def moved(
    solids: Iterable[Solid],
    turn: Array,
    x: float = 0.0,
    y: float = 0.0,
    z: float = 0.0,
    scale: float = 1.0,
) -> list[Solid]:
    """Return the solids scaled, turned about the origin by a matrix [3, 3], then shifted."""
    shift = _vector(x, y, z)
    return [
        replace(
            s,
            centre=turn @ s.centre * np.float32(scale) + shift,
            axes=s.axes @ turn.T,
            half=s.half * np.float32(scale),
        )
        for s in solids
    ]


def extent(solids: Iterable[Solid]) -> tuple[Array, Array]:
    """Return the lower and the upper corner [3] of the box along the axes about the solids."""
    corners = np.concatenate([s.corners for s in solids], axis=1)
    return corners.min(axis=1), corners.max(axis=1)


def grouped(solids: Sequence[Solid], turn: Array, x: float, y: float, z: float = 0.0) -> Group:
    """Return a model, built about the origin, turned and set down at x, y, z."""
    low, high = extent(solids)
    axes = np.eye(3, dtype=np.float32)
    bound = Solid("box", (low + high) / 2, axes, (high - low) / 2, _BOUND)
    *placed, bound = moved([*solids, bound], turn, x, y, z)
    return Group(tuple(placed), bound)


def _slabs(o: Sequence[Any], d: Sequence[Any], half: Sequence[Any]) -> tuple[Array, Array]:
    """Return where the rays o + t·d enter and leave the box from -half to half."""
    near: Any = np.float32(-np.inf)
    far: Any = np.float32(np.inf)
    for oi, di, hi in zip(o, d, half, strict=True):
        inverse = 1.0 / (di + np.float32(1e-12))
        middle, reach = -oi * inverse, hi * np.abs(inverse)
        near, far = np.maximum(near, middle - reach), np.minimum(far, middle + reach)
    return near, far


def _interval(solid: Solid, o: Sequence[Any], d: Sequence[Any]) -> tuple[Array, Array]:
    """Return where the rays o + t·d, in unit space, enter and leave; near > far is a miss."""
    if solid.shape == "box":
        return _slabs(o, d, (1.0, 1.0, 1.0))
    if solid.shape == "ball":
        a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
        middle = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) / a
        # The squared miss distance, from the closest point: exact for small, distant balls.
        miss = sum((oi + middle * di) ** 2 for oi, di in zip(o, d, strict=True))
        reach = np.sqrt(np.maximum(1 - miss, 0) / a)
        return np.where(miss < 1, middle - reach, np.inf), middle + reach
    return _drum_interval(solid.taper, o, d)


def _drum_interval(taper: float, o: Sequence[Any], d: Sequence[Any]) -> tuple[Array, Array]:
    dx, dy, dz = d
    # Measured from the point closest to the middle, which keeps thin, distant legs exact.
    shift = -(o[0] * dx + o[1] * dy + o[2] * dz) / (dx * dx + dy * dy + dz * dz)
    ox, oy, oz = o[0] + shift * dx, o[1] + shift * dy, o[2] + shift * dz
    slope = (taper - 1) / 2
    reach_z = 1 / np.abs(dz + 1e-12)
    middle_z = -oz / (dz + 1e-12)
    near, far = middle_z - reach_z, middle_z + reach_z
    radius, dr = (1 + taper) / 2 + slope * oz, slope * dz
    a = dx * dx + dy * dy - dr * dr
    a = np.where(np.abs(a) < 1e-12, 1e-12, a)
    b = ox * dx + oy * dy - radius * dr
    root = b * b - a * (ox * ox + oy * oy - radius * radius)
    reach = np.sqrt(np.maximum(root, 0)) / np.abs(a)
    first, last = -b / a - reach, -b / a + reach
    # A ray steeper than the side (a < 0) is inside before `first` or after `last`, on the
    # nappe that holds the drum: that of the middle of the slab.
    steep, before = a < 0, middle_z < -b / a
    near = np.where(steep, np.where(before, near, np.maximum(near, last)), np.maximum(near, first))
    far = np.where(steep, np.where(before, np.minimum(far, first), far), np.minimum(far, last))
    return np.where(root > 0, near + shift, np.inf), far + shift


def dot(a: Array, b: Array) -> Array:
    """Return the products [...] of two arrays of vectors [3, ...]."""
    products: Array = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return products


def mapped(matrix: Array, vectors: Array) -> list[Array]:
    """Return the three components of matrix [3, 3] times vectors [3, ...]."""
    # Written out: a matrix product of this shape may round differently with the thread count.
    # Most things stand upright, many square to the room: the zeros are worth leaving out.
    components = []
    for row in matrix.tolist():
        total, *terms = (c * v for c, v in zip(row, vectors, strict=True) if c)
        for term in terms:
            total += term
        components.append(total)
    return components


def _window(camera: Camera, solid: Solid, xs: Array, ys: Array) -> tuple[slice, slice] | None:
    """Return the rows and columns in which the solid may be seen."""
    offsets = solid.corners - camera.eye[:, None]
    z = camera.forward @ offsets
    if z.max() <= NEAR:
        return None
    if z.min() <= NEAR:
        return slice(0, len(ys)), slice(0, len(xs))
    x, y = camera.right @ offsets / z, camera.up @ offsets / z
    left, right = np.searchsorted(xs, [x.min(), x.max()])
    top, bottom = np.searchsorted(-ys, [-y.max(), -y.min()])
    if left >= right or top >= bottom:
        return None
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def trace(camera: Camera, solids: Sequence[Solid], xs: Array, ys: Array) -> Hits:
    """Cast one ray for each pair of image-plane coordinates xs [w] (rising), ys [h] (falling).

    The coordinates are tangents: (0, 0) is the optical axis, (1, 0) lies 45° to its right.
    """
    depth = np.full((len(ys), len(xs)), np.inf, np.float32)
    index = np.full(depth.shape, -1, np.int16)
    for number, solid in enumerate(solids):
        window = _window(camera, solid, xs, ys)
        if window is None:
            continue
        rows, columns = window
        origin = (solid.unit @ (camera.eye - solid.centre)).astype(np.float32)
        right, up = solid.unit @ camera.right, solid.unit @ camera.up
        ahead = solid.unit @ camera.forward
        # A direction is affine in x and y, with 1 along the axis: so t is the depth itself.
        direction = [
            (right[i] * xs[columns])[None, :] + (up[i] * ys[rows] + ahead[i])[:, None]
            for i in range(3)
        ]
        near, far = _interval(solid, list(origin), direction)
        seen = depth[window]
        hit = (near < far) & (near > NEAR) & (near < seen)
        np.copyto(seen, near, where=hit, casting="same_kind")
        index[window][hit] = number
    return Hits(depth, index)


def surface(camera: Camera, solids: Sequence[Solid], hits: Hits, xs: Array, ys: Array) -> Surface:
    """Return the points that the rays of `trace` met, with their normals and materials."""
    flat = hits.index.ravel()
    # By solid, and for each solid in square tiles, so that neighbours stay together.
    tiles = np.add.outer(np.arange(len(ys)) // 16 * (len(xs) // 16 + 1), np.arange(len(xs)) // 16)
    tiled = np.argsort(tiles.ravel().astype(np.uint16), kind="stable")
    order = tiled[np.argsort(flat[tiled], kind="stable")]
    bounds = np.searchsorted(flat[order], np.arange(len(solids) + 1))
    where = order[bounds[0] :]
    where = np.concatenate([where, np.repeat(where[-1:], -where.size % RUN)])
    bounds[-1] = bounds[0] + where.size
    row, column = np.divmod(where, len(xs))
    x, y, depth = xs[column], ys[row], hits.depth.ravel()[where]
    ray = np.stack([camera.right[i] * x + camera.up[i] * y + camera.forward[i] for i in range(3)])
    point = camera.eye[:, None] + ray * depth
    view = -ray / np.sqrt(x * x + y * y + 1)
    pixel = depth * abs(float(xs[1] - xs[0]))
    normal, albedo = np.empty_like(point), np.empty_like(point)
    gloss, glow = np.empty_like(depth), np.empty_like(depth)
    for number, solid in enumerate(solids):
        part = slice(bounds[number] - bounds[0], bounds[number + 1] - bounds[0])
        if part.start == part.stop:
            continue
        q = mapped(solid.unit, point[:, part] - solid.centre[:, None])
        gradient, u, v = _skin(solid, np.stack(q))
        n = np.stack(mapped(solid.unit.T, gradient))
        n /= np.sqrt(dot(n, n)) + 1e-12
        facing = np.abs(dot(n, view[:, part]))
        footprint = pixel[part] / np.maximum(facing, 0.1)
        normal[:, part] = n
        albedo[:, part] = solid.material.albedo(u, v, footprint)
        gloss[part], glow[part] = solid.material.gloss, solid.material.glow
    return Surface(where, point, normal, view, albedo, gloss, glow, flat[where])


def _skin(solid: Solid, q: Array) -> tuple[Array, Array, Array]:
    """Return the outward gradient [3, n] in unit space and the texture coordinates in metres."""
    hx, hy, hz = (float(h) for h in solid.half)
    if solid.shape == "box":
        axis = np.abs(q).argmax(axis=0)
        gradient = np.where(np.arange(3)[:, None] == axis, np.sign(q), 0).astype(np.float32)
        u = np.where(axis == 0, q[1] * hy, q[0] * hx)
        v = np.where(axis == 2, q[1] * hy, q[2] * hz)
        # Grain runs along the longer side of a part.
        if solid.material.pattern == "wood" and hz > max(hx, hy):
            u, v = v, u
        return gradient, u, v
    u, v = np.arctan2(q[1], q[0]) * hx, q[2] * hz
    if solid.shape == "ball":
        return q, u, v
    slope = (solid.taper - 1) / 2
    radius = (1 + solid.taper) / 2 + slope * q[2]
    cap = np.abs(q[2]) * radius > np.hypot(q[0], q[1])
    side = np.stack([q[0], q[1], -radius * slope])
    lid = np.stack([np.zeros_like(u), np.zeros_like(u), np.sign(q[2])])
    return np.where(cap, lid, side), np.where(cap, q[0] * hx, u), np.where(cap, q[1] * hy, v)


@dataclass(frozen=True, eq=False)
class Runs:
    """The points of a surface in runs of `RUN`: `points` [3, m, RUN].

    Each run lies in the ball of `middle` [3, m] and `spread` [m]. Points that follow each other
    are neighbours, so the balls are small and most runs can be ruled out as a whole.
    """

    points: Array
    middle: Array
    spread: Array

    @classmethod
    def of(cls, points: Array) -> Runs:
        """Cut up points [3, m · RUN]."""
        cut = points.reshape(3, -1, RUN)
        low, high = cut.min(axis=2), cut.max(axis=2)
        return cls(cut, (low + high) / 2, np.sqrt(dot(high - low, high - low)) / 2)

    def thinned(self, numbers: NDArray[np.intp]) -> Runs:
        """Return the runs of these numbers, with every other point left out."""
        points = self.points[:, numbers, ::2]
        return Runs(points, self.middle[:, numbers], self.spread[numbers])


def blocking(
    start: Runs, end: Array, middle: Array, radius: float, solids: Sequence[Solid]
) -> Array:
    """Return the metres [m, k] of solid matter between the points and their `end` [3, m, k].

    All ends lie within `radius` of `middle` [3].
    """
    way = end - start.points
    metres = np.sqrt(dot(way, way))
    blocked = np.zeros_like(metres)
    segment = middle[:, None] - start.middle
    per_square = 1 / (dot(segment, segment) + 1e-9)
    width = np.maximum(start.spread, radius)
    for solid in solids:
        offset = solid.centre[:, None] - start.middle
        along = np.clip(dot(offset, segment) * per_square, 0, 1)
        miss = offset - segment * along
        reach = width + float(np.linalg.norm(solid.half))
        close = np.flatnonzero(dot(miss, miss) < reach * reach)
        if close.size == 0:
            continue
        # Most solids are long or flat: the bounding box, grown by the width, rules out more.
        o = mapped(solid.axes, -offset[:, close])
        grown = [h + width[close] for h in solid.half.tolist()]
        near, far = _slabs(o, mapped(solid.axes, segment[:, close]), grown)
        close = close[(near < far) & (far > 0) & (near < 1)]
        if close.size == 0:
            continue
        o = mapped(solid.unit, start.points[:, close] - solid.centre[:, None, None])
        near, far = _interval(solid, o, mapped(solid.unit, way[:, close]))
        inside = np.maximum(np.minimum(far, 1) - np.maximum(near, 0), 0)
        blocked[close] += inside.astype(np.float32) * metres[close]
    return blocked
