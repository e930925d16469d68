"""How large objects are at each image row, and distances measured in object sizes.

RE-POSE (arXiv 2501.09465) says that y is transformed non-linearly before clustering because objects
higher up are smaller and denser; the transform itself is not public to us. This one is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from re_pose_ros.geometry import FloatArray, box_areas

MIN_OBJECTS = 8
"""Fewer objects than this tell no trend."""
MAX_OBJECTS = 200
"""At most so many are fitted, evenly taken by position; the slopes grow with the square."""


def object_sizes(boxes: FloatArray) -> FloatArray:
    """Square roots of the areas of (N, 4) boxes, in pixels, at least 1; shape (N,)."""
    return np.sqrt(box_areas(boxes)).clip(1)


@dataclass(frozen=True, slots=True)
class Perspective:
    """Object size by row: s(y) = max(a + b y, s_min), in pixels, with b >= 0 and s_min > 0."""

    a: float
    b: float
    s_min: float

    @classmethod
    def fit(cls, boxes: FloatArray) -> Perspective:
        """Fit to (N, 4) boxes, N >= 1: sizes against box bottoms by the Theil-Sen estimator.

        With fewer than 8 objects, or where objects do not get larger downwards, the size is their
        median everywhere. s_min is a quarter of the median size.
        """
        sizes, bottoms = object_sizes(boxes), boxes[:, 3].astype(np.float64)
        median = float(np.median(sizes))
        flat = cls(median, 0.0, median / 4)
        if len(boxes) < MIN_OBJECTS:
            return flat
        order = np.lexsort((sizes, bottoms))
        order = order[np.linspace(0, len(order) - 1, min(len(order), MAX_OBJECTS)).astype(int)]
        sizes, bottoms = sizes[order], bottoms[order]
        run = bottoms - bottoms[:, None]
        apart = run > median / 4  # neighbours say more about their own sizes than about the trend
        if not apart.any():
            return flat
        slope = float(np.median((sizes - sizes[:, None])[apart] / run[apart]))
        if slope <= 1e-6:
            return flat
        return cls(float(np.median(sizes - slope * bottoms)), slope, median / 4)

    def size_at(self, y: FloatArray) -> FloatArray:
        """Object size in pixels at rows ``y``."""
        return np.maximum(self.a + self.b * np.asarray(y, np.float64), self.s_min)

    def flatten(self, points: FloatArray, centre_x: float) -> FloatArray:
        """(N, 2) image points in object sizes: x' = (x - centre_x) / s(y), y' = integral of dy / s.

        Where b > 0 the integral is ln(s(y) / s_min) / b above s_min and linear where s = s_min.
        """
        y = points[:, 1].astype(np.float64)
        sizes = self.size_at(y)
        x_new = (points[:, 0] - centre_x) / sizes
        if self.b == 0:
            return np.column_stack([x_new, y / sizes])
        turn = (self.s_min - self.a) / self.b
        y_new = np.log(sizes / self.s_min) / self.b + np.minimum(y - turn, 0) / self.s_min
        return np.column_stack([x_new, y_new])
