"""Mean shift clustering with a flat kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.geometry import FloatArray

MAX_STEPS = 300


def mean_shift(points: FloatArray, bandwidth: float) -> NDArray[np.intp]:
    """Cluster label of each of the (N, 2) ``points``, shape (N,), numbered from 0 without gaps.

    Every point climbs to a mode of the density: it moves to the mean of the points within
    ``bandwidth`` until it rests (Comaniciu and Meer, "Mean Shift: A Robust Approach Toward Feature
    Space Analysis", PAMI 2002). Of modes closer than ``bandwidth`` the one with more points around
    it stays, and each point joins the mode nearest to it, as in scikit-learn's ``MeanShift`` with
    ``cluster_all``. Label 0 is the densest mode. Time and memory grow with N squared.

    Raises ValueError where ``bandwidth`` is not positive.
    """
    if not bandwidth > 0:
        raise ValueError(f"mean shift needs a positive bandwidth, got {bandwidth}")
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if not len(points):
        return np.empty(0, np.intp)
    modes, support = _climb(points, bandwidth)
    modes = modes[np.lexsort((modes[:, 1], modes[:, 0], -support))]
    near = _square_distances(modes, modes) <= bandwidth**2
    alive = np.ones(len(modes), bool)
    for i in range(len(modes)):
        if alive[i]:
            alive[i + 1 :] &= ~near[i, i + 1 :]
    nearest = _square_distances(points, modes[alive]).argmin(axis=1)
    return np.unique(nearest, return_inverse=True)[1].reshape(-1)


def _climb(points: FloatArray, bandwidth: float) -> tuple[FloatArray, FloatArray]:
    """Where points come to rest, and how many points are within ``bandwidth`` of there.

    Points that have the same neighbours go to the same place and from there on count as one.
    """
    rested: list[FloatArray] = []
    moving = _distinct(points)
    summands = np.column_stack([points, np.ones(len(points))])
    for step in range(MAX_STEPS):
        within = _square_distances(moving, points) <= bandwidth**2
        sums = within.astype(np.float64) @ summands
        count = sums[:, 2:]
        # Rounding must not leave a seed alone: its own place is then its mean.
        means = np.where(count > 0, sums[:, :2] / count.clip(1), moving)
        moved = (np.abs(means - moving) > 1e-6 * bandwidth).any(axis=1)
        rests = ~moved | (step + 1 == MAX_STEPS)
        rested.append(np.column_stack([means, count])[rests])
        moving = _distinct(means[~rests])
        if not len(moving):
            break
    modes = np.concatenate(rested)
    return modes[:, :2], modes[:, 2]


def _distinct(points: FloatArray) -> FloatArray:
    """The (N, 2) ``points`` in rising order, each once."""
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    fresh = np.ones(len(points), bool)
    fresh[1:] = (points[1:] != points[:-1]).any(axis=1)
    return points[fresh]


def _square_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Between (N, 2) and (M, 2) points, shape (N, M)."""
    across = np.subtract.outer(a[:, 0], b[:, 0])
    down = np.subtract.outer(a[:, 1], b[:, 1])
    across *= across
    down *= down
    across += down
    return across
