"""Quality of service of every topic, and matching it to somebody else's publisher."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

OVERRIDABLE = QoSOverridingOptions.with_default_policies()


def reliable(depth: int = 10) -> QoSProfile:
    return QoSProfile(
        depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
    )


def latched(depth: int = 1) -> QoSProfile:
    """Reliable, and the last ``depth`` messages reach those who come later."""
    profile = reliable(depth)
    profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return profile


def presence(lease: float) -> QoSProfile:
    """Latched, with DDS telling within ``lease`` seconds that the publisher's process is gone."""
    profile = latched()
    profile.liveliness = LivelinessPolicy.AUTOMATIC
    profile.liveliness_lease_duration = Duration(seconds=lease)
    return profile


def matching_image_qos(node: Node, topic: str) -> QoSProfile | None:
    """Depth 1 with what all publishers of ``topic`` offer; None without any.

    A reliable subscription gets nothing from a best-effort publisher, and a best-effort one loses
    most of the large images that a reliable publisher would have sent again. A frame that is kept
    for late comers is taken: in lockstep the camera waits for it to be fused.
    """
    offers = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    if not offers:
        return None
    profile = reliable(depth=1)
    if any(offer.reliability != ReliabilityPolicy.RELIABLE for offer in offers):
        profile.reliability = ReliabilityPolicy.BEST_EFFORT
    if all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers):
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return profile
