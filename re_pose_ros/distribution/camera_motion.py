"""How the picture as a whole moves, as that of a turning camera does.

A turning camera shifts everything by about the same number of pixels, whatever its size; that of a
camera that travels is not modelled. Both estimates are ours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.distribution.association import centres, near_pairs

Array = NDArray[np.float64]

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
        rates: (N, 2) velocities of objects.
        tolerance: (N, 2) within which each agrees with a common one.
        before: (2,) the common velocity of the frame before.
    """
    if len(rates) < CROWD:
        return np.zeros(2)
    tried = np.stack([before, np.median(rates, axis=0), np.zeros(2)])
    agreeing = np.asarray((np.abs(rates - tried[:, None]) <= tolerance).all(axis=2))
    counts = agreeing.sum(axis=1)
    best = int(counts.argmax())
    if counts[best] < AGREEING * len(rates) or counts[best] <= BETTER * counts[-1]:
        return np.zeros(2)
    return np.asarray(np.median(rates[agreeing[best]], axis=0))


def common_shift(expected: Array, detected: Array, width: int, moving: bool) -> Array:
    """By how much the (D, 4) detected boxes lie beside the (T, 4) expected ones; zeros mostly.

    Pairs of boxes alike in size agree with a shift where it brings one to within half its own size
    of the other. Where too few agree with none, every pair votes for its own shift, and the middle
    of the window of three quarters of an object that has most votes is taken if clearly more pairs
    agree with it. What chance makes of it is taken off.

    Args:
        expected: boxes in pixels, corners.
        detected: likewise.
        width: of the frame in pixels.
        moving: whether the picture is known to move; then small shifts count, too.

    Returns:
        (2,) in x and y, in pixels.
    """
    few = min(len(expected), len(detected))
    if few < CROWD:
        return np.zeros(2)
    sizes = np.sqrt((expected[:, 2:] - expected[:, :2]).prod(axis=1))
    rows, columns = _alike(expected, detected, WITHIN * sizes)
    at, found_at = centres(expected), centres(detected)
    here = found_at[columns] - at[rows]
    if BETTER * len(here) < few:
        there = _voted(at, found_at, expected, detected, sizes, width)
        if len(there) > BETTER * len(here):
            return _less_chance(there) if len(there) >= VOTES * few else np.zeros(2)
    return _less_chance(here) if moving and len(here) >= VOTES * few else np.zeros(2)


def _alike(
    expected: Array, detected: Array, reach: Array
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of boxes that are alike in size with centres within ``reach`` (T,) along each axis."""
    rows, columns = near_pairs(centres(expected), centres(detected), np.stack([reach, reach], 1))
    own = expected[rows, 2:] - expected[rows, :2]
    other = detected[columns, 2:] - detected[columns, :2]
    alike = (np.maximum(own, other) <= ALIKE * np.minimum(own, other)).all(axis=1)
    return rows[alike], columns[alike]


def _voted(
    at: Array, found_at: Array, expected: Array, detected: Array, sizes: Array, width: int
) -> Array:
    """The shifts (P, 2) of the pairs that agree with the one that has most votes."""
    cell = max(2.0, float(np.median(sizes)) / 4)
    reach = max(cell, REACH * width)
    rows, columns = _alike(expected, detected, np.full(len(expected), reach))
    shifts = found_at[columns] - at[rows]
    if not len(shifts):
        return shifts
    place = np.floor((shifts + reach) / cell).astype(np.intp) + 1
    count = int(2 * reach / cell) + 3  # with an empty rim, so that windows fit
    votes = np.bincount(place[:, 1] * count + place[:, 0], minlength=count * count)
    table = votes.reshape(count, count)
    window = table[:-2] + table[1:-1] + table[2:]
    window = window[:, :-2] + window[:, 1:-1] + window[:, 2:]
    row, column = divmod(int(window.argmax()), window.shape[1])
    chosen = (np.abs(place - (column + 1, row + 1)) <= 1).all(axis=1)
    middle = np.median(shifts[chosen], axis=0)
    return shifts[(np.abs(shifts - middle) <= WITHIN * sizes[rows, None]).all(axis=1)]


def _less_chance(shifts: Array) -> Array:
    """The median of (P, 2) shifts, P >= 1, brought nearer to zero by its own uncertainty."""
    middle = np.median(shifts, axis=0)
    # A median's standard error is 1.25 sd / sqrt(n), and the sd is 1.48 median deviations.
    error = 1.86 * np.median(np.abs(shifts - middle), axis=0) / math.sqrt(len(shifts))
    return np.asarray(np.sign(middle) * (np.abs(middle) - CHANCE * error).clip(0))
