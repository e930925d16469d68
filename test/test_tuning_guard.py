"""A policy that does worse than the one before is found out; one that does not may stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tuning_cases as cases
from fine_tuning_cases import recorded

from re_pose_ros.errors import InputError
from re_pose_ros.tuning.guard import Bound, Guard
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.rules import Fixed, Greedy
from re_pose_ros.tuning.scenarios import Scenarios
from re_pose_ros.tuning.transitions import Transition

TABLE = cases.detector_table()
BOUND = Bound(window=60)
GREEDY = Greedy(TABLE, caution=1.1)
BAD = Fixed(TABLE.fallback, TABLE.fallback)


def lived(chooser: object, seed: int, count: int = 80) -> list[Transition]:
    traces = Scenarios().draw(TABLE, np.random.default_rng(seed), 1, count + 1)
    return recorded(chooser, TABLE, traces)  # type: ignore[arg-type]


def shown(guard: Guard, transitions: list[Transition], offset: int) -> tuple[bool, str] | None:
    """Tell a guard what came, until it has judged."""
    for entry in transitions:
        guard.take(replace(entry, stamp_ns=entry.stamp_ns + offset))
        judged = guard.judge()
        if judged is not None:
            return judged
    return None


@pytest.mark.parametrize("seed", range(6))
def test_the_same_policy_may_stay_and_a_bad_one_may_not(seed: int) -> None:
    before, after = lived(GREEDY, seed, 160)[:80], lived(GREEDY, seed, 160)[80:]
    guard = Guard(TABLE, BOUND)
    assert not guard.ready and shown(guard, before, 0) is None and guard.ready
    guard.begin(79)
    assert guard.watching
    stays, by = shown(guard, after, 0) or (False, "")
    assert stays and "over 60 decisions" in by
    assert not guard.watching and guard.ready

    guard.begin(1000)
    stays, by = shown(guard, lived(BAD, seed), 2000) or (True, "")
    assert not stays, by
    assert not guard.watching and not guard.ready


def test_much_worse_is_enough_before_the_window_is_over() -> None:
    guard = Guard(TABLE, BOUND)
    shown(guard, lived(GREEDY, 1), 0)
    guard.begin(100)
    late = [replace(entry, latency_ms=1e4) for entry in lived(GREEDY, 1)]
    stays, by = shown(guard, late, 1000) or (True, "")
    assert not stays and "over 20 decisions" in by


def test_decisions_of_the_policy_before_do_not_count() -> None:
    guard = Guard(TABLE, BOUND)
    shown(guard, lived(GREEDY, 1), 0)
    guard.begin(100)
    late = [replace(entry, latency_ms=1e4) for entry in lived(GREEDY, 1)]
    assert shown(guard, late, 0) is None and guard.seen == 0 and guard.watching


def test_hard_times_do_not_count_against_a_policy() -> None:
    """Deadlines become three times as short when it comes into use."""
    easy, hard = lived(GREEDY, 2), []
    for entry in lived(GREEDY, 3):
        state = entry.state.copy()
        state[5] = entry.deadline_ms / 3
        hard.append(replace(entry, state=state, deadline_ms=entry.deadline_ms / 3))
    again = lived_in(hard)
    guard = Guard(TABLE, BOUND)
    shown(guard, easy, 0)
    guard.begin(100)
    stays, by = shown(guard, again, 1000) or (False, "")
    assert stays, by


def lived_in(states: list[Transition]) -> list[Transition]:
    """What the greedy rule would have done in states, where all is as predicted."""
    found = []
    for entry in states:
        row = entry.state[None]
        action = int(GREEDY.choose(row, np.array([entry.last]), entry.allowed[None])[0])
        took = float(latency_ms(TABLE, row)[0, action])
        found.append(replace(entry, action=action, latency_ms=took))
    return found


def test_lateness_has_a_bound_of_its_own() -> None:
    guard = Guard(TABLE, Bound(window=60, loss=10.0, late=0.1))
    shown(guard, lived(GREEDY, 1), 0)
    guard.begin(100)
    late = lived(GREEDY, 1)
    late[::5] = [replace(entry, latency_ms=1e4) for entry in late[::5]]
    stays, by = shown(guard, late, 1000) or (True, "")
    assert not stays and "+20.0% late" in by


@pytest.mark.parametrize("changed", [{"window": 1}, {"loss": -1.0}, {"late": float("nan")}])
def test_bounds_that_make_no_sense_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Bound(**changed)  # type: ignore[arg-type]
