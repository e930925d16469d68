"""Transitions as arrays: what was seen, done and brought, for learning and judging."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.tuning.reward import RewardTerms, accuracy, reward
from re_pose_ros.tuning.state import Actions, Bools, Rows, width
from re_pose_ros.tuning.transitions import Transition

Floats = NDArray[np.float64]

RUN = 25
"""Neighbouring transitions of a worker that are taken as one in what is said of chance: conditions
change little from one to the next, so that they are no independent samples."""

HELD_OUT = 3
"""Every so many runs one is not learned from."""


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """R transitions, oldest first by worker.

    Attributes:
        table: the settings that numbers mean.
        rows: (R, F) states as measured.
        last: (R,) the settings before; -1 for one that the table does not have.
        actions: (R,) the settings that they went by.
        latency_ms: (R,) infinite where an answer did not come in time.
        deadline_ms: (R,) that latencies are judged by.
        allowed: (R, A) what could be chosen.
        run: (R,) which run of neighbours each belongs to.
    """

    table: ActionTable
    rows: Rows
    last: Actions
    actions: Actions
    latency_ms: Floats
    deadline_ms: Floats
    allowed: Bools
    run: NDArray[np.intp]

    @classmethod
    def of(cls, transitions: Iterable[Transition], table: ActionTable) -> Records:
        """Transitions by the settings of ``table``."""
        found = sorted(transitions, key=lambda entry: (entry.worker, entry.stamp_ns))
        count, actions = len(found), len(table.actions)
        runs = np.zeros(count, np.intp)
        place = run = 0
        for k, entry in enumerate(found):
            new = k > 0 and entry.worker != found[k - 1].worker
            place = 0 if new else place
            run += bool(k and place % RUN == 0)
            place += 1
            runs[k] = run
        return cls(
            table,
            np.array([entry.state for entry in found]).reshape(count, width(table)),
            np.array([entry.last for entry in found], np.intp),
            np.array([entry.action for entry in found], np.intp),
            np.array([entry.latency_ms for entry in found], np.float64),
            np.array([entry.deadline_ms for entry in found], np.float64),
            np.array([entry.allowed for entry in found], np.bool_).reshape(count, actions),
            runs,
        )

    def __len__(self) -> int:
        """R."""
        return len(self.actions)

    def select(self, which: Bools) -> Records:
        """Those of ``which`` (R,)."""
        return Records(
            self.table,
            self.rows[which],
            self.last[which],
            self.actions[which],
            self.latency_ms[which],
            self.deadline_ms[which],
            self.allowed[which],
            self.run[which],
        )

    def only(self, part: ActionTable) -> Records:
        """Those that went by settings of a part of the table, with that part's numbers.

        Transitions with nothing of the part to choose from are left out, too.
        """
        numbers = np.array([self.table.index(setting) for setting in part.settings])
        places = np.full(len(self.table.actions) + 1, -1)  # one more for a last of -1
        places[numbers] = np.arange(len(numbers))
        allowed = self.allowed[:, numbers]
        kept = (places[self.actions] >= 0) & allowed.any(axis=1)
        return Records(
            part,
            self.rows[kept],
            places[self.last[kept]],
            places[self.actions[kept]],
            self.latency_ms[kept],
            self.deadline_ms[kept],
            allowed[kept],
            self.run[kept],
        )

    def held_out(self) -> Bools:
        """(R,) which are not learned from: whole runs."""
        return np.asarray(self.run % HELD_OUT == HELD_OUT - 1)

    def rewards(self, terms: RewardTerms) -> Floats:
        """(R,) what was reached, by measured latency; the accuracy is the table's."""
        sees = accuracy(self.table, self.rows)[np.arange(len(self)), self.actions]
        ratio = self.latency_ms / self.deadline_ms
        return reward(sees, ratio, self.actions != self.last, terms)
