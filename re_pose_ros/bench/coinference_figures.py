"""Figures of ``bench coinference``, from what happened to every block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.tuning import episodes
from re_pose_ros.tuning.traces import Traces

FIGURES = ("reward", "regret_pct", "deadline_hit", "accuracy", "bytes", "switches")

Rolled = Sequence[episodes.Rolled]
"""Of one policy, one per training."""


def over_trainings(rolled: Rolled) -> dict[str, Any]:
    """Means over trainings; ``std`` over them and ``by_seed`` where there are several."""
    each = [episodes.figures(one) for one in rolled]
    means: dict[str, Any] = {name: _mean([of[name] for of in each]) for name in FIGURES}
    means["latency_ms"] = {q: _mean([of["latency_ms"][q] for of in each]) for q in ("p50", "p95")}
    means["std"] = {name: _std([of[name] for of in each]) for name in FIGURES}
    means["by_seed"] = each if len(each) > 1 else []
    return means


def versus(rolled: Mapping[str, Rolled], own: str = "sac_d") -> dict[str, Any]:
    """Reward of ``own`` less that of others, per seed, and the share of traces where it is higher.

    The standard error over traces is that of the mean over seeds.
    """
    found = {}
    for name, others in rolled.items():
        if name == own or not others or not rolled[own]:
            continue
        theirs = np.mean([other.reward.mean(axis=0) for other in others], axis=0)
        gains = [one.reward.mean(axis=0) - theirs for one in rolled[own]]
        found[name] = {
            "reward": _mean([float(gain.mean()) for gain in gains]),
            "std": _std([float(gain.mean()) for gain in gains]),
            "standard_error_over_traces": _rounded(
                np.mean(gains, axis=0).std() / np.sqrt(len(gains[0]))
            ),
            "better_seeds": sum(bool(gain.mean() > 0) for gain in gains),
            "better_traces": _rounded(np.mean([(gain > 0).mean() for gain in gains])),
        }
    return found


def by_condition(rolled: Mapping[str, Rolled], traces: Traces) -> dict[str, dict[str, Any]]:
    """Regret and deadlines met in the thirds of the traces by what makes choosing hard."""
    bandwidth = np.log2(traces.bandwidth_mbit_s)
    measures = {
        "error_of_measured_bandwidth": np.log(traces.noise).std(axis=0),
        "change_of_bandwidth_per_block": np.abs(np.diff(bandwidth, axis=0)).mean(axis=0),
        "change_of_robot_load": np.abs(np.diff(np.log2(traces.robot_load), axis=0)).mean(axis=0),
    }
    return {
        what: {
            label: {name: part(of, columns) for name, of in rolled.items() if of}
            for label, columns in zip(
                ("least", "middle", "most"), np.array_split(values.argsort(), 3), strict=True
            )
            if len(columns)
        }
        for what, values in measures.items()
    }


def part(rolled: Rolled, columns: NDArray[np.intp]) -> dict[str, float | None]:
    """Regret and deadlines met on some of the traces, means over trainings."""
    best = [float(one.best[:, columns].mean()) for one in rolled]
    got = [float(one.reward[:, columns].mean()) for one in rolled]
    lost = [100 * (b - g) / max(abs(b), 1e-9) for b, g in zip(best, got, strict=True)]
    hit = [float(one.in_time[:, columns].mean()) for one in rolled]
    return {"regret_pct": _mean(lost), "deadline_hit": _mean(hit)}


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(np.mean(known)) if len(known) == len(values) else None


def _std(values: Sequence[float]) -> float | None:
    return _rounded(np.std(values, ddof=1)) if len(values) > 1 else None
