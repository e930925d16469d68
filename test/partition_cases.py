"""Frames, networks and workers at random, for tests of what plans blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import bench_model
import numpy as np

from re_pose_ros.bench.profiles import worker_profiles
from re_pose_ros.detection.profile import Profile
from re_pose_ros.detections import Detections
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.distribution.detectability import usual_recall
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import (
    BlockOutcome,
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
)
from re_pose_ros.partition.groups import Floats, Groups, Objects
from re_pose_ros.partition.outlook import Conditions
from re_pose_ros.partition.re_pose import RePose, RePoseOptions
from re_pose_ros.partition.refine import State
from re_pose_ros.partition.workforce import input_area
from re_pose_ros.partition.worth import Worth
from re_pose_ros.plan import BlockRequest, PlannedBlock, Variant
from re_pose_ros.planning.costs import profiled_pixels
from re_pose_ros.planning.makespan import BlockCost, Network, makespan_ms

FRAME = (3840, 2160)
INPUTS = (160, 320, 480, 640)
PROFILE = bench_model.profile(sizes=INPUTS)
SLOWNESS = 4.0
"""By how much the workers of ``context`` are slower than ``PROFILE``."""
OVERHEAD = 5.0
"""Milliseconds of the robot's own work per frame, in ``step``."""


def recall(model: str, sizes: Floats) -> Floats:
    """Rising with the size, as ``partition.worth`` takes it."""
    return np.asarray(usual_recall(None, sizes))


def crowd(
    random: np.random.Generator, count: int, frame_size: tuple[int, int] = FRAME
) -> ObjectDistribution:
    """Objects in some bunches, of sizes and weights that vary, within the frame."""
    if not count:
        return ObjectDistribution.empty()
    size = np.array(frame_size, float)
    bunches = random.uniform(0.1, 0.9, (4, 2)) * size
    middles = bunches[random.integers(0, 4, count)] + random.normal(0, 0.04, (count, 2)) * size
    sides = (
        size.max() * 2.0 ** random.uniform(-8, -5, (count, 1)) * random.uniform(0.5, 1, (count, 2))
    )
    middles = np.clip(middles, sides / 2, size - sides / 2)
    boxes = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)
    return ObjectDistribution.of(
        boxes,
        weight=random.uniform(0.1, 1.0, count),
        sigma=random.uniform(0.0, 0.2, (count, 2)) * sides,
    )


def objects(
    seed: int, count: int, frame_size: tuple[int, int] = FRAME, least: float = 96.0
) -> Objects:
    found = crowd(np.random.default_rng(seed), count, frame_size)
    return Objects.of(found, frame_size, margin=0.5, least=least)


def grouped(known: Objects, count: int, seed: int = 0) -> Groups:
    """Objects in up to so many groups, by chance."""
    labels = np.random.default_rng([seed, 1]).integers(0, count, len(known))
    return Groups.labelled(known, np.unique(labels, return_inverse=True)[1].reshape(-1))


def conditions(
    seed: int = 0,
    *,
    workers: int = 4,
    inputs: Sequence[int] = INPUTS,
    budget_ms: float = 100.0,
    slots: int = 32,
) -> Conditions:
    """Networks and unequal workers."""
    random = np.random.default_rng([seed, 2])
    return Conditions(
        Worth.of([Variant("net", size) for size in inputs], recall, 2.0),
        random.uniform(2, 6, len(inputs)),
        np.full(len(inputs), random.uniform(2e-5, 3e-4)),
        float(random.uniform(1e-6, 2e-5)),
        np.sort(random.uniform(0.3, 1.0, workers))[::-1],
        slots,
        budget_ms,
    )


def state(seed: int, count: int = 30, groups: int = 6, budget_ms: float = 100.0) -> State:
    known = objects(seed, count)
    return State.of(grouped(known, groups, seed), conditions(seed, budget_ms=budget_ms))


def context(
    speeds: Mapping[str, float] | None = None,
    *,
    frame_size: tuple[int, int] = FRAME,
    inputs: Sequence[int] = INPUTS,
    slots: int = 8,
    profile: Profile | None = None,
) -> PartitionContext:
    """A frame for workers of these speeds, each with the profile divided by it."""
    speeds = speeds or dict.fromkeys(("edge_0", "edge_1", "edge_2", "edge_3"), 1.0)
    profile = profile or slowed(bench_model.profile(sizes=tuple(inputs)), SLOWNESS)
    return PartitionContext(
        frame_size,
        slots * len(speeds),
        tuple(entry.variant for entry in profile.variants),
        tuple(speeds.values()),
        dict.fromkeys(speeds, slots),
        worker_profiles(profile, speeds),
    )


def planner(
    settings: PartitionSettings | None = None, options: RePoseOptions | None = None
) -> RePose:
    """That merges and splits by rule, as the agent of the package has tests of its own."""
    return RePose(settings or PartitionSettings(), options or RePoseOptions("greedy"))


def placed(requests: Sequence[BlockRequest], where: PartitionContext) -> tuple[PlannedBlock, ...]:
    return assign(requests, where.workers)


def seen(boxes: object, confidence: float = 0.9) -> Detections:
    corners = np.asarray(boxes, float).reshape(-1, 4)
    return Detections.of(corners, np.full(len(corners), confidence), np.zeros(len(corners)))


def outcome(
    blocks: tuple[PlannedBlock, ...],
    detections: Detections,
    profile: Profile,
    *,
    slowness: Mapping[str, float] | None = None,
    mbit_s: float = 100.0,
    bytes_per_pixel: float = 0.25,
    overhead_ms: float | None = None,
    stamp_ns: int | None = None,
) -> FrameOutcome:
    """What came of blocks on workers that take the profile's times, or a multiple of them."""
    times = []
    for planned in blocks:
        variant = planned.request.variant
        assert variant is not None
        area = input_area(planned.block.width, planned.block.height, variant)
        size = max(int(np.prod(planned.request.image_size) * bytes_per_pixel), 1)
        factor = (slowness or {}).get(planned.slot.worker, 1.0)
        times.append(
            BlockOutcome(
                True,
                factor * profile_ms(profile, variant, area),
                0.5 + size * 8e-3 / mbit_s,
                size,
                6e-6 * float(np.prod(planned.request.image_size)),
            )
        )
    return FrameOutcome(detections, blocks, tuple(times), stamp_ns, overhead_ms)


def profile_ms(profile: Profile, variant: Variant, area: float) -> float:
    """The time of a network on an input of so many pixels, between those of its inputs."""
    known = sorted((profiled_pixels(e.variant), e.time_ms) for e in profile.variants)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(known)]
    entry = profile.find(variant)
    assert entry is not None
    slope = slopes[0] if slopes else entry.time_ms / profiled_pixels(variant)
    return max(entry.time_ms + slope * (area - profiled_pixels(variant)), 0.2 * entry.time_ms)


def slowed(profile: Profile, factor: float) -> Profile:
    """With its times multiplied."""
    entries = (replace(entry, time_ms=entry.time_ms * factor) for entry in profile.variants)
    return replace(profile, variants=tuple(entries))


def step(
    planner: RePose,
    where: PartitionContext,
    detections: Detections,
    *,
    slowness: dict[str, float] | None = None,
    mbit_s: float = 100.0,
) -> tuple[list[BlockRequest], float]:
    """One frame: what was asked for, and when it was done on workers and a link like these."""
    requests = planner.partition(where)
    blocks = placed(requests, where)
    came = outcome(
        blocks,
        detections,
        USUAL,
        slowness=slowness,
        mbit_s=mbit_s,
        overhead_ms=OVERHEAD,
    )
    planner.observe(came)
    costs = [
        BlockCost(b.slot.worker, o.encode_ms or 0, o.sent_bytes or 0, o.compute_ms or 0)
        for b, o in zip(blocks, came.outcomes, strict=True)
    ]
    return requests, makespan_ms(costs, OVERHEAD, 0.0, Network(mbit_s), {})


USUAL = slowed(PROFILE, SLOWNESS)
"""Of the workers of ``context`` that are of speed 1."""
