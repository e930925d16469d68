"""What is believed about objects: motion, matching, weights, coverage and looks."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.distribution import (
    Coverage,
    LookSchedule,
    LookSettings,
    ObjectDistribution,
    Reason,
    Surprise,
    Tracker,
    TrackerSettings,
)
from re_pose_ros.distribution.association import assign_pairs, candidates, near_pairs
from re_pose_ros.distribution.camera_motion import common_shift, common_velocity
from re_pose_ros.distribution.detectability import detection_probability, usual_recall
from re_pose_ros.distribution.motion import Array, Motion, boxes_of, correct, forecast
from re_pose_ros.distribution.schedule import changed_share, thumbnail
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, box_areas, iou, whole
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant
from re_pose_ros.scenes import make_scene

SIZE = (1920, 1080)
FRAME_NS = 40_000_000


def planned(block: Block, index: int = 0, input_size: int | None = None) -> PlannedBlock:
    """A block at full resolution, or on an input of ``input_size``."""
    side = input_size or max(block.width, block.height)
    return PlannedBlock(Slot("edge_0", index), BlockRequest(block, Variant("net", side)))


EVERYWHERE = (planned(whole(*SIZE)),)


def boxes_at(centres: object, side: float = 40.0) -> Array:
    middle = np.asarray(centres, np.float64).reshape(-1, 2)
    return np.concatenate([middle - side / 2, middle + side / 2], axis=1)


def seen(boxes: Array, confidence: float | list[float] = 0.8, class_id: int = 0) -> Detections:
    count = len(boxes)
    return Detections.of(
        boxes, np.broadcast_to(np.asarray(confidence), count), np.full(count, class_id)
    )


def rows_of(corners: Array) -> Array:
    """(N, 4) corners as the (4, N) boxes that matching and camera motion take."""
    return boxes_of(np.ascontiguousarray(corners.T))


def middles(boxes: Array) -> Array:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def walked(
    frames: int, velocity: tuple[float, float], *, step_ns: int = FRAME_NS, side: float = 40.0
) -> Tracker:
    """A tracker that saw one object move from (500, 500), pixels per second."""
    tracker = Tracker(SIZE)
    for k in range(frames):
        at = (500 + velocity[0] * k * step_ns * 1e-9, 500 + velocity[1] * k * step_ns * 1e-9)
        tracker.update(seen(boxes_at(at, side)), EVERYWHERE, k * step_ns)
    return tracker


# The distribution.


def test_of_truth_is_certain() -> None:
    known = ObjectDistribution.of([[0, 0, 30, 40], [5, 5, 14, 9]], [1, 0])
    assert known.sizes.tolist() == [pytest.approx(1200**0.5), 6.0]
    assert known.weight.tolist() == [1, 1]
    assert known.sigma.tolist() == [[0, 0], [0, 0]]
    assert known.take([1]).track_id.tolist() == [1]
    assert known.take(known.class_id == 1).xyxy.tolist() == [[0, 0, 30, 40]]
    assert len(ObjectDistribution.empty()) == 0
    assert ObjectDistribution.empty().sizes.shape == (0,)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError):
        ObjectDistribution.of([[0, 0, 1, 1]], [0, 0])


# Motion, against matrices and against chance.

rates = st.floats(-50, 50)
times = st.floats(0.001, 5)


def one_motion(values: list[float]) -> Motion:
    value, rate, spread, rate_spread, mixing = values
    covariance = 0.9 * mixing * spread * rate_spread
    parts = [value, rate, spread**2, covariance, rate_spread**2]
    return Motion.of(*(np.full((4, 1), part) for part in parts))


motions = st.tuples(rates, rates, st.floats(0.1, 20), st.floats(0.1, 20), st.floats(-1, 1)).map(
    lambda values: one_motion(list(values))
)


@given(motions, times, times, st.floats(0.05, 1000), st.floats(0, 30), rates)
def test_two_steps_are_one(
    motion: Motion, first: float, second: float, memory: float, drive: float, mean: float
) -> None:
    how = np.full(4, mean), np.full(4, memory), np.full((4, 1), drive**2)
    stepped = forecast(forecast(motion, first, *how), second, *how)
    at_once = forecast(motion, first + second, *how)
    np.testing.assert_allclose(stepped.state, at_once.state, rtol=1e-5, atol=1e-7)


def test_long_memory_is_the_constant_velocity_filter() -> None:
    dt, q, r = 0.3, 7.0, 2.0
    motion = one_motion([3.0, -2.0, 1.5, 4.0, 0.4])
    ours = forecast(motion, dt, np.zeros(4), np.full(4, 1e7), np.full((4, 1), q))
    ours = correct(ours, 5.0 - ours.value, np.full((4, 1), r))
    # The textbook's matrices.
    x, p = np.array([3.0, -2.0]), np.array([[2.25, 0.9 * 0.4 * 6], [0.9 * 0.4 * 6, 16.0]])
    f = np.array([[1, dt], [0, 1]])
    x, p = f @ x, f @ p @ f.T + q * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    gain = p[:, 0] / (p[0, 0] + r)
    x, p = x + gain * (5.0 - x[0]), p - np.outer(gain, p[0])
    expected = [x[0], x[1], p[0, 0], p[0, 1], p[1, 1]]
    np.testing.assert_allclose(ours.state[:, 2, 0], expected, rtol=1e-5)


def test_uncertainty_is_that_of_simulated_motion() -> None:
    random = np.random.default_rng(1)
    memory, drive, steps, dt = 0.7, 3.0, 400, 0.005
    x, v = np.zeros(20_000), random.normal(2.0, 1.0, 20_000)
    for _ in range(steps):
        x = x + v * dt
        v = v - (v - 0.5) / memory * dt + drive * random.normal(0, dt**0.5, len(v))
    start = Motion.of(*(np.full((4, 1), part) for part in (0.0, 2.0, 0.0, 0.0, 1.0)))
    how = np.full(4, 0.5), np.full(4, memory), np.full((4, 1), drive**2)
    expected = forecast(start, steps * dt, *how).state[:, 0, 0]
    found = [x.mean(), v.mean(), x.var(), np.cov(x, v)[0, 1], v.var()]
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.03)


# Matching, against brute force.


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**6))
def test_near_pairs_are_all_near_pairs(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = (random.integers(0, 8, (2, count)).astype(np.float64) for count in (n, m))
    reach = random.integers(0, 4, (2, n)).astype(np.float64)
    rows, columns = near_pairs(a, b, reach)
    oracle = {
        (i, j)
        for i, j in product(range(n), range(m))
        if (abs(a[:, i] - b[:, j]) <= reach[:, i]).all()
    }
    assert len(rows) == len(oracle)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == oracle


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10**6))
def test_candidates_are_those_within_the_gate(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    tracks, found = (
        np.concatenate([at, at + random.uniform(5, 40, at.shape)], axis=1)
        for at in (random.uniform(0, 100, (count, 2)) for count in (n, m))
    )
    sigma, deviation = random.uniform(0, 10, (n, 2)), random.uniform(1, 10, m)
    rows, columns, cost = candidates(
        rows_of(tracks), np.square(sigma).T, rows_of(found), deviation, 3.0, 2.0
    )
    pairs = dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), cost, strict=True))
    assert len(pairs) == len(rows)
    for i, j in product(range(n), range(m)):
        apart = middles(found[j : j + 1])[0] - middles(tracks[i : i + 1])[0]
        distance = float(np.sqrt((apart**2 / (sigma[i] ** 2 + deviation[j] ** 2)).sum()))
        sides = [box[2:] - box[:2] for box in (tracks[i], found[j])]
        alike = (np.maximum(*sides) <= 2 * np.minimum(*sides)).all()
        assert ((i, j) in pairs) == (distance <= 3 and alike)
        if (i, j) in pairs:
            overlap = float(iou(tracks[i : i + 1], found[j : j + 1])[0, 0])
            assert pairs[i, j] == pytest.approx((1 - overlap + distance / 3) / 2)


def cheapest(cost: Array, limit: float) -> float:
    """The least total over all matchings of a small table, by trying them all."""
    n, m = cost.shape
    table = np.full((n, n + m), limit)
    table[:, :m] = cost
    return min(
        sum(table[i, j] for i, j in enumerate(order)) for order in permutations(range(n + m), n)
    )


@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 10**6), st.floats(0.05, 1))
def test_assignment_is_the_cheapest(n: int, m: int, seed: int, limit: float) -> None:
    random = np.random.default_rng(seed)
    cost = np.where(random.random((n, m)) < 0.6, random.random((n, m)), np.inf)
    rows, columns = np.nonzero(np.isfinite(cost))
    taken, by = assign_pairs(rows, columns, cost[rows, columns], limit)
    assert len(set(taken.tolist())) == len(taken) == len(set(by.tolist())) == len(by)
    assert (cost[taken, by] < limit).all()
    total = cost[taken, by].sum() + limit * (n - len(taken))
    assert total == pytest.approx(cheapest(cost, limit))


def test_strong_detections_choose_first() -> None:
    tracker = walked(6, (0, 0))
    track = tracker.predict().track_id[0]
    # The weak one lies exactly on the object, the strong one a little beside it.
    both = seen(np.concatenate([boxes_at((500, 500)), boxes_at((502, 500))]), [0.2, 0.9])
    tracker.update(both, EVERYWHERE, 6 * FRAME_NS)
    after = tracker.predict(6 * FRAME_NS)
    kept = after.take(after.track_id == track)
    assert middles(kept.xyxy)[0, 0] > 500.3
    assert kept.weight[0] > 0.9
    assert len(after) == 2


# Predicting.


def test_an_object_is_expected_where_it_goes() -> None:
    tracker = walked(12, (300, -80))
    for ahead in (1, 3, 10):
        expected = tracker.predict((11 + ahead) * FRAME_NS)
        truth = 500 + np.array([300, -80]) * (11 + ahead) * 0.04
        assert len(expected) == 1
        assert np.abs(middles(expected.xyxy)[0] - truth).max() < 4 + ahead
        assert np.abs(expected.sizes - 40).max() < 2


def test_time_counts_not_frames() -> None:
    every, dropped = Tracker(SIZE), Tracker(SIZE)
    for k in range(13):
        found = seen(boxes_at((500 + 8 * k, 500)))
        every.update(found, EVERYWHERE, k * FRAME_NS)
        if k % 3 == 0:
            dropped.update(found, EVERYWHERE, k * FRAME_NS)
    for tracker in (every, dropped):
        at = middles(tracker.predict(18 * FRAME_NS).xyxy)
        assert abs(at[0, 0] - 644) < 6


def test_without_stamps_frames_are_evenly_spaced() -> None:
    with_stamps, without = Tracker(SIZE), Tracker(SIZE, TrackerSettings(frame_s=0.04))
    for k in range(6):
        found = seen(boxes_at((500 + 8 * k, 500)))
        with_stamps.update(found, EVERYWHERE, k * FRAME_NS)
        without.update(found, EVERYWHERE)
    a, b = with_stamps.predict(6 * FRAME_NS), without.predict()
    np.testing.assert_allclose(a.xyxy, b.xyxy)
    np.testing.assert_allclose(a.sigma, b.sigma)


def test_predicting_changes_nothing() -> None:
    tracker = walked(5, (100, 0))
    first = tracker.predict(6 * FRAME_NS)
    tracker.predict(60 * FRAME_NS)
    again = tracker.predict(6 * FRAME_NS)
    np.testing.assert_array_equal(first.xyxy, again.xyxy)
    np.testing.assert_array_equal(first.weight, again.weight)


def test_updates_are_the_same_whatever_was_predicted_before() -> None:
    random = np.random.default_rng(4)
    asked, unasked = Tracker(SIZE), Tracker(SIZE)
    places = crowd(30, 6)
    for k in range(8):
        stamp = k * FRAME_NS
        found = seen(places + np.tile(random.normal(-9.0 * k, 2, (30, 2)), 2))
        for ahead in range(k % 3 + 1):
            asked.predict(stamp + ahead * FRAME_NS)
        if k % 2:
            asked.predict(stamp)
        for tracker in (asked, unasked):
            tracker.update(found, EVERYWHERE, stamp)
        one, other = (tracker.predict(stamp + 3 * FRAME_NS) for tracker in (asked, unasked))
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.sigma, other.sigma)


def test_uncertainty_grows_and_weight_falls_with_time() -> None:
    tracker = walked(5, (100, 0))
    coming = [tracker.predict((4 + k) * FRAME_NS) for k in range(1, 12)]
    sigmas = np.array([expected.sigma[0] for expected in coming])
    assert (np.diff(sigmas, axis=0) > 0).all()
    assert (np.diff([expected.weight[0] for expected in coming]) < 0).all()


def test_late_frames_are_ignored_and_a_jump_back_begins_anew() -> None:
    tracker = walked(60, (50, 0))
    before = tracker.predict(60 * FRAME_NS)
    late = seen(boxes_at((900, 900)))
    assert tracker.update(late, EVERYWHERE, 58 * FRAME_NS) == Surprise()
    np.testing.assert_array_equal(tracker.predict(60 * FRAME_NS).xyxy, before.xyxy)
    assert len(tracker.predict(0)) == 0
    tracker.update(late, EVERYWHERE, 0)
    np.testing.assert_allclose(middles(tracker.predict(FRAME_NS).xyxy), [[900, 900]])


def test_boxes_stay_in_the_frame_and_objects_leave_it() -> None:
    tracker = Tracker(SIZE)
    inside = []
    for k in range(40):
        box = boxes_at((1750 + 8 * k, 500), 60).clip(0, [*SIZE, *SIZE])
        found = seen(box) if box_areas(box)[0] > 300 else Detections.empty()
        tracker.update(found, EVERYWHERE, k * FRAME_NS)
        expected = tracker.predict((k + 1) * FRAME_NS)
        assert (expected.xyxy >= 0).all() and (expected.xyxy <= [*SIZE, *SIZE]).all()
        inside.append(len(expected))
    assert inside[:18] == [1] * 18
    assert inside[-1] == len(tracker) == 0


def test_a_box_cut_by_the_frame_does_not_slow_its_object() -> None:
    tracker = Tracker(SIZE)
    for k in range(24):  # the last of them shows half of it
        box = boxes_at((1736 + 8 * k, 500), 60).clip(0, [*SIZE, *SIZE])
        tracker.update(seen(box), EVERYWHERE, k * FRAME_NS)
    left = tracker.predict(24 * FRAME_NS).xyxy[0, 0]
    assert abs(left - (1736 + 8 * 24 - 30)) < 5


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 10**6)), max_size=6))
@settings(max_examples=50)
def test_whatever_comes_the_distribution_is_sound(frames: list[tuple[int, int]]) -> None:
    trackers = Tracker(SIZE), Tracker(SIZE)
    for k, (count, seed) in enumerate(frames):
        random = np.random.default_rng(seed)
        corners = random.uniform(-50, 2000, (count, 2))
        sides = random.choice([0.0, 0.5, 30.0, 3000.0], (count, 2))
        found = Detections.of(
            np.concatenate([corners, corners + sides], axis=1),
            random.random(count),
            random.integers(0, 3, count),
        )
        for tracker in trackers:
            surprise = tracker.update(found, EVERYWHERE, k * FRAME_NS)
            assert 0 <= surprise.missed <= 1 and 0 <= surprise.new <= 1
        one, other = (tracker.predict((k + 3) * FRAME_NS) for tracker in trackers)
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        assert (one.xyxy >= 0).all() and (one.xyxy <= [*SIZE, *SIZE]).all()
        assert (one.sizes > 0).all() and (one.sigma > 0).all() and np.isfinite(one.sigma).all()
        assert ((one.weight > 0) & (one.weight <= 1)).all()
        assert (np.diff(one.weight) <= 0).all()
        assert len(set(one.track_id.tolist())) == len(one)


# Weights.


def test_weak_detections_weigh_little_until_seen_again() -> None:
    tracker = Tracker(SIZE)
    weights = []
    for k in range(6):
        tracker.update(seen(boxes_at((500, 500)), 0.15), EVERYWHERE, k * FRAME_NS)
        weights.append(tracker.predict((k + 1) * FRAME_NS).weight[0])
    assert weights[0] < 0.2
    assert (np.diff(weights) > 0).all()
    assert weights[-1] > 0.7
    strong = Tracker(SIZE)
    strong.update(seen(boxes_at((500, 500)), 0.9), EVERYWHERE, 0)
    assert strong.predict(FRAME_NS).weight[0] > 0.85


def after_misses(blocks: tuple[PlannedBlock, ...], **how: object) -> ObjectDistribution:
    tracker = walked(6, (0, 0))
    for k in range(6, 10):
        tracker.update(Detections.empty(), blocks, k * FRAME_NS, **how)  # type: ignore[arg-type]
    return tracker.predict(10 * FRAME_NS)


def test_misses_count_only_where_it_was_looked_sharply() -> None:
    unseen = after_misses((planned(Block(1000, 0, 900, 1000)),))
    missed = after_misses(EVERYWHERE)
    blurred = after_misses((planned(whole(*SIZE), input_size=96),))
    silent = after_misses(EVERYWHERE, answered=[False])
    assert unseen.weight[0] > 0.95
    assert blurred.weight[0] > 0.9
    assert silent.weight[0] == unseen.weight[0]
    assert len(missed) == 0 or missed.weight[0] < 0.5
    assert unseen.age.tolist() == [5]
    before = walked(6, (0, 0)).predict(6 * FRAME_NS)
    assert before.age.tolist() == [1]
    assert (unseen.sigma > 1.5 * before.sigma).all()


def test_a_recall_that_is_given_is_used() -> None:
    asked = []

    def blind(variant: Variant | None, sizes: Array) -> Array:
        asked.append((variant, sizes))
        return np.zeros_like(sizes)

    assert after_misses(EVERYWHERE, recall=blind).weight[0] > 0.95
    assert asked[0][0] == Variant("net", 1920)
    assert asked[0][1][0] == pytest.approx(40, abs=1)


def test_detection_probability_of_known_cases() -> None:
    boxes, sigma = boxes_at([(100, 100), (1000, 500)]).T, np.zeros((2, 2))
    half = (planned(Block(0, 0, 100, 1080), input_size=1080),)
    sure = lambda _, sizes: np.ones_like(sizes)  # noqa: E731
    chance = detection_probability(boxes, sigma, half, SIZE, sure)
    np.testing.assert_allclose(chance, [0.25, 0])
    assert detection_probability(boxes, sigma, (), SIZE).tolist() == [0, 0]
    assert detection_probability(boxes[:, :0], sigma[:, :0], half, SIZE).tolist() == []
    sharp = detection_probability(boxes, sigma, EVERYWHERE, SIZE)
    np.testing.assert_allclose(sharp, usual_recall(None, np.array([40, 40])))
    vague = detection_probability(boxes, sigma + 40, half, SIZE, sure)
    # Grown to x 40 to 160 of which 40 to 100 are shown.
    np.testing.assert_allclose(vague, [0.25, 0])
    both = (*half, planned(whole(*SIZE), 1))
    assert (detection_probability(boxes, sigma, both, SIZE, sure) == 1).all()


@given(st.integers(0, 12), st.integers(0, 8), st.integers(0, 10**6))
def test_detection_probability_is_that_of_the_best_block(n: int, m: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 1000, (2, n))
    corners = np.concatenate([corner, corner + random.uniform(5, 80, (2, n))])
    sigma = random.uniform(0, 30, (2, n))
    places, sides = random.integers(0, 700, (m, 2)), random.integers(50, 400, (m, 2))
    blocks = []
    for k, (place, side) in enumerate(zip(places.tolist(), sides.tolist(), strict=True)):
        variant = Variant(str(random.choice(["a", "b"])), int(random.choice([64, 320])))
        request = BlockRequest(Block(*place, *side), variant if random.random() < 0.8 else None)
        blocks.append(PlannedBlock(Slot("edge_0", k), request))

    def recall(variant: Variant | None, sizes: Array) -> Array:
        factors = {None: 0.2, "a": 0.5, "b": 1.0}
        return usual_recall(variant, sizes) * factors[variant and variant.model]

    chance = detection_probability(corners, sigma, blocks, SIZE, recall)
    for k in range(n):
        low = np.maximum(corners[:2, k] - sigma[:, k], 0)
        high = np.minimum(corners[2:, k] + sigma[:, k], SIZE)
        size = float(np.prod(corners[2:, k] - corners[:2, k]) ** 0.5)
        best = 0.0
        for block in blocks:
            x1, y1, x2, y2 = block.block.xyxy
            shown = np.minimum(high, (x2, y2)) - np.maximum(low, (x1, y1))
            share = float(np.prod(shown.clip(0)) / np.prod(high - low))
            found = recall(block.request.variant, np.array([size * block.request.input_scale]))
            best = max(best, float(found[0]) * share**2)
        assert chance[k] == pytest.approx(best)


def test_blurred_looks_place_objects_less_exactly() -> None:
    sigmas = []
    for side in (1920, 192):
        tracker = Tracker(SIZE)
        found = Detections.of(boxes_at((500, 500)), [0.8], [0], block=0)
        tracker.update(found, (planned(whole(*SIZE), input_size=side),), 0)
        sigmas.append(tracker.predict(0).sigma[0, 0])
    assert sigmas[0] == pytest.approx(np.hypot(0.05 * 40, 0.5))
    assert sigmas[1] == pytest.approx(np.hypot(0.05 * 40, 5.0))


def test_the_class_follows_the_votes() -> None:
    tracker = Tracker(SIZE)
    classes = []
    for k, class_id in enumerate([2, 2, 1, 2, 1, 1, 1, 1]):
        tracker.update(seen(boxes_at((500, 500)), 0.8, class_id), EVERYWHERE, k * FRAME_NS)
        classes.append(int(tracker.predict((k + 1) * FRAME_NS).class_id[0]))
    assert classes[:4] == [2, 2, 2, 2]
    assert classes[-1] == 1
    assert len(tracker) == 1


def test_answered_must_fit_the_blocks() -> None:
    with pytest.raises(ValueError, match="answered"):
        Tracker(SIZE).update(Detections.empty(), EVERYWHERE, answered=[True, True])


def test_tracks_are_limited() -> None:
    tracker = Tracker(SIZE, TrackerSettings(most_tracks=3))
    confidence = [0.3, 0.9, 0.1, 0.7, 0.5]
    places = [(200 * k + 100, 500) for k in range(5)]
    tracker.update(seen(boxes_at(places), confidence), EVERYWHERE, 0)
    assert len(tracker) == 3
    assert tracker.predict(0).weight.tolist() == pytest.approx([0.9, 0.7, 0.5])


def test_surprise_counts_lost_and_new() -> None:
    tracker = Tracker(SIZE)
    places = np.array([(200 * k + 100, 500) for k in range(8)], float)
    assert tracker.update(seen(boxes_at(places)), EVERYWHERE, 0).new == 1
    same = tracker.update(seen(boxes_at(places)), EVERYWHERE, FRAME_NS)
    assert (same.missed, same.new) == (0, 0)
    assert same.detected == pytest.approx(6.4)
    half = places + np.repeat([[0, 0], [0, 300]], 4, axis=0)
    changed = tracker.update(seen(boxes_at(half)), EVERYWHERE, 2 * FRAME_NS)
    assert changed.missed == pytest.approx(0.5)
    assert changed.new == pytest.approx(0.5)


# A turning camera.


def crowd(count: int, seed: int, side: float = 40.0) -> Array:
    return boxes_at(np.random.default_rng(seed).uniform((200, 300), (1700, 1000), (count, 2)), side)


@pytest.mark.parametrize("shift", [(60.0, 0.0), (-110.0, 20.0), (0.0, -75.0)])
def test_a_turn_is_found_among_misses_and_noise(shift: tuple[float, float]) -> None:
    random = np.random.default_rng(5)
    expected = crowd(60, 0)
    moved = (expected + np.tile(shift, 2))[random.random(60) < 0.8]
    moved = np.concatenate([moved + random.normal(0, 1.5, moved.shape), crowd(10, 9)])
    found = common_shift(rows_of(expected), rows_of(moved), 1920, False)
    np.testing.assert_allclose(found, shift, atol=2)


@given(st.integers(30, 80), st.integers(30, 80), st.integers(0, 10**4))
@settings(max_examples=60)
def test_many_unrelated_boxes_are_no_turn(n: int, m: int, seed: int) -> None:
    expected, found = rows_of(crowd(n, seed)), rows_of(crowd(m, seed + 1))
    assert not common_shift(expected, found, 1920, False).any()


def test_a_turn_needs_a_crowd() -> None:
    for count, shift in ((7, 0), (12, 60)):
        places = rows_of(crowd(count, 0))
        moved = np.add(places, [[60.0], [0.0], [0.0], [0.0]])
        assert common_shift(places, moved, 1920, False).tolist() == [shift, 0]


def test_a_camera_at_rest_stays_at_rest() -> None:
    random = np.random.default_rng(3)
    places = crowd(50, 2)
    moved = places + np.tile(random.normal(0, 4, (50, 2)), 2)
    assert not common_shift(rows_of(places), rows_of(moved), 1920, False).any()
    walking = random.normal(0, 40, (2, 50))
    assert not common_velocity(walking, np.full((2, 50), 60.0), np.zeros(2)).any()


def test_common_velocity_needs_most_objects() -> None:
    velocities = np.concatenate([np.tile([300.0, 10.0], (12, 1)), np.zeros((3, 2))]).T
    tolerance = np.full((2, 15), 50.0)
    assert common_velocity(velocities, tolerance, np.zeros(2)).tolist() == [300, 10]
    assert not common_velocity(velocities[:, 8:], tolerance[:, 8:], np.zeros(2)).any()
    assert not common_velocity(velocities[:, :5], tolerance[:, :5], np.zeros(2)).any()


def test_new_objects_start_with_the_camera() -> None:
    tracker = Tracker(SIZE)
    places = crowd(40, 1)
    for k in range(6):
        now = places + np.tile([-15.0 * k, 0], 2)
        tracker.update(seen(now), EVERYWHERE, k * FRAME_NS)
    assert tracker.camera_velocity == pytest.approx((-375, 0), abs=20)
    new = boxes_at((1850, 60))
    tracker.update(seen(np.concatenate([now - [15, 0, 15, 0], new])), EVERYWHERE, 6 * FRAME_NS)
    coming = tracker.predict(11 * FRAME_NS)
    newest = coming.take(coming.track_id == coming.track_id.max())
    assert middles(newest.xyxy)[0, 0] == pytest.approx(1850 - 75, abs=6)


# Together, on a generated scene.


def test_predictions_beat_the_last_detections() -> None:
    size = (1280, 720)
    scene = make_scene("street", seed=540, size=size, fps=5.0, objects=0.6)
    random = np.random.default_rng(0)
    tracker = Tracker(size)
    kept: list[tuple[float, float]] = []
    within: list[NDArray[np.bool_]] = []
    last = Detections.empty()
    for k in range(8):
        truth = scene.render(k)[1]
        visible = truth.visibility >= 0.3
        stamp = scene.stamp_ns(k)
        boxes = truth.xyxy[visible].astype(np.float64)
        if k >= 4:
            expected = tracker.predict(stamp)
            overlap = iou(expected.xyxy, boxes)
            kept.append(
                (
                    float((overlap.max(axis=0) >= 0.3).mean()),
                    float((iou(last.xyxy, boxes).max(axis=0) >= 0.3).mean()),
                )
            )
            rows = np.flatnonzero(overlap.max(axis=1) >= 0.3)
            error = middles(expected.xyxy)[rows] - middles(boxes)[overlap[rows].argmax(axis=1)]
            within.append(np.abs(error) <= 2 * expected.sigma[rows])
        found = boxes[random.random(len(boxes)) > 0.1]
        sides = np.sqrt(box_areas(found))[:, None]
        noisy = found + np.tile(random.normal(0, 0.05, (len(found), 2)) * sides, 2)
        last = seen(noisy.clip(0, [*size, *size]))
        tracker.update(last, [planned(whole(*size))], stamp)
    ours, theirs = np.mean(kept, axis=0)
    assert ours > 0.93
    assert ours > theirs + 0.05
    assert np.concatenate(within).mean() > 0.9


# Coverage.


def test_nothing_was_ever_seen_at_first() -> None:
    coverage = Coverage(SIZE)
    assert coverage.shape == (9, 16)
    assert coverage.stale(0) == coverage.stale(10**6) == [whole(*SIZE)]
    assert not coverage.scale().any()


def test_age_and_scale_of_cells() -> None:
    coverage = Coverage((1600, 800))
    left = planned(Block(0, 0, 800, 800), input_size=400)
    coverage.look([left, planned(Block(0, 0, 200, 800), 1)])
    coverage.look([planned(Block(800, 0, 800, 800), input_size=200)])
    coverage.look([])
    age, scale = coverage.age(), coverage.scale()
    assert (age[:, :8] == 2).all() and (age[:, 8:] == 1).all()
    assert (scale[:, :2] == 1).all()
    assert (scale[:, 2:8] == 0.5).all() and (scale[:, 8:] == 0.25).all()
    assert coverage.stale(2) == [Block(0, 0, 800, 800)]
    assert coverage.stale(3) == []
    coverage.reset()
    assert coverage.stale(1) == [Block(0, 0, 1600, 800)]


def test_blocks_side_by_side_leave_no_seam() -> None:
    coverage = Coverage((1600, 900))
    cut = 450  # in the middle of a cell
    coverage.look([planned(Block(0, 0, cut, 900)), planned(Block(cut, 0, 1600 - cut, 900), 1)])
    assert (coverage.age() == 0).all()


def test_blurred_and_unanswered_looks_do_not_count() -> None:
    coverage = Coverage(SIZE, least_scale=0.2)
    coverage.look([planned(whole(*SIZE), input_size=320)])
    coverage.look(EVERYWHERE, answered=[False])
    assert coverage.stale(2) == [whole(*SIZE)]
    coverage.look(EVERYWHERE)
    assert coverage.stale(1) == []
    with pytest.raises(ValueError, match="answered"):
        coverage.look(EVERYWHERE, answered=[])


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.integers(1, 20),
    st.lists(st.tuples(*[st.integers(0, 600)] * 4), max_size=5),
    st.integers(0, 4),
)
@settings(max_examples=80)
def test_stale_rectangles_are_the_stale_cells(
    size: tuple[int, int], columns: int, corners: list[tuple[int, int, int, int]], limit: int
) -> None:
    coverage = Coverage(size, columns=columns)
    last = np.full(size[::-1], -(10**6))
    for k, (x, y, w, h) in enumerate(corners):
        x, y = min(x, size[0] - 1), min(y, size[1] - 1)
        block = Block(x, y, min(w + 1, size[0] - x), min(h + 1, size[1] - y))
        coverage.look([planned(block)])
        block.crop(last)[:] = k
    due = np.zeros(size[::-1], int)
    for block in coverage.stale(limit):
        assert block.xyxy[2] <= size[0] and block.xyxy[3] <= size[1]
        block.crop(due)[:] += 1
    assert due.max() <= 1, "rectangles overlap"
    cells = np.kron(coverage.age() >= limit, np.ones((coverage.cell, coverage.cell), int))
    np.testing.assert_array_equal(due, cells[: size[1], : size[0]])
    # A cell that was wholly seen lately is never due, one that was not seen at all always.
    for row, column in np.ndindex(coverage.shape):
        cell = np.s_[
            row * coverage.cell : (row + 1) * coverage.cell,
            column * coverage.cell : (column + 1) * coverage.cell,
        ]
        ages = len(corners) - 1 - last[cell]
        assert not (ages < limit).all() or not due[cell].any()
        assert not (ages >= limit).all() or due[cell].all()


def test_keeping_to_stale_regions_keeps_the_limit() -> None:
    coverage, limit = Coverage(SIZE), 4
    random = np.random.default_rng(0)
    coverage.look(EVERYWHERE)
    for _ in range(30):
        x, y = (int(random.integers(0, length - 300)) for length in SIZE)
        blocks = [Block(x, y, 300, 300), *coverage.stale(limit)]
        coverage.look([planned(block, k) for k, block in enumerate(blocks)])
        assert coverage.age().max() <= limit


# Looks.


def test_looks_come_first_and_periodically() -> None:
    schedule = LookSchedule(LookSettings(every=4))
    reasons = []
    for _ in range(9):
        reason = schedule.due()
        assert schedule.due() == reason
        reasons.append(reason)
        schedule.planned(reason is not None)
    first = [Reason.FIRST, None, None, None]
    assert reasons == [*first, Reason.PERIOD, None, None, None, Reason.PERIOD]
    schedule.reset()
    assert schedule.due() is Reason.FIRST


@pytest.mark.parametrize(
    ("surprise", "changed", "due"),
    [
        (Surprise(20, 0.9, 20, 0.0), 0.0, True),
        (Surprise(20, 0.0, 20, 0.8), 0.0, True),
        (Surprise(20, 0.2, 20, 0.1), 0.0, False),
        (Surprise(1, 1.0, 1, 1.0), 0.0, False),
        (None, 0.7, True),
        (None, 0.1, False),
    ],
)
def test_changes_bring_a_look_after_a_pause(
    surprise: Surprise | None, changed: float, due: bool
) -> None:
    schedule = LookSchedule(LookSettings(every=50, pause=2))
    schedule.planned(True)
    for _ in range(2):
        assert schedule.due(surprise, changed) is None
        schedule.planned(False)
    assert (schedule.due(surprise, changed) is Reason.CHANGE) == due


def test_thumbnails_tell_a_cut_from_light_and_movement() -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(30, 200, (18, 32, 1), np.uint8)
    image = np.repeat(np.kron(coarse[..., 0], np.ones((40, 40), np.uint8))[..., None], 3, axis=2)
    before = thumbnail(image)
    assert before.shape == (18, 32)
    assert changed_share(before, before) == 0
    assert changed_share(before, thumbnail(image + np.uint8(40))) == 0
    moved = image.copy()
    moved[200:320, 400:480] = 255
    assert 0 < changed_share(before, thumbnail(moved)) < 0.03
    assert changed_share(before, thumbnail(image[::-1])) > 0.6
    np.testing.assert_array_equal(thumbnail(image[..., 1]), before)


@pytest.mark.parametrize("size", [(1, 1), (7, 1000), (360, 640)])
def test_thumbnails_of_any_size(size: tuple[int, int]) -> None:
    assert (thumbnail(np.full((*size, 3), 77, np.uint8)) == 77).all()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="memory_s"):
        TrackerSettings(memory_s=0)
    with pytest.raises(InputError, match="every"):
        LookSettings(every=0)
