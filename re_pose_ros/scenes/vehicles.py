"""Models of cars, vans, trucks and drones."""

from __future__ import annotations

import math

import numpy as np

from re_pose_ros.scenes.shapes import (
    Colour,
    Shape,
    ball,
    box,
    capsule,
    disc_points,
    face,
    prism,
)

PAINTS: tuple[Colour, ...] = (
    (225, 225, 226), (35, 34, 34), (150, 150, 152), (90, 88, 86), (45, 35, 165), (140, 75, 35),
    (95, 60, 30), (70, 95, 60), (190, 215, 225), (60, 130, 190), (110, 120, 130), (50, 45, 95),
)  # fmt: skip
_GLASS: Colour = (70, 60, 52)
_TYRE: Colour = (30, 30, 32)
_RIM: Colour = (165, 165, 168)
_TRIM: Colour = (42, 42, 44)
_LAMP: Colour = (245, 250, 250)
_TAIL: Colour = (40, 35, 200)
Point = tuple[float, float, float]
_MID: Point = (0.0, 0.0, 0.0)


def _paint(rng: np.random.Generator) -> Colour:
    base = np.array(PAINTS[int(rng.integers(len(PAINTS)))])
    b, g, r = np.clip(base * rng.uniform(0.85, 1.15) + rng.normal(0, 5, 3), 15, 240)
    return float(b), float(g), float(r)


def _wheels(places: list[float], half: float, radius: float, anchor: Point) -> list[Shape]:
    shapes = []
    for a in places:
        for side in (1, -1):
            for size, colour, out in ((1.0, _TYRE, 0.012), (0.62, _RIM, 0.02), (0.2, _TRIM, 0.03)):
                points = disc_points((a, side * (half + out), radius), radius * size)
                shapes.append(Shape(points[::side], colour, anchor=anchor))
    return shapes


def _end(
    a: float, b: tuple[float, float], c: tuple[float, float], colour: Colour, at: Point
) -> Shape:
    """A patch on the front (a > 0) or rear, from b[0] to b[1] and c[0] to c[1]."""
    points = [(a, b[0], c[0]), (a, b[1], c[0]), (a, b[1], c[1]), (a, b[0], c[1])]
    return face(points if a > 0 else points[::-1], colour, anchor=at)


def _sides(corners: list[tuple[float, float, float]], colour: Colour, at: Point) -> list[Shape]:
    """A patch on both sides: (forward, up, half width) counter-clockwise seen from the right."""
    right = [(a, -half, c) for a, c, half in corners]
    left = [(a, half, c) for a, c, half in corners]
    return [face(right, colour, anchor=at), face(left[::-1], colour, anchor=at)]


def car(rng: np.random.Generator) -> list[Shape]:
    """A saloon, hatchback or small off-road car."""
    style = int(rng.integers(3))
    length = (4.7, 4.0, 4.5)[style] * rng.uniform(0.96, 1.04)
    height = (1.42, 1.5, 1.68)[style] * rng.uniform(0.97, 1.03)
    paint, half = _paint(rng), 0.9
    front, rear, waist = length / 2, -length / 2, height * 0.6
    deck = rear + (1.0, 0.12, 0.1)[style]
    cowl = front - (1.25, 0.95, 1.15)[style]
    profile = [
        (rear + 0.15, 0.22), (front - 0.15, 0.22), (front, 0.42), (front - 0.06, waist * 0.8),
        (cowl, waist), (deck, waist + 0.02), (rear + 0.02, waist * 0.96), (rear, 0.45),
    ]  # fmt: skip
    shapes = prism(profile, half, paint, _MID)
    shapes += _sides(
        [(rear + 0.2, 0.2, 0.905), (front - 0.2, 0.2, 0.905), (front - 0.2, 0.32, 0.905),
         (rear + 0.2, 0.32, 0.905)], _TRIM, _MID,
    )  # fmt: skip
    door = 0.15 * length
    for a in (door, -door * 0.8):
        line = [(a, 0.35), (a + 0.025, 0.35), (a + 0.025, waist), (a, waist)]
        dark = (paint[0] * 0.55, paint[1] * 0.55, paint[2] * 0.55)
        shapes += _sides([(x, c, 0.906) for x, c in line], dark, _MID)
    shapes += _wheels([front - 0.85, rear + 0.8], half, 0.33, _MID)
    for side in (1, -1):
        inner, outer = sorted((side * 0.5, side * 0.86))
        shapes.append(_end(front + 0.01, (inner, outer), (0.52, 0.66), _LAMP, _MID))
        shapes.append(_end(rear - 0.01, (inner, outer), (0.6, 0.76), _TAIL, _MID))
    shapes.append(_end(front + 0.012, (-0.45, 0.45), (0.36, 0.56), _TRIM, _MID))
    shapes.append(_end(front + 0.015, (-0.26, 0.26), (0.38, 0.48), (215, 220, 220), _MID))
    shapes.append(_end(rear - 0.012, (-0.26, 0.26), (0.5, 0.62), (215, 220, 220), _MID))
    shapes += _cabin(cowl + 0.25, deck, waist - 0.02, height, style, paint)
    return shapes


def _cabin(
    front: float, rear: float, low: float, top: float, style: int, paint: Colour
) -> list[Shape]:
    roof_front, roof_rear = front - 0.95, rear + (0.75, 0.35, 0.22)[style]
    outline = [(rear, low), (front, low), (roof_front, top), (roof_rear, top)]
    shapes = prism(outline, 0.86, paint, _MID, (0.0, 0.0, 0.2, 0.2))

    def at(a: float, c: float) -> tuple[float, float, float]:
        return a, c, 0.86 - 0.2 * (c - low) / (top - low) + 0.012

    rise = top - low
    up, down = low + 0.88 * rise, low + 0.12 * rise
    middle = (roof_front + roof_rear) / 2
    lean_front, lean_rear = (roof_front - front) / rise, (roof_rear - rear) / rise
    f_low, f_up = front + lean_front * 0.12 * rise - 0.12, front + lean_front * 0.88 * rise - 0.08
    r_low, r_up = rear + lean_rear * 0.12 * rise + 0.12, rear + lean_rear * 0.88 * rise + 0.08
    mid_f, mid_r = middle + 0.04, middle - 0.04
    for window in (
        [(mid_f, down), (f_low, down), (f_up, up), (mid_f, up)],
        [(r_low, down), (mid_r, down), (mid_r, up), (r_up, up)],
    ):
        shapes += _sides([at(a, c) for a, c in window], _GLASS, _MID)

    def pane(bottom: tuple[float, float], over: tuple[float, float], front_side: bool) -> Shape:
        push = 0.012 if front_side else -0.012
        points = []
        for t, side in ((0.1, -1), (0.1, 1), (0.9, 1), (0.9, -1)):
            a = bottom[0] + t * (over[0] - bottom[0]) + push
            c = bottom[1] + t * (over[1] - bottom[1]) + 0.008
            points.append((a, side * (0.8 - 0.2 * t), c))
        return face(points if front_side else points[::-1], _GLASS, anchor=_MID)

    shapes.append(pane((front, low), (roof_front, top), True))
    shapes.append(pane((rear, low), (roof_rear, top), False))
    return shapes


def van(rng: np.random.Generator) -> list[Shape]:
    """A delivery van or minibus: one tall box with a short nose."""
    length, height = rng.uniform(5.2, 6.0), rng.uniform(2.25, 2.6)
    paint = _paint(rng) if rng.random() < 0.55 else (228.0, 228.0, 226.0)
    half, front, rear = 1.0, length / 2, -length / 2
    profile = [
        (rear, 0.3), (front - 0.1, 0.3), (front, 0.5), (front - 0.05, 1.0), (front - 0.75, 1.25),
        (front - 1.45, height - 0.08), (front - 1.7, height), (rear + 0.06, height),
    ]  # fmt: skip
    shapes = prism(profile, half, paint, _MID, (0, 0, 0, 0, 0, 0.12, 0.14, 0.14))
    run = height - 0.08 - 1.25

    def wide(c: float) -> float:
        return half + 0.012 - 0.12 * max(0.0, (c - 1.25) / run)

    def strip(a1: float, a2: float, c1: float, c2: float, colour: Colour) -> list[Shape]:
        corners = [(a1, c1), (a2, c1), (a2, c2), (a1, c2)]
        return _sides([(a, c, wide(c)) for a, c in corners], colour, _MID)

    shapes += strip(rear + 0.1, front - 0.2, 0.3, 0.45, _TRIM)
    window = [(front - 1.75, 1.3), (front - 0.85, 1.3), (front - 1.4, 1.95), (front - 1.75, 1.95)]
    shapes += _sides([(a, c, wide(c)) for a, c in window], _GLASS, _MID)
    if rng.random() < 0.35:
        for a in np.arange(rear + 0.3, front - 2.6, 1.05):
            shapes += strip(a, a + 0.9, 1.3, 1.95, _GLASS)
    elif rng.random() < 0.7:
        shapes += strip(rear + 0.5, front - 2.1, 0.95, 1.35, _paint(rng))
    points = []
    for t, side in ((0.08, -1), (0.08, 1), (0.92, 1), (0.92, -1)):
        a, c = front - 0.75 - t * 0.7 + 0.015, 1.25 + t * run + 0.01
        points.append((a, side * (0.9 - 0.1 * t), c))
    shapes.append(face(points, _GLASS, anchor=_MID))
    shapes += _wheels([front - 0.95, rear + 1.0], half, 0.36, _MID)
    for side in (1, -1):
        inner, outer = sorted((side * 0.55, side * 0.94))
        shapes.append(_end(front + 0.01, (inner, outer), (0.7, 0.95), _LAMP, _MID))
        inner, outer = sorted((side * 0.86, side * 0.97))
        shapes.append(_end(rear - 0.02, (inner, outer), (0.8, 1.5), _TAIL, _MID))
        inner, outer = sorted((side * 0.08, side * 0.75))
        shapes.append(_end(rear - 0.015, (inner, outer), (1.4, 1.95), _GLASS, _MID))
    shapes.append(_end(front + 0.012, (-0.5, 0.5), (0.5, 0.8), _TRIM, _MID))
    return shapes


def truck(rng: np.random.Generator) -> list[Shape]:
    """A cab and a separate tall cargo box on a dark chassis."""
    cargo, height = rng.uniform(5.6, 7.6), rng.uniform(3.3, 3.8)
    paint, load = _paint(rng), _paint(rng)
    if rng.random() < 0.4:
        load = (222.0, 224.0, 224.0)
    length = cargo + 2.3
    front, rear = length / 2, -length / 2
    split = rear + cargo
    back: Point = ((rear + split) / 2, 0.0, 1.5)
    ahead: Point = ((split + front) / 2, 0.0, 1.5)
    half = 1.22
    shapes = box(((rear + front) / 2, 0, 0.75), (length - 0.3, 1.9, 0.4), _TRIM, back)
    shapes += _wheels([rear + 1.1, rear + 2.2], half - 0.03, 0.48, back)
    shapes += prism(
        [(rear, 0.98), (split, 0.98), (split, height), (rear, height)], half, load, back
    )
    dark = (load[0] * 0.8, load[1] * 0.8, load[2] * 0.8)
    for a in np.arange(rear + 0.7, split - 0.3, 0.9):
        line = [(a, 1.0), (a + 0.06, 1.0), (a + 0.06, height), (a, height)]
        shapes += _sides([(x, c, half + 0.01) for x, c in line], dark, back)
    if rng.random() < 0.6:
        mark = _paint(rng)
        patch = [(rear + 1, 1.9), (split - 1, 1.9), (split - 1, 2.7), (rear + 1, 2.7)]
        shapes += _sides([(a, c, half + 0.015) for a, c in patch], mark, back)
    shapes.append(_end(rear - 0.01, (-0.03, 0.03), (1.0, height), dark, back))
    for side in (1, -1):
        inner, outer = sorted((side * 0.75, side * 1.15))
        shapes.append(_end(rear - 0.02, (inner, outer), (0.75, 0.95), _TAIL, back))
    roof = 2.75
    shapes += prism(
        [(split + 0.2, 0.5), (front, 0.5), (front + 0.02, 1.5), (front - 0.18, roof),
         (split + 0.2, roof)], half - 0.04, paint, ahead,
    )  # fmt: skip
    shapes += _wheels([front - 0.95], half - 0.03, 0.48, ahead)
    glass = [(front - 1.15, 1.6), (front - 0.1, 1.6), (front - 0.22, 2.4), (front - 1.15, 2.4)]
    shapes += _sides([(a, c, half - 0.025) for a, c in glass], _GLASS, ahead)
    points = [(front + 0.03, -1.08, 1.55), (front + 0.03, 1.08, 1.55), (front - 0.12, 1.05, 2.5),
              (front - 0.12, -1.05, 2.5)]  # fmt: skip
    shapes.append(face(points, _GLASS, anchor=ahead))
    for side in (1, -1):
        inner, outer = sorted((side * 0.65, side * 1.1))
        shapes.append(_end(front + 0.03, (inner, outer), (0.7, 0.95), _LAMP, ahead))
    shapes.append(_end(front + 0.03, (-0.6, 0.6), (0.9, 1.35), _TRIM, ahead))
    return shapes


def drone(rng: np.random.Generator, phase: float) -> list[Shape]:
    """A quadcopter as large as a delivery drone; the origin is its centre."""
    size = 1.0
    shell = ((45, 45, 48), (225, 225, 228), (40, 110, 235), (60, 60, 190))[int(rng.integers(4))]
    arm: Colour = (50, 50, 54)
    span = 0.62 * size
    shapes: list[Shape] = []
    for k in range(4):
        angle = math.pi / 4 + k * math.pi / 2
        a, b = span * math.cos(angle), span * math.sin(angle)
        shapes.append(capsule((0, 0, 0.03), (a, b, 0.06), 0.045, arm, 0.8))
        shapes.append(capsule((a, b, 0.02), (a, b, 0.16), 0.065, shell))
        turn = 2 * math.pi * (phase * (1 if k % 2 else -1) + 0.13 * k)
        for blade in (0.0, math.pi):
            tip = (a + 0.36 * math.cos(turn + blade), b + 0.36 * math.sin(turn + blade), 0.19)
            shapes.append(capsule((a, b, 0.18), tip, 0.035, (75, 75, 78), 0.6))
        ring = disc_points((a, b, 0.18), 0.36, "up", 20)
        shapes.append(Shape(ring, (95, 95, 98), (0.02, 0.02), ring=True))
    shapes += [
        capsule((-0.2, 0, 0.02), (0.22, 0, 0.02), 0.16, shell, 0.85),
        ball((0.3, 0, -0.06), 0.075, (25, 25, 28)),
        ball((-0.33, 0, 0.05), 0.04, (60, 60, 250)),
    ]
    for side in (1, -1):
        shapes.append(capsule((-0.05, side * 0.14, -0.05), (-0.05, side * 0.3, -0.32), 0.025, arm))
        shapes.append(capsule((-0.28, side * 0.3, -0.32), (0.2, side * 0.3, -0.32), 0.025, arm))
    if rng.random() < 0.5:
        shapes += box((0, 0, -0.22), (0.34, 0.3, 0.24), (95, 140, 185))
    return shapes
