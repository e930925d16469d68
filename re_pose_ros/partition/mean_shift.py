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
    order = np.lexsort((modes[:, 1], modes[:, 0], -support))
    modes = modes[order]
    near = _square_distances(modes, modes) <= bandwidth**2
    alive = np.ones(len(modes), bool)
    for i in range(len(modes)):
        if alive[i]:
            alive[i + 1 :] &= ~near[i, i + 1 :]
    nearest = _square_distances(points, modes[alive]).argmin(axis=1)
    return np.unique(nearest, return_inverse=True)[1].reshape(-1)


def _climb(points: FloatArray, bandwidth: float) -> tuple[FloatArray, NDArray[np.intp]]:
    """Where each point comes to rest, and how many points are within ``bandwidth`` of there."""
    modes = points.copy()
    support = np.ones(len(points), np.intp)
    moving = np.arange(len(points))
    for _ in range(MAX_STEPS):
        within = _square_distances(modes[moving], points) <= bandwidth**2
        count = within.sum(axis=1)
        # Rounding must not leave a seed alone: its own place is then its mean.
        means = np.where(count[:, None], within @ points / count.clip(1)[:, None], modes[moving])
        support[moving] = count
        moved = np.abs(means - modes[moving]).max(axis=1) > 1e-6 * bandwidth
        modes[moving] = means
        moving = moving[moved]
        if not len(moving):
            break
    return modes, support


def _square_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    return (a[:, None, 0] - b[None, :, 0]) ** 2 + (a[:, None, 1] - b[None, :, 1]) ** 2
