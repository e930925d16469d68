"""A freight yard."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from re_pose_ros.scenes.layout import Layout, Point, Rng
from re_pose_ros.scenes.roads import GRASS, PAINT, camera_of, row_of_houses
from re_pose_ros.scenes.world import CAR, CYCLIST, TRUCK, VAN

_ROWS = (72.0, 98.0, 126.0, 162.0)
"""Distances in metres of the double rows of parking bays."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Metres to the hall's front, and from the middle to the lawns."""

    hall: float
    lawn: float


def yard(size: tuple[int, int], seed: int, density: float, widen: float) -> Layout:
    """A freight yard with parked rows, containers and a hall with loading docks."""
    head = np.random.default_rng([seed, 103])
    camera = camera_of(
        size, widen, 0.70, float(head.uniform(16.5, 20.0)), float(head.uniform(0.08, 0.12))
    )
    layout = Layout(camera, seed)
    rng = layout.rng(0)
    plan = _Plan(float(rng.uniform(205, 230)), float(rng.uniform(60, 78)))
    _ground(layout, rng, plan)
    _park(layout, rng, plan, density)
    _furnish(layout, rng, plan)
    _people(layout, rng, plan, density)
    _traffic(layout, density)
    return layout


def _ground(layout: Layout, rng: Rng, plan: _Plan) -> None:
    hall = plan.hall
    lawn = plan.lawn
    layout.strip((-500, 500), (5, 420), (118, 122, 124), "asphalt")
    for _ in range(14):
        x, z = layout.within(rng, 30, 200, 90)
        w, d = rng.uniform(3, 18), rng.uniform(2, 9)
        tone = float(rng.uniform(88, 150))
        layout.strip((x - w, x + w), (z - d, z + d), (tone, tone + 2, tone + 3), "asphalt")
    layout.strip((-300, -lawn), (90, 330), GRASS, "grass")
    layout.strip((lawn + 12, 320), (110, 330), GRASS, "grass")
    row_of_houses(layout, rng, (-lawn + 6, hall), (lawn, hall), hall=True)


def _park(layout: Layout, rng: Rng, plan: _Plan, density: float) -> None:
    hall = plan.hall
    lawn = plan.lawn
    camera = layout.camera
    for z in _ROWS:
        half = min(58.0, 0.8 * camera.half_width(z))
        for x in np.arange(-half, half + 1, 2.7):
            for front in (z - 5.2, z + 0.15):
                layout.strip((x - 0.06, x + 0.06), (front, front + 5.0), PAINT)
        wave = rng.uniform(0, 2 * math.pi)
        for x in np.arange(-half, half, 2.7):
            for turn, at in ((math.pi / 2, z - 2.7), (-math.pi / 2, z + 2.7)):
                busy = 0.5 + 0.5 * math.sin(0.11 * x + wave + turn)
                if rng.random() < 0.42 * density * busy:
                    kind = CAR if rng.random() < 0.78 else VAN
                    layout.park(
                        rng, kind, x + 1.35, at, turn + (math.pi if rng.random() < 0.3 else 0)
                    )
    for x in np.arange(-lawn + 14, lawn - 8, 5.2):
        if rng.random() < 0.5 * density:
            layout.park(rng, TRUCK, x, hall - 6.5, -math.pi / 2)


def _furnish(layout: Layout, rng: Rng, plan: _Plan) -> None:
    lawn = plan.lawn
    camera = layout.camera
    near = layout.camera.nearest
    for _ in range(16):
        far_side = 1 if rng.random() < 0.5 else -1
        z = float(rng.uniform(45, 195))
        x = far_side * min(lawn - 4, 0.85 * camera.half_width(z)) + float(rng.uniform(-4, 4))
        if all(abs(z - row) > 8 for row in _ROWS):
            layout.put(rng, "container", x, z, float(rng.choice([0, math.pi / 2])))
    for name, count in (("lamp", 9), ("cone", 16), ("pallets", 14), ("bollard", 12), ("sign", 8),
                        ("bin", 6), ("poster", 4), ("statue", 3), ("kiosk", 2)):  # fmt: skip
        for _ in range(count):
            x, z = layout.within(rng, near + 3, 180, 80)
            if all(abs(z - row) > 7.5 for row in _ROWS):
                layout.put(rng, name, x, z, float(rng.normal(0, 0.5)) if name == "poster" else None)
    for _ in range(16):
        x = (1 if rng.random() < 0.5 else -1) * float(rng.uniform(lawn + 14, 130))
        layout.put(rng, "tree", x, rng.uniform(115, 290))


def _people(layout: Layout, rng: Rng, plan: _Plan, density: float) -> None:
    hall = plan.hall
    lawn = plan.lawn
    near = layout.camera.nearest
    for _ in range(round(6 * density)):
        low, high = ((34, 62), (78, 92), (104, 120), (134, 155), (170, 198))[int(rng.integers(5))]
        layout.standing(rng, layout.within(rng, low, high), bool(rng.random() < 0.6))

    def about(low: float, high: float) -> Callable[[Rng], list[Point]]:
        def corners(rng: Rng) -> list[Point]:
            start, goal = layout.edge(rng, low, high), layout.edge(rng, low, high)
            return [
                start,
                layout.within(rng, low, high, 60),
                layout.within(rng, low, high, 60),
                goal,
            ]

        return corners

    def docks(rng: Rng) -> list[Point]:
        ends = [(float(rng.uniform(-lawn + 8, lawn - 2)), hall - 0.5) for _ in range(2)]
        return [ends[0], layout.within(rng, 172, hall - 12, 60), ends[1]]

    layout.people(6 * density, 45, about(near + 2, 64))
    layout.people(14 * density, 90, about(78, 120), worker=True)
    layout.people(10 * density, 95, about(106, 180))
    layout.people(9 * density, 50, docks, worker=True, groups=(0.5, 0.3, 0.2))
    layout.people(7 * density, 35, about(78, 150), class_id=CYCLIST, groups=(1,))
    layout.people(1.5 * density, 18, about(near + 4, 62), class_id=CYCLIST, groups=(1,))


def _traffic(layout: Layout, density: float) -> None:
    camera = layout.camera
    mix = {CAR: 0.4, VAN: 0.3, TRUCK: 0.3}
    for k, z in enumerate((58.0, 85.0, 112.0, 144.0, 182.0)):
        x = (1 if k % 2 else -1) * (camera.half_width(z) + 12)
        layout.lane([(-x, z), (x, z)], 55 / max(density, 1e-9), mix, speed=4.0 + k % 2)
    layout.drones(7 * density, 34, 92)
