"""Merging and border handling against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.fusion.cut import drop_cut
from re_pose_ros.fusion.merge import MergeSettings, merge
from re_pose_ros.geometry import Block

Box = tuple[float, float, float, float]

place = st.integers(0, 20)
length = st.integers(1, 16)
item = st.tuples(
    place, place, length, length, st.integers(1, 9), st.integers(0, 1), st.integers(-1, 3)
)


def detections_of(items: list[tuple[int, ...]]) -> Detections:
    return Detections.of(
        [(x, y, x + w, y + h) for x, y, w, h, *_ in items],
        [i[4] / 10 for i in items],
        [i[5] for i in items],
        [i[6] for i in items],
    )


crowd = st.lists(item, max_size=24).map(detections_of)
settings = st.builds(
    MergeSettings,
    metric=st.sampled_from(["ios", "iou"]),
    threshold=st.sampled_from([0.3, 0.5, 0.9]),
    class_aware=st.booleans(),
    within_block=st.booleans(),
)


def overlap(a: Box, b: Box, metric: str) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (min(areas) if metric == "ios" else sum(areas) - shared)


def rows(found: Detections) -> list[tuple[Any, ...]]:
    return [
        (*box, score, kind, block)
        for box, score, kind, block in zip(
            found.xyxy.tolist(),
            found.confidence.tolist(),
            found.class_id.tolist(),
            found.block.tolist(),
            strict=True,
        )
    ]


def merged_naively(found: Detections, how: MergeSettings) -> list[list[tuple[Any, ...]]]:
    """Each kept row followed by the rows that it swallows."""
    waiting = rows(found.ranked())
    groups = []
    while waiting:
        best = waiting.pop(0)
        near: dict[Any, list[tuple[float, int]]] = {}
        for k, other in enumerate(waiting):
            share = np.float32(overlap(best[:4], other[:4], how.metric))
            same_class = best[5] == other[5] or not how.class_aware
            same_block = best[6] == other[6] != -1
            if share < how.threshold or not same_class or (same_block and not how.within_block):
                continue
            one_each = not how.within_block and other[6] != -1
            near.setdefault(other[6] if one_each else ("any", k), []).append((-share, k))
        taken = sorted(min(candidates)[1] for candidates in near.values())
        groups.append([best, *(waiting[k] for k in taken)])
        waiting = [other for k, other in enumerate(waiting) if k not in taken]
    return groups


@given(crowd, settings)
def test_merging_agrees_with_the_naive_way(found: Detections, how: MergeSettings) -> None:
    groups = merged_naively(found, how)
    assert rows(merge(found, how)) == [group[0] for group in groups]


@pytest.mark.parametrize(("spread", "within_block"), [(60, False), (60, True), (2000, False)])
def test_merging_a_large_crowd_agrees_with_the_naive_way(spread: int, within_block: bool) -> None:
    random = np.random.default_rng(spread)
    corners, sides = random.integers(0, spread, (600, 2)), random.integers(1, 60, (600, 2))
    found = Detections.of(
        np.hstack([corners, corners + sides]),
        random.integers(1, 9, 600) / 10,
        random.integers(0, 2, 600),
        random.integers(-1, 12, 600, np.int32),
    )
    how = MergeSettings(within_block=within_block)
    assert rows(merge(found, how)) == [group[0] for group in merged_naively(found, how)]


@given(crowd, settings, st.sampled_from(["union", "weighted"]))
def test_combined_boxes_agree_with_the_naive_way(
    found: Detections, how: MergeSettings, mode: Any
) -> None:
    how = MergeSettings(how.metric, how.threshold, mode, how.class_aware, how.within_block)
    expected = []
    for group in merged_naively(found, how):
        table = np.array([row[:4] for row in group])
        if mode == "union":
            box = [*table[:, :2].min(axis=0), *table[:, 2:].max(axis=0)]
        else:
            box = list(np.average(table, axis=0, weights=[row[4] for row in group]))
        expected.append((*box, *group[0][4:]))
    got = sorted(rows(merge(found, how)))
    np.testing.assert_allclose(
        np.array(got).reshape(-1, 7), np.array(sorted(expected)).reshape(-1, 7), rtol=1e-5
    )


@given(crowd, settings, st.randoms(use_true_random=False))
def test_merging_keeps_a_subset_whatever_the_order(
    found: Detections, how: MergeSettings, random: Any
) -> None:
    order = list(range(len(found)))
    random.shuffle(order)
    once = rows(merge(found, how))
    assert set(once) <= set(rows(found))
    assert rows(merge(found.take(np.array(order, np.intp)), how)) == once


@given(crowd, settings)
def test_merging_twice_within_blocks_changes_nothing(found: Detections, how: MergeSettings) -> None:
    how = MergeSettings(how.metric, how.threshold, "best", how.class_aware, within_block=True)
    once = merge(found, how)
    assert rows(merge(once, how)) == rows(once)


def test_a_coarse_box_cannot_swallow_two_objects_of_one_block() -> None:
    large, left, right = (0, 0, 40, 20), (1, 1, 18, 19), (20, 2, 39, 19)
    found = Detections.of([large, left, right], [0.9, 0.5, 0.6], [0, 0, 0], [0, 1, 1])
    assert [row[4] for row in rows(merge(found))] == pytest.approx([0.9, 0.5])
    assert len(merge(found, MergeSettings(within_block=True))) == 1
    apart = Detections.of([large, left, right], [0.9, 0.5, 0.6], [0, 0, 0], [0, 1, 2])
    assert len(merge(apart)) == 1


def test_neighbours_in_one_block_stay_but_their_doubles_go() -> None:
    pair = [(10, 10, 20, 40), (14, 10, 24, 40)]
    found = Detections.of(pair + pair, [0.9, 0.8, 0.7, 0.6], [0] * 4, [0, 0, 1, 1])
    assert merge(found).block.tolist() == [0, 0]


def test_a_part_at_a_border_is_merged_by_ios_and_not_by_iou() -> None:
    found = Detections.of([(0, 0, 10, 40), (0, 0, 10, 15)], [0.9, 0.6], [0, 0], [0, 1])
    assert len(merge(found)) == 1
    assert len(merge(found, MergeSettings(metric="iou"))) == 2


@pytest.mark.parametrize(
    "wrong", [{"metric": "giou"}, {"mode": "first"}, {"threshold": 0.0}, {"threshold": 1.1}]
)
def test_wrong_merge_settings_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="merge"):
        MergeSettings(**wrong)


FRAME = (100, 60)
LEFT, RIGHT = Block(0, 0, 60, 60), Block(40, 0, 60, 60)


def kept(boxes: list[Box], blocks: list[int], plan: list[Block], **options: Any) -> list[int]:
    """Indices of the boxes that ``drop_cut`` leaves, told apart by their confidence."""
    scores = np.arange(len(boxes)) / 100
    found = drop_cut(Detections.of(boxes, scores, [0] * len(boxes), blocks), plan, FRAME, **options)
    return [round(float(score) * 100) for score in found.confidence]


def test_a_cut_object_goes_where_another_block_sees_it_whole() -> None:
    boxes: list[Box] = [(50, 10, 60, 40), (50, 10, 65, 40), (45, 10, 58, 40)]
    assert kept(boxes, [0, 1, 1], [LEFT, RIGHT]) == [1, 2]
    assert kept(boxes, [0, 1, 1], [LEFT, RIGHT], answered=[True, False]) == [0, 1, 2]
    assert kept(boxes[:1], [0], [LEFT]) == [0]


def test_a_cut_object_stays_where_the_other_block_cuts_it_too() -> None:
    short = Block(40, 0, 25, 60)  # reaches 5 pixels past the border of LEFT
    assert kept([(50, 10, 60, 40)], [0], [LEFT, short]) == [0]
    assert kept([(50, 10, 60, 16)], [0], [LEFT, short]) == []


def test_an_object_that_fills_the_overlap_is_not_dropped_by_both() -> None:
    spanning: list[Box] = [(41, 10, 60, 40)] * 2
    assert kept(spanning, [0, 1], [LEFT, RIGHT]) == [0, 1]


def test_a_block_of_half_the_resolution_is_no_substitute() -> None:
    look, box = Block(0, 0, *FRAME), (50, 10, 60, 40)
    assert kept([box], [0], [LEFT, look], scales=[2.0, 1.0]) == []
    assert kept([box], [0], [LEFT, look], scales=[2.1, 1.0]) == [0]


def test_touching_the_frame_or_of_unknown_block_is_not_cut() -> None:
    boxes: list[Box] = [(0, 0, 20, 60), (60, 0, 100, 60), (55, 5, 60, 30)]
    assert kept(boxes, [0, 1, -1], [LEFT, RIGHT]) == [0, 1, 2]


def test_without_blocks_nothing_is_cut() -> None:
    assert kept([(0, 0, 20, 60)], [-1], []) == [0]
    assert kept([], [], []) == []


def test_drop_cut_tells_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="block 2 of a plan of 2"):
        kept([(0, 0, 5, 5)], [2], [LEFT, RIGHT])
    with pytest.raises(ValueError, match="1 values in scales for 2 blocks"):
        kept([(0, 0, 5, 5)], [1], [LEFT, RIGHT], scales=[1.0])


def cut_naively(found: Detections, plan: list[Block], margin: float, reach: float) -> list[bool]:
    """For each detection whether it is to go, side by side as the docstring says."""
    result = []
    for box, own in zip(found.xyxy.tolist(), found.block.tolist(), strict=True):
        longer = max(box[2] - box[0], box[3] - box[1])

        def sees_whole(k: int, box: Any = box, own: int = own, longer: float = longer) -> bool:
            other, mine = plan[k].xyxy, plan[own].xyxy
            ends = (0, 0, *FRAME)
            for side in range(4):
                way = 1 if side > 1 else -1
                if way * (other[side] - box[side]) <= margin and other[side] != ends[side]:
                    return False
                is_cut = mine[side] != ends[side] and way * (mine[side] - box[side]) <= margin
                past = way * (other[side] - mine[side])
                enough = past > 0 and (past >= reach * longer or other[side] == ends[side])
                if is_cut and not enough:
                    return False
            return True

        at_border = own >= 0 and any(
            plan[own].xyxy[side] != (0, 0, *FRAME)[side]
            and abs(plan[own].xyxy[side] - box[side]) <= margin
            for side in range(4)
        )
        result.append(at_border and any(sees_whole(k) for k in range(len(plan)) if k != own))
    return result


@st.composite
def block_scenes(draw: Any) -> tuple[list[Block], Detections]:
    """A few blocks and boxes inside them, most of them at a border."""
    plan, boxes, owners = [], [], []
    for k in range(draw(st.integers(1, 4))):
        x, y = draw(st.sampled_from([0, 10, 40])), draw(st.sampled_from([0, 20]))
        width = draw(st.sampled_from([30, 50, 100 - x]))
        height = draw(st.sampled_from([30, 60 - y]))
        plan.append(Block(x, y, width, height))
        for _ in range(draw(st.integers(0, 4))):
            w, h = draw(st.integers(2, 20)), draw(st.integers(2, 20))
            left = x + draw(st.sampled_from([0, 1, 5, width - w - 1, width - w]))
            top = y + draw(st.sampled_from([0, 3, height - h - 2, height - h]))
            boxes.append((left, top, left + w, top + h))
            owners.append(k)
    return plan, Detections.of(boxes, np.linspace(0, 1, len(boxes)), [0] * len(boxes), owners)


@given(block_scenes())
def test_drop_cut_agrees_with_the_naive_way(scene: tuple[list[Block], Detections]) -> None:
    plan, found = scene
    expected = [not gone for gone in cut_naively(found, plan, 2.0, 0.25)]
    assert rows(drop_cut(found, plan, FRAME)) == rows(found.take(np.array(expected, bool)))


@given(block_scenes())
def test_drop_cut_leaves_what_touches_only_the_frame(
    scene: tuple[list[Block], Detections],
) -> None:
    plan, found = scene
    left = set(rows(drop_cut(found, plan, FRAME)))
    for row in rows(found):
        borders = zip(plan[row[6]].xyxy, row[:4], (0, 0, *FRAME), strict=True)
        if not any(abs(mine - at) <= 2 and mine != end for mine, at, end in borders):
            assert row in left
