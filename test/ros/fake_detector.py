"""A stand-in for a detector that needs no network: it answers with given boxes after a delay.

Run as a process. Its parameters:
    boxes: six numbers per object, x1 y1 x2 y2 score class_id, in pixels of the whole frame; none:
        it looks for bright areas in the image it gets and reports those.
    delay: seconds from a block to its answer.
    slots, liveliness_lease: as those of the detector.
    labels, variants: what its profile says.
    foreign: behave as somebody else's detector: raw images best effort, no profile, answers in
        pixels of the image it got, with class names, not kept for late comers; ``boxes`` are
        then in pixels of that image too.

It tells of each frame that every block took ``COMPUTE_MS`` and all together ``delay``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import rclpy
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from re_pose_ros.detection.profile import Profile, VariantProfile, to_json
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block, crop_to_full
from re_pose_ros.image_codec import decode_compressed
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import (
    detections_message,
    diagnostics_message,
    from_stamp,
    read_plan,
    read_roi,
    status_message,
)
from re_pose_ros.nodes.slots import SLOT_DEPTH
from re_pose_ros.plan import Slot, Variant

NO_BOXES = [-1.0]
BRIGHT = 128
COMPUTE_MS = "7.5"


def bright_areas(image: np.ndarray) -> Detections:
    """A box around each connected bright area, in pixels of ``image`` (H, W, 3)."""
    mask = (image.min(axis=2) > BRIGHT).astype(np.uint8)
    count, _, areas, _ = cv2.connectedComponentsWithStats(mask)
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in areas[1:].tolist()]
    return Detections.of(boxes, [0.9] * (count - 1), [0] * (count - 1))


class FakeDetector(Node):
    """Named as the worker it stands in for."""

    def __init__(self) -> None:
        super().__init__("edge_0")
        self._foreign = self.declare_parameter("foreign", False).value
        self._delay = self.declare_parameter("delay", 0.0).value
        numbers = list(self.declare_parameter("boxes", NO_BOXES).value)
        self._labels = list(self.declare_parameter("labels", ["person", "car"]).value)
        variants = self.declare_parameter("variants", ["fake@320", "fake@640"]).value
        lease = self.declare_parameter("liveliness_lease", 1.0).value
        slots = self.declare_parameter("slots", 8).value
        rows = np.reshape([] if numbers == NO_BOXES else numbers, (-1, 6))
        self._boxes = Detections.of(rows[:, :4], rows[:, 4], rows[:, 5]) if len(rows) else None
        self._rois: dict[tuple[int, int], Block] = {}
        self._waiting: dict[tuple[int, int], CompressedImage] = {}
        self._answers: dict[int, Any] = {}
        self._told: dict[int, dict[str, str]] = {}
        self._telemetry = self.create_publisher(DiagnosticArray, "telemetry", qos.latched(100))
        for k in range(slots):
            self._serve(Slot(self.get_name(), k))
        if not self._foreign:
            self.create_subscription(Detection2DArray, "plan", self._on_plan, qos.reliable())
            entries = tuple(VariantProfile(Variant.parse(text), 5.0) for text in variants)
            profile = Profile(self.get_name(), "fake", tuple(self._labels), entries)
            self._profile = self.create_publisher(
                String, f"{self.get_name()}/profile", qos.presence(lease)
            )
            self._profile.publish(String(data=to_json(profile)))

    def _serve(self, slot: Slot) -> None:
        k = slot.index
        if self._foreign:
            best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            self._answers[k] = self.create_publisher(
                Detection2DArray, f"{slot}/detections", qos.reliable(1)
            )
            self.create_subscription(Image, f"{slot}/image", self._raw_callback(k), best_effort)
            return
        self._answers[k] = self.create_publisher(
            Detection2DArray, f"{slot}/detections", qos.latched(SLOT_DEPTH)
        )
        depth = qos.reliable(SLOT_DEPTH)
        topic = f"{slot}/image/compressed"
        self.create_subscription(CompressedImage, topic, self._block_callback(k), depth)
        self.create_subscription(CameraInfo, f"{slot}/camera_info", self._info_callback(k), depth)

    def _raw_callback(self, k: int) -> Callable[[Image], None]:
        def received(message: Image) -> None:
            image = CvBridge().imgmsg_to_cv2(message, "bgr8")
            time.sleep(self._delay)
            found = bright_areas(image) if self._boxes is None else self._boxes
            answer = detections_message(found, from_stamp(message.header.stamp), "")
            answer.header = message.header
            for detection in answer.detections:
                hypothesis = detection.results[0].hypothesis
                hypothesis.class_id = self._labels[int(hypothesis.class_id)]
            self._answers[k].publish(answer)

        return received

    def _block_callback(self, k: int) -> Callable[[CompressedImage], None]:
        def received(message: CompressedImage) -> None:
            key = from_stamp(message.header.stamp), k
            self._waiting[key] = message
            self._answer_if_complete(key)

        return received

    def _info_callback(self, k: int) -> Callable[[CameraInfo], None]:
        def received(message: CameraInfo) -> None:
            roi = read_roi(message)
            assert roi is not None
            key = from_stamp(message.header.stamp), k
            self._rois[key] = roi
            self._answer_if_complete(key)

        return received

    def _on_plan(self, message: Detection2DArray) -> None:
        plan = read_plan(message)
        for planned in plan.blocks:
            if planned.slot.worker == self.get_name():
                key = plan.stamp_ns, planned.slot.index
                self._rois[key] = planned.block
                self._answer_if_complete(key)

    def _answer_if_complete(self, key: tuple[int, int]) -> None:
        if key not in self._waiting or key not in self._rois:
            return
        message, roi = self._waiting.pop(key), self._rois[key]
        stamp, k = key
        image = decode_compressed(message.data)
        time.sleep(self._delay)
        if self._boxes is None:
            size = (image.shape[1], image.shape[0])
            found = bright_areas(image)
            boxes = crop_to_full(found.xyxy, roi, size)
            found = Detections.of(boxes, found.confidence, found.class_id)
        else:
            found = seen_in(self._boxes, roi)
        told = self._told.setdefault(stamp, {"processing_ms": "0.0"})
        told |= {f"compute_ms/{k}": COMPUTE_MS, "processing_ms": str(self._delay * 1e3)}
        status = status_message(self.get_name(), DiagnosticStatus.OK, "", told)
        self._telemetry.publish(diagnostics_message(stamp, [status]))
        self._answers[k].publish(detections_message(found, stamp, message.header.frame_id))


def seen_in(objects: Detections, roi: Block) -> Detections:
    """The objects as a detector would report them that sees only ``roi``: cut off at its border."""
    x1, y1, x2, y2 = roi.xyxy
    boxes = objects.xyxy.clip([x1, y1, x1, y1], [x2, y2, x2, y2])
    left = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Detections.of(boxes, objects.confidence, objects.class_id).take(left)


def main() -> int:
    rclpy.init()
    node = FakeDetector()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
