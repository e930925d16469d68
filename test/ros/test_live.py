"""Live evaluation through the real graph."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from .harness import Bench

pytestmark = pytest.mark.ros

FRAMES = 4
SCENE = f"scene:plaza?seed=501&size=960x540&frames={FRAMES}&fps=1"
QUICK = ("detector.profile_repeats:=1", "detector.threads:=1")


@pytest.mark.timeout(240)
def test_a_graph_with_time_enough_gives_the_accuracy_its_stages_and_the_rate(
    bench: Bench, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    # One frame a second, and a minute for each, which is enough on any machine.
    command = [sys.executable, "-m", "re_pose_ros", "evaluate", SCENE, "--mode", "live"]
    command += ["--model", "scene-n", "--input-sizes", "320", "--workers", "1"]
    command += ["--deadline", "60", "--out", str(tmp_path)]
    child = bench.run("evaluate", [*command, *(word for s in QUICK for word in ("--set", s))])
    assert child.wait(220.0) == 0, child.output
    assert "Traceback" not in child.output
    found = json.loads((tmp_path / "summary.json").read_text())["methods"]["clusters"]
    assert found["frames_done"] == FRAMES and found["frames_late"] == 0
    assert found["frames_dropped"] < FRAMES
    assert found["map50"] > 0 and found["bytes_per_frame"] > 0
    stages = {"partition", "encode", "decode", "detect", "fusion", "waiting"}
    assert set(found["stages_ms"]) == stages
    assert found["deadline_s"] == 60 and found["rate_hz"] == 1.0
