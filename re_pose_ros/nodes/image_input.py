"""A subscription to somebody's camera, raw or compressed, whatever that publisher's QoS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from re_pose_ros.bags import decode_frame
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import PipelineNode

_TYPES = {"raw": Image, "compressed": CompressedImage}
_TYPE_NAMES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}


class ImageInput:
    """Subscribes to ``image_raw`` (or ``image_raw/compressed``) as soon as somebody publishes it.

    ``received`` gets each message's serialised bytes in the executor, to be decoded elsewhere by
    ``decode``. Remapping ``image_raw`` moves the compressed topic with it.
    """

    def __init__(self, node: PipelineNode, received: Callable[[bytes], None]) -> None:
        self._node = node
        self._received = received
        self._transport = node.values.text("image_transport")
        self.topic = self._resolved_topic()
        self._subscription: Any = None
        self._matched: Any = None
        self.problem = ""
        # The first message of a type takes 0.2 s to decode, which no frame is to wait for.
        with contextlib.suppress(InputError):
            self.decode(serialize_message(_TYPES[self._transport]()), 0)

    def _resolved_topic(self) -> str:
        base = str(self._node.resolve_topic_name("image_raw"))
        if self._transport == "raw":
            return base
        own = str(self._node.resolve_topic_name("image_raw/compressed"))
        plain = str(self._node.resolve_topic_name("image_raw/compressed", only_expand=True))
        return f"{base}/compressed" if own == plain else own

    @property
    def open(self) -> bool:
        return self._subscription is not None

    def refresh(self) -> None:
        """Subscribe, or again with another QoS where the publishers have changed theirs."""
        profile = qos.matching_image_qos(self._node, self.topic)
        if profile is None:
            self.problem = ""
            return
        if (profile.reliability, profile.durability) == self._matched:
            return
        self.close()
        kinds = {info.topic_type for info in self._node.get_publishers_info_by_topic(self.topic)}
        expected = _TYPE_NAMES[self._transport]
        if kinds and expected not in kinds:
            self.problem = (
                f"{self.topic} carries {', '.join(sorted(kinds))}, expected {expected}; "
                "set image_transport or remap image_raw"
            )
            return
        self.problem = ""
        self._matched = profile.reliability, profile.durability
        self._subscription = self._node.create_subscription(
            _TYPES[self._transport],
            self.topic,
            self._received,
            profile,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def close(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        self._matched = None

    def decode(self, data: bytes, index: int) -> Frame:
        """InputError where the message is malformed or its encoding unknown."""
        try:
            return decode_frame(data, _TYPE_NAMES[self._transport], index)
        except InputError as error:
            raise InputError(f"{self.topic}: {error}") from None
