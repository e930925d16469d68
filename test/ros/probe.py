"""A node of the test's own: subscribes, publishes, calls services, keeps what it hears."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection2DArray

from re_pose_ros.detections import Detections
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.base import TELEMETRY_DEPTH
from re_pose_ros.nodes.messages import detections_message, from_stamp

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
CALL_LIMIT_S = 30.0
CALLS = 3


class Health(NamedTuple):
    """One diagnostic; ``level`` is 0 OK, 1 WARN, 2 ERROR."""

    level: int
    message: str
    values: Mapping[str, str]


class Inbox:
    """What came on one topic, oldest first.

    Attributes:
        messages: as they came.
        sent: when each was published, in nanoseconds.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.messages: list[Any] = []
        self.sent: list[int] = []

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.messages))

    def __getitem__(self, index: int) -> Any:
        return self.messages[index]

    @property
    def stamps(self) -> list[int]:
        """The header times in nanoseconds."""
        return [from_stamp(message.header.stamp) for message in self]

    @property
    def by_stamp(self) -> dict[int, Any]:
        """The last message of each header time in nanoseconds."""
        return {from_stamp(message.header.stamp): message for message in self}


class Probe:
    """Spins in a thread, in a context of its own.

    Attributes:
        health: what each node said on /diagnostics, by its name.
        telemetry: by node name and stamp in nanoseconds.
        version: grows with each message, for ``wait_for_news``.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.health: dict[str, list[Health]] = defaultdict(list)
        self.telemetry: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)
        self.version = 0
        self._changed = threading.Condition()
        self._fused: Any = None
        self._clients: dict[str, Any] = {}
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self.node = Node("probe", namespace=namespace, context=self._context)
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(100)
        )
        self.node.create_subscription(
            DiagnosticArray, "telemetry", self._on_telemetry, qos.latched(TELEMETRY_DEPTH)
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="probe", daemon=True)
        self._thread.start()

    def close(self) -> None:
        rclpy.shutdown(context=self._context)
        self._thread.join(10.0)
        self.node.destroy_node()

    def wait_for_news(self, seen: int, timeout_s: float) -> None:
        """Until a message has come since ``version`` was ``seen``, at most ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self.version != seen, timeout_s)

    # Topics; names are relative to the namespace.

    def subscribe(self, topic: str, kind: Any, profile: QoSProfile | None = None) -> Inbox:
        """Collect what comes on ``topic``; reliable by default."""
        inbox = Inbox(topic)

        def received(message: Any, info: Mapping[str, int]) -> None:
            inbox.sent.append(info["source_timestamp"])
            inbox.messages.append(message)
            self._notify()

        self.node.create_subscription(kind, topic, received, profile or qos.reliable(100))
        return inbox

    def subscribe_latched(self, topic: str, kind: Any, depth: int = 100) -> Inbox:
        """Also what was published before, where the publisher keeps it."""
        return self.subscribe(topic, kind, qos.latched(depth))

    def publisher(self, topic: str, kind: Any, profile: QoSProfile | None = None) -> Any:
        return self.node.create_publisher(kind, topic, profile or qos.reliable(10))

    def stand_in_for_fusion(self) -> None:
        """Make ready for ``fused``; what is published at once may take DDS 3 s to deliver."""
        if self._fused is None:
            self._fused = self.publisher("detections", Detection2DArray, qos.latched(100))

    def fused(self, stamp: int, detections: Detections | None = None) -> None:
        """Say as fusion does that the frame of ``stamp`` (nanoseconds) is done."""
        self.stand_in_for_fusion()
        found = Detections.empty() if detections is None else detections
        self._fused.publish(detections_message(found, stamp, "camera"))

    # Services; ``node`` is a name in the namespace.

    def state(self, node: str) -> str:
        """The lifecycle state, as unconfigured, inactive or active."""
        answer = self._call(f"{node}/get_state", GetState, GetState.Request())
        return str(answer.current_state.label)

    def change_state(self, node: str, transition: str) -> bool:
        """Ask for one of configure, activate, deactivate, cleanup; whether that succeeded."""
        before = self.state(node)
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        answer = self._call(
            f"{node}/change_state", ChangeState, request, lambda: self.state(node) == before
        )
        return answer is None or bool(answer.success)

    def set_parameter(self, node: str, name: str, value: object) -> tuple[bool, str]:
        """Whether it was taken, and the reason where it was not."""
        given = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[given])
        (result,) = self._call(f"{node}/set_parameters", SetParameters, request).results
        return bool(result.successful), str(result.reason)

    def get_parameter(self, node: str, name: str) -> Any:
        request = GetParameters.Request(names=[name])
        (value,) = self._call(f"{node}/get_parameters", GetParameters, request).values
        return parameter_value_to_python(value)

    def describe_parameters(self, node: str, names: list[str]) -> dict[str, Any]:
        """The descriptors by name."""
        request = DescribeParameters.Request(names=names)
        answer = self._call(f"{node}/describe_parameters", DescribeParameters, request)
        return {descriptor.name: descriptor for descriptor in answer.descriptors}

    def _call(
        self, service: str, kind: Any, request: Any, again: Callable[[], bool] = lambda: True
    ) -> Any:
        """The answer; DDS may lose one to a new client, so it asks again if ``again()`` allows.

        None where the answer was lost and ``again()`` says that the request has been heard.
        """
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        assert client.wait_for_service(CALL_LIMIT_S), f"service {service} is not there"
        for _ in range(CALLS):
            done = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _, done=done: done.set())
            if done.wait(CALL_LIMIT_S / CALLS):
                return future.result()
            if not again():
                return None
        raise AssertionError(f"service {service} does not answer")

    # Callbacks.

    def _notify(self) -> None:
        with self._changed:
            self.version += 1
            self._changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            namespace, _, node = status.name.rpartition("/")
            if namespace == f"/{self.namespace}":
                values = {pair.key: pair.value for pair in status.values}
                level = int.from_bytes(status.level, "little")
                self.health[node].append(Health(level, status.message, values))
        self._notify()

    def _on_telemetry(self, message: DiagnosticArray) -> None:
        stamp = from_stamp(message.header.stamp)
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self.telemetry[status.name].setdefault(stamp, {}).update(values)
        self._notify()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        finally:
            self._executor.shutdown(timeout_sec=1.0)
