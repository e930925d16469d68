"""Probes of a worker's link: small and larger messages that the worker answers at once."""

from __future__ import annotations

import os
import time

from sensor_msgs.msg import CompressedImage

from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.messages import compressed_message
from re_pose_ros.nodes.remote_parameters import Post
from re_pose_ros.tuning.links import Probing
from re_pose_ros.tuning.sensing import Measurements

FORMAT = "probe"


class LinkProbe:
    """Sends ``<worker>/probe`` and takes ``<worker>/probe/echo``; times are taken here alone."""

    def __init__(
        self,
        node: PipelineNode,
        worker: str,
        measurements: Measurements,
        post: Post,
    ) -> None:
        self._node, self._worker, self._measurements = node, worker, measurements
        self._post = post
        values = node.values
        self._probing = Probing(values.real("probe_period"), values.whole("probe_bytes"))
        # No link makes less of it.
        self._data = os.urandom(self._probing.most_bytes)
        self._number = 0
        self._topic = node.publisher(CompressedImage, f"{worker}/probe", qos.best_effort())
        node.subscription(CompressedImage, f"{worker}/probe/echo", self._on_echo, qos.best_effort())

    def tend(self, now_s: float) -> None:
        """Send what it is time for, and see whether answers stay out; of the working thread."""
        if not self._topic.get_subscription_count():
            return
        size = self._probing.due(self._measurements.link(self._worker), now_s)
        if size is not None:
            self._number += 1
            data = memoryview(self._data)[:size]
            message = compressed_message(FORMAT, data, self._node.now_ns(), str(self._number))
            self._probing.sent(self._number, size, time.monotonic())
            self._topic.publish(message)
        self._measurements.waited(self._worker, self._probing.unanswered_s(now_s))

    def _on_echo(self, message: CompressedImage) -> None:
        now_s, number = time.monotonic(), message.header.frame_id
        if number.isdecimal():
            self._post(lambda: self._answered(int(number), now_s))

    def _answered(self, number: int, now_s: float) -> None:
        link = self._measurements.link(self._worker)
        small_ms = self._probing.echoed(number, link, now_s)
        if small_ms is None:
            return
        self._measurements.round_trip(self._worker, small_ms)
        if (larger := self._probing.take()) is not None:
            self._measurements.transferred(self._worker, *larger, now_s)
