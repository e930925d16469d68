"""How a learned policy sees a state: numbers of about 1.

For every action there is how its predicted latency compares with the deadline, so that a policy
need not learn what is known (the formula and the table), only how far to trust it: it holds for
deadlines, speeds and sizes that it was not trained with. The last action is given by number rather
than by its costs, because what a switch costs depends on nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.tuning.latency import timing
from re_pose_ros.tuning.state import (
    COLUMNS,
    SHARES,
    Actions,
    Bools,
    Measured,
    Rows,
    width,
)

Observations = NDArray[np.float32]

BOUND = 3.0
"""No number is farther from 0."""

_DEADLINE = COLUMNS["deadline_ms"]
_LOGS = slice(COLUMNS["bandwidth_mbit_s"], COLUMNS["period_ms"] + 1)
_USUAL = np.array([10.0, 10.0, 1.0, 1.0, 640.0, 100.0, 100.0])
_OCTAVES = np.array([4.0, 4.0, 2.0, 2.0, 2.0, 3.0, 3.0])
_TIMES = slice(COLUMNS["robot_busy_ms"], COLUMNS["edge_wait_ms"] + 1)
_LINEAR = slice(COLUMNS["trend"], SHARES)
_UNITS = np.array([2.0, 0.5, 1.0, 1.0, 1.0])


def length(table: ActionTable) -> int:
    """D, numbers per observation: F of the state, then 2 A."""
    return width(table) + 2 * len(table.actions)


def observe(
    table: ActionTable,
    rows: Rows,
    last: Actions,
    masks: Bools | None = None,
    latency: NDArray[np.float64] | None = None,
) -> Observations:
    """Observations (..., D): state, predicted latencies, last action.

    The state's first numbers are logarithms over a few octaves, its times are shares of the
    deadline. Latencies are the binary logarithm of their ratio to the deadline: 0 is just in time,
    ``BOUND`` is that of an action that may not be taken. The last action is 1, the others are 0.

    Args:
        table: the actions.
        rows: (..., F) as measured.
        last: (...) the action before, by number.
        masks: (..., A) which may be taken; by default those that can.
        latency: (..., A) predicted in ms, where it is known already.
    """
    if latency is None:
        latency = timing(table, rows).latency
    if masks is not None:
        latency = np.where(masks, latency, np.inf)
    states, count = rows.shape[-1], len(table.actions)
    seen = np.empty((*rows.shape[:-1], states + 2 * count), np.float32)
    deadline = rows[..., _DEADLINE, None]
    seen[..., _LOGS] = np.log2(np.maximum(rows[..., _LOGS], 1e-3) / _USUAL) / _OCTAVES
    seen[..., _TIMES] = rows[..., _TIMES] / deadline
    seen[..., _LINEAR] = rows[..., _LINEAR] / _UNITS
    seen[..., SHARES:states] = rows[..., SHARES:]
    seen[..., states : states + count] = np.log2(latency / deadline)
    seen[..., states + count :] = np.asarray(last)[..., None] == np.arange(count)
    np.minimum(seen, BOUND, out=seen)
    return np.maximum(seen, -BOUND, out=seen)


def observation(
    table: ActionTable, measured: Measured, last: int, masks: Bools | None = None
) -> Observations:
    """The observation (D,) of one worker, as ``observe``; ``masks`` is (A,)."""
    return observe(table, measured.row(), np.asarray(last, np.intp), masks)
