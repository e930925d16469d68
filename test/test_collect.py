"""Waiting for answers: every order of events gives each frame once and in order."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.errors import InputError
from re_pose_ros.fusion.collect import EARLY_ANSWERS_PER_FRAME, FrameCollector
from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot

A0, A1, B0 = Slot("a", 0), Slot("a", 1), Slot("b", 0)


def plan_of(stamp: int, *slots: Slot) -> Plan:
    request = BlockRequest(Block(0, 0, 8, 8))
    return Plan(stamp, "camera", tuple(PlannedBlock(slot, request) for slot in slots))


def test_a_frame_comes_when_its_last_answer_does() -> None:
    box = FrameCollector[str](1.0)
    assert box.add_plan(plan_of(1, A0, B0), 10.0)
    assert box.add_answer(B0, 1, "b", 10.2) and box.pop_ready(10.2) == []
    assert box.add_answer(A0, 1, "a", 10.5)
    (frame,) = box.pop_ready(10.6)
    assert frame.answers == {A0: "a", B0: "b"} and frame.missing == ()
    assert frame.arrivals == {A0: 10.5, B0: 10.2} and frame.waited == pytest.approx(0.6)
    assert box.pop_ready(99.0) == [] and box.next_deadline() is None


def test_answers_may_come_before_their_plan() -> None:
    box = FrameCollector[str](1.0)
    assert box.add_answer(A0, 1, "a", 0.0) and not box.add_answer(A0, 1, "again", 0.0)
    box.add_answer(B0, 1, "not asked", 0.0)
    box.add_plan(plan_of(1, A0), 0.1)
    (frame,) = box.pop_ready(0.1)
    assert frame.answers == {A0: "a"} and frame.arrivals == {A0: 0.0}
    assert box.counts.duplicate_answers == box.counts.unknown_answers == 1


def test_the_deadline_gives_out_what_is_there() -> None:
    box = FrameCollector[str](0.5)
    box.add_plan(plan_of(1, A0, B0), 1.0)
    box.add_answer(A0, 1, "a", 1.1)
    assert box.next_deadline() == 1.5 and box.pop_ready(1.49) == []
    (frame,) = box.pop_ready(1.5)
    assert frame.missing == (B0,) and box.counts.partial == 1
    assert not box.add_answer(B0, 1, "b", 1.6) and box.counts.late_answers == 1


def test_a_later_frame_never_overtakes() -> None:
    box = FrameCollector[str](1.0)
    box.add_plan(plan_of(2, A0), 0.0)
    box.add_plan(plan_of(1, A0, B0), 0.1)
    box.add_answer(A0, 2, "a", 0.2)
    assert box.pop_ready(1.05) == [] and box.next_deadline() == 1.1
    assert [frame.plan.stamp_ns for frame in box.pop_ready(1.1)] == [1, 2]


def test_a_lost_worker_is_not_waited_for_until_it_is_back() -> None:
    box = FrameCollector[str](1.0)
    box.add_plan(plan_of(1, A0, A1, B0), 0.0)
    box.add_answer(A0, 1, "a", 0.1)
    box.add_answer(B0, 1, "b", 0.1)
    box.worker_lost("a", 0.2)
    box.worker_back("a")  # back without the block it had
    (frame,) = box.pop_ready(0.2)
    assert frame.missing == (A1,) and frame.answers == {A0: "a", B0: "b"}
    box.add_plan(plan_of(2, A0), 0.3)
    assert box.pop_ready(0.4) == []
    box.worker_lost("a", 0.5)
    box.add_plan(plan_of(3, A0), 0.5)
    assert [frame.plan.stamp_ns for frame in box.pop_ready(0.5)] == [2, 3]
    box.worker_back("a")
    box.add_plan(plan_of(4, A0), 0.6)
    assert box.pop_ready(0.7) == []


def test_odd_plans_are_ignored_and_counted() -> None:
    box = FrameCollector[str](1.0, history=2)
    assert box.add_plan(plan_of(5), 0.0) and len(box.pop_ready(0.0)) == 1
    assert not box.add_plan(plan_of(5), 0.0) and not box.add_plan(plan_of(4), 0.0)
    assert box.add_plan(plan_of(6, A0), 0.0) and not box.add_plan(plan_of(6, A0), 0.0)
    assert box.add_plan(plan_of(7, A0), 0.0) and not box.add_plan(plan_of(8, A0), 0.0)
    counts = box.counts
    assert (counts.stale_plans, counts.duplicate_plans, counts.overflow_plans) == (2, 1, 1)
    assert [frame.plan.stamp_ns for frame in box.pop_ready(0.0)] == [6]


def test_reset_lets_the_source_start_over() -> None:
    box = FrameCollector[str](1.0)
    box.add_plan(plan_of(5), 0.0)
    box.pop_ready(0.0)
    box.reset()
    assert box.add_plan(plan_of(1), 0.0) and box.counts.plans == 2


@pytest.mark.parametrize("wrong", [{"deadline": 0.0}, {"deadline": math.nan}, {"history": 0}])
def test_wrong_collector_settings_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"the fusion (deadline|history)"):
        FrameCollector[str](**{"deadline": 1.0, **wrong})


stamps = st.integers(0, 30)
slots = st.sampled_from([A0, A1, B0, Slot("c", 0)])
event = st.one_of(
    st.tuples(st.just("plan"), stamps, st.lists(slots, unique=True, max_size=3)),
    st.tuples(st.just("answer"), stamps, slots),
    st.tuples(st.sampled_from(["lost", "back"]), st.sampled_from("abc")),
    st.tuples(st.just("pop")),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6])),
)


@settings(max_examples=300)
@given(st.lists(event, max_size=80), st.integers(1, 5))
def test_any_order_of_events(events: list[tuple[Any, ...]], history: int) -> None:
    box = FrameCollector[str](1.0, history)
    now = 0.0
    accepted: dict[int, float] = {}
    given_out: list[int] = []
    lost: set[str] = set()
    ever_lost: set[tuple[int, str]] = set()
    answered: set[tuple[int, Slot]] = set()

    def pop(now: float) -> None:
        waiting = len(box)
        for frame in box.pop_ready(now):
            stamp = frame.plan.stamp_ns
            given_out.append(stamp)
            overdue = now >= accepted[stamp] + 1.0
            excused = all(
                slot.worker in lost or (stamp, slot.worker) in ever_lost for slot in frame.missing
            )
            assert overdue or excused or waiting >= history
            assert all((stamp, slot) in answered for slot in frame.answers)
            assert set(frame.answers) | set(frame.missing) == set(frame.plan.slots)
            assert set(frame.arrivals) == set(frame.answers)
            waiting -= 1

    for kind, *rest in events:
        if kind == "plan" and box.add_plan(plan_of(rest[0], *rest[1]), now):
            assert rest[0] not in accepted
            accepted[rest[0]] = now
        elif kind == "answer":
            answered.add((rest[0], rest[1]))
            box.add_answer(rest[1], rest[0], "x", now)
        elif kind == "lost":
            lost.add(rest[0])
            ever_lost |= {(stamp, rest[0]) for stamp in accepted}
            box.worker_lost(rest[0], now)
        elif kind == "back":
            lost.discard(rest[0])
            box.worker_back(rest[0])
        elif kind == "pop":
            pop(now)
        elif kind == "wait":
            now += rest[0]
        assert len(box) <= history
        assert box.early_answers <= EARLY_ANSWERS_PER_FRAME * history
    pop(now + 10.0)
    assert given_out == sorted(accepted)
    assert len(box) == 0 and box.next_deadline() is None
    assert box.counts.plans == box.counts.frames == len(accepted)
