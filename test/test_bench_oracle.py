"""The oracle: everything is tried, and nothing is better."""

from __future__ import annotations

from collections.abc import Sequence

import bench_model
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.bench.oracle import MOST, Oracle, best_groups, score, set_partitions
from re_pose_ros.bench.profiles import worker_profiles
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.base import PartitionContext, PartitionSettings
from re_pose_ros.partition.groups import Groups
from re_pose_ros.partition.policies import greedy
from re_pose_ros.partition.re_pose import RePose, RePoseOptions
from re_pose_ros.partition.refine import State, Terms

SPEEDS = {"edge_0": 1.0, "edge_1": 0.5, "edge_2": 2.0}
PROFILE = bench_model.profile()
CONTEXT = PartitionContext(
    (3840, 2160),
    24,
    tuple(entry.variant for entry in PROFILE.variants),
    tuple(SPEEDS.values()),
    dict.fromkeys(SPEEDS, 8),
    worker_profiles(PROFILE, SPEEDS),
)
CENTRES = [(300, 300), (1900, 400), (3500, 500), (500, 1700), (2000, 1800), (3300, 1900)]


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the package has tests of its own."""
    monkeypatch.setattr(Agent, "load", classmethod(lambda cls: greedy))


def crowd(centres: Sequence[tuple[float, float]], seed: int = 0) -> ObjectDistribution:
    """Some small objects around each centre."""
    random = np.random.default_rng(seed)
    middles = np.repeat(np.array(centres, float), 3, axis=0)
    middles += random.uniform(-60, 60, middles.shape)
    half = random.uniform(10, 25, (len(middles), 1))
    return ObjectDistribution.of(np.concatenate([middles - half, middles + half], axis=1))


def begun(objects: ObjectDistribution, budget_ms: float = 60.0) -> State:
    """The groups before they are refined, and what there is to look with."""
    planner = RePose(PartitionSettings(budget_ms=budget_ms), RePoseOptions("none"))
    began: list[State] = []

    def stop(state: State, steps: int) -> State:
        began.append(state)
        return state

    planner._refiner = stop
    planner.know(objects)
    planner._schedule.planned(True)  # no look is due
    planner.partition(CONTEXT)
    (first,) = began
    return first


@pytest.mark.parametrize(("count", "bell"), [(0, 1), (1, 1), (2, 2), (3, 5), (5, 52), (8, 4140)])
def test_there_are_as_many_set_partitions_as_bell_says(count: int, bell: int) -> None:
    found = list(set_partitions(count))
    assert len({frozenset(groups) for groups in found}) == len(found) == bell
    for groups in found:
        assert sum(groups) == (1 << count) - 1 and all(groups)
        assert np.bitwise_or.reduce(np.array([0, *groups])) == (1 << count) - 1


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 5), st.floats(20.0, 200.0))
def test_no_way_of_putting_parts_together_is_better(seed: int, count: int, budget: float) -> None:
    """Against all of them, each planned for as the planner does it."""
    first = begun(crowd(CENTRES[:count], seed), budget)
    groups, conditions = first.groups, first.conditions
    if len(groups) > 5:
        return
    best = best_groups(groups, conditions, most=len(groups))
    assert best is not None
    objects = groups.objects
    every = []
    for masks in set_partitions(len(groups)):
        parts = [
            np.sort(
                np.concatenate([groups.members[k] for k in range(len(groups)) if mask >> k & 1])
            )
            for mask in masks
        ]
        every.append(State.of(Groups.of(objects, parts), conditions).score(Terms()))
    assert score(best, conditions) == pytest.approx(max(every))
    there = np.sort(np.concatenate(best.members))
    assert there.tolist() == list(range(len(objects)))


def test_few_clusters_are_split_and_many_are_left_alone() -> None:
    first = begun(crowd(CENTRES[:2]))
    whole = best_groups(first.groups, first.conditions, most=len(first.groups))
    more = best_groups(first.groups, first.conditions)
    assert whole is not None and more is not None
    assert score(more, first.conditions) >= score(whole, first.conditions)
    assert best_groups(first.groups, first.conditions, most=len(first.groups) - 1) is None


def test_an_oracle_is_no_worse_than_what_it_falls_back_to() -> None:
    clock = iter(np.arange(0.0, 1e3, 0.25))
    oracle = Oracle(PartitionSettings(budget_ms=60.0), "oracle", lambda: float(next(clock)))
    oracle.know(crowd(CENTRES[:3]))
    assert oracle.partition(CONTEXT) and oracle.expected is not None
    assert oracle.search.exact and oracle.search.ms == 250.0
    far = [(200 + 300 * k, 200 + 400 * (k % 5)) for k in range(12)]
    first = begun(crowd(far))
    assert len(first.groups) > MOST
    oracle = Oracle(PartitionSettings(budget_ms=60.0), "oracle", lambda: float(next(clock)))
    told = RePose(PartitionSettings(budget_ms=60.0), RePoseOptions())
    oracle.know(crowd(far))
    told.know(crowd(far))
    blocks = [[request.block for request in p.partition(CONTEXT)] for p in (oracle, told)]
    assert not oracle.search.exact and blocks[0] == blocks[1]
    oracle.know(ObjectDistribution.empty())
    oracle.partition(CONTEXT)
    assert oracle.search.exact, "there is nothing to put together"
