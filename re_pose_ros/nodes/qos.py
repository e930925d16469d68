"""Quality of service of every topic, and matching it to somebody else's publisher."""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from re_pose_ros.errors import InputError

_RELIABILITIES = {
    "reliable": ReliabilityPolicy.RELIABLE,
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
}
OVERRIDABLE = QoSOverridingOptions.with_default_policies()


def reliable(depth: int = 10) -> QoSProfile:
    return QoSProfile(
        depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
    )


def best_effort() -> QoSProfile:
    """Takes the latest from any publisher, reliable or not."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


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
    """Depth 1 with what all publishers of ``topic`` offer, and the user's overrides; None without.

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
    _override(node, topic, profile)
    return profile


def _override(node: Node, topic: str, profile: QoSProfile) -> None:
    """Apply the parameters ``qos_overrides.<topic>.subscription.{depth,reliability}``.

    ``QoSOverridingOptions`` would keep the first profile of a topic; this one follows the
    publishers. InputError where a value is impossible.
    """
    prefix = f"qos_overrides.{topic}.subscription"
    depth = _given(node, f"{prefix}.depth", Parameter.Type.INTEGER)
    if depth is not None:
        if depth < 1:
            raise InputError(f"parameter {prefix}.depth: allowed is at least 1")
        profile.depth = depth
    reliability = _given(node, f"{prefix}.reliability", Parameter.Type.STRING)
    if reliability is not None:
        if reliability not in _RELIABILITIES:
            raise InputError(
                f"parameter {prefix}.reliability: allowed is {', '.join(_RELIABILITIES)}"
            )
        profile.reliability = _RELIABILITIES[reliability]


def _given(node: Node, name: str, kind: Parameter.Type) -> Any:
    """What the user set the optional parameter to; None for nothing."""
    if not node.has_parameter(name):
        try:
            node.declare_parameter(name, kind)
        except InvalidParameterTypeException:
            raise InputError(f"parameter {name} has to be of type {kind.name.lower()}") from None
    return node.get_parameter_or(name).value
