"""Groups of objects: merging and splitting lose nothing, and splits are the best there are."""

from __future__ import annotations

import numpy as np
import partition_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.groups import (
    BINS,
    PER_OCTAVE,
    Groups,
    Objects,
    at_least,
    bin_middles,
    class_counts,
    parted,
    size_bins,
)

seeds = st.integers(0, 10_000)
frame_sizes = st.sampled_from([(640, 480), (1280, 720), (3840, 2160), (200, 1700), (80, 60)])


def check(groups: Groups) -> None:
    """What holds of all groups, however they came about."""
    known = groups.objects
    width, height = known.frame_size
    there = np.concatenate([np.empty(0, int), *groups.members])
    assert np.sort(there).tolist() == list(range(len(known)))
    for own, extent, weight in zip(groups.members, groups.extent, groups.weight, strict=True):
        assert len(own) and (np.diff(own) > 0).all()
        reach = known.reach[own]
        assert (extent[:2] <= reach[:, :2] + 1e-9).all()
        assert (extent[2:] >= reach[:, 2:] - 1e-9).all()
        assert (extent[:2] >= -1e-9).all() and (
            extent[2:] <= np.array([width, height]) + 1e-9
        ).all()
        sides = extent[2:] - extent[:2]
        assert (sides >= np.minimum(known.least, [width, height]) - 1e-9).all()
        direct = np.zeros(BINS)
        for k in own:
            direct[known.bin[k]] += known.weight[k]
        assert weight == pytest.approx(direct)
    assert groups.sides == pytest.approx(groups.extent[:, 2:] - groups.extent[:, :2])


@settings(max_examples=60)
@given(seeds, st.integers(2, 40), st.integers(1, 8), frame_sizes)
def test_merging_and_splitting_keep_every_object_once(
    seed: int, count: int, parts: int, frame_size: tuple[int, int]
) -> None:
    random = np.random.default_rng(seed)
    groups = cases.grouped(cases.objects(seed, count, frame_size), parts, seed)
    check(groups)
    for _ in range(6):
        before = len(groups)
        k = int(random.integers(before))
        if before > 1 and random.random() < 0.5:
            other = (k + 1 + int(random.integers(before - 1))) % before
            together = {*groups.members[k].tolist(), *groups.members[other].tolist()}
            groups = groups.merged(k, other)
            assert len(groups) == before - 1
            assert set(groups.members[min(k, other)].tolist()) == together
        else:
            own = set(groups.members[k].tolist())
            split = groups.split(k)
            assert (split is None) == (len(own) == 1)
            if split is None:
                continue
            assert len(split) == before + 1
            assert {*split.members[k].tolist(), *split.members[-1].tolist()} == own
            groups = split
        check(groups)


@given(seeds, st.integers(1, 5))
def test_what_is_merged_does_not_touch_other_groups(seed: int, k: int) -> None:
    groups = cases.grouped(cases.objects(seed, 40), 6, seed)
    k = min(k, len(groups) - 1)
    merged = groups.merged(0, k) if k else groups
    assert merged.members[1:] == groups.members[1:k] + groups.members[k + 1 :] or not k
    for own, extent in zip(merged.members[1:], merged.extent[1:], strict=True):
        (same,) = [j for j, other in enumerate(groups.members) if other is own]
        assert (extent == groups.extent[same]).all()


@settings(max_examples=60)
@given(seeds, st.integers(2, 9), st.integers(2, 9))
def test_no_cut_leaves_less_to_look_at(seed: int, count: int, others: int) -> None:
    known = cases.objects(seed, count + others)
    shuffled = np.random.default_rng(seed).permutation(count + others)
    members = [np.sort(shuffled[:count]), np.sort(shuffled[count:])]
    for own, parts in zip(members, parted(known, members), strict=True):
        check_cut(known, own, parts)


def check_cut(known: Objects, own: np.ndarray, parts: tuple[np.ndarray, np.ndarray]) -> None:
    """No other cut along an axis leaves a smaller area."""

    def area(members: np.ndarray) -> float:
        reach = known.reach[members]
        return float((reach[:, 2:].max(axis=0) - reach[:, :2].min(axis=0)).prod())

    cuts = []
    for axis in (0, 1):
        for at in known.centre[own, axis]:
            low = known.centre[own, axis] <= at
            if not low.all():
                cuts.append(area(own[low]) + area(own[~low]))
    assert sum(map(area, parts)) == pytest.approx(min(cuts))
    assert sorted([*parts[0], *parts[1]]) == own.tolist()


def test_one_object_cannot_be_parted() -> None:
    known = cases.objects(0, 3)
    groups = Groups.of(known, [np.array([1]), np.array([0, 2])])
    alone, together = groups.parts([0, 1])
    assert alone is None and together is not None
    assert sorted(own.tolist() for own in together.members) == [[0], [2]]
    same = Objects.of(ObjectDistribution.of([(10, 10, 20, 20)] * 2), (100, 100), margin=0.0)
    ((first, second),) = parted(same, [np.array([0, 1])])
    assert len(first) == len(second) == 1
    assert parted(same, []) == []


@given(seeds, st.integers(1, 7))
def test_gaps_are_what_only_both_together_show(seed: int, parts: int) -> None:
    groups = cases.grouped(cases.objects(seed, 25, (640, 480)), parts, seed)
    gaps = groups.gaps()
    for a, (ax1, ay1, ax2, ay2) in enumerate(groups.extent):
        for b, (bx1, by1, bx2, by2) in enumerate(groups.extent):
            if a == b:
                assert gaps[a, b] == np.inf
                continue
            around = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
            shared = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
            either = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
            assert gaps[a, b] == pytest.approx(around - either, abs=1e-6)


@given(
    arrays(np.float64, 4, elements=st.floats(0, 1)),
    st.floats(0, 300),
    frame_sizes,
)
def test_a_rectangle_is_widened_around_its_middle_within_the_frame(
    shares: np.ndarray, least: float, frame_size: tuple[int, int]
) -> None:
    width, height = frame_size
    lows, highs = np.minimum(shares[:2], shares[2:]), np.maximum(shares[:2], shares[2:])
    before = np.concatenate([lows, highs]) * (width, height, width, height)
    (after,) = at_least(before[None], least, frame_size)
    for low, high, length in ((0, 2, width), (1, 3, height)):
        side = max(before[high] - before[low], min(least, length))
        assert after[high] - after[low] == pytest.approx(side)
        assert after[low] >= 0 and after[high] <= length + 1e-9
        assert after[low] <= before[low] + 1e-9 and after[high] >= before[high] - 1e-9
        inner = after[low] > 1e-9 and after[high] < length - 1e-9
        if inner:
            assert after[low] + after[high] == pytest.approx(before[low] + before[high])


def test_bins_of_size_are_an_eighth_of_an_octave_wide() -> None:
    middles = bin_middles()
    assert size_bins(middles).tolist() == list(range(BINS))
    assert np.diff(np.log2(middles)) == pytest.approx(1 / PER_OCTAVE)
    half = 2 ** (0.499 / PER_OCTAVE)
    assert size_bins(middles * half).tolist() == list(range(BINS))
    assert size_bins(middles / half).tolist() == list(range(BINS))
    assert size_bins(np.array([0.0, 1e-9, 1.9, 5000.0])).tolist() == [0, 0, 0, BINS - 1]


def test_objects_reach_by_margin_and_doubt_within_the_frame() -> None:
    found = ObjectDistribution.of(
        [(100, 100, 120, 140), (0, 0, 10, 10)], weight=[0.5, 1.0], sigma=[(4.0, 8.0), (0.0, 0.0)]
    )
    known = Objects.of(found, (200, 150), margin=0.5, sigmas=2.0)
    size = np.sqrt(20 * 40)
    x, y = size / 2 + 8, size / 2 + 16
    assert known.reach[0] == pytest.approx([100 - x, 100 - y, 120 + x, 150])
    assert known.reach[1] == pytest.approx([0, 0, 15, 15])
    assert known.centre.tolist() == [[110, 120], [5, 5]]
    assert known.size == pytest.approx([size, 10])


def test_labels_become_groups() -> None:
    known = cases.objects(3, 5)
    groups = Groups.labelled(known, np.array([1, 0, 1, 2, 0]))
    assert [own.tolist() for own in groups.members] == [[1, 4], [0, 2], [3]]
    check(groups)
    assert len(Groups.of(known, [])) == 0
    assert Groups.of(known, []).gaps().shape == (0, 0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.floats(0, 1), st.integers(0, 1000))
def test_what_objects_count_is_one_on_the_average(
    classes: list[int], balance: float, seed: int
) -> None:
    probability = np.random.default_rng(seed).uniform(0.1, 1.0, len(classes))
    counts = class_counts(np.array(classes), probability, balance)
    assert float(probability @ counts) == pytest.approx(float(probability.sum()))
    if balance == 0:
        assert (counts == 1).all()


def test_rare_classes_count_for_more() -> None:
    classes = np.array([0] * 16 + [1] * 4)
    sure = np.ones(20)
    whole, half = class_counts(classes, sure, 1.0), class_counts(classes, sure, 0.5)
    assert whole[:16].sum() == pytest.approx(whole[16:].sum())
    assert half[16] / half[0] == pytest.approx(2.0)
    # What is hardly there is no class of its own.
    ghost = class_counts(np.array([0] * 4 + [1]), np.array([1.0] * 4 + [0.1]), 1.0)
    assert ghost[4] / ghost[0] == pytest.approx(4.0)
