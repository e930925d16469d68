"""The simulation: queues, what is measured and when, rewards; scenarios and traces."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import tuning_cases as cases
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.recorded import Recorded
from re_pose_ros.tuning.reward import RewardTerms, rewards
from re_pose_ros.tuning.scenarios import Scenarios
from re_pose_ros.tuning.simulation import Sensing, Simulation
from re_pose_ros.tuning.state import COLUMNS, SHARES
from re_pose_ros.tuning.traces import Traces, joined

SMALL, DETECTOR = cases.small_table(), cases.detector_table()
EARLY, LAST, PICTURE, FEATURES = range(4)

seeds = st.integers(0, 10_000)


def numbers(values: list[int]) -> np.ndarray:
    return np.array(values, np.intp)


def len_of(table: ActionTable) -> str:
    return f"{table.graph}-{len(table.actions)}"


def column(rows: np.ndarray, name: str) -> float:
    return float(rows[0, COLUMNS[name]])


# One block.


def test_a_block_costs_and_brings_what_the_formulas_say() -> None:
    terms = RewardTerms(latency=0.1, late=1.0, later=0.2, switch=0.01)
    simulation = Simulation(SMALL, cases.steady(4), terms)
    came = simulation.step(numbers([PICTURE]))
    assert came.latency_ms == pytest.approx(91.5) and came.in_time.all()
    assert came.reward == pytest.approx(0.75 - 0.1 * 0.915 - 0.01)
    assert came.accuracy == pytest.approx(0.75) and came.bytes == 50_000
    again = simulation.step(numbers([PICTURE]))
    assert again.reward == pytest.approx(0.75 - 0.1 * 0.915)
    assert came.changed.all() and not again.changed.any()
    alone = simulation.step(numbers([EARLY]))
    assert alone.bytes == 0 and alone.latency_ms == 20
    assert simulation.over


def test_a_late_block_found_nothing() -> None:
    simulation = Simulation(SMALL, cases.steady(3, deadline_ms=60.0))
    came = simulation.step(numbers([LAST]))
    assert came.latency_ms == 80 and not came.in_time.any() and came.accuracy == 0
    terms = RewardTerms()
    expected = -terms.latency - terms.late - terms.later / 3 - terms.switch
    assert came.reward == pytest.approx(expected)


def test_the_action_before_the_first_is_the_fastest_alone() -> None:
    assert Simulation(SMALL, cases.steady(2)).last.tolist() == [EARLY]


def test_what_cannot_be_done_is_a_lost_block() -> None:
    simulation = Simulation(SMALL, cases.steady(3, features=False))
    assert simulation.masks().tolist() == [[True, True, True, False]]
    came = simulation.step(numbers([FEATURES]))
    assert came.latency_ms == np.inf and not came.in_time.any() and came.bytes == 0
    assert np.isfinite(came.reward).all()
    assert column(simulation.true, "link_busy_ms") == 0


# Queues.


def by_hand(traces: Traces, actions: np.ndarray, number: int) -> list[float]:
    """Latencies of one trace's blocks with absolute times, one after the other."""
    robot = link = worker = -np.inf
    found = []
    for k, action in enumerate(actions[:, number]):
        at = k * traces.period_ms[number]
        deadline, half = traces.deadline_ms[k, number], traces.rtt_ms[k, number] / 2
        device, edge, bits = (float(v[action]) for v in SMALL.costs(640))
        robot_done = max(at, robot) + device * traces.robot_load[k, number]
        link_done = max(robot_done, link) + bits / traces.bandwidth_mbit_s[k, number] / 1e3
        there = max(link_done + half, worker) + traces.edge_wait_ms[k, number]
        worker_done = there + edge * traces.edge_load[k, number]
        sends = SMALL.sends[action]
        found.append((worker_done + half if sends else robot_done) - at)
        robot = min(robot_done, at + deadline)
        if sends and robot_done < at + deadline:
            link = min(link_done, at + deadline)
            if link_done + half < at + deadline:
                worker = min(worker_done, at + deadline)
    return found


@given(seeds, st.floats(10, 200), st.floats(50, 400))
def test_queues_are_those_of_blocks_that_wait_for_each_other(
    seed: int, period: float, deadline: float
) -> None:
    random, steps, count = np.random.default_rng(seed), 12, 3
    varied = {
        "bandwidth_mbit_s": random.uniform(2, 40, (steps, count)),
        "robot_load": random.uniform(0.5, 2, (steps, count)),
        "edge_load": random.uniform(0.5, 2, (steps, count)),
        "edge_wait_ms": random.uniform(0, 20, (steps, count)),
        "rtt_ms": random.uniform(1, 20, (steps, count)),
    }
    traces = cases.steady(steps, count, deadline_ms=deadline, period_ms=period, **varied)
    actions = random.integers(0, 4, (steps - 1, count))
    simulation = Simulation(SMALL, traces)
    found = np.array([simulation.step(row).latency_ms for row in actions])
    for number in range(count):
        assert found[:, number] == pytest.approx(by_hand(traces, actions, number), rel=1e-9)


def test_a_slow_setting_makes_the_next_block_wait_but_not_for_ever() -> None:
    simulation = Simulation(SMALL, cases.steady(9, period_ms=50.0, deadline_ms=200.0))
    latencies = [float(simulation.step(numbers([LAST])).latency_ms[0]) for _ in range(8)]
    # 80 ms of work every 50 ms; what is late is given up after 200 ms.
    assert latencies == pytest.approx([80, 110, 140, 170, 200, 230, 230, 230])
    assert column(simulation.true, "robot_busy_ms") == 150


# What is measured.


def test_loads_and_round_trips_are_those_of_the_block_before() -> None:
    changing = [1.0, 2.0, 3.0, 4.0]
    traces = cases.steady(
        4, robot_load=changing, edge_load=changing, rtt_ms=changing, edge_wait_ms=changing
    )
    simulation = Simulation(SMALL, traces)
    for expected in (1.0, 1.0, 2.0, 3.0):
        for name in ("robot_load", "edge_load", "rtt_ms", "edge_wait_ms"):
            assert column(simulation.measured, name) == expected
        assert column(simulation.true, "robot_load") == changing[simulation.step_number]
        if not simulation.over:
            simulation.step(numbers([EARLY]))


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_bandwidth_is_known_after_the_lag(lag: int) -> None:
    rate = [10.0] * 4 + [2.0] * 8
    simulation = Simulation(SMALL, cases.steady(12, bandwidth_mbit_s=rate), None, Sensing(lag))
    seen = []
    while not simulation.over:
        seen.append(column(simulation.measured, "bandwidth_mbit_s"))
        assert column(simulation.true, "bandwidth_mbit_s") == rate[simulation.step_number]
        simulation.step(numbers([FEATURES]))
    assert seen[: 4 + lag] == pytest.approx([10.0] * (4 + lag))
    assert seen[4 + lag] < 5 and (len(seen) < 10 or seen[9] == pytest.approx(2.0, rel=0.3))


def test_who_sends_nothing_has_only_probes() -> None:
    rate = [10.0] + [2.0] * 11
    traces = cases.steady(12, bandwidth_mbit_s=rate, period_ms=100.0)
    ages, seen = [], []
    simulation = Simulation(SMALL, traces, None, Sensing(lag=1, probe_s=0.4))
    while not simulation.over:
        ages.append(column(simulation.measured, "age_s"))
        seen.append(column(simulation.measured, "bandwidth_mbit_s"))
        simulation.step(numbers([EARLY]))
    # Probes with blocks 0, 4 and 8, known one block later.
    expected = [0, 0, 0.1, 0.2, 0.3, 0, 0.1, 0.2, 0.3, 0, 0.1]
    assert ages == pytest.approx(expected, abs=1e-9)
    assert seen[:5] == pytest.approx([10] * 5) and seen[5] < 5


def test_measurements_are_wrong_as_the_traces_say() -> None:
    noise = [1.0, 1.5, 1.0, 1.0]
    simulation = Simulation(SMALL, cases.steady(4, noise=noise))
    simulation.step(numbers([FEATURES]))
    assert column(simulation.measured, "bandwidth_mbit_s") == pytest.approx(10)
    simulation.step(numbers([FEATURES]))
    assert column(simulation.measured, "bandwidth_mbit_s") > 11
    assert column(simulation.true, "bandwidth_mbit_s") == 10
    assert column(simulation.measured, "spread") > 0.1


def connected_as_known(action: int, up: list[bool], **sensing: float) -> list[bool]:
    """Who acts, and learns whether there is a link, block by block."""
    traces = cases.steady(len(up), connected=up, period_ms=100.0)
    simulation = Simulation(SMALL, traces, None, Sensing(**{"lag": 1, **sensing}))
    known = []
    while True:
        known.append(bool(simulation.masks()[0, PICTURE]))
        assert column(simulation.true, "connected") == up[simulation.step_number]
        if simulation.over:
            return known
        simulation.step(numbers([action]))


def test_a_cut_link_is_noticed_by_a_lost_block_or_after_a_while() -> None:
    up = [True] * 3 + [False] * 9 + [True] * 8
    idle = connected_as_known(EARLY, up, notice_s=0.4, probe_s=0.1)
    assert idle == [True] * 7 + [False] * 9 + [True] * 4
    busy = connected_as_known(FEATURES, up, notice_s=0.4, probe_s=0.1)
    assert busy == [True] * 4 + [False] * 12 + [True] * 4


def test_a_short_cut_is_over_when_a_probe_is_answered() -> None:
    up = [True] * 3 + [False] + [True] * 8
    known = connected_as_known(FEATURES, up, notice_s=0.1, probe_s=0.3)
    # Block 3 is lost; the probe with block 6 comes back.
    assert known == [True] * 4 + [False] * 3 + [True] * 5


def test_blocks_into_a_cut_link_are_lost() -> None:
    simulation = Simulation(SMALL, cases.steady(3, connected=[True, False, False]))
    assert np.isfinite(simulation.step(numbers([PICTURE])).latency_ms)
    came = simulation.step(numbers([PICTURE]))
    assert came.latency_ms == np.inf and not came.in_time.any()


@pytest.mark.parametrize(
    ("name", "value"), [("lag", 0), ("probe_s", 0.0), ("notice_s", np.inf), ("notice_s", -1.0)]
)
def test_sensing_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError):
        Sensing(**{name: value})


# Rewards of all actions.


@given(seeds)
def test_an_action_brings_what_was_said_of_it_before(seed: int) -> None:
    random = np.random.default_rng(seed)
    simulation = Simulation(DETECTOR, Scenarios().draw(DETECTOR, random, 4, 12))
    while not simulation.over:
        expected = simulation.true_rewards()
        known = rewards(DETECTOR, simulation.true, simulation.last, RewardTerms())
        assert expected == pytest.approx(known)
        actions = random.integers(0, len(DETECTOR.actions), 4)
        came = simulation.step(actions)
        assert came.reward == pytest.approx(expected[range(4), actions])


def test_a_simulation_begins_anew() -> None:
    random = np.random.default_rng(3)
    traces = Scenarios(outage_every_s=2.0).draw(DETECTOR, random, 5, 40)
    actions = random.integers(0, len(DETECTOR.actions), (39, 5))
    simulation = Simulation(DETECTOR, traces)

    def run() -> list[np.ndarray]:
        seen = [simulation.observations()]
        for row in actions:
            seen += [simulation.step(row).reward, simulation.observations()]
        return seen

    first = run()
    simulation.restart()
    assert all((a == b).all() for a, b in zip(first, run(), strict=True))


# Traces and scenarios.


def test_traces_are_selected_and_joined() -> None:
    traces = Scenarios().draw(DETECTOR, np.random.default_rng(0), 6, 5)
    assert (traces.steps, traces.count) == (5, 6)
    both = joined([traces.select(slice(0, 2)), traces.select(np.arange(2, 6))])
    for entry in fields(Traces):
        assert (getattr(both, entry.name) == getattr(traces, entry.name)).all()
    with pytest.raises(InputError, match="different lengths"):
        joined([traces, cases.steady(4)])


@pytest.mark.parametrize("table", [DETECTOR, SMALL, cases.classifier_table()], ids=len_of)
def test_scenarios_are_such_as_the_simulation_wants(table: ActionTable) -> None:
    traces = Scenarios().draw(table, np.random.default_rng(1), 50, 60)
    again = Scenarios().draw(table, np.random.default_rng(1), 50, 60)
    for entry in fields(Traces):
        values = getattr(traces, entry.name)
        assert (values == getattr(again, entry.name)).all() and np.isfinite(values).all()
    assert traces.shares.sum(axis=2) == pytest.approx(1)
    for name in ("bandwidth_mbit_s", "rtt_ms", "robot_load", "edge_load", "deadline_ms", "noise"):
        assert (getattr(traces, name) > 0).all()
    assert (traces.edge_wait_ms >= 0).all() and (traces.period_ms >= 100).all()
    assert (traces.input_size >= table.input_sizes[0]).all()
    assert (traces.input_size <= table.input_sizes[-1]).all()


def test_the_robot_alone_can_hold_the_deadline_most_of_the_time() -> None:
    traces = Scenarios().draw(DETECTOR, np.random.default_rng(2), 200, 100)
    alone = DETECTOR.costs(traces.input_size).device_ms[..., 0] * traces.robot_load
    assert (alone <= traces.deadline_ms).mean() > 0.97


def test_recorded_traces_are_replayed() -> None:
    link = Recorded(np.array([0.0, 1.0]), np.array([[7.0, 3.0], [0.0, 3.0]]))
    load = Recorded(np.array([0.0, 1.0]), np.array([[0.5], [0.5]]))
    scenarios = Scenarios(
        fading=0, steps=0, recorded=1, traces=(link,), load_traces=(load,), outage_every_s=np.inf,
        robot_speed=(1.0, 1.0),
    )  # fmt: skip
    traces = scenarios.draw(DETECTOR, np.random.default_rng(0), 30, 80)
    assert set(traces.bandwidth_mbit_s[traces.connected].tolist()) == {7.0}
    assert 0.3 < traces.connected.mean() < 0.7 and (traces.rtt_ms == 3).all()
    replayed = (traces.robot_load == 2).all(axis=0)
    assert 3 <= replayed.sum() <= 20


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"sending": (2.0, 1.0)}, "sending = 2.0, 1.0 is no range"),
        ({"error": (0.0, 0.1)}, "error = 0.0, 0.1"),
        ({"fading": -1.0}, "weights of fading, steps, recorded"),
        ({"fading": 0.0, "steps": 0.0}, "weights of"),
        ({"recorded": 1.0}, "no traces to replay"),
        ({"least_deadline": 0.0}, "least_deadline = 0.0"),
        ({"jump": 0.5}, "jump = 0.5"),
        ({"outage_every_s": 0.0}, "outage_every_s = 0.0"),
        ({"without_features": 1.5}, "without_features = 1.5"),
    ],
)
def test_scenarios_that_make_no_sense_are_refused(changed: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        replace(Scenarios(), **changed)


def test_shares_of_sizes_vary() -> None:
    traces = Scenarios().draw(DETECTOR, np.random.default_rng(0), 100, 20)
    assert traces.shares.shape == (20, 100, 3)
    assert traces.shares.std(axis=(0, 1)).min() > 0.1
    rows = Simulation(DETECTOR, traces).measured
    assert (rows[:, SHARES:] == traces.shares[0]).all()
