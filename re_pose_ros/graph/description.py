"""Which processes make up the graph, with which names, parameters and remaps; ROS-free.

Both ``launch/*.launch.py`` and ``python -m re_pose_ros up`` are made from this.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.parameters.table import Parameter, Value
from re_pose_ros.parameters.tables import CAMERA, DETECTOR, FUSION, PARTITIONER, TABLES
from re_pose_ros.parameters.tuner import TUNER
from re_pose_ros.plan import DEVICE_NAME

PACKAGE = "re_pose_ros"
LOCKSTEP_BATCH_WAIT_S = 10.0
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PATH = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
# ROS applies entries in the order in which their keys first come up, whatever file they are in.
# Keys that nobody else writes, one per rank, make the order of the files count; each matches a
# node in any namespace.
_DEFAULT_KEY = "/**/**/{}"
_EXPLICIT_KEY = "/**/**/**/{}"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of the launch files and of ``up``; ``default`` is text, as launch wants it."""

    name: str
    default: str
    doc: str


def _own(doc: str, parameter: Parameter) -> str:
    """``doc`` with the choices, and the default that holds where the argument is empty."""
    default = parameter.default
    text = ",".join(map(str, default)) if isinstance(default, list) else str(default)
    choices = f": {parameter.range_text}" if parameter.choices else ""
    return f"{doc}{choices} ({text})"


ARGUMENTS = (
    Argument("source", "", "device, video, folder of images or bag; empty: no camera node"),
    Argument("image", "image_raw", "image topic; with no source that of your camera driver"),
    Argument("model", "", _own("weights that ultralytics loads; several: a,b", DETECTOR["models"])),
    Argument("workers", "2", "number of detectors to start here, or names of detectors (a,b)"),
    Argument("remote_workers", "", "names of detectors that run on other machines (c,d)"),
    Argument("partitioner", "", _own("how a frame becomes blocks", PARTITIONER["partitioner"])),
    Argument("mode", "", _own("latest frame or every frame", CAMERA["mode"])),
    Argument("input_sizes", "", _own("network inputs to offer", DETECTOR["input_sizes"])),
    Argument("device", "", _own("of the detectors: cpu, cuda:0, ...", DETECTOR["device"])),
    Argument("tuner", "false", "keep choosing how robot and workers share the network"),
    Argument("robot", "false", "camera, partitioner and fusion in one process"),
    Argument("image_transport", "", _own("how frames travel", PARTITIONER["image_transport"])),
    Argument("params_file", "", "parameters YAML; wins over defaults, loses to arguments"),
    Argument("namespace", "", "of all nodes"),
    Argument("use_sim_time", "false", "take the time from /clock"),
    Argument("log_level", "info", ", ".join(LOG_LEVELS)),
)
"""``ros2 launch`` shows them; every parameter of a node may be given as ``node.name`` as well.

Where the default is empty the node's own holds, or what ``params_file`` says.
"""

_NOT_IN = {
    "re_pose": (),
    "detector": (
        "source",
        "image",
        "image_transport",
        "remote_workers",
        "partitioner",
        "mode",
        "tuner",
        "robot",
    ),
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
        prefix: what its command is preceded by, as ``taskset -c 1``; ``ros2 launch`` has none.
    """

    executable: str
    name: str
    defaults: Mapping[str, Mapping[str, Value]]
    explicit: Mapping[str, Mapping[str, Value]]
    remaps: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name or self.executable

    def ends_graph(self, code: int) -> bool:
        """Whether the graph ends with this process, given its exit code.

        The graph outlives a detector or tuner that is lost, but not one that cannot be what was
        asked for.
        """
        return self.executable not in ("detector", "tuner") or code == EXIT_BAD_INPUT


@dataclass(frozen=True, slots=True)
class Graph:
    """All processes, in the order to start them, and what they share."""

    processes: tuple[Process, ...]
    namespace: str
    params_file: str
    log_level: str


def worker_names(text: str, argument: str = "workers") -> list[str]:
    """``3`` gives edge_0 to edge_2, ``a,b`` gives those; InputError for names ROS would refuse."""
    if text.strip().isdecimal():
        return [f"edge_{k}" for k in range(int(text))]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"{argument}: '{name}' is no node name (letters, digits and _)")
        if name in (CAMERA.node, PARTITIONER.node, FUSION.node, TUNER.node, DEVICE_NAME):
            raise InputError(f"{argument}: '{name}' is the name of another node")
    if len(set(names)) != len(names):
        raise InputError(f"{argument}: a name is given twice in '{text}'")
    return names


def describe(arguments: Mapping[str, str], file: str = "re_pose") -> Graph:
    """The graph that the arguments mean; InputError names the argument that cannot be.

    Args:
        arguments: by name, those of ``FILES[file]``; missing ones have their default, empty ones
            are left to the nodes. ``node.parameter`` sets any parameter of a node.
        file: ``re_pose``, ``detector`` (only detectors) or ``partition`` (no camera).
    """
    given = _with_defaults(arguments, file)
    local, remote = _local_and_remote(given)
    for name in arguments:
        node, dot, _ = name.partition(".")
        if dot and node not in (*TABLES, *local, *remote):
            known = ", ".join([*TABLES, *local, *remote])
            raise InputError(f"argument {name}: no node is called {node}; there are {known}")
    namespace = given["namespace"].strip("/")
    for name, path in (("namespace", namespace or "_"), ("image", given["image"])):
        if not _PATH.fullmatch(path):
            raise InputError(f"{name}: '{path}' is no ROS name (letters, digits, _ and /)")
    if given["params_file"]:
        _check_params_file(Path(given["params_file"]))
    level = str(Parameter("log_level", "info", "", choices=LOG_LEVELS).parse(given["log_level"]))
    explicit = _explicit(given, arguments)
    alike: dict[str, Value] = {"threads": max(1, (os.cpu_count() or 1) // max(1, len(local)))}
    if given["mode"] == "lockstep":
        # A network's results differ in the last digits with the blocks that share its batch.
        alike["batch_wait"] = LOCKSTEP_BATCH_WAIT_S
    processes = [
        Process(
            "detector",
            name,
            {name: alike},
            {name: explicit["detector"] | _overrides(arguments, name, "detector")},
        )
        for name in local
    ]
    if file != "detector":
        processes += _robot_side(given, explicit, local + remote, with_camera=file == "re_pose")
    return Graph(tuple(processes), namespace, given["params_file"], level)


def _with_defaults(arguments: Mapping[str, str], file: str) -> dict[str, str]:
    known = [argument.name for argument in FILES[file]]
    for name in arguments:
        if "." not in name and name not in known:
            raise InputError(f"argument {name} is unknown; known are {', '.join(known)}")
    return {a.name: arguments.get(a.name, a.default) for a in ARGUMENTS}


def _local_and_remote(given: Mapping[str, str]) -> tuple[list[str], list[str]]:
    if given["remote_workers"].strip().isdecimal():
        raise InputError("remote_workers: give the names of the detectors, not their number")
    local = worker_names(given["workers"])
    remote = worker_names(given["remote_workers"], "remote_workers")
    if not local + remote:
        raise InputError("workers: there has to be at least one detector")
    for name in remote:
        if name in local:
            raise InputError(
                f"remote_workers: {name} is started here, as workers:={given['workers']} says"
            )
    return local, remote


def _check_params_file(path: Path) -> None:
    """Each node would say it again, and less clearly."""
    if not path.is_file():
        raise InputError(f"params_file: {path} does not exist")
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"params_file: {path} cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise InputError(f"params_file: {path} does not name nodes and their ros__parameters")


def _flag(given: Mapping[str, str], name: str) -> bool:
    return bool(Parameter(name, False, "").parse(given[name]))


def _overrides(arguments: Mapping[str, str], name: str, kind: str) -> dict[str, Value]:
    """Arguments ``node.parameter`` of the node ``name``, which win over those of its kind."""
    table = TABLES[kind]
    found: dict[str, Value] = {}
    for wanted in (kind, name):
        for key, text in arguments.items():
            node, _, parameter = key.partition(".")
            if parameter and node == wanted:
                if parameter not in table:
                    raise InputError(f"{kind} has no parameter {parameter}")
                found[parameter] = table[parameter].parse(text)
    return found


_NODE_ARGUMENTS = {
    "camera": ("source", "mode"),
    "partitioner": ("partitioner", "mode", "image_transport"),
    "detector": ("input_sizes", "device"),
    "fusion": ("mode", "image_transport"),
    "tuner": (),
}


def _explicit(
    given: Mapping[str, str], arguments: Mapping[str, str]
) -> dict[str, dict[str, Value]]:
    """What the user said outright, by node; it wins over a parameter file."""
    explicit: dict[str, dict[str, Value]] = {}
    for node, names in _NODE_ARGUMENTS.items():
        table = TABLES[node]
        explicit[node] = {name: table[name].parse(given[name]) for name in names if given[name]}
        if _flag(given, "use_sim_time"):
            explicit[node]["use_sim_time"] = True
    if given["model"]:
        explicit["detector"]["models"] = DETECTOR["models"].parse(given["model"])
    for node in (CAMERA.node, PARTITIONER.node, DETECTOR.node, FUSION.node, TUNER.node):
        explicit[node] |= _overrides(arguments, node, node)
    return explicit


def _robot_side(
    given: Mapping[str, str],
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
    nodes: list[str] = ["partitioner", "fusion"]
    if with_camera and given["source"]:
        nodes.append("camera")
    defaults: dict[str, dict[str, Value]] = {
        node: {} if node == "camera" else {"workers": list(workers)} for node in nodes
    }
    tuner = []
    if _flag(given, "tuner"):
        model = _shared_model(explicit)
        defaults["partitioner"]["coinference.model"] = model
        own: dict[str, dict[str, Value]] = {"tuner": {"workers": list(workers), "model": model}}
        tuner = [Process("tuner", "tuner", own, {"tuner": explicit["tuner"]})]
    if _flag(given, "robot"):
        if "camera" not in nodes:
            raise InputError("robot:=true needs a source: the frames are handed over in memory")
        said = {node: explicit[node] for node in nodes}
        return [*tuner, Process("robot", "", defaults, said, remaps)]
    return [
        *tuner,
        *(
            Process(node, node, {node: defaults[node]}, {node: explicit[node]}, remaps)
            for node in nodes
        ),
    ]


def _shared_model(explicit: Mapping[str, Mapping[str, Value]]) -> Value:
    """The network of robot and workers: that given for the robot, else the detectors' first."""
    models = explicit["detector"].get("models", DETECTOR["models"].default)
    first = models[0] if isinstance(models, list) else models
    return explicit["partitioner"].get("coinference.model", first)


def _parameter_file(
    nodes: Mapping[str, Mapping[str, Value]], key: str, rank: str, folder: str | None
) -> list[str]:
    """Path of a new file that ``--params-file`` takes; none where there is nothing to say."""
    content = {
        key.format(name): {"ros__parameters": dict(values)}
        for name, values in nodes.items()
        if values
    }
    if not content:
        return []
    with tempfile.NamedTemporaryFile(
        "w",
        prefix=f"{'_'.join(nodes)}_{rank}_",
        suffix=".yaml",
        dir=folder,
        delete=False,
        encoding="utf-8",
    ) as file:
        # JSON is YAML with every string quoted and no aliases, which rcl cannot read; and rcl
        # takes more words for numbers than PyYAML does.
        json.dump(content, file, ensure_ascii=False, indent=2)
    return [file.name]


def parameter_files(process: Process, graph: Graph, folder: str | None = None) -> list[str]:
    """Paths of parameter files; of two that set the same, the later wins.

    They are written to ``folder`` (None: that of temporary files) and are the caller's to remove.
    """
    given = [graph.params_file] if graph.params_file else []
    return [
        *_parameter_file(process.defaults, _DEFAULT_KEY, "defaults", folder),
        *given,
        *_parameter_file(process.explicit, _EXPLICIT_KEY, "explicit", folder),
    ]


def ros_arguments(process: Process, graph: Graph, folder: str | None = None) -> list[str]:
    """What follows ``--ros-args`` for this process; ``folder`` as for ``parameter_files``."""
    arguments = ["--log-level", graph.log_level]
    if process.name:
        arguments += ["-r", f"__node:={process.name}"]
    if graph.namespace:
        arguments += ["-r", f"__ns:=/{graph.namespace}"]
    for source, target in process.remaps.items():
        arguments += ["-r", f"{source}:={target}"]
    for path in parameter_files(process, graph, folder):
        arguments += ["--params-file", path]
    return arguments
