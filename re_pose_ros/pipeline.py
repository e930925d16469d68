"""The whole per-frame job in one process, without ROS: as the graph in lock-step does it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.block_image import scaled_crop
from re_pose_ros.detection.model import Model, load_model
from re_pose_ros.detection.profile import Profile, known_accuracy, measure
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.detections import Detections
from re_pose_ros.distribution.schedule import thumbnail
from re_pose_ros.errors import InputError
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.partition import make_partitioner
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import (
    BlockOutcome,
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
)
from re_pose_ros.plan import Expectation, Plan, PlannedBlock, Slot
from re_pose_ros.plan_outcome import PlanOutcome
from re_pose_ros.planning.makespan import BlockCost, Network, makespan_ms

T = TypeVar("T")
U = TypeVar("U")

PLANNERS = ("re_pose", "greedy")
"""Partitioners that plan by the workers' profiles; measuring one takes seconds."""
NETWORK = Network()
"""What blocks would travel on, for ``FrameResult.makespan_ms``."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was done for one frame.

    Attributes:
        detections: fused, in frame pixels, strongest first.
        plan: the blocks; ``detections.block`` indexes them.
        stages_ms: partition, encode, decode, detect (all blocks, one after the other) and fusion.
        block_ms: per block of the plan, its share of ``detect``.
        block_bytes: per block of the plan, what was sent for it.
        makespan_ms: when the frame would be done on that many workers, computed by
            ``planning.makespan`` from the measured times of stages and blocks and ``NETWORK``;
            nothing ran side by side, and nothing travelled.
        expected: of the plan; None of methods that expect nothing.
    """

    detections: Detections
    plan: Plan
    stages_ms: Mapping[str, float]
    block_ms: tuple[float, ...]
    block_bytes: tuple[int, ...]
    makespan_ms: float
    expected: Expectation | None = None

    @property
    def outcome(self) -> PlanOutcome | None:
        """What was expected beside what happened, the makespan computed."""
        if self.expected is None:
            return None
        return PlanOutcome.of(self.expected, self.makespan_ms, self.detections)


class Pipeline:
    """Partitions a frame, detects in its blocks and fuses, for frames that follow one another.

    The blocks are laid out for ``workers`` x ``slots`` and pass through JPEG as in the graph, so
    that the detections are those that it would publish; here they run one after the other. Those
    ``PLANNERS`` plan by measured times, so that their blocks differ from run to run.
    """

    def __init__(
        self,
        model: str | Sequence[Model],
        *,
        partitioner: str = "clusters",
        input_sizes: Sequence[int] = (320, 640),
        workers: int = 1,
        slots: int = 8,
        partition: PartitionSettings | None = None,
        fusion: FusionSettings | None = None,
        jpeg_quality: int = 90,
        confidence: float = 0.25,
        device: str = "cpu",
        profile: Profile | None = None,
    ) -> None:
        """Raises InputError where the model, the partitioner or a setting cannot be used.

        Args:
            model: weights that ultralytics loads, or models that are loaded (then ``confidence``
                and ``device`` are theirs).
            partitioner: of ``partition.PARTITIONERS``, as ``clusters`` or ``re_pose``.
            input_sizes: network inputs to choose from, in pixels.
            workers: detectors to plan for.
            slots: blocks that each takes per frame.
            partition: settings of the partitioner.
            fusion: how the blocks' answers become one.
            jpeg_quality: of the blocks, 1 to 100; 0 hands them over as they are.
            confidence: least confidence of a detection.
            device: ``cpu``, ``cuda:0``, ...
            profile: of the networks here, for ``PLANNERS``; None measures it, with the accuracy
                that lies beside the weights.
        """
        if workers < 1 or slots < 1:
            raise InputError(f"a pipeline needs workers and slots, got {workers} x {slots}")
        models = (
            [load_model(model, confidence=confidence, device=device)]
            if isinstance(model, str)
            else model
        )
        self._worker = Worker(models, input_sizes)
        self._slots = {f"edge_{k}": slots for k in range(workers)}
        self._make_partitioner = partial(make_partitioner, partitioner, partition)
        self._fusion = fusion or FusionSettings()
        self._jpeg_quality = jpeg_quality
        self._problems: tuple[str, ...] = ()
        if profile is None and partitioner in PLANNERS:
            measured = measure(self._worker, repeats=2)
            profile, problems = known_accuracy(measured, self._worker, "")
            self._problems = tuple(problems)
        self._profiles = {} if profile is None else dict.fromkeys(self._slots, profile)
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far, as before a new sequence; the networks stay loaded."""
        self._partitioner = self._make_partitioner()
        self._last: FrameOutcome | None = None
        self._frames = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self._worker.labels

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the last frame's blocks; mostly empty."""
        return (*self._problems, *self._partitioner.notes)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """The objects of the next frame, (H, W, 3) uint8 BGR, in its pixels."""
        return self.run(image).detections

    def run(self, image: NDArray[np.uint8]) -> FrameResult:
        """As ``detect``, with plan and times."""
        marks = [("", time.perf_counter())]

        def mark(stage: str) -> None:
            marks.append((stage, time.perf_counter()))

        size = (image.shape[1], image.shape[0])
        # With the next frame, as the graph does it.
        if self._last is not None:
            self._partitioner.observe(self._last)
        requests = self._partitioner.partition(self._context(image))
        plan = Plan(self._frames, "", assign(requests, self._slots))
        mark("partition")
        sent, encode_ms = _timed(partial(self._encoded, image), plan.blocks)
        mark("encode")
        images, decode_ms = _timed(self._received, sent)
        mark("decode")
        answers, block_ms = self._detect(plan.blocks, images)
        mark("detect")
        detections = fuse(plan, answers, size, self._fusion)
        mark("fusion")
        self._frames += 1
        stages = {stage: (end - start) * 1e3 for (_, start), (stage, end) in pairwise(marks)}
        costs = [
            BlockCost(planned.slot.worker, encoding, data.nbytes, decoding + detecting)
            for planned, encoding, data, decoding, detecting in zip(
                plan.blocks, encode_ms, sent, decode_ms, block_ms, strict=True
            )
        ]
        self._last = _outcome(detections, plan, costs, stages)
        return FrameResult(
            detections,
            plan,
            stages,
            block_ms,
            tuple(cost.size for cost in costs),
            makespan_ms(costs, stages["partition"], stages["fusion"], NETWORK, {}),
            self._partitioner.expected,
        )

    def _context(self, image: NDArray[np.uint8]) -> PartitionContext:
        return PartitionContext(
            (image.shape[1], image.shape[0]),
            sum(self._slots.values()),
            tuple(sorted(self._worker.variants)),
            (1.0,) * len(self._slots),
            self._slots,
            self._profiles,
            None,
            thumbnail(image),
        )

    def _encoded(
        self, image: NDArray[np.uint8], planned: PlannedBlock
    ) -> memoryview | NDArray[np.uint8]:
        crop = scaled_crop(image, planned.request)
        return encode_jpeg(crop, self._jpeg_quality) if self._jpeg_quality else crop

    def _received(self, data: memoryview | NDArray[np.uint8]) -> NDArray[np.uint8]:
        return decode_compressed(data) if isinstance(data, memoryview) else data

    def _detect(
        self, blocks: Sequence[PlannedBlock], images: Sequence[NDArray[np.uint8]]
    ) -> tuple[dict[Slot, Detections], tuple[float, ...]]:
        """Each worker's blocks as one batch, as it would get them."""
        batches: dict[str, list[int]] = defaultdict(list)
        for k, planned in enumerate(blocks):
            batches[planned.slot.worker].append(k)
        answers: dict[Slot, Detections] = {}
        times = [0.0] * len(blocks)
        for members in batches.values():
            members.sort(key=lambda k: blocks[k].slot)
            requests = [
                Request(images[k], blocks[k].block, blocks[k].request.variant) for k in members
            ]
            found, timings = self._worker.process(requests)
            for k, detections, ms in zip(members, found, timings.request_ms, strict=True):
                answers[blocks[k].slot] = detections
                times[k] = ms
        return answers, tuple(times)


def _timed(act: Callable[[T], U], items: Iterable[T]) -> tuple[list[U], list[float]]:
    """What ``act`` makes of each item, and the milliseconds that each took."""
    made, times = [], []
    for item in items:
        start = time.perf_counter()
        made.append(act(item))
        times.append((time.perf_counter() - start) * 1e3)
    return made, times


def _outcome(
    detections: Detections, plan: Plan, costs: Sequence[BlockCost], stages: Mapping[str, float]
) -> FrameOutcome:
    """What the partitioner is to learn; nothing of transfer, as nothing travelled."""
    outcomes = tuple(
        BlockOutcome(compute_ms=cost.work_ms, sent_bytes=cost.size, encode_ms=cost.encode_ms)
        for cost in costs
    )
    overhead_ms = stages["partition"] + stages["fusion"]
    return FrameOutcome(detections, plan.blocks, outcomes, None, overhead_ms)
