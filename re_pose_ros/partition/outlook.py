"""How good groups are: what a plan for them would find, and when it would be done.

The planner itself takes milliseconds; refining groups asks for many of them. This is its relaxation
to one price of time, with the blocks then given to the workers one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.partition.groups import Floats
from re_pose_ros.partition.worth import Worth

PRICES = np.exp(np.linspace(np.log(1e-4), np.log(2.0), 28))
"""Values per millisecond that are tried, from cheap to dear."""

ALIKE = 1.03
"""Ratio of the slowest to the fastest worker up to which they are taken for equally fast."""

_NEAR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What there is to look with.

    Attributes:
        worth: what looking is worth, for V variants.
        base_ms: (V,) time of each variant on an empty input, on a worker of speed 1.
        pixel_ms: (V,) time per pixel of its input.
        send_ms: time per pixel that is sent, on the link that all blocks share.
        speeds: (W,) work per time of the workers, falling.
        slots: how many blocks they take together.
        budget_ms: when they have to be done.
    """

    worth: Worth
    base_ms: Floats
    pixel_ms: Floats
    send_ms: float
    speeds: Floats
    slots: int
    budget_ms: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a plan would achieve.

    Attributes:
        value: expected number of objects found.
        makespan_ms: when the last block would be done.
        price: value per millisecond of one worker at which the budget is used up.
    """

    value: float
    makespan_ms: float
    price: float


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What can be done with K blocks.

    All in one array, so that merging and splitting touch one: numpy is slow to begin.

    Attributes:
        table: (5, K, V) with ``scale``, ``value``, ``work``, ``send`` and ``time``.
    """

    table: Floats

    @classmethod
    def of(cls, weight: Floats, sides: Floats, conditions: Conditions) -> Choices:
        """For blocks with (K, BINS) weights of objects by size and (K, 2) widths and heights."""
        views = conditions.worth.views(sides)
        table = np.empty((5, *views.scale.shape))
        table[0] = views.scale
        table[1] = conditions.worth.values(weight, views.scale)
        table[2] = conditions.base_ms + conditions.pixel_ms * views.input_pixels
        table[3] = conditions.send_ms * views.image_pixels
        np.add(table[2], table[3], out=table[4])
        return cls(table)

    def __len__(self) -> int:
        return self.table.shape[1]

    @property
    def scale(self) -> Floats:
        """(K, V) network-input pixels per image pixel."""
        return self.table[0]

    @property
    def value(self) -> Floats:
        """(K, V) expected number of objects found."""
        return self.table[1]

    @property
    def work(self) -> Floats:
        """(K, V) milliseconds on a worker of speed 1."""
        return self.table[2]

    @property
    def send(self) -> Floats:
        """(K, V) milliseconds on the link."""
        return self.table[3]

    @property
    def time(self) -> Floats:
        """(K, V) milliseconds of both."""
        return self.table[4]

    def take(self, index: NDArray[np.intp] | slice) -> Choices:
        """Those of some of the blocks."""
        return Choices(self.table[:, index])

    def merged(self, a: int, b: int, both: Choices) -> Choices:
        """With the one block of ``both`` in place of a, and without b, which comes later."""
        own = self.table
        parts = [own[:, :a], both.table, own[:, a + 1 : b], own[:, b + 1 :]]
        return Choices(np.concatenate(parts, axis=1))

    def replaced(self, k: int, parts: Choices) -> Choices:
        """With the first of two blocks in place of k, and the second at the end."""
        table = np.concatenate([self.table, parts.table[:, 1:]], axis=1)
        table[:, k] = parts.table[:, 0]
        return Choices(table)

    def best(self, price: float) -> tuple[Floats, NDArray[np.intp]]:
        """(K,) the value left when time is paid for, at least 0, and (K,) the variants for it."""
        net = self.value - price * self.time
        choice = net.argmax(axis=1)
        # Along short axes numpy finds places faster than it finds values.
        most = net.ravel()[choice + np.arange(len(net)) * net.shape[1]]
        return np.maximum(most, 0.0), choice


def outlook(choices: Choices, conditions: Conditions, near: float | None = None) -> Outlook:
    """What a plan would achieve; nothing where there are no blocks.

    For each price the best variant per block is known at once (Everett, Operations Research 1963);
    the lowest price at which the blocks then fit, placed by longest processing time first (Graham
    1969), is taken.

    Args:
        choices: of the blocks.
        conditions: what there is to look with.
        near: a price that is probably about right; saves time, and changes nothing but where plans
            fit at some price and not at a higher one.
    """
    if not len(choices):
        return Outlook(0.0, 0.0, 0.0)
    if near is not None:
        at = int(np.searchsorted(PRICES, near))
        prices = PRICES[max(at - _NEAR, 0) : at + 2 * _NEAR]
        found = _at_prices(choices, conditions, prices)
        if found is not None and (found.price > prices[0] or at <= _NEAR):
            return found
    return _at_prices(choices, conditions, PRICES) or Outlook(0.0, 0.0, float(PRICES[-1]))


def _at_prices(choices: Choices, conditions: Conditions, prices: Floats) -> Outlook | None:
    """The outlook at the first of rising prices at which the blocks fit; None where at none."""
    value, work, send = choices.value, choices.work, choices.send
    speeds, budget = conditions.speeds, conditions.budget_ms
    usable = (work / speeds[0] + send <= budget) & (value > 0)
    net = np.where(usable, value, -1.0) - prices[:, None, None] * choices.time
    # The choices as places in the flattened (K, V) arrays; what nets nothing is not sent.
    places = net.argmax(axis=2) + np.arange(len(value)) * value.shape[1]
    taken = net.ravel()[places + np.arange(len(prices))[:, None] * value.size] > 0
    work_taken = work.ravel()[places] * taken
    send_taken = send.ravel()[places] * taken
    # All workers together cannot be done sooner; the first of them waits for some block.
    first = np.where(taken, send_taken, np.inf).min(axis=1)
    fits = work_taken.sum(axis=1) <= (budget - np.minimum(first, budget)) * speeds.sum()
    fits &= taken.sum(axis=1) <= conditions.slots
    fits &= send_taken.sum(axis=1) <= budget
    rows = fits.nonzero()[0]
    # Longest first; what is not sent takes no time and comes last.
    order = (-work_taken[rows]).argsort(axis=1, kind="stable")
    order += rows[:, None] * len(value)
    work_taken, sent = work_taken.ravel()[order], send_taken.ravel()[order].cumsum(axis=1)
    hopeless = _hopeless(work_taken, sent, conditions)
    for at in (~hopeless).nonzero()[0].tolist():
        own = taken[rows[at]]
        count = int(own.sum())
        makespan = _placed(work_taken[at, :count].tolist(), sent[at].tolist(), conditions)
        if makespan <= budget:
            total = float(value.ravel()[places[rows[at], own]].sum())
            return Outlook(total, makespan, float(prices[rows[at]]))
    return None


def _hopeless(work: Floats, sent: Floats, conditions: Conditions) -> NDArray[np.bool_]:
    """For which of P plans the budget is missed for certain; saves most calls of ``_placed``.

    Each worker begins with another block, so that the fastest has no more time than from when the
    first block is there, the next from the second, and so on.

    Args:
        work: (P, K) of the blocks in the order of sending.
        sent: (P, K) when they are there.
        conditions: what there is to look with.
    """
    count = min(len(conditions.speeds), sent.shape[1])
    time = np.maximum(conditions.budget_ms - sent[:, :count], 0.0)
    return np.asarray(work.sum(axis=1) > (time @ conditions.speeds[:count]) * (1 + 1e-9))


def _placed(work: list[float], sent: list[float], conditions: Conditions) -> float:
    """When blocks are done that go, longest first, each to where it is done first.

    Infinite once it is clear that the budget is missed.

    Args:
        work: of the blocks in the order of sending.
        sent: when they are there.
        conditions: what there is to look with.
    """
    slowness = (1 / conditions.speeds).tolist()
    free = [0.0] * len(slowness)
    budget, last = conditions.budget_ms, 0.0
    alike = slowness[-1] <= ALIKE * slowness[0]
    for takes, here in zip(work, sent, strict=False):
        if alike:
            first = free.index(min(free))
            done = max(free[first], here) + takes * slowness[-1]
        else:
            done, first = np.inf, 0
            for worker, at in enumerate(free):
                end = (at if at > here else here) + takes * slowness[worker]
                if end < done:
                    done, first = end, worker
        if done > budget:
            return np.inf
        free[first] = done
        last = max(last, done)
    return last
