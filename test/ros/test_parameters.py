"""Parameters of running nodes: what they tell, what may change, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from rcl_interfaces.msg import ParameterType

from re_pose_ros.graph.description import describe
from re_pose_ros.parameters.table import Parameter, Table
from re_pose_ros.parameters.tables import TABLES

from . import inputs
from .ends import ForeignCamera, Plans, wait_until_watched
from .harness import Bench

pytestmark = pytest.mark.ros

TYPES = {
    "boolean": ParameterType.PARAMETER_BOOL,
    "integer": ParameterType.PARAMETER_INTEGER,
    "double": ParameterType.PARAMETER_DOUBLE,
    "string": ParameterType.PARAMETER_STRING,
    "integer array": ParameterType.PARAMETER_INTEGER_ARRAY,
    "string array": ParameterType.PARAMETER_STRING_ARRAY,
}


def check_range(parameter: Parameter, descriptor: object) -> None:
    ranges = {
        "integer": descriptor.integer_range,  # type: ignore[attr-defined]
        "double": descriptor.floating_point_range,  # type: ignore[attr-defined]
    }.get(parameter.type_name, [])
    if parameter.type_name not in ("integer", "double") or parameter.range_text == "":
        assert not len(ranges)
        return
    (told,) = ranges
    if parameter.minimum is not None:
        assert told.from_value == parameter.minimum
    if parameter.maximum is not None:
        assert told.to_value == parameter.maximum


def check_table(bench: Bench, table: Table) -> None:
    descriptors = bench.probe.describe_parameters(table.node, list(table.parameters))
    for name, parameter in table.parameters.items():
        descriptor = descriptors[name]
        assert descriptor.type == TYPES[parameter.type_name], name
        assert descriptor.description.startswith(parameter.doc), name
        assert descriptor.additional_constraints == parameter.range_text, name
        check_range(parameter, descriptor)
        value = bench.probe.get_parameter(table.node, name)
        expected = False if name == "autostart" else parameter.default
        assert (list(value) if isinstance(expected, list) else value) == expected, name


def test_nodes_tell_their_tables(bench: Bench) -> None:
    for node in TABLES:
        bench.node(node, autostart=False)
    for table in TABLES.values():
        check_table(bench, table)


def test_live_changes_take_effect_and_others_are_refused(bench: Bench) -> None:
    probe = bench.probe
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    bench.node(
        "partitioner",
        workers=["edge_0"],
        partitioner="uniform",
        tile_size=160,
        overlap=0.0,
        mode="lockstep",
    )
    camera = ForeignCamera(probe)
    wait_until_watched(bench, camera)

    def blocks() -> int:
        stamp = camera.send(inputs.scene((320, 240)))
        plan = plans.of(stamp)
        probe.fused(stamp)
        return len(plan.blocks)

    assert blocks() == 4
    assert probe.set_parameter("partitioner", "tile_size", 120) == (True, "")
    assert blocks() == 6
    refused = {
        "tile_size": (31, "32"),
        "overlap": (0.95, "0.9"),
        "partitioner": ("whole", "partitioner is read at start only; restart partitioner"),
        "slots": (4, "slots is read at start only"),
        "jpeg_quality": ("high", "type"),
    }
    for name, (value, reason) in refused.items():
        before = probe.get_parameter("partitioner", name)
        taken, why = probe.set_parameter("partitioner", name, value)
        assert not taken, name
        assert reason in why
        assert probe.get_parameter("partitioner", name) == before
    assert blocks() == 6
    # What it has already is no change.
    assert probe.set_parameter("partitioner", "slots", 8) == (True, "")


def test_a_choice_is_refused_with_what_is_allowed(bench: Bench) -> None:
    bench.node("fusion", autostart=False)
    taken, why = bench.probe.set_parameter("fusion", "merge_mode", "sum")
    assert not taken
    assert "best, union, weighted" in why
    assert bench.probe.set_parameter("fusion", "merge_mode", "weighted") == (True, "")
    taken, why = bench.probe.set_parameter("fusion", "merge_threshold", 2.0)
    assert not taken
    assert "1" in why


def test_impossible_parameters_end_with_one_line(bench: Bench) -> None:
    file = bench.folder / "broken.yaml"
    file.write_text("partitioner: [")
    cases = [
        ("partitioner", ["-p", "tile_size:=many"], "tile_size has to be of type integer"),
        ("partitioner", ["-p", "overlap:=0"], "of type double; write 10.0 instead"),
        ("partitioner", ["-p", "overlap:=1.5"], "overlap"),
        ("partitioner", ["-p", "workers:=edge_0"], "workers has to be of type string array"),
        ("partitioner", ["-p", "workers:=[edge_0, edge_0]"], "workers has a name twice: edge_0"),
        ("partitioner", ["-p", "crop_workers:=[yolo]"], "names yolo, which workers lacks"),
        ("partitioner", ["-p", "mode:=fast"], "allowed is one of live, lockstep"),
        ("fusion", ["-p", "workers:=['']"], "workers is empty"),
        ("fusion", ["-p", "merge_metric:=dice"], "allowed is one of border, ios, iou"),
        ("camera", ["-p", "fused_timeout:=.nan"], "fused_timeout"),
        ("detector", ["-p", "input_sizes:=[16]"], "input_sizes=16: allowed is 32 to 8192"),
        ("detector", ["-p", "models:=[/no/such/net.pt]"], "/no/such/net.pt"),
        ("camera", ["--params-file", str(file)], "broken.yaml"),
    ]
    children = [
        bench.node(node, f"{node}_{k}", arguments=arguments)
        for k, (node, arguments, _) in enumerate(cases)
    ]
    for child, (_, _, reason) in zip(children, cases, strict=True):
        assert child.wait() == 2, child.output
        assert reason in child.output
        assert "Traceback" not in child.output
        # ROS itself may have said something before us.
        ours = [line for line in child.lines if "[rcl]" not in line]
        assert len(ours) == 1, child.output


@pytest.mark.parametrize("robot", [False, True], ids=["own_processes", "robot"])
def test_defaults_lose_to_a_file_and_that_to_what_was_typed(bench: Bench, robot: bool) -> None:
    """However the file names its nodes."""
    keys = ["/**", "/**/fusion", "/{namespace}/fusion", "/{namespace}:fusion", "fusion"]
    source = str(inputs.write_folder(bench.folder / "images"))
    nodes = []
    for k, key in enumerate(keys):
        # A bare name means the root namespace.
        namespace = "" if key == "fusion" else f"{bench.namespace}/n{k}"
        values = {"ros__parameters": {"workers": ["a", "b"], "deadline": 3.0, "cut_margin": 5.0}}
        outer, _, inner = key.format(namespace=namespace).partition(":")
        path = bench.folder / f"file_{k}.yaml"
        path.write_text(yaml.safe_dump({outer: {inner: values} if inner else values}))
        graph = describe(
            {
                "namespace": namespace,
                "params_file": str(path),
                "source": source if robot else "",
                "robot": str(robot).lower(),
                "fusion.deadline": "7",
                **{f"{node}.autostart": "false" for node in ("camera", "partitioner", "fusion")},
            },
        )
        wanted = [p for p in graph.processes if "fusion" in p.defaults]
        bench.start_graph(replace(graph, processes=tuple(wanted)))
        nodes.append(f"/{namespace}/fusion".replace("//", "/"))
    for node in nodes:
        assert list(bench.probe.get_parameter(node, "workers")) == ["a", "b"], node
        assert bench.probe.get_parameter(node, "deadline") == 7.0, node
        assert bench.probe.get_parameter(node, "cut_margin") == 5.0, node
        assert bench.probe.get_parameter(node, "merge_mode") == "best", node
