"""The robot executable: camera, partitioner and fusion in one process, with a 4K source."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from vision_msgs.msg import Detection2DArray

from re_pose_ros.geometry import iou
from re_pose_ros.nodes.messages import read_detections, read_plan

from .harness import Bench

pytestmark = pytest.mark.ros

FRAMES = 4
SIZE = (3840, 2160)


def mark(k: int) -> tuple[int, int, int, int]:
    """Where the one bright object of frame ``k`` is: x1, y1, x2, y2."""
    return 500 + 700 * k, 400 + 300 * k, 700 + 700 * k, 800 + 300 * k


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for k in range(FRAMES):
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        x1, y1, x2, y2 = mark(k)
        image[y1:y2, x1:x2] = 255
        cv2.imwrite(str(images / f"{k}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return images


def test_every_4k_frame_arrives_and_objects_are_where_they_were(bench: Bench, folder: Path) -> None:
    results = bench.probe.subscribe_latched("detections", Detection2DArray)
    plans = bench.probe.subscribe_latched("plan", Detection2DArray)
    started = bench.graph(
        source=folder,
        workers="",
        remote_workers="edge_0,edge_1",
        robot="true",
        mode="lockstep",
        partitioner="uniform",
        partitioner__tile_size="1280",
        log_level="warn",
    )
    assert list(started) == ["robot"]
    # It is heard before it has work: the whole source is done within a second.
    bench.wait_for_health("fusion")
    for name in ("edge_0", "edge_1"):
        bench.fake_detector(name)
    takers: list[int] = []

    def all_fused() -> bool:
        takers.append(bench.probe.node.count_subscribers(f"/{bench.namespace}/image_raw"))
        return len(results) == FRAMES

    bench.wait_for(all_fused, f"{FRAMES} results")
    assert not any(takers), "frames are handed over in memory"
    assert started["robot"].wait() == 0
    assert results.stamps == sorted(results.stamps)
    assert set(plans.stamps) <= set(results.stamps)
    for k, message in enumerate(results):
        found = read_detections(message)[0]
        assert iou(np.array([mark(k)], float), found.xyxy).max() > 0.8, f"frame {k}"
    for message in plans:
        blocks = read_plan(message).blocks
        assert {block.slot.worker for block in blocks} == {"edge_0", "edge_1"}
        assert max(block.block.xyxy[2] for block in blocks) == SIZE[0]
        assert max(block.block.xyxy[3] for block in blocks) == SIZE[1]
    indices = [told["index"] for _, told in sorted(bench.probe.telemetry["camera"].items())]
    assert indices == [str(k) for k in range(FRAMES)]
    assert not any(told["missing"] for told in bench.probe.telemetry["fusion"].values())


def test_the_demo_fuses_every_4k_frame(bench: Bench, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "re_pose_ros", "demo", "--robot", "--workers", "1"]
    command += ["--source", str(folder), "--partitioner", "whole", "--out", str(tmp_path / "out")]
    command += ["--model", "scene-n"]
    for setting in ("input_sizes:=320", "profile_repeats:=1", "threads:=1"):
        command += ["--set", f"detector.{setting}"]
    demo = bench.run("demo", command)
    assert demo.wait(90.0) == 0, demo.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    counts = ("frames_in", "frames_fused", "frames_partial")
    assert [summary[name] for name in counts] == [FRAMES, FRAMES, 0]
    assert summary["bytes_to_workers"] > 0 and summary["blocks_per_frame"] == 1.0


def test_the_robot_needs_a_source_to_hand_over(bench: Bench) -> None:
    up = [sys.executable, "-m", "re_pose_ros", "up", "robot:=true"]
    child = bench.run("up", up)
    assert child.wait() == 2
    assert len(child.lines) == 1 and "source" in child.output
