"""No part of a frame goes unseen for longer than is allowed, by looks alone or by all blocks."""

from __future__ import annotations

import math

import numpy as np
import partition_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.distribution import Coverage
from re_pose_ros.geometry import enclosing_block
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.partition.groups import Floats, bin_middles
from re_pose_ros.partition.looks import (
    LARGEST_SHARE,
    MOST_UNKNOWN,
    SMALLEST_SHARE,
    UNKNOWN_OBJECTS,
    Looks,
    grid_looks,
    region_looks,
    regions_per_side,
    unknown_sizes,
)
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant

UNSEEN = (0, 1, 2, 3, 5, 10, 30)
FRAMES = ((640, 480), (1280, 720), (3840, 2160))


def looks_of(coverage: Coverage, unseen: int, scale: float) -> Looks:
    """Of a frame that comes after many."""
    return region_looks(coverage, unseen, 48.0, scale, 100)


def looked(extent: Floats, scale: float, frame_size: tuple[int, int]) -> list[PlannedBlock]:
    """Blocks that show rectangles just as sharply as is wanted."""
    blocks = []
    for k, (left, top, right, bottom) in enumerate(extent.tolist()):
        block = enclosing_block(left, top, right, bottom, frame_size)
        side = math.ceil(scale * max(block.width, block.height))
        blocks.append(PlannedBlock(Slot("edge_0", k), BlockRequest(block, Variant("net", side))))
    return blocks


@pytest.mark.parametrize("frame_size", FRAMES)
@pytest.mark.parametrize("unseen", UNSEEN)
def test_nothing_goes_unseen_where_every_required_look_is_answered(
    frame_size: tuple[int, int], unseen: int
) -> None:
    scale = 640 / max(frame_size)
    coverage = Coverage(frame_size, least_scale=scale)
    for frame in range(100):
        looks = looks_of(coverage, unseen, scale)
        assert looks.scale == scale or not len(looks)
        coverage.look(looked(looks.extent[looks.required], scale, frame_size))
        assert coverage.age().max() <= unseen, frame


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(FRAMES), st.sampled_from(UNSEEN))
def test_nor_where_other_blocks_are_looked_at_and_some_looks_are_lost(
    seed: int, frame_size: tuple[int, int], unseen: int
) -> None:
    """What is lost is late in the next frame, and then due at once."""
    random = np.random.default_rng(seed)
    coverage = Coverage(frame_size, least_scale=1.0)
    lost_before = False
    for _ in range(40):
        looks = looks_of(coverage, unseen, 1.0)
        lost = bool(random.random() < 0.2)
        blocks = [] if lost else looked(looks.extent[looks.required], 1.0, frame_size)
        corners = random.uniform(0, 1, (2, 2, 2)) * frame_size
        others = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        coverage.look([*blocks, *looked(others, 1.0, frame_size)])
        if not lost:
            assert coverage.age().max() <= unseen
        elif not lost_before and coverage.age().max() < 1000:
            assert coverage.age().max() <= unseen + 1
        lost_before = lost


@pytest.mark.parametrize("unseen", [5, 10, 30])
def test_each_frame_has_its_share_of_looking(unseen: int) -> None:
    """Also after a look at everything, when all has been seen at the same time."""
    size = (3840, 2160)
    coverage = Coverage(size)
    coverage.look(looked(np.array([[0.0, 0, *size]]), 1.0, size))
    shares = []
    for _ in range(3 * unseen):
        looks = looks_of(coverage, unseen, 1.0)
        extent = looks.extent[looks.required]
        shares.append(float((extent[:, 2:] - extent[:, :2]).prod(axis=1).sum()) / np.prod(size))
        coverage.look(looked(extent, 1.0, size))
    assert max(shares) <= 2 / regions_per_side(unseen) ** 2


@pytest.mark.parametrize("unseen", UNSEEN)
def test_there_are_no_more_regions_than_frames_to_wait(unseen: int) -> None:
    per_side = regions_per_side(unseen)
    assert per_side**2 <= unseen + 1
    assert per_side == 8 or (per_side + 1) ** 2 > unseen + 1


def test_at_first_all_of_it_is_due_and_then_nothing() -> None:
    coverage = Coverage((1280, 720))
    first = looks_of(coverage, 10, 0.5)
    shown = np.zeros((720, 1280), bool)
    for left, top, right, bottom in first.extent[first.required].astype(int).tolist():
        shown[top:bottom, left:right] = True
    assert shown.all()
    coverage.look(looked(np.array([[0.0, 0, 1280, 720]]), 0.5, (1280, 720)))
    after = looks_of(coverage, 10, 0.5)
    assert not after.required.any()


def test_what_waits_longer_promises_more() -> None:
    coverage = Coverage((1280, 720))
    everything = looked(np.array([[0.0, 0, 1280, 720]]), 1.0, (1280, 720))
    coverage.look(everything)
    promised = []
    for _ in range(5):
        coverage.look([])
        looks = looks_of(coverage, 20, 1.0)
        assert len(looks)
        areas = (looks.extent[:, 2:] - looks.extent[:, :2]).prod(axis=1)
        promised.append(float((looks.weight.sum(axis=1) / areas).max()))
    assert (np.diff(promised) > 0).all()
    assert promised[-1] * 1280 * 720 < UNKNOWN_OBJECTS


@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.integers(1, 5), st.floats(0.0, 100.0)
)
@settings(max_examples=40)
def test_a_grid_shows_everything_and_overlaps(
    frame_size: tuple[int, int], per_side: int, overlap: float
) -> None:
    width, height = frame_size
    looks = grid_looks(frame_size, per_side, overlap, 0.3)
    assert len(looks) == per_side**2 and looks.required.all() and looks.scale == 0.3
    extent = looks.extent.reshape(per_side, per_side, 4)
    assert extent[0, 0, :2].tolist() == [0, 0] and extent[-1, -1, 2:].tolist() == [width, height]
    assert (extent >= 0).all() and (extent <= (width, height, width, height)).all()
    across = extent[:, :-1, 2] - extent[:, 1:, 0]
    down = extent[:-1, :, 3] - extent[1:, :, 1]
    assert (across >= min(overlap, width / per_side) - 1e-6).all()
    assert (down >= min(overlap, height / per_side) - 1e-6).all()
    assert looks.weight.sum() == pytest.approx(UNKNOWN_OBJECTS)


@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)))
@settings(max_examples=40)
def test_unknown_objects_are_of_all_octaves_alike(frame_size: tuple[int, int]) -> None:
    sizes = unknown_sizes(frame_size)
    assert sizes.sum() == pytest.approx(UNKNOWN_OBJECTS)
    there = bin_middles()[sizes > 0]
    if len(there) > 1:
        longer = max(frame_size)
        assert there.min() >= SMALLEST_SHARE * longer and there.max() <= LARGEST_SHARE * longer
        assert np.ptp(sizes[sizes > 0]) == pytest.approx(0)


def test_of_a_frame_that_is_seen_smaller_more_is_unknown() -> None:
    counts = [unknown_sizes((3840, 2160), shown).sum() for shown in (2.0, 1.0, 0.5, 0.25, 0.01)]
    expected = [UNKNOWN_OBJECTS * more for more in (1, 1, 2, 4)]
    assert counts == pytest.approx([*expected, MOST_UNKNOWN])


def test_no_looks() -> None:
    assert len(Looks.none()) == 0


# With the planner, in which looks are blocks like any other.


@pytest.mark.parametrize("unseen", UNSEEN)
@pytest.mark.parametrize("count", [0, 25])
def test_the_planner_keeps_it_too(unseen: int, count: int) -> None:
    settings = PartitionSettings(budget_ms=500.0, unseen_frames=unseen)
    planner, where = cases.planner(settings), cases.context()
    coverage = Coverage(cases.FRAME, least_scale=0.9 * settings.whole_size / cases.FRAME[0])
    boxes = cases.crowd(np.random.default_rng(unseen), count).xyxy
    for frame in range(40 if unseen < 30 else 80):
        blocks = cases.placed(planner.partition(where), where)
        assert blocks
        coverage.look(blocks)
        assert coverage.age().max() <= unseen, frame
        boxes = np.clip(boxes + 2.0, 0, np.tile(cases.FRAME, 2))
        profile = where.profiles["edge_0"]
        planner.observe(cases.outcome(blocks, cases.seen(boxes), profile, overhead_ms=5.0))
