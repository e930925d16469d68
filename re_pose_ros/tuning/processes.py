"""Random processes in steps of equal time that channels and loads are made of.

All are drawn from a numpy Generator for N processes at once, each with its own parameters where
these are arrays (N,), and have the shape (T, N): step by process. They start in their stationary
distribution.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = Floats | float
"""One for all processes, or (N,) one for each."""


def correlated(rng: np.random.Generator, steps: int, correlation: Numbers, count: int) -> Floats:
    """Gaussian, mean 0, variance 1, first-order autoregressive: x' = c x + sqrt(1 - c^2) e.

    Args:
        rng: drawn from.
        steps: T.
        correlation: c of neighbouring steps, in [0, 1]; a number or (N,).
        count: N.
    """
    kept = np.broadcast_to(np.asarray(correlation, np.float64), (count,))
    values = rng.standard_normal((steps, count))
    values[1:] *= np.sqrt(1 - kept**2)
    for before, now in pairwise(values):
        now += kept * before
    return values


def switched(
    rng: np.random.Generator, steps: int, rise: Numbers, fall: Numbers, count: int
) -> Bools:
    """A two-state Markov chain (Gilbert 1960): whether it is on.

    Args:
        rng: drawn from.
        steps: T.
        rise: probability per step to go on; a number or (N,).
        fall: probability per step to go off, where it is not 0 too.
        count: N.
    """
    rises = np.broadcast_to(np.asarray(rise, np.float64), (count,))
    falls = np.broadcast_to(np.asarray(fall, np.float64), (count,))
    drawn = rng.random((steps, count))
    on = np.empty((steps, count), bool)
    total = rises + falls
    on[0] = drawn[0] * total < rises
    for before, now, chance in zip(on, on[1:], drawn[1:], strict=False):
        now[:] = np.where(before, chance >= falls, chance < rises)
    return on


def held(rng: np.random.Generator, steps: int, change: Numbers, count: int) -> NDArray[np.intp]:
    """Rows (T, N) into an array of T rows: which draw holds, where each step may bring a new one.

    Args:
        rng: drawn from.
        steps: T.
        change: probability per step of a new draw; a number or (N,).
        count: N.
    """
    new = rng.random((steps, count)) < np.asarray(change, np.float64)
    return np.maximum.accumulate(np.where(new, np.arange(steps)[:, None], 0), axis=0)


def log_uniform(
    rng: np.random.Generator, low: Numbers, high: Numbers, shape: int | tuple[int, ...]
) -> Floats:
    """Between ``low`` and ``high``, both above 0, each octave as probable as any other."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), shape)))


def chance(period_s: Numbers, mean_s: Numbers) -> Floats:
    """Probability per step of what happens every ``mean_s`` seconds on average, memoryless."""
    return np.asarray(-np.expm1(-np.asarray(period_s, np.float64) / np.asarray(mean_s)))
