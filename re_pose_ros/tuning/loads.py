"""How busy robot and worker are with other work, over time.

Arrays are (T, N), step by machine; see ``processes``. A machine that others use to a share u of its
time leaves 1 - u, so that with fair sharing all takes 1 / (1 - u) times as long (Kleinrock, Journal
of the ACM 1967); ``slowness`` is that factor.
"""

from __future__ import annotations

import numpy as np

from re_pose_ros.tuning.processes import Floats, Numbers, chance, correlated, held, switched
from re_pose_ros.tuning.recorded import Recorded

MOST = 0.9
"""Greatest share of a machine that others take."""


def slowness(utilisation: Numbers) -> Floats:
    """How many times as long everything takes, of the share (...) that others use."""
    return np.asarray(1 / (1 - np.clip(np.asarray(utilisation, np.float64), 0.0, MOST)))


def wandering(
    rng: np.random.Generator,
    steps: int,
    count: int,
    *,
    period_s: Numbers,
    mean: Numbers,
    spread: Numbers,
    relax_s: Numbers,
    burst: Numbers = 0.0,
    burst_every_s: Numbers = 60.0,
    burst_length_s: Numbers = 3.0,
) -> Floats:
    """Utilisation as an Ornstein-Uhlenbeck process, exactly in steps, with bursts, 0 to ``MOST``.

    Args:
        rng: drawn from.
        steps: T.
        count: N.
        period_s: length of a step in seconds; this and the others are numbers or (N,).
        mean: that it returns to.
        spread: stationary standard deviation, before it is cut off at 0 and ``MOST``.
        relax_s: time in which a deviation falls to 1/e.
        burst: added during a burst.
        burst_every_s: mean time between bursts.
        burst_length_s: mean length of a burst.
    """
    kept = np.exp(-np.asarray(period_s) / np.asarray(relax_s))
    level = mean + spread * correlated(rng, steps, kept, count)
    rise, fall = chance(period_s, burst_every_s), chance(period_s, burst_length_s)
    return np.clip(level + burst * switched(rng, steps, rise, fall, count), 0.0, MOST)


def stepped(
    rng: np.random.Generator,
    steps: int,
    count: int,
    *,
    period_s: Numbers,
    hold_s: Numbers,
    high: Numbers,
) -> Floats:
    """Utilisation that stays for ``hold_s`` on average, then jumps anywhere from 0 to ``high``."""
    levels = np.clip(rng.uniform(0.0, high, (steps, count)), 0.0, MOST)
    return np.take_along_axis(levels, held(rng, steps, chance(period_s, hold_s), count), axis=0)


def replayed(trace: Recorded, steps: int, *, period_s: float, start_s: float = 0.0) -> Floats:
    """Utilisation (T,) as it was recorded."""
    return trace.at(start_s + period_s * np.arange(steps))[:, 0]
