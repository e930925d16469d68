"""Following a policy from groups to better ones, and the greedy policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from re_pose_ros.partition.refine import ACTIONS, MOST, State, Terms, gains

PATIENCE = 3
"""Changes in a row without anything better after which a frame's refinement ends."""

Policy = Callable[[State, int], int]
"""The action in a state, given the number of changes so far, of ``refine.STEPS``."""

Refiner = Callable[[State, int], State]
"""What becomes of groups in a frame in which so many changes may be made."""


def followed(state: State, steps: int, policy: Policy) -> State:
    """Where a policy leads to from ``state`` on: the state in which it stops.

    Or chooses what cannot be done, or has made ``steps`` changes. Where these are fewer than
    ``refine.STEPS`` the policy is not told: the next frame goes on from where this one ends.
    """
    for after in _path(state, steps, policy):
        state = after
    return state


def refined(state: State, steps: int, policy: Policy, terms: Terms | None = None) -> State:
    """The best state that a policy comes by, from ``state`` on, which is among them.

    As ``followed``, but for ``PATIENCE`` changes in a row that lead to nothing better at most.
    """
    terms = terms or Terms()
    best, best_score, since = state, state.score(terms), 0
    for after in _path(state, steps, policy):
        score, since = after.score(terms), since + 1
        if score > best_score:
            best, best_score, since = after, score, 0
        if since >= PATIENCE:
            break
    return best


def _path(state: State, steps: int, policy: Policy) -> Iterator[State]:
    for step in range(steps):
        after = state.applied(policy(state, step))
        if after is None:
            return
        state = after
        yield state


def greedy(state: State, step: int) -> int:
    """The action that gains most at the present price of time; stops where none does."""
    del step
    net, _ = state.choices.best(state.outlook.price)
    merge, split = gains(state, net)
    order = state.order
    gained = np.full(ACTIONS, -np.inf)
    gained[0] = 1e-9
    gained[1 : 1 + len(order)] = np.where(state.closest[order] >= 0, merge[order], -np.inf)
    can = state.possible()[1 + MOST : 1 + MOST + len(order)]
    gained[1 + MOST : 1 + MOST + len(order)] = np.where(can, split[order], -np.inf)
    return int(gained.argmax())
