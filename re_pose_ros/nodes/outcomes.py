"""The partitioner's ear: hears what comes of its plans, and tells it on ``plan_outcome``."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray

from re_pose_ros.graph.outcomes import (
    FrameAccount,
    FrameAccounts,
    SentBlock,
    frame_outcome,
    outcome_texts,
    plan_outcome,
    shared_texts,
)
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import TELEMETRY_DEPTH, PipelineNode
from re_pose_ros.nodes.messages import (
    diagnostics_message,
    from_stamp,
    read_detections,
    status_message,
)
from re_pose_ros.partition.base import FrameOutcome
from re_pose_ros.plan import Expectation, Plan


class Outcomes:
    """Follows each plan from its publication to its fused detections; may be used by any thread.

    Attributes:
        not_fused: frames that were given up.
        over_budget: frames that took longer than their budget.
    """

    def __init__(self, node: PipelineNode) -> None:
        self._node = node
        self._accounts = FrameAccounts()
        self._changed = threading.Condition()
        self._heard: dict[str, float] = {}
        self.not_fused = self.over_budget = 0
        self._telemetry = node.subscription(
            DiagnosticArray, "telemetry", self._on_telemetry, qos.reliable(TELEMETRY_DEPTH)
        )
        detections_qos = qos.latched() if node.lockstep else qos.reliable()
        node.subscription(Detection2DArray, "detections", self._on_detections, detections_qos)
        self._topic = node.publisher(DiagnosticArray, "plan_outcome", qos.reliable())
        self._predicted = node.publisher(Float64, "latency/predicted", qos.reliable())
        node.timer(0.2, self._tell)

    # Of the working thread.

    def wait_for_room(self, limit: int, patience_s: float) -> bool:
        """True when another frame may be planned; frames never fused are given up by time."""
        with self._changed:
            self.not_fused += self._accounts.give_up(time.monotonic() - patience_s)
            if self._accounts.in_flight >= limit:
                self._changed.wait(0.05)
            return self._accounts.in_flight < limit

    def take(self) -> list[FrameOutcome]:
        """What came of the frames fused since the last call."""
        with self._changed:
            accounts = self._accounts.take()
        return [frame_outcome(account) for account in accounts]

    def heard(self) -> dict[str, float]:
        """When each node last told anything, by its name; seconds of the monotonic clock."""
        with self._changed:
            return dict(self._heard)

    def planned(
        self, plan: Plan, expected: Expectation | None, received_s: float, planned_s: float
    ) -> None:
        """A plan is about to be published; times are of the monotonic clock."""
        with self._changed:
            self._accounts.open(FrameAccount(plan, expected, received_s, planned_s))
        if expected is not None:
            self._predicted.publish(Float64(data=float(expected.makespan_ms)))

    def sent(self, plan: Plan, blocks: Sequence[SentBlock]) -> None:
        """All blocks of a plan are on their way."""
        with self._changed:
            self._accounts.sent(plan.stamp_ns, blocks)

    # Callbacks.

    def _on_telemetry(self, message: DiagnosticArray) -> None:
        own = self._node.get_name()
        stamp = from_stamp(message.header.stamp)
        with self._changed:
            for status in message.status:
                if status.name != own:
                    self._heard[status.name] = time.monotonic()
                    values = {pair.key: pair.value for pair in status.values}
                    self._accounts.tell(stamp, status.name, values)
        self._tell()

    def _on_detections(self, message: Detection2DArray) -> None:
        now = time.monotonic()
        # The executor takes one message of each topic at a time; telemetry has more of them, and
        # what belongs to these detections was published before.
        with self._telemetry.handle:
            while taken := self._telemetry.handle.take_message(DiagnosticArray, False):
                self._on_telemetry(taken[0])
        detections, _ = read_detections(message)
        with self._changed:
            self._accounts.fused(from_stamp(message.header.stamp), detections, now)
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        """Publish what has become of frames: beside what was expected, and by worker."""
        with self._changed:
            settled = self._accounts.settle(time.monotonic())
        for account in settled:
            texts = outcome_texts(account)
            outcome = plan_outcome(account)
            if outcome is not None:
                self.over_budget += outcome.over_budget
                level = DiagnosticStatus.WARN if outcome.over_budget else DiagnosticStatus.OK
                status = status_message(self._node.get_name(), level, "", texts)
                self._topic.publish(diagnostics_message(account.plan.stamp_ns, [status]))
            if told := texts | shared_texts(account):
                self._node.telemetry(account.plan.stamp_ns, told)
