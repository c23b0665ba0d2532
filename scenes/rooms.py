"""Furnished rooms seen by a random camera, with their depth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenes import furniture as models
from scenes.lighting import Light, Scene, grid, render
from scenes.solids import Camera, Group, Solid, box, extent, grouped, rotation, trace
from scenes.textures import Array, Material, floor, hsv, pick, plain, wall, wood

_THICK = 0.2  # metres of wall outside the room
_CLEARANCE = 0.65  # metres that the camera keeps from everything but floor and ceiling
_AT_WALL: dict[str, tuple[models.Maker, ...]] = {
    "living": (models.sofa, models.shelf, models.television, models.cupboard, models.floor_lamp),
    "bedroom": (models.bed, models.cupboard, models.shelf, models.desk, models.sofa),
    "office": (models.desk, models.desk, models.shelf, models.cupboard, models.sofa),
    "kitchen": (models.kitchen, models.fridge, models.cupboard, models.table, models.kitchen),
    "store": (models.shelf, models.carton, models.cupboard, models.carton, models.table),
}
_IN_MIDDLE: dict[str, tuple[models.Maker, ...]] = {
    "living": (models.coffee_table, models.sofa, models.round_table, models.dining),
    "bedroom": (models.chair, models.stool, models.bed, models.round_table),
    "office": (models.desk, models.table, models.office_chair, models.office_chair),
    "kitchen": (models.dining, models.dining, models.round_table, models.stool),
    "store": (models.carton, models.column, models.table, models.stool),
}
_ANYWHERE: tuple[models.Maker, ...] = (
    models.plant,
    models.plant,
    models.football,
    models.carton,
    models.basket,
    models.stool,
    models.chair,
    models.stack,
    models.floor_lamp,
    models.column,
    models.vase,
)


@dataclass(frozen=True, eq=False)
class Room:
    """A picture of a room and how far everything in it is.

    `image` is uint8 [size, size, 3], sRGB. `depth` is float32 [size, size] in metres, sampled at
    the pixel centres: the distance along the optical axis (z, as in the NYU depth data set),
    not along the ray. It is finite and within about 0.3..10 m.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """A camera and `slope`, the tangent of half its (square) field of view."""

    camera: Camera
    slope: float


@dataclass(frozen=True, eq=False)
class Footprint:
    """A rectangle on the floor: centre [2], rows of `axes` [2, 2], `half` [2] its sizes."""

    centre: Array
    axes: Array
    half: Array

    @classmethod
    def of(cls, group: Group) -> Footprint:
        """Return the floor area that a group stands on."""
        bound = group.bound
        return cls(bound.centre[:2], bound.axes[:2, :2], bound.half[:2])

    def overlaps(self, other: Footprint) -> bool:
        """Tell whether the two have a point in common (separating axes)."""
        gap = other.centre - self.centre
        for axis in (*self.axes, *other.axes):
            reach = np.abs(self.axes @ axis) @ self.half + np.abs(other.axes @ axis) @ other.half
            if abs(gap @ axis) > reach:
                return False
        return True

    def distance(self, x: float, y: float) -> float:
        """Return the metres from a point to the rectangle (0 within)."""
        local = np.abs(self.axes @ (np.array([x, y]) - self.centre)) - self.half
        return float(np.linalg.norm(np.maximum(local, 0)))


@dataclass(frozen=True)
class Span:
    """A rectangle taken on a wall: metres along it and up it."""

    left: float
    right: float
    bottom: float
    top: float

    def overlaps(self, other: Span) -> bool:
        """Tell whether the two have a point in common."""
        beside = self.right < other.left or other.right < self.left
        return not (beside or self.top < other.bottom or other.top < self.bottom)


@dataclass(eq=False)
class Plan:
    """A room being furnished: width (x), length (y) and height, and what stands where.

    Wall 0 is at y = length, 1 at x = width, 2 at y = 0, 3 at x = 0.
    """

    width: float
    length: float
    height: float
    eye: Array
    groups: list[Group] = field(default_factory=list)
    floor: list[Footprint] = field(default_factory=list)
    walls: list[list[Span]] = field(default_factory=lambda: [[], [], [], []])
    lights: list[Light] = field(default_factory=list)

    def wall_length(self, number: int) -> float:
        """Return the length of a wall in metres."""
        return self.width if number % 2 == 0 else self.length

    def on_wall(
        self, model: models.Model, number: int, along: float, out: float, z: float
    ) -> Group:
        """Return a model turned with its back to a wall, `out` metres away, from z up."""
        x, y = (
            (along, self.length - out),
            (self.width - out, self.length - along),
            (self.width - along, out),
            (out, along),
        )[number]
        return grouped(model, rotation(-number * np.pi / 2), x, y, z)

    def free(self, group: Group) -> bool:
        """Tell whether a group stands clear within the room and away from the camera."""
        low, high = extent([group.bound])
        size = (self.width, self.length, self.height)
        if (low[:2] < 0.01).any() or (high > np.array(size) - 0.01).any():
            return False
        print_ = Footprint.of(group)
        if print_.distance(float(self.eye[0]), float(self.eye[1])) < _CLEARANCE:
            return False
        return not any(print_.overlaps(other) for other in self.floor)

    def stand(self, group: Group) -> bool:
        """Add a group to the floor if there is room for it."""
        if not self.free(group):
            return False
        self.groups.append(group)
        self.floor.append(Footprint.of(group))
        return True

    def mount(self, model: models.Model, number: int, along: float, z: float) -> bool:
        """Hang a model on a wall if there is room for it."""
        low, high = extent(model)
        span = Span(
            along + float(low[0]), along + float(high[0]), z + float(low[2]), z + float(high[2])
        )
        if span.left < 0.02 or span.right > self.wall_length(number) - 0.02:
            return False
        if span.top > self.height - 0.02 or any(span.overlaps(s) for s in self.walls[number]):
            return False
        group = self.on_wall(model, number, along, 0.0, z)
        if Footprint.of(group).distance(float(self.eye[0]), float(self.eye[1])) < 0.3:
            return False
        self.walls[number].append(span)
        self.groups.append(group)
        return True


def _view(rng: np.random.Generator, width: float, length: float, height: float) -> View:
    """Choose where to stand and look: of a few tries, one that sees far into the room."""
    best, best_reach = np.zeros(4), -1.0
    for _ in range(int(rng.integers(3, 8))):
        x, y = rng.uniform(0.5, width - 0.5), rng.uniform(0.5, length - 0.5)
        tx, ty = rng.uniform(0, width), rng.uniform(0, length)
        reach = float(np.hypot(tx - x, ty - y))
        if reach > best_reach:
            best, best_reach = np.array([x, y, tx, ty]), reach
    x, y, tx, ty = best
    z = min(rng.uniform(1.0, 1.8), height - 0.5)
    yaw = float(np.arctan2(x - tx, ty - y))
    turn = rotation(yaw, np.radians(rng.normal(-9, 7)), np.radians(rng.normal(0, 1.8)))
    camera = Camera(np.array([x, y, z], np.float32), turn[:, 0], turn[:, 2], turn[:, 1])
    return View(camera, float(np.tan(np.radians(rng.uniform(50, 75)) / 2)))


def shell(
    width: float,
    length: float,
    height: float,
    ground: Material,
    top: Material,
    sides: list[Material],
) -> list[Group]:
    """Return floor, ceiling and the four walls, as slabs about the empty space of the room."""
    t, x, y = _THICK, width / 2, length / 2
    slabs: list[Solid] = [
        box(ground, x, y, -t, width + 2 * t, length + 2 * t, t),
        box(top, x, y, height, width + 2 * t, length + 2 * t, t),
        box(sides[0], x, length + t / 2, -t, width + 2 * t, t, height + 2 * t),
        box(sides[1], width + t / 2, y, -t, t, length + 2 * t, height + 2 * t),
        box(sides[2], x, -t / 2, -t, width + 2 * t, t, height + 2 * t),
        box(sides[3], -t / 2, y, -t, t, length + 2 * t, height + 2 * t),
    ]
    return [Group((slab,), slab) for slab in slabs]


def _openings(rng: np.random.Generator, plan: Plan, daylight: float) -> None:
    """Put in doors and windows; a window gives light, and at times lets in the sun."""
    walls = [int(w) for w in rng.permutation(4)]
    for number in walls[: int(rng.integers(1, 3))]:
        along = rng.uniform(0.6, plan.wall_length(number) - 0.6)
        plan.mount(models.door(rng), number, along, 0.0)
    for number in walls[::-1][: int(rng.integers(1, 3))]:
        length = plan.wall_length(number)
        width = rng.uniform(0.7, min(2.4, length - 0.8))
        sill = rng.uniform(0.75, 1.05) if rng.random() < 0.85 else 0.15
        height = rng.uniform(1.0, max(1.05, plan.height - sill - 0.3))
        along = rng.uniform(width / 2 + 0.2, length - width / 2 - 0.2)
        if not plan.mount(models.window(rng, width, height, daylight), number, along, sill):
            continue
        if sill > 0.7 and rng.random() < 0.4:
            plan.mount(models.radiator(rng), number, along, 0.0)
        pane = box(plain((0, 0, 0)), 0, 0, 0, width, 0.02, height)
        gate = plan.on_wall([pane], number, along, 0.0, sill).solids[0]
        inward = -rotation(-number * np.pi / 2)[:, 1]
        strength = daylight * width * height * rng.uniform(1.2, 2.2)
        sky = np.array(hsv(0.58, 0.12, 1.0), np.float32) * np.float32(strength)
        source = gate.centre + inward * np.float32(0.25)
        plan.lights.append(Light(source, sky, 0.2, facing=inward))
        if daylight > 1 and rng.random() < 0.45:
            aside = rng.uniform(-0.9, 0.9) * np.array([inward[1], -inward[0], 0])
            away = -inward + aside + np.array([0, 0, rng.uniform(0.4, 1.1)])
            position = gate.centre + (30 * away / np.linalg.norm(away)).astype(np.float32)
            beam = np.array(hsv(0.11, 0.2, 1.0), np.float32) * np.float32(rng.uniform(2, 5))
            plan.lights.append(Light(position, beam, 0.15, gate=gate))
            daylight = 1.0  # one sun


def _furnish(rng: np.random.Generator, plan: Plan, style: str, ahead: Array) -> None:
    """Set up furniture, most of it on the side of the room that `ahead` [3] points to."""
    outward = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])
    seen = np.maximum(outward @ ahead[:2] + 0.5, 0.15)
    for maker in rng.permutation(np.array([*_AT_WALL[style] * 2, models.plant], object)):
        model = maker(rng)
        low, high = extent(model)
        for _ in range(6):
            number = int(rng.choice(4, p=seen / seen.sum()))
            margin = float(high[0] - low[0]) / 2 + 0.02
            length = plan.wall_length(number)
            if 2 * margin >= length:
                continue
            along = rng.uniform(margin, length - margin)
            span = Span(along - margin, along + margin, 0.0, float(high[2]))
            if any(span.overlaps(s) for s in plan.walls[number]):
                continue
            out = float(high[1]) + rng.uniform(0.02, 0.1)
            if plan.stand(plan.on_wall(model, number, along, out, 0.0)):
                plan.walls[number].append(span)
                break
    loose = [
        *rng.permutation(np.array(_IN_MIDDLE[style], object))[: int(rng.integers(1, 3))],
        *rng.permutation(np.array(_ANYWHERE, object))[: int(rng.integers(1, 7))],
    ]
    for maker in loose:
        model = maker(rng)
        for _ in range(6):
            turn = rotation(float(rng.choice([0, 90, 180, 270])) * np.pi / 180)
            if rng.random() < 0.5:
                turn = rotation(rng.uniform(0, 2 * np.pi))
            x, y = rng.uniform(0.2, plan.width - 0.2), rng.uniform(0.2, plan.length - 0.2)
            if plan.stand(grouped(model, turn, x, y)):
                break


def _decorate(rng: np.random.Generator, plan: Plan) -> None:
    """Hang things on the walls, lay a rug, run a skirting board, hang the lamps."""
    hangings = (models.picture, models.picture, models.picture, models.wall_shelf, models.clock)
    for _ in range(int(rng.integers(3, 14))):
        number = int(rng.integers(4))
        model = hangings[int(rng.integers(len(hangings)))](rng)
        plan.mount(model, number, rng.uniform(0, plan.wall_length(number)), rng.uniform(1.1, 1.6))
    if rng.random() < 0.5:
        x, y = plan.width * rng.uniform(0.3, 0.7), plan.length * rng.uniform(0.3, 0.7)
        rug = grouped(models.rug(rng), rotation(rng.choice([0.0, 1.57]) + rng.normal(0, 0.1)), x, y)
        low, high = extent([rug.bound])
        if low.min() > -0.01 and high[0] < plan.width and high[1] < plan.length:
            plan.groups.append(rug)
    if rng.random() < 0.75:
        board = plain(hsv(0.1, 0.05, 0.9), 0.1) if rng.random() < 0.6 else wood(rng)
        height = rng.uniform(0.05, 0.13)
        for number in range(4):
            if any(s.bottom < 0.05 and s.top > 1.9 for s in plan.walls[number]):
                continue  # it would run across a door
            length = plan.wall_length(number)
            strip = [box(board, 0, -0.0075, 0, length, 0.015, height)]
            plan.groups.append(plan.on_wall(strip, number, length / 2, 0.0, 0.0))
    if rng.random() < 0.12:
        beam = wood(rng)
        for y in np.arange(0.5, plan.length, rng.uniform(0.7, 1.3)):
            model = [box(beam, 0, 0, -0.16, plan.width, 0.12, 0.16)]
            plan.groups.append(grouped(model, rotation(0), plan.width / 2, float(y), plan.height))


def _lamps(rng: np.random.Generator, plan: Plan, strength: float) -> None:
    warm = np.array(hsv(rng.uniform(0.07, 0.13), rng.uniform(0.05, 0.4), 1.0), np.float32)
    count = 1 if len(plan.lights) > 1 else int(rng.integers(1, 3))
    for k in range(count):
        x = plan.width * rng.uniform(0.35, 0.65)
        y = plan.length * ((k + 0.5) / count + rng.uniform(-0.1, 0.1))
        hanging = rng.random() < 0.45
        model = models.pendant(rng) if hanging else models.ceiling_light(rng)
        lamp = grouped(model, rotation(0), x, y, plan.height)
        print_ = Footprint.of(lamp)
        if print_.distance(float(plan.eye[0]), float(plan.eye[1])) < _CLEARANCE:
            continue
        plan.groups.append(lamp)
        low = float(extent([lamp.bound])[0][2]) - 0.12
        colour = warm * np.float32(strength * rng.uniform(0.6, 1.3))
        plan.lights.append(Light(np.array([x, y, low], np.float32), colour, 0.08))


def _recess(rng: np.random.Generator, plan: Plan, side: Material) -> None:
    """Build out a corner of the room, so that not every room is a plain box."""
    x, y = float(rng.choice([0.0, plan.width])), float(rng.choice([0.0, plan.length]))
    w, d = rng.uniform(0.4, 1.6), rng.uniform(0.3, 1.4)
    block = grouped([box(side, 0, 0, 0, 2 * w, 2 * d, plan.height)], rotation(0), x, y)
    footprint = Footprint.of(block)
    if footprint.distance(float(plan.eye[0]), float(plan.eye[1])) < 1.0:
        return
    plan.groups.append(block)
    plan.floor.append(footprint)
    for number in range(4):
        # The walls that it hides take nothing where it stands.
        end = plan.on_wall([box(side, 0, 0, 0, 0.01, 0.01, 1)], number, 0.0, 0.01, 0.0)
        length, reach = plan.wall_length(number), w if number % 2 == 0 else d
        touches = (number == 0 and y > 0) or (number == 1 and x > 0)
        touches = touches or (number == 2 and y == 0) or (number == 3 and x == 0)
        if not touches:
            continue
        at_start = abs(end.bound.centre[0] - x) < 0.1 and abs(end.bound.centre[1] - y) < 0.1
        span = (0.0, reach) if at_start else (length - reach, length)
        plan.walls[number].append(Span(*span, 0.0, plan.height))


def _develop(rng: np.random.Generator, light: Array) -> NDArray[np.uint8]:
    """Turn linear light [h, w, 3] into an 8-bit photograph, as an imperfect camera would."""
    luminance = 0.3 * light[..., 0] + 0.6 * light[..., 1] + 0.1 * light[..., 2]
    middle = 0.5 * float(np.median(luminance)) + 0.5 * float(luminance.mean())
    exposed = light * np.float32(rng.uniform(0.22, 0.5) / max(middle, 1e-4))
    tint = np.exp(rng.normal(0, 1) * np.array([0.08, 0.0, -0.08]) + rng.normal(0, 0.015, 3))
    exposed = exposed * tint.astype(np.float32)
    size = light.shape[0]
    across = grid(-1, 1, size)
    radius = across[None, :] ** 2 + across[:, None] ** 2
    exposed *= (1 - np.float32(rng.uniform(0, 0.22)) * radius / 2)[..., None]
    # A shoulder that keeps windows and lamps from burning out abruptly.
    toned = exposed * (1 + exposed / 9) / (1 + exposed * np.float32(0.75))
    shown = np.clip(toned, 0, 1) ** np.float32(1 / 2.2)
    contrast = np.float32(rng.uniform(0.9, 1.15))
    shown = 0.5 + (shown - 0.5) * contrast
    shown += rng.standard_normal(shown.shape, np.float32) * np.float32(rng.uniform(0.002, 0.016))
    return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_room(rng: np.random.Generator, size: int) -> Room:
    """Draw a random furnished room, size × size pixels.

    Equal generators give equal rooms. The room differs with every call in its measures,
    surfaces, furniture, light and camera; see `Room` for what is returned.
    """
    width, length = rng.uniform(3, 7), rng.uniform(3, 8)
    height = rng.uniform(2.3, 3.2)
    length = min(length, float(np.sqrt(98 - width**2 - height**2)))  # nothing beyond 10 m
    view = _view(rng, width, length, height)
    side = wall(rng)
    sides = [wall(rng) if rng.random() < 0.2 else side for _ in range(4)]
    white = plain(hsv(rng.uniform(0.08, 0.15), rng.uniform(0, 0.1), rng.uniform(0.8, 0.97)))
    ceiling = wood(rng) if rng.random() < 0.08 else white
    plan = Plan(width, length, height, view.camera.eye)
    plan.groups += shell(width, length, height, floor(rng), ceiling, sides)
    daylight = rng.uniform(1.2, 3.0) if rng.random() < 0.75 else 0.05
    if rng.random() < 0.3:
        _recess(rng, plan, side)
    _openings(rng, plan, daylight)
    _furnish(rng, plan, pick(rng, *_AT_WALL), view.camera.forward)
    _decorate(rng, plan)
    _lamps(rng, plan, rng.uniform(3, 7) if daylight < 1 or rng.random() < 0.5 else 0.6)
    ambient = np.float32(rng.uniform(0.18, 0.5))
    scene = Scene(
        tuple(plan.groups),
        tuple(plan.lights),
        above=ambient * np.array([1.0, 1.0, 1.0], np.float32),
        below=ambient * np.array([0.85, 0.78, 0.7], np.float32),
        corners=np.array([[0, 0, 0], [width, length, height]], np.float32),
        shell=6,
    )
    slope = view.slope
    frame = render(view.camera, scene, (-slope, slope), (slope, -slope), size, size, samples=2)
    axis = grid(-slope, slope, size)
    depth = trace(view.camera, scene.solids, axis, -axis).depth
    return Room(_develop(rng, frame.colour), depth)
