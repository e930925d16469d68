"""One method on one frame: planned, encoded, detected by a pool of workers, fused, and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from re_pose_ros.bench.methods import Method
from re_pose_ros.bench.pool import CLOCKS, Answer, Clock, Pool, Task
from re_pose_ros.block_image import scaled_crop
from re_pose_ros.detections import Detections
from re_pose_ros.frame import Frame
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import FrameOutcome
from re_pose_ros.plan import Plan, PlannedBlock
from re_pose_ros.planning.makespan import BlockCost, Network, makespan_ms


@dataclass(frozen=True)
class Conditions:
    """What holds for all methods.

    Attributes:
        speeds: work per time of each worker that is planned for, by name.
        network: what blocks travel on.
        fusion: how the blocks' answers become one.
        jpeg_quality: of the blocks, 1 to 100.
        observed_confidence: methods learn from detections of at least this confidence.
        clock: what the robot's times are taken by; see ``pool.Detector``.
    """

    speeds: Mapping[str, float]
    network: Network
    fusion: FusionSettings
    jpeg_quality: int = 90
    observed_confidence: float = 0.25
    clock: Clock = "wall"


@dataclass(frozen=True, slots=True)
class Timing:
    """One method on one frame, in milliseconds and bytes.

    Attributes:
        latency_ms: by the clock, from having the frame to having its detections, with the pool.
        makespan_ms: computed for the workers that are planned for; see ``makespan``.
        serial_ms: all blocks one after the other on one core: decoding and detecting.
        partition_ms: planning, on the robot.
        encode_ms: cropping, shrinking and JPEG of all blocks, on the robot.
        decode_ms: of all blocks; part of ``serial_ms``.
        transfer_ms: of all blocks one after the other; computed.
        fusion_ms: fusion and what the method learns from it, on the robot.
        blocks: how many.
        sent_bytes: of all blocks.
        held_up: wall over processor time of the block with the most; above 1 other programs used
            the core.
    """

    latency_ms: float
    makespan_ms: float
    serial_ms: float
    partition_ms: float
    encode_ms: float
    decode_ms: float
    transfer_ms: float
    fusion_ms: float
    blocks: int
    sent_bytes: int
    held_up: float


@dataclass(frozen=True, slots=True)
class _Looked:
    """A frame's plan, what was sent, what came back, and the robot's times."""

    plan: Plan
    tasks: tuple[Task, ...]
    encode_ms: tuple[float, ...]
    detections: Detections
    partition_ms: float
    fusion_ms: float
    latency_ms: float


def look(
    method: Method, frame: Frame, truth: GroundTruth, pool: Pool, conditions: Conditions
) -> Detections:
    """What ``method`` finds in the next frame, with nothing measured."""
    return _look(method, frame, truth, pool, conditions).detections


def look_and_measure(
    method: Method, frame: Frame, truth: GroundTruth, pool: Pool, conditions: Conditions
) -> tuple[Detections, Timing]:
    """As ``look``, and then each block once more, alone, on the pool's first core.

    Raises:
        InputError: a worker of the pool ended or failed.
    """
    looked = _look(method, frame, truth, pool, conditions)
    alone = [_alone(pool, task) for task in looked.tasks]
    costs = [
        BlockCost(planned.slot.worker, encode, len(task.data), one.decode_ms + one.detect_ms)
        for planned, encode, task, one in zip(
            looked.plan.blocks, looked.encode_ms, looked.tasks, alone, strict=True
        )
    ]
    sent = sum(cost.size for cost in costs)
    return looked.detections, Timing(
        latency_ms=looked.latency_ms,
        makespan_ms=makespan_ms(
            costs, looked.partition_ms, looked.fusion_ms, conditions.network, conditions.speeds
        ),
        serial_ms=sum(cost.work_ms for cost in costs),
        partition_ms=looked.partition_ms,
        encode_ms=sum(looked.encode_ms),
        decode_ms=sum(one.decode_ms for one in alone),
        transfer_ms=conditions.network.transfer_ms(sent),
        fusion_ms=looked.fusion_ms,
        blocks=len(costs),
        sent_bytes=sent,
        held_up=max((one.held_up for one in alone), default=1.0),
    )


def _alone(pool: Pool, task: Task) -> Answer:
    (answer,) = pool.run([(0, Task(task.data, task.roi, task.variant, task.job, rehearsed=True))])
    return answer


def _look(
    method: Method, frame: Frame, truth: GroundTruth, pool: Pool, conditions: Conditions
) -> _Looked:
    clock = CLOCKS[conditions.clock]
    begin, planning = time.perf_counter(), clock()
    plan = Plan(frame.index, frame.frame_id, method.plan(frame, truth))
    partition_ms = (clock() - planning) * 1e3
    tasks, encode_ms = [], []
    for block in plan.blocks:
        encoding = clock()
        data = encode_jpeg(scaled_crop(frame.image, block.request), conditions.jpeg_quality)
        encode_ms.append((clock() - encoding) * 1e3)
        tasks.append(Task(data, block.block, block.request.variant, method.job))
    answers = pool.run(list(zip(_spread(plan.blocks, len(pool.cores)), tasks, strict=True)))
    fusing = clock()
    found = {
        planned.slot: answer.detections
        for planned, answer in zip(plan.blocks, answers, strict=True)
    }
    detections = fuse(plan, found, frame.size, conditions.fusion)
    sure = detections.confidence >= conditions.observed_confidence
    method.observe(FrameOutcome(detections.take(sure), plan.blocks))
    return _Looked(
        plan,
        tuple(tasks),
        tuple(encode_ms),
        detections,
        partition_ms,
        fusion_ms=(clock() - fusing) * 1e3,
        latency_ms=(time.perf_counter() - begin) * 1e3,
    )


def _spread(blocks: Sequence[PlannedBlock], cores: int) -> list[int]:
    """Which core takes which block, where there may be fewer cores than workers planned for."""
    names = {f"core_{k:04}": k for k in range(cores)}
    requests = [planned.request for planned in blocks]
    placed = assign(requests, dict.fromkeys(names, len(blocks)))
    return [names[planned.slot.worker] for planned in placed]
