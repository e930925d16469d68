"""Robots, links and workers that are simulated block by block, many at a time, on numpy.

A step is one block: an action is chosen from what is measured, the true state decides what comes of
it. What the tuner measures lags behind:

- loads, round-trip time and others' blocks at the worker are those of the block before;
- bandwidth is estimated from transfers of ``Sensing.lag`` blocks ago, with errors; where nothing
  was sent there are only probes every ``Sensing.probe_s``;
- that a link is cut is noticed after ``Sensing.notice_s``, or when a block gets lost; that it is
  there again after the same time, and when a probe is answered.

Actions have consequences: what takes longer than the period makes the next block wait, who sends
nothing learns little of the bandwidth, and switching costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable, Costs
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.latency import Timing, busy_after, timing
from re_pose_ros.tuning.observation import Observations, observe
from re_pose_ros.tuning.reward import RewardTerms, accuracy, reward, rewards
from re_pose_ros.tuning.state import (
    COLUMNS,
    SHARES,
    Actions,
    BandwidthEstimate,
    Bools,
    Rows,
    width,
)
from re_pose_ros.tuning.traces import Traces

Floats = NDArray[np.float64]

MEASURED, TRUE = 0, 1

_BUSY = slice(COLUMNS["robot_busy_ms"], COLUMNS["edge_busy_ms"] + 1)
_BANDWIDTH = COLUMNS["bandwidth_mbit_s"]


@dataclass(frozen=True, slots=True)
class Sensing:
    """How the tuner's knowledge lags behind; InputError for values that make no sense.

    Attributes:
        lag: blocks until a transfer's bandwidth is known, at least 1.
        probe_s: time between probes of the bandwidth where nothing is sent, above 0.
        notice_s: time until a cut link is noticed, or that it is back, above 0.
    """

    lag: int = 1
    probe_s: float = 0.5
    notice_s: float = 0.5

    def __post_init__(self) -> None:
        if self.lag < 1:
            raise InputError(f"a lag of {self.lag} blocks is not possible; use 1 or more")
        for name in ("probe_s", "notice_s"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name} = {getattr(self, name)} is not a time above 0")


class Outcome(NamedTuple):
    """What came of one block in each of N simulations; each (N,).

    Attributes:
        reward: see ``reward``.
        latency_ms: infinite for a block that got lost.
        in_time: whether the deadline was met.
        accuracy: of the action; 0 for a late block.
        bytes: sent; 0 for a block that got lost.
        changed: whether the setting was another than before.
    """

    reward: Floats
    latency_ms: Floats
    in_time: Bools
    accuracy: Floats
    bytes: Floats
    changed: Bools


class Simulation:
    """N simulations in step, from the first block of their traces to the last but one."""

    def __init__(
        self,
        table: ActionTable,
        traces: Traces,
        terms: RewardTerms | None = None,
        sensing: Sensing | None = None,
        actual: ActionTable | None = None,
    ) -> None:
        """Begin at the first block.

        Args:
            table: the actions, with the costs that the tuner knows.
            traces: what happens.
            terms: of the reward.
            sensing: how the tuner's knowledge lags behind.
            actual: the same actions with the costs that they have, where these are others.
                Nothing that is measured tells of the difference but what comes of blocks.

        Raises InputError where ``actual`` has other settings.
        """
        if actual is not None and actual.settings != table.settings:
            raise InputError("the actual costs are those of other settings than the table's")
        self._actual = None if actual is table else actual
        self.table, self.traces = table, traces
        self.terms, self.sensing = terms or RewardTerms(), sensing or Sensing()
        self._all = np.stack([_as_measured(table, traces, self.sensing), _rows(table, traces)])
        self._measured_mbit_s = traces.bandwidth_mbit_s * traces.noise
        every = np.maximum(np.round(1e3 * self.sensing.probe_s / traces.period_ms), 1)
        self._heard = (np.arange(traces.steps)[:, None] % every == 0) & traces.connected
        self._numbers = np.arange(traces.count)
        self._period_s = traces.period_ms / 1e3
        self.restart()

    def restart(self) -> None:
        """Back to the first block; the action before it is the table's fallback."""
        self.last: Actions = np.full(self.traces.count, self.table.fallback, np.intp)
        self.step_number = 0
        self._estimate = BandwidthEstimate(self._measured_mbit_s[0])
        self._sampled = self._heard.copy()
        self._lost = np.zeros_like(self._heard)
        self._silent = np.zeros(self.traces.count, bool)
        self._arrive((0.0, 0.0, 0.0))

    @property
    def over(self) -> bool:
        """Whether the last block has been reached, on which nothing is done any more."""
        return self.step_number == self.traces.steps - 1

    @property
    def measured(self) -> Rows:
        """(N, F) what the tuner knows."""
        return self._states[MEASURED]

    @property
    def true(self) -> Rows:
        """(N, F) the states that decide."""
        return self._states[TRUE]

    def masks(self) -> Bools:
        """(N, A) actions that may be taken, as far as the tuner knows."""
        return np.isfinite(self._timing.latency[MEASURED])

    def observations(self) -> Observations:
        """(N, D) what a learned policy sees."""
        return observe(self.table, self.measured, self.last, latency=self._timing.latency[MEASURED])

    def true_masks(self) -> Bools:
        """(N, A) actions that can be done."""
        return np.isfinite(self._timing.latency[TRUE])

    def true_rewards(self) -> Floats:
        """(N, A) what each action would bring now."""
        return rewards(self.table, self.true, self.last, self.terms, self._timing.latency[TRUE])

    def step(self, actions: Actions) -> Outcome:
        """Take one action (N,) in each simulation and go on to the next block."""
        here = (TRUE, self._numbers, actions)
        chosen = Timing(*(part[here] for part in self._timing))
        true, sends = self.true, self.table.sends[actions]
        deadline = true[:, COLUMNS["deadline_ms"]]
        connected = self.traces.connected[self.step_number]
        ratio = chosen.latency / deadline
        changed = actions != self.last
        sees = accuracy(self.table, true)[self._numbers, actions]
        gained = reward(sees, ratio, changed, self.terms)
        in_time = ratio <= 1.0
        sends = sends & np.isfinite(chosen.latency)
        travels = sends & (chosen.robot < deadline)
        bits = np.where(travels, self._bits[self._numbers, actions], 0.0)
        busy = busy_after(true, chosen, sends)
        self._sampled[self.step_number] |= travels
        self._lost[self.step_number] = self.table.sends[actions] & ~connected
        self.last = np.asarray(actions, np.intp)
        self.step_number += 1
        self._arrive(busy)
        return Outcome(
            gained, chosen.latency, in_time, np.where(in_time, sees, 0.0), bits / 8, changed
        )

    def _arrive(self, busy: tuple[Floats | float, Floats | float, Floats | float]) -> None:
        """The next block is there: the states, with what was measured since, and the timing."""
        step = self.step_number
        before = step - self.sensing.lag
        if before >= 0:
            self._estimate.update(
                self._measured_mbit_s[before], self._sampled[before], self._period_s
            )
            self._silent = (self._silent | self._lost[before]) & ~self._heard[before]
        states = self._states = self._all[:, step]
        for column, times in enumerate(busy, _BUSY.start):
            states[..., column] = times
        measured = states[MEASURED]
        measured[:, _BANDWIDTH] = self._estimate.bandwidth_mbit_s
        measured[:, COLUMNS["trend"]] = self._estimate.trend
        measured[:, COLUMNS["spread"]] = self._estimate.spread
        measured[:, COLUMNS["age_s"]] = self._estimate.age_s
        measured[self._silent, COLUMNS["connected"]] = 0.0
        costs = self.table.costs(self.traces.input_size[step])
        self._bits = costs.bits
        if self._actual is not None:
            true = self._actual.costs(self.traces.input_size[step])
            self._bits = true.bits
            costs = Costs(*(np.stack(both) for both in zip(costs, true, strict=True)))
        self._timing = timing(self.table, states, costs)


def _rows(table: ActionTable, traces: Traces) -> Rows:
    """(T, N, F) true states, but for what actions leave behind."""
    rows = np.zeros((traces.steps, traces.count, width(table)))
    for name in ("bandwidth_mbit_s", "rtt_ms", "robot_load", "edge_load", "input_size"):
        rows[..., COLUMNS[name]] = getattr(traces, name)
    for name in ("edge_wait_ms", "deadline_ms", "period_ms", "connected", "features"):
        rows[..., COLUMNS[name]] = getattr(traces, name)
    rows[..., SHARES:] = traces.shares
    return rows


def _as_measured(table: ActionTable, traces: Traces, sensing: Sensing) -> Rows:
    """The same as the tuner knows it, but for the bandwidth."""
    rows = _rows(table, traces)
    for name in ("rtt_ms", "robot_load", "edge_load", "edge_wait_ms"):
        rows[1:, :, COLUMNS[name]] = rows[:-1, :, COLUMNS[name]]
    late = np.maximum(np.ceil(1e3 * sensing.notice_s / traces.period_ms), 1).astype(int)
    before = np.maximum(np.arange(traces.steps)[:, None] - late, 0)
    rows[..., COLUMNS["connected"]] = np.take_along_axis(traces.connected, before, axis=0)
    return rows
