"""Merging and splitting groups step by step: what can be done, how it looks, what it gives.

The same for the agent that is trained (``training.partition_env``), the agent that runs on the
robot (``partition.agent``) and the greedy alternative (``partition.policies``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.partition.groups import Floats, Groups, Objects, bin_middles
from re_pose_ros.partition.outlook import Choices, Conditions, Outlook, outlook

MOST = 24
"""Groups that the agent can tell apart; of more, those that cost most."""
STEPS = 8
"""Most changes per frame; the next frame goes on from there."""
GROUP_FEATURES, FRAME_FEATURES = 18, 9
GAINS = slice(13, 15)
"""The features of a group that tell what merging and splitting it gains."""
ACTIONS = 1 + 2 * MOST
"""0 stops; 1 + k merges group k with the one closest to it; 1 + MOST + k splits it."""

Features = NDArray[np.float32]

_BIN_POWERS = np.log2(bin_middles())[:, None] ** np.arange(3)


@dataclass(frozen=True, slots=True)
class Terms:
    """Weights of what makes groups good; see ``State.score``.

    Attributes:
        found: of the share of the objects that are expected to be found.
        makespan: of the share of the budget that is used, which counts against.
        compactness: of the share of the blocks' area that objects cover.
        variance: of the standard deviation of the logarithms of the blocks' areas, against.
        count: of the number of blocks over the number of slots, against.
    """

    found: float = 1.0
    makespan: float = 0.1
    compactness: float = 0.0
    variance: float = 0.0
    count: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Extent (K, 4) and weight (K, BINS) of groups that are not made; see ``Groups``."""

    extent: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The two parts of each of K groups.

    Attributes:
        groups: per group its two parts; None where it cannot be split, or is not known yet.
        known: (K,) where they are known.
        choices: (5, K, 2, V) what can be done with the parts, as of ``Choices``; 0 where unknown.
    """

    groups: tuple[Groups | None, ...]
    known: NDArray[np.bool_]
    choices: Floats

    @classmethod
    def unknown(cls, count: int, variants: int) -> Splits:
        """Of so many groups with so many variants."""
        return cls((None,) * count, np.zeros(count, bool), np.zeros((5, count, 2, variants)))

    def merged(self, a: int, b: int) -> Splits:
        """Where group b, which comes later, is gone and that in place of a is another."""
        groups = (*self.groups[:a], None, *self.groups[a + 1 : b], *self.groups[b + 1 :])
        known = np.concatenate([self.known[:b], self.known[b + 1 :]])
        choices = np.concatenate([self.choices[:, :b], self.choices[:, b + 1 :]], axis=1)
        known[a], choices[:, a] = False, 0.0
        return Splits(groups, known, choices)

    def replaced(self, k: int) -> Splits:
        """Where group k is another, and there is one more at the end."""
        groups = (*self.groups[:k], None, *self.groups[k + 1 :], None)
        known = np.append(self.known, False)
        last = np.zeros_like(self.choices[:, :1])
        choices = np.concatenate([self.choices, last], axis=1)
        known[k], choices[:, k] = False, 0.0
        return Splits(groups, known, choices)


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What groups may become.

    Attributes:
        splits: of the groups that the agent sees.
        joined: per group, what can be done with it and its closest together.
    """

    splits: Splits
    joined: Choices


@dataclass(frozen=True, slots=True)
class Steady:
    """What is the same for all groups of the same objects.

    Attributes:
        total: weight of the objects.
        capacity: worker-milliseconds within the budget.
        features: of the frame: capacity beside the largest look, workers, objects, fixed costs.
    """

    total: float
    capacity: float
    features: tuple[float, float, float, float]

    @classmethod
    def of(cls, objects: Objects, conditions: Conditions) -> Steady:
        """For these objects and conditions."""
        capacity = float(conditions.speeds.sum()) * conditions.budget_ms
        whole = conditions.worth.views(np.array([objects.frame_size], np.float64))
        largest = float(
            conditions.base_ms[-1] + conditions.pixel_ms[-1] * whole.input_pixels[0, -1]
        )
        features = (
            math.log2(capacity / largest) / 3,
            math.log2(len(conditions.speeds)) / 3,
            math.log2(len(objects)) / 8 if len(objects) else -np.inf,
            float(conditions.base_ms.mean()) / conditions.budget_ms * 4,
        )
        return cls(max(float(objects.weight.sum()), 1e-9), capacity, features)


@dataclass(frozen=True, eq=False)
class State:
    """Groups, with all that is asked about them; what not all states are asked, when it is.

    Attributes:
        groups: K of them.
        conditions: what there is to look with.
        choices: what can be done with them.
        known: of the groups' parts, what is known already.
        steady: of what the agent sees of the frame, what does not change with the groups.
        near: a price of time that is probably about right.
    """

    groups: Groups
    conditions: Conditions
    choices: Choices
    known: Splits
    steady: Steady
    near: float | None = None

    @classmethod
    def of(cls, groups: Groups, conditions: Conditions) -> State:
        """The state of these groups."""
        choices = Choices.of(groups.weight, groups.sides, conditions)
        steady = Steady.of(groups.objects, conditions)
        known = Splits.unknown(len(groups), choices.table.shape[2])
        return cls(groups, conditions, choices, known, steady)

    def _followed_by(self, groups: Groups, choices: Choices, known: Splits) -> State:
        """The state of groups most of which are those of this one."""
        return State(groups, self.conditions, choices, known, self.steady, self.outlook.price)

    @cached_property
    def outlook(self) -> Outlook:
        """What a plan for the groups would achieve."""
        return outlook(self.choices, self.conditions, self.near)

    @cached_property
    def closest(self) -> NDArray[np.int64]:
        """(K,) the group to merge each with; -1 where it is alone."""
        if len(self.groups) < 2:
            return np.full(len(self.groups), -1, np.int64)
        return self.groups.gaps().argmin(axis=1)

    @cached_property
    def changes(self) -> Changes:
        """What merging and splitting could lead to, reckoned in one go."""
        known = self.known
        new = [k for k in self.order.tolist() if known.groups[k] is None]
        parts = [(k, own) for k, own in zip(new, self.groups.parts(new), strict=True) if own]
        tried: list[Groups | Joined] = [own for _, own in parts]
        if len(self.groups) > 1:
            tried.append(self.joined)
        if not tried:
            return Changes(known, self.choices.take(slice(0)))
        extent = np.concatenate([own.extent for own in tried])
        weight = np.concatenate([own.weight for own in tried])
        choices = Choices.of(weight, extent[:, 2:] - extent[:, :2], self.conditions)
        joined = choices.take(slice(2 * len(parts), None))
        if not parts:
            return Changes(known, joined)
        groups, there, table = list(known.groups), known.known.copy(), known.choices.copy()
        for k, own in parts:
            groups[k] = own
        places = [k for k, _ in parts]
        there[places] = True
        both = choices.table[:, : 2 * len(parts)]
        table[:, places] = both.reshape(len(table), len(parts), 2, -1)
        return Changes(Splits(tuple(groups), there, table), joined)

    @cached_property
    def joined(self) -> Joined:
        """Each group together with its closest."""
        groups, other = self.groups, self.groups.extent[self.closest]
        low = np.minimum(groups.extent[:, :2], other[:, :2])
        high = np.maximum(groups.extent[:, 2:], other[:, 2:])
        weight = groups.weight + groups.weight[self.closest]
        return Joined(np.concatenate([low, high], axis=1), weight)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The groups that the agent sees, at most MOST of them: those with most work first."""
        return np.argsort(-self.choices.work[:, -1], kind="stable")[:MOST]

    def score(self, terms: Terms) -> float:
        """How good the groups are, about 0 to 1.

        RE-POSE rewards compactness, a low variance of the areas and few clusters. What these stand
        for can be reckoned here: objects found within the budget, and the makespan. Both kinds of
        terms are ours in form and weight.
        """
        if not len(self.groups) or not self.groups.objects.weight.any():
            return 0.0
        view, conditions = self.outlook, self.conditions
        good = terms.found * view.value / self.steady.total
        good -= terms.makespan * view.makespan_ms / conditions.budget_ms
        areas = self.groups.sides.prod(axis=1)
        if terms.compactness:
            objects = np.square(self.groups.objects.size).sum()
            good += terms.compactness * float(min(objects / areas.sum(), 1.0))
        if terms.variance:
            good -= terms.variance * float(np.log(areas).std())
        if terms.count:
            good -= terms.count * len(self.groups) / conditions.slots
        return good

    def applied(self, action: int) -> State | None:
        """The state after an action; None where it stops or cannot be done."""
        order = self.order
        if action == 0:
            return None
        k = (action - 1) % MOST
        if k >= len(order):
            return None
        group = int(order[k])
        if action <= MOST:
            other = int(self.closest[group])
            if other < 0:
                return None
            both = self.changes.joined.take(slice(group, group + 1))
            a, b = min(group, other), max(group, other)
            return self._followed_by(
                self.groups.merged(a, b),
                self.choices.merged(a, b, both),
                self.changes.splits.merged(a, b),
            )
        splits = self.changes.splits
        parts = splits.groups[group]
        if parts is None:
            return None
        return self._followed_by(
            self.groups.replaced(group, parts),
            self.choices.replaced(group, Choices(splits.choices[:, group])),
            splits.replaced(group),
        )

    def possible(self) -> NDArray[np.bool_]:
        """(ACTIONS,) which actions can be done."""
        order = self.order
        mask = np.zeros(ACTIONS, bool)
        mask[0] = True
        mask[1 : 1 + len(order)] = self.closest[order] >= 0
        mask[1 + MOST : 1 + MOST + len(order)] = self.changes.splits.known[order]
        return mask

    def observed(self, step: int) -> tuple[Features, Features]:
        """What the agent sees: (MOST, GROUP_FEATURES) and (FRAME_FEATURES,), about -3 to 3.

        Rows beyond the last group are zero. All are free of units, so that one agent serves frames,
        networks, workers and budgets of all sizes.
        """
        rows, frame = self._features
        frame = frame.copy()
        frame[-1] = step / STEPS
        return rows, frame

    @cached_property
    def _features(self) -> tuple[Features, Features]:
        """As ``observed`` before the first step."""
        rows = np.zeros((MOST, GROUP_FEATURES), np.float32)
        rows[: len(self.order)] = _group_features(self)[self.order]
        rows.setflags(write=False)
        return rows, _frame_features(self)


def _group_features(state: State) -> Floats:
    groups, conditions, choices = state.groups, state.conditions, state.choices
    width, height = groups.objects.frame_size
    total = state.steady.total
    net, choice = choices.best(state.outlook.price)
    places = choice + np.arange(len(groups)) * choices.value.shape[1]
    value, work, send, scale = (
        of.ravel()[places] for of in (choices.value, choices.work, choices.send, choices.scale)
    )
    moments = groups.weight @ _BIN_POWERS
    own = np.maximum(moments[:, 0], 1e-9)
    mean_log = moments[:, 1] / own
    spread = np.sqrt(np.maximum(moments[:, 2] / own - np.square(mean_log), 0.0))
    sides = np.log2(groups.sides)
    merge_gain, split_gain = gains(state, net)
    budget = conditions.budget_ms
    work_share = 2 / conditions.speeds[0] / budget
    # Row by row, which numpy is faster at than column by column.
    features = np.empty((GROUP_FEATURES, len(groups)))
    left, top, right, bottom = groups.extent.T
    features[0] = (left + right) / width - 1
    features[1] = (top + bottom) / height - 1
    features[2] = (sides[:, 0] - math.log2(width)) / 3
    features[3] = (sides[:, 1] - math.log2(height)) / 3
    features[4] = np.log2([len(members) for members in groups.members]) / 4
    features[5] = own / total * 4
    features[6] = (mean_log - (sides[:, 0] + sides[:, 1]) / 2) / 3
    features[7] = spread
    features[8] = value / own
    features[9] = net / total * 8
    features[10] = work * work_share
    features[11] = send * (8 / budget)
    features[12] = np.log2(scale)
    features[GAINS] = merge_gain, split_gain
    features[GAINS] *= 16 / total
    features[15] = _gap_shares(state)
    features[16] = choices.work[:, 0] * work_share
    features[17] = net <= 0
    bounded = features[13:16]
    np.maximum(bounded, -3, out=bounded)
    np.minimum(bounded, 3, out=bounded)
    return features.T


def _gap_shares(state: State) -> Floats:
    """What merging each group with its closest would show needlessly, as a share of both."""
    if len(state.groups) < 2:
        return np.zeros(len(state.groups))
    (left, top, right, bottom), (width, height) = state.joined.extent.T, state.groups.sides.T
    areas, around = width * height, (right - left) * (bottom - top)
    return np.asarray(around / (areas + areas[state.closest]) - 1)


def gains(state: State, net: Floats) -> tuple[Floats, Floats]:
    """What merging each group with its closest, and splitting it, would add at the price."""
    price, changes = state.outlook.price, state.changes
    _, value, _, _, time = changes.splits.choices
    parts = np.maximum((value - price * time).max(axis=2), 0.0)
    split = np.where(changes.splits.known, parts[:, 0] + parts[:, 1] - net, -1.0)
    if len(net) < 2:
        return np.full(len(net), -1.0), split
    return changes.joined.best(price)[0] - net - net[state.closest], split


def _frame_features(state: State) -> Features:
    view, steady, count = state.outlook, state.steady, len(state.groups)
    return np.array(
        [
            view.value / steady.total,
            view.makespan_ms / state.conditions.budget_ms,
            math.log2(max(view.price, 1e-6) * steady.capacity / steady.total) / 4,
            *steady.features[:2],
            math.log2(count / len(state.conditions.speeds)) / 3 if count else -np.inf,
            *steady.features[2:],
            0.0,  # the step
        ],
        np.float32,
    )
