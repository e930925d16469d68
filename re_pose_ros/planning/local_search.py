"""Good assignments quickly: built from the relaxation, then improved block by block and in pairs.

Here an assignment is a pair of (B,) arrays, ``worker`` and ``variant`` (column of the problem),
where a block that is not sent has the worker W, one more than there are, and the variant 0.
"""

from __future__ import annotations

import numpy as np

from re_pose_ros.planning.options import Integers
from re_pose_ros.planning.problem import CELLS, TOLERANCE, Problem, Relaxation

TINY = float(np.finfo(np.float64).tiny)

Placement = tuple[Integers, Integers]


def makespan(problem: Problem, placement: Placement) -> float:
    """When the last block is done, ms; 0 where nothing is sent."""
    worker, variant = placement
    sent = (worker < len(problem.slots)).nonzero()[0]
    on = worker[sent]
    times = problem.time[on, sent, variant[sent]]
    done = problem.offset + np.bincount(on, times, len(problem.slots))
    return float(done[on].max(initial=0.0))


def total_value(problem: Problem, placement: Placement) -> float:
    """Sum of the values of what is sent, bonuses included."""
    worker, variant = placement
    sent = worker < len(problem.slots)
    return float(problem.value[np.arange(len(worker)), variant][sent].sum())


def construct(problem: Problem, relaxation: Relaxation, limit: float, share: float) -> Placement:
    """Take the relaxation's choice for a share of the capacity and place it best fit decreasing.

    Required blocks are placed before all others. A block that fits nowhere with the variant chosen
    takes the best lesser one that does.

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
    required = problem.value.max(axis=1, initial=0.0) >= problem.bonus
    for block in np.lexsort((-work, ~required)).tolist():
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
) -> Placement:
    """Raise the value while every worker is done by ``limit``, until nothing is found.

    A round makes the best of these changes, and the next best that touch other workers: one block
    to any worker and variant; two blocks exchange their places (one of them may be unsent); a
    block takes another's place, which goes to a third worker or is not sent; a block joins another
    on its worker, with any variants for both. Single blocks go first, since they are cheapest to
    find; the others are looked for where nothing comes before them.

    Args:
        problem: the choices.
        placement: where to start; must keep the limit.
        limit: ms.
        rounds: most rounds.
        enough: stop once the value is at least this.

    Returns:
        The improved assignment.
    """
    neighbours = _Neighbourhood(problem, placement, limit)
    while rounds > 0 and neighbours.total < enough:
        if not (neighbours.change() or neighbours.exchange() or neighbours.join()):
            break
        rounds -= 1
    return neighbours.worker, neighbours.variant


class _Neighbourhood:
    """An assignment and the changes that can be made to it.

    Other than elsewhere the variants are the first axis of arrays: numpy takes a maximum over the
    first axis several times faster than over a short last one.
    """

    def __init__(self, problem: Problem, placement: Placement, limit: float) -> None:
        blocks, variants = problem.value.shape
        workers = len(problem.slots)
        self.value = np.ascontiguousarray(problem.value.T)
        self.time = np.full((variants, workers + 1, blocks), np.inf)
        self.time[:, :workers] = problem.time.transpose(2, 0, 1)
        self.start = np.append(limit - problem.offset, 0.0)
        self.slots = np.append(problem.slots, blocks)
        self.unsent = workers
        self.least = max(problem.tolerance, TINY)
        self.rows = np.arange(blocks)
        self.first = self.rows[:, None] < self.rows
        self.worker, self.variant = placement[0].copy(), placement[1].copy()
        self._refresh()

    def _refresh(self) -> None:
        worker, rows, unsent = self.worker, self.rows, self.unsent
        self.sent = sent = worker < unsent
        self.spent = np.where(sent, self.time[self.variant, worker, rows], 0.0)
        self.worth = np.where(sent, self.value[self.variant, rows], 0.0)
        self.total = float(self.worth.sum())
        self.room = self.start - np.bincount(worker, self.spent, unsent + 1)
        self.free = np.bincount(worker, minlength=unsent + 1) < self.slots
        self.place = self.room[worker] + self.spent
        # For each block: what each worker has left for it, its own place there being its to use.
        self.reach = np.where(self.free, self.room, -1.0)[:, None].repeat(len(rows), axis=1)
        self.reach[worker, rows] = self.place
        fits = self.time <= self.reach
        self.alone = np.where(fits, self.value[:, None], 0.0).max(axis=0)

    def _put(self, block: int, worker: int, room: float) -> None:
        """Give the block the best variant that takes at most ``room``; none on no worker."""
        fits = (self.time[:, worker, block] <= room).nonzero()[0]
        if worker == self.unsent or not len(fits):
            self.worker[block], self.variant[block] = self.unsent, 0
            return
        # Values rise from variant to variant.
        self.worker[block], self.variant[block] = worker, fits[-1]

    def change(self) -> bool:
        """One block goes to any worker, or stays, with any variant."""
        gain = self.alone - self.worth
        best = gain.max(axis=0)
        better = (best > self.least).nonzero()[0]
        if not len(better):
            return False
        goal = gain.argmax(axis=0).tolist()
        touched: set[int] = set()
        for block in better[(-best[better]).argsort(kind="stable")].tolist():
            # Several at once, where they do not touch the same worker.
            workers = {int(self.worker[block]), goal[block]} - {self.unsent}
            if touched.isdisjoint(workers):
                touched |= workers
                self._put(block, goal[block], float(self.reach[goal[block], block]))
        self._refresh()
        return True

    def exchange(self) -> bool:
        """Block b goes to where block a is, which takes its place, another one, or none.

        Entry (a, b) of the matrices is what that gains.
        """
        worker, place, unsent = self.worker.copy(), self.place, self.unsent
        blocks = len(worker)
        fits = self.time[:, worker] <= place[:, None]
        takes = np.where(fits, self.value[:, None], -np.inf).max(axis=0)
        takes[~self.sent] = 0.0
        self.takes = takes
        elsewhere = self.alone.copy()
        elsewhere[worker, self.rows] = 0.0
        third = elsewhere.max(axis=0)
        oust = (third[:, None] > takes.T) & self.sent[:, None]
        gains = takes + np.where(oust, third[:, None], takes.T)
        gains -= self.worth[:, None] + self.worth
        gains[worker[:, None] == worker] = -np.inf
        gains = gains.ravel()
        pairs = (gains > self.least).nonzero()[0]
        if not len(pairs):
            return False
        where = elsewhere.argmax(axis=0)
        touched: set[int] = set()
        for pair in pairs[(-gains[pairs]).argsort(kind="stable")].tolist():
            a, b = divmod(pair, blocks)
            goal, room = int(worker[b]), float(place[b])
            if oust[a, b]:
                goal = int(where[a]) if third[a] > 0 else unsent
                room = float(self.room[goal])
            involved = {int(worker[a]), int(worker[b]), goal} - {unsent}
            # An unsent block is its own place.
            involved |= {-1 - block for block in (a, b) if worker[block] == unsent}
            if touched.isdisjoint(involved):
                touched |= involved
                self._put(b, int(worker[a]), float(place[a]))
                self._put(a, goal, room)
        self._refresh()
        return True

    def join(self) -> bool:
        """Block b goes to the worker of block a, or is there; any variants for both.

        Only for when ``change`` and ``exchange`` have found nothing.
        """
        worker, variants = self.worker.copy(), len(self.value)
        same = worker[:, None] == worker
        # Block a alone cannot gain on its worker, so that a block b that comes there has to.
        gainful = (self.takes > self.worth) & self.free[worker][:, None]
        allowed = np.where(same, self.first, gainful) & self.sent[:, None]
        a, b = np.divmod(allowed.ravel().nonzero()[0], len(worker))
        if not len(a):
            return False
        within = self.place[a] + np.where(same[a, b], self.spent[b], 0.0)
        left = within - self.time[:, worker[a], b]
        fits = self.time[:, worker[a], a] <= left[:, None]
        values = self.value[:, b][:, None] + self.value[:, a]
        gains = np.where(fits, values, -np.inf).reshape(variants**2, len(a))
        gain = gains.max(axis=0) - self.worth[a] - self.worth[b]
        better = (gain > self.least).nonzero()[0]
        if not len(better):
            return False
        touched: set[int] = set()
        for pair in better[(-gain[better]).argsort(kind="stable")].tolist():
            one, other = int(a[pair]), int(b[pair])
            involved = {int(worker[one]), int(worker[other])} - {self.unsent}
            if worker[other] == self.unsent:
                involved.add(-1 - other)
            if touched.isdisjoint(involved):
                touched |= involved
                self.worker[other] = worker[one]
                best = divmod(int(gains[:, pair].argmax()), variants)
                self.variant[other], self.variant[one] = best
        self._refresh()
        return True


def shorten(problem: Problem, placement: Placement, rounds: int = 40) -> Placement:
    """Lower the makespan with the same variants, from this placement and from a new one.

    The new one is by longest processing time first (Graham 1969). From each, blocks of the last
    worker are moved or exchanged while it gets done earlier by that and the other one not later
    than it was.
    """
    worker, variant = placement
    sent = (worker < len(problem.slots)).nonzero()[0]
    if not len(sent):
        return placement
    # Plain numbers: there are too few of them for numpy.
    time = problem.time[:, sent, variant[sent]].tolist()
    offset, slots = problem.offset.tolist(), problem.slots.tolist()
    best, shortest = worker[sent].tolist(), np.inf
    for at in (best, _longest_first(time, offset, slots)):
        if at is None:
            continue
        done = _levelled(time, offset, slots, at, rounds)
        if done < shortest:
            best, shortest = at, done
    worker = worker.copy()
    worker[sent] = best
    return worker, variant


def _longest_first(
    time: list[list[float]], offset: list[float], slots: list[int]
) -> list[int] | None:
    """Each block's worker; None where a block finds no place. See ``_levelled``."""
    done, free = offset.copy(), slots.copy()
    at = [-1] * len(time[0])
    columns = list(zip(*time, strict=True))
    for block in sorted(range(len(at)), key=lambda block: -min(columns[block])):
        column = columns[block]
        ends = [done[w] + column[w] if free[w] > 0 else np.inf for w in range(len(done))]
        end = min(ends)
        if end == np.inf:
            return None
        at[block] = ends.index(end)
        done[at[block]] = end
        free[at[block]] -= 1
    return at


def _levelled(
    time: list[list[float]], offset: list[float], slots: list[int], at: list[int], rounds: int
) -> float:
    """Change ``at`` until the last worker is not done any sooner by that; its ms.

    Args:
        time: ms by worker and block.
        offset: when each worker is free, ms.
        slots: of each worker.
        at: each block's worker.
        rounds: most changes.
    """
    while True:
        done, used = offset.copy(), [0] * len(offset)
        for block, w in enumerate(at):
            done[w] += time[w][block]
            used[w] += 1
        last = max((w for w in range(len(done)) if used[w]), key=done.__getitem__)
        if rounds == 0 or not _sooner(time, slots, at, done, used, last):
            return done[last]
        rounds -= 1


def _sooner(
    time: list[list[float]],
    slots: list[int],
    at: list[int],
    done: list[float],
    used: list[int],
    last: int,
) -> bool:
    """Make the change to ``at`` by which the last worker is done soonest; False where none helps.

    Args:
        time: as of ``_levelled``.
        slots: as of ``_levelled``.
        at: as of ``_levelled``.
        done: when each worker is done, ms.
        used: how many blocks each has.
        last: the worker that is done last.
    """
    mine = [block for block, w in enumerate(at) if w == last]
    others = [(block, w) for block, w in enumerate(at) if w != last]
    open_workers = [w for w in range(len(done)) if w != last and used[w] < slots[w]]
    best, change = done[last] * (1 - TOLERANCE), (-1, -1, -1)
    for block in mine:
        left = done[last] - time[last][block]
        for w in open_workers:
            end = max(left, done[w] + time[w][block])
            if end < best:
                best, change = end, (block, w, -1)
    for block in mine:
        left = done[last] - time[last][block]
        for other, w in others:
            end = max(left + time[last][other], done[w] - time[w][other] + time[w][block])
            if end < best:
                best, change = end, (block, w, other)
    block, w, other = change
    if block < 0:
        return False
    at[block] = w
    if other >= 0:
        at[other] = last
    return True
