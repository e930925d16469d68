"""``parameters``: the documentation of all nodes' parameters."""

from __future__ import annotations

import argparse

from re_pose_ros.commands.options import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parameters = commands.add_parser("parameters", help="print the parameters of every node")
    parameters.set_defaults(act=_parameters)


def _parameters(arguments: argparse.Namespace) -> int:
    from re_pose_ros.parameters.tables import TABLES

    for table in TABLES.values():
        print(f"### {table.node}\n\n{table.markdown()}\n")
    return 0
