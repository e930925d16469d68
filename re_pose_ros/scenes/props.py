"""Models of what stands still and is no object: street furniture, plants, decoys."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from re_pose_ros.scenes.people import poster, statue
from re_pose_ros.scenes.shapes import Colour, Shape, ball, box, capsule, disc_points

Rng = np.random.Generator
_METAL: Colour = (85, 88, 90)


def _tree(rng: Rng) -> list[Shape]:
    height = rng.uniform(4.5, 8.0)
    green = np.array([45, 95, 70]) * rng.uniform(0.75, 1.15) + rng.normal(0, 8, 3)
    shapes = [capsule((0, 0, 0), (0.1, 0, height * 0.6), 0.16, (50, 65, 80), 0.6)]
    crown, wide = height * 0.66, height * 0.26
    for k in range(190):
        direction = rng.normal(0, 1, 3)
        direction /= np.linalg.norm(direction)
        out = rng.uniform(0.2, 1.0) ** 0.6
        at = direction * out * np.array([wide, wide, height * 0.3]) + np.array([0, 0, crown])
        shade = rng.uniform(0.7, 1.15) + 0.25 * direction[2]
        b, g, r = np.clip(green * shade, 5, 230)
        radius = rng.uniform(0.05, 0.085) * height * (0.6 if k % 3 else 1.2)
        shapes.append(ball(at, radius, (float(b), float(g), float(r))))
    return shapes


def _lamp(rng: Rng) -> list[Shape]:
    height = rng.uniform(6, 8)
    return [
        capsule((0, 0, 0), (0, 0, height), 0.09, _METAL, 0.6),
        capsule((0, 0, height), (1.4, 0, height + 0.25), 0.05, _METAL),
        capsule((1.1, 0, height + 0.2), (1.7, 0, height + 0.25), 0.1, (190, 195, 200)),
    ]


def _bench(rng: Rng) -> list[Shape]:
    wood: Colour = (60, 95, 135)
    shapes = box((0, 0, 0.43), (1.8, 0.5, 0.08), wood)
    shapes += box((0, 0.24, 0.7), (1.8, 0.06, 0.4), wood)
    for a in (-0.75, 0.75):
        shapes += box((a, 0, 0.2), (0.08, 0.45, 0.4), _METAL)
    return shapes


def _bollard(rng: Rng) -> list[Shape]:
    bright: Colour = ((60, 60, 200), (205, 205, 210), (70, 75, 80))[int(rng.integers(3))]
    return [
        capsule((0, 0, 0.06), (0, 0, 0.85), 0.1, (75, 78, 82)),
        capsule((0, 0, 0.68), (0, 0, 0.76), 0.105, bright),
        ball((0, 0, 0.95), 0.12, (75, 78, 82)),
    ]


def _sign(rng: Rng) -> list[Shape]:
    colour: Colour = ((45, 40, 190), (160, 80, 30), (60, 190, 220))[int(rng.integers(3))]
    middle = (0.06, 0.0, 2.35)
    shapes = [capsule((0, 0, 0), (0, 0, 2.7), 0.045, _METAL)]
    points = disc_points((0, 0, 2.4), 0.36)
    for size, c in ((1.0, colour), (0.66, (225, 225, 225))):
        centre = np.array([0.0, 0.0, 2.4])
        disc = (points - centre) * size + centre
        shapes.append(Shape(disc, c, anchor=middle, both_sides=True))
    return shapes


def _planter(rng: Rng) -> list[Shape]:
    shapes = box((0, 0, 0.35), (1.5, 1.5, 0.7), (125, 130, 135), (0.0, 0.0, 0.0))
    flower: Colour = ((80, 60, 200), (60, 190, 225), (180, 90, 170))[int(rng.integers(3))]
    for _ in range(26):
        a, b = rng.uniform(-0.65, 0.65, 2)
        green: Colour = (50, float(rng.uniform(80, 130)), 70)
        shapes.append(ball((a, b, rng.uniform(0.7, 1.0)), 0.17, green))
        if rng.random() < 0.5:
            shapes.append(ball((a + 0.05, b - 0.1, rng.uniform(0.9, 1.15)), 0.06, flower))
    return shapes


def _bin(rng: Rng) -> list[Shape]:
    colour: Colour = ((70, 95, 60), (60, 60, 62), (40, 120, 190))[int(rng.integers(3))]
    return [
        capsule((0, 0, 0.28), (0, 0, 0.75), 0.28, colour),
        capsule((0, 0, 0.95), (0, 0, 1.0), 0.26, (50, 50, 52)),
    ]


def _fountain(rng: Rng) -> list[Shape]:
    stone: Colour = (150, 156, 160)
    base = (0.0, 0.0, -5.0)
    shapes = []
    for radius, up in ((5.0, 0.0), (5.0, 0.25), (5.0, 0.5)):
        shapes.append(Shape(disc_points((0, 0, up), radius, "up", 40), stone, anchor=base))
    shapes.append(Shape(disc_points((0, 0, 0.45), 4.5, "up", 40), (165, 135, 95), anchor=base))
    shapes += [
        capsule((0, 0, 0.4), (0, 0, 1.9), 0.4, stone, 0.6),
        Shape(disc_points((0, 0, 1.9), 1.3, "up", 28), stone, anchor=(0.0, 0.0, 2.0)),
        capsule((0, 0, 2.0), (0, 0, 3.6), 0.12, (225, 220, 210), 0.6),
    ]
    for angle in np.linspace(0, 2 * math.pi, 9)[:-1]:
        out = np.array([math.cos(angle), math.sin(angle), 0])
        top = np.array([0, 0, 3.4])
        bend, low = out * 0.9 + np.array([0, 0, 2.9]), out * 1.4 + np.array([0, 0, 1.0])
        shapes.append(capsule(top, bend, 0.05, (225, 220, 212)))
        shapes.append(capsule(bend, low, 0.05, (220, 212, 205)))
    return shapes


def _kiosk(rng: Rng) -> list[Shape]:
    colour: Colour = ((70, 110, 60), (45, 45, 140), (120, 90, 60))[int(rng.integers(3))]
    at = (0.0, 0.0, 0.0)
    shapes = box((0, 0, 1.3), (3.2, 2.4, 2.6), colour, at)
    shapes += box((0, -1.22, 1.6), (2.4, 0.06, 1.0), (50, 60, 65), at)
    shapes += box((0, -1.6, 2.3), (3.2, 0.9, 0.08), (210, 215, 220), at)
    shapes += box((0, 0, 2.7), (3.6, 2.8, 0.2), (90, 95, 95), at)
    return shapes


def _container(rng: Rng) -> list[Shape]:
    shapes: list[Shape] = []
    for level in range(int(rng.integers(1, 4))):
        tone = ((40, 60, 150), (130, 80, 40), (70, 110, 60), (60, 130, 190), (140, 140, 142))
        colour: Colour = tone[int(rng.integers(5))]
        middle = 1.3 + 2.6 * level
        at = (0.0, 0.0, float(level))
        shapes += box((0, 0, middle), (6.1, 2.44, 2.55), colour, at)
        dark = (colour[0] * 0.75, colour[1] * 0.75, colour[2] * 0.75)
        for a in np.arange(-2.9, 3.0, 0.42):
            for side in (1, -1):
                shapes += box((a, side * 1.225, middle), (0.12, 0.02, 2.3), dark, at)
    return shapes


def _cone(rng: Rng) -> list[Shape]:
    orange: Colour = (40, 100, 235)
    return [
        *box((0, 0, 0.03), (0.4, 0.4, 0.06), (40, 40, 42)),
        capsule((0, 0, 0.08), (0, 0, 0.72), 0.16, orange, 0.25),
        capsule((0, 0, 0.38), (0, 0, 0.48), 0.115, (230, 230, 232), 0.85),
    ]


def _pallets(rng: Rng) -> list[Shape]:
    shapes: list[Shape] = []
    for level in range(int(rng.integers(2, 7))):
        tone = float(rng.uniform(0.8, 1.1))
        wood: Colour = (95 * tone, 140 * tone, 175 * tone)
        shapes += box((0, 0, 0.08 + 0.17 * level), (1.2, 0.9, 0.12), wood, (0.0, 0.0, float(level)))
    return shapes


MODELS: dict[str, Callable[[Rng], list[Shape]]] = {
    "tree": _tree,
    "lamp": _lamp,
    "bench": _bench,
    "bollard": _bollard,
    "sign": _sign,
    "planter": _planter,
    "bin": _bin,
    "fountain": _fountain,
    "kiosk": _kiosk,
    "container": _container,
    "cone": _cone,
    "pallets": _pallets,
    "statue": statue,
    "poster": poster,
}
REACH_M = {"fountain": 5.5, "container": 4.0, "kiosk": 2.8, "planter": 1.3, "bench": 1.2}
"""Radius in metres that people keep from a prop; 0.7 for those not named."""
