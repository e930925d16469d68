"""What came of each plan, from what the nodes tell: nothing is made up, nothing counted twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.graph.outcomes import (
    HISTORY,
    PATIENCE_S,
    FrameAccount,
    FrameAccounts,
    SentBlock,
    frame_outcome,
    outcome_texts,
    plan_outcome,
    predicted_texts,
    shared_texts,
)
from re_pose_ros.partition.base import BlockOutcome
from re_pose_ros.plan import BlockRequest, Expectation, Plan, PlannedBlock, Slot, Variant

SLOTS = (Slot("a", 0), Slot("b", 0), Slot("a", 1))
EXPECTED = Expectation(
    4.5, 60.0, 80.0, "balanced", (20.0, 60.0, 30.0), (Block(1, 2, 3, 4), Block(5, 6, 7, 8))
)


def plan_of(stamp: int = 7, slots: tuple[Slot, ...] = SLOTS) -> Plan:
    blocks = [
        PlannedBlock(slot, BlockRequest(Block(10 * k, 0, 10, 10), Variant("net", 320)))
        for k, slot in enumerate(slots)
    ]
    return Plan(stamp, "camera", tuple(blocks))


def objects(count: int) -> Detections:
    return Detections.of([[k, 0, k + 1, 1] for k in range(count)], [0.5] * count, [0] * count)


def account(**told: dict[str, str]) -> FrameAccount:
    """Planned in 5 ms; blocks of 100, 50 and 300 bytes leave 2, 4 and 9 ms after the plan."""
    made = FrameAccount(plan_of(), EXPECTED, received_s=99.995, planned_s=100.0)
    made.sent = (
        SentBlock(100, 1.5, 100.002),
        SentBlock(50, 2.0, 100.004),
        SentBlock(300, 4.0, 100.009),
    )
    made.told = dict(told)
    made.detections = objects(2)
    made.fused_s = 100.070
    return made


FUSION = {
    "workers_ms": "64.75",
    "fusion_ms": "1.25",
    "missing": "",
    "answered_ms/a/slot_0": "40.0",
    "answered_ms/a/slot_1": "41.0",
    "answered_ms/b/slot_0": "55.0",
    "seen_in": "2,0",
}
WORKER_A = {
    "processing_ms": "20.0",
    "queued_ms": "2.0",
    "compute_ms/0": "6.0",
    "compute_ms/1": "13.0",
}
WORKER_B = {"processing_ms": "50.0", "compute_ms/0": "49.5"}


def test_an_outcome_is_put_together_from_what_all_nodes_tell() -> None:
    outcome = frame_outcome(account(fusion=FUSION, a=WORKER_A, b=WORKER_B))
    assert outcome.stamp_ns == 7 and outcome.blocks == plan_of().blocks
    assert outcome.overhead_ms == pytest.approx(5.0 + 1.25)
    assert outcome.detections.block.tolist() == [2, 0]
    # Fusion had the frame for 66 of 70 ms, so the plan took 2 to get there. Of a,
    # 2 + 41 - 9 - 2 - 20 ms are for 400 bytes; of b, 2 + 55 - 4 - 50 ms for one block's 50.
    expected = [
        BlockOutcome(True, 6.0, 12.0 * 100 / 400, 100, 1.5),
        BlockOutcome(True, 49.5, 3.0, 50, 2.0),
        BlockOutcome(True, 13.0, 12.0 * 300 / 400, 300, 4.0),
    ]
    for told, wanted in zip(outcome.outcomes, expected, strict=True):
        assert told.transfer_ms == pytest.approx(wanted.transfer_ms)
        assert (told.answered, told.compute_ms) == (wanted.answered, wanted.compute_ms)
        assert (told.sent_bytes, told.encode_ms) == (wanted.sent_bytes, wanted.encode_ms)


def test_what_nobody_told_is_unknown() -> None:
    outcome = frame_outcome(account())
    assert outcome.overhead_ms is None
    assert outcome.detections.block.tolist() == [-1, -1]
    assert [o.sent_bytes for o in outcome.outcomes] == [100, 50, 300]
    assert all(o.answered for o in outcome.outcomes)
    assert all(o.compute_ms is None and o.transfer_ms is None for o in outcome.outcomes)
    unsent = account(fusion=FUSION, a=WORKER_A, b=WORKER_B)
    unsent.sent = ()
    outcome = frame_outcome(unsent)
    assert all(o.sent_bytes is None and o.encode_ms is None for o in outcome.outcomes)
    assert all(o.transfer_ms is None for o in outcome.outcomes)
    assert [o.compute_ms for o in outcome.outcomes] == [6.0, 49.5, 13.0]


def test_a_missing_block_tells_nothing_of_its_workers_link() -> None:
    partial = {k: v for k, v in FUSION.items() if k != "answered_ms/a/slot_0"}
    partial |= {"missing": "a/slot_0", "seen_in": "2,2"}
    outcome = frame_outcome(account(fusion=partial, a=WORKER_A, b=WORKER_B))
    assert outcome.answered == (False, True, True)
    first, second, third = outcome.outcomes
    assert first.transfer_ms is None and third.transfer_ms is None
    assert second.transfer_ms == pytest.approx(3.0)


def test_an_answer_sooner_than_the_work_took_tells_nothing_of_the_link() -> None:
    slow = WORKER_B | {"processing_ms": "53.5"}
    assert frame_outcome(account(fusion=FUSION, b=slow)).outcomes[1].transfer_ms is None


@pytest.mark.parametrize("seen_in", ["", "2", "2,0,1", "2,3", "2,-1", "2,x"])
def test_blocks_that_do_not_fit_the_detections_are_not_believed(seen_in: str) -> None:
    outcome = frame_outcome(account(fusion=FUSION | {"seen_in": seen_in}))
    assert outcome.detections.block.tolist() == [-1, -1]


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf"])
def test_numbers_that_are_none_are_passed_over(text: str) -> None:
    fusion = dict.fromkeys(FUSION, text) | {"missing": text}
    outcome = frame_outcome(account(fusion=fusion, a=dict.fromkeys(WORKER_A, text)))
    assert outcome.overhead_ms is None
    assert all(o.compute_ms is None and o.transfer_ms is None for o in outcome.outcomes)


@st.composite
def batches(draw: st.DrawFn) -> tuple[FrameAccount, dict[str, float]]:
    """A frame as its nodes would tell it, and the true time that each batch was on its way."""
    slots = tuple(Slot(name, k) for name in "abc" for k in range(draw(st.integers(0, 3))))
    made = FrameAccount(plan_of(7, slots), None, 10.0, 10.0)
    made.detections = Detections.empty()
    ms = st.floats(0.1, 500.0)
    sent = []
    at = 10.0
    for _ in slots:
        at += draw(ms) / 1e3
        sent.append(SentBlock(draw(st.integers(1, 10**6)), 1.0, at))
    made.sent = tuple(sent)
    truth = {}
    way, fusing = draw(ms), draw(ms)
    fusion = {"missing": "", "fusion_ms": repr(fusing)}
    last = 0.0
    for name in {slot.worker for slot in slots}:
        own = [k for k, slot in enumerate(slots) if slot.worker == name]
        there, queued, working, back = (draw(ms) for _ in range(4))
        truth[name] = there + back
        answered = (max(sent[k].published_s for k in own) - 10.0) * 1e3 + there + queued
        for k in own:
            fusion[f"answered_ms/{slots[k]}"] = repr(answered + working + back - way)
        last = max(last, answered + working + back)
        made.told[name] = {"queued_ms": repr(queued), "processing_ms": repr(working)}
    # Detections take as long to the partitioner as plans take from it.
    fusion["workers_ms"] = repr(last - way)
    made.fused_s = 10.0 + (last + fusing + way) / 1e3
    made.told["fusion"] = fusion
    return made, truth


@given(batches())
def test_shares_of_a_batch_add_up_to_its_way_there_and_back(
    batch: tuple[FrameAccount, dict[str, float]],
) -> None:
    made, truth = batch
    outcomes = frame_outcome(made).outcomes
    for name, outside in truth.items():
        own = [k for k, slot in enumerate(made.plan.slots) if slot.worker == name]
        shares = [outcomes[k].transfer_ms for k in own]
        assert sum(share or 0.0 for share in shares) == pytest.approx(outside, rel=1e-6)
        per_byte = [
            (share or 0.0) / made.sent[k].size for share, k in zip(shares, own, strict=True)
        ]
        assert per_byte == pytest.approx([per_byte[0]] * len(own))


# What users are told.


def test_the_expectation_is_told_with_the_plan() -> None:
    assert predicted_texts(plan_of(), EXPECTED) == {
        "predicted_ms": "60.000",
        "predicted_value": "4.500",
        "budget_ms": "80.000",
        "objective": "balanced",
        "predicted_ms/a/slot_0": "20.000",
        "predicted_ms/b/slot_0": "60.000",
        "predicted_ms/a/slot_1": "30.000",
        "variant/a/slot_0": "net@320",
        "variant/b/slot_0": "net@320",
        "variant/a/slot_1": "net@320",
        "clusters": "1,2,3,4;5,6,7,8",
    }


def test_the_outcome_is_told_beside_the_expectation() -> None:
    partial = {k: v for k, v in FUSION.items() if k != "answered_ms/b/slot_0"}
    texts = outcome_texts(account(fusion=partial))
    assert texts == {
        "predicted_ms": "60.000",
        "happened_ms": "75.000",
        "predicted_value": "4.500",
        "happened_value": "2",
        "budget_ms": "80.000",
        "objective": "balanced",
        "over_budget": "false",
        "blocks": "3",
        "predicted_ms/a/slot_0": "20.000",
        "predicted_ms/b/slot_0": "60.000",
        "predicted_ms/a/slot_1": "30.000",
        "variant/a/slot_0": "net@320",
        "variant/b/slot_0": "net@320",
        "variant/a/slot_1": "net@320",
        "happened_ms/a/slot_0": "47.000",
        "happened_ms/a/slot_1": "48.000",
    }


def test_without_an_expectation_there_is_no_outcome() -> None:
    made = account(fusion=FUSION)
    made.expected = None
    assert plan_outcome(made) is None and outcome_texts(made) == {}
    made = account(fusion=FUSION)
    made.detections = None
    assert plan_outcome(made) is None and outcome_texts(made) == {}


def test_a_planner_may_have_no_idea_of_single_blocks() -> None:
    bare = Expectation(1.0, 2.0, 3.0, "latency")
    texts = predicted_texts(plan_of(), bare)
    assert not [key for key in texts if key.startswith("predicted_ms/")]
    assert texts["clusters"] == ""


# Keeping the accounts.


def opened(accounts: FrameAccounts, stamp: int, at: float) -> FrameAccount:
    made = FrameAccount(plan_of(stamp), EXPECTED, at, at)
    accounts.open(made)
    return made


def test_a_frame_is_settled_with_fusions_word_or_after_a_while() -> None:
    accounts = FrameAccounts()
    opened(accounts, 1, 0.0)
    opened(accounts, 2, 0.0)
    accounts.fused(1, objects(1), 1.0)
    accounts.fused(2, objects(1), 1.0)
    assert accounts.settle(1.0) == []
    accounts.tell(2, "edge_0", {"processing_ms": "1"})
    assert accounts.settle(1.0) == []
    accounts.tell(2, "fusion", FUSION)
    assert [a.plan.stamp_ns for a in accounts.settle(1.0)] == [2]
    assert accounts.settle(1.0 + 0.99 * PATIENCE_S) == []
    assert [a.plan.stamp_ns for a in accounts.settle(1.0 + PATIENCE_S)] == [1]
    assert accounts.settle(99.0) == []


def test_what_is_told_late_is_still_told_to_users() -> None:
    accounts = FrameAccounts()
    opened(accounts, 1, 0.0)
    accounts.fused(1, objects(1), 1.0)
    (taken,) = accounts.take()
    assert frame_outcome(taken).overhead_ms is None
    accounts.tell(1, "fusion", FUSION)
    (settled,) = accounts.settle(1.1)
    assert "happened_ms/a/slot_0" in outcome_texts(settled)


def test_accounts_do_not_pile_up() -> None:
    accounts = FrameAccounts()
    for stamp in range(3 * HISTORY):
        opened(accounts, stamp, float(stamp))
    assert accounts.in_flight == HISTORY


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["open", "fused", "tell", "sent", "take", "settle", "give_up"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(EVENTS)
def test_every_fused_frame_is_observed_once_and_settled_once(events: list[tuple[str, int]]) -> None:
    accounts = FrameAccounts()
    flying: dict[int, float] = {}
    fused, observed, settled = [], [], []
    stamp = 0
    for now, (event, k) in enumerate(events):
        at = float(now)
        if event == "open":
            opened(accounts, stamp, at)
            flying[stamp] = at
            stamp += 1
        elif event == "fused":
            accounts.fused(stamp - k, objects(1), at)
            if flying.pop(stamp - k, None) is not None:
                fused.append(stamp - k)
        elif event == "tell":
            accounts.tell(stamp - k, "fusion", FUSION)
        elif event == "sent":
            accounts.sent(stamp - k, account().sent)
        elif event == "take":
            observed += [a.plan.stamp_ns for a in accounts.take()]
        elif event == "settle":
            settled += [a.plan.stamp_ns for a in accounts.settle(at)]
        else:
            lost = [s for s, since in flying.items() if since < at - k]
            assert accounts.give_up(at - k) == len(lost)
            for gone in lost:
                del flying[gone]
        assert accounts.in_flight == len(flying)
    observed += [a.plan.stamp_ns for a in accounts.take()]
    settled += [a.plan.stamp_ns for a in accounts.settle(1e6)]
    assert sorted(observed) == sorted(settled) == sorted(fused)
    assert len(set(fused)) == len(fused)


def test_a_stamp_that_comes_again_is_another_frame() -> None:
    accounts = FrameAccounts()
    opened(accounts, 1, 0.0)
    accounts.fused(1, objects(1), 1.0)
    again = opened(accounts, 1, 2.0)
    assert accounts.in_flight == 1 and accounts.take() == []
    accounts.fused(1, objects(3), 3.0)
    (taken,) = accounts.take()
    assert taken is again and taken.detections is not None
    assert np.shape(taken.detections.xyxy) == (3, 4)


# By worker, of frames whose network was shared.

PARTS = ("net/jpeg90", "net/device", "net/jpeg90")


def shared_account(**told: dict[str, str]) -> FrameAccount:
    made = account(**told)
    made.sent = tuple(replace(b, setting=s) for b, s in zip(made.sent, PARTS, strict=True))
    return made


def test_what_came_of_each_workers_part_is_told() -> None:
    texts = shared_texts(shared_account(fusion=FUSION, a=WORKER_A, b=WORKER_B))
    # As above: the plan took 2 ms, and a's batch 12 besides a's own work.
    assert texts == {
        "unanswered/a": "0",
        "answered_ms/a": "43.000",
        "transfer_ms/a": "12.000",
        "unanswered/b": "0",
        "answered_ms/b": "57.000",
        "transfer_ms/b": "3.000",
    }


def test_blocks_that_never_left_the_robot_were_not_under_way() -> None:
    made = shared_account(fusion=FUSION, a=WORKER_A, b=WORKER_B)
    first, second, third = made.sent
    made.sent = (first, replace(second, size=0), third)
    assert "transfer_ms/b" not in shared_texts(made)


def test_what_was_not_answered_is_told_with_how_long_was_waited() -> None:
    partial = {k: v for k, v in FUSION.items() if k != "answered_ms/a/slot_0"}
    texts = shared_texts(shared_account(fusion=partial, a=WORKER_A))
    assert texts == {
        "unanswered/a": "1",
        "waited_ms/a": "64.750",
        "unanswered/b": "0",
        "answered_ms/b": "57.000",
    }


def test_nothing_is_told_by_worker_without_co_inference() -> None:
    assert shared_texts(account(fusion=FUSION, a=WORKER_A, b=WORKER_B)) == {}
