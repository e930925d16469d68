"""The cost model: steps are followed at once, stray observations not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Variant
from re_pose_ros.planning.costs import CostModel, CostSettings, profiled_pixels
from re_pose_ros.planning.level import Level

SMALL, MIDDLE, LARGE = (Variant("yolo11n", size) for size in (160, 320, 640))
OTHER = Variant("yolo11s", 320)
MS = {SMALL: 14.0, MIDDLE: 34.0, LARGE: 112.0}


def profile(times: dict[Variant, float] | None = None) -> Profile:
    entries = tuple(VariantProfile(v, ms) for v, ms in (times or MS).items())
    return Profile("edge", "cpu", ("person",), entries)


def model(**settings: float) -> CostModel:
    return CostModel({"a": profile(), "b": profile()}, CostSettings(**settings))  # type: ignore[arg-type]


def settled(
    seed: int, noise: float = 0.05, factor: float = 1.0
) -> tuple[CostModel, np.random.Generator]:
    """A model that has seen 30 frames of worker a."""
    random = np.random.default_rng(seed)
    costs = model()
    for _ in range(30):
        costs.observe_slowness("a", factor * np.exp(random.normal(0, noise)))
    return costs, random


def test_a_profile_is_believed_until_something_is_observed() -> None:
    costs = model()
    assert [costs.compute_ms("a", v) for v in MS] == pytest.approx(list(MS.values()))
    assert costs.compute_ms("a", OTHER) == np.inf
    assert costs.slowness("a") == 1


@pytest.mark.parametrize("step", [3.0, 1 / 3, 10.0, 1.5])
@pytest.mark.parametrize("noise", [0.0, 0.03, 0.05])
def test_a_step_is_followed_after_two_observations_or_three(step: float, noise: float) -> None:
    needed = []
    for seed in range(100):
        costs, random = settled(seed, noise)
        count = 0
        while abs(costs.slowness("a") / step - 1) >= 0.1:
            costs.observe_slowness("a", step * np.exp(random.normal(0, noise)))
            count += 1
        needed.append(count)
    assert np.median(needed) == 2
    assert np.percentile(needed, 95) <= 3


@given(st.integers(0, 99), st.floats(0.01, 100.0))
def test_one_stray_observation_changes_little(seed: int, stray: float) -> None:
    costs, random = settled(seed)
    before = costs.slowness("a")
    costs.observe_slowness("a", stray)
    # Beyond the gate nothing; within it a share of less than the gate.
    assert costs.slowness("a") == pytest.approx(before, rel=0.25)
    if not 0.4 < stray < 2.5:
        assert costs.slowness("a") == before
        for _ in range(3):
            costs.observe_slowness("a", np.exp(random.normal(0, 0.03)))
            assert costs.slowness("a") == pytest.approx(1, rel=0.15)


def test_strays_on_both_sides_are_not_a_step() -> None:
    costs, _ = settled(0, noise=0.0)
    for factor in (4, 0.2, 5, 0.25, 4.5, 0.2):
        costs.observe_slowness("a", factor)
    assert costs.slowness("a") == pytest.approx(1)


def test_three_that_disagree_on_one_side_are_a_step_to_their_median() -> None:
    costs, _ = settled(0, noise=0.0)
    for factor in (3, 9, 4.5):
        costs.observe_slowness("a", factor)
    assert costs.slowness("a") == pytest.approx(4.5)


def test_a_slow_drift_is_followed() -> None:
    costs, _ = settled(0, noise=0.0)
    for factor in np.geomspace(1, 4, 60):
        costs.observe_slowness("a", factor)
        assert costs.slowness("a") == pytest.approx(factor, rel=0.1)


def test_all_variants_of_a_worker_are_corrected_and_no_other_worker() -> None:
    costs, _ = settled(0, noise=0.0, factor=3.0)
    assert costs.compute_ms("a", LARGE) == pytest.approx(3 * MS[LARGE], rel=0.01)
    assert costs.compute_ms("b", LARGE) == MS[LARGE]
    costs.set_profile("a", profile({OTHER: 50.0}))
    assert costs.compute_ms("a", OTHER) == pytest.approx(150, rel=0.01)
    assert costs.compute_ms("a", LARGE) == np.inf


def test_a_larger_input_takes_longer() -> None:
    costs = model()
    nominal = profiled_pixels(LARGE)
    assert nominal == 640 * 384
    square = costs.compute_ms("a", LARGE, 640 * 640)
    assert MS[LARGE] < square < MS[LARGE] * 640 / 384
    assert costs.compute_ms("a", LARGE, nominal) == MS[LARGE]
    assert costs.compute_ms("a", LARGE, 1) >= 0.2 * MS[LARGE]
    for _ in range(2):
        costs.observe_slowness("a", 2.0)
    assert costs.compute_ms("a", LARGE, 640 * 640) == pytest.approx(2 * square)
    # A single size says nothing of the slope; a share of the time is taken as fixed.
    single = CostModel({"a": profile({OTHER: 50.0})})
    assert single.compute_ms("a", OTHER, 2 * profiled_pixels(OTHER)) == pytest.approx(90)


def test_transfer_follows_the_bandwidth_and_the_compression() -> None:
    costs = model(link_ms=2, bandwidth_mbps=80, bytes_per_pixel=0.5)
    # 80 Mbit/s are 10 kB/ms.
    assert costs.transfer_ms("a", 100_000) == pytest.approx(2 + 5)
    costs.observe_bytes(20_000, 100_000)
    assert costs.bytes_per_pixel == pytest.approx(0.2)
    assert costs.transfer_ms("a", 100_000) == pytest.approx(2 + 2)
    costs.observe_transfer("a", 50_000, 2 + 20)
    assert costs.bandwidth_mbps("a") == pytest.approx(20)
    # A link that nothing was sent over yet is taken to be like the others.
    assert costs.bandwidth_mbps("b") == pytest.approx(20)
    costs.observe_transfer("b", 50_000, 2 + 5)
    assert costs.bandwidth_mbps("b") == pytest.approx(80)
    for _ in range(2):
        costs.observe_transfer("a", 50_000, 2 + 400)
    assert costs.bandwidth_mbps("a") == pytest.approx(1)


def test_a_transfer_faster_than_the_link_is_said_to_be_is_still_positive() -> None:
    costs = model(link_ms=50)
    costs.observe_transfer("a", 1000, 1.0)
    assert 0 < costs.bandwidth_mbps("a") < np.inf


def test_overhead_comes_off_the_deadline() -> None:
    costs = model(overhead_ms=6, overhead_frames=20)
    assert costs.budget_ms(100) == 94
    for ms in range(1, 11):
        costs.observe_overhead(ms)
    assert 7 <= costs.overhead_ms <= 10
    assert costs.budget_ms(5) == 0
    costs.observe_overhead(500)
    assert costs.overhead_ms <= 10
    for _ in range(20):
        costs.observe_overhead(3)
    assert costs.budget_ms(100) == 97


def test_times_are_those_of_the_single_questions() -> None:
    costs = CostModel({"a": profile(), "b": profile({MIDDLE: 20.0})}, CostSettings(caution=0.0))
    for _ in range(5):
        costs.observe_slowness("b", 2.0)
        costs.observe_transfer("b", 10_000, 12.0)
    pixels = np.array([[1e4, 4e4], [2e4, 5e4]])
    areas = np.array([[2e4, 6e4], [3e4, 9e4]])
    times = costs.times(["b", "a"], [SMALL, MIDDLE], pixels, areas)
    for w, worker in enumerate("ba"):
        for b in range(2):
            for v, variant in enumerate((SMALL, MIDDLE)):
                expected = costs.compute_ms(worker, variant, areas[b, v])
                expected += costs.transfer_ms(worker, pixels[b, v])
                assert times[w, b, v] == pytest.approx(expected)
    assert np.isinf(times[0, :, 0]).all()
    assert np.isfinite(costs.times(["a"], [SMALL], pixels[:, :1])).all()


def test_caution_grows_with_the_noise() -> None:
    pixels = np.full((1, 1), 1e4)

    def share(noise: float) -> float:
        costs, _ = settled(1, noise)
        planned = costs.times(["a"], [MIDDLE], pixels)[0, 0, 0]
        return float(planned / (costs.compute_ms("a", MIDDLE) + costs.transfer_ms("a", 1e4)))

    assert share(0.0) == pytest.approx(1)
    assert 1.01 < share(0.05) < share(0.15)


def test_levels_take_the_first_observation_where_they_were_guessed() -> None:
    level = Level.of(5.0, known=False)
    level.observe(80.0)
    assert level.value == pytest.approx(80)


@pytest.mark.parametrize("ms", [0.0, -1.0, np.inf, np.nan])
def test_impossible_observations(ms: float) -> None:
    costs = model()
    with pytest.raises(InputError, match="cannot be"):
        costs.observe_slowness("a", ms)
    with pytest.raises(InputError, match="cannot be"):
        costs.observe_transfer("a", 100, ms)
    if ms:
        with pytest.raises(InputError, match="cannot be"):
            costs.observe_overhead(ms)
    with pytest.raises(InputError, match="not transferred"):
        costs.observe_transfer("a", 0, 5.0)
    with pytest.raises(InputError, match="not compressed"):
        costs.observe_bytes(100, 0)
    with pytest.raises(InputError, match="'c' has no profile"):
        costs.compute_ms("c", MIDDLE)


@pytest.mark.parametrize("name", ["link_ms", "bandwidth_mbps", "caution", "overhead_quantile"])
def test_settings_out_of_range(name: str) -> None:
    with pytest.raises(InputError, match=name):
        model(**{name: -1.0})
