"""How a method kept to its budget, and what it expected beside what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from re_pose_ros.bench.measure import PATIENCE, Measured

_ROUNDING_MS = 1e-3


def budget(
    measured: Sequence[Measured], found: Sequence[int], slowed: Sequence[bool]
) -> dict[str, Any] | None:
    """The ``budget`` of a method in the result; None of one that expects nothing.

    ``over_10_percent`` is the share of frames that took more than 1.1 times the budget;
    ``planned_over_10_percent`` the same, had all answers been waited for. ``error_ms`` is between
    what was predicted and the makespan with all answers. Where workers became slower, ``slowed``
    has the shares of the frames from there on.

    Args:
        measured: one per frame.
        found: objects that were found, per frame.
        slowed: whether a worker was slower than at the start, per frame.
    """
    rows = [
        (one.timing, one.expected, count, slow)
        for one, count, slow in zip(measured, found, slowed, strict=True)
        if one.expected is not None
    ]
    if not rows:
        return None
    limit = np.array([expected.budget_ms for _, expected, _, _ in rows]) * PATIENCE + _ROUNDING_MS
    taken = np.array([timing.makespan_ms for timing, _, _, _ in rows])
    waited = np.array([timing.all_answers_ms for timing, _, _, _ in rows])
    predicted = np.array([expected.makespan_ms for _, expected, _, _ in rows])
    late = np.array([timing.late for timing, _, _, _ in rows])
    after = np.array([slow for _, _, _, slow in rows])
    _, first, _, _ = rows[0]

    def kept(chosen: slice | np.ndarray[Any, Any]) -> dict[str, float]:
        return {
            "over_10_percent": _mean((taken > limit)[chosen]),
            "planned_over_10_percent": _mean((waited > limit)[chosen]),
            "late_blocks_per_frame": _mean(late[chosen]),
            "late_frames": _mean((late > 0)[chosen]),
        }

    shares: dict[str, Any] = kept(slice(None))
    if after.any():
        shares["slowed"] = {"frames": int(after.sum()), **kept(after)}
    return {
        "budget_ms": first.budget_ms,
        "objective": first.objective,
        "late_blocks": int(late.sum()),
        **shares,
        "predicted_ms": _percentiles(predicted),
        "error_ms": _percentiles(np.abs(predicted - waited)),
        "value": {
            "predicted": _mean(np.array([expected.value for _, expected, _, _ in rows])),
            "found": _mean(np.array([count for _, _, count, _ in rows])),
        },
    }


def row(measured: Measured, found: int) -> dict[str, Any]:
    """What is kept of one frame."""
    expected = measured.expected
    return {
        "predicted_ms": None if expected is None else round(expected.makespan_ms, 3),
        "predicted_value": None if expected is None else round(expected.value, 3),
        "found": found,
        **({} if measured.exact is None else {"exact": measured.exact}),
    }


def _mean(values: np.ndarray[Any, Any]) -> float:
    return round(float(values.mean()), 4)


def _percentiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95)}
