"""Workers that fall silent are done without, asked now and then, and used again."""

from __future__ import annotations

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.nodes.contact import KNOCK_EVERY_S, Contact
from re_pose_ros.partition.base import BlockOutcome, FrameOutcome
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot

OURS = {"a", "b"}


def outcome(**answered: list[bool]) -> FrameOutcome:
    """A frame whose blocks were answered or not, by worker."""
    blocks = tuple(
        PlannedBlock(Slot(worker, k), BlockRequest(Block(0, 0, 10, 10)))
        for worker, came in answered.items()
        for k in range(len(came))
    )
    outcomes = tuple(
        BlockOutcome(came, None, None, None, None) for own in answered.values() for came in own
    )
    return FrameOutcome(Detections.empty(), blocks, outcomes, 0)


def test_who_answers_nothing_is_silent_and_who_answers_something_is_not() -> None:
    contact = Contact()
    contact.observe(outcome(a=[False, False], b=[True, False]), OURS, 1.0)
    assert contact.silent == ("a",)
    assert contact.kept({"a": 1, "b": 2}) == {"b": 2}


def test_workers_that_are_not_ours_are_never_silent() -> None:
    contact = Contact()
    contact.observe(outcome(c=[False]), OURS, 1.0)
    assert contact.silent == ()


def test_whatever_comes_later_ends_the_silence() -> None:
    contact = Contact()
    contact.observe(outcome(a=[False]), OURS, 5.0)
    contact.heard("a", 4.0)
    assert contact.silent == ("a",)
    contact.observe(outcome(a=[False]), OURS, 9.0)
    contact.heard("a", 6.0)
    assert contact.silent == ()
    contact.heard("b", 7.0)


def test_an_answer_ends_the_silence() -> None:
    contact = Contact()
    contact.observe(outcome(a=[False]), OURS, 1.0)
    contact.observe(outcome(a=[False, True]), OURS, 2.0)
    assert contact.silent == ()


def test_the_silent_are_asked_now_and_then() -> None:
    contact = Contact()
    assert contact.due({"a": 1}, 0.0) == []
    contact.observe(outcome(a=[False]), OURS, 1.0)
    assert contact.due({"a": 1, "b": 2}, 1.0) == ["a"]
    assert contact.due({"a": 1}, 1.0 + KNOCK_EVERY_S / 2) == []
    assert contact.due({"a": 1}, 1.0 + KNOCK_EVERY_S) == ["a"]
    assert contact.due({}, 9.0) == []
