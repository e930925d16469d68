"""Another node's parameters, read and set without waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.parameter import Parameter as RosParameter
from rclpy.parameter import parameter_value_to_python
from rclpy.task import Future

from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.parameters.table import Value

Post = Callable[[Callable[[], None]], None]
"""Has something done by the working thread."""

PATIENCE_S = 1.0
"""An answer that takes longer is lost; DDS may lose one to a new client."""


class RemoteParameters:
    """Of one node; used by the working thread alone. One request is under way at a time.

    Attributes:
        name: of the node.
        values: as they were read, and set, last; None before.
        refused: what was not taken last, with the reason; None where it was. Its user may clear
            it.
    """

    def __init__(self, node: PipelineNode, name: str, post: Post) -> None:
        self.name = name
        self.values: dict[str, Any] | None = None
        self.refused: tuple[Mapping[str, Value], str] | None = None
        self._node, self._post = node, post
        self._get = node.create_client(GetParameters, f"{name}/get_parameters")
        self._set = node.create_client(SetParametersAtomically, f"{name}/set_parameters_atomically")
        self._request = 0
        self._until_s: float | None = None

    @property
    def there(self) -> bool:
        """Whether the node takes requests."""
        return bool(self._set.service_is_ready())

    def busy(self, now_s: float) -> bool:
        """Whether an answer is waited for."""
        return self._until_s is not None and now_s < self._until_s

    def forget(self) -> None:
        """The node is another one: nothing is known of its parameters."""
        self.values = self.refused = None
        self._until_s = None
        self._request += 1

    def ask(self, names: Sequence[str], now_s: float) -> None:
        """Read parameters; those that the node does not have are None."""

        def answered(response: Any) -> None:
            found = map(parameter_value_to_python, response.values)
            self.values = dict(zip(names, found, strict=False))

        self._call(self._get, GetParameters.Request(names=list(names)), answered, now_s)

    def set(self, values: Mapping[str, Value], now_s: float) -> None:
        """Set parameters, all or none."""

        def answered(response: Any) -> None:
            result = response.result
            self.refused = None if result.successful else (values, str(result.reason))
            if result.successful:
                self.values = {**(self.values or {}), **values}

        messages = [
            RosParameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=messages)
        self._call(self._set, request, answered, now_s)

    def close(self) -> None:
        """Ask no more."""
        self._node.destroy_client(self._get)
        self._node.destroy_client(self._set)

    def _call(self, client: Any, request: Any, take: Callable[[Any], None], now_s: float) -> None:
        self._request += 1
        number = self._request
        self._until_s = now_s + PATIENCE_S

        def answer(future: Future) -> None:
            if number == self._request and not future.cancelled():
                self._until_s = None
                if future.exception() is None:
                    take(future.result())

        future = client.call_async(request)
        future.add_done_callback(lambda done: self._post(lambda: answer(done)))
