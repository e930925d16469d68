"""The supervisor behind ``up``, with stand-ins for the nodes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from re_pose_ros.errors import InputError
from re_pose_ros.graph import supervisor
from re_pose_ros.graph.description import describe
from re_pose_ros.graph.supervisor import Supervisor

LIMIT_S = 30.0
# Takes a node's command line. Runs until it is told to end, or until the files are there after
# which its plan says how.
NODE = """
import json, os, pathlib, signal, sys, threading

told = threading.Event()
folder, executable = pathlib.Path(sys.argv[1]), sys.argv[3].rpartition(".")[2]
names = [word.split(":=")[1] for word in sys.argv if word.startswith("__node:=")]
name = (names or [executable])[0]
plan = json.loads((folder / "plan.json").read_text()).get(name)
refuse = lambda *_: print("no", flush=True)
signal.signal(signal.SIGTERM, refuse if plan == "stubborn" else lambda *_: told.set())
print(f"I am {name}", flush=True)
(folder / name).touch()
while not told.wait(0.02):
    if isinstance(plan, dict) and all((folder / other).exists() for other in plan["after"]):
        print(plan["says"], flush=True)
        sys.exit(plan["code"])
print("ending", flush=True)
"""
ALL = ["camera", "partitioner", "fusion", "edge_0", "edge_1"]

Start = Callable[..., Supervisor]


def ends(code: int, *after: str, says: str = "the end") -> dict[str, object]:
    return {"code": code, "after": after, "says": says}


class Shown:
    """What the processes print, by title."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def __call__(self, title: str, line: str) -> None:
        with self._changed:
            self.lines.append((title, line))
            self._changed.notify_all()

    def wait_for(self, *wanted: tuple[str, str]) -> None:
        with self._changed:
            good = self._changed.wait_for(lambda: {*wanted} <= {*self.lines}, LIMIT_S)
        assert good, f"{wanted} not in {self.lines}"


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def start(tmp_path: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Makes a supervisor of the graph that the arguments mean, with these plans by name."""
    script, python = tmp_path / "node.py", tmp_path / "python"
    script.write_text(NODE)
    words = shlex.join([sys.executable, str(script), str(tmp_path)])
    python.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))

    def make(plans: dict[str, object], file: str = "re_pose", **arguments: str) -> Supervisor:
        (tmp_path / "plan.json").write_text(json.dumps(plans))
        return Supervisor(describe(arguments or {"source": "video.mp4"}, file), shown)

    return make


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_graph_ends_with_its_source(start: Start, shown: Shown) -> None:
    with start({"camera": ends(0, *ALL)}) as running:
        pids = [running.pid(title) for title in ALL]
        running.wait()
    assert all(map(gone, pids))
    assert {title for title, line in shown.lines if line == "ending"} == {*ALL} - {"camera"}


def test_a_process_that_fails_is_told_with_its_last_line(start: Start) -> None:
    with start({"camera": ends(2, says="no such file")}) as running:
        pids = [running.pid(title) for title in ALL]
        with pytest.raises(InputError, match=r"^camera ended with code 2: no such file$"):
            running.wait()
    assert all(map(gone, pids))


def test_a_detector_that_cannot_start_ends_the_graph(start: Start) -> None:
    with (
        start({"edge_1": ends(2, says="no such model")}) as running,
        pytest.raises(InputError, match=r"^edge_1 ended with code 2: no such model$"),
    ):
        running.wait()


def test_a_lost_detector_is_told_and_done_without(
    start: Start, shown: Shown, tmp_path: Path
) -> None:
    with start({"edge_0": ends(-1, *ALL), "camera": ends(0, "go")}) as running:
        waiting = threading.Thread(target=running.wait)
        waiting.start()
        shown.wait_for(("edge_0", "ended with code 255; the graph goes on without it"))
        (tmp_path / "go").touch()
        waiting.join(LIMIT_S)
        assert not waiting.is_alive()
    assert ("camera", "the end") in shown.lines
    assert [line for title, line in shown.lines if title == "edge_0"][-1].startswith("ended with")


def test_an_edge_machine_ends_when_all_its_detectors_have(start: Start) -> None:
    plans = {"a": ends(0), "b": ends(1, "a", says="out of memory")}
    with (
        start(plans, "detector", workers="a,b") as running,
        pytest.raises(InputError, match=r"^b ended with code 1: out of memory$"),
    ):
        running.wait()


def test_a_process_can_be_started_again(start: Start, shown: Shown) -> None:
    with start({}, "detector", workers="a,b") as running:
        shown.wait_for(("a", "I am a"))
        first = running.pid("a")
        os.kill(first, signal.SIGKILL)
        limit = time.monotonic() + LIMIT_S
        while "a" not in running.ended() and time.monotonic() < limit:
            time.sleep(0.01)
        assert running.ended() == {"a": -signal.SIGKILL}
        with pytest.raises(InputError, match="a ended with code -9: I am a"):
            running.check()
        shown.lines.clear()
        running.start(describe({"workers": "a,b"}, "detector").processes[0])
        shown.wait_for(("a", "I am a"))
        assert running.pid("a") != first
        assert running.ended() == {}


def test_what_does_not_end_is_killed(
    start: Start, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = ((signal.SIGTERM, 0.2), (signal.SIGKILL, LIMIT_S))
    monkeypatch.setattr(supervisor, "STOP_SIGNALS", patience)
    with start({"a": "stubborn"}, "detector", workers="a") as running:
        shown.wait_for(("a", "I am a"))
        pid = running.pid("a")
    assert gone(pid)
    assert running.ended() == {"a": -signal.SIGKILL}


@pytest.fixture
def interrupts() -> Iterator[None]:
    """As in a terminal, also where the tests run in the background."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.usefixtures("interrupts")
def test_a_second_interrupt_ends_the_patience(
    start: Start, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = ((signal.SIGTERM, 10 * LIMIT_S), (signal.SIGKILL, LIMIT_S))
    monkeypatch.setattr(supervisor, "STOP_SIGNALS", patience)

    over = threading.Event()

    def press() -> None:
        shown.wait_for(("a", "no"))
        os.kill(os.getpid(), signal.SIGINT)
        # An interrupt is lost where it comes in a callback of the garbage collector.
        while not over.wait(LIMIT_S / 4) and not gone(pid):
            os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    with start({"a": "stubborn"}, "detector", workers="a") as running:
        shown.wait_for(("a", "I am a"))
        pid = running.pid("a")
        pressing.start()
    over.set()
    pressing.join()
    assert running.ended() == {"a": -signal.SIGKILL}


def test_a_reader_that_is_gone_does_not_hold_the_processes_up(start: Start) -> None:
    heard = threading.Event()

    def broken(title: str, line: str) -> None:
        if line == "the end":
            heard.set()
        raise BrokenPipeError

    running = start({"a": ends(0)}, "detector", workers="a")
    running._show = broken
    with running:
        running.wait()
        assert heard.wait(LIMIT_S)
