"""What was seen of each frame while the graph ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from re_pose_ros.detection.profile import Profile
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import Plan
from re_pose_ros.plan_outcome import PlanOutcome, read_blocks


@dataclass(slots=True)
class FrameRecord:
    """One frame, filled in as its messages come.

    Attributes:
        stamp_ns: the camera's time for it.
        index: position in the source; -1 while unknown.
        plan, detections: None while they have not come.
        truth: what is in the frame, in classes of ``Recording.truth_labels``; None where the
            camera does not tell, or it has not come.
        telemetry: key-value pairs by node.
    """

    stamp_ns: int
    index: int = -1
    plan: Plan | None = None
    detections: Detections | None = None
    truth: GroundTruth | None = None
    telemetry: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def value(self, node: str, key: str) -> float | None:
        """A number that ``node`` told of this frame; None where it did not."""
        text = self.telemetry.get(node, {}).get(key)
        return None if text is None else float(text)

    @property
    def outcome(self) -> PlanOutcome | None:
        """What was expected and what happened; None where nothing was, or it has not come."""
        return PlanOutcome.read(self.telemetry.get("partitioner", {}))

    @property
    def clusters(self) -> tuple[Block, ...]:
        """What the plan was made from, where the partitioner tells."""
        return read_blocks(self.telemetry.get("partitioner", {}).get("clusters", ""))

    @property
    def told(self) -> bool:
        """Whether all has come that is told of a frame with a result, but for its truth."""
        partitioner = self.telemetry.get("partitioner", {})
        return (
            self.plan is not None
            and {"camera", "fusion"} <= self.telemetry.keys()
            and "partition_ms" in partitioner
            and ("predicted_ms" in partitioner) == ("happened_ms" in partitioner)
        )


@dataclass(slots=True)
class Recording:
    """All frames by stamp, the class names of detections and of truth, the workers' profiles by
    name, and what the camera says it published.
    """

    frames: dict[int, FrameRecord] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    truth_labels: tuple[str, ...] = ()
    profiles: dict[str, Profile] = field(default_factory=dict)
    frames_published: int | None = None

    def frame(self, stamp_ns: int) -> FrameRecord:
        return self.frames.setdefault(stamp_ns, FrameRecord(stamp_ns))

    def fused(self) -> list[FrameRecord]:
        """The frames with a result, in order."""
        done = [record for record in self.frames.values() if record.detections is not None]
        return sorted(done, key=lambda record: record.stamp_ns)

    def complete(self) -> bool:
        """Whether of every frame with a result all else that is told of it is there as well.

        Topics are matched one by one, so that a result may come seconds before its plan.
        """
        return all(
            record.told and not (self.truth_labels and record.truth is None)
            for record in self.fused()
        )
