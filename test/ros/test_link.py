"""The whole graph on two hosts, with the link between them cut and mended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from re_pose_ros.bench.link import TUNER, LinkOptions, bench_link
from re_pose_ros.bench.namespaces import Link
from re_pose_ros.errors import InputError

pytestmark = pytest.mark.ros

OPTIONS = LinkOptions(
    settings=(TUNER,),
    phases=((50.0, 2.0), (0.0, 3.0), (50.0, 6.0)),
    deadline_ms=1000.0,
    rate=4.0,
    source="scene:street?seed=801&size=640x320",
    input_size=320,
)


@pytest.fixture(autouse=True)
def namespaces() -> None:
    try:
        with Link():
            pass
    except InputError as error:
        pytest.skip(str(error))


def test_the_robot_goes_on_alone_while_the_link_is_cut_and_counts_on_the_worker_after(
    tmp_path: Path,
) -> None:
    pytest.importorskip("ultralytics")
    file, plot = tmp_path / "link.json", tmp_path / "link.png"
    found = bench_link(OPTIONS, file=file, plot=plot)["settings"][TUNER]
    assert json.loads(file.read_text())["kind"] == "bench link" and plot.exists()
    usual, cut, mended = found["phases"]
    assert usual["frames"] and cut["frames"] and mended["frames"]
    assert cut["alone_s"] is not None
    end = found["begun_ns"][2]
    last = [f for f in found["frames"] if end - 1e9 <= f["stamp_ns"] < end]
    assert last and not any(frame["bytes"] or frame["there"] for frame in last)
    assert mended["back_s"] is not None


def graph_of(bench: int) -> dict[int, str]:
    """Processes of the graph below one, with their command lines."""
    found, below = {}, {bench}
    for pid, parent, words in processes():
        if parent in below:
            below.add(pid)
            if "re_pose_ros.nodes." in words:
                found[pid] = words
    return found


def processes() -> list[tuple[int, int, str]]:
    """Number, parent and command line of those that have not ended, in the order of numbers."""
    told = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in told.stdout.splitlines()]
    alive = [(int(row[0]), int(row[1]), row[3]) for row in rows if not row[2].startswith("Z")]
    return sorted(alive)


def test_a_kill_of_the_bench_ends_its_graph() -> None:
    pytest.importorskip("ultralytics")
    words = ["--settings", "p5/device", "--phases", "100:120"]
    program = [sys.executable, "-m", "re_pose_ros", "bench", "link", *words]
    # Shells start what is in the background with SIGINT ignored.
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGINT, kept)
    with bench:
        limit = time.monotonic() + 60
        nodes: dict[int, str] = {}
        while len(nodes) < 2 and time.monotonic() < limit:
            time.sleep(0.2)
            nodes = graph_of(bench.pid)
        bench.terminate()
        assert len(nodes) >= 2
        assert bench.wait(60) == 1
    assert not nodes.keys() & {pid for pid, *_ in processes()}
