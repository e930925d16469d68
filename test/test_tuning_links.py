"""Estimates of links and loads: what a transfer can tell, and what it cannot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.tuning.links import LinkEstimate, LoadEstimate, Probing

MBIT = 125.0
"""Bytes that one Mbit/s carries in a millisecond."""


def carried(mbit_s: float, size: int, rtt_ms: float) -> float:
    return rtt_ms + size / (MBIT * mbit_s)


def test_a_load_is_a_ratio_of_sums_and_begins_with_what_was_known() -> None:
    load = LoadEstimate(3.0)
    assert load.load == 3.0
    load.update(80.0, 20.0)
    assert load.load == pytest.approx((80 + 20 * 3) / (20 + 20))
    load.update(10.0, 10.0)
    assert load.load == pytest.approx((0.8 * 80 + 10 + 60) / (0.8 * 20 + 10 + 20))
    load.first = 1.0
    assert load.load == pytest.approx((74 + 20) / (26 + 20))


@pytest.mark.parametrize(("took", "usual"), [(0.0, 5.0), (5.0, 0.0), (-1.0, 5.0), (5.0, -1.0)])
def test_what_took_no_time_tells_no_load(took: float, usual: float) -> None:
    load = LoadEstimate(2.0)
    load.update(took, usual)
    assert load.load == 2.0


@given(st.floats(0.1, 50), st.lists(st.floats(1, 200), min_size=40, max_size=40))
def test_a_steady_load_is_found(true: float, usual: list[float]) -> None:
    load = LoadEstimate()
    for ms in usual:
        load.update(true * ms, ms)
    weight = sum(ms * 0.8 ** (39 - k) for k, ms in enumerate(usual))
    assert load.load == pytest.approx((true * weight + 20) / (weight + 20))


def test_the_least_of_the_last_round_trips_counts() -> None:
    link = LinkEstimate()
    assert link.rtt_ms == 0.0
    for ms in (9.0, 3.0, 8.0, 40.0, 12.0):
        link.round_trip(ms)
    assert link.rtt_ms == 3.0
    for ms in (30.0, 31.0):
        link.round_trip(ms)
    assert link.rtt_ms == 8.0


def test_the_first_transfer_gives_the_least_that_it_shows() -> None:
    link = LinkEstimate()
    link.round_trip(4.0)
    assert not link.known and link.age_s(5.0) == math.inf
    link.transferred(12_500, 24.0, 5.0)
    # 100 kbit in 20 ms, give or take 2.
    assert link.bandwidth_mbit_s == pytest.approx(100 / 22)
    assert link.known and link.age_s(5.25) == pytest.approx(0.25)


def test_what_fits_what_is_believed_changes_nothing_but_the_age() -> None:
    link = LinkEstimate()
    link.round_trip(4.0)
    link.transferred(125_000, 4.0 + 100.0, 1.0)
    before = link.bandwidth_mbit_s
    link.transferred(100, 5.0, 2.0)
    link.transferred(100, 4.0, 2.5)
    assert link.bandwidth_mbit_s == pytest.approx(before) and link.trend == pytest.approx(0.0)
    assert link.age_s(3.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("before", "after"), [(100.0, 5.0), (5.0, 20.0), (20.0, 100.0)])
def test_a_step_is_followed_within_four_transfers(before: float, after: float) -> None:
    link, size = LinkEstimate(), 60_000
    link.round_trip(3.0)
    for k in range(20):
        link.transferred(size, carried(before, size, 3.0), 0.2 * k)
    assert link.bandwidth_mbit_s == pytest.approx(before, rel=0.35)
    for k in range(20, 24):
        link.transferred(size, carried(after, size, 3.0), 0.2 * k)
    assert link.bandwidth_mbit_s == pytest.approx(after, rel=0.5)


def test_a_transfer_sooner_than_a_round_trip_shows_no_less_than_jitter_allows() -> None:
    link = LinkEstimate()
    link.round_trip(10.0)
    link.transferred(50_000, 6.0, 0.0)
    assert link.bandwidth_mbit_s == pytest.approx(8e-3 * 50_000 / 2.0)
    link.transferred(10**9, 0.1, 1.0)
    assert link.bandwidth_mbit_s <= LinkEstimate.MOST_MBIT_S


def test_what_is_still_under_way_lowers_and_never_raises() -> None:
    link = LinkEstimate()
    link.too_slow(50_000, 300.0, 0.5)
    assert not link.known
    link.transferred(50_000, 4.0, 1.0)
    fast = link.bandwidth_mbit_s
    link.too_slow(10, 0.5, 1.2)
    assert link.bandwidth_mbit_s == pytest.approx(fast)
    for k in range(6):
        link.too_slow(50_000, 402.0, 1.4 + 0.2 * k)
    # 400 kbit need more than 400 ms.
    assert link.bandwidth_mbit_s == pytest.approx(1.0, rel=0.2)


def limited(mbit_s: float, size: int, at: float = 10.0) -> LinkEstimate:
    """A link thought fast, on which then ``size`` bytes took too long."""
    link = LinkEstimate()
    link.transferred(50_000, 4.0, at - 0.2)
    link.too_slow(size, carried(mbit_s, size, 0.0) + LinkEstimate.JITTER_MS, at)
    return link


def test_what_small_transfers_show_does_not_outweigh_a_large_one_at_once() -> None:
    link = limited(2.0, 50_000)
    for at, most in ((10.2, 2.0), (12.0, 2.0), (13.9, 2.0), (18.0, 4.0), (22.0, 8.0)):
        link.transferred(10_000, 2.0, at)
        link.transferred(10_000, 2.0, at)
        assert link.bandwidth_mbit_s <= most * 1.01
    for at in range(23, 60):
        link.transferred(10_000, 2.0, float(at))
    assert link.bandwidth_mbit_s > 80 / 4, "as much as they show"


def test_as_large_a_transfer_shows_that_a_limit_no_longer_holds() -> None:
    link = limited(2.0, 50_000)
    link.transferred(40_000, 10.0, 10.5)
    assert link.bandwidth_mbit_s == pytest.approx(320 / 12)
    link.transferred(10_000, 0.1, 10.7)
    assert link.bandwidth_mbit_s > 20


def test_a_limit_that_shows_again_holds_longer() -> None:
    link, at = limited(2.0, 50_000), 10.0
    for hold in (4.0, 8.0, 16.0, 32.0, 64.0, 64.0):
        link.transferred(10_000, 1.0, at + 0.98 * hold)
        link.transferred(10_000, 1.0, at + 0.98 * hold)
        assert link.bandwidth_mbit_s < 2.1
        at += 1.5 * hold
        link.transferred(10_000, 1.0, at)
        assert link.bandwidth_mbit_s > 2.1
        # Late frames that follow one another are one time.
        for _ in range(3):
            at += 0.2
            link.too_slow(50_000, carried(2.0, 50_000, 0.0) + LinkEstimate.JITTER_MS, at)


def test_what_is_late_behind_a_large_transfer_that_got_lost_tells_nothing() -> None:
    link = limited(2.0, 50_000)
    before = link.bandwidth_mbit_s
    link.too_slow(10_000, 400.0, 11.0)
    assert link.bandwidth_mbit_s == before
    link.too_slow(45_000, 400.0, 11.5)
    assert link.bandwidth_mbit_s < before, "as large a one does"
    later = limited(2.0, 50_000)
    later.too_slow(10_000, 400.0, 12.5)
    assert later.bandwidth_mbit_s < before, "and so does a smaller one, later"


def test_a_limit_that_shows_again_holds_longer_also_where_all_was_lost_meanwhile() -> None:
    link, at = limited(2.0, 50_000), 10.0
    for hold in (4.0, 8.0, 16.0):
        link.forget()
        link.transferred(10_000, 2.0, at + 0.1)
        assert link.bandwidth_mbit_s > 20, "an outage says nothing of what the link carries"
        if hold > 4:
            link.too_slow(50_000, carried(2.0, 50_000, 0.0) + LinkEstimate.JITTER_MS, at + 0.2)
            for k in range(10):
                link.transferred(10_000, 2.0, at + 0.2 + hold * (0.9 + 0.01 * k))
            assert link.bandwidth_mbit_s <= 2.0 * 1.01
        at += 1.5 * hold
    link.transferred(50_000, 4.0, at)
    link.forget()
    link.too_slow(50_000, 202.0, at + 0.1)
    for k in range(10):
        link.transferred(10_000, 2.0, at + 8.2 + 0.1 * k)
    assert link.bandwidth_mbit_s > 3, "what has shown that it no longer holds is no former one"


def test_after_an_outage_what_comes_first_stands_alone() -> None:
    link = LinkEstimate()
    link.round_trip(2.0)
    link.transferred(50_000, 4.0, 1.0)
    link.forget()
    assert not link.known and link.bandwidth_mbit_s == pytest.approx(100.0)
    assert link.age_s(9.0) == math.inf
    link.transferred(12_500, 102.0, 9.0)
    assert link.bandwidth_mbit_s == pytest.approx(100 / 102) and link.age_s(9.0) == 0.0


@given(
    st.lists(
        st.tuples(st.integers(1, 10**7), st.floats(0, 1e5), st.booleans(), st.floats(0, 3)),
        max_size=30,
    )
)
def test_estimates_stay_finite(samples: list[tuple[int, float, bool, float]]) -> None:
    link, now = LinkEstimate(), 0.0
    for size, ms, round_trip, passed in samples:
        now += passed
        link.round_trip(ms) if round_trip else link.transferred(size, ms, now)
        assert 1e-6 < link.bandwidth_mbit_s < 1e9
        assert math.isfinite(link.trend) and math.isfinite(link.spread)


# Probes.


def probe(probing: Probing, link: LinkEstimate, number: int, now: float) -> int:
    """Sends what is due, and says how much that was."""
    size = probing.due(link, now)
    assert size is not None
    probing.sent(number, size, now)
    return size


def test_small_probes_leave_once_a_period() -> None:
    probing, link = Probing(0.5, 1000), LinkEstimate()
    link.transferred(1000, 5.0, 9.9)
    assert probe(probing, link, 1, 10.0) == 0
    assert probing.due(link, 10.4) is None
    assert probing.echoed(1, link, 10.02) == pytest.approx(20.0)
    assert probing.due(link, 10.4) is None
    assert probing.due(link, 10.5) == 0


def test_a_larger_one_follows_where_blocks_tell_nothing() -> None:
    probing, link = Probing(0.5, 30_000), LinkEstimate()
    probe(probing, link, 1, 9.0)
    probing.echoed(1, link, 9.1)
    assert probing.due(link, 9.1) is None, "blocks come first"
    probe(probing, link, 2, 10.0)
    assert probing.due(link, 10.1) is None
    probing.echoed(2, link, 10.1)
    assert probe(probing, link, 3, 10.1) == Probing.FIRST_BYTES
    assert probing.due(link, 20.0) == 0  # it got lost
    assert probing.echoed(3, link, 20.1) is None


@pytest.mark.parametrize(
    ("mbit_s", "expected"), [(8.0, 10_000), (0.01, Probing.LEAST_BYTES), (800.0, 30_000)]
)
def test_larger_ones_take_a_share_of_the_link(mbit_s: float, expected: int) -> None:
    probing, link = Probing(0.5, 30_000), LinkEstimate()
    link.transferred(10**6, 8e3 / mbit_s - LinkEstimate.JITTER_MS, 0.0)
    for number, at in ((1, 9.0), (2, 10.0)):
        probe(probing, link, number, at)
        probing.echoed(number, link, at + 0.01)
    size = probe(probing, link, 3, 10.01)
    assert size == pytest.approx(expected, abs=1)
    assert probing.due(link, 11.0) is None, "nothing waits behind a larger one"
    assert probing.echoed(3, link, 11.0) is None
    # A small one shows whether it had to wait behind something else.
    assert probe(probing, link, 4, 11.0) == 0
    assert probing.echoed(4, link, 11.02) == pytest.approx(20.0)
    assert probing.take() == (size, pytest.approx(990.0))
    assert probing.take() is None and probing.due(link, 11.03) is None


def test_a_larger_one_that_was_lost_does_not_keep_the_link_from_being_found_again() -> None:
    """As one that is under way when the link is cut."""
    probing, link = Probing(0.5, 30_000), LinkEstimate()
    for number, at in ((1, 9.0), (2, 10.0)):
        probe(probing, link, number, at)
        probing.echoed(number, link, at + 0.01)
    assert probe(probing, link, 3, 10.01) > 0
    assert probe(probing, link, 4, 11.1) == 0
    # It may still come, where the link has become that slow; if not, another one follows.
    assert probing.echoed(4, link, 11.12) == pytest.approx(20.0)
    assert probe(probing, link, 5, 11.12) > 0


def test_no_larger_ones_where_they_are_switched_off() -> None:
    probing, link = Probing(0.5, 0), LinkEstimate()
    probe(probing, link, 1, 0.0)
    probing.echoed(1, link, 0.01)
    assert probing.due(link, 0.02) is None


def test_an_answer_ends_the_wait_for_those_before_it() -> None:
    probing, link = Probing(0.5, 1000), LinkEstimate()
    assert probing.unanswered_s(1.0) == 0.0
    for number in (1, 2, 3):
        probe(probing, link, number, 0.5 * number)
    assert probing.unanswered_s(2.0) == pytest.approx(1.5)
    assert probing.echoed(2, link, 2.0) == pytest.approx(1000.0)
    assert probing.unanswered_s(2.0) == pytest.approx(0.5)
    assert probing.echoed(1, link, 2.1) is None
    assert probing.echoed(7, link, 2.1) is None
