"""Good assignments quickly: built from the relaxation, then improved block by block and in pairs.

Here an assignment is a pair of (B,) arrays, ``worker`` and ``variant`` (column of the problem),
where a block that is not sent has the worker W, one more than there are, and the variant 0.
"""

from __future__ import annotations

import numpy as np

from re_pose_ros.planning.options import Floats, Integers
from re_pose_ros.planning.problem import CELLS, TOLERANCE, Problem, Relaxation

Placement = tuple[Integers, Integers]


def chosen_times(problem: Problem, placement: Placement) -> Floats:
    """(B,) ms of each block where it is; 0 where it is not sent."""
    worker, variant = placement
    padded = np.concatenate([problem.time, np.zeros((1, *problem.value.shape))])
    return padded[worker, np.arange(len(worker)), variant]


def loads(problem: Problem, placement: Placement) -> Floats:
    """(W,) ms at which each worker is done, its offset included."""
    times = chosen_times(problem, placement)
    workers = len(problem.slots)
    return problem.offset + np.bincount(placement[0], times, workers + 1)[:workers]


def makespan(problem: Problem, placement: Placement) -> float:
    """When the last block is done, ms; 0 where nothing is sent."""
    workers = len(problem.slots)
    used = np.bincount(placement[0], minlength=workers + 1)[:workers] > 0
    return float(loads(problem, placement)[used].max(initial=0.0))


def total_value(problem: Problem, placement: Placement) -> float:
    """Sum of the values of what is sent, bonuses included."""
    worker, variant = placement
    sent = worker < len(problem.slots)
    return float(problem.value[np.arange(len(worker)), variant][sent].sum())


def construct(problem: Problem, relaxation: Relaxation, limit: float, share: float) -> Placement:
    """Take the relaxation's choice for a share of the capacity and place it best fit decreasing.

    A block that fits nowhere with the variant chosen takes the best lesser one that does.

    Args:
        problem: the choices.
        relaxation: of the problem.
        limit: when every worker has to be done, ms.
        share: of the work that all workers could do until then.
    """
    blocks, _ = problem.value.shape
    workers = len(problem.slots)
    capacity = float((problem.speed * np.maximum(limit - problem.offset, 0.0)).sum())
    cells = int(min(share * capacity / relaxation.unit, CELLS))
    chosen = _choice(problem, relaxation, cells)
    work = problem.work[np.arange(blocks), chosen]
    time, free = problem.time.tolist(), problem.slots.tolist()
    room = (limit - problem.offset).tolist()
    worker, variant = [workers] * blocks, [0] * blocks
    for block in np.argsort(-work, kind="stable").tolist():
        for column in range(int(chosen[block]), -1, -1):
            left = [
                (room[w] - time[w][block][column], w)
                for w in range(workers)
                if free[w] > 0 and time[w][block][column] <= room[w]
            ]
            if left:
                _, w = min(left)
                worker[block], variant[block] = w, column
                room[w] -= time[w][block][column]
                free[w] -= 1
                break
    return np.asarray(worker), np.asarray(variant)


def _choice(problem: Problem, relaxation: Relaxation, cells: int) -> Integers:
    """(B,) the relaxation's variants with that many units of work; -1 for none."""
    best, units, value = relaxation.best, relaxation.units.tolist(), problem.value.tolist()
    chosen = np.full(len(value), -1)
    for block, row in enumerate(units):
        goal = best[block, cells]
        if goal == best[block + 1, cells]:
            continue
        for column, cost in enumerate(row):
            if cost <= cells and best[block + 1, cells - cost] + value[block][column] == goal:
                chosen[block] = column
                cells -= cost
                break
    return chosen


def improve(
    problem: Problem,
    placement: Placement,
    limit: float,
    *,
    rounds: int,
    enough: float = np.inf,
) -> tuple[Placement, int]:
    """Raise the value while every worker is done by ``limit``, until nothing is found.

    A round makes the best of these changes: one block to any worker and variant; two blocks
    exchange their places (one of them may be unsent); a block takes another's place, which goes
    to a third worker or is not sent; a block joins another on its worker, with any variants for
    both. Single blocks go first, since they are cheapest to find.

    Args:
        problem: the choices.
        placement: where to start; must keep the limit.
        limit: ms.
        rounds: most changes.
        enough: stop once the value is at least this.

    Returns:
        The improved assignment and the number of rounds left.
    """
    neighbours = _Neighbourhood(problem, placement, limit)
    while rounds > 0 and neighbours.total < enough:
        if not (neighbours.change() or neighbours.exchange() or neighbours.join()):
            break
        rounds -= 1
    return (neighbours.worker, neighbours.variant), rounds


class _Neighbourhood:
    """An assignment and the changes that can be made to it."""

    def __init__(self, problem: Problem, placement: Placement, limit: float) -> None:
        blocks, variants = problem.value.shape
        workers = len(problem.slots)
        self.value = problem.value
        self.time = np.concatenate([problem.time, np.full((1, blocks, variants), np.inf)])
        self.start = np.append(limit - problem.offset, 0.0)
        self.slots = np.append(problem.slots, blocks)
        self.unsent = workers
        self.least = max(problem.tolerance, np.finfo(float).tiny)
        self.rows = np.arange(blocks)
        self.worker, self.variant = placement[0].copy(), placement[1].copy()
        self._refresh()

    def _refresh(self) -> None:
        worker, rows, unsent = self.worker, self.rows, self.unsent
        sent = worker < unsent
        self.spent = np.where(sent, self.time[worker, rows, self.variant], 0.0)
        self.worth = np.where(sent, self.value[rows, self.variant], 0.0)
        self.total = float(self.worth.sum())
        self.room = self.start - np.bincount(worker, self.spent, unsent + 1)
        self.free = np.bincount(worker, minlength=unsent + 1) < self.slots
        own = np.zeros((unsent + 1, len(rows)))
        own[worker, rows] = self.spent
        # For each block: what each worker has left for it, its own place there being its to use.
        self.reach = np.where(self.free[:, None] | (own > 0), self.room[:, None] + own, -1.0)
        fits = self.time <= self.reach[:, :, None]
        self.alone = np.where(fits, self.value, 0.0).max(2, initial=0.0)

    def _put(self, block: int, worker: int, room: float) -> None:
        """Give the block the best variant that takes at most ``room``; none on no worker."""
        fits = self.time[worker, block] <= room
        if worker == self.unsent or not fits.any():
            self.worker[block], self.variant[block] = self.unsent, 0
            return
        self.worker[block] = worker
        self.variant[block] = int(np.where(fits, self.value[block], -1.0).argmax())

    def change(self) -> bool:
        """One block goes to any worker, or stays, with any variant."""
        gain = self.alone - self.worth
        best = gain.max(0)
        goal = gain.argmax(0)
        touched: set[int] = set()
        for block in np.argsort(-best, kind="stable").tolist():
            if not best[block] > self.least:
                break
            # Several at once, where they do not touch the same worker.
            workers = {int(self.worker[block]), int(goal[block])} - {self.unsent}
            if touched.isdisjoint(workers):
                touched |= workers
                self._put(block, int(goal[block]), float(self.reach[goal[block], block]))
        if touched:
            self._refresh()
        return bool(touched)

    def exchange(self) -> bool:
        """Block b goes to where block a is, which takes its place, another one, or none.

        Entry (a, b) of the matrices is what that gains.
        """
        worker, rows, unsent = self.worker.copy(), self.rows, self.unsent
        blocks = len(rows)
        sent = (worker < unsent)[:, None]
        place = self.room[worker] + self.spent
        takes = np.where(self.time[worker] <= place[:, None, None], self.value, -np.inf).max(2)
        takes[worker == unsent] = 0.0
        elsewhere = self.alone.copy()
        elsewhere[worker, rows] = 0.0
        third, where = elsewhere.max(0), elsewhere.argmax(0)
        oust = third[:, None] > takes.T
        gains = takes + np.where(oust & sent, third[:, None], takes.T)
        gains -= self.worth[:, None] + self.worth
        gains[worker[:, None] == worker] = -np.inf
        pairs = np.flatnonzero(gains.ravel() > self.least)
        touched: set[int] = set()
        for pair in pairs[np.argsort(-gains.ravel()[pairs], kind="stable")].tolist():
            a, b = divmod(pair, blocks)
            goal = int(worker[b])
            room = float(place[b])
            if oust[a, b] and worker[a] < unsent:
                goal = int(where[a]) if third[a] > 0 else unsent
                room = float(self.room[goal])
            involved = {int(worker[a]), int(worker[b]), goal} - {unsent}
            # An unsent block is its own place.
            involved |= {-1 - block for block in (a, b) if worker[block] == unsent}
            if touched.isdisjoint(involved):
                touched |= involved
                self._put(b, int(worker[a]), float(place[a]))
                self._put(a, goal, room)
        if touched:
            self._refresh()
        return bool(touched)

    def join(self) -> bool:
        """Block b goes to the worker of block a, or is there; any variants for both."""
        worker, variants = self.worker, self.value.shape[1]
        same = worker[:, None] == worker
        allowed = (worker < self.unsent)[:, None] & (same | self.free[worker][:, None])
        np.fill_diagonal(allowed, False)
        a, b = np.nonzero(allowed)
        within = self.room[worker[a]] + self.spent[a] + np.where(same[a, b], self.spent[b], 0.0)
        left = within[:, None] - self.time[worker[a], b]
        fits = self.time[worker[a], a][:, None, :] <= left[:, :, None]
        values = self.value[b][:, :, None] + self.value[a][:, None, :]
        gains = np.where(fits, values, -np.inf).reshape(len(a), variants**2)
        gain = gains.max(1, initial=-np.inf) - self.worth[a] - self.worth[b]
        if not gain.max(initial=-np.inf) > self.least:
            return False
        pair = int(gain.argmax())
        one, other = int(a[pair]), int(b[pair])
        worker[other] = worker[one]
        self.variant[other], self.variant[one] = divmod(int(gains[pair].argmax()), variants)
        self._refresh()
        return True


def shorten(problem: Problem, placement: Placement, rounds: int = 40) -> Placement:
    """Lower the makespan with the same variants, from this placement and from a new one.

    The new one is by longest processing time first (Graham 1969). From each, blocks of the last
    worker are moved or exchanged while it gets done earlier by that and the other one not later
    than it was.
    """
    candidates = [_level(problem, placement, rounds)]
    fresh = _longest_first(problem, placement)
    if fresh is not None:
        candidates.append(_level(problem, fresh, rounds))
    return min(candidates, key=lambda candidate: makespan(problem, candidate))


def _longest_first(problem: Problem, placement: Placement) -> Placement | None:
    worker, variant = placement[0].copy(), placement[1]
    workers = len(problem.slots)
    sent = np.flatnonzero(worker < workers)
    time = problem.time[:, sent, variant[sent]]
    work = time.min(0, initial=np.inf)
    columns, done, free = time.T.tolist(), problem.offset.tolist(), problem.slots.tolist()
    for place in np.argsort(-work, kind="stable").tolist():
        column = columns[place]
        end, best = min((done[w] + column[w] if free[w] > 0 else np.inf, w) for w in range(workers))
        if end == np.inf:
            return None
        worker[sent[place]] = best
        done[best] = end
        free[best] -= 1
    return worker, variant


def _level(problem: Problem, placement: Placement, rounds: int) -> Placement:
    worker, variant = placement[0].copy(), placement[1]
    workers = len(problem.slots)
    blocks = np.flatnonzero(worker < workers)
    if blocks.size == 0:
        return worker, variant
    time = problem.time[:, blocks, variant[blocks]]
    at = worker[blocks]
    every = np.arange(len(blocks))
    for _ in range(rounds):
        own = time[at, every]
        done = problem.offset + np.bincount(at, own, workers)
        used = np.bincount(at, minlength=workers)
        last = int(np.where(used > 0, done, -1.0).argmax())
        mine = np.flatnonzero(at == last)
        move = np.maximum((done[last] - own[mine])[:, None], done + time[:, mine].T)
        move[:, (used >= problem.slots) | (np.arange(workers) == last)] = np.inf
        swap = np.maximum(
            (done[last] - own[mine])[:, None] + time[last],
            done[at] - own + time[at[None, :], mine[:, None]],
        )
        swap[:, mine] = np.inf
        best_move, best_swap = move.min(), swap.min()
        if not min(best_move, best_swap) < done[last] * (1 - TOLERANCE):
            break
        if best_move <= best_swap:
            i, to = divmod(int(move.argmin()), workers)
            at[mine[i]] = to
        else:
            i, other = divmod(int(swap.argmin()), len(blocks))
            at[mine[i]], at[other] = at[other], last
    worker[blocks] = at
    return worker, variant
