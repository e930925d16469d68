"""Search over all assignments, block by block, which proves the best where it is narrow enough.

Level k holds assignments of the first k blocks. What cannot beat the incumbent by the relaxation
of the blocks that are left is dropped. Where more than ``width`` remain, the least promising go
too, and the result is proved only if none of those could have been better: a beam search that
knows whether it was exhaustive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.planning.local_search import Placement
from re_pose_ros.planning.options import Floats, Integers
from re_pose_ros.planning.problem import CELLS, TOLERANCE, Problem, Relaxation


@dataclass(frozen=True, slots=True)
class Goal:
    """What is searched for.

    Attributes:
        incumbent: the result that is known already; only better ones are looked for.
        price: where ``target`` is None: the greatest value minus this times the makespan.
        target: else the least makespan at which the value is at least this.
    """

    incumbent: float
    price: float = 0.0
    target: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _States:
    """K assignments of the first blocks.

    Attributes:
        load: (K, W) when each worker is done, ms.
        count: (K, W) its blocks.
        value: (K,) sum of the values.
        span: (K,) makespan, ms.
        work: (K,) sum of speed x time.
    """

    load: Floats
    count: Integers
    value: Floats
    span: Floats
    work: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """What every level of one search uses.

    Attributes:
        problem, relaxation, goal: what is searched.
        load: (B, W, V) speed x time; 0 where there is no variant.
        floor: scores up to this are of no interest.
        shortest: (B + 1, W) ms of the shortest variant among the blocks from b on.
        richest: (B + 1, B + 1) value of the best n blocks among those from b on; None where there
            are slots for all.
        paid: (B + 1, CELLS + 1) greatest value minus price x work from so many units of work on;
            None without a price.
        alike: (W, W) whether the second worker comes before the first and is its equal; None where
            no two are.
    """

    problem: Problem
    relaxation: Relaxation
    goal: Goal
    load: Floats
    floor: float
    shortest: Floats
    richest: Floats | None
    paid: Floats | None
    alike: NDArray[np.bool_] | None


def search(
    problem: Problem, relaxation: Relaxation, goal: Goal, width: int
) -> tuple[Placement | None, bool]:
    """The best assignment for ``goal``; None where none better than the incumbent was found.

    The second result says whether that is proved. O(B width W V), vectorised over all but B.
    """
    blocks, workers = len(problem.block), len(problem.slots)
    task = _prepare(problem, relaxation, goal)
    none = np.zeros(1)
    states = _States(problem.offset[None], np.zeros((1, workers), np.int64), none, none, none)
    steps: list[tuple[Integers, Integers, Integers]] = []
    lost, scores = -np.inf, none
    for level in range(blocks):
        scores = _scores(task, states, level)
        kept = np.flatnonzero(scores > task.floor)
        if kept.size > width:
            kept, best_lost = _widest(scores, kept, width)
            lost = max(lost, best_lost)
        if kept.size == 0:
            return None, lost == -np.inf
        scores = scores[kept]
        states, step = _follow(problem, states, level, kept)
        steps.append(step)
    at = int(scores.argmax())
    proved = lost <= float(scores[at])
    worker, variant = np.empty(blocks, np.int64), np.empty(blocks, np.int64)
    for level in range(blocks - 1, -1, -1):
        parents, on, columns = steps[level]
        worker[level], variant[level] = on[at], columns[at]
        at = int(parents[at])
    return (worker, variant), proved


def _widest(scores: Floats, kept: Integers, width: int) -> tuple[Integers, float]:
    """The ``width`` of ``kept`` with the best scores, of equal ones the first, and the next score.

    In rising order; sorting all of them takes several times as long.
    """
    own = scores[kept]
    behind = len(own) - width
    ordered = np.partition(own, (behind - 1, behind))
    least = ordered[behind]
    left = own > least
    equal = (own == least).nonzero()[0]
    left[equal[: width - np.count_nonzero(left)]] = True
    return kept[left], float(ordered[behind - 1])


def _prepare(problem: Problem, relaxation: Relaxation, goal: Goal) -> _Search:
    blocks, workers = len(problem.block), len(problem.slots)
    if goal.target is None:
        floor = goal.incumbent + problem.tolerance
    else:
        floor = -goal.incumbent * (1 - TOLERANCE)
    shortest = np.full((blocks + 1, workers), np.inf)
    least = problem.time.min(2, initial=np.inf)
    shortest[:-1] = np.minimum.accumulate(least[:, ::-1], 1)[:, ::-1].T
    richest = None
    if problem.slots.sum() < blocks:
        most = problem.value.max(1, initial=0.0)
        richest = np.zeros((blocks + 1, blocks + 1))
        for block in range(blocks):
            rest = np.sort(most[block:])[::-1].cumsum()
            richest[block, 1 : len(rest) + 1] = rest
            richest[block, len(rest) + 1 :] = rest[-1]
    paid = None
    if goal.target is None and goal.price > 0:
        work = np.arange(CELLS + 1) * relaxation.unit
        paid = relaxation.best - goal.price * work / problem.speed.sum()
        paid = np.maximum.accumulate(paid[:, ::-1], 1)[:, ::-1]
    times = problem.time.reshape(workers, -1)
    state = np.column_stack([times, problem.slots])
    alike = (state[:, None] == state).all(2) & np.tri(workers, k=-1, dtype=bool)
    finite = np.where(np.isfinite(problem.time), problem.time, 0.0)
    return _Search(
        problem,
        relaxation,
        goal,
        (finite * problem.speed[:, None, None]).swapaxes(0, 1),
        floor,
        shortest,
        richest,
        paid,
        alike if alike.any() else None,
    )


def _scores(task: _Search, states: _States, level: int) -> Floats:
    """(K W V + K,) bound of each state with the level's block on each worker, and without it.

    A worth that no completion exceeds, or minus a makespan that none goes below; -inf where the
    block does not fit.
    """
    problem, time = task.problem, task.problem.time[:, level]
    free = problem.budget - states.load
    left = free[:, :, None] - time
    allowed = left >= 0
    allowed &= _open(task, states)[:, :, None]
    value = (states.value[:, None] + problem.value[level])[:, None]
    span: Floats | None = None
    work: Floats | None = None
    if task.goal.target is not None or task.paid is not None:
        done = np.where(allowed, states.load[:, :, None] + time, 0.0)
        span = np.maximum(states.span[:, None, None], done)
        work = states.work[:, None, None] + task.load[level]
    if task.goal.target is not None:
        assert span is not None and work is not None
        sent = _haste(task, level, value, span, work)
        unsent = _haste(task, level, states.value, states.span, states.work)
    else:
        # Room that is too short for every block to come is of no use.
        soon = task.shortest[level + 1]
        useful = np.where(free >= soon, free * problem.speed, 0.0)
        base = useful.sum(1)
        room = np.where(allowed & (left >= soon[:, None]), left, 0.0) * problem.speed[:, None]
        room += (base[:, None] - useful)[:, :, None]
        slots = fewer = None
        if task.richest is not None:
            slots = np.minimum(problem.slots.sum() - states.count.sum(1), len(problem.block))
            fewer = np.maximum(slots - 1, 0)[:, None, None]
        sent = _worth(task, level, value, span, work, room, fewer)
        unsent = _worth(task, level, states.value, states.span, states.work, base, slots)
    return np.concatenate([np.where(allowed, sent, -np.inf).ravel(), unsent])


def _open(task: _Search, states: _States) -> NDArray[np.bool_]:
    """(K, W) workers with a free slot; of equals that have done the same, only the first."""
    allowed = states.count < task.problem.slots
    if task.alike is not None:
        twin = (states.load[:, :, None] == states.load[:, None, :]) & task.alike
        twin &= states.count[:, :, None] == states.count[:, None, :]
        allowed &= ~twin.any(2)
    return allowed


def _worth(
    task: _Search,
    level: int,
    value: Floats,
    span: Floats | None,
    work: Floats | None,
    room: Floats,
    slots: Integers | None,
) -> Floats:
    """Bound of value minus price x makespan with the blocks after ``level``.

    ``span`` and ``work`` are asked for only with a price, ``slots`` where they may be too few.
    """
    relaxation, behind = task.relaxation, level + 1
    rest = relaxation.best[behind].take(relaxation.cells(room), mode="clip")
    if task.richest is not None and slots is not None:
        rest = np.minimum(rest, task.richest[behind].take(slots))
    if task.paid is None or span is None or work is None:
        return value + rest
    # Either the makespan stays and so does what fits into it, or it grows with the work.
    price, capacity = task.goal.price, float(task.problem.speed.sum())
    earliest = float(task.problem.offset.min())
    within = relaxation.cells(np.maximum((span - earliest) * capacity - work, 0.0))
    stay = np.minimum(rest, relaxation.best[behind].take(within, mode="clip")) - price * span
    grow = task.paid[behind].take(within, mode="clip") - price * (earliest + work / capacity)
    return value + np.minimum(np.maximum(stay, grow), rest - price * span)


def _haste(task: _Search, level: int, value: Floats, span: Floats, work: Floats) -> Floats:
    """Minus the least makespan at which the blocks after ``level`` bring the value to the target.

    All workers together do ``work`` per ms at the most, none of them before the first is free.
    """
    assert task.goal.target is not None
    row = task.relaxation.best[level + 1]
    cells = np.searchsorted(row, task.goal.target - value)
    pooled = (work + cells * task.relaxation.unit) / task.problem.speed.sum()
    least = np.maximum(span, task.problem.offset.min() + pooled)
    return -np.where(cells <= CELLS, least, np.inf)


def _follow(
    problem: Problem, states: _States, level: int, kept: Integers
) -> tuple[_States, tuple[Integers, Integers, Integers]]:
    """The states behind the kept scores, and for each its parent, worker and variant."""
    workers, variants = len(problem.slots), problem.value.shape[1]
    sendings = len(states.value) * workers * variants
    # They rise, so that those without the block come last.
    sent = int(kept.searchsorted(sendings))
    parent, worker, variant = kept - sendings, np.full(len(kept), workers), np.zeros_like(kept)
    place, column = np.divmod(kept[:sent], variants)
    parent[:sent], on = np.divmod(place, workers)
    worker[:sent], variant[:sent] = on, column
    load, count = states.load.take(parent, axis=0), states.count.take(parent, axis=0)
    value, span, work = states.value[parent], states.span[parent], states.work[parent]
    rows = np.arange(sent)
    time = problem.time[on, level, column]
    load[rows, on] += time
    count[rows, on] += 1
    value[:sent] += problem.value[level, column]
    np.maximum(span[:sent], load[rows, on], out=span[:sent])
    work[:sent] += problem.speed[on] * time
    return _States(load, count, value, span, work), (parent, worker, variant)
