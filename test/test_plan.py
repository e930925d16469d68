"""The names on the topics and what a plan may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True), st.integers(0, 9999))
def test_a_slot_is_read_back_from_its_name(worker: str, index: int) -> None:
    slot = Slot(worker, index)
    assert Slot.parse(str(slot)) == slot


@given(st.from_regex(r"[^@\s]{1,12}", fullmatch=True), st.integers(1, 99999))
def test_a_variant_is_read_back_from_its_name(model: str, size: int) -> None:
    variant = Variant(model, size)
    assert Variant.parse(str(variant)) == variant


@pytest.mark.parametrize(
    "text", ["", "edge_0", "edge_0/slot_", "edge_0/slot_01", "/slot_1", "a/b/slot_1"]
)
def test_what_is_no_slot_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no slot; expected worker/slot_k"):
        Slot.parse(text)


@pytest.mark.parametrize("text", ["", "yolo11n", "yolo11n@", "@320", "yolo11n@0", "yolo 11n@320"])
def test_what_is_no_variant_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no variant; expected model@input_size"):
        Variant.parse(text)


def test_a_plan_uses_each_slot_once() -> None:
    planned = PlannedBlock(Slot("edge_0", 0), BlockRequest(Block(0, 0, 2, 2)))
    other = PlannedBlock(Slot("edge_0", 1), BlockRequest(Block(1, 0, 2, 2)))
    plan = Plan(7, "camera", (planned, other))
    assert plan.slots == (Slot("edge_0", 0), Slot("edge_0", 1))
    assert plan.blocks[1].block == Block(1, 0, 2, 2)
    with pytest.raises(ValueError, match="each slot once"):
        Plan(7, "camera", (planned, planned))
