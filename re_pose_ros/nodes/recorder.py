"""Listens to a graph: keeps its results in memory and in a rosbag2."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String, UInt64
from vision_msgs.msg import Detection2DArray, LabelInfo

from re_pose_ros.bags import BagWriter, qos_profile
from re_pose_ros.datasets.annotation import class_numbers, truth_of
from re_pose_ros.detection.profile import from_json
from re_pose_ros.errors import InputError
from re_pose_ros.graph.records import Recording
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import TELEMETRY_DEPTH
from re_pose_ros.nodes.messages import from_stamp, read_detections, read_plan


class Recorder:
    """A node in a thread of this process; a context manager.

    Args:
        namespace: that of the graph.
        bag: where detections, plan, plan_outcome, label_info, telemetry, profiles and the camera's
            ground truth go; the caller opens and closes it. None keeps them in memory alone.
        live: the graph's mode; results are kept for those who match late in lockstep alone.
        workers: names of the detectors whose profiles are recorded.
        images: also record ``image_raw/compressed``, for sources that cannot be read again.
    """

    def __init__(
        self,
        namespace: str,
        bag: BagWriter | None,
        *,
        live: bool,
        workers: Sequence[str] = (),
        images: BagWriter | None = None,
    ) -> None:
        self._detections_qos = qos.reliable(100) if live else qos.latched(100)
        self.recording = Recording()
        self.changed = threading.Condition()
        self._bag = bag
        self._images = images
        self._namespace = namespace
        self._workers = workers
        self._early_truths: list[Detection2DArray] = []

    def __enter__(self) -> Recorder:
        # Signals stay with the command, which stops the graph in order.
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("recorder", namespace=self._namespace)
        self._record("detections", Detection2DArray, self._on_detections, self._detections_qos)
        self._record("plan", Detection2DArray, self._on_plan, qos.latched(100))
        # Read from the telemetry, which has the same and is kept for those who match late.
        self._record("plan_outcome", DiagnosticArray, lambda _: None, qos.reliable(100))
        self._record("label_info", LabelInfo, self._on_labels, qos.latched())
        self._record("telemetry", DiagnosticArray, self._on_telemetry, qos.latched(TELEMETRY_DEPTH))
        labels_topic = "ground_truth/label_info"
        self._record(labels_topic, LabelInfo, self._on_truth_labels, qos.latched())
        self._record("ground_truth", Detection2DArray, self._on_truth, self._detections_qos)
        for name in self._workers:
            self._record(f"{name}/profile", String, partial(self._on_profile, name), qos.latched())
        self._node.create_subscription(UInt64, "end_of_stream", self._on_end, qos.latched())
        if self._images is not None:
            self._record_images()
        self._thread = threading.Thread(target=self._spin, name="recorder", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        rclpy.try_shutdown()
        self._thread.join(timeout=5.0)

    def _spin(self) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        finally:
            self._node.destroy_node()

    def _record(
        self, topic: str, kind: Any, keep: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        name = self._node.resolve_topic_name(topic)
        type_name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        offered = qos_profile(depth=profile.depth, latched=latched)

        def received(data: bytes) -> None:
            if self._bag is not None:
                self._bag.write(name, type_name, data, self._now_ns(), qos=offered)
            with self.changed:
                keep(deserialize_message(data, kind))
                self.changed.notify_all()

        self._node.create_subscription(kind, topic, received, profile, raw=True)

    def _record_images(self) -> None:
        name = self._node.resolve_topic_name("image_raw/compressed")
        images = self._images
        assert images is not None

        def received(data: bytes) -> None:
            images.write(name, "sensor_msgs/msg/CompressedImage", data, self._now_ns())

        self._node.create_subscription(
            CompressedImage, "image_raw/compressed", received, qos.reliable(), raw=True
        )

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_detections(self, message: Detection2DArray) -> None:
        record = self.recording.frame(from_stamp(message.header.stamp))
        record.detections = read_detections(message)[0]

    def _on_plan(self, message: Detection2DArray) -> None:
        try:
            plan = read_plan(message)
        except InputError as error:
            self._node.get_logger().error(str(error))
            return
        self.recording.frame(plan.stamp_ns).plan = plan

    def _on_labels(self, message: LabelInfo) -> None:
        self.recording.labels = tuple(entry.class_name for entry in message.class_map)

    def _on_truth_labels(self, message: LabelInfo) -> None:
        self.recording.truth_labels = tuple(entry.class_name for entry in message.class_map)
        while self._early_truths:
            self._on_truth(self._early_truths.pop(0))

    def _on_truth(self, message: Detection2DArray) -> None:
        labels = self.recording.truth_labels
        if not labels:
            self._early_truths.append(message)
            return
        try:
            truth = truth_of(message, class_numbers(labels), "ground_truth")
        except InputError as error:
            self._node.get_logger().error(str(error))
            return
        self.recording.frame(from_stamp(message.header.stamp)).truth = truth

    def _on_profile(self, worker: str, message: String) -> None:
        try:
            self.recording.profiles[worker] = from_json(message.data)
        except InputError as error:
            self._node.get_logger().error(f"profile of {worker}: {error}")

    def _on_telemetry(self, message: DiagnosticArray) -> None:
        record = self.recording.frame(from_stamp(message.header.stamp))
        for status in message.status:
            told = record.telemetry.get(status.name, {})
            values = {pair.key: pair.value for pair in status.values}
            record.telemetry[status.name] = {**told, **values}
            if status.name == "camera":
                record.index = int(record.telemetry["camera"].get("index", -1))

    def _on_end(self, message: UInt64) -> None:
        with self.changed:
            self.recording.frames_published = int(message.data)
            self.changed.notify_all()
