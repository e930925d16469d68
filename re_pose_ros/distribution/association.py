"""Which detection belongs to which track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from re_pose_ros.distribution.motion import Array, Indices

TINY = float(np.finfo(np.float64).tiny)


def near_pairs(a: Array, b: Array, reach: Array) -> tuple[Indices, Indices]:
    """All pairs of points of which the second is within the first's reach along both axes.

    Args:
        a: (2, N) points.
        b: (2, M) points.
        reach: (2, N) at least 0.

    Returns:
        (P,) indices into ``a`` and (P,) into ``b``, in an order that depends on nothing else.
    """
    order = b[0].argsort(kind="stable")
    x = b[0, order]
    first = x.searchsorted(a[0] - reach[0])
    counts = x.searchsorted(a[0] + reach[0], side="right") - first
    rows = np.arange(len(first)).repeat(counts)
    before = counts.cumsum() - counts
    columns = order[np.arange(len(rows)) + (first - before)[rows]]
    near = np.abs(b[1, columns] - a[1, rows]) <= reach[1, rows]
    return rows[near], columns[near]


def candidates(
    tracks: Array,
    variance: Array,
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
        tracks: (4, T) expected boxes.
        variance: (2, T) of their centres in square pixels.
        detections: (4, D) boxes.
        deviation: (D,) standard deviations of their centres in pixels, above 0.
        gate: above 0.
        size_ratio: at least 1.

    Returns:
        (P,) track indices, (P,) detection indices, (P,) costs in [0, 1].
    """
    noise = np.square(deviation)
    reach = gate * np.sqrt(variance + noise.max(initial=0.0))
    rows, columns = near_pairs(tracks[:2], detections[:2], reach)
    a, b = tracks.take(rows, axis=1), detections.take(columns, axis=1)
    apart = np.abs(a[:2] - b[:2])
    spread = np.square(apart) / (variance.take(rows, axis=1) + noise[columns])
    distance = np.sqrt(spread[0] + spread[1])
    own, other = a[2:], b[2:]
    possible = (distance <= gate) & alike(own, other, size_ratio)
    sides = np.minimum(np.minimum(own, other), (own + other) * 0.5 - apart)
    np.maximum(sides, 0.0, out=sides)
    shared = sides[0] * sides[1]
    union = own[0] * own[1] + other[0] * other[1] - shared
    cost = (1 - shared / np.maximum(union, TINY) + distance / gate) * 0.5
    return rows[possible], columns[possible], cost[possible]


def alike(own: Array, other: Array, ratio: float) -> NDArray[np.bool_]:
    """For which of P pairs the (2, P) sides differ by a factor of at most ``ratio``."""
    close = np.maximum(own, other) <= ratio * np.minimum(own, other)
    return np.asarray(close[0] & close[1])


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
        others = ~alone
        r, c, values = rows[others], columns[others], cost[others]
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
    return there.nonzero()[0], (there.cumsum() - 1)[values]
