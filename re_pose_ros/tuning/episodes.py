"""Figures of a chooser over held-out traces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.tuning.observation import Observations, observe
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.rules import Chooser
from re_pose_ros.tuning.simulation import Sensing, Simulation
from re_pose_ros.tuning.state import Actions, Bools, Rows
from re_pose_ros.tuning.traces import Traces

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """What happened to every block; arrays (T - 1, N), block by trace.

    Attributes:
        actions: what was chosen, by number.
        reward: what it brought.
        best: what the best action would have brought in the same state.
        latency_ms: infinite for blocks that got lost.
        in_time: whether the deadline was met.
        accuracy: 0 for late blocks.
        bytes: sent.
        changed: whether the setting was another than before.
    """

    actions: NDArray[np.intp]
    reward: Floats
    best: Floats
    latency_ms: Floats
    in_time: NDArray[np.bool_]
    accuracy: Floats
    bytes: Floats
    changed: NDArray[np.bool_]


def roll(
    chooser: Chooser,
    table: ActionTable,
    traces: Traces,
    terms: RewardTerms | None = None,
    sensing: Sensing | None = None,
    actual: ActionTable | None = None,
) -> Rolled:
    """Let ``chooser`` act on all blocks of the traces but the last; see ``Simulation``."""
    simulation = Simulation(table, traces, terms, sensing, actual)
    rows: list[tuple[Any, ...]] = []
    while not simulation.over:
        known = simulation.true if chooser.sees_truth else simulation.measured
        masks = simulation.true_masks() if chooser.sees_truth else simulation.masks()
        actions = chooser.choose(known, simulation.last, masks)
        best = simulation.true_rewards().max(axis=1)
        came = simulation.step(actions)
        rows.append((actions, came.reward, best, *came[1:]))
    return Rolled(*(np.stack(column) for column in zip(*rows, strict=True)))


def figures(rolled: Rolled) -> dict[str, Any]:
    """Means over all blocks, as reports name them.

    Returns:
        ``reward``; ``regret_pct``: by how much the rewards stay below those of the best action in
        each of the states that the chooser came into, in percent of these; ``deadline_hit``;
        ``accuracy``, 0 for late blocks; ``latency_ms`` with ``p50`` and ``p95``, where the latter
        are None if the blocks there got lost; ``bytes`` per block; ``switches`` per 100 blocks.
    """
    best = float(rolled.best.mean())
    regret = best - float(rolled.reward.mean())
    return {
        "reward": round(float(rolled.reward.mean()), 6),
        "regret_pct": round(100 * regret / max(abs(best), 1e-9), 4),
        "deadline_hit": round(float(rolled.in_time.mean()), 6),
        "accuracy": round(float(rolled.accuracy.mean()), 6),
        "latency_ms": {f"p{q}": _quantile(rolled.latency_ms, q / 100) for q in (50, 95)},
        "bytes": round(float(rolled.bytes.mean()), 1),
        "switches": round(100 * float(rolled.changed.mean()), 3),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Anything that chooses by observations, as models of stable-baselines3 do.

    Attributes:
        table: the actions.
        act: observations (N, D) and masks (N, A) to actions (N,).
    """

    table: ActionTable
    act: Callable[[Observations, Bools], Actions]
    sees_truth: bool = False

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        return self.act(observe(self.table, measured, last, masks), masks)


def _quantile(values: Floats, share: float) -> float | None:
    found = float(np.quantile(values, share, method="inverted_cdf"))
    return round(found, 3) if np.isfinite(found) else None
