"""Models of people: walking, standing, cycling, and the statues and posters that look like them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from re_pose_ros.scenes.shapes import (
    Colour,
    Shape,
    ball,
    box,
    capsule,
    disc_points,
    face,
)

SKINS: tuple[Colour, ...] = ((150, 180, 225), (120, 150, 200), (85, 115, 165), (45, 65, 100))
HAIRS: tuple[Colour, ...] = ((25, 28, 32), (35, 50, 75), (80, 140, 190), (140, 140, 145))
CLOTHES: tuple[Colour, ...] = (
    (40, 40, 42), (200, 200, 205), (60, 50, 160), (150, 70, 40), (70, 110, 60), (50, 140, 210),
    (90, 60, 45), (60, 75, 100), (140, 135, 130), (190, 150, 90), (120, 60, 140), (35, 85, 150),
    (225, 225, 228), (85, 30, 25),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (75, 50, 35), (40, 38, 38), (95, 75, 60), (110, 130, 150), (60, 60, 65), (140, 145, 150),
)  # fmt: skip
_STEEL: Colour = (110, 112, 115)
_HEEL, _TOE = np.array([-0.08, 0, 0.03]), np.array([0.1, 0, 0.02])


@dataclass(frozen=True, slots=True)
class Person:
    """The looks of one person; colours are blue, green, red."""

    height: float
    build: float
    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    long_hair: bool = False
    sleeves: bool = True
    skirt: bool = False
    hat: Colour | None = None
    pack: Colour | None = None
    bag: Colour | None = None


def _varied(colour: Colour, rng: np.random.Generator) -> Colour:
    b, g, r = np.clip(np.array(colour) * rng.uniform(0.8, 1.2) + rng.normal(0, 6, 3), 12, 240)
    return float(b), float(g), float(r)


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return _varied(colours[int(rng.integers(len(colours)))], rng)


def random_person(rng: np.random.Generator, worker: bool = False) -> Person:
    """Anybody; a worker wears a high-visibility vest and a helmet."""
    child = not worker and rng.random() < 0.1
    top = _pick(CLOTHES, rng)
    hat = _pick(CLOTHES, rng) if rng.random() < 0.15 else None
    if worker:
        top = (40, 235, 225) if rng.random() < 0.5 else (30, 130, 245)
        hat = ((60, 210, 240), (235, 235, 235))[int(rng.integers(2))]
    return Person(
        height=float(rng.uniform(1.15, 1.4) if child else rng.normal(1.73, 0.07)),
        build=float(rng.uniform(0.92, 1.2)),
        skin=_pick(SKINS, rng),
        hair=_pick(HAIRS, rng),
        top=top,
        legs=_pick(TROUSERS, rng),
        shoes=_pick(((30, 30, 32), (60, 75, 100), (215, 215, 220)), rng),
        long_hair=bool(rng.random() < 0.35),
        sleeves=bool(worker or rng.random() < 0.65),
        skirt=bool(not worker and rng.random() < 0.16),
        hat=hat,
        pack=_pick(CLOTHES, rng) if rng.random() < 0.22 else None,
        bag=_pick(CLOTHES, rng) if rng.random() < 0.15 else None,
    )


def person(look: Person, phase: float, stride: float = 1.0) -> list[Shape]:
    """A person at ``phase`` in [0, 1) of a walking cycle; ``stride`` 0 stands."""
    turn, wide = 2 * math.pi * phase, look.build
    shapes: list[Shape] = []
    feet = []
    bare = look.skirt
    for side, shift in ((1, 0.0), (-1, math.pi)):
        swing = 0.48 * stride * math.sin(turn + shift)
        flex = 0.06 + 0.75 * stride * max(0.0, math.cos(turn + shift)) ** 2
        hip = np.array([0.0, side * 0.055 * wide, 0.52])
        knee = hip + 0.25 * np.array([math.sin(swing), 0, -math.cos(swing)])
        shank = swing - flex
        ankle = knee + 0.235 * np.array([math.sin(shank), 0, -math.cos(shank)])
        toe = ankle + np.array([0.085, side * 0.012, -0.012])
        feet.append(ankle[2])
        shapes += [
            capsule(hip, knee, 0.058 * wide, look.top if bare else look.legs, 0.75),
            capsule(knee, ankle, 0.042 * wide, look.skin if bare else look.legs, 0.75),
            capsule(ankle + np.array([-0.01, 0, 0]), toe, 0.026, look.shoes, 0.9),
        ]
        shoulder = np.array([0.0, side * 0.125 * wide, 0.80])
        back = -0.8 * swing
        elbow = shoulder + 0.155 * np.array([math.sin(back), side * 0.16, -math.cos(back)])
        bend = back + 0.25 + 0.2 * stride
        hand = elbow + 0.145 * np.array([math.sin(bend), side * 0.02, -math.cos(bend)])
        sleeve = look.top if look.sleeves else look.skin
        shapes += [
            capsule(shoulder, elbow, 0.036 * wide, look.top, 0.85),
            capsule(elbow, hand, 0.03 * wide, sleeve, 0.8),
            ball(hand, 0.026, look.skin),
        ]
        if look.bag and side == 1:
            grip = hand + np.array([0, 0, -0.09])
            bottom = grip + np.array([0, 0, -0.06])
            shapes.append(capsule(grip, bottom, 0.05, look.bag, 1.15))
    for side in (1, -1):
        shapes.append(
            capsule(
                (0, side * 0.045 * wide, 0.55), (0, side * 0.06 * wide, 0.77), 0.07, look.top, 1.1
            )
        )
    shapes.append(capsule((0, -0.1 * wide, 0.81), (0, 0.1 * wide, 0.81), 0.045, look.top))
    if look.skirt:
        shapes.append(capsule((0, 0, 0.56), (0.01, 0, 0.34), 0.1 * wide, look.top, 1.25))
    shapes += _head(look, (0.015, 0.0, 0.925))
    if look.pack:
        shapes.append(capsule((-0.125, 0, 0.62), (-0.12, 0, 0.77), 0.075, look.pack, 0.95))
    ground = min(feet) - 0.035
    return _scaled(shapes, look.height / 0.99, -ground)


def _head(look: Person, at: tuple[float, float, float]) -> list[Shape]:
    a, b, c = at
    shapes = [
        capsule((a - 0.015, b, c - 0.12), at, 0.03, look.skin),
        capsule((a, b, c - 0.012), (a, b, c + 0.012), 0.055, look.skin),
        capsule((a - 0.018, b, c + 0.016), (a - 0.012, b, c + 0.024), 0.056, look.hair),
    ]
    if look.long_hair:
        shapes.append(capsule((a - 0.035, b, c), (a - 0.045, b, c - 0.11), 0.05, look.hair, 0.8))
    if look.hat:
        shapes.append(capsule((a - 0.01, b, c + 0.035), (a + 0.02, b, c + 0.035), 0.06, look.hat))
    return shapes


def _scaled(shapes: list[Shape], factor: float, lift: float) -> list[Shape]:
    up = np.array([0.0, 0.0, lift])
    return [
        Shape(
            (shape.points + up) * factor,
            shape.colour,
            (shape.radii[0] * factor, shape.radii[1] * factor) if shape.radii else None,
        )
        for shape in shapes
    ]


def cyclist(look: Person, frame: Colour, phase: float) -> list[Shape]:
    """Somebody on a bicycle, ``phase`` in [0, 1) of the pedals' turn."""
    turn = 2 * math.pi * phase
    dark: Colour = (28, 28, 30)
    shapes: list[Shape] = []
    for a in (-0.52, 0.54):
        rim = disc_points((a, 0.0, 0.34), 0.32)
        shapes.append(Shape(rim, dark, (0.028, 0.028), ring=True))
        shapes.append(Shape(rim * 1.0, _STEEL, (0.006, 0.006), ring=True))
        shapes.append(ball((a, 0, 0.34), 0.04, _STEEL))
        for k in range(3):
            arm = 0.3 * np.array([math.cos(turn + k * 1.05), 0, math.sin(turn + k * 1.05)])
            hub = np.array([a, 0, 0.34])
            shapes.append(capsule(hub - arm, hub + arm, 0.006, _STEEL))
    seat, crank, head, rear = (-0.2, 0, 0.9), (-0.03, 0, 0.3), (0.36, 0, 0.86), (-0.52, 0, 0.34)
    for start, end in ((seat, crank), (crank, head), (seat, head), (seat, rear), (crank, rear)):
        shapes.append(capsule(start, end, 0.022, frame))
    shapes.append(capsule(head, (0.54, 0, 0.34), 0.022, frame))
    shapes.append(capsule(head, (0.4, 0, 1.02), 0.018, dark))
    shapes.append(capsule((0.42, -0.24, 1.02), (0.42, 0.24, 1.02), 0.02, dark))
    shapes.append(capsule((-0.3, 0, 0.93), (-0.1, 0, 0.93), 0.05, dark, 0.5))
    hip = np.array([-0.2, 0, 0.98])
    for side, shift in ((1, 0.0), (-1, math.pi)):
        angle = turn + shift
        pedal = np.array([-0.03 + 0.17 * math.cos(angle), side * 0.1, 0.3 + 0.17 * math.sin(angle)])
        start = hip + np.array([0, side * 0.09, 0])
        knee = _joint(start, pedal + np.array([-0.04, 0, 0.06]), 0.43, 0.42)
        shapes += [
            capsule(start, knee, 0.085, look.legs, 0.7),
            capsule(knee, pedal + np.array([-0.05, 0, 0.06]), 0.06, look.legs, 0.7),
            capsule(pedal + _HEEL, pedal + _TOE, 0.04, look.shoes),
            capsule((0.16, side * 0.17, 1.42), (0.22, side * 0.25, 1.18), 0.055, look.top, 0.85),
            capsule(
                (0.22, side * 0.25, 1.18), (0.42, side * 0.22, 1.05), 0.045,
                look.top if look.sleeves else look.skin, 0.8,
            ),
        ]  # fmt: skip
    for side in (1, -1):
        shapes.append(capsule((-0.2, side * 0.06, 1.0), (0.12, side * 0.09, 1.4), 0.115, look.top))
    helmet = look.hat or look.hair
    shapes += [
        capsule((0.2, 0, 1.45), (0.25, 0, 1.6), 0.05, look.skin),
        ball((0.26, 0, 1.63), 0.098, look.skin),
        capsule((0.2, 0, 1.69), (0.27, 0, 1.7), 0.105, helmet, 0.9),
    ]
    if look.pack:
        shapes.append(capsule((-0.22, 0, 1.18), (-0.02, 0, 1.45), 0.12, look.pack))
    return shapes


def _joint(start: np.ndarray, end: np.ndarray, first: float, second: float) -> np.ndarray:
    """Where two links of given lengths from start to end meet, bent forward."""
    reach = end - start
    length = min(float(np.linalg.norm(reach)), first + second - 1e-3)
    along = (first**2 - second**2 + length**2) / (2 * length)
    off = math.sqrt(max(0.0, first**2 - along**2))
    unit = reach / (np.linalg.norm(reach) + 1e-9)
    normal = np.array([-unit[2], 0.0, unit[0]])
    joint: np.ndarray = start + along * unit + off * normal
    return joint


def statue(rng: np.random.Generator) -> list[Shape]:
    """A stone or bronze figure on a pedestal."""
    stone: Colour = _pick(((150, 155, 158), (95, 110, 90), (60, 75, 95)), rng)
    look = random_person(rng)
    look = replace(
        look, height=2.0, skin=stone, hair=stone, top=stone, legs=stone, shoes=stone, hat=None,
        pack=None, bag=None, skirt=False,
    )  # fmt: skip
    shapes = box((0, 0, 0.55), (0.9, 0.9, 1.1), _varied((140, 145, 150), rng))
    lift = np.array([0, 0, 1.1])
    figure = person(look, float(rng.random()), 0.5)
    # One anchor for the figure would break its own order; it stands above the pedestal anyway.
    shapes += [replace(shape, points=shape.points + lift) for shape in figure]
    return shapes


def poster(rng: np.random.Generator) -> list[Shape]:
    """A panel with a printed figure, to be seen from its left side."""
    paper = _pick(((225, 220, 215), (120, 170, 210), (180, 120, 70), (90, 90, 190)), rng)
    anchor = (0.0, 0.0, 0.0)
    shapes = [
        replace(shape, anchor=anchor) for shape in box((0, 0, 1.25), (1.5, 0.12, 2.3), (70, 70, 72))
    ]
    ink = _pick(CLOTHES, rng)
    skin = _pick(SKINS, rng)
    for side in (1, -1):
        b = side * 0.065

        def panel(low: tuple[float, float], high: tuple[float, float], colour: Colour) -> Shape:
            corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
            points = [(a, b, c) for a, c in corners]  # noqa: B023
            return face(points, colour, anchor=anchor, both_sides=True)

        shapes += [
            panel((-0.65, 0.25), (0.65, 2.3), paper),
            panel((-0.13, 0.4), (-0.02, 1.0), (50, 45, 40)),
            panel((0.02, 0.4), (0.13, 1.0), (50, 45, 40)),
            panel((-0.2, 0.95), (0.2, 1.55), ink),
            panel((-0.3, 1.0), (-0.2, 1.5), ink),
            panel((0.2, 1.0), (0.3, 1.5), ink),
        ]
        head = disc_points((0.0, b, 1.75), 0.14)
        shapes.append(Shape(head, skin, anchor=anchor, both_sides=True))
        shapes.append(panel((-0.55, 2.02), (0.55, 2.2), (40, 40, 45)))
    return shapes
