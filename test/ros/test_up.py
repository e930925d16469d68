"""``python -m re_pose_ros up`` with the real nodes: how it fails and how it is stopped."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from .harness import Bench, Child

pytestmark = pytest.mark.ros


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def up(bench: Bench, *arguments: str) -> Child:
    """Start the graph without detectors of its own, in the bench's namespace."""
    command = [sys.executable, "-m", "re_pose_ros", "up", f"namespace:={bench.namespace}"]
    return bench.run("up", [*command, "workers:=0", "remote_workers:=edge_9", *arguments])


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("this kernel does not list the children of a process")
    return [int(word) for word in listed.read_text().split()]


def all_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize(
    ("number", "times"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGTERM, 2)],
)
def test_a_signal_ends_all_processes(
    bench: Bench, temporary: Path, tmp_path: Path, number: signal.Signals, times: int
) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((120, 160, 3), np.uint8))
    started = up(bench, f"source:={tmp_path / 'image.png'}", "camera.loop:=true")
    for node in ("camera", "partitioner", "fusion"):
        bench.wait_for(lambda node=node: bench.probe.health[node], f"diagnostics of {node}")  # type: ignore[misc]
    nodes = children(started.pid)
    assert len(nodes) == 3
    for _ in range(times):
        os.kill(started.pid, number)
    assert started.wait() == 1
    assert all_gone(nodes)
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in started.output


def test_a_source_that_is_not_there_ends_all_with_one_line(bench: Bench, temporary: Path) -> None:
    started = up(bench, "source:=/no/such.avi", "log_level:=warn")
    assert started.wait() == 2
    assert "Traceback" not in started.output
    assert started.lines[-1].startswith("re_pose_ros: camera ended with code 2: ")
    assert "/no/such.avi does not exist" in started.lines[-1]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["foo.bar:=1"], "argument foo.bar: no node is called foo"),
        (["source"], "'source' is no argument; write name:=value"),
        (["params_file:=/no/such.yaml"], "params_file: /no/such.yaml does not exist"),
        (["--file", "partition", "source:=0"], "argument source is unknown"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    bench: Bench, arguments: list[str], reason: str
) -> None:
    started = up(bench, *arguments)
    assert started.wait() == 2
    (line,) = started.lines
    assert line.startswith(f"re_pose_ros: {reason}")
