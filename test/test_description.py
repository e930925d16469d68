"""The one description that the launch files and ``up`` are made from."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.graph.description import (
    ARGUMENTS,
    FILES,
    Graph,
    Process,
    describe,
    parameter_files,
    ros_arguments,
    worker_names,
)

LAUNCH = Path(__file__).resolve().parents[1] / "launch"


def titles(graph: Graph) -> list[str]:
    return [process.title for process in graph.processes]


def process(graph: Graph, title: str) -> Process:
    return next(p for p in graph.processes if p.title == title)


def effective(graph: Graph, node: str) -> dict[str, Any]:
    """The parameters of ``node`` without a parameter file: explicit ones over defaults."""
    (own,) = (p for p in graph.processes if node in p.defaults)
    return {**own.defaults[node], **own.explicit[node]}


def refused(arguments: dict[str, str], file: str = "re_pose") -> str:
    with pytest.raises(InputError) as caught:
        describe(arguments, file)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Which processes.


def test_a_source_makes_the_whole_graph_with_the_camera_last() -> None:
    graph = describe({"source": "video.mp4"})
    assert titles(graph) == ["edge_0", "edge_1", "partitioner", "fusion", "camera"]
    kinds = [p.executable for p in graph.processes]
    assert kinds == ["detector", "detector", "partitioner", "fusion", "camera"]
    assert effective(graph, "camera")["source"] == "video.mp4"
    for node in ("partitioner", "fusion"):
        assert effective(graph, node)["workers"] == ["edge_0", "edge_1"]


def test_without_a_source_somebody_elses_camera_is_taken() -> None:
    assert "camera" not in titles(describe({}))


def test_partition_has_no_camera_and_detector_nothing_else() -> None:
    assert titles(describe({"workers": "1"}, "partition")) == ["edge_0", "partitioner", "fusion"]
    assert titles(describe({"workers": "arm,leg"}, "detector")) == ["arm", "leg"]


def test_robot_is_one_process_with_three_nodes() -> None:
    graph = describe({"source": "0", "robot": "true", "workers": "1", "mode": "lockstep"})
    assert titles(graph) == ["edge_0", "robot"]
    robot = process(graph, "robot")
    assert robot.name == ""
    assert set(robot.defaults) == {"partitioner", "fusion", "camera"}
    assert {said["mode"] for said in robot.explicit.values()} == {"lockstep"}
    assert "needs a source" in refused({"robot": "true"})
    assert refused({"robot": "perhaps"}).startswith("robot: 'perhaps' is no boolean")


def test_a_tuner_knows_the_workers_and_gives_the_robot_their_network() -> None:
    graph = describe({"source": "0", "workers": "2", "tuner": "true", "model": "scene-n,scene-s"})
    assert titles(graph) == ["edge_0", "edge_1", "tuner", "partitioner", "fusion", "camera"]
    assert process(graph, "tuner").executable == "tuner"
    assert effective(graph, "tuner") == {"workers": ["edge_0", "edge_1"], "model": "scene-n"}
    assert effective(graph, "partitioner")["coinference.model"] == "scene-n"
    assert "coinference.model" not in effective(describe({"source": "0"}), "partitioner")
    robot = describe({"source": "0", "robot": "true", "tuner": "true", "model": "scene-s"})
    assert titles(robot) == ["edge_0", "edge_1", "tuner", "robot"]
    assert effective(robot, "partitioner")["coinference.model"] == "scene-s"
    assert process(graph, "tuner").ends_graph(EXIT_BAD_INPUT)
    assert not process(graph, "tuner").ends_graph(-9)


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ({}, "yolo11n.pt"),
        ({"detector.models": "scene-s"}, "scene-s"),
        ({"model": "scene-s", "partitioner.coinference.model": "scene-n"}, "scene-n"),
    ],
)
def test_robot_and_tuner_have_one_network(given: dict[str, str], model: str) -> None:
    graph = describe({"tuner": "true", "tuner.policy": "greedy", **given})
    assert effective(graph, "tuner")["model"] == model
    assert effective(graph, "tuner")["policy"] == "greedy"
    assert effective(graph, "partitioner")["coinference.model"] == model


def test_remote_workers_are_served_but_not_started() -> None:
    graph = describe({"workers": "0", "remote_workers": "garage,attic"})
    assert titles(graph) == ["partitioner", "fusion"]
    assert effective(graph, "partitioner")["workers"] == ["garage", "attic"]
    graph = describe({"workers": "1", "remote_workers": "garage"})
    assert effective(graph, "fusion")["workers"] == ["edge_0", "garage"]
    assert "give the names" in refused({"remote_workers": "2"})
    assert "edge_1 is started here" in refused({"remote_workers": "edge_1"})
    assert "at least one detector" in refused({"workers": "0"})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("3", ["edge_0", "edge_1", "edge_2"]),
        (" 1 ", ["edge_0"]),
        ("0", []),
        ("", []),
        ("a", ["a"]),
        ("a, b,", ["a", "b"]),
    ],
)
def test_worker_names(text: str, names: list[str]) -> None:
    assert worker_names(text) == names


@pytest.mark.parametrize(
    "text", ["-1", "2.5", "a b", "7up", "a/b", "ä", "²", "a,a", "camera", "tuner"]
)
def test_worker_names_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError, match=r"^workers: "):
        worker_names(text)


def test_the_graph_outlives_a_lost_detector_only() -> None:
    graph = describe({"source": "0"})
    assert not process(graph, "edge_0").ends_graph(-9)
    assert process(graph, "edge_0").ends_graph(EXIT_BAD_INPUT)
    assert process(graph, "camera").ends_graph(0)
    assert process(graph, "fusion").ends_graph(1)


# Which arguments.


def test_launch_files_and_descriptions_are_the_same_set() -> None:
    assert {path.name for path in LAUNCH.glob("*.launch.py")} == {f"{f}.launch.py" for f in FILES}


@pytest.mark.parametrize("file", FILES)
def test_every_argument_of_a_file_is_understood_and_documented(file: str) -> None:
    defaults = {argument.name: argument.default for argument in FILES[file]}
    assert describe(defaults, file) == describe({}, file)
    assert all(argument.doc and not argument.doc.endswith(".") for argument in FILES[file])
    for argument in ARGUMENTS:
        if argument.name not in defaults:
            assert f"argument {argument.name} is unknown" in refused({argument.name: "x"}, file)


def test_arguments_reach_the_nodes_they_are_for() -> None:
    graph = describe(
        {
            "source": "video.mp4",
            "model": "a.pt,b.onnx",
            "partitioner": "uniform",
            "mode": "lockstep",
            "input_sizes": "320,960",
            "device": "cuda:1",
            "image_transport": "compressed",
        }
    )
    assert effective(graph, "edge_1")["models"] == ["a.pt", "b.onnx"]
    assert effective(graph, "edge_1")["input_sizes"] == [320, 960]
    assert effective(graph, "edge_0")["device"] == "cuda:1"
    assert effective(graph, "partitioner")["partitioner"] == "uniform"
    for node in ("partitioner", "fusion"):
        assert effective(graph, node)["image_transport"] == "compressed"
    for node in ("camera", "partitioner", "fusion"):
        assert effective(graph, node)["mode"] == "lockstep"


def test_what_is_not_given_is_left_to_the_nodes() -> None:
    graph = describe({"source": "video.mp4"})
    assert effective(graph, "camera") == {"source": "video.mp4"}
    assert set(effective(graph, "edge_0")) == {"threads"}
    assert set(effective(graph, "fusion")) == {"workers"}


def test_use_sim_time_is_for_all_nodes() -> None:
    graph = describe({"source": "bag", "use_sim_time": "true"})
    nodes = [node for p in graph.processes for node in p.defaults]
    assert len(nodes) == 5
    assert all(effective(graph, node)["use_sim_time"] is True for node in nodes)


def test_any_parameter_of_a_node_may_be_given() -> None:
    graph = describe(
        {
            "source": "video.mp4",
            "edge_1.confidence": "0.5",
            "detector.confidence": "0.4",
            "partitioner.tile_size": "360",
            "fusion.class_aware": "no",
            "camera.rate": "5",
        }
    )
    assert effective(graph, "edge_0")["confidence"] == 0.4
    assert effective(graph, "edge_1")["confidence"] == 0.5
    assert effective(graph, "partitioner")["tile_size"] == 360
    assert effective(graph, "fusion")["class_aware"] is False
    assert effective(graph, "camera")["rate"] == 5.0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"sauce": "0"}, "argument sauce is unknown; known are source, image"),
        ({"mode": "fast"}, "mode='fast': allowed is one of live, lockstep"),
        ({"partitioner": "magic"}, "partitioner='magic': allowed is one of re_pose"),
        ({"input_sizes": "big"}, "input_sizes: 'big' is no integer array"),
        ({"input_sizes": "9"}, "input_sizes=9: allowed is 32 to 8192"),
        ({"log_level": "loud"}, "log_level='loud': allowed is one of debug"),
        ({"use_sim_time": "soon"}, "use_sim_time: 'soon' is no boolean"),
        ({"namespace": "a b"}, "namespace: 'a b' is no ROS name"),
        ({"image": "/cam//image"}, "image: '/cam//image' is no ROS name"),
        ({"partitioner.tile_sise": "3"}, "partitioner has no parameter tile_sise"),
        ({"partitioner.tile_size": "x"}, "tile_size: 'x' is no integer"),
        ({"detector.confidence": "2"}, "confidence=2.0: allowed is 0 to 1"),
        ({"edge_7.device": "cpu"}, "argument edge_7.device: no node is called edge_7"),
        ({"params_file": "/no/such.yaml"}, "params_file: /no/such.yaml does not exist"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(
    arguments: dict[str, str], reason: str
) -> None:
    assert refused(arguments).startswith(reason)


@pytest.mark.parametrize("text", ["a: [", "- a", "", "\x00", "42"])
def test_a_broken_parameter_file_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert refused({"params_file": str(path)}).startswith(f"params_file: {path}")


def test_cores_are_shared_between_the_detectors_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert effective(describe({"workers": "3"}), "edge_0")["threads"] == 2
    assert effective(describe({"workers": "9"}), "edge_0")["threads"] == 1
    # Only a default: a parameter file may say otherwise.
    assert "threads" not in process(describe({}), "edge_0").explicit["edge_0"]


# Topics.


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("mast/image_raw", "mast/camera_info"),
        ("/front/left/image", "/front/left/camera_info"),
        ("picture", "camera_info"),
    ],
)
def test_an_image_topic_moves_what_belongs_to_it(image: str, info: str) -> None:
    graph = describe({"image": image}, "partition")
    for node in ("partitioner", "fusion"):
        assert process(graph, node).remaps == {
            "image_raw": image,
            "image_raw/compressed": f"{image}/compressed",
            "camera_info": info,
        }
    assert not process(graph, "edge_0").remaps


def test_the_own_image_topic_needs_no_remap() -> None:
    graph = describe({"source": "0", "image": "image_raw"})
    assert not any(p.remaps for p in graph.processes)


# Command lines.


def parameter_values(path: str) -> dict[str, dict[str, Any]]:
    """By node, as the file says."""
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return {key.rpartition("/")[2]: entry["ros__parameters"] for key, entry in content.items()}


def test_the_command_line_of_a_process(tmp_path: Path) -> None:
    params = tmp_path / "mine.yaml"
    params.write_text("fusion: {ros__parameters: {cut_margin: 3.0}}")
    graph = describe(
        {
            "namespace": "/robots/one/",
            "image": "cam/image",
            "log_level": "warn",
            "params_file": str(params),
            "fusion.deadline": "2",
        },
        "partition",
    )
    arguments = ros_arguments(process(graph, "fusion"), graph, str(tmp_path))
    assert " ".join(arguments).startswith(
        "--log-level warn -r __node:=fusion -r __ns:=/robots/one -r image_raw:=cam/image"
    )
    files = [b for a, b in itertools.pairwise(arguments) if a == "--params-file"]
    # A user's file wins over what the description chose, and loses to what the user typed.
    assert files[1] == str(params)
    assert parameter_values(files[0]) == {"fusion": {"workers": ["edge_0", "edge_1"]}}
    assert parameter_values(files[2]) == {"fusion": {"deadline": 2.0}}
    assert all(Path(file).parent == tmp_path for file in files)


def test_a_process_of_several_nodes_has_no_name_to_remap(tmp_path: Path) -> None:
    graph = describe({"source": "video.mp4", "robot": "true"})
    robot = process(graph, "robot")
    assert not any("__node" in a for a in ros_arguments(robot, graph, str(tmp_path)))
    defaults, explicit = parameter_files(robot, graph, str(tmp_path))
    assert set(parameter_values(defaults)) == {"partitioner", "fusion"}
    assert parameter_values(explicit) == {"camera": {"source": "video.mp4"}}


@pytest.mark.parametrize("text", ["0", "1e3", "yes", "~", "null", "a: b", "ä", 'quote"d', "# no"])
def test_text_stays_text_in_a_parameter_file(tmp_path: Path, text: str) -> None:
    graph = describe({"source": text, "camera.frame_id": text})
    (explicit,) = parameter_files(process(graph, "camera"), graph, str(tmp_path))
    assert parameter_values(explicit)["camera"] == {"source": text, "frame_id": text}


def test_numbers_keep_their_type_in_a_parameter_file(tmp_path: Path) -> None:
    graph = describe({"source": "x", "camera.rate": "10", "camera.start": "10"})
    (explicit,) = parameter_files(process(graph, "camera"), graph, str(tmp_path))
    values = parameter_values(explicit)["camera"]
    assert type(values["rate"]) is float
    assert type(values["start"]) is int
