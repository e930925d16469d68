"""How settings' latencies differ from what is predicted of them, from what came of them.

All is told in shares of the deadline, as a policy sees latencies. A tuner may take a margin off the
deadline that it shows the policy; then a factor says how much of this is too much.

Of a block only what its own setting brought is known (a bandit's feedback). So what is known of a
setting is its own measured latencies over the predicted ones; where these are few, it is taken to
be like others of its kind (on the robot alone, pictures, features), and where there are none at
all, as the table has it. Accuracy is not measured: it stays that of the table. The method is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.records import Records
from re_pose_ros.tuning.reward import RewardTerms, accuracy, reward
from re_pose_ros.tuning.state import COLUMNS

Floats = NDArray[np.float64]

PRIOR = 20.0
"""So many transitions is what was known before worth."""

MOST = np.log(8.0)
"""No single latency tells more than a factor of eight."""

_DEADLINE = COLUMNS["deadline_ms"]

QUANTILES = np.linspace(0.05, 0.95, 10)
"""Of what latencies are beside their setting's factor."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Measured latencies over the deadline, over what a policy sees of them.

    Attributes:
        factors: (A,) of each setting; where no margin is taken off the deadline, these are measured
            latencies over predicted ones.
        tried: (A,) transitions with it.
        scatter: (2, Q) equally probable factors beside these, of what stays on the robot and of
            what is sent.
        lost: share of what was sent that was not answered.
    """

    factors: Floats
    tried: NDArray[np.intp]
    scatter: Floats
    lost: float

    @classmethod
    def of(cls, records: Records) -> Calibration:
        """From transitions; nothing is changed where there are none."""
        table, count = records.table, len(records.table.actions)
        predicted = latency_ms(table, records.rows)[np.arange(len(records)), records.actions]
        predicted *= records.deadline_ms / records.rows[:, _DEADLINE]
        answered = np.isfinite(records.latency_ms) & np.isfinite(predicted) & (predicted > 0)
        actions = records.actions[answered]
        ratio = records.latency_ms[answered] / np.where(answered, predicted, 1.0)[answered]
        logs = np.clip(np.log(np.maximum(ratio, 1e-9)), -MOST, MOST)
        sums, tried = np.bincount(actions, logs, count), np.bincount(actions, minlength=count)
        kinds = kinds_of(table)
        shared = np.bincount(kinds, sums, 3) / (np.bincount(kinds, tried, 3) + PRIOR)
        found = (sums + PRIOR * shared[kinds]) / (tried + PRIOR)
        rest = logs - found[actions]
        scatter = np.zeros((2, len(QUANTILES)))
        for kind in (0, 1):
            own = rest[table.sends[actions] == kind]
            if len(own) >= PRIOR:
                scatter[kind] = np.quantile(own, QUANTILES)
        sent = table.sends[records.actions]
        silent = (sent & ~np.isfinite(records.latency_ms)).sum()
        return cls(np.exp(found), tried, np.exp(scatter), float(silent / (sent.sum() + PRIOR)))

    def tried_alike(self, table: ActionTable) -> NDArray[np.intp]:
        """(A,) transitions with each setting or others of its kind."""
        kinds = kinds_of(table)
        return np.asarray(np.bincount(kinds, self.tried, 3)[kinds], np.intp)

    def applied(self, table: ActionTable) -> ActionTable:
        """The table with the costs that the factors come to: of robot, link and worker alike."""
        actions = (
            replace(
                action,
                device_ms=tuple(factor * ms for ms in action.device_ms),
                edge_ms=tuple(factor * ms for ms in action.edge_ms),
                bytes=tuple(factor * size for size in action.bytes),
            )
            for action, factor in zip(table.actions, self.factors.tolist(), strict=True)
        )
        return replace(table, actions=tuple(actions))

    def rewards(self, records: Records, terms: RewardTerms) -> Floats:
        """(R, A) what each setting would be expected to bring; for what was done, too."""
        table = records.table
        ratio = self.factors * latency_ms(table, records.rows) / records.rows[:, _DEADLINE, None]
        sees = accuracy(table, records.rows)
        changed = np.arange(len(table.actions)) != records.last[:, None]
        found = np.zeros_like(ratio)
        for k in range(len(QUANTILES)):
            found += reward(
                sees, ratio * self.scatter[:, k][table.sends.astype(int)], changed, terms
            )
        lost = reward(sees, np.full_like(ratio, np.inf), changed, terms)
        share = np.where(table.sends, self.lost, 0.0)
        return np.asarray((1 - share) * found / len(QUANTILES) + share * lost)


def kinds_of(table: ActionTable) -> NDArray[np.intp]:
    """(A,) 0 for what stays on the robot, 1 for pictures, 2 for features."""
    return np.where(table.sends, 1 + table.sends_features, 0)
