"""What a tuner knows, how long actions take, what they bring: exact arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tuning_cases as cases
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import DEVICE
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.latency import latency_ms, timing
from re_pose_ros.tuning.observation import BOUND, length, observation, observe
from re_pose_ros.tuning.reward import RewardTerms, accuracy, rewards
from re_pose_ros.tuning.state import (
    COLUMNS,
    SHARES,
    BandwidthEstimate,
    Measured,
    possible,
    width,
)

SMALL, DETECTOR = cases.small_table(), cases.detector_table()

CALM = Measured(
    bandwidth_mbit_s=10.0,
    rtt_ms=4.0,
    robot_load=1.0,
    edge_load=0.5,
    input_size=640.0,
    deadline_ms=100.0,
    period_ms=200.0,
    robot_busy_ms=0.0,
    link_busy_ms=0.0,
    edge_busy_ms=0.0,
    edge_wait_ms=0.0,
    trend=0.0,
    spread=0.0,
    age_s=0.0,
    connected=1.0,
    features=1.0,
    shares=(0.5, 0.5),
)

positive = st.floats(0.1, 1e3)
times = st.floats(0.0, 500.0)


@st.composite
def states(draw: st.DrawFn, classes: int = 3) -> Measured:
    shares = np.array([draw(st.floats(0.01, 1)) for _ in range(classes)])
    return Measured(
        **{name: draw(positive) for name in list(COLUMNS)[: COLUMNS["robot_busy_ms"]]},
        **{name: draw(times) for name in list(COLUMNS)[COLUMNS["robot_busy_ms"] : -5]},
        trend=draw(st.floats(-9, 9)),
        spread=draw(st.floats(0, 3)),
        age_s=draw(times),
        connected=float(draw(st.booleans())),
        features=float(draw(st.booleans())),
        shares=tuple(shares / shares.sum()),
    )


def by_hand(table: ActionTable, state: Measured, number: int) -> float:
    """The latency of one action, step by step."""
    action = table.actions[number]
    device, edge, bits = (float(v[number]) for v in table.costs(state.input_size))
    at_robot = state.robot_busy_ms + device * state.robot_load
    if action.setting.cut == DEVICE:
        return at_robot
    if not state.connected or (action.setting.cut > 0 and not state.features):
        return math.inf
    sent = max(at_robot, state.link_busy_ms) + bits / state.bandwidth_mbit_s / 1000
    there = max(sent + state.rtt_ms / 2, state.edge_busy_ms) + state.edge_wait_ms
    return there + edge * state.edge_load + state.rtt_ms / 2


# Rows.


def test_rows_have_the_fields_in_their_order() -> None:
    row = replace(CALM, trend=-1.5, shares=(0.25, 0.75)).row()
    assert row.shape == (width(SMALL),) == (SHARES + 2,)
    assert row[COLUMNS["bandwidth_mbit_s"]] == 10 and row[COLUMNS["trend"]] == -1.5
    assert row[SHARES:].tolist() == [0.25, 0.75]


def test_what_can_be_done_depends_on_the_worker() -> None:
    cases_of = {(1.0, 1.0): [1, 1, 1, 1], (1.0, 0.0): [1, 1, 1, 0], (0.0, 1.0): [1, 1, 0, 0]}
    cases_of[0.0, 0.0] = [1, 1, 0, 0]
    for (connected, features), expected in cases_of.items():
        row = replace(CALM, connected=connected, features=features).row()
        assert possible(SMALL, row).tolist() == expected
        assert np.isfinite(latency_ms(SMALL, row)).tolist() == expected


# Latency.


def test_the_latency_of_a_calm_state_is_the_sum_of_its_parts() -> None:
    # 5 + 400 kbit / 10 Mbit/s + 4 + 85 / 2 and 15 + 80 kbit / 10 Mbit/s + 4 + 60 / 2
    assert latency_ms(SMALL, CALM.row()).tolist() == [20.0, 80.0, 91.5, 57.0]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"robot_load": 2.0}, [40, 160, 96.5, 72]),
        ({"edge_load": 1.0}, [20, 80, 134, 87]),
        ({"bandwidth_mbit_s": 20.0}, [20, 80, 71.5, 53]),
        ({"rtt_ms": 10.0}, [20, 80, 97.5, 63]),
        ({"edge_wait_ms": 7.0}, [20, 80, 98.5, 64]),
        ({"robot_busy_ms": 30.0}, [50, 110, 121.5, 87]),
        # The link is free at 40: 40 + 40 + 4 + 42.5 and 40 + 8 + 4 + 30.
        ({"link_busy_ms": 40.0}, [20, 80, 126.5, 82]),
        # The worker is free at 60: 60 + 42.5 + 2 and 60 + 30 + 2.
        ({"edge_busy_ms": 60.0}, [20, 80, 104.5, 92]),
    ],
)
def test_each_part_of_a_state_counts_once(changed: dict[str, float], expected: list[float]) -> None:
    assert latency_ms(SMALL, replace(CALM, **changed).row()) == pytest.approx(expected)


@given(states())
def test_latencies_are_those_computed_by_hand(state: Measured) -> None:
    found = latency_ms(DETECTOR, state.row())
    expected = [by_hand(DETECTOR, state, number) for number in range(len(DETECTOR.actions))]
    assert found == pytest.approx(expected, rel=1e-9)


@given(states(), states())
def test_many_states_at_once_are_as_one_by_one(first: Measured, second: Measured) -> None:
    rows = np.array([first.row(), second.row()])
    both = timing(DETECTOR, rows)
    for k, state in enumerate((first, second)):
        for part, alone in zip(both, timing(DETECTOR, state.row()), strict=True):
            assert part[k] == pytest.approx(alone)
    again = timing(DETECTOR, rows[None])
    assert (again.latency[0] == both.latency).all()


# Reward.


def test_accuracy_is_the_mean_over_the_sizes_of_objects() -> None:
    row = replace(CALM, shares=(0.25, 0.75)).row()
    expected = [0.5, 0.9, 0.875, 0.8]
    assert accuracy(SMALL, row) == pytest.approx(expected)
    plain = replace(CALM, shares=(1.0,)).row()
    assert accuracy(cases.classifier_table(), plain).tolist() == [0.4, 0.8, 0.75, 0.7]


def test_rewards_are_those_of_the_formula() -> None:
    terms = RewardTerms(latency=0.1, late=0.7, later=0.3, switch=0.02)
    state = replace(CALM, deadline_ms=60.0)  # latencies 20, 80, 91.5, 57
    found = rewards(SMALL, state.row(), np.asarray(3), terms)
    assert found == pytest.approx(
        [
            0.4 - 0.1 / 3 - 0.02,
            -0.1 - 0.7 - 0.3 / 3 - 0.02,
            -0.1 - 0.7 - 0.3 * 0.525 - 0.02,
            0.7 - 0.1 * 0.95,
        ]
    )
    lost = rewards(SMALL, replace(state, connected=0.0).row(), np.asarray(3), terms)
    assert lost[2:] == pytest.approx([-0.1 - 0.7 - 0.3 - 0.02, -0.1 - 0.7 - 0.3])


def test_just_in_time_is_in_time() -> None:
    terms = RewardTerms()
    at = rewards(SMALL, replace(CALM, deadline_ms=80.0).row(), np.asarray(1), terms)
    assert at[1] == pytest.approx(0.8 - terms.latency)
    after = rewards(SMALL, replace(CALM, deadline_ms=79.999).row(), np.asarray(1), terms)
    assert after[1] == pytest.approx(-terms.latency - terms.late, abs=1e-4)


@pytest.mark.parametrize("name", ["latency", "late", "later", "switch"])
@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_terms_are_numbers_from_0_on(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"reward term {name} = "):
        RewardTerms(**{name: value})


# Observations.


@given(states(), st.integers(0, 42))
def test_observations_are_bounded_and_tell_what_can_be_done(state: Measured, last: int) -> None:
    seen = observation(DETECTOR, state, last)
    assert seen.shape == (length(DETECTOR),) and seen.dtype == np.float32
    assert np.isfinite(seen).all() and (np.abs(seen) <= BOUND).all()
    latencies, before = np.split(seen[width(DETECTOR) :], 2)
    assert np.flatnonzero(before).tolist() == [last] and before[last] == 1
    expected = np.log2(latency_ms(DETECTOR, state.row()) / state.deadline_ms)
    assert latencies == pytest.approx(np.clip(expected, -BOUND, BOUND), abs=1e-5)
    assert (latencies[~possible(DETECTOR, state.row())] == BOUND).all()


def test_an_observation_has_known_numbers() -> None:
    state = replace(CALM, bandwidth_mbit_s=40.0, robot_load=4.0, robot_busy_ms=25.0, trend=1.0)
    seen = observation(SMALL, state, 0)
    named = dict(zip(COLUMNS, seen, strict=False))
    assert named["bandwidth_mbit_s"] == 0.5 and named["robot_load"] == 1.0
    assert named["robot_busy_ms"] == 0.25 and named["trend"] == 0.5
    assert named["deadline_ms"] == 0 and named["connected"] == 1
    assert seen[SHARES : SHARES + 2].tolist() == [0.5, 0.5]


def test_what_may_not_be_taken_looks_hopeless() -> None:
    masks = np.array([True, False, True, False])
    seen = observation(SMALL, CALM, 1, masks)[width(SMALL) :][:4]
    free = observation(SMALL, CALM, 1)[width(SMALL) :][:4]
    assert seen[~masks].tolist() == [BOUND, BOUND] and (seen[masks] == free[masks]).all()


@given(states(), states())
def test_many_observations_at_once_are_as_one_by_one(first: Measured, second: Measured) -> None:
    rows, last = np.array([first.row(), second.row()]), np.array([3, 40])
    seen = observe(DETECTOR, rows, last)
    for k, state in enumerate((first, second)):
        assert (seen[k] == observation(DETECTOR, state, int(last[k]))).all()


# The estimate of the bandwidth.


def test_a_steady_bandwidth_is_known_at_once() -> None:
    estimate = BandwidthEstimate([10.0, 80.0])
    for _ in range(100):
        estimate.update([10.0, 80.0], True, 0.1)
    assert estimate.bandwidth_mbit_s == pytest.approx([10, 80])
    assert estimate.trend == pytest.approx(0) and (estimate.age_s == 0).all()
    assert (estimate.spread < 0.01).all()


def test_a_trend_is_found() -> None:
    """Half a doubling per second, seen at different intervals."""
    estimate = BandwidthEstimate([1.0])
    for k in range(1, 201):
        passed = 0.1 + 0.1 * (k % 2)
        now = 0.15 * k + (0.05 if k % 2 else 0.0)
        estimate.update(2 ** (0.5 * now), True, passed)
    assert estimate.trend == pytest.approx(0.5, abs=0.02)
    assert estimate.bandwidth_mbit_s == pytest.approx(2 ** (0.5 * 30), rel=0.02)


def test_a_jump_is_followed_within_a_few_samples_and_remembered_as_spread() -> None:
    estimate = BandwidthEstimate([100.0])
    for _ in range(4):
        estimate.update(5.0, True, 0.1)
    assert estimate.bandwidth_mbit_s == pytest.approx(5.0, rel=0.3)
    assert estimate.spread > 0.5


def test_without_samples_only_the_age_changes() -> None:
    estimate = BandwidthEstimate([10.0, 20.0])
    for _ in range(3):
        estimate.update([1.0, 40.0], [False, True], 0.2)
    assert estimate.bandwidth_mbit_s[0] == pytest.approx(10)
    assert estimate.age_s == pytest.approx([0.6, 0]) and estimate.trend[0] == 0
    assert estimate.bandwidth_mbit_s[1] > 35


@given(st.lists(st.tuples(st.floats(0, 1e4), st.booleans(), st.floats(0.01, 10)), max_size=60))
def test_estimates_stay_finite(samples: list[tuple[float, bool, float]]) -> None:
    estimate = BandwidthEstimate([10.0])
    for value, there, passed in samples:
        estimate.update(value, there, passed)
    for values in (estimate.bandwidth_mbit_s, estimate.trend, estimate.spread, estimate.age_s):
        assert np.isfinite(values).all()
