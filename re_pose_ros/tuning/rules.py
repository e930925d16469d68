"""Ways to choose an action without learning, which learned policies are compared with.

Each takes what is measured at N workers (N, F), their last actions (N,) and which actions may be
taken (N, A), and gives one action for each (N,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.reward import RewardTerms, rewards
from re_pose_ros.tuning.simulation import Sensing, Simulation
from re_pose_ros.tuning.state import Actions, Bools, Rows
from re_pose_ros.tuning.traces import Traces


class Chooser(Protocol):
    """Anything that chooses actions."""

    @property
    def sees_truth(self) -> bool:
        """Whether it is given the true states instead of what is measured: a reference only."""

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        """One action that the masks allow for each worker; (N, F), (N,), (N, A) -> (N,)."""


@dataclass(frozen=True, slots=True)
class Greedy:
    """The action with the best reward if what is measured is true and stays so.

    Attributes:
        table: the actions.
        terms: of the reward.
        caution: what predicted latencies are multiplied with, 1 for none.
        sees_truth: as ``oracle``: enumerates all actions on the true state.
    """

    table: ActionTable
    terms: RewardTerms = field(default_factory=RewardTerms)
    caution: float = 1.0
    sees_truth: bool = False

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        latency = self.caution * latency_ms(self.table, measured)
        found = rewards(self.table, measured, last, self.terms, latency)
        found = np.where(masks, found, -np.inf)
        return np.asarray(found.argmax(axis=-1))


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always one action; where that cannot be done, another one that always can.

    Attributes:
        action: by number.
        fallback: by number; runs on the robot alone.
    """

    action: int
    fallback: int
    sees_truth: bool = False

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        return np.where(masks[..., self.action], self.action, self.fallback).astype(np.intp)


class Within:
    """A chooser that knows only a part of the actions, as one among all of them."""

    def __init__(self, chooser: Chooser, part: ActionTable, table: ActionTable) -> None:
        """``chooser`` chooses from ``part``; InputError where ``table`` has not all of it."""
        self._chooser = chooser
        self._numbers = np.array([table.index(setting) for setting in part.settings])
        self._places = np.full(len(table.actions), -1)
        self._places[self._numbers] = np.arange(len(part.actions))

    @property
    def sees_truth(self) -> bool:
        """As the chooser."""
        return self._chooser.sees_truth

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        """As the chooser; a last action that it does not have is none to it."""
        places = self._places[last]
        return self._numbers[self._chooser.choose(measured, places, masks[..., self._numbers])]


def oracle(table: ActionTable, terms: RewardTerms | None = None) -> Greedy:
    """The best action of every true state, by enumeration.

    It does not look ahead: what an action does to the next block is not in it, so a policy that
    does may do better over time.
    """
    return Greedy(table, terms or RewardTerms(), sees_truth=True)


def best_fixed(
    table: ActionTable,
    traces: Traces,
    candidates: Sequence[Setting] | None = None,
    terms: RewardTerms | None = None,
    sensing: Sensing | None = None,
) -> Fixed:
    """The one action of the candidates, all by default, with the best mean reward on the traces.

    Raises InputError where there is no candidate.
    """
    numbers = [table.index(s) for s in (table.settings if candidates is None else candidates)]
    if not numbers:
        raise InputError("there is no setting to choose a fixed one from")
    rules = [Fixed(number, table.fallback) for number in numbers]
    simulation = Simulation(table, traces, terms, sensing)
    return max(rules, key=lambda rule: _mean_reward(simulation, rule))


def device_only(
    table: ActionTable,
    traces: Traces,
    terms: RewardTerms | None = None,
    sensing: Sensing | None = None,
) -> Fixed:
    """The robot alone, with the exit that is best on the traces."""
    candidates = [setting for setting in table.settings if not setting.sends]
    return best_fixed(table, traces, candidates, terms, sensing)


def edge_only(
    table: ActionTable,
    traces: Traces,
    terms: RewardTerms | None = None,
    sensing: Sensing | None = None,
) -> Fixed:
    """All on the worker, with the picture's quality that is best on the traces."""
    candidates = [setting for setting in table.settings if setting.cut == 0]
    return best_fixed(table, traces, candidates, terms, sensing)


def _mean_reward(simulation: Simulation, rule: Chooser) -> float:
    simulation.restart()
    total = 0.0
    while not simulation.over:
        actions = rule.choose(simulation.measured, simulation.last, simulation.masks())
        total += float(simulation.step(actions).reward.mean())
    return total
