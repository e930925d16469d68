"""Runs the real nodes as processes on real DDS and talks to them through a probe."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import yaml

from re_pose_ros.graph.description import Graph, describe, ros_arguments

from .probe import Probe

T = TypeVar("T")
FAKE_DETECTOR = Path(__file__).with_name("fake_detector.py")
FAKE_PARTITIONER = Path(__file__).with_name("fake_partitioner.py")
PATIENCE_S = 60.0
STOP_SIGNALS = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 3.0))
"""Sent after so many seconds each."""
_numbers = itertools.count()


class Box(NamedTuple):
    """An object that the fake detector reports, in pixels of the whole frame."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float = 0.9
    class_id: int = 0


class Child:
    """One process and what it has printed."""

    def __init__(self, title: str, command: Sequence[str], cwd: Path) -> None:
        self.title = title
        self.lines: list[str] = []
        self.may_fail = False
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._popen.poll()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def kill(self) -> None:
        """As a power cut would: the process cannot say goodbye."""
        self.may_fail = True
        self._popen.kill()
        self._popen.wait(10.0)

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def wait(self, limit_s: float = PATIENCE_S) -> int:
        """The exit code, once all output is read."""
        self.may_fail = True
        try:
            code = self._popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.title} still runs after {limit_s:g} s; its output:\n{self.output}")
        self._reader.join(5.0)
        return code

    def stop(self) -> None:
        """End it after ``interrupt``, by force where that was not enough."""
        for number, patience in STOP_SIGNALS:
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self._popen.send_signal(number)
        self._reader.join(5.0)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout:
            for line in self._popen.stdout:
                self.lines.append(line.rstrip())
                # pytest shows it where the test fails.
                print(f"[{self.title}] {line.rstrip()}", flush=True)


class Bench:
    """The processes of one test, in a namespace of their own, and a probe among them.

    A context manager that leaves no process behind.
    """

    def __init__(self, name: str, folder: Path) -> None:
        plain = re.sub(r"\W+", "_", name).strip("_")
        self.namespace = f"{plain}_{os.getpid()}_{next(_numbers)}"
        self.folder = folder
        self.children: list[Child] = []
        self.probe = Probe(self.namespace)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        for child in self.children:
            if child.code is None:
                child.interrupt()
        for child in self.children:
            child.stop()
        self.probe.close()

    # Starting.

    def node(
        self,
        executable: str,
        name: str = "",
        *,
        remaps: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        **parameters: object,
    ) -> Child:
        """Start one of the package's nodes; ``arguments`` follow ``--ros-args`` as they are."""
        command = [sys.executable, "-m", f"re_pose_ros.nodes.{executable}"]
        return self._start(name or executable, command, name, remaps, arguments, parameters)

    def fake_detector(
        self,
        name: str = "edge_0",
        boxes: Sequence[Box] = (),
        *,
        delay: float = 0.0,
        foreign: bool = False,
        **parameters: object,
    ) -> Child:
        """Start a stand-in for a detector; see ``fake_detector.py`` for further parameters."""
        parameters |= {"delay": float(delay), "foreign": foreign}
        if boxes:
            parameters["boxes"] = [float(value) for box in boxes for value in box]
        command = [sys.executable, str(FAKE_DETECTOR)]
        return self._start(name, command, name, None, (), parameters)

    def fake_partitioner(self, log: Path, **parameters: object) -> Child:
        """Start the partitioner with a planner of the test's own; see ``fake_partitioner.py``."""
        command = [sys.executable, str(FAKE_PARTITIONER), str(log)]
        parameters = {"partitioner": "re_pose", **parameters}
        return self._start("partitioner", command, "", None, (), parameters)

    def graph(self, **arguments: object) -> dict[str, Child]:
        """Start the graph that ``up`` would, by the same arguments; the processes by title.

        A dot in an argument's name is written as two underscores: ``partitioner__tile_size``.
        """
        given = {key.replace("__", "."): str(value) for key, value in arguments.items()}
        return self.start_graph(describe({"namespace": self.namespace, **given}))

    def start_graph(self, graph: Graph) -> dict[str, Child]:
        started = {}
        for process in graph.processes:
            command = [sys.executable, "-m", f"re_pose_ros.nodes.{process.executable}"]
            command += ["--ros-args", *ros_arguments(process, graph, str(self.folder))]
            started[process.title] = self.run(process.title, command)
        return started

    def run(self, title: str, command: Sequence[str]) -> Child:
        """Start any command; it ends with the test."""
        child = Child(title, command, self.folder)
        self.children.append(child)
        return child

    def _start(
        self,
        title: str,
        command: list[str],
        name: str,
        remaps: Mapping[str, str] | None,
        arguments: Sequence[str],
        parameters: Mapping[str, object],
    ) -> Child:
        command = [*command, "--ros-args", "-r", f"__ns:=/{self.namespace}"]
        if name:
            command += ["-r", f"__node:={name}"]
        for source, target in (remaps or {}).items():
            command += ["-r", f"{source}:={target}"]
        if parameters:
            path = self.folder / f"parameters_{len(self.children)}.yaml"
            path.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(parameters)}}))
            command += ["--params-file", str(path)]
        return self.run(title, [*command, *arguments])

    # Waiting.

    def wait_for(
        self,
        condition: Callable[[], T | None],
        what: str,
        limit_s: float = PATIENCE_S,
    ) -> T:
        """Wait until ``condition`` gives something true, and return that.

        Fails with ``what`` and the processes' last output after ``limit_s``, or as soon as a
        process has failed that the test did not end itself.
        """
        limit = time.monotonic() + limit_s
        while True:
            version = self.probe.version
            if result := condition():
                return result
            failed = [c for c in self.children if c.code and not c.may_fail]
            if failed:
                names = ", ".join(f"{c.title} (code {c.code})" for c in failed)
                pytest.fail(f"{names} ended while waiting for {what}\n{self._last_output()}")
            if time.monotonic() > limit:
                pytest.fail(f"waited {limit_s:g} s for {what}\n{self._last_output()}")
            self.probe.wait_for_news(version, 0.1)

    def wait_for_health(
        self,
        node: str,
        text: str = "",
        *,
        level: int | None = None,
        limit_s: float = PATIENCE_S,
        **values: str,
    ) -> Any:
        """Wait for a diagnostic of ``node`` from now on: its text, its level, some of its values.

        Levels: 0 OK, 1 WARN, 2 ERROR.
        """
        heard = self.probe.health[node]
        start = len(heard)

        def found() -> Any:
            for status in heard[start:]:
                right = level is None or status.level == level
                if right and text in status.message and values.items() <= status.values.items():
                    return status
            return None

        try:
            return self.wait_for(found, f"diagnostics of {node}: {text!r} {values}", limit_s)
        finally:
            if heard:
                print(f"[probe] last diagnostics of {node}: {heard[-1]}")

    def _last_output(self) -> str:
        parts = []
        for child in self.children:
            state = "running" if child.code is None else f"ended with {child.code}"
            last = "\n".join(f"    {line}" for line in child.lines[-8:]) or "    (no output)"
            parts.append(f"  {child.title} ({state}):\n{last}")
        return "\n".join(parts) or "  no process was started"
