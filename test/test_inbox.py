"""Blocks gathered into one batch per frame: nothing is lost unseen, nothing is given twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detection.inbox import PLACING_S, BlockInbox, ReceivedBlock
from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant

ROI = Block(10, 20, 30, 40)
SMALL = Variant("net", 320)


def plan_of(stamp: int, *slots: Slot, variant: Variant | None = SMALL) -> Plan:
    request = BlockRequest(ROI, variant)
    return Plan(stamp, "camera", tuple(PlannedBlock(slot, request) for slot in slots))


def mine(*indices: int) -> list[Slot]:
    return [Slot("mine", k) for k in indices]


def test_a_frame_waits_for_the_blocks_of_its_plan_that_are_this_workers() -> None:
    box = BlockInbox[str]("mine")
    box.add_plan(plan_of(1, *mine(0, 2), Slot("other", 1)))
    box.add_block(2, 1, "c", 5.0)
    assert box.take(5.1, 1.0) is None and box.next_check(1.0) == 6.0
    box.add_block(0, 1, "a", 5.2)
    batch = box.take(5.3, 1.0)
    assert batch is not None and batch.stamp_ns == 1
    assert batch.blocks == (
        ReceivedBlock(0, "a", ROI, SMALL),
        ReceivedBlock(2, "c", ROI, SMALL),
    )
    assert abs(batch.waited - 0.3) < 1e-9
    assert box.take(99.0, 1.0) is None and box.next_check(1.0) is None


def test_what_came_is_given_out_when_the_rest_does_not_come() -> None:
    box = BlockInbox[str]("mine")
    box.add_plan(plan_of(1, *mine(0, 1)))
    box.add_block(0, 1, "a", 5.0)
    assert box.take(5.99, 1.0) is None
    batch = box.take(6.0, 1.0)
    assert batch is not None and [b.data for b in batch.blocks] == ["a"]
    box.add_block(1, 1, "late", 6.5)
    late = box.take(7.5, 1.0)
    assert late is not None and [b.data for b in late.blocks] == ["late"]


def test_without_a_plan_the_roi_of_camera_info_places_a_block() -> None:
    box = BlockInbox[str]("mine")
    box.add_block(3, 1, "d", 0.0)
    box.add_roi(3, 1, ROI)
    box.add_roi(3, 2, Block(0, 0, 1, 1))
    assert box.take(0.0, 1.0) is None
    batch = box.take(1.0, 1.0)
    assert batch is not None and batch.blocks == (ReceivedBlock(3, "d", ROI, None),)


def test_the_plan_places_a_block_before_camera_info_does() -> None:
    box = BlockInbox[str]("mine")
    box.add_roi(0, 1, Block(0, 0, 1, 1))
    box.add_block(0, 1, "a", 0.0)
    box.add_plan(plan_of(1, *mine(0), variant=None))
    batch = box.take(0.0, 1.0)
    assert batch is not None and batch.blocks == (ReceivedBlock(0, "a", ROI, None),)


def test_a_block_that_nothing_places_is_held_for_a_while_and_holds_nobody_up() -> None:
    box = BlockInbox[str]("mine")
    for stamp in (1, 3):
        box.add_block(0, stamp, "where?", 0.0)
    box.add_plan(plan_of(2, *mine(0)))
    box.add_block(0, 2, "here", 0.5)
    batch = box.take(1.0, 1.0)
    assert batch is not None and batch.stamp_ns == 2
    assert box.take(1.0, 1.0) is None and box.next_check(1.0) == PLACING_S
    box.add_plan(plan_of(3, *mine(0)))
    batch = box.take(1.5, 1.0)
    assert batch is not None and batch.stamp_ns == 3 and box.unplaced == 0
    assert box.take(PLACING_S, 1.0) is None and box.unplaced == 1
    assert box.next_check(1.0) is None


def test_a_full_inbox_drops_the_frame_that_came_first() -> None:
    box = BlockInbox[str]("mine", capacity=2)
    for stamp in (5, 3, 9):
        box.add_roi(0, stamp, ROI)
        box.add_block(0, stamp, f"of {stamp}", 0.0)
    assert box.dropped == 1
    taken = [box.take(1.0, 1.0), box.take(1.0, 1.0)]
    assert [batch.stamp_ns for batch in taken if batch] == [3, 9]


def test_what_is_remembered_for_blocks_to_come_is_bounded() -> None:
    box = BlockInbox[str]("mine", capacity=2)
    for stamp in range(10_000):
        box.add_plan(plan_of(stamp, *mine(0)))
        box.add_roi(0, stamp, ROI)
    for stamp in (0, 9_999):
        box.add_block(0, stamp, "x", 0.0)
    batch = box.take(9.0, 1.0)
    assert batch is not None and batch.stamp_ns == 9_999 and box.unplaced == 1


def test_the_newer_of_two_blocks_for_one_slot_and_frame_counts() -> None:
    box = BlockInbox[str]("mine")
    box.add_roi(0, 1, ROI)
    box.add_block(0, 1, "old", 0.0)
    box.add_block(0, 1, "new", 0.5)
    batch = box.take(1.0, 1.0)
    assert batch is not None and [b.data for b in batch.blocks] == ["new"]


stamps = st.integers(0, 6)
indices = st.integers(0, 2)
event = st.one_of(
    st.tuples(st.just("plan"), stamps, st.lists(indices, unique=True)),
    st.tuples(st.just("roi"), stamps, indices),
    st.tuples(st.just("block"), stamps, indices),
    st.tuples(st.just("take")),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.1])),
)


@given(st.lists(event, max_size=40))
def test_every_block_is_given_out_once_or_counted(events: list[tuple[Any, ...]]) -> None:
    box = BlockInbox[tuple[int, int]]("mine", capacity=3)
    now = 0.0
    came: set[tuple[int, int]] = set()
    given_out: list[tuple[int, int]] = []

    def take_all() -> None:
        while (batch := box.take(now, 1.0)) is not None:
            data = [block.data for block in batch.blocks]
            assert data == [(batch.stamp_ns, block.slot_index) for block in batch.blocks]
            assert data == sorted(data)
            given_out.extend(data)

    for kind, *rest in events:
        if kind == "plan":
            box.add_plan(plan_of(rest[0], *mine(*rest[1])))
        elif kind == "roi":
            box.add_roi(rest[1], rest[0], ROI)
        elif kind == "block" and (rest[0], rest[1]) not in came:
            came.add((rest[0], rest[1]))
            box.add_block(rest[1], rest[0], (rest[0], rest[1]), now)
        elif kind == "take":
            take_all()
        elif kind == "wait":
            now += rest[0]
    now += 9.0
    take_all()
    assert len(set(given_out)) == len(given_out)
    assert len(came) == len(given_out) + box.dropped + box.unplaced
    assert box.next_check(1.0) is None
