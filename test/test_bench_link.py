"""Two hosts on one machine, and what is asked of the link between them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from re_pose_ros.bench.link import TUNER, LinkOptions, phases_found, phases_of, table
from re_pose_ros.bench.namespaces import EDGE_ADDRESS, Link
from re_pose_ros.errors import InputError

RECEIVE = f"""
import socket
waiting = socket.create_server(("{EDGE_ADDRESS}", 5001))
print("ready", flush=True)
taken, _ = waiting.accept()
while taken.recv(65536):
    pass
"""
SEND = f"""
import socket
with socket.create_connection(("{EDGE_ADDRESS}", 5001)) as way:
    way.sendall(bytes(250_000))
"""

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0
    or not all(map(shutil.which, ("ip", "tc")))
    or subprocess.run(["ip", "netns", "add", "rp_probe"], capture_output=True).returncode != 0,
    reason="needs root, iproute2 and network namespaces",
)


@pytest.fixture(autouse=True, scope="module")
def without_probe() -> None:
    if shutil.which("ip"):
        subprocess.run(["ip", "netns", "delete", "rp_probe"], capture_output=True, check=False)


@needs_namespaces
def test_what_is_sent_takes_the_time_that_the_rate_says() -> None:
    took = {}
    with Link() as link:
        for rate in (40.0, 4.0):
            link.limit(rate)
            with subprocess.Popen(
                [*link.edge, sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE, text=True
            ) as receiver:
                assert receiver.stdout is not None and receiver.stdout.readline() == "ready\n"
                started = time.monotonic()
                subprocess.run([*link.robot, sys.executable, "-c", SEND], check=True)
                assert receiver.wait(20.0) == 0
                took[rate] = time.monotonic() - started
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        assert link.robot[3] in names
    # Two megabits; a burst goes at once.
    assert took[4.0] > 0.4
    assert took[40.0] < took[4.0]
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert link.robot[3] not in names and link.edge[3] not in names


@needs_namespaces
def test_a_cut_link_carries_nothing_and_can_be_mended() -> None:
    reach = f"import socket; socket.create_connection(('{EDGE_ADDRESS}', 9), 0.5)"
    with Link() as link:

        def refused() -> bool:
            command = [*link.robot, sys.executable, "-c", reach]
            return "refused" in subprocess.run(command, capture_output=True, text=True).stderr

        assert refused()
        link.limit(0.0)
        assert not refused()
        link.limit(10.0)
        assert refused()


def test_phases_are_read() -> None:
    assert phases_of("100:10,5:2.5") == ((100.0, 10.0), (5.0, 2.5))
    for wrong in ("", "5", "5:x", "5:1:2"):
        with pytest.raises(InputError, match="phases"):
            phases_of(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": ("full",)},
        {"settings": ()},
        {"phases": ()},
        {"phases": ((5.0, 0.5),)},
        {"phases": ((-1.0, 5.0),)},
        {"robot_cores": -0.5},
    ],
)
def test_impossible_options_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        LinkOptions(**wrong)
    assert LinkOptions().settings[0] == TUNER


def test_the_table_has_a_row_per_phase_also_where_nothing_came() -> None:
    empty = {
        "mbit_s": 5.0,
        "frames": 0,
        "hit": None,
        "late": 0,
        "latency_ms": None,
        "bytes": None,
        "map50": None,
        "settings": {},
    }
    full = empty | {
        "frames": 4,
        "hit": 0.75,
        "latency_ms": {"p50": 10.0, "p95": 20.0},
        "bytes": 1000,
        "map50": 0.5,
        "settings": {"full/jpeg90": 3, "p5/device": 1},
    }
    lines = table({"settings": {"tuner": {"phases": [full, empty]}}}).splitlines()
    assert len(lines) == 3
    assert "75%" in lines[1] and "full/jpeg90" in lines[1] and lines[2].split()[0] == "5"


def frame(at_s: float, **values: object) -> dict:
    usual = {
        "hit": True,
        "there": True,
        "bytes": 1000,
        "latency_ms": 100.0,
        "setting": "full/jpeg90",
    }
    return {"stamp_ns": round(at_s * 1e9), **usual, **values}


def test_outages_tell_how_soon_frames_are_in_time_and_the_worker_is_back() -> None:
    alone = {"bytes": 0, "setting": "p4/device"}
    frames = [
        frame(1.5),
        frame(2.25, hit=False),
        frame(2.75, **alone),
        frame(4.25, there=False, **alone),
        frame(4.75, **alone),
        frame(5.25),
    ]
    begun = [round(at * 1e9) for at in (0.0, 2.0, 4.0)]
    options = LinkOptions(phases=((20.0, 2.0), (0.0, 2.0), (20.0, 2.0)))
    usual, cut, mended = phases_found(
        {"frames": frames, "begun_ns": begun, "map50": [0.5] * 3}, options
    )
    assert "alone_s" not in usual and usual["late"] == 0
    assert cut["alone_s"] == 0.75 and cut["late"] == 1
    assert mended["back_s"] == 0.75 and mended["used_s"] == 1.25
    lines = table({"settings": {"tuner": {"phases": [usual, cut, mended]}}}).splitlines()
    assert lines[-1].startswith("tuner: cut, in time alone after 0.8 s; mended")
