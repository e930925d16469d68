"""What several kinds of scene have: cameras, roads and rows of houses."""

from __future__ import annotations

import math

import numpy as np

from re_pose_ros.scenes.camera import Camera
from re_pose_ros.scenes.layout import Facade, Layout, Point, Rng
from re_pose_ros.scenes.shapes import Colour

ASPHALT: Colour = (92, 92, 92)
PAINT: Colour = (205, 208, 210)
KERB: Colour = (160, 165, 168)
GRASS: Colour = (62, 112, 92)


def camera_of(
    size: tuple[int, int], widen: float, focal: float, mast: float, horizon: float
) -> Camera:
    """A camera for ``widen`` times a frame; focal in widths, mast in metres, horizon in heights."""
    width, height = size
    return Camera(size, round(width * widen), focal * width, mast, horizon * height)


def across(layout: Layout, z: float, width: float, lanes: int) -> None:
    """A road from left to right whose middle is at ``z``."""
    half = 1.3 * layout.camera.half_width(z + width) + 20
    layout.strip((-half, half), (z - width / 2 - 0.4, z + width / 2 + 0.4), KERB)
    layout.strip((-half, half), (z - width / 2, z + width / 2), ASPHALT, "asphalt")
    for k in range(1, lanes):
        at = z - width / 2 + k * width / lanes
        for x in np.arange(-half, half, 7.0):
            layout.strip((x, x + 3.0), (at - 0.09, at + 0.09), PAINT)


def row_of_houses(layout: Layout, rng: Rng, left: Point, right: Point, hall: bool = False) -> None:
    """House fronts side by side from left to right as seen."""
    total = math.hypot(right[0] - left[0], right[1] - left[1])
    done = 0.0
    while done < total - 1:
        step = min(float(rng.uniform(14, 30)), total - done)
        if total - done - step < 8:
            step = total - done
        a, b = done / total, (done + step) / total
        corners = [
            (left[0] + t * (right[0] - left[0]), left[1] + t * (right[1] - left[1])) for t in (a, b)
        ]
        height = float(rng.uniform(8, 10) if hall else rng.uniform(12, 24))
        layout.facades.append(
            Facade(corners[0], corners[1], height, int(rng.integers(1 << 30)), hall)
        )
        done += step
