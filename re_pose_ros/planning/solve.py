"""The choice of variants and workers for the blocks of one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from re_pose_ros.planning import local_search
from re_pose_ros.planning.exact import Goal, search
from re_pose_ros.planning.local_search import Placement
from re_pose_ros.planning.options import Assignment, Integers, Objective, Options
from re_pose_ros.planning.problem import (
    CELLS,
    TOLERANCE,
    Problem,
    Relaxation,
    reduce_options,
    relax,
)

START = 0.95
"""Share of the relaxation's capacity from whose choice the local search begins."""

ROUNDS = 8
"""Most rounds of the local search for the greatest value."""

FEWER_ROUNDS = 4
"""The same for each of the makespans that ``latency`` and ``balanced`` try."""

HALVINGS = 3
"""Makespans that ``latency`` tries before it is content."""

FACTORS = (1.0, 1.15)
"""Makespans that ``balanced`` tries, relative to that of the relaxation."""

NODES = 8_000
"""Partial assignments that the exhaustive search may look at, per pass."""

LEAST_WIDTH = 48
"""The exhaustive search is left out where it could keep fewer assignments than this."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A placement, its value with bonuses, its makespan, and what is proved of it."""

    placement: Placement
    value: float
    makespan: float
    value_proved: bool = False
    proved: bool = False


def solve(
    options: Options, objective: Objective | None = None, *, tolerated: float = 0.0
) -> Assignment:
    """Choose for each block a variant and a worker, or not to send it.

    As many required blocks as the budget allows are sent before all others. If that is none, the
    one that is done soonest is sent nevertheless, and the rest is planned for the other workers.

    The choice of variants is a multiple-choice knapsack, placing them is scheduling on unrelated
    machines, and both together a generalised assignment problem, which is NP-hard. The relaxation
    to one knapsack is solved by dynamic programming (Kellerer, Pferschy, Pisinger, Knapsack
    Problems, 2004, section 11.5); assignments built from it are improved by local search, and a
    search that is exhaustive where the case is small enough follows. The combination is ours.
    The same options always give the same assignment.

    Args:
        options: values, times, budget.
        objective: what to be best in; accuracy by default.
        tolerated: accuracy: share of the value that may be missed for the sake of time. Above 0 the
            exhaustive search is left out where it could gain no more than that, and always for the
            makespan, which comes second.
    """
    objective = objective or Objective()
    price = objective.price if objective.name == "balanced" else 0.0
    problem = reduce_options(options, price)
    relaxation = relax(problem)
    wanted = _wanted(problem, relaxation, price)
    # Where the budget is not to be used up, this is only where another search begins.
    begins = objective.name == "latency" or wanted < problem.budget
    found = _greatest(problem, relaxation, FEWER_ROUNDS if begins else ROUNDS, tolerated)
    if options.required.any() and found.value < problem.bonus / 2:
        late = _send_late(options, objective, tolerated)
        if late is not None:
            return late
    bound = found.value if found.value_proved else float(relaxation.best[0, -1])
    bound -= problem.bonus * (found.value // problem.bonus)
    if found.makespan == 0:
        found = replace(found, proved=found.value_proved)
    elif price > 0:
        found = _balanced(problem, relaxation, found, price, wanted)
    elif objective.name == "latency":
        found = _latency(problem, relaxation, found, objective.share)
    else:
        short = _with(problem, local_search.shorten(problem, found.placement))
        short = replace(short, value_proved=found.value_proved)
        found = short if tolerated > 0 else _hurry(problem, relaxation, short, found.value)
    return _assignment(options, problem, found, bound)


def _width(problem: Problem) -> int:
    """How many assignments the exhaustive search may keep per block; 0 where that is too few."""
    blocks, variants = problem.value.shape
    width = NODES // (blocks * (len(problem.slots) * variants + 1))
    return width if width >= LEAST_WIDTH else 0


def _with(problem: Problem, placement: Placement) -> _Found:
    return _Found(
        placement,
        local_search.total_value(problem, placement),
        local_search.makespan(problem, placement),
    )


def _greatest(problem: Problem, relaxation: Relaxation, rounds: int, tolerated: float) -> _Found:
    """The greatest value within the budget; its makespan as it comes."""
    if not problem.speed.any():
        nobody = np.full(len(problem.block), len(problem.slots))
        return _Found((nobody, np.zeros_like(nobody)), 0.0, 0.0, True)
    bound = float(relaxation.best[0, -1]) - problem.tolerance
    placement = local_search.construct(problem, relaxation, problem.budget, START)
    placement = local_search.improve(
        problem, placement, problem.budget, rounds=rounds, enough=bound
    )
    best = _with(problem, placement)
    if best.value >= bound:
        return replace(best, value_proved=True)
    if bound - best.value <= tolerated * (best.value % problem.bonus):
        return best
    if width := _width(problem):
        placed, proved = search(problem, relaxation, Goal(best.value), width)
        if placed is not None:
            best = _with(problem, placed)
        best = replace(best, value_proved=proved)
    return best


def _hurry(problem: Problem, relaxation: Relaxation, found: _Found, target: float) -> _Found:
    """The least makespan with at least the ``target`` value, where the case is small enough."""
    target -= problem.tolerance
    if width := _width(problem):
        goal = Goal(found.makespan, target=target)
        placed, proved = search(problem, relaxation, goal, width)
        short = found if placed is None else _with(problem, placed)
        return replace(short, proved=proved and found.value_proved)
    return found


def _latency(problem: Problem, relaxation: Relaxation, greatest: _Found, share: float) -> _Found:
    """The least makespan with that share of the greatest value, bonuses left aside."""
    bonus = problem.bonus * (greatest.value // problem.bonus)
    target = bonus + share * (greatest.value - bonus)
    best = _with(problem, local_search.shorten(problem, greatest.placement))
    work = relaxation.least_work(target - problem.tolerance)
    low = float(problem.offset.min() + work / problem.speed.sum())
    for _ in range(HALVINGS):
        if not low < best.makespan * (1 - TOLERANCE):
            break
        limit = (low + best.makespan) / 2
        found = _within(problem, relaxation, limit, target)
        if found.value >= target - problem.tolerance:
            best = _with(problem, local_search.shorten(problem, found.placement))
        else:
            low = limit
    best = _hurry(problem, relaxation, replace(best, value_proved=greatest.value_proved), target)
    # What can be had at that makespan comes free.
    full = local_search.improve(problem, best.placement, best.makespan, rounds=FEWER_ROUNDS)
    return replace(best, placement=full)


def _wanted(problem: Problem, relaxation: Relaxation, price: float) -> float:
    """The makespan that ``balanced`` has in the relaxation; the budget without a price."""
    if price == 0 or not problem.speed.any():
        return problem.budget
    pooled = np.arange(CELLS + 1) * (relaxation.unit / problem.speed.sum())
    best = int((relaxation.best[0] - price * pooled).argmax())
    return float(min(FACTORS[-1] * (problem.offset.min() + pooled[best]), problem.budget))


def _balanced(
    problem: Problem, relaxation: Relaxation, greatest: _Found, price: float, wanted: float
) -> _Found:
    """The greatest value minus price x makespan."""

    def worth(found: _Found) -> float:
        return found.value - price * found.makespan

    best = _with(problem, local_search.shorten(problem, greatest.placement))
    tried = FACTORS if wanted < problem.budget else ()
    for factor in tried:
        limit = wanted * factor / FACTORS[-1]
        found = _within(problem, relaxation, limit, np.inf)
        found = _with(problem, local_search.shorten(problem, found.placement))
        best = max(best, found, key=worth)
    best = replace(best, value_proved=greatest.value_proved)
    if width := _width(problem):
        goal = Goal(worth(best), price)
        placed, proved = search(problem, relaxation, goal, width)
        if placed is not None:
            best = replace(_with(problem, placed), value_proved=greatest.value_proved)
        best = replace(best, proved=proved)
    return best


def _within(problem: Problem, relaxation: Relaxation, limit: float, enough: float) -> _Found:
    """An assignment until a limit, improved until its value is enough."""
    placement = local_search.construct(problem, relaxation, limit, START)
    placement = local_search.improve(
        problem, placement, limit, rounds=FEWER_ROUNDS, enough=enough - problem.tolerance
    )
    return _with(problem, placement)


def _assignment(options: Options, problem: Problem, found: _Found, bound: float) -> Assignment:
    workers, blocks, _ = options.time_ms.shape
    worker, variant = np.full(blocks, -1), np.full(blocks, -1)
    on, column = found.placement
    sent = on < workers
    rows = problem.block[sent]
    worker[rows] = on[sent]
    variant[rows] = problem.variant[sent, column[sent]]
    value = float(options.value[rows, variant[rows]].sum())
    return Assignment(
        variant, worker, value, _makespan(options, variant, worker), max(bound, value), found.proved
    )


def _makespan(options: Options, variant: Integers, worker: Integers) -> float:
    sent = np.flatnonzero(worker >= 0)
    times = options.time_ms[worker[sent], sent, variant[sent]]
    done = options.offset_ms + np.bincount(worker[sent], times, len(options.slots))
    return float(done[worker[sent]].max(initial=0.0))


def _send_late(options: Options, objective: Objective, tolerated: float) -> Assignment | None:
    """The required block that is done soonest although that is over the budget, and the rest."""
    open_slots = options.slots > 0
    done = options.offset_ms[:, None, None] + options.time_ms
    done = np.where(options.required[:, None] & open_slots[:, None, None], done, np.inf)
    if not np.isfinite(done).any():
        return None
    worker, block, variant = (int(i) for i in np.unravel_index(int(done.argmin()), done.shape))
    value, slots = options.value.copy(), options.slots.copy()
    value[block], slots[worker] = 0.0, 0
    none = np.zeros_like(options.required)
    left = replace(options, value=value, slots=slots, required=none)
    rest = solve(left, objective, tolerated=tolerated)
    rest.variant[block], rest.worker[block] = variant, worker
    gained = float(options.value[block, variant])
    return replace(
        rest,
        value=rest.value + gained,
        makespan_ms=_makespan(options, rest.variant, rest.worker),
        value_bound=rest.value_bound + gained,
        optimal=False,
        over_budget=True,
    )
