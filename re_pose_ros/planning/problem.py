"""Options reduced to those that an assignment can use, and their relaxation to one machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from re_pose_ros.planning.options import Floats, Integers, Options

TOLERANCE = 1e-9
"""Values and times that differ by less than this share are the same."""

CELLS = 512
"""Steps into which the relaxation divides the work."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Options without those that are of no use; the blocks that take longest first.

    Attributes:
        value: (B, V) with ``bonus`` added for required blocks; 0 where there is no variant.
        time: (W, B, V) ms; inf where there is no variant or where it would exceed the budget.
        block: (B,) which of the options' blocks it is.
        variant: (B, V) which of the options' variants it is.
        budget: as in the options, ms.
        offset: (W,) ms; the budget where a worker is of no use.
        slots: (W,) as in the options.
        bonus: what being sent is worth to a required block; more than all else together.
        speed: (W,) work per ms, relative to the fastest; 0 for a worker of no use. Any figures
            give a valid relaxation, proportional ones the tightest.
        work: (B, V) least of speed x time over the workers; inf where there is no variant.
        tolerance: values that differ by less are the same.
    """

    value: Floats
    time: Floats
    block: Integers
    variant: Integers
    budget: float
    offset: Floats
    slots: Integers
    bonus: float
    speed: Floats
    work: Floats
    tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """The multiple-choice knapsack of all workers taken together as one.

    ``best[b, c]`` is the greatest value of the blocks from b on with at most c units of work. Work
    is rounded down to units, so that it is an upper bound for any assignment (a surrogate
    relaxation: the workers' constraints weighted by their speeds and summed).

    Attributes:
        best: (B + 1, CELLS + 1), not falling along c.
        units: (B, V) work in units; above CELLS where it does not fit.
        unit: work of one unit.
    """

    best: Floats
    units: Integers
    unit: float

    def least_work(self, value: float) -> float:
        """Work without which no assignment reaches ``value``; inf where none does."""
        cell = int(np.searchsorted(self.best[0], value))
        return cell * self.unit if cell <= CELLS else np.inf

    def cells(self, work: Floats) -> Integers:
        """Units that fit into so much work; a hair more, so that rounding errors cost none."""
        return np.asarray(work / self.unit + 1e-6, np.int64)


def reduce_options(options: Options, price: float) -> Problem:
    """Drop what cannot be in a best assignment.

    That is a variant that fits nowhere, is worth nothing, or takes on every worker at least as
    long as another one of at least its value.

    Args:
        options: the choices.
        price: of the objective; makes the bonus large enough.
    """
    # Times that add up to the budget exactly are within it.
    budget = options.budget_ms * (1 + TOLERANCE)
    usable = options.offset_ms[:, None, None] + options.time_ms <= budget
    usable &= (options.slots > 0)[:, None, None]
    time = np.where(usable, options.time_ms, np.inf)
    total = float(options.value.max(axis=1, initial=0.0).sum()) + price * budget
    bonus = 2.0 * total if total > 0 else 1.0
    value = options.value + np.where(options.required, bonus, 0.0)[:, None]
    least = time.min(axis=0, initial=np.inf)
    useful = (least < np.inf) & (value > 0)
    value = np.where(useful, value, 0.0)
    useful &= ~_dominated(value, time)
    longest = np.where(useful, least, 0.0).max(axis=1, initial=0.0)
    rows = np.argsort(-longest, kind="stable")
    # The useful ones to the front, by rising value.
    order = np.argsort(np.where(useful, value, np.inf), axis=1, kind="stable")
    order = order[rows, : max(int(useful.sum(axis=1).max(initial=0)), 1)]
    block = rows[:, None]
    useful = useful[block, order]
    value = np.where(useful, value[block, order], 0.0)
    time = np.where(useful, time[:, block, order], np.inf)
    speed = _speeds(time)
    # A worker of no use has speed 0, and 0 x inf is no number.
    finite = time < np.inf
    work = np.where(finite, time, 0.0) * speed[:, None, None]
    work = np.where(finite, work, np.inf).min(axis=0, initial=np.inf)
    return Problem(
        value,
        time,
        rows,
        order,
        budget,
        np.where(speed > 0, options.offset_ms, budget),
        options.slots,
        bonus,
        speed,
        work,
        TOLERANCE * float(value.max(axis=1, initial=0.0).sum()),
    )


def _dominated(value: Floats, time: Floats) -> NDArray[np.bool_]:
    """(B, V) whether another variant is worth as much and takes no longer on any worker.

    Of two that are alike in everything the first stays.
    """
    # Blocks last: numpy is slow along short axes.
    time, value = time.transpose(0, 2, 1), value.T
    number = np.arange(len(value))
    slower = (time[:, :, None] >= time[:, None]).all(axis=0)
    gain = value[:, None] - value
    before = (number[:, None] > number)[:, :, None]
    alike = (gain == 0) & slower.swapaxes(0, 1)
    return np.asarray((slower & (gain <= 0) & (~alike | before)).any(axis=1).T)


def _speeds(time: Floats) -> Floats:
    """(W,) the fastest worker's time over that of each, on average over what both have."""
    finite = time < np.inf
    least = time.min(axis=0, initial=np.inf)
    ratio = np.where(finite, time, 0.0) / np.where(least < np.inf, least, 1.0)
    count = finite.sum(axis=(1, 2))
    return np.where(count > 0, count / np.maximum(ratio.sum(axis=(1, 2)), 1e-300), 0.0)


def relax(problem: Problem) -> Relaxation:
    """Solve the relaxation for all amounts of work by dynamic programming.

    After Kellerer, Pferschy, Pisinger, Knapsack Problems (2004), section 11.5. O(B V CELLS).
    """
    blocks, variants = problem.value.shape
    room = float((problem.speed * np.maximum(problem.budget - problem.offset, 0.0)).sum())
    finite = problem.work < np.inf
    work = np.where(finite, problem.work, 0.0)
    most = float(work.max(axis=1, initial=0.0).sum())
    unit = min(room, most) / CELLS or 1.0
    units = np.where(finite, np.minimum(work / unit, CELLS + 1), CELLS + 1).astype(np.int64)
    best = np.zeros((blocks + 1, CELLS + 1))
    # Window CELLS + 1 - c of it is what is best behind a block that takes c units.
    behind = np.full(2 * CELLS + 2, -np.inf)
    windows = sliding_window_view(behind, CELLS + 1)
    at = np.full((blocks, variants + 1), CELLS + 1)
    at[:, 1:] -= units
    value = np.zeros((blocks, variants + 1, 1))
    value[:, 1:, 0] = problem.value
    for block in range(blocks - 1, -1, -1):
        behind[CELLS + 1 :] = best[block + 1]
        (windows[at[block]] + value[block]).max(axis=0, out=best[block])
    return Relaxation(best, units, unit)
