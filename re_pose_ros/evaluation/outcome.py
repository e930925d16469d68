"""What came of one frame, whoever ran it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import Plan
from re_pose_ros.plan_outcome import PlanOutcome


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutcome:
    """One frame of an evaluation, offline or live.

    Attributes:
        index: position among the evaluated frames, from 0.
        name: for reports.
        sequence: the frame's ``frame_id``; another one begins another sequence.
        size: (width, height) in pixels.
        truth: in pixels of the frame and classes of the data; None where nothing is known.
        detections: in pixels of the frame and classes of the detector; None where the frame was
            dropped or came too late, so that all of its objects are missed.
        plan: the blocks; None where none was made.
        stages_ms: time by stage.
        block_ms: per block of the plan, the time of its detection; empty where it is not known.
        block_bytes: per block of the plan, what was sent to its worker.
        latency_ms: of the whole frame: offline the sum of the stages, live as measured; None where
            no result came.
        late: live: the result came after the deadline; ``detections`` is None then.
        expected: what the partitioner expected beside what happened: offline the makespan that is
            computed, live as measured; None where nothing was expected.
        clusters: what the blocks were made from, where the partitioner tells.
    """

    index: int
    name: str
    sequence: str
    size: tuple[int, int]
    truth: GroundTruth | None
    detections: Detections | None
    plan: Plan | None
    stages_ms: Mapping[str, float]
    block_ms: tuple[float, ...]
    block_bytes: tuple[int, ...]
    latency_ms: float | None
    late: bool = False
    expected: PlanOutcome | None = None
    clusters: tuple[Block, ...] = ()
