"""RE-POSE: blocks refined by a learned agent, networks and workers chosen within a budget.

After RE-POSE (arXiv 2501.09465) as far as it is public: objects from recent detections and coarse
looks, mean shift with a non-linear transform of y, an agent trained by PPO that merges and splits
clusters, a multiple-choice knapsack for the networks, parallel offload. Everything else is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Literal

import numpy as np

from re_pose_ros.distribution import (
    Coverage,
    LookSchedule,
    LookSettings,
    ObjectDistribution,
    Surprise,
    Tracker,
)
from re_pose_ros.distribution.schedule import changed_share
from re_pose_ros.geometry import Block, enclosing_block
from re_pose_ros.partition.agent import Agent
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.partition.beginnings import carried_over, clustered, labels_of
from re_pose_ros.partition.blocks import TOLERATED, Chosen, by_rule, chosen_blocks
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.partition.groups import Groups, Objects, class_counts
from re_pose_ros.partition.looks import Looks, grid_looks, region_looks
from re_pose_ros.partition.outlook import Choices, Conditions
from re_pose_ros.partition.policies import Refiner, followed, greedy, refined
from re_pose_ros.partition.refine import STEPS, State, Terms
from re_pose_ros.partition.workforce import Workforce
from re_pose_ros.plan import BlockRequest, Expectation

Refinement = Literal["agent", "greedy", "none"]

MARGIN = 0.5
"""What a block shows around an object on each side, in sizes of the object."""
LEAST_BLOCK = 96.0
"""Least side of a block in pixels."""
DOUBT = 2.0
"""Power by which the tracker's weights are taken, which are surer than they should be where one
thing is detected again and again. A higher one would be nearer to how often objects are there, but
what is improbable shows where else to look. Chosen on scenes with seeds from 500 on."""
DOUBTED_FROM = 5
"""Frames after which all of that holds; a weight after one frame is the detector's confidence."""
LEAST_CONFIDENCE = 0.1
"""Detections of less are no objects, not even improbable ones."""
LEAST_WEIGHT = 0.1
"""Objects that are less probable are not planned for."""
MOST_OBJECTS = 200
"""Of more, the most probable are planned for."""
LEAST_BUDGET = 1.0
"""Milliseconds that are planned with where the robot's own work leaves less."""
COUNTED = 0.9
"""Share of a look's resolution from which on a block counts as a look."""
LOOK_EVERY = 1000
"""Frames from one look at everything to the next, where nothing gives cause for one."""
LAGS = 7
"""Frames whose lag behind what was expected is heeded, by its median."""
MOST_LAG = 0.5
"""Share of the budget that is set aside for that at most."""
LEAST_LEFT = 0.2
"""Share of the budget that looks leave at least, as refining sees it."""
STEPS_ON = 2
"""Most changes per frame to the groups of the frame before; fresh clusters get more."""
TERMS = Terms()
LOOK_OVERLAP = 48.0
"""By how many pixels the parts of a look at everything overlap."""
MOST_PARTS = 4
"""Parts per side of a look at everything, at most."""


@dataclass(frozen=True, slots=True)
class RePoseOptions:
    """Which parts of the method are used; all of them but for ablations.

    Attributes:
        refinement: what merges and splits the initial clusters.
        tracking: predict the objects; without, those of the last frame are taken as they were.
        knapsack: choose networks and workers jointly; without, as ``clusters`` does.
        perspective: transform y before clustering.
    """

    refinement: Refinement = "agent"
    tracking: bool = True
    knapsack: bool = True
    perspective: bool = True


class RePose:
    """Plans each frame for the objects that are expected in it.

    Where nothing is known of the workers (none has a profile), it does as ``clusters`` does.
    """

    def __init__(
        self,
        settings: PartitionSettings,
        options: RePoseOptions | None = None,
        name: str = "re_pose",
    ) -> None:
        """Raises InputError where the agent's policy is missing."""
        self.name = name
        self.settings = settings
        self.options = options or RePoseOptions()
        self.notes: tuple[str, ...] = ()
        self.expected: Expectation | None = None
        self._refiner = _refiner(self.options.refinement)
        self._workforce = Workforce()
        self._schedule = LookSchedule(LookSettings(every=LOOK_EVERY))
        self._fallback = Clusters(settings)
        self._known: ObjectDistribution | None = None
        self._size: tuple[int, int] | None = None
        self._surprise: Surprise | None = None
        self._last: FrameOutcome | None = None
        self._expected = ObjectDistribution.empty()
        self._labels: dict[int, int] = {}
        self._fresh = True
        self._share = 1.0
        self._lags: deque[float] = deque(maxlen=LAGS)
        self._seen_frames = 0

    @property
    def _lag_ms(self) -> float:
        """By how much frames are done later than costs and overhead tell, of the latest few."""
        if not self._lags:
            return 0.0
        return min(max(median(self._lags), 0.0), MOST_LAG * self.settings.budget_ms)

    def know(self, objects: ObjectDistribution) -> None:
        """What is to be found, in place of what the tracker expects, until told otherwise."""
        self._known = objects

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        self._fallback.settings = self.settings
        self.expected = None
        workers = {name: n for name, n in context.workers.items() if name in context.profiles}
        if not workers or not context.variants:
            lacking = "have a network in common" if workers else "has told its profile"
            self.notes = (f"no worker{'s' * bool(workers)} {lacking}; blocks as of clusters",)
            return self._fallback.partition(context)
        others = sorted(set(context.workers) - set(workers))
        self.notes = (f"no blocks for {', '.join(others)}: they have no profile",) if others else ()
        self._begin(context)
        self._workforce.meet({name: context.profiles[name] for name in workers})
        left = self._workforce.costs.budget_ms(self.settings.budget_ms) - self._lag_ms
        left = max(left, LEAST_BUDGET)
        conditions = self._workforce.conditions(
            workers, context.variants, left, self.settings.most_enlarged
        )
        objects = self._expected = self._objects(context)
        offered = self._looks(context)
        # Which look at everything is taken depends on the groups: refine for the smallest.
        groups = self._groups(objects, context, conditions, offered[0])
        chosen = self._best(groups, offered, conditions, workers)
        if not chosen.requests:
            nothing = Groups.of(_empty(context.frame_size), [])
            chosen = self._best(nothing, self._grids(context), conditions, workers)
        self._share = chosen.share
        self.expected = self._expectation(chosen, groups)
        return list(chosen.requests)

    def observe(self, outcome: FrameOutcome) -> None:
        self._fallback.observe(outcome)
        if self._size is None:
            return
        self._workforce.observe(outcome, self._expected)
        if outcome.makespan_ms is not None and self.expected is not None:
            # What was expected holds the lag that was reckoned with.
            expected = self.expected.makespan_ms - self._lag_ms
            self._lags.append(outcome.makespan_ms - expected)
        found = outcome.detections.take(outcome.detections.confidence >= LEAST_CONFIDENCE)
        self._last = outcome
        self._surprise = self._tracker.update(
            found,
            outcome.blocks,
            outcome.stamp_ns,
            answered=outcome.answered,
            recall=self._workforce.recall,
        )
        self._coverage.look(outcome.blocks, outcome.answered)
        self._seen_frames += 1

    def _begin(self, context: PartitionContext) -> None:
        """Forget all frames where this one is of another size."""
        scale = COUNTED * self.settings.whole_size / max(context.frame_size)
        if context.frame_size == self._size:
            self._coverage.least_scale = scale
            return
        self._size = context.frame_size
        self._tracker = Tracker(context.frame_size)
        self._coverage: Coverage = Coverage(context.frame_size, least_scale=scale)
        self._schedule.reset()
        self._surprise = None
        self._thumbnail = context.thumbnail
        self._last = None
        self._labels = {}
        self._seen_frames = 0

    def _objects(self, context: PartitionContext) -> ObjectDistribution:
        if self._known is not None:
            return self._known
        if self.options.tracking:
            found = self._tracker.predict(context.stamp_ns)
            doubt = 1 + (DOUBT - 1) * min(self._seen_frames / DOUBTED_FROM, 1.0)
            found = replace(found, weight=found.weight**doubt)
        elif self._last is not None:
            seen = self._last.detections
            found = ObjectDistribution.of(seen.xyxy, seen.class_id, weight=seen.confidence)
            found = found.take(np.argsort(-found.weight, kind="stable"))
        else:
            found = ObjectDistribution.empty()
        return found.take((found.weight >= LEAST_WEIGHT).nonzero()[0][:MOST_OBJECTS])

    def _look_at_everything(self, context: PartitionContext) -> bool:
        changed = 0.0
        if context.thumbnail is not None and self._thumbnail is not None:
            changed = changed_share(self._thumbnail, context.thumbnail)
        due = self._schedule.due(self._surprise, changed) is not None
        self._schedule.planned(due)
        if due:
            self._thumbnail = context.thumbnail
        return due

    def _looks(self, context: PartitionContext) -> list[Looks]:
        """What is to be looked at: in one way, or in the best of several ways."""
        if self._look_at_everything(context):
            return self._grids(context)
        regions = region_looks(
            self._coverage,
            self.settings.unseen_frames,
            LOOK_OVERLAP,
            self._look_scale(context),
            max(self._seen_frames, 1),
        )
        return [regions]

    def _grids(self, context: PartitionContext) -> list[Looks]:
        """Looks at everything, from one block to many small ones."""
        shown = self._look_scale(context)
        return [
            grid_looks(context.frame_size, per_side, LOOK_OVERLAP, 0.0, shown)
            for per_side in range(1, MOST_PARTS + 1)
        ]

    def _look_scale(self, context: PartitionContext) -> float:
        return self.settings.whole_size / max(context.frame_size)

    def _groups(
        self,
        objects: ObjectDistribution,
        context: PartitionContext,
        conditions: Conditions,
        looks: Looks,
    ) -> Groups:
        """The clusters of the objects, refined for what the looks leave of the budget."""
        inputs = [variant.input_size for variant in context.variants]
        # Smaller blocks would be enlarged too much by the smallest input there is.
        least = max(LEAST_BLOCK, min(inputs) / self.settings.most_enlarged)
        counts = class_counts(objects.class_id, objects.weight, self.settings.class_balance)
        kept = Objects.of(objects, context.frame_size, margin=MARGIN, least=least, counts=counts)
        if not len(objects):
            return Groups.of(kept, [])
        left = replace(conditions, budget_ms=_left(conditions, looks))
        if left.budget_ms < LEAST_LEFT * conditions.budget_ms:
            left = conditions
        state = self._refined(self._beginning(kept, objects, left))
        self._labels = labels_of(state.groups, objects.track_id)
        return state.groups

    def _beginning(self, kept: Objects, objects: ObjectDistribution, left: Conditions) -> State:
        """The groups of the frame before, or, where there are none that still hold, clusters."""
        before = None
        if self._refiner is not None and self.options.tracking:
            before = carried_over(kept, objects.track_id, self._labels)
        self._fresh = before is None
        if before is None:
            before = clustered(
                kept,
                objects.xyxy,
                self.settings.bandwidth,
                perspective=self.options.perspective,
            )
        return State.of(before, left)

    def _refined(self, state: State) -> State:
        if self._refiner is None:
            return state
        return self._refiner(state, STEPS if self._fresh else STEPS_ON)

    def _best(
        self,
        groups: Groups,
        offered: Sequence[Looks],
        conditions: Conditions,
        workers: Mapping[str, int],
    ) -> Chosen:
        """Of plans with different looks, the best that is in time; where none is, the soonest."""
        plans = [self._chosen(groups, looks, conditions, workers) for looks in offered]
        latest = self.settings.budget_ms * (1 + TOLERATED)
        in_time = [plan for plan in plans if plan.makespan_ms <= latest]
        if not in_time:
            return min(plans, key=lambda plan: plan.makespan_ms)
        return max(in_time, key=lambda plan: plan.worth)

    def _chosen(
        self, groups: Groups, looks: Looks, conditions: Conditions, workers: Mapping[str, int]
    ) -> Chosen:
        everything = groups, looks, conditions, workers, self._workforce.costs, self.settings
        if not self.options.knapsack:
            return by_rule(*everything)
        return chosen_blocks(*everything, self._share, self._lag_ms)

    def _expectation(self, chosen: Chosen, groups: Groups) -> Expectation:
        size = groups.objects.frame_size
        return Expectation(
            chosen.value,
            chosen.makespan_ms,
            self.settings.budget_ms,
            self.settings.objective,
            chosen.done_ms,
            tuple(_block(extent, size) for extent in groups.extent.tolist()),
        )


def _refiner(refinement: Refinement) -> Refiner | None:
    if refinement == "agent":
        return partial(followed, policy=Agent.load())
    return partial(refined, policy=greedy, terms=TERMS) if refinement == "greedy" else None


def _left(conditions: Conditions, looks: Looks) -> float:
    """The budget per worker without what looks take at the least."""
    if not looks.required.any():
        return conditions.budget_ms
    extent = looks.extent[looks.required]
    choices = Choices.of(looks.weight[looks.required], extent[:, 2:] - extent[:, :2], conditions)
    enough = choices.scale >= looks.scale * 0.999
    work = np.where(enough, choices.work, np.inf).min(axis=1)
    work = np.where(np.isfinite(work), work, choices.work.max(axis=1))
    return conditions.budget_ms - float(work.sum() / conditions.speeds.sum())


def _block(extent: list[float], frame_size: tuple[int, int]) -> Block:
    left, top, right, bottom = extent
    return enclosing_block(left, top, right, bottom, frame_size)


def _empty(frame_size: tuple[int, int]) -> Objects:
    return Objects.of(ObjectDistribution.empty(), frame_size, margin=0.0)
