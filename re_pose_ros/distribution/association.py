"""Which detection belongs to which track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def centres(boxes: Array) -> Array:
    """Middles of (N, 4) boxes, shape (N, 2)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def near_pairs(a: Array, b: Array, reach: Array) -> tuple[Indices, Indices]:
    """All pairs of points of which the second is within the first's reach along both axes.

    Args:
        a: (N, 2) points.
        b: (M, 2) points.
        reach: (N, 2) at least 0.

    Returns:
        (P,) indices into ``a`` and (P,) into ``b``, in an order that depends on nothing else.
    """
    order = np.argsort(b[:, 0], kind="stable")
    x = b[order, 0]
    first = np.searchsorted(x, a[:, 0] - reach[:, 0])
    counts = np.searchsorted(x, a[:, 0] + reach[:, 0], side="right") - first
    rows = np.repeat(np.arange(len(a)), counts)
    before = np.cumsum(counts) - counts
    columns = order[np.arange(len(rows)) + np.repeat(first - before, counts)]
    near = np.abs(b[columns, 1] - a[rows, 1]) <= reach[rows, 1]
    return rows[near], columns[near]


def candidates(
    tracks: Array,
    sigma: Array,
    detections: Array,
    deviation: Array,
    gate: float,
    size_ratio: float,
) -> tuple[Indices, Indices, Array]:
    """Pairs of tracks and detections that may be one object, with what it costs to join them.

    A pair's centres are at most ``gate`` standard deviations apart (the square root of the sum of
    squares over both axes) and the sides of its boxes differ by a factor of at most ``size_ratio``.
    The cost is the mean of 1 - IoU, as in SORT (Bewley et al., ICIP 2016), and of the distance of
    the centres as a share of the gate, which tells apart small objects that overlap none. The mean
    is ours.

    Args:
        tracks: (T, 4) expected boxes, corners in pixels.
        sigma: (T, 2) standard deviations of their centres in pixels.
        detections: (D, 4) boxes.
        deviation: (D,) standard deviations of their centres in pixels, above 0.
        gate: above 0.
        size_ratio: at least 1.

    Returns:
        (P,) track indices, (P,) detection indices, (P,) costs in [0, 1].
    """
    at, found_at = centres(tracks), centres(detections)
    variance = np.square(sigma)
    widest = np.sqrt(variance + np.square(deviation.max(initial=0)))
    rows, columns = near_pairs(at, found_at, gate * widest)
    spread = variance[rows] + np.square(deviation[columns])[:, None]
    distance = np.sqrt((np.square(found_at[columns] - at[rows]) / spread).sum(axis=1))
    a, b = tracks[rows], detections[columns]
    own, other = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    alike = (np.maximum(own, other) <= size_ratio * np.minimum(own, other)).all(axis=1)
    possible = alike & (distance <= gate)
    sides = (np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])).clip(0)
    shared = sides[:, 0] * sides[:, 1]
    union = own[:, 0] * own[:, 1] + other[:, 0] * other[:, 1] - shared
    cost = (1 - shared / np.maximum(union, np.finfo(float).tiny) + distance / gate) / 2
    return rows[possible], columns[possible], cost[possible]


def assign_pairs(
    rows: Indices, columns: Indices, cost: Array, limit: float
) -> tuple[Indices, Indices]:
    """The matching of least total cost, where leaving a pair out costs ``limit``.

    Pairs that share neither end with another are taken as they are; the others are solved by
    ``scipy.optimize.linear_sum_assignment``.

    Args:
        rows: (P,) one end of each pair; no pair twice.
        columns: (P,) the other end.
        cost: (P,) at least 0.
        limit: pairs that cost as much or more are never taken.

    Returns:
        (M,) rows and (M,) columns, each at most once, by rising row.
    """
    good = cost < limit
    rows, columns, cost = rows[good], columns[good], cost[good]
    if not len(rows):
        return rows, columns
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    if not alone.all():
        r, c, values = rows[~alone], columns[~alone], cost[~alone]
        r_names, r_at = _numbered(r)
        c_names, c_at = _numbered(c)
        table = np.full((len(r_names), len(c_names)), limit)
        table[r_at, c_at] = values
        r_best, c_best = linear_sum_assignment(table)
        taken = table[r_best, c_best] < limit
        rows = np.concatenate([rows[alone], r_names[r_best[taken]]])
        columns = np.concatenate([columns[alone], c_names[c_best[taken]]])
        order = np.argsort(rows)
        rows, columns = rows[order], columns[order]
    return rows, columns


def _numbered(values: Indices) -> tuple[Indices, Indices]:
    """The distinct values, rising, and of each value its place among them."""
    there = np.zeros(int(values.max()) + 1, bool)
    there[values] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[values]
