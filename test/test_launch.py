"""The launch files and ``up`` start the same, told without ``launch`` by stand-ins for it.

``ros/test_launch.py`` runs them by the real one, where it is installed.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import itertools
import json
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from re_pose_ros.graph.description import FILES, describe
from re_pose_ros.graph.supervisor import Supervisor

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
ADAPTER = "re_pose_ros.graph.launch"
NAMES = {
    "launch": ["LaunchContext", "LaunchDescription"],
    "launch.action": ["Action"],
    "launch.actions": [
        "DeclareLaunchArgument",
        "EmitEvent",
        "OpaqueFunction",
        "RegisterEventHandler",
    ],
    "launch.event_handlers": ["OnProcessExit"],
    "launch.events": ["matches_action"],
    "launch.events.process": ["ProcessExited", "ShutdownProcess"],
    "launch.substitutions": ["LaunchConfiguration"],
    "launch_ros": [],
    "launch_ros.actions": ["Node"],
}
GRAPHS: list[tuple[str, dict[str, str]]] = [
    ("re_pose", {"source": "video.mp4", "model": "a.pt", "mode": "lockstep"}),
    (
        "re_pose",
        {"source": "0", "robot": "true", "workers": "0", "remote_workers": "garage,attic"},
    ),
    (
        "re_pose",
        {
            "source": "bag",
            "image": "mast/image",
            "namespace": "/fleet/one/",
            "log_level": "warn",
            "use_sim_time": "true",
            "params_file": "mine.yaml",
            "fusion.merge_threshold": "0.4",
        },
    ),
    ("partition", {"image": "/cam/image_raw", "workers": "1", "partitioner.look_every": "3"}),
    ("detector", {"workers": "edge_7", "device": "cuda:1", "edge_7.confidence": "0.1"}),
]


class StandIn:
    """Anything of ``launch``: keeps what it was made with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Gives the launch description of a launch file, made of stand-ins."""
    for module, names in NAMES.items():
        made = ModuleType(module)
        for name in names:
            setattr(made, name, type(name, (StandIn,), {}))
        monkeypatch.setitem(sys.modules, module, made)
    logging = ModuleType("launch.logging")
    logging.launch_config = SimpleNamespace(log_dir=str(tmp_path))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, logging.__name__, logging)
    spec = importlib.util.find_spec(ADAPTER)
    assert spec is not None and spec.loader is not None
    adapter = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, ADAPTER, adapter)
    spec.loader.exec_module(adapter)

    def generate(file: str) -> Any:
        return runpy.run_path(str(LAUNCH / f"{file}.launch.py"))["generate_launch_description"]()

    return generate


def of_kind(entities: Sequence[Any], kind: str) -> list[Any]:
    return [entity for entity in entities if type(entity).__name__ == kind]


def actions(description: Any, configured: Mapping[str, str]) -> list[Any]:
    """What a launch file starts with these launch configurations."""
    (function,) = of_kind(description.args[0], "OpaqueFunction")
    context = SimpleNamespace(launch_configurations=dict(configured))
    return list(function.kwargs["function"](context))


def configurations(file: str, given: Mapping[str, str]) -> dict[str, str]:
    """As launch has them: every declared argument, and those of whoever includes the file."""
    return {a.name: a.default for a in FILES[file]} | {"rviz": "true"} | dict(given)


def parameters(files: Sequence[str]) -> list[object]:
    """The files' contents; the user's own by its name."""
    return [json.loads(Path(f).read_text()) if "re_pose_ros_" in f else f for f in files]


# Without comparison to anything.


def test_each_launch_file_is_named_as_what_it_describes() -> None:
    for path in LAUNCH.glob("*.launch.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert [ast.unparse(call) for call in calls] == [
            f"launch_description('{path.name.removesuffix('.launch.py')}')"
        ]


@pytest.mark.parametrize("file", FILES)
def test_a_launch_file_declares_its_arguments(file: str, start: Callable[[str], Any]) -> None:
    declared = of_kind(start(file).args[0], "DeclareLaunchArgument")
    shown = [(d.args[0], d.kwargs["default_value"], d.kwargs["description"]) for d in declared]
    assert shown == [(a.name, a.default, a.doc) for a in FILES[file]]


def test_what_cannot_be_is_told_in_one_line(start: Callable[[str], Any]) -> None:
    for given, reason in (
        ({"foo.bar": "1"}, "no node is called foo"),
        ({"partitioner": "magic"}, "allowed is one of re_pose"),
        ({"params_file": "/no/such.yaml"}, "does not exist"),
    ):
        with pytest.raises(RuntimeError, match=rf"^re_pose_ros: .*{reason}") as caught:
            actions(start("re_pose"), configurations("re_pose", given))
        assert "\n" not in str(caught.value)


def test_the_graph_ends_with_the_source_but_not_with_a_lost_detector(
    start: Callable[[str], Any],
) -> None:
    made = actions(start("re_pose"), configurations("re_pose", {"source": "video.mp4"}))
    nodes = of_kind(made, "Node")
    handlers = [h.args[0].kwargs for h in of_kind(made, "RegisterEventHandler")]
    assert [handler["target_action"] for handler in handlers] == nodes
    ends = {h["target_action"].kwargs["name"]: h["on_exit"] for h in handlers}

    def ended(name: str, code: int, is_shutdown: bool = False) -> list[Any]:
        context = SimpleNamespace(is_shutdown=is_shutdown)
        emitted = ends[name](SimpleNamespace(returncode=code), context) or []
        return [e.kwargs["event"].kwargs["process_matcher"].args[0] for e in emitted]

    assert ended("camera", 0) == nodes[::-1]
    assert ended("fusion", 1) == nodes[::-1]
    assert ended("edge_1", 2) == nodes[::-1]
    assert ended("edge_1", -9) == []
    assert ended("camera", 0, is_shutdown=True) == []


# Compared to ``up``.


def started_by_launch(made: Sequence[Any]) -> dict[str, dict[str, object]]:
    started = {}
    for node in of_kind(made, "Node"):
        told = node.kwargs
        assert told["package"] == "re_pose_ros"
        started[told["name"] or told["executable"]] = {
            "executable": told["executable"],
            "name": told["name"],
            "namespace": told["namespace"],
            "remaps": dict(told["remappings"]),
            "level": told["ros_arguments"],
            "parameters": parameters(told["parameters"]),
        }
    return started


def started_by_up(
    monkeypatch: pytest.MonkeyPatch, file: str, given: dict[str, str]
) -> dict[str, dict[str, object]]:
    commands: list[list[str]] = []

    class Child:
        def __init__(self, command: list[str], **_: object) -> None:
            self.stdout = io.StringIO()
            commands.append(command)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr("subprocess.Popen", Child)
    started: dict[str, dict[str, object]] = {}
    with Supervisor(describe(given, file)):
        for command in commands:
            assert command[:2] == [sys.executable, "-m"]
            executable = command[2].removeprefix("re_pose_ros.nodes.")
            pairs = list(itertools.pairwise(command))
            rules = dict(b.split(":=") for a, b in pairs if a == "-r")
            name, namespace = rules.pop("__node", None), rules.pop("__ns", None)
            started[name or executable] = {
                "executable": executable,
                "name": name,
                "namespace": namespace and namespace.removeprefix("/"),
                "remaps": rules,
                "level": [word for pair in pairs if pair[0] == "--log-level" for word in pair],
                "parameters": parameters([b for a, b in pairs if a == "--params-file"]),
            }
    return started


@pytest.mark.parametrize(("file", "given"), GRAPHS)
def test_launch_and_up_start_the_same_processes(
    file: str,
    given: dict[str, str],
    start: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("/**: {ros__parameters: {slots: 3}}")
    by_launch = started_by_launch(actions(start(file), configurations(file, given)))
    by_up = started_by_up(monkeypatch, file, given)
    assert by_launch == by_up
    assert list(by_launch) == [process.title for process in describe(given, file).processes]


def test_up_leaves_no_parameter_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert started_by_up(monkeypatch, "re_pose", {"source": "0"})
    assert list(tmp_path.iterdir()) == []
