"""The pipeline in process gives what the graph in lock-step publishes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from re_pose_ros.bags import typestore
from re_pose_ros.partition import PartitionSettings
from re_pose_ros.pipeline import Pipeline
from re_pose_ros.sources import open_source

FRAMES = 5
SCENE = "scene:plaza?seed=501&size=1280x720"


@pytest.mark.ros
def test_pipeline_and_graph_find_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "re_pose_ros", "demo", "--source", SCENE, "--model", "scene-n"]
    options = ["--workers", "2", "--frames", str(FRAMES), "--out", str(tmp_path)]
    quick = ["--set", "detector.threads:=1", "--set", "detector.profile_repeats:=1"]
    done = subprocess.run(
        command + options + quick, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "summary.json").read_text())["frames_fused"] == FRAMES
    published = boxes_in(tmp_path / "detections.mcap")
    settings = PartitionSettings(target_object=24, whole_size=1280)  # as of the demo
    sizes = (320, 640, 1280)
    pipeline = Pipeline("scene-n", input_sizes=sizes, workers=2, partition=settings)
    with open_source(SCENE, count=FRAMES) as source:
        for frame, boxes in zip(source, published, strict=True):
            found = pipeline.detect(frame.image)
            assert len(found) == len(boxes) > 0
            # Sums of another order, where torch uses other threads, differ in the last digits.
            assert np.abs(found.xyxy - boxes).max() < 0.05


def boxes_in(bag: Path) -> list[np.ndarray]:
    frames = []
    with AnyReader([bag], default_typestore=typestore()) as reader:
        wanted = [c for c in reader.connections if c.topic.endswith("/detections")]
        for connection, _, data in reader.messages(wanted):
            message = reader.deserialize(data, connection.msgtype)
            rows = [
                (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y)
                for d in message.detections
            ]
            x, y, width, height = np.array(rows).reshape(-1, 4).T
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            frames.append(np.column_stack(corners))
    return frames
