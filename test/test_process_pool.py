"""Processes that training is shared among end with the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from re_pose_ros.training.process_pool import process_pool

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from re_pose_ros.training.process_pool import process_pool

def work(folder, k):
    (Path(folder) / f"{os.getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with process_pool(2) as pool:
            for job in [pool.submit(work, sys.argv[1], k) for k in range(4)]:
                job.result()
    except KeyboardInterrupt:
        sys.exit(1)
"""


def test_a_pool_does_what_it_is_given() -> None:
    with process_pool(2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]


def test_what_a_process_raises_comes_out() -> None:
    with pytest.raises(ValueError, match="invalid literal"), process_pool(1) as pool:
        pool.submit(int, "x").result()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_kill_ends_the_processes_in_the_midst_of_their_work(tmp_path: Path) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "pids"
    program.write_text(PROGRAM)
    folder.mkdir()
    root = str(Path(__file__).resolve().parents[1])
    with subprocess.Popen(
        [sys.executable, str(program), str(folder)], env=os.environ | {"PYTHONPATH": root}
    ) as child:
        limit = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2 and time.monotonic() < limit:
            time.sleep(0.05)
        pids = [int(path.name) for path in folder.iterdir()]
        assert len(pids) == 2
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 1
    limit = time.monotonic() + 10
    while any(map(running, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(running, pids))
