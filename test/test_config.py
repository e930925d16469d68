"""The parameter files that are installed say what the nodes know, and ROS reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from re_pose_ros.parameters.table import Table
from re_pose_ros.parameters.tables import DETECTOR, TABLES

CONFIG = Path(__file__).resolve().parents[1] / "config"
FILES = sorted(CONFIG.glob("*.yaml"))
# What stands for detectors of any name.
EVERY = "/**"


def entries(path: Path) -> list[tuple[str, Table, dict[str, Any]]]:
    """Key, table of the node it is for, and parameters."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = []
    for key, entry in content.items():
        assert list(entry) == ["ros__parameters"], key
        table = DETECTOR if key == EVERY else TABLES[key.removeprefix("/**/")]
        found.append((key, table, entry["ros__parameters"]))
    return found


def test_there_is_one_for_the_robot_and_one_for_an_edge_machine() -> None:
    nodes = {path.name: [table.node for _, table, _ in entries(path)] for path in FILES}
    assert nodes == {
        "edge.yaml": ["detector"],
        "robot.yaml": ["camera", "partitioner", "fusion"],
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_values_are_what_the_nodes_take(path: Path) -> None:
    for key, table, values in entries(path):
        for name, value in values.items():
            assert name in table, f"{key} has no parameter {name}"
            parameter = table[name]
            assert parameter.checked(value) == value
            # ROS refuses a whole number for a double.
            assert type(value) is type(parameter.default), f"{key} {name}"
            if isinstance(value, list):
                assert {type(item) for item in value} == {type(parameter.default[0])}  # type: ignore[index]


def test_robot_and_edge_machine_agree() -> None:
    told: dict[str, list[object]] = {}
    for path in FILES:
        for _, _, values in entries(path):
            for name in ("slots", "liveliness_lease", "deadline"):
                told.setdefault(name, []).extend([values[name]] if name in values else [])
    assert all(len(values) > 1 and len(set(values)) == 1 for values in told.values())


@pytest.mark.ros
@pytest.mark.parametrize("namespace", ["", "fleet/one"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ros_reads_them_in_any_namespace(path: Path, namespace: str) -> None:
    rclpy = pytest.importorskip("rclpy")
    from rclpy.context import Context
    from rclpy.node import Node

    context = Context()
    rclpy.init(args=["--ros-args", "--params-file", str(path)], context=context)
    try:
        for key, table, values in entries(path):
            name = "edge_2" if key == EVERY else table.node
            node = Node(
                name,
                namespace=namespace,
                context=context,
                automatically_declare_parameters_from_overrides=True,
            )
            given = {name: node.get_parameter(name).value for name in values}
            node.destroy_node()
            plain = {k: list(v) if isinstance(values[k], list) else v for k, v in given.items()}
            assert plain == values
    finally:
        rclpy.shutdown(context=context)
