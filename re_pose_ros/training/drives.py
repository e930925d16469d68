"""Imagined drives: the groups that the planner has before it from frame to frame.

The planner itself runs, with its tracker, its looks and its costs, but no network does: objects of
a layout move, and workers answer as a profile says. So an agent is trained on what it meets on the
robot: what is left of the budget by looks, weights of tracks and classes, groups of the frame
before.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.detection.size_accuracy import SizeAccuracy
from re_pose_ros.detections import Detections
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.geometry import box_areas, intersections
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import (
    BlockOutcome,
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
)
from re_pose_ros.partition.groups import Floats, Groups, Objects
from re_pose_ros.partition.looks import Looks
from re_pose_ros.partition.outlook import Conditions
from re_pose_ros.partition.policies import Policy, Refiner, followed, greedy, refined
from re_pose_ros.partition.re_pose import STEPS_ON, RePose, RePoseOptions
from re_pose_ros.partition.refine import STEPS, State
from re_pose_ros.plan import Plan, Variant
from re_pose_ros.planning.costs import STRIDE, profiled_pixels
from re_pose_ros.planning.imagined import BYTES_PER_PIXEL, SURE, Imagined
from re_pose_ros.planning.makespan import Network
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.situation import Situation

FRAMES = 10
"""Of a drive."""
INPUTS = (160, 320, 480, 640, 800, 960, 1280)
OVERHEAD_MS = 6.0
"""The robot's own work per frame."""

_SLOTS = 8
_MOST_OBJECTS = 400
_ASTRAY = 0.15
"""Share of the changes to groups that are made by chance."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where the refinement of a frame begins.

    Attributes:
        state: the groups and what there is to look with.
        step: of ``refine.STEPS``, how many are not there to be made.
        situation: what the plan is made from.
    """

    state: State
    step: int
    situation: Situation

    @cached_property
    def found(self) -> float:
        """What a plan would find with the groups as they are; see ``Situation.found``."""
        return self.situation.found(self.state.groups)


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """What came of a drive.

    Attributes:
        beginnings: where refinement began in each of its frames.
        found: share of the objects that were found in the frames after the first; 0 without any.
    """

    beginnings: tuple[Beginning, ...]
    found: float


def beginnings_of(
    layouts: Sequence[Layout],
    profiles: Sequence[Profile],
    count: int,
    seed: int,
    agent: Policy | None = None,
) -> list[Beginning]:
    """Where refinement begins in the frames of so many drives through layouts drawn by chance.

    Groups are changed by an agent, or else by greedy merging and splitting; some by chance, so that
    there are others than these would make.

    Args:
        layouts: each with at least two objects.
        profiles: see ``drive``.
        count: of drives.
        seed: the same gives the same drives.
        agent: see above.
    """
    rng = np.random.default_rng([seed, 32])
    found: list[Beginning] = []
    for own in tqdm(rng.integers(2**31, size=count).tolist(), "driving", unit="drive", leave=False):
        layout = layouts[int(rng.integers(len(layouts)))]
        straying: Refiner = partial(
            refined if agent is None else followed, policy=_straying(agent or greedy, rng)
        )
        found += drive(layout, profiles, own, straying).beginnings
    return found


def drive(layout: Layout, profiles: Sequence[Profile], seed: int, refiner: Refiner) -> Drive:
    """One drive through a layout.

    Networks, workers, link, budget and settings are drawn by chance: a budget for a tenth to all
    of the frame in full resolution, a link on which sending all of it takes a tenth to four
    times the budget.

    Args:
        layout: where objects are, at least one.
        profiles: of networks; the recall of one of them is taken, shifted by up to an octave.
        seed: the same gives the same conditions and objects.
        refiner: what becomes of the groups.
    """
    rng = np.random.default_rng([seed, 31])
    profile, speeds, budget, network = _conditions(layout.frame_size, profiles, rng)
    workers = {f"worker_{k}": speed for k, speed in enumerate(speeds)}
    settings = PartitionSettings(
        whole_size=int(rng.choice([640, 960, 1280])),
        budget_ms=budget,
        unseen_frames=int(rng.choice([5, 10, 10, 20, 60])),
        most_enlarged=float(rng.choice([1.5, 1.5, 2.0])),
        class_balance=float(rng.choice([0.0, 0.5, 0.5, 1.0])),
    )
    imagined = Imagined(profile, seed)
    planner = _Watched(settings, refiner, imagined)
    context = PartitionContext(
        layout.frame_size,
        _SLOTS * len(workers),
        tuple(entry.variant for entry in profile.variants),
        tuple(workers.values()),
        dict.fromkeys(workers, _SLOTS),
        {name: _slowed(profile, name, speed) for name, speed in workers.items()},
    )
    between_ns = int(rng.choice([40, 100, 200]) * 1e6)
    found = []
    for number, truth in enumerate(_moving(layout, rng)):
        stamp_ns = number * between_ns
        planner.truth = truth
        requests = planner.partition(replace(context, stamp_ns=stamp_ns))
        plan = Plan(number, "", assign(requests, context.workers, speed=workers))
        answers = {own.slot: imagined.answer(own, truth) for own in plan.blocks}
        outcomes = []
        for own in plan.blocks:
            cost = imagined.cost(own)
            took = cost.work_ms / workers[own.slot.worker]
            sent = network.transfer_ms(cost.size)
            outcomes.append(BlockOutcome(True, took, sent, cost.size, cost.encode_ms))
        fused = fuse(plan, answers, layout.frame_size, FusionSettings())
        planner.observe(FrameOutcome(fused, plan.blocks, tuple(outcomes), stamp_ns, OVERHEAD_MS))
        found.append(_found(fused, truth))
    looked_for = np.concatenate(found[1:])
    return Drive(tuple(planner.beginnings), float(looked_for.sum() / max(len(looked_for), 1)))


def _found(detections: Detections, truth: GroundTruth) -> NDArray[np.bool_]:
    """(N,) which objects there is a sure detection of, with their class and an IoU of a half."""
    sure = detections.take(detections.confidence >= SURE)
    boxes, others = truth.xyxy.astype(np.float64), sure.xyxy.astype(np.float64)
    shared = intersections(boxes, others)
    union = box_areas(boxes)[:, None] + box_areas(others) - shared
    same = truth.class_id[:, None] == sure.class_id
    return np.asarray(((shared >= 0.5 * union) & same).any(axis=1))


class _Watched(RePose):
    """A planner that remembers where refinement began, and what was there to be found."""

    truth: GroundTruth

    def __init__(self, settings: PartitionSettings, refiner: Refiner, imagined: Imagined) -> None:
        super().__init__(settings, RePoseOptions("greedy"), "watched")
        self._refiner = refiner
        self._imagined = imagined
        self.beginnings: list[Beginning] = []

    def _groups(
        self,
        objects: ObjectDistribution,
        context: PartitionContext,
        conditions: Conditions,
        looks: Looks,
    ) -> Groups:
        self._situation = Situation(
            looks,
            conditions,
            dict(context.workers),
            deepcopy(self._workforce.costs),
            self.settings,
            self._share,
            self._lag_ms,
            self.truth,
            self._imagined,
        )
        return super()._groups(objects, context, conditions, looks)

    def _beginning(self, kept: Objects, objects: ObjectDistribution, left: Conditions) -> State:
        state = super()._beginning(kept, objects, left)
        step = 0 if self._fresh else STEPS - STEPS_ON
        self.beginnings.append(Beginning(state, step, self._situation))
        return state


def _straying(policy: Policy, rng: np.random.Generator) -> Policy:
    """The same policy, with changes by chance."""

    def straying(state: State, step: int) -> int:
        if rng.random() < _ASTRAY:
            return int(rng.choice(np.flatnonzero(state.possible())))
        return policy(state, step)

    return straying


def _conditions(
    frame_size: tuple[int, int], profiles: Sequence[Profile], rng: np.random.Generator
) -> tuple[Profile, list[float], float, Network]:
    """A network on a worker of speed 1, speeds, the budget and the link."""
    known = profiles[int(rng.integers(len(profiles)))]
    count = int(rng.integers(3, len(INPUTS) + 1))
    sizes = sorted(rng.choice(INPUTS, count, replace=False).tolist())
    shift = float(np.exp2(rng.uniform(-0.5, 1.0)))
    pixel = float(np.exp(rng.uniform(np.log(5e-6), np.log(3e-4))))
    base = pixel * float(np.exp(rng.uniform(np.log(2e4), np.log(2e5))))
    entries = []
    for size in sizes:
        nearest = min(known.variants, key=lambda own: abs(own.variant.input_size - size))
        variant = Variant(nearest.variant.model, size)
        time = (base + pixel * profiled_pixels(variant)) * float(rng.uniform(0.9, 1.1))
        entries.append(VariantProfile(variant, time, accuracy=_shifted(nearest.accuracy, shift)))
    profile = Profile("imagined", "cpu", known.labels, tuple(entries))
    speeds = [1.0] * int(rng.choice([1, 2, 3, 4, 4, 4, 6, 8]))
    if rng.random() < 0.5:
        speeds = rng.uniform(0.3, 1.0, len(speeds)).tolist()
    wide, high = canvas_size(frame_size, max(frame_size), STRIDE)
    native = pixel * wide * high
    budget = native * float(np.exp(rng.uniform(np.log(0.1), 0.0))) / sum(speeds)
    budget = max(budget, 2 * entries[0].time_ms / max(speeds))
    send = budget * float(np.exp(rng.uniform(np.log(0.1), np.log(4.0))))
    network = Network(8e-3 * BYTES_PER_PIXEL * frame_size[0] * frame_size[1] / send)
    return profile, speeds, float(np.clip(budget + OVERHEAD_MS, 5.0, 60_000.0)), network


def _shifted(accuracy: SizeAccuracy | None, ratio: float) -> SizeAccuracy | None:
    if accuracy is None:
        return None
    return replace(accuracy, edges=tuple(edge * ratio for edge in accuracy.edges))


def _slowed(profile: Profile, name: str, speed: float) -> Profile:
    entries = [replace(own, time_ms=own.time_ms / speed) for own in profile.variants]
    return replace(profile, worker=name, variants=tuple(entries))


def _moving(layout: Layout, rng: np.random.Generator) -> list[GroundTruth]:
    """The layout's objects in ``FRAMES`` frames: most of them move, some come or go."""
    boxes, classes = layout.boxes.astype(np.float64), layout.class_id
    if len(boxes) > _MOST_OBJECTS:
        kept = rng.choice(len(boxes), _MOST_OBJECTS, replace=False)
        boxes, classes = boxes[kept], classes[kept]
    width, height = layout.frame_size
    if rng.random() < 0.5:
        boxes = boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0)
    count = len(boxes)
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))[:, None]
    step = np.tile(rng.normal(0, 0.15 * rng.random(), (count, 2)) * sizes, 2)
    comes = np.where(rng.random(count) < 0.1, rng.integers(0, FRAMES, count), 0)
    goes = np.where(rng.random(count) < 0.1, rng.integers(0, FRAMES, count), FRAMES)
    return [
        _visible(boxes + number * step, classes, (comes <= number) & (number < goes), width, height)
        for number in range(FRAMES)
    ]


def _visible(
    boxes: Floats,
    classes: NDArray[np.int32],
    there: NDArray[np.bool_],
    width: int,
    height: int,
) -> GroundTruth:
    clipped = boxes.clip(0, (width, height, width, height))
    there = there & ((clipped[:, 2:] - clipped[:, :2]) > 2).all(axis=1)
    tracks = np.arange(len(boxes))[there]
    return GroundTruth.of(clipped[there], classes[there], track_id=tracks)
