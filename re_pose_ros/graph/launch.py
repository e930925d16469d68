"""The graph for ``ros2 launch``; imported by ``launch/*.launch.py`` alone, needs ``launch_ros``."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch_ros.actions import Node

from re_pose_ros.errors import InputError
from re_pose_ros.graph.description import FILES, PACKAGE, Process, describe, parameter_files
from re_pose_ros.graph.description import Graph as GraphDescription


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
        return [action for process in graph.processes for action in _actions(process, graph)]

    declared = [
        DeclareLaunchArgument(a.name, default_value=a.default, description=a.doc)
        for a in FILES[file]
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _actions(process: Process, graph: GraphDescription) -> list[Action]:
    node = Node(
        package=PACKAGE,
        executable=process.executable,
        name=process.name or None,
        namespace=graph.namespace or None,
        parameters=parameter_files(process, graph),
        remappings=list(process.remaps.items()),
        ros_arguments=["--log-level", graph.log_level],
        output="screen",
        emulate_tty=True,
    )
    if process.executable not in ("camera", "robot"):
        return [node]
    # A recorded source ends; what works on its frames ends with it.
    ended = RegisterEventHandler(
        OnProcessExit(
            target_action=node, on_exit=[EmitEvent(event=Shutdown(reason="source ended"))]
        )
    )
    return [node, ended]
