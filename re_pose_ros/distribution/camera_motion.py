"""How the picture as a whole moves, as that of a turning camera does.

A turning camera shifts everything by about the same number of pixels, whatever its size; that of a
camera that travels is not modelled. Both estimates are ours.
"""

from __future__ import annotations

import math

import numpy as np

from re_pose_ros.distribution.association import alike, near_pairs
from re_pose_ros.distribution.motion import Array, Indices

CROWD = 8
"""Fewer objects than this tell nothing about the camera."""
AGREEING = 0.4
"""Share of the objects whose velocities must agree with one to take it for the camera's."""
REACH = 0.1
"""Largest shift from what was expected, as a share of the frame's width."""
VOTES = 0.4
"""Share of the objects that must be found at a shift to believe it."""
BETTER = 1.3
"""As many times more objects must agree with a moving picture than with one at rest."""
WITHIN = 0.5
"""Object sizes within which a pair agrees with a shift."""
CHANCE = 2.0
"""Standard errors by which a shift is taken for smaller than it seems."""
ALIKE = 1.3
"""Factor by which the sides of boxes of one object differ at most from frame to frame."""


def common_velocity(rates: Array, tolerance: Array, before: Array) -> Array:
    """The velocity (2,) in pixels per second that most objects share; zeros where none do.

    Tried are the one before and the median, against rest; of the objects within tolerance of the
    one that most agree with, the median is taken.

    Args:
        rates: (2, N) velocities of objects.
        tolerance: (2, N) within which each agrees with a common one.
        before: (2,) the common velocity of the frame before.
    """
    count = rates.shape[1]
    if count < CROWD:
        return np.zeros(2)
    tried = np.array([before, _median(rates), (0.0, 0.0)])
    within = np.abs(rates - tried[:, :, None]) <= tolerance
    agreeing = within[:, 0] & within[:, 1]
    counts = agreeing.sum(axis=1).tolist()
    best = counts.index(max(counts))
    if counts[best] < AGREEING * count or counts[best] <= BETTER * counts[-1]:
        return np.zeros(2)
    return _median(rates[:, agreeing[best]])


def common_shift(expected: Array, detected: Array, width: int, moving: bool) -> Array:
    """By how much the (4, D) detected boxes lie beside the (4, T) expected ones; zeros mostly.

    Pairs of boxes alike in size agree with a shift where it brings one to within half its own size
    of the other. Where too few agree with none, every pair votes for its own shift, and the middle
    of the window of three quarters of an object that has most votes is taken if clearly more pairs
    agree with it. What chance makes of it is taken off.

    Args:
        expected: boxes.
        detected: likewise.
        width: of the frame in pixels.
        moving: whether the picture is known to move; then small shifts count, too.

    Returns:
        (2,) in x and y, in pixels.
    """
    few = min(expected.shape[1], detected.shape[1])
    if few < CROWD:
        return np.zeros(2)
    sizes = np.sqrt(expected[2] * expected[3])
    here, _ = _shifts(expected, detected, WITHIN * sizes)
    agreeing = here.shape[1]
    if BETTER * agreeing < few:
        there = _voted(expected, detected, sizes, width)
        if there.shape[1] > BETTER * agreeing:
            return _less_chance(there) if there.shape[1] >= VOTES * few else np.zeros(2)
    return _less_chance(here) if moving and agreeing >= VOTES * few else np.zeros(2)


def _shifts(expected: Array, detected: Array, reach: Array) -> tuple[Array, Indices]:
    """From expected to detected boxes that are alike in size and near.

    ``reach`` (T,) is how far they may be apart along each axis. The result is (2, P) shifts and
    (P,) which of the expected boxes each belongs to.
    """
    rows, columns = near_pairs(expected[:2], detected[:2], np.array([reach, reach]))
    close = alike(expected[2:].take(rows, axis=1), detected[2:].take(columns, axis=1), ALIKE)
    rows, columns = rows[close], columns[close]
    return detected[:2].take(columns, axis=1) - expected[:2].take(rows, axis=1), rows


def _voted(expected: Array, detected: Array, sizes: Array, width: int) -> Array:
    """The shifts (2, P) of the pairs that agree with the one that has most votes."""
    cell = max(2.0, float(_median(sizes[None])[0]) / 4)
    reach = max(cell, REACH * width)
    shifts, rows = _shifts(expected, detected, np.full(len(sizes), reach))
    if not len(rows):
        return shifts
    x, y = np.floor((shifts + reach) / cell).astype(np.intp) + 1
    count = int(2 * reach / cell) + 3  # with an empty rim, so that windows fit
    votes = np.bincount(y * count + x, minlength=count * count)
    table = votes.reshape(count, count)
    window = table[:-2] + table[1:-1] + table[2:]
    window = window[:, :-2] + window[:, 1:-1] + window[:, 2:]
    row, column = divmod(int(window.argmax()), window.shape[1])
    chosen = (np.abs(x - (column + 1)) <= 1) & (np.abs(y - (row + 1)) <= 1)
    middle = _median(shifts[:, chosen])
    agreeing = np.abs(shifts - middle[:, None]) <= WITHIN * sizes[rows]
    return shifts[:, agreeing[0] & agreeing[1]]


def _less_chance(shifts: Array) -> Array:
    """The median of (2, P) shifts, P >= 1, brought nearer to zero by its own uncertainty."""
    middle = _median(shifts)
    # A median's standard error is 1.25 sd / sqrt(n), and the sd is 1.48 median deviations.
    spread = _median(np.abs(shifts - middle[:, None]))
    error = 1.86 * spread / math.sqrt(shifts.shape[1])
    return np.asarray(np.sign(middle) * np.maximum(np.abs(middle) - CHANCE * error, 0.0))


def _median(values: Array) -> Array:
    """Of each row of (K, P), P >= 1; ``numpy.median`` takes several times as long."""
    ordered = np.sort(values, axis=1)
    count = ordered.shape[1]
    return np.asarray((ordered[:, (count - 1) // 2] + ordered[:, count // 2]) * 0.5)
