"""Which actions of a table are worth having: a policy learns faster among few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.rules import oracle
from re_pose_ros.tuning.simulation import Sensing, Simulation
from re_pose_ros.tuning.traces import Traces


def useful(
    table: ActionTable,
    traces: Traces,
    loss: float = 0.001,
    terms: RewardTerms | None = None,
    sensing: Sensing | None = None,
) -> ActionTable:
    """A part of the table whose best actions are nearly as good as the best of all.

    One action after the other is taken, each time the one that adds most to the mean over states of
    the best reward (greedy for a submodular function: Nemhauser, Wolsey and Fisher, Mathematical
    Programming 1978), beginning with the fastest of the robot alone.

    Args:
        table: all actions.
        traces: whose states count, those that the oracle comes into.
        loss: what may be lost of the mean best reward, as a share of it; at least 0.
        terms: of the reward.
        sensing: of the simulation.

    Raises InputError for a negative loss.
    """
    if not loss >= 0:
        raise InputError(f"a loss of {loss} is not possible; use 0 or more")
    found = _rewards(table, traces, terms, sensing)
    best = float(found.max(axis=1).mean())
    kept = [table.fallback]
    reached = found[:, kept[0]]
    while best - float(reached.mean()) > loss * abs(best) + 1e-12:
        gains = np.maximum(found, reached[:, None]).mean(axis=0)
        kept.append(int(gains.argmax()))
        reached = np.maximum(reached, found[:, kept[-1]])
    settings = {table.settings[number] for number in kept}
    return table.only(lambda setting: setting in settings)


def _rewards(
    table: ActionTable, traces: Traces, terms: RewardTerms | None, sensing: Sensing | None
) -> NDArray[np.float64]:
    """(states, A) what each action would bring."""
    simulation, rule = Simulation(table, traces, terms, sensing), oracle(table, terms)
    rows = []
    while not simulation.over:
        rows.append(simulation.true_rewards())
        masks = simulation.true_masks()
        simulation.step(rule.choose(simulation.true, simulation.last, masks))
    return np.concatenate(rows)
