"""The planner from frame to frame: what it looks at, what it learns, and how it is changed live."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import partition_cases as cases
import pytest

from re_pose_ros.detections import Detections
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.geometry import iou
from re_pose_ros.partition import PARTITIONERS, make_partitioner
from re_pose_ros.partition import looks as looks_module
from re_pose_ros.partition import re_pose as re_pose_module
from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.partition.blocks import TOLERATED, Chosen
from re_pose_ros.partition.looks import Looks
from re_pose_ros.partition.policies import greedy
from re_pose_ros.partition.re_pose import RePose, RePoseOptions
from re_pose_ros.plan import BlockRequest
from re_pose_ros.planning.makespan import BlockCost, Network, makespan_ms

WORKERS = ("edge_0", "edge_1", "edge_2", "edge_3")


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the package has tests of its own."""
    monkeypatch.setattr(Agent, "load", classmethod(lambda cls: greedy))


def boxes_of(count: int, seed: int = 0) -> np.ndarray:
    return cases.crowd(np.random.default_rng(seed), count).xyxy


def area_shown(requests: list[BlockRequest]) -> float:
    """Share of the frame that the blocks show."""
    shown = np.zeros((cases.FRAME[1] // 10, cases.FRAME[0] // 10), bool)
    for request in requests:
        left, top, right, bottom = (at // 10 for at in request.block.xyxy)
        shown[top:bottom, left:right] = True
    return float(shown.mean())


# Every frame.


@pytest.mark.parametrize("name", ["re_pose", "greedy"])
def test_the_same_frames_give_the_same_blocks(name: str) -> None:
    def run() -> list[list[BlockRequest]]:
        planner = make_partitioner(name, PartitionSettings(budget_ms=120.0))
        assert isinstance(planner, RePose) and planner.name == name
        random = np.random.default_rng(5)
        where, found = cases.context(), []
        boxes = boxes_of(30)
        for _ in range(6):
            boxes = boxes + random.normal(0, 3, (len(boxes), 1))
            there = cases.seen(np.clip(boxes, 0, np.tile(cases.FRAME, 2)))
            found.append(cases.step(planner, where, there)[0])
        return found

    first = run()
    assert first == run()
    assert len({len(requests) for requests in first}) > 1


@pytest.mark.parametrize("frame_size", [(640, 480), (200, 1700), (33, 7), (1, 1), (7680, 4320)])
@pytest.mark.parametrize("budget", [10.0, 150.0])
def test_any_frame_gets_at_least_one_block_within_it(
    frame_size: tuple[int, int], budget: float
) -> None:
    where = cases.context(frame_size=frame_size, slots=2)
    planner = cases.planner(PartitionSettings(budget_ms=budget))
    middle = np.array(frame_size) / 2
    boxes = np.concatenate([middle * 0.8, middle * 1.2])
    for _ in range(5):
        requests, _ = cases.step(planner, where, cases.seen(boxes))
        assert 1 <= len(requests) <= where.slots
        for request in requests:
            x1, y1, x2, y2 = request.block.xyxy
            assert min(x1, y1) >= 0 and x2 <= frame_size[0] and y2 <= frame_size[1]
        assert planner.expected is not None
        assert len(planner.expected.done_ms) == len(requests)


@pytest.mark.parametrize(
    ("refinement", "left_out"),
    list(product(["agent", "greedy", "none"], ["", "tracking", "knapsack", "perspective"])),
)
def test_it_runs_without_any_of_its_parts(refinement: str, left_out: str) -> None:
    kept = {part: part != left_out for part in ("tracking", "knapsack", "perspective")}
    options = RePoseOptions(refinement, **kept)  # type: ignore[arg-type]
    planner = cases.planner(PartitionSettings(budget_ms=150.0), options)
    where, boxes = cases.context(), boxes_of(25)
    for k in range(12):
        requests, _ = cases.step(planner, where, cases.seen(boxes if k != 6 else []))
        assert requests and not planner.notes
    found = planner.expected
    assert found is not None and found.value > 0 and found.clusters


@pytest.mark.parametrize("left_out", ["tracking", "knapsack", "perspective", "agent"])
def test_each_part_makes_a_difference(left_out: str) -> None:
    kept = {part: part != left_out for part in ("tracking", "knapsack", "perspective")}
    without = RePoseOptions("none" if left_out == "agent" else "greedy", **kept)
    where, boxes = cases.context(), boxes_of(60, 4)
    random = np.random.default_rng(0)
    # Higher up they are smaller, and one in three is missed in each frame.
    boxes[:, 2:] = boxes[:, :2] + 10 + 0.05 * boxes[:, 1:2]
    planners = [cases.planner(PartitionSettings(budget_ms=100.0), o) for o in (None, without)]
    different = 0
    for _ in range(8):
        there = cases.seen(boxes[random.random(len(boxes)) < 0.67])
        first, second = (cases.step(planner, where, there)[0] for planner in planners)
        different += first != second
    assert different >= 4


# What it knows of the workers.


def test_without_profiles_it_does_as_clusters_and_says_so() -> None:
    where = cases.context()
    unknown = replace(where, profiles={})
    planner = cases.planner()
    plain = make_partitioner("clusters")
    for k in range(4):
        assert planner.partition(unknown) == plain.partition(unknown)
        assert len(planner.notes) == 1 and "clusters" in planner.notes[0]
        assert planner.expected is None
        there = FrameOutcome(cases.seen(boxes_of(10 + k)))
        planner.observe(there)
        plain.observe(there)
    assert planner.partition(where) and planner.notes == () and planner.expected is not None


def test_workers_without_a_profile_get_nothing_and_are_named() -> None:
    where = cases.context(dict.fromkeys(WORKERS, 1.0))
    known = {name: where.profiles[name] for name in ("edge_0", "edge_2")}
    planner = cases.planner()
    for _ in range(4):
        requests, _ = cases.step(planner, replace(where, profiles=known), cases.seen(boxes_of(20)))
        assert {request.worker for request in requests} <= set(known)
        assert len(planner.notes) == 1
        assert "edge_1" in planner.notes[0] and "edge_3" in planner.notes[0]
        assert "edge_0" not in planner.notes[0]


def test_workers_may_come_and_go() -> None:
    planner, everyone = cases.planner(), dict.fromkeys(WORKERS, 1.0)
    for there in (WORKERS, WORKERS[:1], WORKERS[2:], WORKERS):
        where = cases.context({name: everyone[name] for name in there})
        for _ in range(3):
            requests, _ = cases.step(planner, where, cases.seen(boxes_of(20)))
            assert {request.worker for request in requests} <= set(there)


# Where it looks.


def test_the_first_frame_is_looked_at_as_a_whole() -> None:
    planner = cases.planner(PartitionSettings(budget_ms=300.0))
    assert area_shown(planner.partition(cases.context())) == 1.0


def settled(planner: RePose, where: PartitionContext, frames: int = 8) -> Detections:
    """A planner that knows what is there."""
    there = cases.seen(boxes_of(12, 2))
    for _ in range(frames):
        cases.step(planner, where, there)
    assert area_shown(planner.partition(where)) < 0.9
    return there


@pytest.mark.parametrize("budget", [20.0, 40.0, 48.0, 60.0, 80.0, 120.0, 200.0])
def test_of_looks_at_everything_that_are_in_time_the_plan_that_is_worth_most_is_taken(
    budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(per_side: tuple[int, ...]) -> tuple[list[BlockRequest], float, float]:
        planner = cases.planner(PartitionSettings(budget_ms=budget))
        plans: list[Chosen] = []

        def chosen(*given: Any) -> Chosen:
            plans.append(RePose._chosen(planner, *given))
            return plans[-1]

        def grids(context: PartitionContext) -> list[Looks]:
            return [RePose._grids(planner, context)[n - 1] for n in per_side]

        monkeypatch.setattr(planner, "_chosen", chosen)
        monkeypatch.setattr(planner, "_grids", grids)
        requests = planner.partition(cases.context())
        (own,) = [plan for plan in plans if list(plan.requests) == requests]
        return requests, own.worth, own.makespan_ms

    alone, taken = [first((n,)) for n in (1, 2, 3, 4)], first((1, 2, 3, 4))
    assert taken in alone
    if in_time := [own for own in alone if own[2] <= budget * (1 + TOLERATED)]:
        assert taken == max(in_time, key=lambda own: own[1])


@pytest.mark.parametrize(
    ("plans", "best"),
    [
        ([(1.0, 90.0), (3.0, 102.0), (9.0, 104.0)], 1),
        ([(2.0, 90.0), (2.0, 80.0)], 0),
        ([(9.0, 130.0), (1.0, 120.0)], 1),
    ],
)
def test_a_look_at_everything_is_in_time_if_any_is(
    plans: list[tuple[float, float]], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [Chosen((), 0.0, worth, makespan, (), 1.0) for worth, makespan in plans]
    planner, left = cases.planner(PartitionSettings(budget_ms=100.0)), iter(made)
    monkeypatch.setattr(planner, "_chosen", lambda *given: next(left))
    nothing = [Looks.none()] * len(made)
    assert planner._best(Any, nothing, Any, {}) is made[best]  # type: ignore[arg-type]


def test_the_first_look_does_not_depend_on_how_much_is_thought_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What a rounding error decides between is not worth the same once it is planned.
    for budget in np.arange(20.0, 121.0, 10.0).tolist():
        seen = []
        for count in (7.0, 20.0, 60.0):
            monkeypatch.setattr(looks_module, "UNKNOWN_OBJECTS", count)
            planner = cases.planner(PartitionSettings(budget_ms=budget))
            requests = planner.partition(cases.context())
            sides = [(r.block.width, r.block.height) for r in requests]
            seen.append((sorted(sides), sorted(str(r.variant) for r in requests)))
        assert seen[0] == seen[1] == seen[2]


def test_another_picture_brings_a_look_at_everything() -> None:
    dark, bright = (np.full((18, 32), level, np.uint8) for level in (60, 60))
    bright[:, :12] = 200
    where = replace(cases.context(), thumbnail=dark)
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=100))
    there = settled(planner, where)
    changed = replace(where, thumbnail=bright)
    assert area_shown(cases.step(planner, changed, there)[0]) == 1.0
    # The new picture is the usual one from then on.
    for _ in range(5):
        assert area_shown(cases.step(planner, changed, there)[0]) < 0.9


def test_brighter_light_is_no_other_picture() -> None:
    where = replace(cases.context(), thumbnail=np.full((18, 32), 60, np.uint8))
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=100))
    there = settled(planner, where)
    brighter = replace(where, thumbnail=np.full((18, 32), 120, np.uint8))
    for _ in range(5):
        assert area_shown(cases.step(planner, brighter, there)[0]) < 0.9


def test_when_all_are_gone_it_looks_everywhere() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=100))
    settled(planner, where)
    elsewhere = cases.seen(boxes_of(40, 9))
    cases.step(planner, where, elsewhere)
    assert area_shown(cases.step(planner, where, elsewhere)[0]) == 1.0


def test_a_change_is_seen_however_long_nothing_happened() -> None:
    dark, bright = (np.full((18, 32), level, np.uint8) for level in (60, 60))
    bright[:, :12] = 200
    where = replace(cases.context(), thumbnail=dark)
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=1000))
    there = settled(planner, where)
    for _ in range(1005):
        planner._schedule.planned(False)
    assert area_shown(cases.step(planner, replace(where, thumbnail=bright), there)[0]) == 1.0


def test_a_frame_of_another_size_starts_over() -> None:
    planner = cases.planner(PartitionSettings(budget_ms=300.0))
    large, small = cases.context(), cases.context(frame_size=(1280, 720))
    settled(planner, large)
    requests, _ = cases.step(planner, small, cases.seen([]))
    shown = np.zeros((720, 1280), bool)
    for request in requests:
        left, top, right, bottom = request.block.xyxy
        assert right <= 1280 and bottom <= 720
        shown[top:bottom, left:right] = True
    assert shown.all()
    assert planner.expected is not None and planner.expected.value == 0


def test_empty_frames_are_looked_at_bit_by_bit() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=10))
    shown = [area_shown(cases.step(planner, where, cases.seen([]))[0]) for _ in range(40)]
    assert shown[0] == 1.0
    assert np.mean(shown[1:]) < 0.5
    assert np.mean(shown[1:]) > 1 / 11


def test_a_lone_object_has_its_block_with_the_usual_inputs() -> None:
    where = cases.context(inputs=(320, 640))
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=100))
    box = (1000.0, 1000.0, 1020.0, 1030.0)
    for _ in range(6):
        requests, _ = cases.step(planner, where, cases.seen(box))
    assert area_shown(requests) < 0.5
    assert planner.expected is not None and planner.expected.value > 0.5


# What the user changes.


@pytest.mark.parametrize("budget", [5.0, 8.0])
def test_a_budget_that_is_used_up_before_anything_is_sent(budget: float) -> None:
    planner, where = cases.planner(PartitionSettings(budget_ms=budget)), cases.context()
    there = cases.seen(boxes_of(10))
    for _ in range(4):
        requests = planner.partition(where)
        assert requests
        blocks = cases.placed(requests, where)
        planner.observe(cases.outcome(blocks, there, cases.USUAL, overhead_ms=9.0))


def test_budget_and_objective_hold_from_the_next_frame_on() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=300.0, unseen_frames=100))
    there = cases.seen(boxes_of(60, 3))
    for _ in range(5):
        cases.step(planner, where, there)
    long = planner.expected
    planner.settings = replace(planner.settings, budget_ms=60.0)
    cases.step(planner, where, there)
    short = planner.expected
    assert long is not None and short is not None
    assert short.budget_ms == 60 and short.makespan_ms <= 61.5 < long.makespan_ms
    assert short.value < long.value
    planner.settings = replace(planner.settings, budget_ms=300.0, objective="latency")
    cases.step(planner, where, there)
    quick = planner.expected
    assert quick is not None and quick.objective == "latency"
    assert quick.makespan_ms < long.makespan_ms


def test_how_sharply_to_look_holds_from_the_next_frame_on() -> None:
    """Else no look counts any more, and everything is always due."""
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=500.0, whole_size=2560))
    there = cases.seen([])
    for _ in range(3):
        cases.step(planner, where, there)
    planner.settings = replace(planner.settings, whole_size=640)
    for _ in range(15):
        cases.step(planner, where, there)
    assert planner._coverage.least_scale < 640 / 3840
    assert planner._coverage.age().max() <= planner.settings.unseen_frames


def test_what_is_told_is_planned_for() -> None:
    where = cases.context()
    planner = cases.planner(
        PartitionSettings(budget_ms=300.0, unseen_frames=100, most_enlarged=2.0)
    )
    for seed in range(4):
        told = cases.crowd(np.random.default_rng(seed), 20)
        told = ObjectDistribution.of(told.xyxy)
        planner.know(told)
        requests, _ = cases.step(planner, where, cases.seen([]))
        blocks = np.array([request.block.xyxy for request in requests], float)
        inside = (blocks[:, None, :2] <= told.xyxy[:, :2]) & (
            blocks[:, None, 2:] >= told.xyxy[:, 2:]
        )
        assert inside.all(axis=2).any(axis=0).mean() > 0.9
        found = planner.expected
        assert found is not None and found.value > 0.5 * len(told)


def test_what_is_expected_follows_the_objects() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=200.0, unseen_frames=100))
    boxes = boxes_of(15, 6)
    for k in range(10):
        moved = boxes + 6.0 * k
        requests, _ = cases.step(
            planner, where, cases.seen(np.clip(moved, 0, np.tile(cases.FRAME, 2)))
        )
    small = np.array([r.block.xyxy for r in requests], float)
    inside = (small[:, None, :2] <= moved[:, :2] + 1) & (small[:, None, 2:] >= moved[:, 2:] - 1)
    assert inside.all(axis=2).any(axis=0).mean() > 0.8
    assert planner.expected is not None
    assert planner.expected.value == pytest.approx(len(boxes), rel=0.5)


def test_clusters_of_the_plan_hold_what_is_expected() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=200.0))
    told = ObjectDistribution.of(boxes_of(20, 7))
    planner.know(told)
    cases.step(planner, where, cases.seen([]))
    found = planner.expected
    assert found is not None
    rects = np.array([block.xyxy for block in found.clusters], float)
    assert (iou(told.xyxy, rects) > 0).any(axis=1).all()


def test_every_planner_is_in_the_registry() -> None:
    assert {"re_pose", "greedy"} <= set(PARTITIONERS)
    assert re_pose_module.RePoseOptions() == RePoseOptions("agent", True, True, True)


def test_what_takes_longer_than_is_known_is_set_aside() -> None:
    """Forty milliseconds that no cost tells, as those of a middleware."""
    where, budget = cases.context(), 200.0
    planner = cases.planner(PartitionSettings(budget_ms=budget, unseen_frames=1000))
    there = cases.seen(cases.crowd(np.random.default_rng(2), 80).xyxy)
    happened = []
    for _ in range(14):
        blocks = cases.placed(planner.partition(where), where)
        came = cases.outcome(blocks, there, cases.USUAL, overhead_ms=cases.OVERHEAD)
        expected = planner.expected
        assert expected is not None and expected.makespan_ms <= budget * 1.04
        costs = [
            BlockCost(b.slot.worker, o.encode_ms or 0, o.sent_bytes or 0, o.compute_ms or 0)
            for b, o in zip(blocks, came.outcomes, strict=True)
        ]
        done = makespan_ms(costs, cases.OVERHEAD, 0.0, Network(), {}) + 40.0
        planner.observe(replace(came, makespan_ms=done))
        happened.append((done, expected.makespan_ms))
    assert all(done <= 1.05 * budget for done, _ in happened[-4:])
    assert all(abs(done - told) < 25 for done, told in happened[-4:])
