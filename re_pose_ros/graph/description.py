"""Which processes make up the graph, with which names, parameters and remaps; ROS-free.

Both ``launch/*.launch.py`` and ``python -m re_pose_ros up`` are made from this.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from re_pose_ros.errors import InputError
from re_pose_ros.parameters.table import Value
from re_pose_ros.parameters.tables import CAMERA, DETECTOR, FUSION, PARTITIONER, TABLES

PACKAGE = "re_pose_ros"
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of the launch files and of ``up``; ``default`` is text, as launch wants it."""

    name: str
    default: str
    doc: str


ARGUMENTS = (
    Argument("source", "", "device, video, folder of images or bag; empty: no camera node"),
    Argument("image", "image_raw", "image topic; with no source that of your camera driver"),
    Argument("model", "yolo11n.pt", "weights that ultralytics loads; several with commas"),
    Argument("workers", "2", "number of detectors to start here, or names of detectors (a,b)"),
    Argument("remote_workers", "", "names of detectors that run on other machines (c,d)"),
    Argument("partitioner", "", "clusters, uniform or whole"),
    Argument("mode", "", "live or lockstep"),
    Argument("input_sizes", "", "network inputs to offer, as 320,640"),
    Argument("device", "", "cpu, cuda:0, ..."),
    Argument("robot", "false", "camera, partitioner and fusion in one process"),
    Argument("image_transport", "", "raw or compressed, between camera and partitioner"),
    Argument("params_file", "", "parameters YAML; wins over defaults, loses to arguments"),
    Argument("namespace", "", "of all nodes"),
    Argument("use_sim_time", "false", "take the time from /clock"),
    Argument("log_level", "info", "debug, info, warn or error"),
)
"""``ros2 launch`` shows them; every parameter of a node may be given as ``node.name`` as well."""

_NOT_IN = {
    "re_pose": (),
    "detector": ("source", "image", "remote_workers", "partitioner", "mode", "robot"),
    "partition": ("source", "robot"),
}
FILES = {
    file: tuple(argument for argument in ARGUMENTS if argument.name not in absent)
    for file, absent in _NOT_IN.items()
}
"""Which arguments each launch file has."""


@dataclass(frozen=True, slots=True)
class Process:
    """One executable of this package.

    Attributes:
        executable: as ``ros2 run re_pose_ros <executable>``.
        name: the node's name; empty where the executable holds several.
        defaults: parameters by node name that a parameter file may override.
        explicit: those that the user gave outright, which win over a file.
        remaps: topic by topic.
    """

    executable: str
    name: str
    defaults: Mapping[str, Mapping[str, Value]]
    explicit: Mapping[str, Mapping[str, Value]]
    remaps: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.name or self.executable


@dataclass(frozen=True, slots=True)
class Graph:
    """All processes, in the order to start them, and what they share."""

    processes: tuple[Process, ...]
    namespace: str
    params_file: str
    log_level: str


def worker_names(text: str) -> list[str]:
    """``3`` gives edge_0 to edge_2, ``a,b`` gives those; InputError for names ROS would refuse."""
    if text.strip().isdigit():
        return [f"edge_{k}" for k in range(int(text))]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not _NAME.match(name):
            raise InputError(f"workers: '{name}' is no node name (letters, digits and _)")
    if len(set(names)) != len(names):
        raise InputError(f"workers: a name is given twice in '{text}'")
    return names


def describe(arguments: Mapping[str, str], file: str = "re_pose") -> Graph:
    """The graph that the arguments mean; InputError names the argument that cannot be.

    Args:
        arguments: by name, those of ``ARGUMENTS``; missing ones have their default, empty ones are
            left to the nodes. ``node.parameter`` sets any parameter of a node.
        file: ``re_pose``, ``detector`` (only detectors) or ``partition`` (no camera).
    """
    given = _with_defaults(arguments)
    local = worker_names(given["workers"])
    workers = local + [n for n in worker_names(given["remote_workers"]) if n not in local]
    if not workers:
        raise InputError("workers: there has to be at least one detector")
    if given["params_file"] and not Path(given["params_file"]).is_file():
        raise InputError(f"params_file: {given['params_file']} does not exist")
    base: dict[str, Value] = {"use_sim_time": given["use_sim_time"].lower() in ("true", "1")}
    explicit = _explicit(given, arguments)
    processes = [
        Process(
            "detector",
            name,
            {name: base | {"threads": max(1, (os.cpu_count() or 1) // len(local))}},
            {name: explicit["detector"] | _overrides(arguments, name, "detector")},
        )
        for name in local
    ]
    if file != "detector":
        processes += _robot_side(given, base, explicit, workers, with_camera=file == "re_pose")
    return Graph(
        tuple(processes), given["namespace"].strip("/"), given["params_file"], given["log_level"]
    )


def _with_defaults(arguments: Mapping[str, str]) -> dict[str, str]:
    known = {argument.name: argument.default for argument in ARGUMENTS}
    for name in arguments:
        node = name.partition(".")[0]
        if name not in known and not (node != name and (node in TABLES or _NAME.match(node))):
            raise InputError(f"argument {name} is unknown; known are {', '.join(known)}")
    return {**known, **{name: text for name, text in arguments.items() if "." not in name}}


def _overrides(arguments: Mapping[str, str], name: str, kind: str) -> dict[str, Value]:
    """Arguments ``node.parameter`` of the node ``name``, or of its kind."""
    table = TABLES[kind]
    found: dict[str, Value] = {}
    for key, text in arguments.items():
        node, _, parameter = key.partition(".")
        if parameter and node in (kind, name):
            if parameter not in table:
                raise InputError(f"{kind} has no parameter {parameter}")
            found[parameter] = table[parameter].parse(text)
    return found


_NODE_ARGUMENTS = {
    "camera": ("source", "mode"),
    "partitioner": ("partitioner", "mode", "image_transport"),
    "detector": ("input_sizes", "device"),
    "fusion": ("mode", "image_transport"),
}


def _explicit(
    given: Mapping[str, str], arguments: Mapping[str, str]
) -> dict[str, dict[str, Value]]:
    """What the user said outright, by node; it wins over a parameter file."""
    explicit: dict[str, dict[str, Value]] = {}
    for node, names in _NODE_ARGUMENTS.items():
        table = TABLES[node]
        explicit[node] = {name: table[name].parse(given[name]) for name in names if given[name]}
    if "model" in arguments or not given["params_file"]:
        explicit["detector"]["models"] = DETECTOR["models"].parse(given["model"])
    for node in (CAMERA.node, PARTITIONER.node, FUSION.node):
        explicit[node] |= _overrides(arguments, node, node)
    return explicit


def _robot_side(
    given: Mapping[str, str],
    base: Mapping[str, Value],
    explicit: Mapping[str, Mapping[str, Value]],
    workers: list[str],
    *,
    with_camera: bool,
) -> list[Process]:
    image = given["image"]
    # A relative remap moves camera_info beside the image, as camera drivers have it.
    remaps = {}
    if image != "image_raw":
        folder = image.rpartition("/")[0]
        remaps = {
            "image_raw": image,
            "image_raw/compressed": f"{image}/compressed",
            "camera_info": f"{folder}/camera_info" if folder else "camera_info",
        }
    wired = dict(base) | {"workers": list(workers)}
    nodes: list[str] = ["partitioner", "fusion"]
    if with_camera and given["source"]:
        nodes.append("camera")
    defaults = {node: dict(base) if node == "camera" else dict(wired) for node in nodes}
    if given["robot"].lower() in ("true", "1"):
        if "camera" not in nodes:
            raise InputError("robot:=true needs a source: the frames are handed over in memory")
        said = {node: explicit[node] for node in nodes}
        return [Process("robot", "", defaults, said, remaps)]
    return [
        Process(node, node, {node: defaults[node]}, {node: explicit[node]}, remaps)
        for node in nodes
    ]


class _PlainDumper(yaml.SafeDumper):
    """Without aliases, which ROS refuses."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def parameter_file(nodes: Mapping[str, Mapping[str, Value]]) -> str:
    """Writes the parameters as a YAML file that ``--params-file`` takes; returns its path."""
    content = {
        f"/**/{name}": {"ros__parameters": dict(values)} for name, values in nodes.items() if values
    }
    with tempfile.NamedTemporaryFile(
        "w", prefix="re_pose_", suffix=".yaml", delete=False, encoding="utf-8"
    ) as file:
        yaml.dump(content, file, _PlainDumper, sort_keys=True)
    return file.name


def parameter_files(process: Process, graph: Graph) -> list[str]:
    """Paths of parameter files; of two that set the same, the later wins."""
    files = [parameter_file(process.defaults)]
    if graph.params_file:
        files.append(graph.params_file)
    if any(process.explicit.values()):
        files.append(parameter_file(process.explicit))
    return files


def ros_arguments(process: Process, graph: Graph) -> list[str]:
    """What follows ``--ros-args`` for this process."""
    arguments = ["--log-level", graph.log_level]
    if process.name:
        arguments += ["-r", f"__node:={process.name}"]
    if graph.namespace:
        arguments += ["-r", f"__ns:=/{graph.namespace}"]
    for source, target in process.remaps.items():
        arguments += ["-r", f"{source}:={target}"]
    for path in parameter_files(process, graph):
        arguments += ["--params-file", path]
    return arguments
