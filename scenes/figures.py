"""Cut-outs: people, animals and things, modelled in solids and rendered on nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scenes import furniture as models
from scenes.furniture import Maker, Model
from scenes.lighting import Frame, Light, Scene, render
from scenes.solids import Camera, Solid, ball, box, drum, grouped, limb, moved, rod, rotation
from scenes.textures import Array, Colour, Material, cloth, dye, hsv, metal, plain, wood

_BLACK = plain(hsv(0.6, 0.1, 0.08), 0.5)
_WHITE = plain(hsv(0.1, 0.02, 0.95), 0.3)


def _figure(rng: np.random.Generator) -> Model:
    """A person who stands, walks or waves, facing -y; legs in trousers or under a skirt."""
    skin = plain(hsv(rng.uniform(0.04, 0.08), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.95)))
    hue, dark = rng.uniform(0.04, 0.13), rng.uniform(0.08, 0.75)
    hair = plain(hsv(hue, rng.uniform(0.1, 0.65), dark), 0.2)
    top, legs, shoe = cloth(rng), cloth(rng, 0.5), plain(dye(rng, 0.5), 0.3)
    build, skirt, sleeves = rng.uniform(0.85, 1.2), rng.random() < 0.3, rng.random() < 0.6
    stride = rng.uniform(-0.22, 0.22)
    parts: Model = []
    for side in (-1, 1):
        x, step = side * 0.09 * build, side * stride
        leg = skin if skirt else legs
        hip, knee = (x, 0.0, 0.9), (x * 1.05, -step * 0.6 - 0.02, 0.48)
        ankle = (x * 1.1, -step + 0.03, 0.09)
        parts += limb(leg, [hip, knee, ankle], [0.095 * build, 0.065 * build, 0.045 * build])
        parts.append(ball(shoe, ankle[0], ankle[1] - 0.06, 0.045, 0.05, 0.125, 0.05))
    if skirt:
        hem = rng.uniform(0.35, 0.65)
        parts.append(drum(legs, 0, 0, hem, 0.29 * build, 1.0 - hem, 0.58))
    parts += _torso(top, legs, skin, build)
    for side in (-1, 1):
        shoulder = (side * 0.185 * build, 0.0, 1.4)
        raised = rng.random() < 0.2
        bend = rng.uniform(0.0, 0.25)
        out = rng.uniform(0.04, 0.16)
        elbow = (side * (0.2 * build + out), side * stride * 0.6, 1.14)
        hand = (side * (0.2 * build + out * rng.uniform(0, 1.3)), elbow[1] - bend, 0.9 + bend * 0.4)
        if raised:
            elbow = (side * (0.38 * build), -0.05, 1.5)
            hand = (side * (0.42 * build), -0.1, 1.76)
        arm = top if sleeves else skin
        parts += limb(top, [shoulder, elbow], [0.068 * build, 0.055 * build])
        parts += limb(arm, [elbow, hand], [0.05 * build, 0.036 * build])
        parts.append(ball(skin, *hand, 0.042, 0.045, 0.055))
    turn = rotation(rng.normal(0, 0.25), rng.normal(0, 0.08))
    parts += moved(_head(rng, skin, hair), turn, z=1.5)
    return moved(parts, rotation(rng.normal(0, 0.5)))


def _torso(top: Material, legs: Material, skin: Material, build: float) -> Model:
    return [
        ball(legs, 0, 0, 0.93, 0.17 * build, 0.115 * build, 0.11),
        ball(top, 0, 0, 1.06, 0.165 * build, 0.115 * build, 0.17),
        ball(top, 0, 0, 1.25, 0.195 * build, 0.125 * build, 0.23),
        *limb(top, [(-0.16 * build, 0, 1.4), (0.16 * build, 0, 1.4)], [0.08, 0.08]),
        drum(skin, 0, 0, 1.42, 0.058, 0.14, 0.9),
    ]


def _head(rng: np.random.Generator, skin: Material, hair: Material) -> Model:
    """A head about 0.26 m high on z = 0, with eyes, nose, mouth, hair and at times a hat."""
    parts = [
        ball(skin, 0, 0, 0.15, 0.092, 0.107, 0.135),
        ball(skin, 0, -0.108, 0.135, 0.016, 0.022, 0.025),
        ball(plain(hsv(0.0, 0.5, 0.55)), 0, -0.09, 0.082, 0.03, 0.014, 0.008),
        ball(hair, 0, 0.022, 0.185, 0.104, 0.112, 0.113),
    ]
    for side in (-1, 1):
        parts += [
            ball(_WHITE, side * 0.037, -0.089, 0.162, 0.017, 0.014, 0.012),
            ball(_BLACK, side * 0.037, -0.099, 0.162, 0.008, 0.008, 0.009),
            ball(hair, side * 0.037, -0.096, 0.19, 0.022, 0.01, 0.005),
            ball(skin, side * 0.094, 0.005, 0.15, 0.014, 0.024, 0.034),
        ]
    style = int(rng.integers(5))
    if style == 0:  # long
        parts.append(ball(hair, 0, 0.06, 0.06, 0.115, 0.07, 0.2))
    elif style == 1:  # bun
        parts.append(ball(hair, 0, 0.06, 0.31, 0.055, 0.055, 0.05))
    elif style == 2:  # curls
        for k in range(14):
            angle, z = 2.4 * k, 0.2 + 0.008 * k
            x, y = 0.085 * float(np.cos(angle)), 0.03 + 0.085 * float(np.sin(angle))
            parts.append(ball(hair, x, y, z, 0.05, 0.05, 0.045))
    elif style == 3:  # hat
        felt = cloth(rng)
        parts.append(drum(felt, 0, 0.01, 0.225, 0.115, 0.1, 0.85))
        parts.append(drum(felt, 0, 0.0, 0.22, 0.17, 0.012))
    return parts


def _coat(rng: np.random.Generator) -> tuple[Material, Material]:
    """A fur and its second colour, for muzzle, belly and paws."""
    fur: Colour = hsv(rng.uniform(0.05, 0.11), rng.uniform(0.05, 0.65), rng.uniform(0.15, 0.9))
    if rng.random() < 0.5:
        coat = Material(fur, "stripes", tuple(0.45 * c for c in fur), 0.07)  # type: ignore[arg-type]
    else:
        coat = Material(fur, "carpet", scale=0.5)
    light = coat if rng.random() < 0.4 else Material(hsv(0.09, 0.08, 0.93), "carpet", scale=0.5)
    return coat, light


def _face(coat: Material, light: Material, eye: Material, muzzle: float) -> Model:
    """The head of an animal about the origin, facing -y."""
    parts = [
        ball(coat, 0, 0, 0, 0.085, 0.08, 0.075),
        ball(light, 0, -0.07 - muzzle / 2, -0.025, 0.042, 0.035 + muzzle, 0.032),
        ball(_BLACK, 0, -0.1 - 1.5 * muzzle, -0.01, 0.016, 0.012, 0.011),
    ]
    for side in (-1, 1):
        parts.append(ball(eye, side * 0.037, -0.066, 0.02, 0.016, 0.014, 0.017))
        parts.append(ball(_BLACK, side * 0.038, -0.077, 0.02, 0.007, 0.007, 0.012))
    return parts


def _cat(rng: np.random.Generator) -> Model:
    coat, light = _coat(rng)
    eye = plain(hsv(rng.uniform(0.12, 0.4), 0.7, 0.8), 0.6)
    head = _face(coat, light, eye, 0.0)
    for side in (-1, 1):
        foot, tip = (side * 0.052, 0.0, 0.04), (side * 0.075, 0.01, 0.13)
        head.append(rod(coat, foot, tip, 0.036, 0.12))
        for z in (-0.035, -0.02):
            end = (side * 0.16, -0.09, z * 1.6 + 0.02)
            head.append(rod(_WHITE, (side * 0.03, -0.1, z), end, 0.0022))
    wave = rng.uniform(-0.1, 0.15)
    if rng.random() < 0.5:  # sits
        parts = [
            ball(coat, 0, 0.06, 0.13, 0.125, 0.15, 0.14),
            ball(coat, 0, 0, 0.25, 0.09, 0.1, 0.17),
            ball(light, 0, -0.055, 0.25, 0.06, 0.06, 0.12),
            *moved(head, rotation(rng.normal(0, 0.35)), 0, -0.05, 0.45),
        ]
        for side in (-1, 1):
            arm = [(side * 0.05, -0.05, 0.25), (side * 0.05, -0.1, 0.04)]
            parts += limb(coat, arm, [0.045, 0.032])
            parts.append(ball(light, side * 0.05, -0.12, 0.03, 0.034, 0.045, 0.03))
            parts.append(ball(coat, side * 0.11, 0.03, 0.09, 0.05, 0.11, 0.085))
        tail = [(0.08, 0.17, 0.05), (0.22, 0.12, 0.04), (0.27, 0.0, 0.05 + max(wave, 0))]
        parts += limb(coat, tail, [0.035, 0.032, 0.026])
        return moved(parts, rotation(rng.normal(0, 0.5)))
    tail = [(0, 0.22, 0.3), (0.02, 0.32, 0.4), (0.0, 0.36 + wave, 0.56), (0.02, 0.3 + wave, 0.64)]
    return _beast(rng, coat, head, tail, legs=0.2)


def _beast(
    rng: np.random.Generator,
    coat: Material,
    head: Model,
    tail: list[tuple[float, float, float]],
    legs: float,
) -> Model:
    """An animal on four legs of this height, seen more or less from the side."""
    parts = [
        ball(coat, 0, -0.1, legs + 0.1, 0.095, 0.15, 0.105),
        ball(coat, 0, 0.06, legs + 0.1, 0.088, 0.2, 0.09),
        *limb(coat, [(0, -0.16, legs + 0.14), (0, -0.25, legs + 0.26)], [0.08, 0.06]),
        *moved(head, rotation(rng.normal(0, 0.5)), 0, -0.29, legs + 0.31),
        *limb(coat, tail, [0.03, 0.028, 0.026, 0.022][: len(tail)]),
    ]
    for side in (-1, 1):
        for y in (-0.15, 0.17):
            step = rng.uniform(-0.07, 0.07)
            leg = [(side * 0.055, y, legs + 0.05), (side * 0.055, y + step, 0.03)]
            parts += limb(coat, leg, [0.06, 0.03])
            parts.append(ball(coat, side * 0.055, y + step - 0.02, 0.022, 0.03, 0.045, 0.024))
    return moved(parts, rotation(float(rng.choice([-1, 1])) * rng.uniform(0.7, 1.5)))


def _dog(rng: np.random.Generator) -> Model:
    coat, light = _coat(rng)
    head = _face(coat, light, plain(hsv(0.07, 0.6, 0.3), 0.6), rng.uniform(0.02, 0.04))
    ear = plain(tuple(0.5 * c for c in coat.colour))  # type: ignore[arg-type]
    for side in (-1, 1):
        flap = [ball(ear, 0, 0, -0.05, 0.016, 0.036, 0.065)]
        head += moved(flap, rotation(0, 0, -side * 0.35), side * 0.078, 0.01, 0.045)
    legs = rng.uniform(0.14, 0.3)
    tail = [(0, 0.24, legs + 0.14), (0, 0.32, legs + 0.22), (0.02, 0.34, legs + 0.32)]
    parts = _beast(rng, coat, head, tail, legs)
    return moved(parts, rotation(0), scale=1.4)


def _bird(rng: np.random.Generator) -> Model:
    plume, belly = plain(dye(rng, 0.85)), plain(dye(rng, 0.6))
    beak = plain(hsv(rng.uniform(0.06, 0.13), 0.8, 0.9), 0.3)
    parts = [
        *moved([ball(plume, 0, 0, 0, 0.055, 0.1, 0.06)], rotation(0, -0.5), 0, 0, 0.12),
        *moved([ball(belly, 0, 0, 0, 0.048, 0.085, 0.052)], rotation(0, -0.5), 0, -0.018, 0.11),
        ball(plume, 0, -0.07, 0.205, 0.046, 0.05, 0.045),
        rod(beak, (0, -0.11, 0.2), (0, -0.16, 0.19), 0.016, 0.05),
        *moved([box(plume, 0, 0.06, 0, 0.05, 0.16, 0.01)], rotation(0, -0.4), 0, 0.05, 0.07),
    ]
    wing = replace(plume, colour=tuple(0.6 * c for c in plume.colour))  # type: ignore[arg-type]
    for side in (-1, 1):
        parts.append(ball(_BLACK, side * 0.036, -0.095, 0.217, 0.01, 0.01, 0.011))
        parts += moved(
            [ball(wing, 0, 0, 0, 0.014, 0.09, 0.042)], rotation(0, -0.5), side * 0.052, 0.02, 0.12
        )
        foot = (side * 0.025, -0.02, 0.005)
        parts.append(rod(beak, (side * 0.022, 0.0, 0.08), foot, 0.006))
        for toe in (-0.02, 0.0, 0.02):
            parts.append(rod(beak, foot, (foot[0] + toe, -0.055, 0.005), 0.005))
    return moved(parts, rotation(float(rng.choice([-1, 1])) * rng.uniform(0.5, 1.6)))


def _lamp(rng: np.random.Generator) -> Model:
    return models.floor_lamp(rng) if rng.random() < 0.4 else models.desk_lamp(rng)


def _guitar(rng: np.random.Generator) -> Model:
    """An acoustic guitar that stands upright, its strings towards -y."""
    board, neck, steel = wood(rng), wood(rng), metal(rng)
    dark = plain((0.01, 0.008, 0.006))

    def disc(material: Material, z: float, radius: float, front: float) -> Solid:
        return rod(material, (0, 0.05, z), (0, front, z), radius)

    side = replace(board, colour=tuple(0.5 * c for c in board.colour))  # type: ignore[arg-type]
    parts = [
        disc(side, 0.21, 0.21, -0.045),
        disc(side, 0.45, 0.155, -0.045),
        box(side, 0, 0.0025, 0.25, 0.24, 0.095, 0.2),
        disc(board, 0.21, 0.2, -0.05),
        disc(board, 0.45, 0.145, -0.05),
        box(board, 0, 0, 0.25, 0.23, 0.1, 0.2),
        disc(dark, 0.39, 0.055, -0.0515),
        box(dark, 0, -0.055, 0.17, 0.15, 0.012, 0.02),
        box(neck, 0, -0.05, 0.44, 0.05, 0.03, 0.55),
        box(neck, 0, -0.045, 0.98, 0.075, 0.025, 0.15),
    ]
    for k in range(10):
        parts.append(box(steel, 0, -0.066, 0.95 - 0.045 * k, 0.05, 0.003, 0.004))
    for k in range(3):
        for sign in (-1, 1):
            parts.append(ball(steel, sign * 0.05, -0.045, 1.01 + 0.045 * k, 0.015, 0.012, 0.012))
            string = (sign * 0.007 * (k + 0.5), -0.071)
            parts.append(rod(_WHITE, (*string, 0.18), (*string, 1.0), 0.0012))
    return moved(parts, rotation(rng.normal(0, 0.5), 0.0, rng.normal(0, 0.3)))


def _balloon(rng: np.random.Generator) -> Model:
    skin = plain(dye(rng, 0.85), 0.9)
    bend = [(0.0, 0.0, 0.0), (0.03, 0.0, 0.2), (-0.02, 0.0, 0.42), (0.0, 0.0, 0.6)]
    return [
        ball(skin, 0, 0, 0.8, 0.15, 0.15, 0.18),
        drum(skin, 0, 0, 0.6, 0.02, 0.06, 3.2),
        drum(skin, 0, 0, 0.585, 0.024, 0.02, 0.4),
        *limb(plain(hsv(0.1, 0.05, 0.75)), bend, [0.005] * 4),
    ]


def _umbrella(rng: np.random.Generator) -> Model:
    """An open umbrella: a fluted canopy of eight gores, a stick and a hook."""
    frame, handle = metal(rng), wood(rng)
    first, second = plain(dye(rng, 0.85)), plain(dye(rng, 0.85))
    parts = [drum(frame, 0, 0, 0.12, 0.008, 0.82), rod(frame, (0, 0, 0.9), (0, 0, 1.0), 0.007, 0.3)]
    radii, heights = (0.55, 0.5, 0.38, 0.2, 0.01), (0.62, 0.7, 0.81, 0.9, 0.94)
    striped = rng.random() < 0.5
    for k in range(4):
        rise = heights[k + 1] - heights[k]
        cloth_ = second if striped and k % 2 else first
        parts.append(drum(cloth_, 0, 0, heights[k], radii[k], rise, radii[k + 1] / radii[k]))
    hook = [(0.0, 0.0, 0.14), (0.0, 0.0, 0.05), (0.04, 0.0, 0.01), (0.08, 0.0, 0.04)]
    parts += limb(handle, hook, [0.017] * 4)
    return moved(parts, rotation(0, rng.normal(0, 0.15), rng.normal(0, 0.35)))


def _car(rng: np.random.Generator) -> Model:
    paint, glass = plain(dye(rng, 0.9), 0.8), plain(hsv(0.58, 0.3, 0.35), 0.9)
    tyre, hub = plain((0.015, 0.015, 0.015), 0.2), metal(rng)
    parts = [
        box(paint, 0, 0, 0.06, 0.3, 0.72, 0.13),
        box(paint, 0, -0.36, 0.08, 0.28, 0.06, 0.08),
        box(glass, 0, 0.05, 0.19, 0.26, 0.36, 0.09),
        box(paint, 0, 0.05, 0.275, 0.27, 0.3, 0.025),
    ]
    for x in (-1, 1):
        parts.append(box(paint, x * 0.125, 0.05, 0.19, 0.02, 0.03, 0.09))
        parts.append(
            ball(plain((0.9, 0.85, 0.5), 0.5, 0.5), x * 0.1, -0.385, 0.13, 0.03, 0.02, 0.025)
        )
        for y in (-0.22, 0.23):
            parts.append(rod(tyre, (x * 0.11, y, 0.08), (x * 0.168, y, 0.08), 0.08))
            parts.append(rod(hub, (x * 0.12, y, 0.08), (x * 0.174, y, 0.08), 0.042))
    return moved(parts, rotation(float(rng.choice([-1, 1])) * rng.uniform(0.5, 1.4)))


_KINDS: dict[str, Maker] = {
    "person": _figure,
    "cat": _cat,
    "dog": _dog,
    "bird": _bird,
    "vase": models.vase,
    "lamp": _lamp,
    "plant": models.plant,
    "chair": models.chair,
    "guitar": _guitar,
    "ball": models.football,
    "mug": models.mug,
    "balloon": _balloon,
    "umbrella": _umbrella,
    "car": _car,
}
# People are the most usual cut-outs, so they come up more often.
_DRAWN = ("person", "person", "person", *_KINDS)
KINDS = tuple(_KINDS)


def choose_kind(rng: np.random.Generator) -> str:
    """Return one of `KINDS` at random; people are the likeliest."""
    return _DRAWN[int(rng.integers(len(_DRAWN)))]


def _scene(rng: np.random.Generator, model: Model) -> Scene:
    """Put a model in a studio: a key light, a weaker one opposite, light from all around."""
    group = grouped(model, rotation(0), 0, 0)
    middle, size = group.bound.centre, float(np.linalg.norm(group.bound.half))
    side = float(rng.choice([-1, 1]))
    lights = []
    for x, y, z, strength in (
        (side * rng.uniform(0.6, 2), -2.0, rng.uniform(1, 2), rng.uniform(0.9, 1.3)),
        (-side * 2.0, rng.uniform(-1, 1), 0.8, rng.uniform(0.15, 0.5)),
    ):
        offset = np.array([x, y, z], np.float32) * np.float32(size)
        # The fall-off is undone, so that big and small things are lit alike.
        power = np.float32(strength * (offset @ offset + 0.4))
        warm = np.array(hsv(0.1, rng.uniform(0, 0.12), 1.0), np.float32)
        lights.append(Light(middle + offset, warm * power, 0.15 * size))
    ambient = np.float32(rng.uniform(0.3, 0.45))
    above = ambient * np.array([1.0, 1.02, 1.05], np.float32)
    return Scene((group,), tuple(lights), above, above * np.float32(0.7))


def draw_foreground(
    rng: np.random.Generator, size: int, kind: str | None = None
) -> NDArray[np.uint8]:
    """Draw a cut-out of a kind (one of `KINDS`; by default a random one) for size × size pictures.

    Returns uint8 [h, w, 4], sRGB with straight (not premultiplied) alpha: opaque inside, soft at
    the edge, cropped to a transparent border of 1 pixel. The longer side is about 0.4 to 0.75 of
    `size`. Equal generators give equal cut-outs. An unknown kind raises KeyError.
    """
    model = _KINDS[kind if kind is not None else choose_kind(rng)](rng)
    longest = max(6, round(size * rng.uniform(0.4, 0.75)) - 2)
    scene = _scene(rng, model)
    bound = scene.groups[0].bound
    reach = float(np.linalg.norm(bound.half))
    turn = rotation(0.0, rng.uniform(-0.25, 0.0))
    eye = bound.centre - turn[:, 1] * np.float32(5 * reach)
    camera = Camera(eye, turn[:, 0], turn[:, 2], turn[:, 1])
    left, right, bottom, top = _outline(camera, scene.solids)
    pixel = max(right - left, top - bottom) / longest
    width, height = (int(np.ceil(d / pixel)) + 2 for d in (right - left, top - bottom))
    x, y = (left + right) / 2, (bottom + top) / 2
    xs = (x - width * pixel / 2, x + width * pixel / 2)
    ys = (y + height * pixel / 2, y - height * pixel / 2)
    return _cropped(render(camera, scene, xs, ys, width, height, samples=4))


def _outline(camera: Camera, solids: list[Solid]) -> tuple[float, float, float, float]:
    """Return the left, right, bottom and top of the solids in the image plane."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for solid in solids:
        # Points on the skin, closer to the outline than the corners of the bounding box.
        offset = _skin_points(solid) - camera.eye[:, None]
        seen = np.stack([camera.right @ offset, camera.up @ offset]) / (camera.forward @ offset)
        low, high = np.minimum(low, seen.min(axis=1)), np.maximum(high, seen.max(axis=1))
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _skin_points(solid: Solid) -> Array:
    if solid.shape == "box":
        return solid.corners
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(24)])
    if solid.shape == "drum":
        foot, lid = ring.copy(), ring * solid.taper
        foot[2], lid[2] = -1, 1
        unit = np.concatenate([foot, lid], axis=1)
    else:
        rise = np.linspace(-1, 1, 13)[:, None]
        flat = np.sqrt(1 - rise**2)
        unit = np.stack([flat * ring[0], flat * ring[1], rise + 0 * ring[0]]).reshape(3, -1)
    placed = solid.axes.T @ (solid.half[:, None] * unit) + solid.centre[:, None]
    return np.asarray(placed, np.float32)


def _cropped(frame: Frame) -> NDArray[np.uint8]:
    """Turn a frame into straight 8-bit RGBA with exactly one empty pixel around it."""
    alpha = (frame.coverage * 255 + 0.5).astype(np.uint8)
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    box_ = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    colour, coverage, alpha = frame.colour[box_], frame.coverage[box_], alpha[box_]
    # Where nothing is seen the mean colour stands in, so that resampling draws in no black.
    mean = colour.sum(axis=(0, 1)) / coverage.sum()
    straight = np.where(
        coverage[..., None] > 0, colour / np.maximum(coverage[..., None], 1e-6), mean
    )
    toned = straight * (1 + straight / 9) / (1 + straight * np.float32(0.5))
    shown = (np.clip(toned, 0, 1) ** np.float32(1 / 2.2) * 255 + 0.5).astype(np.uint8)
    picture = np.pad(np.dstack([shown, alpha]), ((1, 1), (1, 1), (0, 0)), mode="edge")
    picture[[0, -1], :, 3] = 0
    picture[:, [0, -1], 3] = 0
    return picture
