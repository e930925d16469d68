"""From the answers of one frame to its detections: mapping, cut boxes, merging, together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.fusion.merge import MergeSettings
from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant

LEFT, RIGHT = Slot("a", 0), Slot("b", 0)
# Two blocks of a frame of 300 x 100 that share the columns 100 to 200.
TILES = {LEFT: Block(0, 0, 200, 100), RIGHT: Block(100, 0, 200, 100)}
SIZE = (300, 100)


def plan_of(blocks: dict[Slot, Block], input_size: int | None = None) -> Plan:
    variant = None if input_size is None else Variant("net", input_size)
    return Plan(
        1,
        "camera",
        tuple(PlannedBlock(slot, BlockRequest(block, variant)) for slot, block in blocks.items()),
    )


def found(*boxes: tuple[float, ...], score: float = 0.9, class_id: int = 0) -> Detections:
    return Detections.of(boxes, [score] * len(boxes), [class_id] * len(boxes))


def test_no_blocks_or_no_answers_give_nothing() -> None:
    settings = FusionSettings()
    assert len(fuse(plan_of({}), {}, SIZE, settings)) == 0
    assert len(fuse(plan_of(TILES), {}, SIZE, settings)) == 0
    assert len(fuse(plan_of(TILES), {LEFT: Detections.empty()}, None, settings)) == 0


def test_an_object_in_the_overlap_is_one_and_says_who_saw_it() -> None:
    answers = {
        LEFT: found((120, 20, 140, 60), score=0.6),
        RIGHT: found((121, 20, 141, 60), score=0.8),
    }
    fused = fuse(plan_of(TILES), answers, SIZE, FusionSettings())
    assert fused.xyxy.tolist() == [[121, 20, 141, 60]] and fused.block.tolist() == [1]


def test_a_cut_box_goes_where_the_other_block_saw_the_object_whole() -> None:
    # The left block cuts at 200; its half looks more certain than the whole.
    answers = {LEFT: found((170, 20, 200, 60), score=0.95), RIGHT: found((170, 20, 230, 60))}
    fused = fuse(plan_of(TILES), answers, SIZE, FusionSettings())
    assert fused.xyxy.tolist() == [[170, 20, 230, 60]]
    alone = {LEFT: answers[LEFT]}
    kept = fuse(plan_of(TILES), alone, SIZE, FusionSettings())
    assert kept.xyxy.tolist() == [[170, 20, 200, 60]], "who did not answer replaces nothing"


def test_the_frames_own_border_cuts_nothing_when_its_size_is_known() -> None:
    # Only the blocks' extent is known without it: x = 200 could be the frame's border.
    blocks = {LEFT: Block(0, 0, 200, 100), RIGHT: Block(0, 0, 300, 100)}
    answers = {LEFT: found((150, 20, 200, 60)), RIGHT: Detections.empty()}
    assert len(fuse(plan_of(blocks), answers, (300, 100), FusionSettings())) == 0
    narrow = {LEFT: Block(0, 0, 200, 100), RIGHT: Block(0, 0, 200, 100)}
    assert len(fuse(plan_of(narrow), answers, None, FusionSettings())) == 1


def test_a_coarse_look_does_not_replace_what_a_fine_one_cut() -> None:
    fine = PlannedBlock(LEFT, BlockRequest(Block(0, 0, 100, 100), Variant("net", 320)))
    coarse = PlannedBlock(RIGHT, BlockRequest(Block(0, 0, 1000, 100), Variant("net", 320)))
    answers = {LEFT: found((60, 20, 100, 60)), RIGHT: Detections.empty()}
    fused = fuse(Plan(1, "", (fine, coarse)), answers, (1000, 100), FusionSettings())
    assert fused.xyxy.tolist() == [[60, 20, 100, 60]]


def test_a_part_at_a_border_goes_with_the_whole_that_a_coarse_look_saw() -> None:
    fine = PlannedBlock(LEFT, BlockRequest(Block(0, 0, 100, 100), Variant("net", 320)))
    coarse = PlannedBlock(RIGHT, BlockRequest(Block(0, 0, 1000, 100), Variant("net", 320)))
    plan = Plan(1, "", (fine, coarse))
    whole, part, inside = (50, 20, 180, 60), (55, 20, 99, 60), (55, 20, 95, 60)
    for settings, box, left in (
        (FusionSettings(), part, [1]),
        (FusionSettings(), inside, [1, 0]),
        (FusionSettings(cut_margin=5.0), inside, [1]),
        (FusionSettings(MergeSettings("iou")), part, [1, 0]),
    ):
        answers = {LEFT: found(box, score=0.6), RIGHT: found(whole, score=0.8)}
        assert fuse(plan, answers, (1000, 100), settings).block.tolist() == left


def test_neighbours_that_different_blocks_saw_whole_both_stay() -> None:
    behind, front = (110, 10, 150, 80), (120, 40, 150, 80)
    answers = {LEFT: found(behind, score=0.8), RIGHT: found(front, score=0.6)}
    assert fuse(plan_of(TILES), answers, SIZE, FusionSettings()).block.tolist() == [0, 1]


@pytest.mark.parametrize("input_size", [None, 640, 100, 37])
def test_crop_answers_are_mapped_through_the_image_that_was_sent(input_size: int | None) -> None:
    block = Block(400, 200, 320, 180)
    plan = plan_of({LEFT: block}, input_size)
    width, height = plan.blocks[0].request.image_size
    assert (width, height) == {None: (320, 180), 640: (320, 180), 100: (100, 56), 37: (37, 21)}[
        input_size
    ]
    # The middle half of the crop is the middle half of the block.
    answer = {LEFT: found((width / 4, height / 4, width * 3 / 4, height * 3 / 4))}
    crop = FusionSettings(crop_workers=frozenset({"a"}))
    fused = fuse(plan, answer, (1280, 720), crop)
    assert len(fused) == 1 and np.allclose(fused.xyxy, [480, 245, 640, 335], atol=1e-3)
    full = fuse(plan, answer, (1280, 720), FusionSettings())
    assert len(full) == 0, "as full-image pixels the box lies outside of the block"


def test_boxes_are_clipped_to_their_block_and_what_is_left_of_none_goes() -> None:
    answers = {RIGHT: found((50, -20, 150, 400), (0, 0, 99, 50), (290, 10, 900, 20))}
    fused = fuse(plan_of(TILES), answers, SIZE, FusionSettings())
    assert sorted(fused.xyxy.tolist()) == [[100, 0, 150, 100], [290, 10, 300, 20]]


def test_settings_of_the_merge_are_heeded() -> None:
    answers = {
        LEFT: found((120, 20, 140, 60), score=0.6),
        RIGHT: found((110, 10, 150, 70), score=0.8, class_id=1),
    }
    plan = plan_of(TILES)
    assert len(fuse(plan, answers, SIZE, FusionSettings())) == 2
    mixed = FusionSettings(MergeSettings("ios", class_aware=False))
    assert fuse(plan, answers, SIZE, mixed).class_id.tolist() == [1]
    iou = FusionSettings(MergeSettings("iou", class_aware=False))
    assert len(fuse(plan, answers, SIZE, iou)) == 2


coordinate = st.floats(-50, 350, width=32)
size = st.floats(0, 200, width=32)
box = st.tuples(coordinate, coordinate, size, size).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
answer = st.lists(st.tuples(box, st.integers(1, 9), st.integers(0, 2)), max_size=12).map(
    lambda rows: Detections.of(
        [r[0] for r in rows], [r[1] / 10 for r in rows], [r[2] for r in rows]
    )
)


@given(left=st.none() | answer, right=st.none() | answer)
def test_every_result_lies_in_its_block_and_comes_from_an_answer(
    left: Detections | None, right: Detections | None
) -> None:
    given_answers = {LEFT: left, RIGHT: right}
    answers = {slot: found for slot, found in given_answers.items() if found is not None}
    fused = fuse(plan_of(TILES), answers, SIZE, FusionSettings())
    blocks = list(TILES.values())
    sources = [answers.get(slot, Detections.empty()) for slot in TILES]
    for k in range(len(fused)):
        own = int(fused.block[k])
        x1, y1, x2, y2 = blocks[own].xyxy
        clipped = sources[own].xyxy.clip((x1, y1, x1, y1), (x2, y2, x2, y2))
        same = (clipped == fused.xyxy[k]).all(axis=1)
        same &= sources[own].confidence == fused.confidence[k]
        assert (same & (sources[own].class_id == fused.class_id[k])).any()
        assert fused.xyxy[k, 2] > fused.xyxy[k, 0] and fused.xyxy[k, 3] > fused.xyxy[k, 1]
    assert (np.diff(fused.confidence) <= 0).all()
