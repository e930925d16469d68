"""Bounds, hysteresis, and who chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tuning_cases as cases
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.choosing import (
    NONE,
    SHIPPED_POLICY,
    Bounds,
    Decider,
    Hysteresis,
    make_chooser,
    other_device_exits,
    pictures_ending_at,
    table_path,
)
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.observation import length
from re_pose_ros.tuning.policy import save_policy
from re_pose_ros.tuning.rules import Fixed, Greedy, Within
from re_pose_ros.tuning.state import Actions, Bools, Measured, Rows

TABLE, SMALL = cases.detector_table(), cases.small_table()
EARLY, WHOLE, JPEG, CUT = range(4)
"""Actions of the small table."""


def state(**changed: float) -> Measured:
    """Nothing busy, a fast link: of the small table all but JPEG on a slow worker fit."""
    values = {
        "bandwidth_mbit_s": 50.0,
        "rtt_ms": 4.0,
        "robot_load": 1.0,
        "edge_load": 0.5,
        "input_size": 640.0,
        "deadline_ms": 100.0,
        "period_ms": 200.0,
        "robot_busy_ms": 0.0,
        "link_busy_ms": 0.0,
        "edge_busy_ms": 0.0,
        "edge_wait_ms": 0.0,
        "trend": 0.0,
        "spread": 0.1,
        "age_s": 0.0,
        "connected": 1.0,
        "features": 1.0,
    }
    return Measured(**(values | changed), shares=(0.5, 0.5))


class Wants:
    """Wants one action, possible or not."""

    sees_truth = False

    def __init__(self, action: int) -> None:
        self.action = action

    def choose(self, measured: Rows, last: Actions, masks: Bools) -> Actions:
        return np.full(len(measured), self.action)


def decider(action: int, bounds: Bounds | None = None, **hysteresis: float) -> Decider:
    how = Hysteresis(**{"least_time_s": 0.0, "least_gain": 0.0} | hysteresis)
    return Decider(SMALL, Wants(action), bounds or Bounds(), how)


def chosen(made: Decider, measured: Measured, last: int, since_s: float = 100.0) -> int:
    decision = made.decide(measured, last, since_s)
    assert decision is not None
    assert decision.changed == (decision.number != last)
    return decision.number


# Bounds.


def test_bounds_by_every_part_of_a_setting() -> None:
    def left(**given: object) -> set[str]:
        allowed = Bounds(**given).allowed(TABLE)  # type: ignore[arg-type]
        return {str(s) for s, a in zip(TABLE.settings, allowed, strict=True) if a}

    everything = set(map(str, TABLE.settings))
    assert left() == everything
    assert left(exits=["p3", "p4"]) == {s for s in everything if not s.startswith("p5")}
    assert left(cuts=[-1]) == {"p3/device", "p4/device", "p5/device"}
    assert left(cuts=[0], exits=["p4"], qualities=[30, 50]) == {"p4/jpeg30", "p4/jpeg50"}
    # Bits concern features alone, qualities pictures alone.
    assert left(bits=[2]) == {s for s in everything if "bit" not in s or s.endswith("/2bit")}
    assert left(qualities=[90]) == {s for s in everything if "jpeg" not in s or "jpeg90" in s}
    accuracy = {str(action.setting): action.accuracy for action in TABLE.actions}
    assert left(least_accuracy=0.55) == {s for s in everything if accuracy[s] >= 0.55}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"exits": ["p9"]}, "leave no setting of scene-n"),
        ({"cuts": [999]}, "widen exits, cuts, bits or qualities"),
        ({"least_accuracy": 0.99}, "no setting within the bounds has an accuracy of 0.99"),
        ({"exits": ["p3"], "least_accuracy": 0.6}, "the best has 0.447"),
    ],
)
def test_bounds_that_leave_nothing_are_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Decider(TABLE, Greedy(TABLE), Bounds(**given))  # type: ignore[arg-type]


def test_what_is_out_of_bounds_or_impossible_is_never_chosen() -> None:
    assert chosen(decider(JPEG), state(), EARLY) == JPEG
    assert chosen(decider(JPEG, Bounds(cuts=[-1, 3])), state(), EARLY) != JPEG
    assert chosen(decider(JPEG), state(connected=0.0), JPEG) in (EARLY, WHOLE)
    assert chosen(decider(CUT), state(features=0.0), CUT) != CUT
    only_sending = decider(JPEG, Bounds(cuts=[0, 3]))
    assert only_sending.decide(state(connected=0.0), JPEG, 100.0) is None


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.05, 500),
    st.floats(0.1, 10),
    st.booleans(),
    st.booleans(),
    st.sets(st.sampled_from([-1, 0, 4, 6, 10]), min_size=1),
    st.integers(NONE, len(TABLE.actions) - 1),
    st.floats(0, 2),
)
def test_every_decision_is_within_bounds_and_possible(
    mbit_s: float,
    load: float,
    connected: bool,
    features: bool,
    cuts: set[int],
    last: int,
    since_s: float,
) -> None:
    made = Decider(TABLE, Greedy(TABLE), Bounds(cuts=cuts))
    measured = replace(
        state(
            bandwidth_mbit_s=mbit_s,
            robot_load=load,
            connected=float(connected),
            features=float(features),
        ),
        shares=(0.2, 0.3, 0.5),
    )
    decision = made.decide(measured, last, since_s)
    usable = {c for c in cuts if c == -1 or (connected and (c == 0 or features))}
    assert (decision is None) == (not usable)
    if decision is not None:
        assert TABLE.settings[decision.number].cut in usable
        assert np.isfinite(decision.latency_ms)


# Hysteresis.


def test_a_setting_that_does_is_kept_for_a_while() -> None:
    made = decider(JPEG, least_time_s=1.0)
    assert chosen(made, state(), EARLY, since_s=0.9) == EARLY
    assert chosen(made, state(), EARLY, since_s=1.0) == JPEG


@pytest.mark.parametrize(
    "changed",
    [{"deadline_ms": 70.0}, {"robot_load": 1.5}, {"robot_busy_ms": 21.0}],
    ids=["deadline", "load", "busy"],
)
def test_one_that_is_late_is_left_at_once(changed: dict[str, float]) -> None:
    made = decider(EARLY, least_time_s=60.0, least_gain=10.0)
    assert chosen(made, state(), WHOLE, since_s=0.0) == WHOLE
    assert chosen(made, state(**changed), WHOLE, since_s=0.0) == EARLY


def test_one_that_cannot_be_done_or_is_unknown_is_left_at_once() -> None:
    made = decider(EARLY, least_time_s=60.0, least_gain=10.0)
    assert chosen(made, state(), JPEG, since_s=0.0) == JPEG
    assert chosen(made, state(connected=0.0), JPEG, since_s=0.0) == EARLY
    assert chosen(made, state(), NONE, since_s=0.0) == EARLY
    narrow = decider(EARLY, Bounds(cuts=[-1]), least_time_s=60.0)
    assert chosen(narrow, state(), JPEG, since_s=0.0) == EARLY


def test_what_is_banned_is_not_taken_this_time() -> None:
    made = decider(JPEG)
    decision = made.decide(state(), JPEG, 100.0, {JPEG, WHOLE})
    assert decision is not None and decision.number in (EARLY, CUT)
    assert made.decide(state(), JPEG, 100.0, range(4)) is None
    assert chosen(made, state(), EARLY) == JPEG


def test_what_one_worker_rules_out_for_others() -> None:
    names = {str(s): k for k, s in enumerate(TABLE.settings)}
    ruled_out = other_device_exits(TABLE, names["p4/device"])
    assert ruled_out == {names["p3/device"], names["p5/device"]}
    assert other_device_exits(TABLE, names["p4/jpeg50"]) == set()
    pictures = {names[f"p4/jpeg{quality}"] for quality in (30, 50, 70, 90)}
    assert pictures_ending_at(TABLE, "p4") == pictures


def test_settings_that_are_about_as_good_are_not_exchanged() -> None:
    # 0.75 - 0.05 * 0.545 for the picture, 0.7 - 0.05 * 0.506 for features.
    for least, expected in ((0.0, CUT), (0.04, CUT), (0.06, JPEG), (1.0, JPEG)):
        assert chosen(decider(CUT, least_gain=least), state(), JPEG) == expected


def test_a_decision_tells_what_it_expects() -> None:
    measured = state(robot_load=2.0, robot_busy_ms=3.0)
    decision = decider(CUT).decide(measured, EARLY, 100.0)
    assert decision is not None and decision.changed
    assert decision.latency_ms == pytest.approx(latency_ms(SMALL, measured.row())[CUT])
    assert decision.latency_ms == pytest.approx(3 + 2 * 15 + 80 / 50 + 4 + 0.5 * 60)
    assert decision.robot_ms == pytest.approx(30.0)


# Who chooses.


def policy(path: Path, table: ActionTable) -> Path:
    """One that likes the last action best."""
    weight = np.zeros((len(table.actions), length(table)), np.float32)
    bias = np.arange(len(table.actions), dtype=np.float32)
    arrays = {"actor.0.weight": weight, "actor.0.bias": bias, "activation": np.array("relu")}
    save_policy(path, arrays, table)
    return path


def ask(chooser: object, table: ActionTable, **changed: float) -> str:
    measured = replace(state(**changed), shares=(1 / 3,) * (len(table.size_edges) + 1))
    made = Decider(table, chooser, Bounds(), Hysteresis(0.0, 0.0))  # type: ignore[arg-type]
    decision = made.decide(measured, NONE, 0.0)
    assert decision is not None
    return str(table.settings[decision.number])


def test_rules_by_name() -> None:
    assert isinstance(make_chooser("greedy", TABLE), Greedy)
    fixed = make_chooser("fixed", TABLE, "p4/jpeg50")
    assert isinstance(fixed, Fixed)
    assert ask(fixed, TABLE) == "p4/jpeg50"
    assert ask(fixed, TABLE, connected=0.0) == "p3/device"


def test_a_policy_from_its_file(tmp_path: Path) -> None:
    path = policy(tmp_path / "own.npz", TABLE)
    assert ask(make_chooser(str(path), TABLE), TABLE) == str(TABLE.settings[-1])


def test_a_policy_for_a_part_of_the_table(tmp_path: Path) -> None:
    part = TABLE.only(lambda s: s.exit != "p5" and s.cut <= 0)
    made = make_chooser(str(policy(tmp_path / "part.npz", part)), TABLE)
    assert isinstance(made, Within)
    assert ask(made, TABLE) == str(part.settings[-1]) == "p4/jpeg90"
    # Nothing that the policy knows is left: what is predicted best is taken.
    beyond = Decider(TABLE, made, Bounds(exits=["p5"], cuts=[-1]))
    measured = replace(state(), shares=(0.2, 0.3, 0.5))
    decision = beyond.decide(measured, NONE, 0.0)
    assert decision is not None and str(TABLE.settings[decision.number]) == "p5/device"


@pytest.mark.parametrize(
    ("name", "fixed", "reason"),
    [
        ("fixed", "", "needs fixed_setting, as p5/cut10/8bit"),
        ("fixed", "p5/jpeg1", "p5/jpeg1 is not in the table of scene-n"),
        ("fixed", "anything", "is no setting"),
        ("ppo", "", "policy 'ppo': allowed is sac_d, greedy, fixed or a policy's file"),
        ("/nowhere/own.npz", "", "own.npz does not exist"),
    ],
)
def test_choosers_that_cannot_be(name: str, fixed: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        make_chooser(name, TABLE, fixed)
    assert "\n" not in str(caught.value)


def test_a_policy_of_another_table_is_refused(tmp_path: Path) -> None:
    path = policy(tmp_path / "other.npz", SMALL)
    with pytest.raises(InputError, match="is for other settings than those of scene-n"):
        make_chooser(str(path), TABLE)
    # A part that cannot do without a worker is none to live by.
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        make_chooser(str(path), TABLE)


def test_where_files_are_looked_for() -> None:
    assert table_path(Path("/w/scene-n.pt")) == Path("/w/scene-n.coinference.json")
    assert SHIPPED_POLICY.name == "tuner.npz" and SHIPPED_POLICY.parent.name == "weights"
