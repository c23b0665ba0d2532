"""Things made of solids: furniture, lamps, plants, clutter.

Each function returns a model that stands on z = 0 about the origin, its back towards +y, in
metres. Things for a wall or a ceiling touch it with their back (y = 0) or their top (z = 0).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scenes.solids import Solid, ball, box, drum, limb, moved, rod, rotation
from scenes.textures import (
    Material,
    cloth,
    dye,
    glaze,
    hsv,
    metal,
    outdoors,
    plain,
    poster,
    stretched,
    wood,
)

Model = list[Solid]
Maker = Callable[[np.random.Generator], Model]
DARK = plain(hsv(0.6, 0.05, 0.12), 0.6)


def _some(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _top(
    rng: np.random.Generator, width: float, depth: float, height: float, material: Material
) -> Model:
    """A top on four legs."""
    thick, leg = rng.uniform(0.02, 0.05), rng.uniform(0.03, 0.08)
    inset = leg / 2 + rng.uniform(0, 0.05)
    legs = metal(rng) if rng.random() < 0.3 else material
    parts = [box(material, 0, 0, height - thick, width, depth, thick)]
    round_legs = rng.random() < 0.4
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (width / 2 - inset), sy * (depth / 2 - inset)
            if round_legs:
                parts.append(drum(legs, x, y, 0, leg * 0.35, height - thick, 1.4))
            else:
                parts.append(box(legs, x, y, 0, leg, leg, height - thick))
    return parts


def clutter(rng: np.random.Generator, width: float, depth: float, count: int) -> Model:
    """Return small things strewn over a surface of width × depth at z = 0."""
    parts: Model = []
    for slot in rng.permutation(6)[:count]:
        # One slot of a 3 × 2 grid each, so that they stand apart.
        x = (slot % 3 - 1) * width * 0.31 + rng.uniform(-0.04, 0.04)
        y = (slot // 3 - 0.5) * depth * 0.45
        thing = _SMALL[_some(rng, 0, len(_SMALL) - 1)](rng)
        parts += moved(thing, rotation(rng.uniform(0, 6.3)), x, y)
    return parts


def table(rng: np.random.Generator) -> Model:
    """Return a table with clutter on it, at times a runner."""
    width, depth = rng.uniform(0.8, 2.0), rng.uniform(0.6, 1.0)
    height = rng.uniform(0.7, 0.78)
    parts = _top(rng, width, depth, height, wood(rng))
    if rng.random() < 0.2:
        parts.append(box(cloth(rng), 0, 0, height, width * 0.35, depth, 0.006))
    return parts + moved(clutter(rng, width, depth, _some(rng, 0, 5)), rotation(0), z=height)


def dining(rng: np.random.Generator) -> Model:
    """A table with chairs round it."""
    parts = table(rng)
    width, depth = 2 * float(parts[0].half[0]), 2 * float(parts[0].half[1])
    seat = chair(rng)
    for x in (-width * 0.24, width * 0.24):
        for side, yaw in ((1, 0.0), (-1, np.pi)):
            if rng.random() < 0.8:
                turn = rotation(yaw + rng.normal(0, 0.15))
                parts += moved(seat, turn, x, side * (depth / 2 + rng.uniform(0.0, 0.3)))
    return parts


def coffee_table(rng: np.random.Generator) -> Model:
    """Return a low table with clutter on it."""
    width, depth, height = rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.7), rng.uniform(0.32, 0.48)
    parts = _top(rng, width, depth, height, wood(rng))
    return parts + moved(clutter(rng, width, depth, _some(rng, 1, 4)), rotation(0), z=height)


def round_table(rng: np.random.Generator) -> Model:
    """Return a round table on a column."""
    radius, height, material = rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.76), wood(rng)
    parts = [
        drum(material, 0, 0, 0, radius * 0.6, 0.04, 0.8),
        drum(material, 0, 0, 0.04, 0.05, height - 0.07),
        drum(material, 0, 0, height - 0.03, radius, 0.03),
    ]
    top = clutter(rng, radius * 1.2, radius * 1.2, _some(rng, 0, 3))
    return parts + moved(top, rotation(0), z=height)


def chair(rng: np.random.Generator) -> Model:
    """Return a chair with one of three kinds of back."""
    width, height = rng.uniform(0.4, 0.5), rng.uniform(0.43, 0.48)
    back = rng.uniform(0.38, 0.6)
    material = wood(rng) if rng.random() < 0.7 else glaze(rng)
    parts = _top(rng, width, width, height, material)
    if rng.random() < 0.4:
        parts.append(box(cloth(rng), 0, 0, height, width * 0.9, width * 0.9, 0.04))
    y, post = width / 2 - 0.02, 0.035
    style = _some(rng, 0, 2)
    for x in (-width / 2 + post / 2, width / 2 - post / 2):
        parts.append(box(material, x, y, height, post, post, back))
    if style == 0:
        parts.append(box(material, 0, y, height + back * 0.35, width, 0.02, back * 0.65))
    elif style == 1:
        for z in np.linspace(0.3, 0.9, _some(rng, 2, 4)):
            parts.append(box(material, 0, y, height + back * z, width - post, 0.02, 0.05))
    else:
        for x in np.linspace(-width / 2 + 0.08, width / 2 - 0.08, 4):
            parts.append(box(material, x, y, height, 0.02, 0.02, back))
        parts.append(box(material, 0, y, height + back - 0.05, width, 0.03, 0.06))
    return parts


def office_chair(rng: np.random.Generator) -> Model:
    """Return a swivel chair on castors."""
    seat, frame = cloth(rng, 0.4), metal(rng)
    parts = [drum(frame, 0, 0, 0.08, 0.03, 0.38), ball(seat, 0, 0, 0.48, 0.26, 0.25, 0.06)]
    for angle in np.arange(5) * 2 * np.pi / 5:
        foot = (0.28 * float(np.cos(angle)), 0.28 * float(np.sin(angle)), 0.04)
        parts += [rod(frame, (0, 0, 0.1), foot, 0.025), ball(DARK, *foot, 0.035, 0.035, 0.035)]
    parts.append(rod(frame, (0, 0.2, 0.46), (0, 0.27, 0.75), 0.02))
    parts.append(ball(seat, 0, 0.25, 0.82, 0.23, 0.05, 0.27))
    return parts


def stool(rng: np.random.Generator) -> Model:
    """Return a stool with splayed legs."""
    material, height, spread = wood(rng), rng.uniform(0.42, 0.75), rng.uniform(0.12, 0.2)
    parts = [drum(material, 0, 0, height - 0.035, 0.17, 0.035)]
    for angle in np.arange(4) * np.pi / 2 + 0.8:
        x, y = spread * float(np.cos(angle)), spread * float(np.sin(angle))
        parts.append(rod(material, (x, y, 0), (x * 0.6, y * 0.6, height - 0.03), 0.018))
    return parts


def _cushion(rng: np.random.Generator, x: float, y: float, z: float) -> Model:
    size = rng.uniform(0.17, 0.24)
    pillow = [ball(cloth(rng), 0, 0, 0, size, 0.075, size)]
    return moved(pillow, rotation(rng.normal(0, 0.2), -0.35, rng.normal(0, 0.3)), x, y, z + size)


def sofa(rng: np.random.Generator) -> Model:
    """Return an armchair or a sofa of up to three seats, with cushions."""
    seats = _some(rng, 1, 3)
    material = cloth(rng, 0.55)
    arm, depth = rng.uniform(0.1, 0.22), rng.uniform(0.8, 0.95)
    seat, back = rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.95)
    each = rng.uniform(0.58, 0.72)
    inner = seats * each
    foot = rng.uniform(0.0, 0.12)
    parts = [
        box(material, 0, 0, foot, inner, depth, seat - 0.14 - foot),
        box(material, 0, depth / 2 - 0.1, foot, inner, 0.2, back - foot),
    ]
    for side in (-1, 1):
        x = side * (inner + arm) / 2
        parts.append(box(material, x, 0, foot, arm, depth, seat + 0.16 - foot))
        if foot > 0.03:
            for y in (-depth / 2 + 0.08, depth / 2 - 0.08):
                parts.append(drum(DARK, x, y, 0, 0.025, foot))
        if arm > 0.15:
            top = (x, -depth / 2, seat + 0.16), (x, depth / 2, seat + 0.16)
            parts.append(rod(material, *top, arm / 2))
    for k in range(seats):
        x = (k - (seats - 1) / 2) * each
        parts.append(box(material, x, -0.1, seat - 0.13, each - 0.015, depth - 0.2, 0.13))
        padding = [box(material, 0, 0, 0, each - 0.02, 0.14, back - seat + 0.03)]
        parts += moved(padding, rotation(0, -0.16), x, depth / 2 - 0.28, seat)
        if rng.random() < 0.45:
            parts += _cushion(rng, x + rng.normal(0, 0.08), depth / 2 - 0.42, seat)
    return parts


def bed(rng: np.random.Generator) -> Model:
    """Return a bed, made, for one or two."""
    width, length = rng.uniform(0.9, 1.8), rng.uniform(1.95, 2.1)
    base, mattress = rng.uniform(0.2, 0.35), rng.uniform(0.16, 0.26)
    frame, sheet = wood(rng), plain(hsv(0.1, rng.uniform(0, 0.1), rng.uniform(0.8, 0.95)))
    top = base + mattress
    cover = cloth(rng)
    reach = rng.uniform(0.55, 0.75) * length
    parts = [
        box(frame, 0, 0, 0.08, width, length, base - 0.08),
        box(frame, 0, length / 2 + 0.03, 0, width + 0.04, 0.06, top + rng.uniform(0.2, 0.6)),
        box(sheet, 0, 0, base, width - 0.04, length - 0.04, mattress),
        box(cover, 0, (reach - length) / 2, base + 0.05, width + 0.03, reach, mattress),
        box(sheet, 0, reach - length / 2 - 0.12, top, width + 0.035, 0.26, 0.055),
    ]
    for side in (-1, 1):
        parts.append(box(frame, side * (width / 2 - 0.05), -length / 2 + 0.05, 0, 0.07, 0.07, 0.09))
    count = 1 if width < 1.2 else 2
    for k in range(count):
        x = (k - (count - 1) / 2) * width * 0.48
        pillow = [ball(cloth(rng) if rng.random() < 0.3 else sheet, 0, 0, 0, 0.33, 0.22, 0.09)]
        turn = rotation(rng.normal(0, 0.1), 0.15)
        parts += moved(pillow, turn, x, length / 2 - 0.26, top + 0.09)
    return parts


def _books(rng: np.random.Generator, width: float, depth: float, height: float) -> Model:
    """A row of books from the left, standing on z = 0, not always full."""
    parts: Model = []
    x, end = -width / 2, width / 2 - rng.uniform(0, 0.6) * width
    while True:
        thick = rng.uniform(0.02, 0.06)
        if x + thick > end or len(parts) > 14:
            return parts
        tall = height * rng.uniform(0.6, 0.92)
        book = plain(dye(rng), 0.1)
        parts.append(box(book, x + thick / 2, 0, 0, thick - 0.002, depth * 0.8, tall))
        x += thick


def shelf(rng: np.random.Generator) -> Model:
    """An open bookcase."""
    width, depth, height = rng.uniform(0.6, 1.3), rng.uniform(0.25, 0.38), rng.uniform(0.8, 2.1)
    boards = max(2, round(height / rng.uniform(0.3, 0.42)))
    material, board = wood(rng), 0.025
    parts = [
        box(material, -width / 2, 0, 0, board, depth, height),
        box(material, width / 2, 0, 0, board, depth, height),
        box(material, 0, depth / 2 - 0.005, 0, width, 0.01, height),
    ]
    step = (height - board) / boards
    for k in range(boards + 1):
        parts.append(box(material, 0, 0, k * step, width, depth - 0.01, board))
        if k == boards or rng.random() < 0.2:
            continue
        if rng.random() < 0.7:
            row = _books(rng, width - 0.06, depth, step - board)
        else:
            row = clutter(rng, width - 0.1, 0.1, _some(rng, 1, 3))
            row = [s for s in row if float(s.corners[2].max()) < step - board]
        parts += moved(row, rotation(0), z=k * step + board)
    return parts


def cupboard(rng: np.random.Generator) -> Model:
    """A wardrobe, a cupboard, a sideboard or a chest of drawers."""
    width, depth, height = rng.uniform(0.5, 1.8), rng.uniform(0.4, 0.6), rng.uniform(0.7, 2.2)
    material, knob = wood(rng), metal(rng)
    plinth = rng.uniform(0.03, 0.12)
    body = height - plinth
    parts = [
        box(material, 0, 0, plinth, width, depth, body),
        box(DARK, 0, 0.03, 0, width - 0.06, depth - 0.08, plinth),
        box(material, 0, -0.01, height, width + 0.03, depth + 0.03, 0.025),
    ]
    columns = max(1, round(width / 0.5))
    rows = _some(rng, 2, 4) if height < 1.2 and rng.random() < 0.6 else 1
    front = wood(rng) if rng.random() < 0.25 else material
    for i in range(columns):
        for j in range(rows):
            x, z = (i + 0.5) * width / columns - width / 2, plinth + j * body / rows
            w, h = width / columns - 0.02, body / rows - 0.02
            y = -depth / 2 - 0.009
            parts.append(box(front, x, y, z + 0.01, w, 0.018, h))
            shift = 0.0 if rows > 1 else (w / 2 - 0.05) * (1 if i % 2 == 0 else -1)
            parts.append(ball(knob, x + shift, y - 0.02, z + h * 0.55, 0.014, 0.018, 0.014))
    if height < 1.3:
        top = clutter(rng, width, depth, _some(rng, 0, 4))
        parts += moved(top, rotation(0), z=height + 0.025)
    return parts


def kitchen(rng: np.random.Generator) -> Model:
    """A worktop on cupboards, with cupboards above."""
    units = _some(rng, 2, 5)
    width, depth, front = units * 0.6, 0.6, wood(rng)
    if rng.random() < 0.5:
        front = plain(dye(rng, 0.4), 0.4)
    stone = plain(hsv(0.08, 0.1, rng.uniform(0.2, 0.8)), 0.6)
    knob = metal(rng)
    parts = [
        box(DARK, 0, 0.03, 0, width, depth - 0.1, 0.1),
        box(front, 0, 0.01, 0.1, width, depth - 0.05, 0.76),
        box(stone, 0, 0, 0.86, width + 0.02, depth, 0.04),
    ]
    upper = rng.random() < 0.7
    if upper:
        parts.append(box(front, 0, depth / 2 - 0.17, 1.42, width, 0.32, 0.7))
    for k in range(units):
        x = (k + 0.5) * 0.6 - width / 2
        parts.append(box(front, x, -depth / 2 + 0.025, 0.12, 0.58, 0.02, 0.73))
        parts.append(box(knob, x, -depth / 2 + 0.005, 0.76, 0.16, 0.012, 0.014))
        if upper:
            parts.append(box(front, x, depth / 2 - 0.34, 1.44, 0.58, 0.02, 0.66))
            parts.append(box(knob, x + 0.22, depth / 2 - 0.36, 1.47, 0.014, 0.012, 0.12))
    hob = float(rng.choice([-1, 1])) * (width / 2 - 0.32)
    parts.append(box(DARK, hob, 0, 0.9, 0.52, 0.48, 0.006))
    return parts + moved(clutter(rng, width * 0.7, 0.4, _some(rng, 1, 4)), rotation(0), z=0.9)


def fridge(rng: np.random.Generator) -> Model:
    """Return a fridge with a freezer."""
    white = plain(hsv(0.6, 0.03, rng.uniform(0.55, 0.95)), 0.5)
    height, split = rng.uniform(1.5, 1.9), rng.uniform(0.5, 1.1)
    return [
        box(white, 0, 0.02, 0.03, 0.6, 0.58, height - 0.03),
        box(white, 0, -0.3, 0.06, 0.59, 0.06, split - 0.07),
        box(white, 0, -0.3, split, 0.59, 0.06, height - split - 0.01),
        box(DARK, -0.24, -0.345, split - 0.35, 0.02, 0.03, 0.28),
        box(DARK, -0.24, -0.345, split + 0.06, 0.02, 0.03, 0.25),
    ]


def _screen(rng: np.random.Generator, width: float) -> Model:
    height = width * 0.58
    glass = DARK if rng.random() < 0.6 else stretched(poster(rng), width, height, 0.6)
    return [
        box(DARK, 0, 0, 0.08, width + 0.03, 0.04, height + 0.03),
        box(glass, 0, -0.021, 0.095, width, 0.004, height),
        box(DARK, 0, 0.02, 0, 0.05, 0.03, 0.1),
        box(DARK, 0, 0, 0, 0.26, 0.16, 0.012),
    ]


def desk(rng: np.random.Generator) -> Model:
    """Return a desk with drawers, a screen, and as a rule a seat."""
    width, depth, height = rng.uniform(1.0, 1.7), rng.uniform(0.6, 0.75), 0.74
    material = wood(rng)
    parts = _top(rng, width, depth, height, material)
    side = width / 2 - 0.24
    parts.append(box(material, side, 0, 0.08, 0.38, depth - 0.1, height - 0.12))
    for k in range(3):
        parts.append(box(DARK, side, -depth / 2 + 0.045, 0.2 + 0.2 * k, 0.12, 0.015, 0.012))
    parts += moved(_screen(rng, rng.uniform(0.4, 0.65)), rotation(0.1), 0, 0.12, height)
    parts.append(box(DARK, 0, -0.16, height, 0.42, 0.14, 0.02))
    if rng.random() < 0.7:
        parts += moved(desk_lamp(rng), rotation(rng.uniform(0, 6)), -width * 0.36, 0.1, height)
    parts += moved(mug(rng), rotation(2), width * 0.3, -0.1, height)
    if rng.random() < 0.8:
        seat = office_chair(rng) if rng.random() < 0.7 else chair(rng)
        parts += moved(seat, rotation(np.pi + rng.normal(0, 0.5)), -0.05, -depth / 2 - 0.25)
    return parts


def television(rng: np.random.Generator) -> Model:
    """Return a television on a low stand."""
    width, material = rng.uniform(1.0, 1.7), wood(rng)
    height = rng.uniform(0.35, 0.55)
    parts = [
        box(material, 0, 0, 0.05, width, 0.4, 0.03),
        box(material, 0, 0, height - 0.03, width, 0.4, 0.03),
        box(material, 0, 0.18, 0.05, width, 0.02, height - 0.05),
    ]
    for x in (-width / 2 + 0.015, 0, width / 2 - 0.015):
        parts.append(box(material, x, 0, 0, 0.03, 0.4, height - 0.02))
    parts.append(box(DARK, width * 0.22, -0.02, 0.08, width * 0.3, 0.26, 0.07))
    return parts + moved(_screen(rng, rng.uniform(0.7, 1.3)), rotation(0), z=height)


def floor_lamp(rng: np.random.Generator) -> Model:
    """Return a standard lamp."""
    height, frame = rng.uniform(1.35, 1.75), metal(rng)
    return [
        drum(frame, 0, 0, 0, 0.15, 0.025, 0.9),
        drum(frame, 0, 0, 0.02, 0.013, height - 0.2),
        *_shade(rng, rng.uniform(0.15, 0.24), rng.uniform(0.2, 0.32), height - 0.25),
    ]


def _shade(rng: np.random.Generator, radius: float, height: float, z: float) -> Model:
    paper = plain(hsv(0.1, rng.uniform(0.05, 0.35), 0.92), 0.0, float(rng.uniform(0, 1.5)))
    return [drum(paper, 0, 0, z, radius, height, float(rng.uniform(0.55, 1)))]


def desk_lamp(rng: np.random.Generator) -> Model:
    """Return a table lamp."""
    body = glaze(rng)
    return [
        ball(body, 0, 0, 0.12, 0.075, 0.075, 0.12),
        drum(body, 0, 0, 0.2, 0.014, 0.1),
        *_shade(rng, rng.uniform(0.1, 0.15), rng.uniform(0.13, 0.19), 0.26),
    ]


def pendant(rng: np.random.Generator) -> Model:
    """A lamp that hangs from z = 0."""
    drop = rng.uniform(0.25, 0.7)
    cord = drum(DARK, 0, 0, -drop, 0.006, drop)
    if rng.random() < 0.5:
        glow = plain(hsv(0.11, 0.1, 0.95), 0.0, 1.5)
        return [cord, ball(glow, 0, 0, -drop - 0.12, 0.15, 0.15, 0.14)]
    return [cord, *_shade(rng, rng.uniform(0.15, 0.28), rng.uniform(0.15, 0.25), -drop - 0.2)]


def ceiling_light(rng: np.random.Generator) -> Model:
    """A flat lamp under z = 0."""
    glow = plain(hsv(0.12, 0.06, 0.97), 0.0, 2.0)
    if rng.random() < 0.5:
        return [ball(glow, 0, 0, 0, 0.2, 0.2, 0.08)]
    return [box(glow, 0, 0, -0.06, rng.uniform(0.15, 0.6), rng.uniform(0.6, 1.2), 0.06)]


def plant(rng: np.random.Generator) -> Model:
    """Return a plant in a pot, 0.5 to 1.5 m high."""
    size = rng.uniform(0.3, 1.3)
    pot, rim = glaze(rng), 0.1 + 0.1 * size
    height = rim * rng.uniform(1.3, 2.0)
    parts = [
        drum(pot, 0, 0, 0, rim * 0.75, height, 1.33),
        drum(plain((0.03, 0.02, 0.015)), 0, 0, height - 0.01, rim * 0.9, 0.015),
    ]
    hue, slender = rng.uniform(0.22, 0.38), rng.uniform(0.12, 0.4)
    stalk = plain(hsv(hue - 0.1, 0.5, 0.3))
    upright = rng.uniform(0.5, 1.3)
    for k in range(_some(rng, 9, 18)):
        leaf = plain(hsv(hue + rng.normal(0, 0.015), 0.6, rng.uniform(0.25, 0.6)), 0.2)
        angle, lean = 2.4 * k + rng.normal(0, 0.2), upright * rng.uniform(0.35, 1.1)
        reach, up = np.sin(lean) * size * 0.35, height + np.cos(lean) * size * 0.6
        x, y = reach * float(np.cos(angle)), reach * float(np.sin(angle))
        length = size * rng.uniform(0.16, 0.28)
        blade = [ball(leaf, length * 0.8, 0, 0, length, length * slender, 0.008)]
        turn = rotation(angle, 0.0, lean - rng.uniform(0.6, 1.2))
        parts += moved(blade, turn, x, y, up)
        parts.append(rod(stalk, (0, 0, height - 0.02), (x, y, up), 0.008, 0.6))
    return parts


def mug(rng: np.random.Generator) -> Model:
    """Return a full mug."""
    material, radius, height = glaze(rng), rng.uniform(0.035, 0.05), rng.uniform(0.08, 0.12)
    bow = [
        (radius * 0.9, 0.0, height * 0.8),
        (radius * 1.6, 0.0, height * 0.75),
        (radius * 1.75, 0.0, height * 0.5),
        (radius * 1.5, 0.0, height * 0.27),
        (radius * 0.9, 0.0, height * 0.2),
    ]
    return [
        drum(material, 0, 0, 0, radius * 0.92, height, 1.1),
        drum(plain((0.03, 0.02, 0.015), 0.3), 0, 0, height - 0.001, radius * 0.88, 0.002),
        *limb(material, bow, [radius * 0.16] * 5),
    ]


def vase(rng: np.random.Generator) -> Model:
    """Return a vase, at times with flowers."""
    material, size = glaze(rng), rng.uniform(0.12, 0.3)
    belly, neck = rng.uniform(0.22, 0.38) * size, rng.uniform(0.08, 0.16) * size
    middle = rng.uniform(0.3, 0.5) * size
    parts = [
        drum(material, 0, 0, 0, belly * 0.6, 0.1 * size, 1.1),
        ball(material, 0, 0, middle, belly, belly, middle),
        drum(material, 0, 0, middle, belly * 0.75, size - middle, neck / belly / 0.75),
        drum(material, 0, 0, size - 0.01, neck * 0.9, 0.09 * size, 1.5),
    ]
    if rng.random() < 0.5:
        for k in range(_some(rng, 3, 6)):
            angle, lean = 2.4 * k, rng.uniform(0.1, 0.5)
            x, y = lean * size * float(np.cos(angle)), lean * size * float(np.sin(angle))
            z = size * rng.uniform(1.6, 2.2)
            r = size * rng.uniform(0.09, 0.14)
            parts.append(rod(plain(hsv(0.3, 0.5, 0.4)), (0, 0, size), (x, y, z), 0.004))
            parts.append(ball(plain(hsv(rng.uniform(0.8, 1.15), 0.6, 0.9)), x, y, z, r, r, r * 0.8))
    return parts


def bowl(rng: np.random.Generator) -> Model:
    """Return a bowl, at times with fruit."""
    radius = rng.uniform(0.08, 0.14)
    parts = [drum(glaze(rng), 0, 0, 0, radius * 0.5, radius * 0.6, 2.0)]
    for k in range(_some(rng, 0, 5)):
        fruit = plain(hsv(rng.uniform(0, 0.3), 0.7, 0.8), 0.3)
        x, y = radius * 0.45 * float(np.cos(k * 1.3)), radius * 0.45 * float(np.sin(k * 1.3))
        parts.append(ball(fruit, x, y, radius * 0.62, 0.038, 0.038, 0.036))
    return parts


def stack(rng: np.random.Generator) -> Model:
    """A pile of books."""
    parts: Model = []
    z = 0.0
    for _ in range(_some(rng, 1, 5)):
        thick, width = rng.uniform(0.015, 0.045), rng.uniform(0.13, 0.2)
        book = [box(plain(dye(rng), 0.1), 0, 0, z, width, width * 1.4, thick)]
        parts += moved(book, rotation(rng.normal(0, 0.15)))
        z += thick
    return parts


def bottle(rng: np.random.Generator) -> Model:
    """Return a bottle."""
    glass, radius = glaze(rng), rng.uniform(0.03, 0.045)
    return [
        drum(glass, 0, 0, 0, radius, 0.17),
        drum(glass, 0, 0, 0.17, radius, 0.05, 0.4),
        drum(glass, 0, 0, 0.22, radius * 0.4, 0.07),
    ]


def photo(rng: np.random.Generator) -> Model:
    """Return a framed picture that leans back."""
    width, height = rng.uniform(0.1, 0.18), rng.uniform(0.13, 0.22)
    picture = stretched(poster(rng), width, height)
    return moved(
        [
            box(wood(rng), 0, 0, 0, width + 0.03, 0.015, height + 0.03),
            box(picture, 0, -0.008, 0.015, width, 0.004, height),
        ],
        rotation(0, -0.2),
    )


def toy(rng: np.random.Generator) -> Model:
    """A ball, a cube or a small box."""
    size = rng.uniform(0.03, 0.08)
    if rng.random() < 0.4:
        return [ball(glaze(rng), 0, 0, size, size, size, size)]
    return [box(glaze(rng), 0, 0, 0, size * 2, size * rng.uniform(1, 2.5), size * 1.5)]


def football(rng: np.random.Generator) -> Model:
    """Return a ball of coloured gores."""
    radius = rng.uniform(0.09, 0.3)
    scale = radius * np.pi * 2 / int(rng.integers(3, 7))
    material = Material(dye(rng), "gores", dye(rng), scale, 0.4)
    turn = rotation(rng.uniform(0, 6), rng.uniform(0, 3))
    return moved([ball(material, 0, 0, 0, radius, radius, radius)], turn, z=radius)


def carton(rng: np.random.Generator) -> Model:
    """Cardboard boxes, one or two on each other."""
    card = Material(
        hsv(0.085, rng.uniform(0.3, 0.45), rng.uniform(0.55, 0.75)), "blotches", (0.4, 0.28, 0.17)
    )
    parts: Model = []
    z, width, depth = 0.0, rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.5)
    for _ in range(_some(rng, 1, 3)):
        height = rng.uniform(0.18, 0.4)
        item = [
            box(card, 0, 0, z, width, depth, height),
            box(plain(hsv(0.1, 0.25, 0.8), 0.3), 0, 0, z, 0.05, depth + 0.002, height + 0.002),
        ]
        parts += moved(item, rotation(rng.normal(0, 0.12)))
        z += height
        width, depth = width * 0.85, depth * 0.85
    return parts


def basket(rng: np.random.Generator) -> Model:
    """Return a woven basket."""
    radius, height = rng.uniform(0.13, 0.22), rng.uniform(0.22, 0.45)
    hole = plain((0.02, 0.02, 0.02))
    material = Material(dye(rng, 0.4), "plaid", dye(rng, 0.4), 0.03)
    return [
        drum(material, 0, 0, 0, radius * 0.85, height, 1.18),
        drum(hole, 0, 0, height - 0.004, radius * 0.95, 0.006),
    ]


def column(rng: np.random.Generator) -> Model:
    """A pedestal with something on it."""
    stone = Material(hsv(0.1, 0.05, 0.85), "marble", hsv(0.6, 0.1, 0.5), 0.4, 0.3)
    height, radius = rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.17)
    parts = [
        box(stone, 0, 0, 0, radius * 2.8, radius * 2.8, 0.06),
        drum(stone, 0, 0, 0.06, radius, height - 0.12, 0.9),
        box(stone, 0, 0, height - 0.06, radius * 2.6, radius * 2.6, 0.06),
    ]
    return parts + moved(vase(rng), rotation(0), z=height, scale=1.4)


def rug(rng: np.random.Generator) -> Model:
    """Return a rug, round or bordered."""
    width, depth = rng.uniform(1.0, 2.6), rng.uniform(0.8, 1.8)
    rim, inner = cloth(rng, 0.6), cloth(rng, 0.6)
    if rng.random() < 0.3:
        return [drum(inner, 0, 0, 0, depth * 0.7, 0.012)]
    border = rng.uniform(0.05, 0.2)
    return [
        box(rim, 0, 0, 0, width, depth, 0.01),
        box(inner, 0, 0, 0.01, width - border, depth - border, 0.002),
    ]


def _framed(
    inner: Material, frame: Material, width: float, height: float, rim: float, thick: float
) -> Model:
    """A panel on the wall (back at y = 0) within a frame, from z = 0 up."""
    parts = [box(inner, 0, -thick / 4, 0, width, thick / 2, height)]
    for x in (-1, 1):
        parts.append(box(frame, x * (width + rim) / 2, -thick / 2, 0, rim, thick, height))
    for z in (-rim, height):
        parts.append(box(frame, 0, -thick / 2, z, width + 2 * rim, thick, rim))
    return parts


def picture(rng: np.random.Generator) -> Model:
    """Return a picture for a wall, framed or not."""
    width, height = rng.uniform(0.25, 1.0), rng.uniform(0.25, 0.8)
    frame = wood(rng) if rng.random() < 0.7 else metal(rng)
    art = stretched(poster(rng), width, height)
    if rng.random() < 0.25:
        return [box(art, 0, -0.005, 0, width, 0.01, height)]
    return _framed(art, frame, width, height, rng.uniform(0.015, 0.06), rng.uniform(0.02, 0.05))


def window(rng: np.random.Generator, width: float, height: float, daylight: float) -> Model:
    """A window with its bars, sill, and at times curtains or a radiator; z = 0 is the sill."""
    view = stretched(outdoors(rng), width, height, daylight)
    white = plain(hsv(0.1, 0.05, rng.uniform(0.6, 0.95)), 0.2) if rng.random() < 0.7 else wood(rng)
    parts = _framed(view, white, width, height, 0.06, 0.07)
    for k in range(1, _some(rng, 1, 3)):
        x = width * (k / 2 - 0.5) if width < 1.4 else width * (k / 3 - 0.5)
        parts.append(box(white, x, -0.03, 0, 0.045, 0.05, height))
    if rng.random() < 0.5:
        parts.append(box(white, 0, -0.03, height * rng.uniform(0.4, 0.75), width, 0.05, 0.04))
    parts.append(box(white, 0, -0.09, -0.09, width + 0.2, 0.18, 0.035))
    if rng.random() < 0.5:
        stuff = Material(dye(rng, 0.5), "folds", scale=float(rng.uniform(0.07, 0.14)))
        fall = rng.uniform(0.1, 0.7)
        for side in (-1, 1):
            w = width * rng.uniform(0.15, 0.3)
            x = side * (width / 2 + 0.1)
            parts.append(box(stuff, x, -0.12, -fall, w, 0.06, height + fall + 0.1))
        ends = (-width * 0.7, -0.12, height + 0.12), (width * 0.7, -0.12, height + 0.12)
        parts.append(rod(metal(rng), *ends, 0.014))
    return parts


def radiator(rng: np.random.Generator) -> Model:
    """Return a ribbed radiator for a wall."""
    white = plain(hsv(0.1, 0.03, 0.9), 0.3)
    count = _some(rng, 8, 14)
    return [
        box(white, (k - (count - 1) / 2) * 0.07, -0.06, 0.12, 0.055, 0.09, 0.5)
        for k in range(count)
    ]


def door(rng: np.random.Generator) -> Model:
    """Return a closed door for a wall."""
    width, height, leaf = rng.uniform(0.75, 0.95), rng.uniform(1.95, 2.1), wood(rng)
    frame = leaf if rng.random() < 0.5 else plain(hsv(0.1, 0.04, 0.88), 0.2)
    parts = _framed(leaf, frame, width, height, 0.07, 0.05)
    parts = [p for p in parts if p.corners[2].min() > -0.01]
    for z, h in ((0.15, 0.75), (1.0, 0.8)):
        for x in (-0.24, 0.24) if rng.random() < 0.6 else (0.0,):
            w = width * (0.36 if x else 0.75)
            parts.append(box(leaf, x * width, -0.026, z, w, 0.014, h))
    parts.append(rod(metal(rng), (width * 0.42, -0.07, 1.0), (width * 0.3, -0.07, 1.0), 0.012))
    return parts


def wall_shelf(rng: np.random.Generator) -> Model:
    """Return a board on a wall with books or clutter."""
    width, depth = rng.uniform(0.6, 1.2), rng.uniform(0.18, 0.25)
    row = _books(rng, width * 0.9, depth, rng.uniform(0.2, 0.3))
    if rng.random() < 0.4:
        row = clutter(rng, width, 0.1, 3)
    return [
        box(wood(rng), 0, -depth / 2, 0, width, depth, 0.03),
        *moved(row, rotation(0), 0, -depth / 2, 0.03),
    ]


def clock(rng: np.random.Generator) -> Model:
    """Return a wall clock."""
    radius = rng.uniform(0.12, 0.2)
    face, rim = plain(hsv(0.1, 0.05, 0.95)), glaze(rng)
    hands = [(0.0, 0.6), (float(rng.uniform(0.3, 0.6)), -0.2)]
    parts = [
        rod(rim, (0, 0, radius), (0, -0.04, radius), radius),
        rod(face, (0, -0.03, radius), (0, -0.042, radius), radius * 0.9),
    ]
    for x, z in hands:
        tip = (x * radius, -0.046, radius + z * radius)
        parts.append(rod(DARK, (0, -0.046, radius), tip, 0.006))
    return parts


_SMALL: tuple[Maker, ...] = (mug, vase, bowl, stack, bottle, photo, toy, desk_lamp)
