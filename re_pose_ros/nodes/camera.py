"""Camera node: publishes a device, a video, images or a bag as a camera driver would."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from cv_bridge import CvBridge
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import UInt64
from vision_msgs.msg import Detection2DArray, LabelInfo

from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import Health, PipelineNode, run
from re_pose_ros.nodes.messages import (
    JPEG_FORMAT,
    camera_info_message,
    compressed_message,
    from_stamp,
    header,
    label_message,
    truth_message,
)
from re_pose_ros.parameters.tables import CAMERA
from re_pose_ros.sources import Source, open_source
from re_pose_ros.sources.calibration import Calibration, default_calibration, load_calibration

DRAIN_S = 2.0
TRUTH_DEPTH = 100


class FrameSink(Protocol):
    """Takes frames in the same process, without a message."""

    def takes_frames(self) -> bool:
        """Whether a frame given now would be worked on."""

    def accept_frame(self, frame: Frame) -> None:
        """``frame`` has its stamp and frame_id."""


class CameraNode(PipelineNode):
    """Publishes ``image_raw``, ``image_raw/compressed``, ``camera_info`` and ``end_of_stream``.

    Where the source has its truth, as a scene or a dataset, also ``ground_truth`` and, latched,
    ``ground_truth/label_info``.
    """

    def __init__(self) -> None:
        self.sinks: list[FrameSink] = []
        self._source: Source | None = None
        self._bridge = CvBridge()
        self._fused = threading.Condition()
        self._fused_stamp = 0
        self._stamp = 0
        self._published = 0
        self._given_up = 0
        self._waiting = ""
        self._unsent: set[str] = set()
        super().__init__(CAMERA)

    def configure(self) -> None:
        values = self.values
        self._stamp = self._fused_stamp = self._published = self._given_up = 0
        if not values["source"]:
            raise InputError(
                "no source: set the parameter source to a device, video, folder of images or bag"
            )
        self._source = open_source(
            values.text("source"),
            rate=values.real("rate"),
            loop=values.flag("loop"),
            start=values.whole("start"),
            count=values.whole("count"),
            topic=values.text("topic"),
        )
        self._given_calibration = (
            load_calibration(values.text("calibration"), self._source.size)
            if values["calibration"]
            else None
        )
        # Kept in lockstep: somebody else's subscription may start the frames before the
        # partitioner's is there.
        image_qos = qos.latched() if self.lockstep else qos.reliable(depth=1)
        self._raw = self.publisher(
            Image, "image_raw", image_qos, qos_overriding_options=qos.OVERRIDABLE
        )
        self._compressed = self.publisher(
            CompressedImage,
            "image_raw/compressed",
            image_qos,
            qos_overriding_options=qos.OVERRIDABLE,
        )
        info_qos = qos.latched() if self.lockstep else qos.reliable()
        self._info = self.publisher(CameraInfo, "camera_info", info_qos)
        if self._source.labels:
            self._publish_truth_labels(self._source.labels)
        self._end = self.publisher(UInt64, "end_of_stream", qos.latched())
        detections_qos = qos.latched() if self.lockstep else qos.reliable()
        self.subscription(Detection2DArray, "detections", self._on_detections, detections_qos)
        size = "x".join(map(str, self._source.size))
        total = "endless" if self._source.total is None else f"{self._source.total} frames"
        self.get_logger().info(f"{self._source.name}: {size}, {self._source.rate:g} Hz, {total}")

    def _publish_truth_labels(self, labels: Sequence[str]) -> None:
        depth = TRUTH_DEPTH
        truth_qos = qos.latched(depth) if self.lockstep else qos.reliable(depth)
        self._truth = self.publisher(Detection2DArray, "ground_truth", truth_qos)
        names = self.publisher(LabelInfo, "ground_truth/label_info", qos.latched())
        names.publish(label_message(labels, 0.0, self.now_ns(), ""))

    def release(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def health(self) -> Health:
        values = {"frames_published": self._published, "frames_given_up": self._given_up}
        if self._source is None:
            return Health.warn("not configured", **values)
        if self._waiting:
            return Health.warn(self._waiting, **values)
        return Health.ok("publishing", **values)

    def work(self) -> None:
        source = self._source
        assert source is not None
        if source.replayable and self.values["wait_for_subscriber"]:
            self._wait_for_subscriber()
        period = 1.0 / source.rate if source.rate > 0 else 0.0
        due = time.monotonic()
        while not self.stopping.is_set():
            frame = next(source, None)
            if frame is None:
                self._end_stream()
                return
            if not self.lockstep and source.replayable:
                self.stopping.wait(max(0.0, due - time.monotonic()))
                due = max(due + period, time.monotonic() - period)
            frame = self._stamped(frame)
            self._publish(frame)
            if self.lockstep:
                self._wait_until_fused(frame)

    def _wait_for_subscriber(self) -> None:
        while not self._taken() and not self.stopping.wait(0.05):
            self._waiting = (
                "nobody takes the frames yet: start the partitioner and its detectors, or set "
                "wait_for_subscriber to false"
            )
        self._waiting = ""

    def _taken(self) -> bool:
        subscribers = self._raw.get_subscription_count() + self._compressed.get_subscription_count()
        return subscribers > 0 or any(sink.takes_frames() for sink in self.sinks)

    def _stamped(self, frame: Frame) -> Frame:
        recorded = self.values["stamp"] == "source" and frame.stamp_ns is not None
        stamp = frame.stamp_ns if recorded and frame.stamp_ns else self.now_ns()
        self._stamp = stamp = max(stamp, self._stamp + 1)
        frame_id = frame.frame_id or self.values.text("frame_id")
        return replace(frame, stamp_ns=stamp, frame_id=frame_id)

    def _publish(self, frame: Frame) -> None:
        assert frame.stamp_ns is not None
        self._info.publish(
            camera_info_message(self._calibration(frame.size), frame.stamp_ns, frame.frame_id)
        )
        assert self._source is not None
        if frame.truth is not None and self._source.labels:
            classes = len(self._source.labels)
            self._truth.publish(truth_message(frame.truth, classes, frame.stamp_ns, frame.frame_id))
        for sink in self.sinks:
            sink.accept_frame(frame)
        self._unsent = {"raw", "compressed"}
        self._send_image(frame)
        self._published += 1
        self.telemetry(frame.stamp_ns, {"index": frame.index})

    def _send_image(self, frame: Frame) -> None:
        """Publish the image on those of its topics that somebody takes and that lack it yet."""
        stamp = frame.stamp_ns
        assert stamp is not None
        if "raw" in self._unsent and self._raw.get_subscription_count():
            self._unsent.remove("raw")
            message = self._bridge.cv2_to_imgmsg(frame.image, "bgr8", header(stamp, frame.frame_id))
            self._raw.publish(message)
        if "compressed" in self._unsent and self._compressed.get_subscription_count():
            self._unsent.remove("compressed")
            data = encode_jpeg(frame.image, self.values.whole("jpeg_quality"))
            self._compressed.publish(compressed_message(JPEG_FORMAT, data, stamp, frame.frame_id))

    def _calibration(self, size: tuple[int, int]) -> Calibration:
        given = self._given_calibration
        if given is None:
            return default_calibration(*size)
        if (given.width, given.height) != size:
            raise InputError(
                f"{self.values['calibration']} is for {given.width}x{given.height}, "
                f"the source gives {size[0]}x{size[1]}"
            )
        return given

    def _on_detections(self, message: Detection2DArray) -> None:
        with self._fused:
            stamp = from_stamp(message.header.stamp)
            # Those of an earlier run may be ahead of us.
            if stamp <= self._stamp:
                self._fused_stamp = stamp
            self._fused.notify_all()

    def _wait_until_fused(self, frame: Frame) -> None:
        limit = time.monotonic() + self.values.real("fused_timeout")
        with self._fused:
            while self._fused_stamp < self._stamp and not self.stopping.is_set():
                if time.monotonic() > limit:
                    self._given_up += 1
                    self._waiting = f"frame {frame.index} was not fused in time; is fusion running?"
                    self.get_logger().error(self._waiting)
                    return
                # Whoever came in the meantime, as a partitioner behind a viewer, wants it too.
                self._send_image(frame)
                self._fused.wait(0.1)
        self._waiting = ""

    def _end_stream(self) -> None:
        """Tell how many frames there were, and stay while the graph still works on them."""
        self.get_logger().info(f"end of {self.values['source']}: {self._published} frames")
        self._end.publish(UInt64(data=self._published))
        with self._fused:
            seen, quiet_since = self._fused_stamp, time.monotonic()
            while self._fused_stamp < self._stamp and time.monotonic() - quiet_since < DRAIN_S:
                self._fused.wait(0.1)
                if self._fused_stamp != seen:
                    seen, quiet_since = self._fused_stamp, time.monotonic()
        for publisher in (self._telemetry, self._end):
            publisher.wait_for_all_acked(Duration(seconds=DRAIN_S))
        if self.values["exit_on_end"]:
            self._finish()


def main() -> None:
    sys.exit(run(lambda: [CameraNode()]))


if __name__ == "__main__":
    main()
