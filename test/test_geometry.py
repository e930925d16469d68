"""Boxes, blocks and detections against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import (
    Block,
    box_areas,
    crop_to_full,
    enclosing_block,
    intersections,
    iou,
    whole,
)

coordinate = st.integers(0, 60)
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1)
)
boxes = st.lists(box, max_size=8).map(lambda found: np.array(found, np.float32).reshape(-1, 4))


def pixels(one: np.ndarray) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = one.astype(int)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@given(boxes, boxes)
def test_overlaps_agree_with_counting_pixels(a: np.ndarray, b: np.ndarray) -> None:
    shape = (len(a), len(b))
    assert intersections(a, b).shape == iou(a, b).shape == shape
    sets_a, sets_b = [pixels(one) for one in a], [pixels(one) for one in b]
    for i, first in enumerate(sets_a):
        assert box_areas(a)[i] == len(first)
        for j, second in enumerate(sets_b):
            shared = len(first & second)
            assert intersections(a, b)[i, j] == shared
            assert iou(a, b)[i, j] == pytest.approx(shared / len(first | second))


def test_overlap_with_a_box_without_area_is_zero() -> None:
    a = np.array([[5, 5, 5, 9]], np.float32)
    assert iou(a, a)[0, 0] == 0


def test_overlaps_leave_their_arguments_alone() -> None:
    a = np.array([[0, 0, 4, 4], [2, 2, 8, 8]], np.float32)
    before = a.copy()
    iou(a, a)
    np.testing.assert_array_equal(a, before)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_a_block_needs_a_positive_size(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive size"):
        Block(0, 0, *size)


def test_block_crops_a_view() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    block = Block(2, 1, 4, 3)
    crop = block.crop(image)
    assert crop.shape == (3, 4, 3) and crop.base is not None
    np.testing.assert_array_equal(crop, image[1:4, 2:6])
    assert block.xyxy == (2, 1, 6, 4) and block.area == 12
    assert whole(8, 6).crop(image).shape == image.shape


@given(st.tuples(*[st.floats(-50, 150)] * 4), st.integers(1, 100), st.integers(1, 100))
def test_enclosing_block_covers_what_is_in_the_frame(
    corners: tuple[float, float, float, float], width: int, height: int
) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    left, top, right, bottom = enclosing_block(x1, y1, x2, y2, (width, height)).xyxy
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if x1 < width and x2 > 0:
        assert left <= max(x1, 0) and right >= min(x2, width)
    if y1 < height and y2 > 0:
        assert top <= max(y1, 0) and bottom >= min(y2, height)


def test_crop_to_full_maps_the_crop_onto_its_block() -> None:
    block = Block(100, 50, 320, 160)
    size = (640, 640)  # scaled by 2 across and by 4 down
    boxes = np.array([[0, 0, 640, 640], [64, 64, 128, 128]], np.float32)
    full = crop_to_full(boxes, block, size)
    np.testing.assert_allclose(full, [[100, 50, 420, 210], [132, 66, 164, 82]])


def test_detections_check_their_lengths() -> None:
    with pytest.raises(ValueError, match="2 boxes, 1 scores, 2 classes"):
        Detections.of([[0, 0, 1, 1]] * 2, [0.5], [0, 0])


def test_detections_concatenate_and_take() -> None:
    a = Detections.of([[0, 0, 1, 1], [1, 1, 2, 2]], [0.1, 0.9], [3, 4], block=[0, 1])
    both = Detections.concatenate([a, Detections.empty(), a])
    assert len(both) == 4 and both.xyxy.dtype == np.float32 and both.block.dtype == np.int32
    assert both.take(both.confidence > 0.5).class_id.tolist() == [4, 4]
    assert len(Detections.concatenate([])) == len(Detections.empty()) == 0


@given(st.permutations(range(6)))
def test_ranking_does_not_depend_on_the_order(order: list[int]) -> None:
    found = Detections.of(
        [[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 3], [0, 0, 2, 2], [5, 5, 6, 6], [1, 0, 2, 2]],
        [0.5, 0.5, 0.5, 0.5, 0.9, 0.5],
        [0, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, 0],
    )
    a, b = found.ranked(), found.take(order).ranked()
    for name in ("xyxy", "confidence", "class_id", "block"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.confidence[0] == np.float32(0.9)
