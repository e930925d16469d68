"""The demo command: from a recording to a video, a bag and figures, and how it ends early."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from vision_msgs.msg import Detection2DArray

from re_pose_ros.bags import BagWriter, typestore
from re_pose_ros.demo.judge import FIGURES
from re_pose_ros.demo.run import NAMESPACE
from re_pose_ros.demo.summary import summarise
from re_pose_ros.detections import Detections
from re_pose_ros.evaluation import evaluate_coco
from re_pose_ros.graph.records import Recording
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.scenes import CLASSES, Scene, parse_spec

from .harness import Bench, Child

pytestmark = [pytest.mark.ros, pytest.mark.timeout(240)]
RUN_S = 200.0

FRAMES = 6
FIRST_STAMP, PERIOD = 1_700_000_000_000_000_000, 100_000_000
VIDEO = "video/plaza_720p.avi"
WEIGHTS = "weights/yolo11n_coco.pt"
SCENE = "scene:plaza?seed=501&size=1280x720&frames=4"
MODEL = "scene-n"
"""Comes with the package."""
# On a busy machine a network with several threads is slower by far than with one.
QUICK = ("detector.input_sizes:=320", "detector.profile_repeats:=1", "detector.threads:=1")
COMPRESSED = "sensor_msgs/msg/CompressedImage"
KEYS = set(summarise(Recording(), {"source": "", "model": "", "partitioner": ""}, []))


def demo(bench: Bench, *options: object, settings: Sequence[str] = ()) -> Child:
    command = [sys.executable, "-m", "re_pose_ros", "demo", *map(str, options)]
    return bench.run("demo", command + [word for text in settings for word in ("--set", text)])


def write_bag(path: Path, video: Path) -> None:
    """The first frames of ``video`` as a camera's compressed images."""
    source = cv2.VideoCapture(str(video))
    types = typestore().types
    with BagWriter(path) as bag:
        for k in range(FRAMES):
            stamp = FIRST_STAMP + k * PERIOD
            time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
            header = types["std_msgs/msg/Header"](time, "mast")
            image = np.asarray(source.read()[1], np.uint8)
            jpeg = np.frombuffer(encode_jpeg(image, 95), np.uint8)
            bag.write("/mast/image", COMPRESSED, types[COMPRESSED](header, "jpeg", jpeg), stamp)
    source.release()


def read_bag(path: Path) -> dict[str, list[Any]]:
    """All messages by topic, as anybody's tool reads them: types come from the bag itself."""
    messages: dict[str, list[Any]] = {}
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            messages.setdefault(connection.topic, []).append(message)
    return messages


def stamps(messages: Sequence[Any]) -> list[int]:
    return [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]


def frames_of(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    assert video.isOpened()
    count = 0
    while video.read()[0]:
        count += 1
    video.release()
    return count


def test_a_bag_goes_in_and_a_bag_a_video_and_figures_come_out(
    bench: Bench, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    recording, out = tmp_path / "recording.mcap", tmp_path / "out"
    write_bag(recording, shared_data / VIDEO)
    weights = shared_data / WEIGHTS
    options = ("--source", recording, "--model", weights, "--workers", 2, "--out", out)
    child = demo(
        bench,
        *options,
        "--partitioner",
        "uniform",
        settings=[*QUICK, "partitioner.tile_size:=640", "camera.stamp:=source"],
    )
    assert child.wait(RUN_S) == 0, child.output

    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) >= KEYS
    assert summary["source"] == str(recording) and summary["model"] == str(weights)
    assert summary["partitioner"] == "uniform" and summary["workers"] == 2
    counts = [summary[name] for name in ("frames_in", "frames_fused", "frames_partial")]
    assert counts == [FRAMES, FRAMES, 0]
    assert set(summary["latency_ms"]) == {"p50", "p95", "max"}
    assert list(summary["per_worker"]) == ["edge_0", "edge_1"]
    assert summary["blocks_per_frame"] == 6.0 and summary["bytes_to_workers"] > 0
    assert sum(worker["blocks"] for worker in summary["per_worker"].values()) == 6 * FRAMES
    assert summary["detections"] >= 10 * FRAMES

    messages = read_bag(out / "detections.mcap")
    names = ("detections", "plan", "label_info", "telemetry", "edge_0/profile", "edge_1/profile")
    assert set(messages) == {f"/{NAMESPACE}/{name}" for name in names}
    detections, plans = messages[f"/{NAMESPACE}/detections"], messages[f"/{NAMESPACE}/plan"]
    assert stamps(detections) == [FIRST_STAMP + k * PERIOD for k in range(FRAMES)]
    assert sorted(stamps(plans)) == stamps(detections)
    assert {message.header.frame_id for message in detections} == {"mast"}
    assert sum(len(message.detections) for message in detections) == summary["detections"]
    assert [len(message.detections) for message in plans] == [6] * FRAMES
    (labels,) = messages[f"/{NAMESPACE}/label_info"]
    assert labels.class_map[0].class_name == "person"

    assert frames_of(out / "annotated.mp4") == FRAMES
    table = child.output
    assert f"{FRAMES} in, {FRAMES} fused, 0 partial" in table and "Traceback" not in table


def detections_of(message: Any) -> Detections:
    rows = []
    for found in message.detections:
        centre, box = found.bbox.center.position, found.bbox
        wide, high = box.size_x / 2, box.size_y / 2
        corners = (centre.x - wide, centre.y - high, centre.x + wide, centre.y + high)
        hypothesis = found.results[0].hypothesis
        rows.append((corners, hypothesis.score, int(hypothesis.class_id)))
    return Detections.of(*zip(*rows, strict=True)) if rows else Detections.empty()


def test_a_scene_knows_its_truth_so_the_accuracy_is_told(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    options = ["--source", SCENE, "--model", MODEL, "--workers", 1, "--out", tmp_path]
    child = demo(bench, *options, settings=QUICK)
    assert child.wait(RUN_S) == 0, child.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    messages = read_bag(tmp_path / "detections.mcap")[f"/{NAMESPACE}/detections"]
    scene = Scene(parse_spec(SCENE))
    truths = [scene.render(k)[1] for k in range(4)]
    expected = evaluate_coco([detections_of(m) for m in messages], truths, CLASSES)
    assert expected.map50 is not None and expected.map50 > 0
    for name in FIGURES:
        value = getattr(expected, name)
        assert summary[name] == (None if value is None else pytest.approx(value, abs=0.002))
    assert f"mAP50 {summary['map50']:.3f}" in child.output
    assert frames_of(tmp_path / "annotated.mp4") == 4


def test_a_budget_is_planned_for_and_told(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    options = ["--source", SCENE, "--model", MODEL, "--workers", 2, "--out", tmp_path]
    wanted = ["partitioner.budget_ms:=400", "partitioner.objective:=balanced"]
    child = demo(bench, *options, "--partitioner", "greedy", settings=[*QUICK, *wanted])
    assert child.wait(RUN_S) == 0, child.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["frames_fused"] == 4
    budget = summary["budget"]
    assert (budget["budget_ms"], budget["objective"]) == (400.0, "balanced")
    assert budget["predicted_ms"]["p50"] > 0 and budget["happened_ms"]["p50"] > 0
    assert budget["value_happened"] == pytest.approx(summary["detections_per_frame"], abs=1e-3)
    assert any(line.startswith("budget ") for line in child.lines)
    messages = read_bag(tmp_path / "detections.mcap")
    told = messages[f"/{NAMESPACE}/telemetry"]
    values = [
        {pair.key: pair.value for pair in status.values}
        for message in told
        for status in message.status
        if status.name == "partitioner"
    ]
    happened = [float(v["happened_ms"]) for v in values if "happened_ms" in v]
    assert len(happened) == 4
    assert budget["happened_ms"]["p50"] == pytest.approx(float(np.median(happened)), abs=1e-3)
    assert sum("clusters" in v for v in values) == 4
    assert frames_of(tmp_path / "annotated.mp4") == 4


def test_live_the_source_waits_for_the_workers(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    scene = "scene:yard?seed=501&size=640x360&frames=5&fps=1"
    options = ["--source", scene, "--model", MODEL, "--workers", 1, "--out", tmp_path]
    child = demo(bench, *options, "--mode", "live", "--robot", settings=QUICK)
    assert child.wait(RUN_S) == 0, child.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    # One a second is slow enough for any machine once the network is loaded.
    assert summary["frames_in"] == 5 and summary["frames_fused"] >= 4, child.output


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_interrupted_run_leaves_its_results_and_no_process(
    bench: Bench, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    results = bench.probe.subscribe(f"/{NAMESPACE}/detections", Detection2DArray, qos.latched(100))
    options = ["--source", shared_data / VIDEO, "--model", shared_data / WEIGHTS]
    options += ["--workers", "1", "--partitioner", "whole", "--out", tmp_path]
    child = demo(bench, *options, settings=[*QUICK, "camera.loop:=true"])
    bench.wait_for(lambda: len(results) >= 5, "the first results", 120.0)
    children = children_of(child.pid)
    assert len(children) == 4
    child.interrupt()
    assert child.wait(RUN_S) == 1, child.output
    assert not [pid for pid in children if runs(pid)]
    assert "Traceback" not in child.output

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) >= KEYS and summary["frames_fused"] >= 1
    messages = read_bag(tmp_path / "detections.mcap")
    detections = messages[f"/{NAMESPACE}/detections"]
    assert len(detections) == summary["frames_fused"]
    assert sum(len(message.detections) for message in detections) == summary["detections"]


def detectors_of(child: Child) -> list[int]:
    def command(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")

    return [pid for pid in children_of(child.pid) if "nodes.detector" in command(pid)]


def test_a_detector_that_is_killed_ends_the_run_and_its_results_are_kept(
    bench: Bench, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    results = bench.probe.subscribe(f"/{NAMESPACE}/detections", Detection2DArray, qos.latched(100))
    options = ["--source", SCENE, "--model", MODEL, "--workers", 2, "--out", tmp_path]
    child = demo(bench, *options, settings=[*QUICK, "camera.loop:=true"])
    bench.wait_for(lambda: len(results) >= 3, "the first results", 120.0)
    first, _ = detectors_of(child)
    os.kill(first, signal.SIGKILL)
    assert child.wait(RUN_S) == 2, child.output
    assert "Traceback" not in child.output
    told = [line for line in child.lines if line.startswith("re_pose_ros: ")]
    assert len(told) == 1 and "edge_" in told[0] and "ended with code -9" in told[0]
    summary = json.loads((tmp_path / "summary.json").read_text())
    messages = read_bag(tmp_path / "detections.mcap")
    assert summary["frames_fused"] == len(messages[f"/{NAMESPACE}/detections"]) >= 3
    assert frames_of(tmp_path / "annotated.mp4") >= 3 and summary["map50"] is not None


def test_what_cannot_be_used_is_told_in_one_line(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    wrong: list[tuple[str, list[object]]] = [
        ("source absent.mp4 does not exist", ["--source", "absent.mp4"]),
        ("scene 'forest' is not known; known: plaza", ["--source", "scene:forest"]),
        ("dataset absent does not exist", ["--source", "dataset:absent"]),
        ("model absent/best.pt does not exist", ["--model", "absent/best.pt"]),
        ("partitioner='best': allowed is one of re_pose, ", ["--partitioner", "best"]),
        ("fusion has no parameter speed", ["--set", "fusion.speed:=1"]),
        ("'fusion.deadline=1' is no argument; write", ["--set", "fusion.deadline=1"]),
        ("deadline: 'soon' is no double", ["--set", "fusion.deadline:=soon"]),
        ("--workers has to be at least 1", ["--workers", 0]),
        ("file/out cannot be used", ["--out", tmp_path / "file" / "out"]),
    ]
    usual = ["--source", SCENE, "--model", MODEL, "--out", tmp_path / "out"]
    children = [(line, demo(bench, *usual, *options)) for line, options in wrong]
    for line, child in children:
        assert child.wait() == 2, child.output
        assert len(child.lines) == 1 and line in child.output, child.output
