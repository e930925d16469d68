"""The ends of the graph beside a partitioner: a camera before it, its plans behind it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import JPEG_FORMAT, compressed_message, read_plan
from re_pose_ros.plan import Plan

from . import inputs
from .harness import Bench
from .probe import Inbox, Probe


class ForeignCamera:
    """Somebody else's camera driver, in the probe."""

    def __init__(
        self,
        probe: Probe,
        topic: str = "image_raw",
        *,
        transport: str = "raw",
        profile: QoSProfile | None = None,
    ) -> None:
        self._node = probe.node
        self._compressed = transport == "compressed"
        self._stamps = itertools.count(inputs.FIRST_STAMP, inputs.PERIOD)
        self._timer: Any = None
        name = f"{topic}/compressed" if self._compressed else topic
        kind = CompressedImage if self._compressed else Image
        self.publisher = probe.publisher(name, kind, profile or qos.reliable(20))

    @property
    def watched(self) -> bool:
        return bool(self.publisher.get_subscription_count())

    def send(self, image: NDArray[np.uint8], encoding: str = "bgr8") -> int:
        """Publish one frame; returns its stamp in nanoseconds."""
        stamp = next(self._stamps)
        if self._compressed:
            self.publisher.publish(
                compressed_message(JPEG_FORMAT, encode_jpeg(image, 95), stamp, "lens")
            )
        else:
            self.publisher.publish(inputs.image_message(image, stamp, encoding))
        return stamp

    def skip_frame(self) -> None:
        """Let the time of one frame pass without publishing it."""
        next(self._stamps)

    def stream(self, image: NDArray[np.uint8], encoding: str = "bgr8") -> None:
        """Publish 20 frames a second from now on."""
        self._timer = self._node.create_timer(0.05, lambda: self.send(image, encoding))


class Plans:
    """The plans heard so far; ``answering`` says at once that each is fused."""

    def __init__(self, bench: Bench, *, answering: bool = False) -> None:
        self._bench = bench
        self._inbox = bench.probe.subscribe_latched("plan", Detection2DArray, depth=4)
        self._answering = answering
        self._answered = 0
        bench.probe.stand_in_for_fusion()

    @property
    def inbox(self) -> Inbox:
        return self._inbox

    def heard(self) -> list[Plan]:
        messages = self._inbox.messages[:]
        if self._answering:
            for stamp in self._inbox.stamps[self._answered : len(messages)]:
                self._bench.probe.fused(stamp)
            self._answered = len(messages)
        return [read_plan(message) for message in messages]

    def of(self, stamp: int) -> Plan:
        """Waits for the plan of ``stamp``."""
        return self._bench.wait_for(
            lambda: next((plan for plan in self.heard() if plan.stamp_ns == stamp), None),
            f"the plan of {stamp}",
        )

    def next_with(self, workers: Sequence[str], blocks: int) -> Plan:
        """Waits for a plan from now on whose blocks go to just these workers."""
        start = len(self._inbox)

        def found() -> Plan | None:
            for plan in self.heard()[start:]:
                used = {slot.worker for slot in plan.slots}
                if used == set(workers) and len(plan.blocks) == blocks:
                    return plan
            return None

        return self._bench.wait_for(found, f"a plan of {blocks} blocks for {', '.join(workers)}")


def wait_until_watched(bench: Bench, camera: ForeignCamera) -> None:
    bench.wait_for(lambda: camera.watched, "the partitioner to take the images")
