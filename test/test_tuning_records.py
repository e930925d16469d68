"""What transitions tell: of settings' latencies, and of policies that did not make them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tuning_cases as cases
from fine_tuning_cases import recorded

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.tuning import off_policy
from re_pose_ros.tuning.calibration import MOST, Calibration
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.records import RUN, Records
from re_pose_ros.tuning.reward import RewardTerms, reward
from re_pose_ros.tuning.rules import Fixed, Greedy
from re_pose_ros.tuning.scenarios import Scenarios
from re_pose_ros.tuning.state import COLUMNS
from re_pose_ros.tuning.transitions import Transition

TABLE = cases.small_table()
DETECTOR = cases.detector_table()
TERMS = RewardTerms()
EARLY, LAST, PICTURE, FEATURES = range(4)


def slower(table: ActionTable, number: int, factor: float) -> ActionTable:
    """One setting takes the robot so many times as long."""
    actions = list(table.actions)
    times = tuple(factor * ms for ms in actions[number].device_ms)
    actions[number] = replace(actions[number], device_ms=times)
    return replace(table, actions=tuple(actions))


def records(action: int, count: int, actual: ActionTable | None = None) -> Records:
    traces = cases.steady(count + 1, deadline_ms=100.0)
    rule = Fixed(action, TABLE.fallback)
    return Records.of(recorded(rule, TABLE, traces, actual), TABLE)


def joined(*parts: Records) -> Records:
    """As of several workers."""
    transitions = [
        Transition(
            f"w{k}", n, part.rows[n], int(part.last[n]), int(part.actions[n]),
            float(part.latency_ms[n]), 0, float(part.deadline_ms[n]), part.allowed[n],
        )
        for k, part in enumerate(parts)
        for n in range(len(part))
    ]  # fmt: skip
    return Records.of(transitions, TABLE)


def test_rewards_are_the_documented_ones_of_measured_latencies() -> None:
    found = records(LAST, 3)
    assert found.latency_ms.tolist() == [80.0, 80.0, 80.0]
    again = reward(np.array([0.8]), np.array([0.8]), np.array([False]), TERMS)[0]
    assert found.rewards(TERMS)[1:] == pytest.approx(again)
    assert found.rewards(TERMS)[0] == pytest.approx(again - TERMS.switch)
    # The state's deadline may be shorter by a margin; rewards go by the other.
    late = replace(found, deadline_ms=np.full(3, 79.0))
    assert (late.rewards(TERMS) < -2).all()


def test_runs_are_of_neighbours_and_whole_ones_are_held_out() -> None:
    found = joined(records(LAST, 2 * RUN + 1), records(EARLY, RUN))
    sizes = np.bincount(found.run).tolist()
    assert sizes == [RUN, RUN, 1, RUN] or sizes == [RUN, RUN, 1 + RUN]
    held_out = found.held_out()
    assert 0 < held_out.sum() < len(found)
    assert set(found.run[held_out]).isdisjoint(found.run[~held_out])


def test_settings_that_a_policy_does_not_have_are_left_out() -> None:
    part = TABLE.only(lambda setting: setting.cut != 0)
    found = joined(records(LAST, 3), records(PICTURE, 3)).only(part)
    assert len(found) == 3
    assert found.actions.tolist() == [part.index(TABLE.settings[LAST])] * 3
    assert found.allowed.shape == (3, 3)
    mixed = joined(records(PICTURE, 3))
    changed = replace(mixed, actions=np.full(3, LAST), last=np.full(3, PICTURE))
    assert changed.only(part).last.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.6])
def test_how_much_longer_a_setting_takes_is_found_and_shared_with_its_kind(factor: float) -> None:
    known = Calibration.of(records(LAST, 400, slower(TABLE, LAST, factor)))
    assert known.factors[LAST] == pytest.approx(factor, rel=0.03)
    assert known.factors[EARLY] == pytest.approx(factor, rel=0.05)  # untried, but of the kind
    assert known.factors[[PICTURE, FEATURES]].tolist() == [1.0, 1.0]
    assert known.tried.tolist() == [0, 400, 0, 0]
    costs = known.applied(TABLE).costs(640)
    assert costs.device_ms[LAST] == pytest.approx(80 * factor, rel=0.03)


def test_few_transitions_and_single_ones_tell_little() -> None:
    few = Calibration.of(records(LAST, 3, slower(TABLE, LAST, 4.0)))
    assert 1.0 < few.factors[LAST] < 1.6
    stray = records(LAST, 200)
    stray.latency_ms[7] = 1e9
    assert Calibration.of(stray).factors[LAST] == pytest.approx(1.0, abs=np.exp(MOST) / 200)
    nothing = Calibration.of(records(LAST, 200).select(np.zeros(200, bool)))
    assert nothing.factors.tolist() == [1.0] * 4 and nothing.lost == 0


def test_what_is_not_answered_counts_as_lost_and_not_as_slow() -> None:
    found = records(PICTURE, 200)
    found.latency_ms[::2] = math.inf
    known = Calibration.of(found)
    assert known.factors[PICTURE] == pytest.approx(1.0, abs=0.01)
    assert known.lost == pytest.approx(0.45, abs=0.02)
    expected = known.rewards(found, TERMS)
    assert expected[0, PICTURE] < -0.5 < 0.3 < expected[0, LAST]


def test_expected_rewards_are_those_that_come() -> None:
    actual = slower(TABLE, LAST, 1.5)
    known = Calibration.of(records(LAST, 300, actual))
    other = records(EARLY, 50, actual)
    # Of the setting that was tried, in other states; it would be late in all of them.
    assert (known.rewards(other, TERMS)[:, LAST] < -2).all()
    nominal = Calibration.of(records(LAST, 300))
    assert (nominal.rewards(other, TERMS)[:, LAST] > 0.7).all()


def test_a_policy_is_worth_what_was_measured_where_it_does_what_was_done() -> None:
    found = records(LAST, 300)
    known = Calibration.of(found)
    same = off_policy.compare(Fixed(LAST, EARLY), Fixed(LAST, EARLY), found, known, TERMS)
    assert (same.gain, same.lower, same.alike, same.as_recorded) == (0.0, 0.0, 1.0, 1.0)
    worse = off_policy.compare(Fixed(EARLY, EARLY), Fixed(LAST, EARLY), found, known, TERMS)
    # What it brings was not measured: the table answers, with doubt.
    assert worse.as_recorded == 0 and worse.alike == 0
    assert worse.gain == pytest.approx(0.4 - 0.8 + 0.05 * 0.6 - 0.0, abs=0.03)
    assert worse.lower < 0


def test_estimates_follow_what_policies_really_bring() -> None:
    """Under costs that the table does not have, on states that nothing was made from."""
    traces = Scenarios(outage_every_s=math.inf).draw(DETECTOR, np.random.default_rng(3), 8, 200)
    whole = next(k for k, s in enumerate(DETECTOR.settings) if str(s) == "p5/device")
    actual = slower(DETECTOR, whole, 1.6)
    greedy = Greedy(DETECTOR)
    found = Records.of(recorded(greedy, DETECTOR, traces, actual), DETECTOR)
    held_out = found.held_out()
    known = Calibration.of(found.select(~held_out))
    judged = found.select(held_out)
    better = Greedy(known.applied(DETECTOR), caution=1.05)
    estimate = off_policy.compare(better, greedy, judged, known, TERMS)
    rewards = [
        Records.of(recorded(rule, DETECTOR, traces, actual), DETECTOR).rewards(TERMS).mean()
        for rule in (better, greedy)
    ]
    assert estimate.gain > 0 and rewards[0] > rewards[1]
    assert estimate.gain == pytest.approx(rewards[0] - rewards[1], rel=0.5)
    assert 0 < estimate.standard_error < estimate.gain


def test_a_single_run_tells_nothing_for_sure() -> None:
    found = records(LAST, RUN)
    estimate = off_policy.compare(
        Fixed(EARLY, EARLY), Fixed(LAST, EARLY), found, Calibration.of(found), TERMS
    )
    assert estimate.lower == -math.inf


def test_predicted_latencies_of_records_are_those_of_the_table() -> None:
    found = records(FEATURES, 5)
    assert latency_ms(TABLE, found.rows)[:, FEATURES] == pytest.approx(found.latency_ms)


def test_a_margin_that_is_too_large_is_found() -> None:
    """The policy is shown 80 of 100 ms; the setting takes 1.5 times what is predicted."""
    found = records(LAST, 400, slower(TABLE, LAST, 1.5))
    found.rows[:, COLUMNS["deadline_ms"]] = 80.0
    known = Calibration.of(found)
    assert known.factors[LAST] == pytest.approx(1.5 * 0.8, rel=0.03)
    assert (known.rewards(found, TERMS)[:, LAST] < -2).all()
    assert known.rewards(found, TERMS)[5, LAST] == pytest.approx(found.rewards(TERMS)[5], abs=0.02)
