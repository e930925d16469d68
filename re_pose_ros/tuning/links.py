"""Estimates of a link and of a machine's load, from durations that one clock took.

Times are seconds of any monotonic clock, given by the caller. The rules are ours.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np

from re_pose_ros.tuning.state import BandwidthEstimate


class LoadEstimate:
    """How many times as long things take on a machine as in the table of actions.

    The ratio of sums over the last few, so that what is over at once says little; at the start, and
    while next to nothing is done, what was known before.
    """

    KEPT = 0.8
    """Of the sums, from one to the next."""

    PRIOR_MS = 20.0
    """So much in the table is what was known before worth."""

    def __init__(self, first: float = 1.0) -> None:
        self.first = first
        self._took_ms = self._usual_ms = 0.0

    @property
    def load(self) -> float:
        """The ratio."""
        took = self._took_ms + self.PRIOR_MS * self.first
        return took / (self._usual_ms + self.PRIOR_MS)

    def update(self, took_ms: float, usual_ms: float) -> None:
        """Something took ``took_ms`` and has ``usual_ms`` in the table; both above 0 to count."""
        if took_ms > 0 and usual_ms > 0:
            self._took_ms = self.KEPT * self._took_ms + took_ms
            self._usual_ms = self.KEPT * self._usual_ms + usual_ms


@dataclass(frozen=True, slots=True)
class _Limit:
    """What could not be carried."""

    mbit_s: float
    size: int
    since_s: float
    hold_s: float


class LinkEstimate:
    """Round-trip time and bandwidth of one link.

    A transfer takes a round trip and its bits' time, give or take ``JITTER_MS``. So it tells a
    range of bandwidths, a wide one where it was small, and what was believed is only moved towards
    that range; at once where it is off by so much that the link has to be another one.

    Attributes:
        known: whether there has been a transfer, since what was known was forgotten.
    """

    JITTER_MS = 2.0
    MOST_MBIT_S = 1000.0

    CHANGED = 2.0
    """Ratio from which on a link is another one."""

    LIMIT_S, LONGEST_LIMIT_S = 4.0, 64.0
    """For which a limit holds before it doubles, and again; the first time, and at most."""

    ALIKE = 0.8
    """Of the bytes that set a limit; as many show that it no longer holds."""

    SENT_AGAIN_S = 2.0
    """For which what got lost is sent again, and keeps smaller ones waiting."""

    LEAST_GAP_S = 0.1
    """Transfers that are closer tell no trend."""

    UNKNOWN_MBIT_S = 10.0
    """Before the first transfer."""

    ROUND_TRIPS = 5
    """The least of so many counts, as some wait for blocks that are under way."""

    def __init__(self) -> None:
        self._round_trips: deque[float] = deque(maxlen=self.ROUND_TRIPS)
        self._bandwidth = BandwidthEstimate([self.UNKNOWN_MBIT_S])
        self._measured_s = -np.inf
        self._limit: _Limit | None = None
        self._former: _Limit | None = None
        self.known = False

    @property
    def rtt_ms(self) -> float:
        """Round-trip time; 0 before it was measured."""
        return min(self._round_trips, default=0.0)

    @property
    def bandwidth_mbit_s(self) -> float:
        """Bandwidth, at most ``MOST_MBIT_S``."""
        return self._possible(float(self._bandwidth.bandwidth_mbit_s[0]))

    @property
    def trend(self) -> float:
        """Of the bandwidth, in doublings per second."""
        return float(self._bandwidth.trend[0])

    @property
    def spread(self) -> float:
        """How far off forecasts of the bandwidth were, in doublings."""
        return float(self._bandwidth.spread[0])

    def age_s(self, now_s: float) -> float:
        """Since the bandwidth was measured; infinite while it is not known."""
        return now_s - self._measured_s if self.known else np.inf

    def round_trip(self, ms: float) -> None:
        """A small message was answered after ``ms``."""
        self._round_trips.append(ms)

    def transferred(self, size: int, ms: float, now_s: float) -> None:
        """``size`` bytes, at least 1, took ``ms`` from here to there, and the answer back."""
        low, high = self._range(size, ms)
        ceiling = self._ceiling(now_s)
        if self._limit is not None and size >= self.ALIKE * self._limit.size and low > ceiling:
            self._limit = self._former = None
        elif self._limit is not None:
            low, high = min(low, ceiling), min(high, ceiling)
        before = self.bandwidth_mbit_s
        nearest = min(max(before, low), high)
        if self.known and 1 / self.CHANGED < nearest / before < self.CHANGED:
            self._update(nearest, now_s)
        else:
            self._bandwidth = BandwidthEstimate([nearest if self.known else low])
            self._measured_s = now_s
            self.known = True

    def too_slow(self, size: int, ms: float, now_s: float) -> None:
        """``size`` bytes took ``ms`` or more, which was too long.

        Smaller ones show nothing that outweighs it, as many links let these pass at once: not for
        a while, and not for longer where it happens again. Nor do those that are late soon after
        it: they may have waited for it.
        """
        hold_s, before = self.LIMIT_S, self._limit or self._former
        soon = self._limit is not None and now_s - self._limit.since_s < self.SENT_AGAIN_S
        if self._limit is not None and soon and size < self.ALIKE * self._limit.size:
            return
        _, high = self._range(size, ms)
        if before is not None and now_s - before.since_s < 3 * before.hold_s:
            again = now_s - before.since_s >= before.hold_s
            hold_s = min((1 + again) * before.hold_s, self.LONGEST_LIMIT_S)
        self._limit = _Limit(high, size, now_s, hold_s)
        if self.known and high < self.bandwidth_mbit_s:
            self._update(high, now_s)

    def forget(self) -> None:
        """What is measured next stands alone, as after an outage; until then nothing changes.

        What was lost in an outage tells nothing of what the link can carry. But where a limit was
        there before, and what is tried next is too slow again, it holds for longer.
        """
        self.known = False
        self._former, self._limit = self._limit or self._former, None

    def _ceiling(self, now_s: float) -> float:
        """What may be believed at most."""
        if self._limit is None:
            return self.MOST_MBIT_S
        doublings = (now_s - self._limit.since_s) / self._limit.hold_s - 1
        return min(self._limit.mbit_s * 2 ** min(max(doublings, 0.0), 60.0), self.MOST_MBIT_S)

    def _range(self, size: int, ms: float) -> tuple[float, float]:
        bits_ms = ms - self.rtt_ms
        kilobits = 8e-3 * size
        low = kilobits / (max(bits_ms, 0.0) + self.JITTER_MS)
        high = kilobits / max(bits_ms - self.JITTER_MS, kilobits / self.MOST_MBIT_S)
        return self._possible(low), self._possible(high)

    def _possible(self, mbit_s: float) -> float:
        return min(max(mbit_s, BandwidthEstimate.LEAST_MBIT_S), self.MOST_MBIT_S)

    def _update(self, mbit_s: float, now_s: float) -> None:
        passed = max(now_s - self._measured_s, self.LEAST_GAP_S)
        self._bandwidth.update([mbit_s], [True], passed)
        self._measured_s = now_s


class Probing:
    """When to probe one link, and with how much.

    Every period a small message tells the round-trip time. Where blocks have told nothing of the
    bandwidth for that long a larger one follows, ``SHARE`` of what the link carries in a period,
    and then another small one.
    """

    SHARE = 0.02
    LEAST_BYTES = 1024
    FIRST_BYTES = 4096
    """While the bandwidth is not known."""

    ALONE_S = 1.0
    """For which a larger one keeps others from being sent: they would wait behind it."""

    LOST_S = 5.0
    """Until the answer is no longer waited for."""

    def __init__(self, period_s: float, most_bytes: int) -> None:
        self.period_s = period_s
        self.most_bytes = most_bytes
        self._begun_s: float | None = None
        self._last_s = -np.inf
        self._wanted = False
        self._kept: tuple[int, float] | None = None
        self._usual_mbit_s = 0.0
        self._out: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def due(self, link: LinkEstimate, now_s: float) -> int | None:
        """Bytes of the probe that it is time for, 0 for a small one; None for none."""
        if self._begun_s is None:
            self._begun_s = now_s
        while self._out and now_s - next(iter(self._out.values()))[1] > self.LOST_S:
            self._out.popitem(last=False)
        if link.known:
            self._usual_mbit_s = link.bandwidth_mbit_s
        if any(size and now_s - at_s < self.ALONE_S for size, at_s in self._out.values()):
            return None
        if self._wanted:
            wanted = 1e6 / 8 * self.SHARE * self.period_s * self._usual_mbit_s
            size = max(wanted, self.LEAST_BYTES) if self._usual_mbit_s else self.FIRST_BYTES
            return min(int(size), self.most_bytes)
        return 0 if now_s - self._last_s >= self.period_s else None

    def sent(self, number: int, size: int, now_s: float) -> None:
        """A probe has left; numbers rise."""
        self._out[number] = size, now_s
        self._wanted = False
        if not size:
            self._last_s = now_s

    def echoed(self, number: int, link: LinkEstimate, now_s: float) -> float | None:
        """Milliseconds of the small probe that was answered; None where it is none of ours.

        What a larger one took is kept until another small one has shown whether both had to wait
        behind something else; see ``take``.
        """
        if number not in self._out:
            return None
        size, sent_s = self._out[number]
        while self._out and next(iter(self._out)) <= number:
            self._out.popitem(last=False)
        took_ms = (now_s - sent_s) * 1e3
        if size:
            self._kept, self._last_s = (size, took_ms), -np.inf
            return None
        # At first blocks have their chance to tell; a probe would wait behind them.
        begun = self._begun_s is not None and now_s - self._begun_s >= self.period_s
        unknown = link.age_s(now_s) >= self.period_s and self._kept is None
        self._wanted = begun and unknown and self.most_bytes > 0
        return took_ms

    def take(self) -> tuple[int, float] | None:
        """Bytes and milliseconds of a larger probe, to be asked for after each small one."""
        kept, self._kept = self._kept, None
        return kept

    def unanswered_s(self, now_s: float) -> float:
        """How long an answer has been waited for; 0 where none is."""
        return now_s - next(iter(self._out.values()))[1] if self._out else 0.0
