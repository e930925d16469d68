"""Starts and stops the graph's processes where ``ros2 launch`` is not installed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from re_pose_ros.errors import InputError
from re_pose_ros.graph.description import PACKAGE, Graph, Process, ros_arguments

# Not SIGINT: a process that is still importing would answer with a traceback.
STOP_SIGNALS = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 2.0))


class Supervisor:
    """The processes of a graph; a context manager that leaves none behind.

    Args:
        graph: what to start.
        show: gets each line that a process prints, with the process's title.
    """

    def __init__(self, graph: Graph, show: Callable[[str, str], None] | None = None) -> None:
        self._graph = graph
        self._show = show or (lambda title, line: print(f"[{title}] {line}", flush=True))
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._readers: dict[str, threading.Thread] = {}
        self._last_lines: dict[str, str] = {}
        self._parameters = tempfile.TemporaryDirectory(prefix=f"{PACKAGE}_")

    def __enter__(self) -> Supervisor:
        try:
            for process in self._graph.processes:
                self.start(process)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _close(self) -> None:
        self.stop()
        self._parameters.cleanup()

    def start(self, process: Process) -> None:
        """Start one process, again where it has ended."""
        module = f"{PACKAGE}.nodes.{process.executable}"
        command = [*process.prefix, sys.executable, "-m", module, "--ros-args"]
        child = subprocess.Popen(
            command + ros_arguments(process, self._graph, self._parameters.name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            # Ctrl-C reaches us alone; we stop the children in order.
            start_new_session=True,
        )
        self._running[process.title] = child
        reader = threading.Thread(target=self._read, args=(process.title, child), daemon=True)
        reader.start()
        self._readers[process.title] = reader

    def pid(self, title: str) -> int:
        return self._running[title].pid

    def ended(self) -> dict[str, int]:
        """Exit codes of the processes that have ended, by title."""
        codes = {title: child.poll() for title, child in self._running.items()}
        return {title: code for title, code in codes.items() if code is not None}

    def check(self) -> None:
        """InputError with the last line of a process that has failed."""
        for title, code in self.ended().items():
            self._check_one(title, code)

    def _check_one(self, title: str, code: int) -> None:
        if code != 0:
            self._readers[title].join(timeout=1.0)
            raise InputError(
                f"{title} ended with code {code}: {self._last_lines.get(title, 'no output')}"
            )

    def wait(self) -> None:
        """Until the source has ended, or what cannot be spared; InputError where it failed.

        A detector that is lost is told, and the others go on.
        """
        told: set[str] = set()
        while True:
            ended = self.ended()
            processes = [p for p in self._graph.processes if p.title in ended]
            final = [p.title for p in processes if p.ends_graph(ended[p.title])]
            if len(ended) == len(self._running):
                final = list(ended)
            for title in final:
                self._check_one(title, ended[title])
            if final:
                return
            for title in ended.keys() - told:
                self._show(title, f"ended with code {ended[title]}; the graph goes on without it")
            told |= ended.keys()
            time.sleep(0.1)

    def stop(self) -> None:
        """Ask, then kill; the robot's side first, so that no detector is missed.

        Another Ctrl-C ends the asking.
        """
        for number, patience in STOP_SIGNALS:
            try:
                self._signal(number, patience)
            except KeyboardInterrupt:
                continue
        for reader in self._readers.values():
            reader.join(timeout=1.0)

    def _signal(self, number: signal.Signals, patience: float) -> None:
        """Send it to those that live, and give them so many seconds together to end."""
        alive = [child for child in self._running.values() if child.poll() is None]
        for child in reversed(alive):
            child.send_signal(number)
        limit = time.monotonic() + patience
        for child in alive:
            try:
                child.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue

    def _read(self, title: str, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                text = line.rstrip()
                if text:
                    self._last_lines[title] = text
                    # Where nobody reads us any more, a process still needs to be read.
                    with contextlib.suppress(OSError):
                        self._show(title, text)
