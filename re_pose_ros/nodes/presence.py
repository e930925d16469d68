"""Knows which workers are there, by the DDS liveliness of their latched profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rclpy.event_handler import (
    QoSLivelinessChangedInfo,
    QoSSubscriptionMatchedInfo,
    SubscriptionEventCallbacks,
)
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from re_pose_ros.detection.profile import Profile, from_json
from re_pose_ros.errors import InputError
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.liveliness import Publishers


@dataclass(slots=True)
class WorkerState:
    """What is known of one worker; ``foreign`` ones are not ours and publish no profile."""

    name: str
    foreign: bool
    alive: bool = False
    profile: Profile | None = None

    @property
    def ready(self) -> bool:
        return self.foreign or (self.alive and self.profile is not None)


class Presence:
    """Watches the workers named by the node's parameters; calls ``changed(state)`` on news.

    InputError where ``crop_workers`` names one that is not in ``workers``.
    """

    def __init__(
        self,
        node: PipelineNode,
        changed: Callable[[WorkerState], None],
        optional: Sequence[str] = (),
    ) -> None:
        """``optional`` ones are listened to, too, but neither missed nor found dead."""
        self._node = node
        self._optional = frozenset(optional)
        self._changed = changed
        names = node.values.texts("workers")
        foreign = set(node.values.texts("crop_workers"))
        if not names:
            raise InputError("workers is empty: name at least one detector node, as edge_0")
        names = (*names, *optional)
        if len(set(names)) != len(names):
            raise InputError(f"workers has a name twice: {', '.join(names)}")
        if foreign - set(names):
            raise InputError(f"crop_workers names {min(foreign - set(names))}, which workers lacks")
        self.states = {name: WorkerState(name, name in foreign) for name in names}
        watched = qos.presence(node.values.real("liveliness_lease"))
        for state in self.states.values():
            if state.foreign:
                continue
            if state.name in optional:
                # Within one process DDS takes a publisher for dead after its lease.
                self._listen(state, qos.latched(), SubscriptionEventCallbacks())
            else:
                self._listen(state, watched, self._watching(state))

    def _listen(
        self, state: WorkerState, profile_qos: QoSProfile, events: SubscriptionEventCallbacks
    ) -> None:
        def on_profile(message: String) -> None:
            try:
                state.profile = from_json(message.data)
            except InputError as error:
                self._node.get_logger().error(f"profile of {state.name}: {error}")
                return
            state.alive = True
            self._changed(state)

        self._node.subscription(
            String, f"{state.name}/profile", on_profile, profile_qos, event_callbacks=events
        )

    def _watching(self, state: WorkerState) -> SubscriptionEventCallbacks:
        publishers = Publishers()

        def on_liveliness(event: QoSLivelinessChangedInfo) -> None:
            publishers.told(event.alive_count, event.not_alive_count)
            judge()

        def on_matched(event: QoSSubscriptionMatchedInfo) -> None:
            publishers.matched(event.current_count)
            judge()

        def judge() -> None:
            alive = publishers.any_alive
            if alive == state.alive:
                return
            state.alive = alive
            if not alive:
                self._node.get_logger().warning(f"worker {state.name} is gone")
            self._changed(state)

        return SubscriptionEventCallbacks(liveliness=on_liveliness, matched=on_matched)

    def missing(self) -> list[str]:
        return [
            name
            for name, state in self.states.items()
            if not state.ready and name not in self._optional
        ]
