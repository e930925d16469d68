"""The link between robot and worker over time: bandwidth, round-trip time, outages.

Arrays are (T, N), step by link; see ``processes``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from re_pose_ros.tuning.processes import (
    Bools,
    Floats,
    Numbers,
    chance,
    correlated,
    held,
    log_uniform,
    switched,
)
from re_pose_ros.tuning.recorded import Recorded


def coherence(doppler_hz: Numbers, period_s: Numbers) -> Floats:
    """Correlation of a fading gain from one block to the next: J0(2 pi f T), at least 0.

    Clarke's autocorrelation (Bell System Technical Journal 1968; Jakes 1974) at the distance of one
    block; a first-order process follows it there (Wang and Chang, IEEE Trans. Wireless
    Communications 1996). Where it would be negative blocks are taken as independent.
    """
    return np.maximum(j0(2 * np.pi * np.asarray(doppler_hz) * np.asarray(period_s)), 0.0)


def rayleigh(
    rng: np.random.Generator,
    steps: int,
    count: int,
    *,
    period_s: Numbers,
    doppler_hz: Numbers,
    mean_snr_db: Numbers,
    bandwidth_mhz: Numbers,
) -> Floats:
    """Rate in Mbit/s over a Gauss-Markov Rayleigh block-fading channel.

    The complex gain h has independent Gaussian parts of variance 1/2 each, first-order
    autoregressive from block (step) to block, so that |h|^2 is exponential with mean 1; the rate is
    Shannon's, W log2(1 + SNR |h|^2).

    Args:
        rng: drawn from.
        steps: T.
        count: N.
        period_s: length of a block in seconds; this and the others are numbers or (N,).
        doppler_hz: Doppler spread, which sets how fast the gain changes; see ``coherence``.
        mean_snr_db: mean signal-to-noise ratio.
        bandwidth_mhz: W.
    """
    kept = coherence(doppler_hz, period_s)
    power = sum(correlated(rng, steps, kept, count) ** 2 for _ in range(2)) / 2
    snr = 10 ** (np.asarray(mean_snr_db, np.float64) / 10)
    return np.asarray(np.asarray(bandwidth_mhz) * np.log2(1 + snr * power))


def steps_of(
    rng: np.random.Generator,
    steps: int,
    count: int,
    *,
    period_s: Numbers,
    hold_s: Numbers,
    low: Numbers,
    high: Numbers,
) -> Floats:
    """Bandwidth that stays for ``hold_s`` on average, then jumps anywhere from low to high.

    Args:
        rng: drawn from.
        steps: T.
        count: N.
        period_s: length of a step in seconds; this and the others are numbers or (N,).
        hold_s: mean of the exponentially distributed times between jumps.
        low: least bandwidth in Mbit/s, above 0.
        high: greatest; log-uniform between them.
    """
    levels = log_uniform(rng, low, high, (steps, count))
    return np.take_along_axis(levels, held(rng, steps, chance(period_s, hold_s), count), axis=0)


def round_trips(
    rng: np.random.Generator,
    steps: int,
    count: int,
    *,
    period_s: Numbers,
    median_ms: Numbers,
    spread: float = 0.2,
    coherence_s: float = 1.0,
) -> Floats:
    """Round-trip time in ms: log-normal around its median, wandering as an AR(1) process.

    Args:
        rng: drawn from.
        steps: T.
        count: N.
        period_s: length of a step in seconds; a number or (N,).
        median_ms: a number or (N,).
        spread: standard deviation of the logarithm.
        coherence_s: time in which the correlation falls to 1/e.
    """
    kept = np.exp(-np.asarray(period_s) / coherence_s)
    return np.asarray(median_ms * np.exp(spread * correlated(rng, steps, kept, count)))


def outages(
    rng: np.random.Generator,
    steps: int,
    count: int,
    *,
    period_s: Numbers,
    every_s: Numbers,
    length_s: Numbers,
) -> Bools:
    """Whether the link is cut: exponentially distributed times with and without a link.

    Args:
        rng: drawn from.
        steps: T.
        count: N.
        period_s: length of a step in seconds; this and the others are numbers or (N,).
        every_s: mean time from the end of an outage to the next; infinity for none.
        length_s: mean length.
    """
    return switched(rng, steps, chance(period_s, every_s), chance(period_s, length_s), count)


def replayed(
    trace: Recorded, steps: int, *, period_s: float, start_s: float = 0.0
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Bandwidth in Mbit/s, round-trip time in ms, and whether there is a link; each (T,)."""
    values = trace.at(start_s + period_s * np.arange(steps))
    return values[:, 0], values[:, 1], values[:, 0] > 0
