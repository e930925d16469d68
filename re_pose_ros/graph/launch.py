"""The graph for ``ros2 launch``; imported by ``launch/*.launch.py`` alone, needs ``launch_ros``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from re_pose_ros.errors import InputError
from re_pose_ros.graph.description import FILES, PACKAGE, Process, describe, parameter_files
from re_pose_ros.graph.description import Graph as GraphDescription

PATIENCE_S = "10"  # a detector that is just loading its weights cannot end at once


def launch_description(file: str) -> LaunchDescription:
    """What the launch file ``file`` of ``FILES`` starts."""

    def start(context: LaunchContext) -> list[Action]:
        configured = dict(context.launch_configurations)
        known = {argument.name for argument in FILES[file]}
        given = {k: v for k, v in configured.items() if k in known or "." in k}
        try:
            graph = describe(given, file)
        except InputError as error:
            # launch shows this one line in front of its own report.
            raise RuntimeError(f"{PACKAGE}: {error}") from None
        return _actions(graph)

    declared = [
        DeclareLaunchArgument(a.name, default_value=a.default, description=a.doc)
        for a in FILES[file]
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _actions(graph: GraphDescription) -> list[Action]:
    # Beside the logs of this launch: they tell what it ran with, and go when those go.
    folder = tempfile.mkdtemp(prefix=f"{PACKAGE}_", dir=launch_config.log_dir)
    nodes = [_node(process, graph, folder) for process in graph.processes]
    handlers = [
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_end(process, nodes)))
        for process, node in zip(graph.processes, nodes, strict=True)
    ]
    return [*handlers, *nodes]


def _node(process: Process, graph: GraphDescription, folder: str) -> Node:
    return Node(
        package=PACKAGE,
        executable=process.executable,
        name=process.name or None,
        namespace=graph.namespace or None,
        parameters=parameter_files(process, graph, folder),
        remappings=list(process.remaps.items()),
        ros_arguments=["--log-level", graph.log_level],
        output="screen",
        emulate_tty=True,
        sigterm_timeout=LaunchConfiguration("sigterm_timeout", default=PATIENCE_S),
    )


def _end(process: Process, nodes: list[Node]) -> Callable[..., list[Action] | None]:
    """Ends this graph with what it cannot do without, and leaves the rest of a launch alone."""

    def ended(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        if context.is_shutdown or not process.ends_graph(event.returncode):
            return None
        return [
            EmitEvent(event=ShutdownProcess(process_matcher=matches_action(node)))
            for node in reversed(nodes)
        ]

    return ended
