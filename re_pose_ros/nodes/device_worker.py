"""The robot's own network as one more worker, whose blocks never leave the process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from re_pose_ros.block_image import scaled_crop
from re_pose_ros.coinference.halves import Halves
from re_pose_ros.detection.profile import Profile, known_accuracy, measure, to_json
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.frame import Frame
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.messages import camera_info_message, detections_message
from re_pose_ros.nodes.slots import SLOT_DEPTH
from re_pose_ros.plan import DEVICE_NAME, Plan, PlannedBlock, Slot
from re_pose_ros.sources.calibration import Calibration


class DeviceWorker:
    """Detects in blocks on the robot, ending at any exit, and answers as a worker does."""

    def __init__(self, node: PipelineNode, halves: Halves) -> None:
        self._node = node
        sizes = node.values.wholes("coinference.input_sizes")
        self._workers = {exit: Worker([halves.at(exit)], sizes) for exit in halves.exits}
        self._profiles = {exit: self._profile(exit) for exit in halves.exits}
        self._answers = {
            Slot(DEVICE_NAME, k): node.publisher(
                Detection2DArray, f"{Slot(DEVICE_NAME, k)}/detections", qos.latched(SLOT_DEPTH)
            )
            for k in range(node.values.whole("slots"))
        }
        self._info = {
            slot: node.publisher(CameraInfo, f"{slot}/camera_info", qos.reliable(SLOT_DEPTH))
            for slot in self._answers
        }
        lease = node.values.real("liveliness_lease")
        presence = node.publisher(String, f"{DEVICE_NAME}/profile", qos.presence(lease))
        presence.publish(String(data=to_json(self._profiles[halves.exits[-1]])))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=DEVICE_NAME)

    def _profile(self, exit: str) -> Profile:
        worker = self._workers[exit]
        profile, _ = known_accuracy(measure(worker, name=DEVICE_NAME, repeats=1), worker, "")
        return profile

    def profile(self, exit: str) -> Profile:
        """What the robot can do where its network ends at ``exit``."""
        return self._profiles[exit]

    def slots(self) -> list[Slot]:
        """Those whose answers somebody takes: the first few, without a gap."""
        items = self._answers.items()
        return [s for s, _ in takewhile(lambda item: item[1].get_subscription_count(), items)]

    def work_on(self, frame: Frame, plan: Plan, calibration: Calibration, exit: str) -> None:
        """Answer the plan's blocks for the robot, in a thread of its own."""
        own = [planned for planned in plan.blocks if planned.slot.worker == DEVICE_NAME]
        for planned in own:
            self._info[planned.slot].publish(
                camera_info_message(calibration, plan.stamp_ns, plan.frame_id, planned.block)
            )
        if own:
            self._pool.submit(self._answer, frame, plan.stamp_ns, own, exit)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _answer(self, frame: Frame, stamp_ns: int, own: Sequence[PlannedBlock], exit: str) -> None:
        started = time.monotonic()
        requests = [
            Request(scaled_crop(frame.image, b.request), b.block, b.request.variant) for b in own
        ]
        found, timings = self._workers[exit].process(requests)
        worked_ms = (time.monotonic() - started) * 1e3
        # Before the answers, so that who has these knows it.
        self._node.telemetry(
            stamp_ns,
            {
                "blocks": len(own),
                "exit": exit,
                "detect_ms": f"{timings.total_ms:.3f}",
                "processing_ms": f"{worked_ms:.3f}",
                **{
                    f"compute_ms/{planned.slot.index}": f"{ms:.3f}"
                    for planned, ms in zip(own, timings.request_ms, strict=True)
                },
            },
            name=DEVICE_NAME,
        )
        for planned, detections in zip(own, found, strict=True):
            self._answers[planned.slot].publish(
                detections_message(detections, stamp_ns, frame.frame_id)
            )
