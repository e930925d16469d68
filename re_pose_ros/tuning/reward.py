"""What a tuner is rewarded for.

With x = latency / deadline and a the accuracy of the action on the block's objects,

    reward = a - w_latency x - w_switch [changed]                          in time, x <= 1
    reward = -w_latency - w_late - w_later min(x - 1, 1) - w_switch [changed]       late

A late block counts as one in which nothing was found, and ``w_late`` on top. The small term for
latency within the deadline decides between actions that see about equally well; ``w_later`` leads
back to where a deadline can be met; ``w_switch`` keeps settings from flickering. Form and weights
are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.latency import timing
from re_pose_ros.tuning.state import COLUMNS, SHARES, Actions, Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """Weights, each at least 0; InputError for others.

    Attributes:
        latency: of the deadline's share that is used up.
        late: of missing the deadline.
        later: of missing it by as much again.
        switch: of another setting than before.
    """

    latency: float = 0.05
    late: float = 2.0
    later: float = 0.2
    switch: float = 0.005

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0 <= value < np.inf:
                raise InputError(f"reward term {entry.name} = {value} is not a number from 0 on")


def accuracy(table: ActionTable, rows: Rows) -> Floats:
    """(..., A) accuracy of each action on objects with the rows' shares of sizes.

    Mean by the shares, as Remix (MobiCom 2021) takes a plan's value; average precision is not
    linear in them, so that it is an approximation.
    """
    return np.asarray(rows[..., SHARES:] @ table.accuracy_by_size.T)


def reward(
    accuracies: Floats, ratio: Floats, changed: NDArray[np.bool_], terms: RewardTerms
) -> Floats:
    """The reward of blocks, all arrays of one shape.

    Args:
        accuracies: in [0, 1].
        ratio: latency over deadline, at least 0, may be infinite.
        changed: whether the setting is another than before.
        terms: the weights.
    """
    in_time = accuracies - terms.latency * ratio
    late = -(terms.latency + terms.late) - terms.later * np.minimum(ratio - 1.0, 1.0)
    return np.where(ratio <= 1.0, in_time, late) - terms.switch * changed


def rewards(
    table: ActionTable,
    rows: Rows,
    last: Actions,
    terms: RewardTerms,
    latency: Floats | None = None,
) -> Floats:
    """(..., A) what each action would bring if ``rows`` were true.

    Args:
        table: the actions.
        rows: (..., F) states.
        last: (...) the actions before.
        terms: the weights.
        latency: (..., A) where it is known already.
    """
    if latency is None:
        latency = timing(table, rows).latency
    ratio = latency / rows[..., COLUMNS["deadline_ms"], None]
    changed = np.arange(len(table.actions)) != np.asarray(last)[..., None]
    return reward(accuracy(table, rows), ratio, changed, terms)
