"""A wide street between houses that runs away from the camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from re_pose_ros.scenes.layout import Layout, Point, Rng
from re_pose_ros.scenes.roads import ASPHALT, KERB, PAINT, across, camera_of, row_of_houses
from re_pose_ros.scenes.world import CAR, CYCLIST, TRUCK, VAN, traffic_light

_END, _ROAD, _WALK = 300.0, 10.5, 7.5
"""Metres to the street's end, half the roadway's width, the width of a pavement."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Metres to the right of the street's middle, to the crossing, from middle to house fronts."""

    mid: float
    cross: float
    wall: float


def street(size: tuple[int, int], seed: int, density: float, widen: float) -> Layout:
    """A wide street that runs away from the camera, between houses."""
    head = np.random.default_rng([seed, 102])
    camera = camera_of(
        size, widen, 0.74, float(head.uniform(13.0, 15.5)), float(head.uniform(0.15, 0.2))
    )
    layout = Layout(camera, seed)
    rng = layout.rng(0)
    plan = _Plan(
        float(rng.uniform(-4, 5)),
        float(rng.uniform(95, 130)),
        _ROAD + _WALK + float(rng.uniform(1, 5)),
    )
    _ground(layout, plan)
    _houses(layout, rng, plan)
    for sign in (-1, 1):
        _furnish(layout, rng, plan, sign)
        _park(layout, rng, plan, sign, density)
    _people(layout, rng, plan, density)
    _traffic(layout, rng, plan, density)
    return layout


def _ground(layout: Layout, plan: _Plan) -> None:
    mid = plan.mid
    cross = plan.cross
    layout.strip((-500, 500), (5, 420), (135, 140, 145), "slabs")
    layout.strip((mid - _ROAD - 0.3, mid + _ROAD + 0.3), (5, _END), KERB)
    layout.strip((mid - _ROAD, mid + _ROAD), (5, _END), ASPHALT, "asphalt")
    layout.strip((mid - _ROAD + 2.3, mid - _ROAD + 4.0), (5, _END), (80, 85, 120), "asphalt")
    layout.strip((mid + _ROAD - 4.0, mid + _ROAD - 2.3), (5, _END), (80, 85, 120), "asphalt")
    for at in (-3.3, 3.3):
        for z in np.arange(10, _END, 8.0):
            layout.strip((mid + at - 0.08, mid + at + 0.08), (z, z + 3.5), PAINT)
    layout.strip((mid - 0.22, mid - 0.08), (5, _END), PAINT)
    layout.strip((mid + 0.08, mid + 0.22), (5, _END), PAINT)
    across(layout, cross, 12, 4)
    layout.strip((mid - _ROAD, mid + _ROAD), (cross - 6, cross + 6), ASPHALT, "asphalt")
    for x in np.arange(mid - _ROAD + 0.5, mid + _ROAD - 0.5, 1.1):
        for z in (cross - 10.5, cross + 7.5, 52.0):
            layout.strip((x, x + 0.55), (z, z + 3.0), PAINT)


def _houses(layout: Layout, rng: Rng, plan: _Plan) -> None:
    mid = plan.mid
    cross = plan.cross
    wall = plan.wall
    # The house row ends where the crossing street begins and goes on behind it.
    for sign in (-1, 1):
        x = mid + sign * wall
        for low, high in ((8.0, cross - 12), (cross + 12, _END)):
            ends = [(x, low), (x, high)]
            first, last = ends if sign < 0 else ends[::-1]
            row_of_houses(layout, rng, first, last)
        far = mid + sign * 190
        corner = [(x, cross + 12), (far, cross + 12)]
        first, last = corner if sign > 0 else corner[::-1]
        row_of_houses(layout, rng, first, last)
    row_of_houses(layout, rng, (-70, _END + 12), (70, _END + 12))


def _furnish(layout: Layout, rng: Rng, plan: _Plan, sign: int) -> None:
    mid = plan.mid
    cross = plan.cross
    near = layout.camera.nearest
    for z in np.arange(30, 280, 15.0):
        if abs(z - cross) > 10:
            # Crowns would hide all people on the far pavements.
            names = (
                ("tree", "lamp", "tree", "planter")
                if z < 90
                else ("lamp", "planter", "sign", "bin")
            )
            name = names[int(rng.integers(4))]
            yaw = 0.0 if sign < 0 else math.pi
            layout.put(rng, name, mid + sign * (_ROAD + 1.2), z + rng.uniform(-2, 2), yaw)
    for name, count in (("bench", 5), ("bin", 6), ("sign", 8), ("poster", 6), ("statue", 2),
                        ("kiosk", 2), ("cone", 3), ("bollard", 14)):  # fmt: skip
        for _ in range(count):
            z = float(near + 3 + (230 - near) * rng.random() ** 1.5)
            if abs(z - cross) > 10:
                off = _ROAD + (rng.uniform(0.7, 1.2) if name in ("bollard", "sign") else _WALK - 1)
                yaw = float(rng.normal(0, 0.4)) if name == "poster" else math.pi / 2 * sign
                layout.put(rng, name, mid + sign * off, z, yaw)


def _park(layout: Layout, rng: Rng, plan: _Plan, sign: int, density: float) -> None:
    mid = plan.mid
    cross = plan.cross
    near = layout.camera.nearest
    for z in np.arange(near + 2, 270, 6.0):
        run = math.sin(0.045 * z + sign + layout.seed % 7) > -0.15
        if run and abs(z - cross) > 15 and abs(z - 53) > 5 and rng.random() < 0.62 * density:
            kind = (CAR, CAR, CAR, CAR, VAN)[int(rng.integers(5))]
            layout.park(rng, kind, mid + sign * (_ROAD - 1.15), z, math.pi / 2 * sign)


def _people(layout: Layout, rng: Rng, plan: _Plan, density: float) -> None:
    mid = plan.mid
    cross = plan.cross
    wall = plan.wall
    near = layout.camera.nearest
    for _ in range(round(4 * density)):
        sign = 1 if rng.random() < 0.5 else -1
        x = mid + sign * (_ROAD + float(rng.uniform(3, 5)))
        layout.standing(rng, (x, float(rng.uniform(near + 8, 170))))

    def walkway(low: float, high: float) -> Callable[[Rng], list[Point]]:
        def corners(rng: Rng) -> list[Point]:
            sign = 1 if rng.random() < 0.5 else -1
            xs = mid + sign * (_ROAD + rng.uniform(2.2, _WALK - 0.6, 3))
            zs = [low, (low + high) / 2 + float(rng.uniform(-20, 20)), high]
            if rng.random() < 0.5:
                zs.reverse()
            return [(float(x), float(z)) for x, z in zip(xs, zs, strict=True)]

        return corners

    def crossing(rng: Rng) -> list[Point]:
        z = float(rng.choice([53.5, cross - 9, cross + 9])) + float(rng.uniform(-1, 1))
        xs = [mid - wall + 1, mid - _ROAD, mid + _ROAD, mid + wall - 1]
        if rng.random() < 0.5:
            xs.reverse()
        return [(float(x), z) for x in xs]

    layout.people(26 * density, 150, walkway(near * 0.8, 230))
    layout.people(20 * density, 70, walkway(cross + 14, 240), groups=(0.4, 0.3, 0.2, 0.1))
    layout.people(8 * density, 26, crossing)


def _traffic(layout: Layout, rng: Rng, plan: _Plan, density: float) -> None:
    mid = plan.mid
    cross = plan.cross
    wall = plan.wall
    near = layout.camera.nearest
    mix = {CAR: 0.66, VAN: 0.2, TRUCK: 0.14}
    light = traffic_light(40, 14, float(rng.uniform(0, 40)))
    spacing = 30 / max(density, 1e-9)
    for k, at in enumerate((-4.8, -1.7, 1.7, 4.8)):
        line = [(mid + at, near * 0.5), (mid + at, _END + 8)]
        speed = 8.0 + k % 2
        layout.lane(line if at > 0 else line[::-1], spacing, mix, speed=speed, clock=light)
    for at in (-1, 1):
        line = [(mid + at * (_ROAD - 3.1), near * 0.7), (mid + at * (_ROAD - 3.1), 240)]

        def riders(rng: Rng, line: list[Point] = line, at: int = at) -> list[Point]:
            return line if at > 0 else line[::-1]

        layout.people(6 * density, 48, riders, class_id=CYCLIST, groups=(0.8, 0.2))
    for k, at in enumerate((-3, 3)):
        x = (1, -1)[k] * (wall + 24)
        layout.lane([(-x, cross + at), (x, cross + at)], 34 / max(density, 1e-9), mix, speed=7)
    layout.drones(5 * density, 34, 90, plan.wall + 3)
