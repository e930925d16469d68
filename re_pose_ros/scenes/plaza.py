"""A paved square seen from a roof."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from re_pose_ros.scenes.layout import Layout, Point, Rng
from re_pose_ros.scenes.roads import GRASS, KERB, across, camera_of, row_of_houses
from re_pose_ros.scenes.shapes import Colour
from re_pose_ros.scenes.world import CAR, CYCLIST, TRUCK, VAN, traffic_light


@dataclass(frozen=True, slots=True)
class _Plan:
    """Distances in metres of the road, the service lane, the houses behind and those aside."""

    road: float
    lane: float
    back: float
    side: float


def plaza(size: tuple[int, int], seed: int, density: float, widen: float) -> Layout:
    """A paved square seen from a roof, with lawns, a fountain and a road behind."""
    head = np.random.default_rng([seed, 101])
    camera = camera_of(
        size, widen, 0.70, float(head.uniform(14.5, 17.5)), float(head.uniform(0.10, 0.14))
    )
    layout = Layout(camera, seed)
    rng = layout.rng(0)
    plan = _Plan(
        float(rng.uniform(140, 160)), float(rng.uniform(62, 72)), float(rng.uniform(262, 285)),
        float(rng.uniform(85, 120)),
    )  # fmt: skip
    _ground(layout, rng, plan)
    _furnish(layout, rng, plan)
    _people(layout, rng, plan, density)
    _traffic(layout, rng, plan, density)
    return layout


def _ground(layout: Layout, rng: Rng, plan: _Plan) -> None:
    road, lane, back, side = plan.road, plan.lane, plan.back, plan.side
    stone: Colour = ((128, 142, 153), (142, 149, 155), (116, 130, 146))[int(rng.integers(3))]
    layout.strip((-500, 500), (5, 420), stone, "slabs")
    band = (stone[0] * 0.86, stone[1] * 0.86, stone[2] * 0.86)
    for x in np.arange(-200, 200, 16.0):
        layout.strip((x, x + 1.2), (5, 300), band, "slabs")
    across(layout, road, 13, 4)
    across(layout, lane, 6.5, 2)
    for _ in range(9):
        x, z = layout.within(rng, 32, 240, 110)
        w, d = rng.uniform(5, 16), rng.uniform(4, 14)
        if abs(z - lane) < 6 + d or abs(z - road) < 9 + d:
            continue
        layout.strip((x - w - 0.3, x + w + 0.3), (z - d - 0.3, z + d + 0.3), KERB)
        layout.strip((x - w, x + w), (z - d, z + d), GRASS, "grass")
        for _ in range(int(rng.integers(1, 5))):
            layout.put(rng, "tree", rng.uniform(x - w, x + w), rng.uniform(z - d, z + d))
    row_of_houses(layout, rng, (-side, road + 14), (-side, back))
    row_of_houses(layout, rng, (-side, back), (side, back))
    row_of_houses(layout, rng, (side, back), (side, road + 14))


def _furnish(layout: Layout, rng: Rng, plan: _Plan) -> None:
    road, lane, near = plan.road, plan.lane, layout.camera.nearest
    layout.put(rng, "fountain", rng.uniform(-14, 14), rng.uniform(92, 112))
    for name, count, far in (
        ("lamp", 10, 230), ("bench", 12, 170), ("bollard", 16, 130), ("sign", 8, 160),
        ("planter", 9, 180), ("bin", 9, 160), ("kiosk", 3, 190), ("statue", 5, 190),
        ("poster", 6, 150), ("cone", 6, 110),
    ):  # fmt: skip
        for _ in range(count):
            x, z = layout.within(rng, near + 3, far, 100)
            if abs(z - lane) > 4.5 and abs(z - road) > 8:
                # Most posters and benches face the camera, as they do on a square.
                yaw = float(rng.normal(0, 0.6)) if name in ("poster", "bench", "kiosk") else None
                layout.put(rng, name, x, z, yaw)
    for x in np.arange(-40, 40, 2.2):
        layout.put(rng, "bollard", x, lane - 4.2)


def _people(layout: Layout, rng: Rng, plan: _Plan, density: float) -> None:
    road, back, side = plan.road, plan.back, plan.side
    camera, near = layout.camera, layout.camera.nearest
    for _ in range(round(7 * density)):
        low, high = ((34, 75), (75, 140), (150, 240))[int(rng.integers(3))]
        layout.standing(rng, layout.within(rng, low, high))

    def band(low: float, high: float) -> Callable[[Rng], list[Point]]:
        def corners(rng: Rng) -> list[Point]:
            start, goal = layout.edge(rng, low, high), layout.edge(rng, low, high)
            if rng.random() < 0.8:
                goal = (-math.copysign(goal[0], start[0]), goal[1])
            if low < near + 2 and rng.random() < 0.5:
                start = (float(rng.uniform(-0.8, 0.8)) * camera.half_width(near), near * 0.82)
            return [start, layout.within(rng, low, high), layout.within(rng, low, high), goal]

        return corners

    def deep(rng: Rng) -> list[Point]:
        ends = [(float(rng.uniform(-side, side)), back - 1.0)]
        ends.append(
            (math.copysign(side - 1, rng.uniform(-1, 1)), float(rng.uniform(road + 16, back)))
        )
        if rng.random() < 0.5:
            ends.reverse()
        return [ends[0], layout.within(rng, road + 10, back - 5, side - 3), ends[1]]

    layout.people(11 * density, 45, band(near + 1, 68))
    layout.people(32 * density, 105, band(72, 138))
    layout.people(22 * density, 75, deep, groups=(0.45, 0.3, 0.15, 0.1))
    layout.people(2 * density, 20, band(near + 4, 62), class_id=CYCLIST, groups=(1,))
    layout.people(7 * density, 36, band(74, 136), class_id=CYCLIST, groups=(0.8, 0.2))


def _traffic(layout: Layout, rng: Rng, plan: _Plan, density: float) -> None:
    road, lane, camera = plan.road, plan.lane, layout.camera
    mix = {CAR: 0.62, VAN: 0.22, TRUCK: 0.16}
    light = traffic_light(34, 11, float(rng.uniform(0, 30)))
    for k, at in enumerate((-4.9, -1.6, 1.6, 4.9)):
        x = (1 if k < 2 else -1) * (camera.half_width(road) + 12)
        spacing = 38 / max(density, 1e-9)
        layout.lane([(-x, road + at), (x, road + at)], spacing, mix, speed=7 + k % 2, clock=light)
    for k, at in enumerate((-1.6, 1.6)):
        x = (1, -1)[k] * (camera.half_width(lane) + 9)
        layout.lane(
            [(-x, lane + at), (x, lane + at)],
            55 / max(density, 1e-9),
            {CAR: 0.5, VAN: 0.5},
            speed=5,
        )
    layout.drones(5 * density, 38, 95)
