"""How a tuner comes to a setting: what it may use, who chooses, and when that counts."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.detection.model import find_weights
from re_pose_ros.errors import InputError
from re_pose_ros.parameters.table import Values
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.policy import Policy
from re_pose_ros.tuning.reward import RewardTerms, rewards
from re_pose_ros.tuning.rules import Chooser, Fixed, Greedy, Within
from re_pose_ros.tuning.state import Bools, Measured, possible

SHIPPED_POLICY = Path(__file__).resolve().parents[1] / "weights" / "tuner.npz"
ANY_CUT = -2
"""In the parameter ``cuts``: all of them."""

NONE = -1
"""Stands for a setting that is not in the table."""


def table_path(weights: Path) -> Path:
    """Where the table of a network's weights is looked for: ``<stem>.coinference.json``."""
    return weights.with_name(f"{weights.stem}.coinference.json")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which settings may be used; empty collections allow all.

    Attributes:
        exits: where the network may end.
        cuts: as of ``Setting``.
        bits: of features.
        qualities: of pictures.
        least_accuracy: over all objects, as the table has it, in [0, 1].
    """

    exits: Collection[str] = ()
    cuts: Collection[int] = ()
    bits: Collection[int] = ()
    qualities: Collection[int] = ()
    least_accuracy: float = 0.0

    def allowed(self, table: ActionTable) -> Bools:
        """(A,) of each action; InputError where none is left."""
        inside = np.array([self._inside(setting) for setting in table.settings])
        if not inside.any():
            raise InputError(
                f"the bounds leave no setting of {table.model}'s table; widen exits, cuts, bits or "
                "qualities"
            )
        accuracy = np.array([action.accuracy for action in table.actions])
        if accuracy[inside].max() < self.least_accuracy:
            raise InputError(
                f"no setting within the bounds has an accuracy of {self.least_accuracy:g}; the "
                f"best has {accuracy[inside].max():.3f}"
            )
        return np.asarray(inside & (accuracy >= self.least_accuracy), np.bool_)

    def _inside(self, setting: Setting) -> bool:
        return (
            (not self.exits or setting.exit in self.exits)
            and (not self.cuts or setting.cut in self.cuts)
            and (not self.bits or not setting.sends_features or setting.bits in self.bits)
            and (not self.qualities or setting.cut != 0 or setting.quality in self.qualities)
        )


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """When another setting counts, where that in force can be done and meets the deadline.

    Attributes:
        least_time_s: between two switches.
        least_gain: settings whose predicted rewards are closer than this are not exchanged.
    """

    least_time_s: float = 0.5
    least_gain: float = 0.005


def make_chooser(policy: str, table: ActionTable, fixed: str = "") -> Chooser:
    """Who chooses.

    Args:
        policy: ``sac_d`` for the shipped policy, ``greedy``, ``fixed``, or a policy's file.
        table: the actions.
        fixed: the setting of ``fixed``, as text.

    Raises InputError where a file is missing or for other settings, or there is no such setting.
    """
    if policy == "greedy":
        return Greedy(table)
    if policy == "fixed":
        if not fixed:
            raise InputError(f"policy 'fixed' needs fixed_setting, as {table.settings[-1]}")
        return Fixed(table.index(Setting.parse(fixed)), table.fallback)
    path = policy_path(policy)
    assert path is not None
    if policy != "sac_d" and not path.suffix and not path.exists():
        raise InputError(f"policy '{policy}': allowed is sac_d, greedy, fixed or a policy's file")
    part = _part(path, table)
    chosen = Policy.load(path, part)
    return chosen if part is table else Within(chosen, part, table)


def policy_path(policy: str) -> Path | None:
    """File of a learned policy, given as to ``make_chooser``; None for what is not learned."""
    if policy in ("greedy", "fixed"):
        return None
    return SHIPPED_POLICY if policy == "sac_d" else Path(policy).expanduser()


def _part(path: Path, table: ActionTable) -> ActionTable:
    """The settings of a policy that was trained with a part of the table; else the table."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays["settings"].tolist()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return table  # what is wrong is said where it is loaded
    known = list(map(str, table.settings))
    if names == known or not isinstance(names, list) or not set(names) < set(known):
        return table
    wanted = set(names)
    try:
        return table.only(lambda setting: str(setting) in wanted)
    except InputError:
        return table


def other_device_exits(table: ActionTable, number: int) -> set[int]:
    """What is ruled out for other workers by a setting: the robot's network ends at one exit."""
    chosen = table.settings[number]
    return {
        k
        for k, setting in enumerate(table.settings)
        if not (chosen.sends or setting.sends) and setting.exit != chosen.exit
    }


def pictures_ending_at(table: ActionTable, exit: str) -> set[int]:
    """The settings for which a worker's own network would have to end at an exit."""
    return {k for k, s in enumerate(table.settings) if s.cut == 0 and s.exit == exit}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be set for one worker.

    Attributes:
        number: of the setting in the table.
        changed: whether it is another than in force.
        latency_ms: predicted; infinite where it cannot be done.
        robot_ms: of that on the robot, after what it was busy with.
        reward: predicted.
        allowed: (A,) what could be chosen.
    """

    number: int
    changed: bool
    latency_ms: float
    robot_ms: float
    reward: float
    allowed: Bools = field(compare=False, repr=False)


@dataclass
class Decider:
    """Chooses within bounds and with hysteresis.

    Attributes:
        table: the actions.
        chooser: proposes them.
        bounds: which may be used.
        hysteresis: when another one counts.
        terms: of the reward that gains are reckoned with.

    Raises InputError where the bounds leave nothing.
    """

    table: ActionTable
    chooser: Chooser
    bounds: Bounds = field(default_factory=Bounds)
    hysteresis: Hysteresis = field(default_factory=Hysteresis)
    terms: RewardTerms = field(default_factory=RewardTerms)

    def __post_init__(self) -> None:
        self._allowed = self.bounds.allowed(self.table)
        self._greedy = Greedy(self.table, self.terms)

    def decide(
        self,
        measured: Measured,
        last: int,
        since_switch_s: float,
        banned: Collection[int] = (),
    ) -> Decision | None:
        """The setting for a worker; None where none within the bounds can be done.

        Args:
            measured: what is known of it.
            last: its setting in force, by number; ``NONE`` for one that is not in the table.
            since_switch_s: how long it has been in force.
            banned: settings that may not be used this time, by number.
        """
        row = measured.row()[None]
        mask = possible(self.table, row) & self._allowed
        mask[0, list(banned)] = False
        if not mask.any():
            return None
        latency = latency_ms(self.table, row)
        before = np.array([last], np.intp)
        wanted = int(self.chooser.choose(row, before, mask)[0])
        if not mask[0, wanted]:
            wanted = int(self._greedy.choose(row, before, mask)[0])
        gains = rewards(self.table, row, np.array([NONE]), self.terms, latency)[0]
        fits = last != NONE and mask[0, last] and latency[0, last] <= measured.deadline_ms
        if fits and (
            since_switch_s < self.hysteresis.least_time_s
            or abs(gains[wanted] - gains[last]) < self.hysteresis.least_gain
        ):
            wanted = last
        costs = self.table.costs(measured.input_size)
        return Decision(
            wanted,
            wanted != last,
            float(latency[0, wanted]),
            float(costs.device_ms[wanted]) * measured.robot_load,
            float(gains[wanted]),
            mask[0],
        )


def table_of(values: Values) -> Path:
    """The table that the parameters of the node ``tuner`` tell.

    Raises InputError where there is none for the network.
    """
    given, model = values.text("table"), values.text("model")
    path = Path(given).expanduser() if given else table_path(find_weights(model))
    if not path.exists():
        raise InputError(
            f"there is no table of actions {path}; give one that was measured for {model} by the "
            "parameter table, or take another model"
        )
    return path


def decider_of(values: Values, table: ActionTable, fine_tuned: str = "") -> Decider:
    """As the parameters of the node ``tuner`` say; raises InputError as what it is made of.

    Args:
        values: the parameters.
        table: the actions.
        fine_tuned: a policy's file in place of the parameter's.
    """
    cuts, qualities = values.wholes("cuts"), values.wholes("qualities")
    return Decider(
        table,
        make_chooser(fine_tuned or values.text("policy"), table, values.text("fixed_setting")),
        Bounds(
            values.texts("exits"),
            () if ANY_CUT in cuts else cuts,
            values.wholes("bits"),
            () if 0 in qualities else qualities,
            values.real("least_accuracy"),
        ),
        Hysteresis(values.real("least_time"), values.real("least_gain")),
    )
