"""Merging and border handling against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.fusion.cut import cut_sides, drop_cut, interior_borders
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
    metric=st.sampled_from(["border", "ios", "iou"]),
    threshold=st.sampled_from([0.3, 0.5, 0.9]),
    class_aware=st.booleans(),
    within_block=st.booleans(),
)


# Blocks 0 to 3 of the crowds, in a frame that holds all their boxes.
SQUARE = (36, 36)
HALVES = [Block(0, 0, 20, 36), Block(12, 0, 24, 36), Block(0, 0, 36, 18), Block(0, 10, 36, 26)]
BORDERS = interior_borders(HALVES, SQUARE, 1.0)


def cut_naively(box: Any, block: Block, frame: tuple[int, int], margin: float) -> list[bool]:
    """Left, top, right, bottom: whether the block's border may cut the box there."""
    x1, y1, x2, y2 = block.xyxy
    return [
        x1 > 0 and box[0] <= x1 + margin,
        y1 > 0 and box[1] <= y1 + margin,
        x2 < frame[0] and box[2] >= x2 - margin,
        y2 < frame[1] and box[3] >= y2 - margin,
    ]


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


def is_cut(row: tuple[Any, ...]) -> bool:
    return row[6] >= 0 and any(cut_naively(row[:4], HALVES[row[6]], SQUARE, 1.0))


def one_object(a: tuple[Any, ...], b: tuple[Any, ...], how: MergeSettings, borders: bool) -> bool:
    """Whether the better of two rows swallows the other."""
    metric: str = how.metric
    if metric == "border":
        metric = "ios" if borders and (is_cut(a) or is_cut(b)) else "iou"
    other_class = how.class_aware and a[5] != b[5]
    same_block = not how.within_block and a[6] == b[6] != -1
    return not (other_class or same_block) and bool(
        np.float32(overlap(a[:4], b[:4], metric)) >= how.threshold
    )


def merged_naively(
    found: Detections, how: MergeSettings, borders: bool = True
) -> list[list[tuple[Any, ...]]]:
    """Each kept row followed by the rows that it swallows."""
    waiting = rows(found.ranked())
    groups = []
    while waiting:
        best = waiting.pop(0)
        groups.append(
            [best, *(other for other in waiting if one_object(best, other, how, borders))]
        )
        waiting = [other for other in waiting if not one_object(best, other, how, borders)]
    return groups


@given(crowd, settings, st.booleans())
def test_merging_agrees_with_the_naive_way(
    found: Detections, how: MergeSettings, borders: bool
) -> None:
    groups = merged_naively(found, how, borders)
    merged = merge(found, how, BORDERS if borders else None)
    assert rows(merged) == [group[0] for group in groups]


@pytest.mark.parametrize(("spread", "within_block"), [(30, False), (30, True), (2000, False)])
def test_merging_a_large_crowd_agrees_with_the_naive_way(spread: int, within_block: bool) -> None:
    random = np.random.default_rng(spread)
    corners, sides = random.integers(0, spread, (600, 2)), random.integers(1, 30, (600, 2))
    found = Detections.of(
        np.hstack([corners, corners + sides]),
        random.integers(1, 9, 600) / 10,
        random.integers(0, 2, 600),
        random.integers(-1, 4, 600, np.int32),
    )
    how = MergeSettings(within_block=within_block)
    groups = merged_naively(found, how)
    assert rows(merge(found, how, BORDERS)) == [group[0] for group in groups]


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
    got = sorted(rows(merge(found, how, BORDERS)))
    np.testing.assert_allclose(
        np.array(got).reshape(-1, 7), np.array(sorted(expected)).reshape(-1, 7), rtol=1e-5
    )


@given(crowd, settings, st.randoms(use_true_random=False))
def test_merging_keeps_a_subset_whatever_the_order(
    found: Detections, how: MergeSettings, random: Any
) -> None:
    order = list(range(len(found)))
    random.shuffle(order)
    once = rows(merge(found, how, BORDERS))
    assert set(once) <= set(rows(found))
    assert rows(merge(found.take(np.array(order, np.intp)), how, BORDERS)) == once


@given(crowd, settings)
def test_merging_twice_changes_nothing(found: Detections, how: MergeSettings) -> None:
    once = merge(found, how, BORDERS)
    assert rows(merge(once, how, BORDERS)) == rows(once)


@given(crowd, settings)
def test_a_crowd_seen_again_less_surely_is_the_crowd_seen_once(
    found: Detections, how: MergeSettings
) -> None:
    first = Detections.of(found.xyxy, found.confidence, found.class_id, 0)
    again = Detections.of(found.xyxy, found.confidence / 2, found.class_id, 1)
    how = MergeSettings(how.metric, how.threshold, "best", how.class_aware)
    twice = Detections.concatenate([again, first])
    assert rows(merge(twice, how, BORDERS)) == rows(first.ranked())


@given(crowd, settings)
def test_the_default_is_iou_without_borders_and_ios_where_all_is_cut(
    found: Detections, how: MergeSettings
) -> None:
    found = found.take(found.block >= 0)
    everywhere = np.tile([np.inf, np.inf, -np.inf, -np.inf], (4, 1))
    for borders, metric in ((None, "iou"), (everywhere, "ios")):
        ours = MergeSettings("border", how.threshold, "best", how.class_aware, how.within_block)
        plain = MergeSettings(metric, how.threshold, "best", how.class_aware, how.within_block)
        assert rows(merge(found, ours, borders)) == rows(merge(found, plain))


def test_a_coarse_box_swallows_no_two_objects_that_lie_in_it() -> None:
    large, left, right = (0, 0, 40, 20), (1, 1, 18, 19), (20, 2, 39, 19)
    found = Detections.of([large, left, right], [0.9, 0.5, 0.6], [0, 0, 0], [0, 1, 1])
    assert len(merge(found)) == 3
    assert len(merge(found, MergeSettings(metric="ios"))) == 1


def test_a_double_of_one_block_goes_with_its_double_in_another() -> None:
    twice = [(10, 10, 20, 40), (11, 10, 23, 40)]
    found = Detections.of([(10, 10, 21, 40), *twice], [0.9, 0.8, 0.7], [0] * 3, [0, 1, 1])
    assert merge(found).block.tolist() == [0]


def test_neighbours_in_one_block_stay_but_their_doubles_go() -> None:
    pair = [(10, 10, 20, 40), (14, 10, 24, 40)]
    found = Detections.of(pair + pair, [0.9, 0.8, 0.7, 0.6], [0] * 4, [0, 0, 1, 1])
    assert merge(found).block.tolist() == [0, 0]


def test_who_stands_in_front_of_another_stays_unless_a_border_cuts_one_of_them() -> None:
    behind, front = (2, 2, 16, 30), (6, 14, 16, 30)
    found = Detections.of([behind, front], [0.9, 0.6], [0, 0], [0, 1])
    apart = interior_borders([Block(0, 0, 30, 36), Block(3, 0, 30, 36)], SQUARE)
    assert len(merge(found, None, apart)) == 2
    at_behind = interior_borders([Block(0, 0, 17, 36), Block(3, 0, 30, 36)], SQUARE)
    at_front = interior_borders([Block(0, 0, 30, 36), Block(5, 0, 30, 36)], SQUARE)
    for borders in (at_behind, at_front):
        assert merge(found, None, borders).block.tolist() == [0]
        assert len(merge(found, MergeSettings(metric="iou"), borders)) == 2


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


def test_wrong_blocks_and_lists_are_told() -> None:
    with pytest.raises(ValueError, match="block 2 of a plan of 2"):
        kept([(0, 0, 5, 5)], [2], [LEFT, RIGHT])
    with pytest.raises(ValueError, match="block 3 of a plan of 2"):
        merge(Detections.of([(0, 0, 5, 5)] * 2, [0.5, 0.6], [0, 0], 3), None, BORDERS[:2])
    with pytest.raises(ValueError, match="1 values in scales for 2 blocks"):
        kept([(0, 0, 5, 5)], [1], [LEFT, RIGHT], scales=[1.0])


def dropped_naively(
    found: Detections, plan: list[Block], margin: float, reach: float
) -> list[bool]:
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
                cut = mine[side] != ends[side] and way * (mine[side] - box[side]) <= margin
                past = way * (other[side] - mine[side])
                enough = past > 0 and (past >= reach * longer or other[side] == ends[side])
                if cut and not enough:
                    return False
            return True

        at_border = own >= 0 and any(cut_naively(box, plan[own], FRAME, margin))
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


@given(block_scenes(), st.sampled_from([0.0, 1.0, 2.5]))
def test_cut_sides_agree_with_the_naive_way(
    scene: tuple[list[Block], Detections], margin: float
) -> None:
    plan, found = scene
    expected = [cut_naively(row, plan[row[6]], FRAME, margin) for row in rows(found)]
    assert cut_sides(found, interior_borders(plan, FRAME, margin)).tolist() == expected


@given(block_scenes())
def test_drop_cut_agrees_with_the_naive_way(scene: tuple[list[Block], Detections]) -> None:
    plan, found = scene
    expected = [not gone for gone in dropped_naively(found, plan, 2.0, 0.25)]
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
