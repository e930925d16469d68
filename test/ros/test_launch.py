"""The launch files run by the real ``launch``; the nodes are stand-ins where they need not work."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from vision_msgs.msg import Detection2DArray

from .harness import Bench, Child

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(
        find_spec("launch_ros") is None,
        reason="needs launch and launch_ros, which come with a ROS installation",
    ),
]

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
NODES = ("camera", "partitioner", "detector", "fusion", "robot")
LIMIT_S = 90.0
# As `ros2 launch` does it, or from another launch file in a namespace and with simulated time.
LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter

path, within, *arguments = sys.argv[1:]
entity = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(path),
    launch_arguments=[argument.split(":=", 1) for argument in arguments],
)
if within:
    entity = GroupAction([PushRosNamespace(within), SetParameter("use_sim_time", True), entity])
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([entity]))
sys.exit(service.run())
"""
# Writes down the parameters that ROS gives the nodes of a process.
TELLER = """
import json, pathlib, signal, sys, threading
import rclpy
from rclpy.signals import SignalHandlerOptions

interrupted = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: interrupted.set())
rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
folder, executable = pathlib.Path(sys.argv[1]), sys.argv[2]
names = ["camera", "partitioner", "fusion"] if executable == "robot" else [executable]
for name in names:
    node = rclpy.create_node(name, automatically_declare_parameters_from_overrides=True)
    told = {key: value.value for key, value in node._parameters.items()}
    told["topic"] = node.resolve_topic_name("image_raw")
    path = folder / (node.get_fully_qualified_name().replace("/", "+") + ".json")
    (folder / f"{executable}.new").write_text(json.dumps(told, default=list))
    (folder / f"{executable}.new").rename(path)
interrupted.wait()
"""
# Runs until it is interrupted, or until the files are there after which the plan has it end.
WAITER = """
import json, os, pathlib, signal, sys, threading

interrupted = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: interrupted.set())
folder, executable = pathlib.Path(sys.argv[1]), sys.argv[2]
names = [word.split(":=")[1] for word in sys.argv if word.startswith("__node:=")]
name = names[0] if names else executable
(folder / f"{name}.new").write_text(str(os.getpid()))
(folder / f"{name}.new").rename(folder / f"{name}.pid")
plan = json.loads((folder / "plan.json").read_text())
while not interrupted.wait(0.02):
    if name in plan and all(folder.joinpath(n).exists() for n in plan[name]["after"]):
        folder.joinpath(f"{name}.ended").touch()
        sys.exit(plan[name]["code"])
folder.joinpath(f"{name}.interrupted").touch()
"""

Launch = Callable[..., Child]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Installs executables of the package: the given script, or the nodes where it is empty."""
    prefix, told = tmp_path / "prefix", tmp_path / "told"
    marker = prefix / "share/ament_index/resource_index/packages/re_pose_ros"
    for folder in (marker.parent, prefix / "lib/re_pose_ros", told):
        folder.mkdir(parents=True)
    marker.touch()
    others = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{others}")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))

    def install(script: str) -> Path:
        (tmp_path / "stand_in.py").write_text(script)
        for node in NODES:
            words = [sys.executable, "-m", f"re_pose_ros.nodes.{node}"]
            if script:
                words = [sys.executable, str(tmp_path / "stand_in.py"), str(told), node]
            path = prefix / "lib/re_pose_ros" / node
            path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            path.chmod(0o755)
        return told

    return install


@pytest.fixture
def launch(bench: Bench, tmp_path: Path) -> Launch:
    """Starts a launch file with arguments ``name:=value``."""
    script = tmp_path / "launcher.py"
    script.write_text(LAUNCHER)

    def start(file: str, *arguments: str, within: str = "") -> Child:
        path = LAUNCH / f"{file}.launch.py"
        return bench.run("launch", [sys.executable, str(script), str(path), within, *arguments])

    return start


def effective(bench: Bench, child: Child, told: Path, names: set[str]) -> dict[str, Any]:
    """What each node was given, by its full name, once all have told; ends the launch."""

    def found() -> dict[str, Path] | None:
        paths = {path.stem.replace("+", "/"): path for path in told.glob("*.json")}
        return paths if paths.keys() >= names else None

    paths = bench.wait_for(found, f"the parameters of {names}")
    child.interrupt()
    child.wait(LIMIT_S)
    assert paths.keys() == names
    return {name: json.loads(path.read_text()) for name, path in paths.items()}


# What reaches the nodes.


@pytest.mark.parametrize("within", ["", "fleet"])
@pytest.mark.parametrize("robot", ["false", "true"])
def test_parameters_of_every_rank_reach_the_nodes_wherever_they_are(
    robot: str,
    within: str,
    bench: Bench,
    installed: Callable[[str], Path],
    launch: Launch,
    tmp_path: Path,
) -> None:
    told = installed(TELLER)
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        """
        /**: {ros__parameters: {slots: 3, liveliness_lease: 2.0, merge_threshold: 0.6}}
        /**/fusion: {ros__parameters: {merge_mode: union, deadline: 1.0}}
        /**/edge_0: {ros__parameters: {threads: 7, slots: 4}}
        """
    )
    arguments = ["source:=video.mp4", "workers:=1", f"params_file:={mine}", f"robot:={robot}"]
    arguments += ["fusion.merge_threshold:=0.4", "fusion.deadline:=2", "detector.confidence:=0.1"]
    arguments += ["namespace:=one"]
    child = launch("re_pose", *arguments, within=within)
    place = f"/{within}/one".replace("//", "/")
    names = [f"{place}/{name}" for name in ("camera", "partitioner", "fusion", "edge_0")]
    nodes = effective(bench, child, told, set(names))
    camera, partitioner, fusion, edge = (nodes[name] for name in names)
    assert camera["source"] == "video.mp4"
    assert (partitioner["slots"], partitioner["workers"]) == (3, ["edge_0"])
    assert (fusion["merge_mode"], fusion["deadline"]) == ("union", 2.0)
    assert fusion["merge_threshold"] == 0.4
    assert (edge["threads"], edge["slots"], edge["confidence"]) == (7, 4, 0.1)
    # That of the including file, which nothing here contradicts.
    assert all(node["use_sim_time"] is bool(within) for node in nodes.values())


def test_without_a_namespace_nodes_are_at_the_root_and_take_the_image_asked_for(
    bench: Bench, installed: Callable[[str], Path], launch: Launch
) -> None:
    told = installed(TELLER)
    child = launch("partition", "image:=/cam/image", "workers:=edge_4", "use_sim_time:=true")
    nodes = effective(bench, child, told, {"/partitioner", "/fusion", "/edge_4"})
    assert {nodes[name]["topic"] for name in ("/partitioner", "/fusion")} == {"/cam/image"}
    assert all(node["use_sim_time"] is True for node in nodes.values())
    assert nodes["/fusion"]["workers"] == ["edge_4"]


# When it ends.


def ending(told: Path, **ends: tuple[int, list[str]]) -> None:
    """Which stand-in ends, with which code, after which files are there."""
    plan = {name: {"code": code, "after": after} for name, (code, after) in ends.items()}
    (told / "plan.json").write_text(json.dumps(plan))


def none_left(told: Path) -> bool:
    """Whether all that were started have ended."""
    for path in told.glob("*.pid"):
        try:
            os.kill(int(path.read_text()), 0)
        except ProcessLookupError:
            continue
        return False
    return True


ALL = [f"{name}.pid" for name in ("camera", "partitioner", "fusion", "edge_0", "edge_1")]


def test_everything_ends_with_the_source(installed: Callable[[str], Path], launch: Launch) -> None:
    told = installed(WAITER)
    ending(told, camera=(0, ALL))
    assert launch("re_pose", "source:=video.mp4").wait(LIMIT_S) == 0
    interrupted = {path.stem for path in told.glob("*.interrupted")}
    assert interrupted == {"partitioner", "fusion", "edge_0", "edge_1"}
    assert none_left(told)


def died(child: Child, number: int) -> bool:
    return f"[detector-{number}]: process has died" in child.output


def test_a_lost_detector_is_done_without(
    bench: Bench, installed: Callable[[str], Path], launch: Launch
) -> None:
    told = installed(WAITER)
    ending(told, edge_0=(1, ALL), edge_1=(1, ["first"]), camera=(0, ["second"]))
    child = launch("re_pose", "source:=video.mp4")
    # Once the second is gone, launch has done all that it does about the first.
    for number, file in ((1, "first"), (2, "second")):
        bench.wait_for(partial(died, child, number), f"the end of detector-{number}")
        (told / file).touch()
    assert child.wait(LIMIT_S) == 0
    assert {path.stem for path in told.glob("*.ended")} == {"edge_0", "edge_1", "camera"}
    assert none_left(told)


def test_a_detector_that_cannot_start_ends_the_graph(
    installed: Callable[[str], Path], launch: Launch
) -> None:
    told = installed(WAITER)
    ending(told, edge_0=(2, ALL))
    launch("re_pose", "source:=video.mp4").wait(LIMIT_S)
    interrupted = {path.stem for path in told.glob("*.interrupted")}
    assert interrupted == {"camera", "partitioner", "fusion", "edge_1"}
    assert none_left(told)


def test_an_interrupt_ends_everything(
    bench: Bench, installed: Callable[[str], Path], launch: Launch
) -> None:
    told = installed(WAITER)
    ending(told)
    child = launch("re_pose", "source:=video.mp4")
    bench.wait_for(lambda: all((told / name).exists() for name in ALL), "all to be started")
    child.interrupt()
    child.wait(LIMIT_S)
    assert {path.stem for path in told.glob("*.interrupted")} == {Path(n).stem for n in ALL}
    assert none_left(told)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("params_file:=/no/such.yaml", "params_file: /no/such.yaml does not exist"),
        ("workers:=a-b", "workers: 'a-b' is no node name"),
        ("partitioner:=magic", "partitioner='magic': allowed is one of"),
        ("foo.bar:=1", "argument foo.bar: no node is called foo"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    argument: str, reason: str, installed: Callable[[str], Path], launch: Launch
) -> None:
    told = installed(WAITER)
    child = launch("re_pose", argument)
    assert child.wait(LIMIT_S) == 1
    assert len([line for line in child.lines if reason in line]) == 1
    assert "Traceback" not in child.output
    assert list(told.iterdir()) == []


def test_parameter_files_are_kept_with_the_logs_alone(
    installed: Callable[[str], Path],
    launch: Launch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ending(installed(WAITER), edge_0=(0, []))
    litter = tmp_path / "temporary"
    litter.mkdir()
    monkeypatch.setenv("TMPDIR", str(litter))
    assert launch("detector", "workers:=1", "detector.confidence:=0.5").wait(LIMIT_S) == 0
    assert list(litter.iterdir()) == []
    kept = {path.resolve().name for path in (tmp_path / "log").glob("*/re_pose_ros_*/*.yaml")}
    assert [name[:15] for name in sorted(kept)] == ["edge_0_defaults", "edge_0_explicit"]


# The real nodes.


def test_the_graph_comes_up_fuses_and_ends(
    bench: Bench, installed: Callable[[str], Path], launch: Launch, tmp_path: Path
) -> None:
    installed("")
    images = tmp_path / "images"
    images.mkdir()
    for k in range(3):
        cv2.imwrite(str(images / f"{k}.png"), np.full((120, 160, 3), 80 * k, np.uint8))
    results = bench.probe.subscribe_latched("detections", Detection2DArray)
    child = launch(
        "re_pose",
        f"source:={images}",
        "workers:=0",
        "remote_workers:=edge_9",
        "mode:=lockstep",
        f"namespace:={bench.namespace}",
    )
    # Without its worker the graph waits, so that nothing is fused before we can hear it.
    heard = f"/{bench.namespace}/detections"
    bench.wait_for(lambda: bench.probe.node.count_publishers(heard) > 0, "fusion")
    bench.fake_detector("edge_9")
    bench.wait_for(lambda: len(results) == 3, "three results")
    assert child.wait(LIMIT_S) == 0
    ends = [line for line in child.lines if "process has finished cleanly" in line]
    assert len(ends) == 3
