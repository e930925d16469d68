"""``up``: the graph, where ``ros2 launch`` is not installed."""

from __future__ import annotations

import argparse

from re_pose_ros.commands.options import Commands, pairs
from re_pose_ros.graph.description import ARGUMENTS, describe


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    known = "\n".join(f"  {a.name + ':=' + a.default:<24} {a.doc}" for a in ARGUMENTS)
    up = commands.add_parser(
        "up",
        help="start the graph, where ros2 launch is not installed",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"arguments, as for ros2 launch:\n{known}\n  node.parameter:=value    any parameter",
    )
    up.add_argument("argument", nargs="*", metavar="name:=value")
    up.add_argument(
        "--file",
        choices=("re_pose", "detector", "partition"),
        default="re_pose",
        help="as the launch file of that name",
    )
    up.set_defaults(act=_up)


def _up(arguments: argparse.Namespace) -> int:
    from re_pose_ros.graph.supervisor import Supervisor

    with Supervisor(describe(pairs(arguments.argument), arguments.file)) as supervisor:
        supervisor.wait()
    return 0
