"""What all nodes share: lifecycle with autostart, parameters, diagnostics, telemetry, a main."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.declare import declare, watch
from re_pose_ros.nodes.messages import diagnostics_message, status_message
from re_pose_ros.parameters.table import Table

TELEMETRY_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Health:
    """One line of /diagnostics: ``level`` is OK, WARN or ERROR of DiagnosticStatus."""

    level: bytes
    message: str
    values: Mapping[str, object]

    @classmethod
    def ok(cls, message: str, **values: object) -> Health:
        return cls(DiagnosticStatus.OK, message, values)

    @classmethod
    def warn(cls, message: str, **values: object) -> Health:
        return cls(DiagnosticStatus.WARN, message, values)

    @classmethod
    def error(cls, message: str, **values: object) -> Health:
        return cls(DiagnosticStatus.ERROR, message, values)


class PipelineNode(LifecycleNode):
    """A lifecycle node that brings itself up and works in one thread beside the executor.

    Subclasses implement ``configure`` (entities, weights), ``work`` (the thread's loop, until
    ``self.stopping`` is set), ``health`` and, where they hold more, ``release``.
    """

    def __init__(self, table: Table, **kwargs: Any) -> None:
        super().__init__(table.node, **kwargs)
        self.values = declare(self, table)
        self.stopping = threading.Event()
        self.finished: Future = Future()
        self.failure: str = ""
        self._entities: list[tuple[Callable[[Any], bool], Any]] = []
        self._thread: threading.Thread | None = None
        self._telemetry = self.create_publisher(
            DiagnosticArray, "telemetry", qos.latched(TELEMETRY_DEPTH)
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.reliable())
        # Steady, because with use_sim_time the node's own clock may stand still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_health, clock=self._steady)
        watch(self, table, self.values, self.parameters_changed)

    # What a subclass fills in.

    def configure(self) -> None:
        """Create entities and load what is needed; InputError says what is wrong."""

    def work(self) -> None:
        """The working thread."""

    def health(self) -> Health:
        return Health.ok("running")

    def release(self) -> None:
        """Give back what ``configure`` took, other than entities."""

    def parameters_changed(self, names: set[str]) -> None:
        """Live parameters changed; InputError refuses the change."""

    # What a subclass uses.

    @property
    def lockstep(self) -> bool:
        return self.values.get("mode") == "lockstep"

    def now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def publisher(self, *args: Any, **kwargs: Any) -> Any:
        """A publisher that lives until cleanup."""
        made = self.create_publisher(*args, **kwargs)
        self._entities.append((self.destroy_publisher, made))
        return made

    def subscription(self, *args: Any, **kwargs: Any) -> Any:
        """A subscription that lives until cleanup."""
        made = self.create_subscription(*args, **kwargs)
        self._entities.append((self.destroy_subscription, made))
        return made

    def timer(self, period: float, callback: Callable[[], None]) -> Any:
        """A timer of ``period`` seconds of real time that lives until cleanup."""
        made = self.create_timer(period, callback, clock=self._steady)
        self._entities.append((self.destroy_timer, made))
        return made

    def telemetry(self, stamp_ns: int, values: Mapping[str, object], name: str = "") -> None:
        """What this node, or what is called ``name`` in it, did for the frame of ``stamp_ns``."""
        status = status_message(name or self.get_name(), DiagnosticStatus.OK, "", values)
        self._telemetry.publish(diagnostics_message(stamp_ns, [status]))

    # Lifecycle. rclpy swallows exceptions in transitions, so they are logged here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.failure = ""
        result = self._transition("configure", self.configure)
        if result != TransitionCallbackReturn.SUCCESS:
            # So that it can be tried again.
            self._release_all()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stopping.clear()
        self._thread = threading.Thread(target=self._guarded_work, name=self.get_name())
        self._thread.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_thread()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("clean up", self._release_all)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_thread()
        return self._transition("shut down", self._release_all)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_thread()
        return self._transition("recover", self._release_all)

    def start(self) -> bool:
        """Configure and activate where ``autostart`` says so; False where that failed."""
        if not self.values["autostart"]:
            return True
        good = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == good and self.trigger_activate() == good

    def close(self) -> None:
        self._stop_thread()
        self._transition("close", self._release_all)
        self.destroy_node()

    def _transition(self, what: str, act: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            act()
        except InputError as error:
            self.fail(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.fail(f"could not {what}: {traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def fail(self, reason: str) -> None:
        self.failure = reason
        self.get_logger().error(reason)

    def _guarded_work(self) -> None:
        try:
            self.work()
        except InputError as error:
            self.fail(str(error))
            self._finish()
        except Exception:
            if rclpy.ok():
                self.fail(f"stopped working: {traceback.format_exc()}")
            self._finish()

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    def _stop_thread(self) -> None:
        self.stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10.0)

    def _release_all(self) -> None:
        for destroy, entity in reversed(self._entities):
            destroy(entity)
        self._entities.clear()
        self.release()

    def _publish_health(self) -> None:
        health = Health.error(self.failure) if self.failure else self.health()
        status = status_message(
            self.get_fully_qualified_name(),
            health.level,
            health.message,
            health.values,
            os.uname().nodename,
        )
        self._diagnostics.publish(diagnostics_message(self.now_ns(), [status]))


def run(build: Callable[[], Sequence[PipelineNode]]) -> int:
    """Spin the nodes that ``build`` makes until the first has finished, or a signal.

    Returns the exit code: 0, or 2 where something given cannot be used (one line on stderr).
    """
    closing = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal closing
        if not closing:
            closing = True
            raise KeyboardInterrupt

    # Whoever stops a group may signal each process twice; the second breaks nothing off.
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, interrupt)
    try:
        rclpy.init()
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        print(f"ROS arguments: {str(error).splitlines()[0]}", file=sys.stderr)
        return EXIT_BAD_INPUT
    nodes: Sequence[PipelineNode] = ()
    try:
        nodes = build()
        return _spin(nodes)
    except InputError as error:
        print(f"{error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except RuntimeError:
        # Where the interrupt comes while rclpy converts a message, pybind makes this of it.
        if not closing:
            raise
        return 0
    finally:
        closing = True
        for node in nodes:
            node.close()
        rclpy.try_shutdown()


def _spin(nodes: Sequence[PipelineNode]) -> int:
    executor = SingleThreadedExecutor()
    done: Future = Future(executor=executor)
    for node in nodes:
        node.finished.add_done_callback(lambda _: done.done() or done.set_result(None))
        executor.add_node(node)
    try:
        if not all(node.start() for node in nodes):
            return EXIT_BAD_INPUT
        executor.spin_until_future_complete(done)
    finally:
        executor.shutdown(timeout_sec=1.0)
    return EXIT_BAD_INPUT if any(node.failure for node in nodes) else 0
