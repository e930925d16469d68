"""The best that merging and splitting could have come to, found by trying everything.

What the planner's groups of objects are made from is small: a handful of clusters. Where there are
few enough, all ways to put them together are tried, and that with the best score is planned, for
the objects that are really there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.base import PartitionContext, PartitionSettings
from re_pose_ros.partition.beginnings import clustered
from re_pose_ros.partition.groups import Groups, Objects
from re_pose_ros.partition.looks import Looks
from re_pose_ros.partition.outlook import Choices, Conditions
from re_pose_ros.partition.re_pose import TERMS, RePose, RePoseOptions
from re_pose_ros.partition.refine import Splits, State, Steady, Terms

MOST = 8
"""Parts that are put together in all ways: 4140 of them."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to.

    Attributes:
        exact: whether everything was tried; otherwise the plan is that of ``re_pose_truth``.
        ms: the time it took, which is charged to nobody.
    """

    exact: bool
    ms: float


class Oracle(RePose):
    """``re_pose`` that is told what there is, with the best groups in place of refined ones.

    Attributes:
        search: of the latest frame.
    """

    def __init__(self, settings: PartitionSettings, name: str, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds."""
        super().__init__(settings, RePoseOptions(), name)
        self._clock = clock
        self._began: list[State] = []
        self.search = Search(True, 0.0)

    def _beginning(self, kept: Objects, objects: ObjectDistribution, left: Conditions) -> State:
        state = super()._beginning(kept, objects, left)
        self._began.append(state)
        return state

    def _groups(
        self,
        objects: ObjectDistribution,
        context: PartitionContext,
        conditions: Conditions,
        looks: Looks,
    ) -> Groups:
        """The best of what the agent makes of the clusters and of all ways to combine them."""
        self._began.clear()
        refined = super()._groups(objects, context, conditions, looks)
        begin = self._clock()
        exact = not len(objects)
        for first in self._began:
            kept, left = first.groups.objects, first.conditions
            best = best_groups(clustered(kept, objects.xyxy, self.settings.bandwidth), left)
            exact = best is not None
            if best is not None:
                refined = max((refined, best), key=lambda groups: score(groups, left))
        self.search = Search(exact, (self._clock() - begin) * 1e3)
        return refined


def best_groups(
    initial: Groups, conditions: Conditions, terms: Terms = TERMS, most: int = MOST
) -> Groups | None:
    """The best groups that can be made of these; None where there are more than ``most``.

    Where there are fewer, those with the largest blocks are split before, so that there are parts
    to choose from. Of groups that are equally good the first is taken, in the order of
    ``set_partitions``.

    Args:
        initial: groups to put together.
        conditions: what there is to look with.
        terms: see ``refine.State.score``.
        most: the number of parts, whose set partitions grow faster than exponentially.
    """
    if len(initial) > most:
        return None
    parts = _split(initial, most)
    if not len(parts):
        return parts
    subsets = [
        np.flatnonzero([mask >> k & 1 for k in range(len(parts))])
        for mask in range(1, 1 << len(parts))
    ]
    members = [np.sort(np.concatenate([parts.members[k] for k in own])) for own in subsets]
    unions = Groups.of(initial.objects, members)
    choices = Choices.of(unions.weight, unions.sides, conditions)
    steady = Steady.of(unions.objects, conditions)
    scores = (
        (_score(unions, choices, np.array(masks) - 1, conditions, terms, steady), masks)
        for masks in set_partitions(len(parts))
    )
    _, masks = max(scores, key=lambda found: found[0])
    return _taken(unions, np.array(masks) - 1)


def set_partitions(count: int) -> Iterator[tuple[int, ...]]:
    """All ways to put ``count`` things into groups, as bit masks of who is in each group."""

    def grown(groups: tuple[int, ...], at: int) -> Iterator[tuple[int, ...]]:
        if at == count:
            yield groups
            return
        bit = 1 << at
        for k, mask in enumerate(groups):
            yield from grown((*groups[:k], mask | bit, *groups[k + 1 :]), at + 1)
        yield from grown((*groups, bit), at + 1)

    return grown((), 0)


def score(groups: Groups, conditions: Conditions, terms: Terms = TERMS) -> float:
    """As ``refine.State.score``."""
    choices = Choices.of(groups.weight, groups.sides, conditions)
    steady = Steady.of(groups.objects, conditions)
    return _score(groups, choices, np.arange(len(groups)), conditions, terms, steady)


def _split(groups: Groups, most: int) -> Groups:
    """With the group with the largest block split, again and again, until there are ``most``."""
    while len(groups) < most:
        areas = groups.sides.prod(axis=1)
        left = [k for k in range(len(groups)) if len(groups.members[k]) > 1]
        if not left:
            break
        split = groups.split(max(left, key=lambda k: areas[k]))
        assert split is not None
        groups = split
    return groups


def _taken(groups: Groups, index: NDArray[np.int64]) -> Groups:
    return Groups(
        groups.objects,
        tuple(groups.members[k] for k in index),
        groups.extent[index],
        groups.weight[index],
    )


def _score(
    groups: Groups,
    choices: Choices,
    index: NDArray[np.int64],
    conditions: Conditions,
    terms: Terms,
    steady: Steady,
) -> float:
    """Of some of the groups, whose choices are known."""
    own = choices.take(index)
    state = State(
        groups=_taken(groups, index),
        conditions=conditions,
        choices=own,
        known=Splits.unknown(len(index), own.table.shape[2]),
        steady=steady,
    )
    return state.score(terms)
