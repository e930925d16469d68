"""The robot's host of ``bench link``: plays a source live while the link's rate changes.

Run as a program of its own, since a process stays in the network namespace it was started in.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from re_pose_ros.bench.namespaces import limit
from re_pose_ros.demo.judge import Judge
from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.graph.description import Graph, describe
from re_pose_ros.graph.records import FrameRecord, Recording
from re_pose_ros.graph.session import run_session


class Schedule:
    """Changes the link's rate when its time has come, counted from the first fused frame.

    Args:
        phases: of each its rate in Mbit/s and its length in seconds.
        robot: what a command has to be preceded by to run on the robot's host.
    """

    def __init__(self, phases: Sequence[Sequence[float]], robot: Sequence[str]) -> None:
        self.begun_ns: list[int] = []
        self._phases, self._robot = phases, robot
        self._thread: threading.Thread | None = None

    def fused(self, count: int) -> None:
        """So many frames are fused."""
        if count and self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        for rate, length_s in self._phases:
            limit(self._robot, rate)
            self.begun_ns.append(time.time_ns())
            time.sleep(length_s)


def play(spec: Mapping[str, Any]) -> dict[str, Any]:
    """One run; see ``link.run_setting`` for what it takes and gives."""
    graph = _apart(describe(spec["arguments"]), spec["edge"], spec["throttle"])
    schedule = Schedule(spec["phases"], spec["robot"])
    session = run_session(graph, live=True, total=spec["frames"], progressed=schedule.fused)
    if session.stopped is not None and not session.recording.fused():
        raise session.stopped
    frames = [_row(frame, spec["deadline_ms"]) for frame in session.recording.fused()]
    return {
        "begun_ns": schedule.begun_ns,
        "published": session.recording.frames_published,
        "frames": frames,
        "map50": _accuracies(session.recording, schedule.begun_ns),
    }


def _apart(graph: Graph, edge: Sequence[str], throttle: Sequence[str]) -> Graph:
    """The same graph with its detectors on the edge's host, and the others as slow as the robot."""
    return replace(
        graph,
        processes=tuple(
            replace(process, prefix=tuple(edge if process.executable == "detector" else throttle))
            for process in graph.processes
        ),
    )


def _row(frame: FrameRecord, deadline_ms: float) -> dict[str, Any]:
    told = frame.telemetry.get("partitioner", {})
    latency = frame.value("fusion", "total_ms")
    missing = frame.telemetry.get("fusion", {}).get("missing", "")
    return {
        "stamp_ns": frame.stamp_ns,
        "latency_ms": latency,
        "missing": missing,
        # Of the robot's nodes; a tuner has a say only where there is one.
        "there": bool(told.get("workers")) and "0" not in _connected(frame),
        "hit": latency is not None and not missing and latency <= deadline_ms,
        "bytes": sum(int(n) for key, n in told.items() if key.startswith("bytes/")),
        "setting": next((s for key, s in told.items() if key.startswith("setting/")), "device"),
    }


def _connected(frame: FrameRecord) -> set[str]:
    """What the tuner says of the workers: ``1`` where it counts on one, ``0`` where it does not."""
    told = frame.telemetry.get("tuner", {})
    return {value for key, value in told.items() if key.startswith("connected/")}


def _accuracies(recording: Recording, begun_ns: Sequence[int]) -> list[float | None]:
    """mAP50 of the fused frames of each phase; None where there are none."""
    found = []
    for begin, end in zip(begun_ns, [*begun_ns[1:], sys.maxsize], strict=True):
        judge = Judge(recording.labels, recording.truth_labels)
        own = [f for f in recording.fused() if begin <= f.stamp_ns < end and f.truth is not None]
        for frame in own:
            assert frame.truth is not None
            judge.add(frame.detections, frame.truth)
        found.append(judge.metrics().map50 if own else None)
    return found


def main() -> int:
    """Takes the run as JSON on stdin, and gives its result as JSON on stdout; ends when killed."""
    # Shells start what is in the background with SIGINT ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = play(json.load(sys.stdin))
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return 1
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
