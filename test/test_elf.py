"""Elf's vertical cuts: widths by speed, objects whole, motion carried on, looks when due."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block, whole
from re_pose_ros.partition import (
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
    make_partitioner,
)
from re_pose_ros.partition.elf import Elf, moved, parts_of
from re_pose_ros.plan import BlockRequest, Variant

HD = (1280, 720)
NATIVE = tuple(Variant("net", size) for size in range(32, 1921, 32))


def at(*boxes: tuple[float, float, float, float], label: int = 0) -> Detections:
    return Detections.of(boxes, [0.9] * len(boxes), [label] * len(boxes))


def context(speeds: tuple[float, ...] = (1.0, 1.0), slots: int = 16) -> PartitionContext:
    return PartitionContext(HD, slots, NATIVE, speeds)


def after_look(elf: Elf, seen: Detections, where: PartitionContext) -> list[BlockRequest]:
    elf.partition(where)
    elf.observe(FrameOutcome(seen))
    return elf.partition(where)


def elf(**changed: float) -> Elf:
    return Elf(PartitionSettings(**changed))  # type: ignore[arg-type]


def test_the_first_look_is_in_full_resolution_and_later_ones_are_not() -> None:
    method = elf(look_every=3, look_scale=0.4)
    looks = []
    for _ in range(7):
        requests = method.partition(context())
        found = [r.variant for r in requests if r.block == whole(*HD)]
        looks.append([variant.input_size if variant else 0 for variant in found])
        method.observe(FrameOutcome(at((100, 100, 140, 140), (900, 500, 960, 560))))
    assert looks == [[1280], [], [], [512], [], [], [512]]


def test_without_objects_there_is_a_look_in_every_frame() -> None:
    method = elf()
    for _ in range(3):
        assert [r.block for r in method.partition(context())] == [whole(*HD)]
        method.observe(FrameOutcome(Detections.empty()))


def test_widths_are_in_the_proportion_of_the_speeds() -> None:
    boxes = np.array([[x, 100, x + 10, 130] for x in range(0, 1000, 10)], float)
    parts = parts_of(boxes, np.array([2.0, 1.0, 1.0]))
    assert np.bincount(parts).tolist() == [50, 25, 25]
    assert (np.diff(parts) >= 0).all()


def test_an_object_on_a_cut_goes_whole_to_the_part_with_most_of_it() -> None:
    boxes = np.array([[0, 0, 10, 10], [40, 0, 70, 10], [90, 0, 100, 10]], float)
    assert parts_of(boxes, np.ones(2)).tolist() == [0, 1, 1]
    requests = after_look(
        elf(growth=0.0, min_block=16), Detections.of(boxes, [1] * 3, [0] * 3), context()
    )
    assert [r.block.xyxy for r in requests] == [(0, 0, 16, 16), (40, 0, 100, 16)]


def test_blocks_grow_by_a_share_of_their_side_and_to_the_least_size() -> None:
    seen = at((400, 300, 500, 340), (600, 300, 800, 600))
    requests = after_look(elf(growth=0.1, min_block=100), seen, context())
    assert [r.block for r in requests] == [Block(390, 270, 120, 100), Block(580, 270, 240, 360)]
    assert [r.variant for r in requests] == [Variant("net", 128), Variant("net", 384)]


def test_an_object_moves_on_as_it_did() -> None:
    before = at((100, 100, 140, 140), (300, 300, 320, 320))
    last = at((110, 104, 150, 144), (700, 300, 720, 320))
    assert moved(last, before).tolist() == [[120, 108, 160, 148], [700, 300, 720, 320]]
    other = at((110, 104, 150, 144), label=1)
    assert moved(other, before).tolist() == [[110, 104, 150, 144]]
    assert moved(Detections.empty(), before).shape == (0, 4)


def test_one_slot_is_for_the_look_when_it_is_due() -> None:
    method = elf(look_every=2)
    seen = at((100, 100, 140, 140), (900, 500, 960, 560))
    requests = []
    for _ in range(4):
        requests.append([r.block for r in method.partition(context(slots=1))])
        method.observe(FrameOutcome(seen))
    assert requests[0] == requests[2] == [whole(*HD)]
    assert len(requests[1]) == 1 and requests[1][0] != whole(*HD)


@settings(max_examples=60)
@given(
    st.integers(1, 60),
    st.integers(0, 999),
    st.lists(st.floats(0.1, 4), min_size=1, max_size=6),
    st.sampled_from([16, 160, 4096]),
)
def test_every_object_lies_whole_in_a_block_of_the_least_size(
    count: int, seed: int, speeds: list[float], least: int
) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform((0, 0), (1240, 680), (count, 2))
    boxes = np.column_stack([corners, corners + random.uniform(4, 40, (count, 2))])
    seen = Detections.of(boxes, np.ones(count), np.zeros(count))
    method = make_partitioner("elf", PartitionSettings(min_block=least))
    requests = after_look(method, seen, context(tuple(speeds)))  # type: ignore[arg-type]
    blocks = np.array([r.block.xyxy for r in requests], float)
    assert len(blocks) <= len(speeds)
    assert (blocks[:, 2] - blocks[:, 0] >= min(least, HD[0])).all()
    assert (blocks[:, 3] - blocks[:, 1] >= min(least, HD[1])).all()
    for box in seen.xyxy:
        shows = (blocks[:, :2] <= box[:2]).all(axis=1) & (blocks[:, 2:] >= box[2:]).all(axis=1)
        assert shows.any()


@pytest.mark.parametrize("count", [0, 300])
def test_unknown_workers_mean_one_part_per_slot(count: int) -> None:
    boxes = [(4.0 * k, 10.0, 4.0 * k + 3, 20.0) for k in range(count)]
    requests = after_look(elf(), at(*boxes), PartitionContext(HD, 5))
    assert len(requests) == (5 if count else 1)
