"""The partition methods: coverage, limits, determinism."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MeanShift
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, box_areas, whole
from re_pose_ros.partition import (
    PARTITIONERS,
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
    make_partitioner,
)
from re_pose_ros.partition.assign import assign, input_pixels
from re_pose_ros.partition.base import RANGES, smallest_variant
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.partition.mean_shift import mean_shift
from re_pose_ros.partition.perspective import Perspective
from re_pose_ros.plan import BlockRequest, Slot, Variant

SMALL, LARGE = Variant("yolo11n", 320), Variant("yolo11n", 640)
BOTH = (SMALL, LARGE)
HD = (1280, 720)

frame_sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))


def people(count: int, seed: int, size: tuple[int, int] = HD) -> Detections:
    """Persons standing anywhere, larger further down."""
    random = np.random.default_rng(seed)
    feet = random.uniform((0, 0.1 * size[1]), size, (count, 2))
    tall = (10 + 0.1 * feet[:, 1]) * random.uniform(0.8, 1.2, count)
    wide = 0.4 * tall
    boxes = np.column_stack(
        [feet[:, 0] - wide / 2, feet[:, 1] - tall, feet[:, 0] + wide / 2, feet[:, 1]]
    )
    return Detections.of(boxes, random.uniform(0.3, 0.9, count), np.zeros(count))


# What every method owes.


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(PARTITIONERS)),
    frame_sizes,
    st.integers(1, 30),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=4),
    st.sampled_from([(), (LARGE,), BOTH]),
    st.sampled_from([0, 3]),
)
def test_blocks_fit_the_slots_and_the_frame(
    name: str,
    size: tuple[int, int],
    slots: int,
    seen: list[tuple[int, int]],
    variants: tuple[Variant, ...],
    max_blocks: int,
) -> None:
    how = PartitionSettings(max_blocks=max_blocks, tile_size=200, full_pass=True)
    first, second = make_partitioner(name, how), make_partitioner(name, how)
    context = PartitionContext(size, slots, variants)
    for count, seed in [*seen, (0, 0)]:
        requests = first.partition(context)
        assert requests == second.partition(context), "not deterministic"
        assert 1 <= len(requests) <= slots
        for request in requests:
            x1, y1, x2, y2 = request.block.xyxy
            assert x1 >= 0 and y1 >= 0 and x2 <= size[0] and y2 <= size[1]
            assert request.variant in (variants or (None,))
        for partitioner in (first, second):
            partitioner.observe(FrameOutcome(people(count, seed, size)))


def test_wrong_names_and_settings_are_told() -> None:
    with pytest.raises(InputError, match="partitioner 'grid' is unknown; use one of whole, unif"):
        make_partitioner("grid")
    with pytest.raises(InputError, match="at least one worker slot, got 0"):
        PartitionContext(HD, 0)
    with pytest.raises(InputError, match="cannot be partitioned"):
        PartitionContext((0, 720), 1)
    for name, (low, high) in RANGES.items():
        for value in (low - 1, high + 1, float("nan")):
            wrong: dict[str, Any] = {name: value}
            with pytest.raises(InputError, match=f"{name} = "):
                PartitionSettings(**wrong)


@pytest.mark.parametrize(
    ("wanted", "expected"), [(100, SMALL), (320, SMALL), (321, LARGE), (2000, LARGE)]
)
def test_the_smallest_sufficient_variant_is_taken(wanted: int, expected: Variant) -> None:
    assert smallest_variant((LARGE, SMALL), wanted) == expected
    assert smallest_variant((), wanted) is None


# Tiles.


def test_whole_is_one_block() -> None:
    context = PartitionContext(HD, 24, BOTH)
    assert make_partitioner("whole").partition(context) == [BlockRequest(whole(*HD), LARGE)]
    small = make_partitioner("whole", PartitionSettings(whole_size=320))
    assert small.partition(context)[0].variant == SMALL


def test_tiles_of_360_are_the_15_that_sahi_makes() -> None:
    uniform = make_partitioner("uniform", PartitionSettings(tile_size=360))
    requests = uniform.partition(PartitionContext(HD, 24, BOTH))
    assert len(requests) == 15 and uniform.notes == ()
    assert {request.variant for request in requests} == {LARGE}
    assert requests[-1].block.xyxy == (920, 360, 1280, 720)


@given(frame_sizes, st.integers(32, 900), st.sampled_from([0.0, 0.2, 0.5]), st.integers(1, 40))
def test_tiles_cover_every_pixel_with_the_overlap(
    size: tuple[int, int], tile: int, overlap: float, slots: int
) -> None:
    how = PartitionSettings(tile_size=tile, overlap=overlap)
    uniform = make_partitioner("uniform", how)
    blocks = [request.block for request in uniform.partition(PartitionContext(size, slots))]
    assert len(blocks) <= slots
    grown = max(max(block.width, block.height) for block in blocks)
    assert grown == min(tile, max(size)) or uniform.notes
    for axis in (0, 1):
        spans = sorted({(block.xyxy[axis], block.xyxy[axis + 2]) for block in blocks})
        assert spans[0][0] == 0 and spans[-1][1] == size[axis]
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= overlap * spans[0][1] - 1e-9
    corners = {(block.x, block.y) for block in blocks}
    assert corners == set(product({x for x, _ in corners}, {y for _, y in corners}))


@pytest.mark.parametrize("slots", [1, 2, 4, 7, 14])
def test_tiles_grow_no_more_than_the_slots_ask_for(slots: int) -> None:
    uniform = make_partitioner("uniform", PartitionSettings(tile_size=360))
    blocks = [request.block for request in uniform.partition(PartitionContext(HD, slots))]
    assert f"15 blocks for {slots} slots; grown to" in uniform.notes[0]
    grown = max(max(block.width, block.height) for block in blocks)
    smaller = make_partitioner("uniform", PartitionSettings(tile_size=grown - 1))
    assert len(smaller.partition(PartitionContext(HD, 1000))) > slots


def test_the_full_pass_takes_one_slot() -> None:
    uniform = make_partitioner("uniform", PartitionSettings(tile_size=360, full_pass=True))
    blocks = [request.block for request in uniform.partition(PartitionContext(HD, 16))]
    assert len(blocks) == 16 and blocks[-1] == whole(*HD) and uniform.notes == ()
    assert len(uniform.partition(PartitionContext(HD, 1))) == 1


# Mean shift.


@pytest.mark.parametrize("seed", range(5))
def test_mean_shift_agrees_with_scikit_learn(seed: int) -> None:
    centres = np.array([[0, 0], [10, 1], [2, 12], [14, 14], [-9, 6]])
    points, _ = make_blobs(120, centers=centres, cluster_std=0.8, random_state=seed)
    theirs = MeanShift(bandwidth=4.0, cluster_all=True).fit_predict(points)
    assert adjusted_rand_score(mean_shift(points, 4.0), theirs) == 1.0


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40),
    st.sampled_from([0.5, 3.0, 20.0, 200.0]),
)
def test_mean_shift_numbers_its_clusters_without_gaps(
    points: list[tuple[int, int]], bandwidth: float
) -> None:
    table = np.array(points, float).reshape(-1, 2)
    labels = mean_shift(table, bandwidth)
    assert labels.shape == (len(points),)
    assert set(labels.tolist()) == set(range(labels.max(initial=-1) + 1))
    np.testing.assert_array_equal(labels, mean_shift(table, bandwidth))
    if bandwidth == 200.0:
        assert not labels.any()
    for place in set(points):
        assert len({int(labels[k]) for k, p in enumerate(points) if p == place}) == 1


def climbed_one_by_one(points: np.ndarray, bandwidth: float) -> list[int]:
    """Labels by climbing from every point alone; whole numbers make the means exact."""
    modes = set()
    for place in points:
        moved = True
        while moved:
            within = ((points - place) ** 2).sum(axis=1) <= bandwidth**2
            mean = points[within].mean(axis=0) if within.any() else place
            moved = bool(np.abs(mean - place).max() > 1e-6 * bandwidth)
            place = mean
        modes.add((-int(within.sum()), *place.tolist()))
    kept: list[np.ndarray] = []
    for _, *place in sorted(modes):
        if all(((mode - place) ** 2).sum() > bandwidth**2 for mode in kept):
            kept.append(np.array(place))
    nearest = [int(np.argmin([((point - mode) ** 2).sum() for mode in kept])) for point in points]
    return [sorted(set(nearest)).index(label) for label in nearest]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 15)), min_size=1, max_size=60),
    st.sampled_from([2.0, 4.5, 9.0]),
)
def test_mean_shift_agrees_with_climbing_from_every_point_alone(
    points: list[tuple[int, int]], bandwidth: float
) -> None:
    table = np.array(points, float)
    assert mean_shift(table, bandwidth).tolist() == climbed_one_by_one(table, bandwidth)


def test_mean_shift_needs_a_bandwidth() -> None:
    with pytest.raises(ValueError, match="positive bandwidth"):
        mean_shift(np.zeros((3, 2)), 0.0)


# Perspective.


def test_perspective_finds_the_trend_in_spite_of_outliers() -> None:
    bottoms = np.linspace(100, 700, 40)
    sides = 5 + 0.08 * bottoms
    sides[::8] *= 4
    boxes = np.column_stack([0 * bottoms, bottoms - sides, sides, bottoms])
    fit = Perspective.fit(boxes)
    assert fit.b == pytest.approx(0.08, rel=0.1)
    assert fit.size_at(np.array([400.0]))[0] == pytest.approx(37, rel=0.1)


def test_without_a_trend_sizes_are_the_median() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 80, 30, 110], [0, 300, 20, 320]], float)
    assert Perspective.fit(boxes) == Perspective(20.0, 0.0, 5.0)
    upside_down = people(30, 1).xyxy.copy()
    upside_down[:, [1, 3]] = 720 - upside_down[:, [3, 1]]
    assert Perspective.fit(upside_down).b == 0


@pytest.mark.parametrize("model", [(5.0, 0.1, 8.0), (-20.0, 0.2, 6.0), (30.0, 0.0, 7.0)])
def test_flattened_y_is_the_integral_of_one_over_size(model: tuple[float, float, float]) -> None:
    perspective = Perspective(*model)
    rows = np.linspace(0, 700, 70001)
    steps = np.diff(rows) / perspective.size_at((rows[1:] + rows[:-1]) / 2)
    points = np.column_stack([np.full(len(rows), 90.0), rows])
    flat = perspective.flatten(points, 40.0)
    np.testing.assert_allclose(np.diff(flat[:, 1]), steps, rtol=1e-4)
    np.testing.assert_allclose(flat[:, 0], 50.0 / perspective.size_at(rows))


# Clusters.


def contains(block: Block, box: np.ndarray) -> bool:
    x1, y1, x2, y2 = block.xyxy
    return bool(x1 <= box[0] and y1 <= box[1] and x2 >= box[2] and y2 >= box[3])


@settings(max_examples=60)
@given(
    st.integers(1, 80),
    st.integers(0, 99),
    st.integers(1, 24),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([2.0, 6.0]),
)
def test_every_object_lies_wholly_in_a_block(
    count: int, seed: int, slots: int, margin: float, bandwidth: float
) -> None:
    how = PartitionSettings(margin=margin, bandwidth=bandwidth)
    clusters = make_partitioner("clusters", how)
    context = PartitionContext(HD, slots, BOTH)
    clusters.partition(context)  # the look at the start
    clusters.observe(FrameOutcome(people(count, seed)))
    blocks = [request.block for request in clusters.partition(context)]
    boxes = people(count, seed).xyxy.clip(0, [*HD, *HD])
    for box in boxes[box_areas(boxes) > 0]:
        assert any(contains(block, box) for block in blocks)
    assert all(min(block.width, block.height) >= how.min_block for block in blocks)


def test_the_whole_frame_is_looked_at_when_due() -> None:
    clusters = make_partitioner("clusters", PartitionSettings(look_every=4, memory=2))
    context = PartitionContext(HD, 6, BOTH)
    looks = []
    for frame in range(12):
        requests = clusters.partition(context)
        looks.append(requests[-1] == BlockRequest(whole(*HD), LARGE))
        clusters.observe(FrameOutcome(people(20, 3) if frame < 8 else Detections.empty()))
    # First, every fourth, and from frame 10 on as nothing is remembered.
    assert [k for k, look in enumerate(looks) if look] == [0, 4, 8, 10, 11]


def test_an_object_missed_once_is_still_covered() -> None:
    clusters = make_partitioner("clusters", PartitionSettings(memory=2))
    context = PartitionContext(HD, 6, BOTH)
    clusters.partition(context)
    pair = Detections.of([[100, 100, 130, 180], [900, 500, 930, 580]], [0.9, 0.8], [0, 0])
    clusters.observe(FrameOutcome(pair))
    clusters.observe(FrameOutcome(pair.take([0])))
    assert len(clusters.partition(context)) == 2
    clusters.observe(FrameOutcome(pair.take([0])))
    assert len(clusters.partition(context)) == 1
    clusters.settings = replace(clusters.settings, memory=1)
    clusters.observe(FrameOutcome(pair))
    assert len(clusters.partition(context)) == 2


def test_small_objects_get_larger_inputs() -> None:
    context = PartitionContext(HD, 6, BOTH)
    for side, expected in ((60, SMALL), (20, LARGE)):
        clusters = make_partitioner("clusters")
        clusters.partition(context)
        clusters.observe(
            FrameOutcome(Detections.of([[600, 300, 600 + side, 300 + side]], [0.9], [0]))
        )
        (request,) = clusters.partition(context)
        assert request.variant == expected


def test_a_wide_crowd_is_split_while_slots_remain() -> None:
    crowd = people(60, 5)
    sharpness = []
    for slots in (1, 3, 6, 24):
        clusters = make_partitioner("clusters", PartitionSettings(look_every=1000))
        context = PartitionContext(HD, slots, BOTH)
        clusters.partition(context)
        clusters.observe(FrameOutcome(crowd))
        requests = clusters.partition(context)
        scales = [r.variant.input_size / max(r.block.width, r.block.height) for r in requests]  # type: ignore[union-attr]
        sharpness.append(min(scales))
    assert sharpness == sorted(sharpness) and sharpness[-1] > 2 * sharpness[0]


def test_with_few_slots_the_clusters_that_waste_least_share_a_block() -> None:
    places = [(100, 100), (400, 110), (1000, 120), (150, 600), (1100, 640)]
    crowds = [(x, y, x + 20, y + 60) for x, y in places]
    there = Detections.of(crowds, [0.9] * 5, [0] * 5)
    clusters = Clusters(PartitionSettings(bandwidth=2.0))

    def shown(slots: int) -> set[frozenset[int]]:
        blocks = [request.block for request in clusters.around(there, context, slots)]
        return {
            frozenset(k for k, box in enumerate(there.xyxy) if contains(block, box))
            for block in blocks
        }

    context = PartitionContext(HD, 5, (Variant("net", 160),))
    assert shown(5) == {frozenset({k}) for k in range(5)}
    assert shown(4) == {frozenset({0, 1}), *(frozenset({k}) for k in (2, 3, 4))}
    assert shown(1) == {frozenset(range(5))}


# Assignment.


def makespan(placed: Any, speed: dict[str, float]) -> float:
    load: dict[str, float] = {}
    for planned in placed:
        worker = planned.slot.worker
        load[worker] = load.get(worker, 0) + input_pixels(planned.request) / speed.get(worker, 1)
    return max(load.values(), default=0.0)


request_lists = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([None, *BOTH])).map(
        lambda made: BlockRequest(Block(0, 0, made[0] * 100, 300), made[1])
    ),
    max_size=6,
)


@given(request_lists, st.sampled_from([{}, {"a": 3.0}]))
def test_assignment_keeps_order_and_is_near_the_best(
    requests: list[BlockRequest], speed: dict[str, float]
) -> None:
    workers = {"a": 3, "b": 3}
    placed = assign(requests, workers, speed=speed)
    assert [planned.request for planned in placed] == requests
    slots = [planned.slot for planned in placed]
    assert len(set(slots)) == len(slots)
    assert all(slot.index < workers[slot.worker] for slot in slots)
    assert placed == assign(requests, {"b": 3, "a": 3}, speed=speed)
    every = [Slot(worker, k) for worker in workers for k in range(3)]
    choices = {tuple(s.worker for s in chosen) for chosen in permutations(every, len(requests))}
    pixels = [input_pixels(request) for request in requests]
    best = min(
        max(
            sum(p for p, w in zip(pixels, chosen, strict=True) if w == worker)
            / speed.get(worker, 1)
            for worker in workers
        )
        for chosen in choices
    )
    assert makespan(placed, speed) <= 2 * best + 1e-6


def test_more_blocks_than_slots_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 blocks for 1 worker slots"):
        assign([BlockRequest(Block(0, 0, 2, 2))] * 2, {"a": 1})
    assert assign([], {}) == ()
