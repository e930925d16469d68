"""One look: what is sent and fused, computed times, late answers, and what methods learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.bench.measure import PATIENCE, Conditions, Looker, Measured
from re_pose_ros.bench.methods import Partitioned
from re_pose_ros.bench.pool import CLOCKS, Answer, Pool, Task
from re_pose_ros.detections import Detections
from re_pose_ros.frame import Frame
from re_pose_ros.fusion.fuse import FusionSettings
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.plan import BlockRequest, Expectation, Variant
from re_pose_ros.planning.makespan import Network

SPEEDS = {"edge_0": 1.0, "edge_1": 0.5, "edge_2": 2.0}
NETWORK = Network(8.0)  # a byte per microsecond
FRAME = Frame(np.zeros((400, 1600, 3), np.uint8), 3, stamp_ns=77)
NOTHING = GroundTruth.empty()


@dataclass
class Time:
    """A clock that stands still but where it is told to go on."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The robot's own work takes no time."""
    now = Time()
    monkeypatch.setitem(CLOCKS, "wall", now)
    return now


@dataclass
class FakePool:
    """Each task answers with one box in the middle of its block, after the times given.

    ``alone_ms`` is what tasks take one by one, ``busy_ms`` when all are given at once.
    """

    alone_ms: float = 10.0
    busy_ms: float = 1000.0
    confidence: float = 0.9
    cores: tuple[int, ...] = (0,)
    ran: list[list[tuple[int, Task]]] = field(default_factory=list)

    def run(self, tasks: Sequence[tuple[int, Task]]) -> list[Answer]:
        self.ran.append(list(tasks))
        ms = self.alone_ms if len(tasks) == 1 else self.busy_ms
        return [self._answer(task.roi, ms) for _, task in tasks]

    def _answer(self, roi: Block, ms: float) -> Answer:
        x, y = roi.x + roi.width / 2, roi.y + roi.height / 2
        box = (x - 10, y - 10, x + 10, y + 10)
        return Answer(Detections.of([box], [self.confidence], [0]), 0.25 * ms, 0.75 * ms, 1.0)


class Planner:
    """Blocks side by side on the workers named; a budget where one is given."""

    name = "planner"
    notes: tuple[str, ...] = ()
    settings = PartitionSettings()

    def __init__(
        self, workers: Sequence[str], budget_ms: float | None = None, clock: Time | None = None
    ) -> None:
        self.workers = workers
        self.expected: Expectation | None = None
        self.budget_ms = budget_ms
        self.clock = clock or Time()
        self.learned: list[FrameOutcome] = []
        self.contexts: list[PartitionContext] = []

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        self.contexts.append(context)
        self.clock.seconds += 0.002
        if self.budget_ms is not None:
            self.expected = Expectation(2.5, 33.0, self.budget_ms, "accuracy")
        return [
            BlockRequest(Block(100 * k, 0, 100, 100), Variant("net", 320), worker=worker)
            for k, worker in enumerate(self.workers)
        ]

    def observe(self, outcome: FrameOutcome) -> None:
        self.clock.seconds += 0.005
        self.learned.append(outcome)


def looker(planner: Planner, pool: FakePool, **options: Any) -> Looker:
    method = Partitioned("planner", lambda: planner, (Variant("net", 320),), SPEEDS, 16, **options)
    return Looker(method, cast(Pool, pool), Conditions(NETWORK, FusionSettings()))


def look(planner: Planner, pool: FakePool | None = None, **options: Any) -> Measured:
    one = looker(planner, pool or FakePool(), **options)
    return one.look(FRAME, NOTHING, SPEEDS, alone=True)


def test_times_are_computed_from_blocks_measured_alone(clock: Time) -> None:
    pool = FakePool()
    found = look(Planner(["edge_0", "edge_1", "edge_1", "edge_2"]), pool)
    sizes = [len(task.data) for _, task in pool.ran[0]]
    arrived = np.cumsum(sizes) / 1000
    first = arrived[1] + 20
    done = [arrived[0] + 10, first, max(first, arrived[2]) + 20, arrived[3] + 5]
    assert found.timing.makespan_ms == pytest.approx(max(done))
    assert found.timing.all_answers_ms == found.timing.makespan_ms
    assert found.timing.serial_ms == 40 and found.timing.decode_ms == 10
    assert found.timing.transfer_ms == pytest.approx(sum(sizes) / 1000)
    assert found.timing.late == 0 and found.timing.blocks == 4 and len(found.detections) == 4
    assert [len(tasks) for tasks in pool.ran] == [4, 1, 1, 1, 1]
    assert [task.rehearsed for _, task in pool.ran[0]] == [False] * 4
    assert all(tasks[0][1].rehearsed for tasks in pool.ran[1:])


def test_blocks_that_name_a_worker_are_spread_over_the_cores_there_are(clock: Time) -> None:
    pool = FakePool(cores=(0, 1))
    look(Planner(["edge_2"] * 6), pool)
    assert sorted(number for number, _ in pool.ran[0]) == [0, 0, 0, 1, 1, 1]


def test_late_answers_are_missed_and_their_times_are_learned(clock: Time) -> None:
    planner = Planner(["edge_0", "edge_1", "edge_1"], budget_ms=30.0)
    pool = FakePool()
    one = looker(planner, pool)
    found = one.look(FRAME, NOTHING, SPEEDS, alone=True)
    assert found.timing.late == 1 and len(found.detections) == 2
    assert set(found.detections.block) == {0, 1}
    assert found.timing.makespan_ms == pytest.approx(PATIENCE * 30)
    assert found.timing.all_answers_ms > 40
    assert found.expected == Expectation(2.5, 33.0, 30.0, "accuracy")
    one.look(FRAME, NOTHING, SPEEDS, alone=True)
    (outcome,) = planner.learned
    sizes = [len(task.data) for _, task in pool.ran[0]]
    assert outcome.answered == (True, True, False) and outcome.stamp_ns == 77
    assert [o.compute_ms for o in outcome.outcomes] == [10.0, 20.0, 20.0]
    assert [o.sent_bytes for o in outcome.outcomes] == sizes
    transfers = [o.transfer_ms for o in outcome.outcomes]
    assert transfers == pytest.approx([size / 1000 for size in sizes])
    assert [o.encode_ms for o in outcome.outcomes] == [0.0] * 3
    assert len(outcome.detections) == 2


def test_what_is_later_than_any_patience_leaves_nothing(clock: Time) -> None:
    found = look(Planner(["edge_0", "edge_1"], budget_ms=5.0))
    assert found.timing.late == 2 and len(found.detections) == 0
    assert found.timing.makespan_ms == pytest.approx(5.5)


def test_methods_without_a_budget_wait(clock: Time) -> None:
    found = look(Planner(["edge_1"] * 8))
    assert found.timing.late == 0 and len(found.detections) == 8
    assert found.expected is None and found.timing.makespan_ms > 160


def test_planning_and_learning_are_charged_once(clock: Time) -> None:
    """A frame pays for what is learned from the one before, as in the graph."""
    planner = Planner(["edge_0"], clock=clock)
    one = looker(planner, FakePool())
    timings = [one.look(FRAME, NOTHING, SPEEDS, alone=True).timing for _ in range(3)]
    assert [timing.partition_ms for timing in timings] == pytest.approx([2.0, 7.0, 7.0])
    assert [outcome.overhead_ms for outcome in planner.learned] == pytest.approx([2.0, 7.0])
    one.begin()
    assert one.look(FRAME, NOTHING, SPEEDS, alone=True).timing.partition_ms == pytest.approx(2.0)
    assert len(planner.learned) == 2, "the last frame of a sequence teaches nothing"


def test_a_look_that_does_not_count_takes_the_pools_times(clock: Time) -> None:
    planner = Planner(["edge_0", "edge_2"])
    pool = FakePool(busy_ms=40.0)
    one = looker(planner, pool)
    one.look(FRAME, NOTHING, SPEEDS, alone=False)
    assert len(pool.ran) == 1 and all(task.rehearsed for _, task in pool.ran[0])
    one.look(FRAME, NOTHING, SPEEDS, alone=True)
    assert [outcome.compute_ms for outcome in planner.learned[0].outcomes] == [40.0, 20.0]


def test_a_slower_worker_is_slower_at_once_and_nobody_is_told(clock: Time) -> None:
    planner = Planner(["edge_0", "edge_2"])
    one = looker(planner, FakePool())
    one.look(FRAME, NOTHING, SPEEDS | {"edge_2": 0.5}, alone=True)
    one.look(FRAME, NOTHING, SPEEDS, alone=True)
    assert [outcome.compute_ms for outcome in planner.learned[0].outcomes] == [10.0, 20.0]
    assert [context.speeds for context in planner.contexts] == [tuple(SPEEDS.values())] * 2


@pytest.mark.parametrize(("everything", "learned"), [(False, 0), (True, 1)])
def test_some_methods_learn_from_sure_detections_only(
    clock: Time, everything: bool, learned: int
) -> None:
    planner = Planner(["edge_0"])
    one = looker(planner, FakePool(confidence=0.2), learns_from_all=everything)
    assert len(one.look(FRAME, NOTHING, SPEEDS, alone=True).detections) == 1
    one.look(FRAME, NOTHING, SPEEDS, alone=True)
    assert len(planner.learned[0].detections) == learned


@given(
    st.lists(st.sampled_from(sorted(SPEEDS)), min_size=1, max_size=12),
    st.floats(5.0, 300.0),
    st.floats(0.5, 60.0),
)
def test_nobody_waits_longer_than_patience(
    workers: list[str], budget_ms: float, block_ms: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLOCKS, "wall", Time())
        found = look(Planner(workers, budget_ms), FakePool(alone_ms=block_ms))
    timing, patience = found.timing, PATIENCE * budget_ms
    assert timing.makespan_ms <= patience + 1e-9
    assert (timing.late > 0) == (timing.all_answers_ms > patience)
    assert len(found.detections) == len(workers) - timing.late
    if not timing.late:
        assert timing.makespan_ms == timing.all_answers_ms
