"""The camera of a scene: a shift-lens pinhole above flat ground.

The ground plane has x to the right and z away from the camera, heights go up, all in metres. The
sensor stands upright and is shifted instead of tilted, so that verticals stay vertical and a
standing object keeps the scale focal / z from foot to head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Camera:
    """Projects the ground and what stands on it.

    Attributes:
        size: (width, height) of a frame in pixels.
        span: width in pixels of all that the camera sees while panning; a frame's own if fixed.
        focal: focal length in pixels.
        mast: height above the ground in metres.
        horizon: image row of the horizon in pixels.
    """

    size: tuple[int, int]
    span: int
    focal: float
    mast: float
    horizon: float

    @property
    def nearest(self) -> float:
        """Distance in metres of the ground at the frame's lower edge."""
        return self.focal * self.mast / (self.size[1] - self.horizon)

    def half_width(self, z: float) -> float:
        """Half the width in metres that is seen at distance ``z``."""
        return 0.5 * self.span * z / self.focal

    def project(
        self, x: FloatArray | float, up: FloatArray | float, z: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """Columns and rows, in pixels of the span, of points in metres."""
        u = 0.5 * self.span + self.focal * np.asarray(x) / z
        v = self.horizon + self.focal * (self.mast - np.asarray(up)) / z
        return u, v

    def ground_polygon(self, points: FloatArray) -> FloatArray:
        """Pixel polygon (N, 2) of a polygon on the ground, (M, 2) of x and z with z > 0."""
        u, v = self.project(points[:, 0], 0.0, points[:, 1])
        return np.stack([u, v], axis=1)


def clip_near(points: FloatArray, near: float) -> FloatArray:
    """The part with z >= ``near`` of a convex ground polygon (N, 2); may be empty."""
    kept: list[FloatArray] = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        if a[1] >= near:
            kept.append(a)
        if (a[1] >= near) != (b[1] >= near):
            kept.append(a + (near - a[1]) / (b[1] - a[1]) * (b - a))
    return np.array(kept).reshape(-1, 2)
