"""Plays a source through the graph, from starting its processes to the last result."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from re_pose_ros.bags import BagWriter
from re_pose_ros.errors import InputError
from re_pose_ros.graph.description import Graph
from re_pose_ros.graph.records import Recording
from re_pose_ros.graph.supervisor import Supervisor

if TYPE_CHECKING:
    from re_pose_ros.nodes.recorder import Recorder

FIRST_FRAME_S = 180.0
STALLED_S = 90.0
_LAST_WORDS_S = 5.0


@dataclass(frozen=True, slots=True)
class Session:
    """What came of it.

    Attributes:
        recording: all frames that were heard of.
        startup_s: seconds from starting the processes to the camera's first frame; None without.
        stopped: why it ended early; None where the source came to its end.
    """

    recording: Recording
    startup_s: float | None
    stopped: KeyboardInterrupt | InputError | None


def workers_of(graph: Graph) -> list[str]:
    """Names of the detectors that the graph starts."""
    return [process.name for process in graph.processes if process.executable == "detector"]


def run_session(
    graph: Graph,
    *,
    live: bool,
    total: int | None = None,
    bag: Path | None = None,
    images: Path | None = None,
    title: str = "fused",
    progressed: Callable[[int], None] | None = None,
) -> Session:
    """Start ``graph``, follow it to the end of its source and stop it; progress goes to stderr.

    In lockstep the robot's side itself waits for the workers. Live, it is started when all workers
    have told their profiles, so that no frame is lost to the loading of networks.

    Args:
        graph: with a source; what its processes print is shown on stderr.
        live: the graph's mode.
        total: frames to expect.
        bag: file for the results, replaced where it exists; None keeps them in memory alone.
        images: file for the camera's images, for sources that cannot be read again.
        title: of the progress bar.
        progressed: is told how many frames are fused whenever it has changed.

    Returns:
        What was recorded, also where a process failed, nothing moved any more, or the user
        interrupted: ``Session.stopped`` says so.

    Raises:
        InputError: a file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        from re_pose_ros.nodes.recorder import Recorder

        written = None if bag is None else stack.enter_context(_new_bag(bag))
        pictures = None if images is None else stack.enter_context(_new_bag(images))
        workers = workers_of(graph)
        recorder = stack.enter_context(
            Recorder(graph.namespace, written, live=live, workers=workers, images=pictures)
        )
        started = time.monotonic()
        stopped: KeyboardInterrupt | InputError | None = None
        first = [p for p in graph.processes if not live or p.executable == "detector"]
        try:
            with Supervisor(replace(graph, processes=tuple(first)), _shown) as supervisor:
                if live:
                    _wait_for_workers(recorder, supervisor, len(workers))
                    for process in graph.processes[len(first) :]:
                        supervisor.start(process)
                _follow(recorder, supervisor, total, title, progressed)
        except (KeyboardInterrupt, InputError) as reason:
            stopped = reason
        return Session(recorder.recording, _startup(recorder.recording, started), stopped)


def _new_bag(path: Path) -> BagWriter:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    return BagWriter(path)


def _shown(title: str, line: str) -> None:
    tqdm.write(f"[{title}] {line}", file=sys.stderr)


def _startup(recording: Recording, started: float) -> float | None:
    stamps = sorted(recording.frames)
    if not stamps:
        return None
    ago = time.time() - stamps[0] / 1e9
    return round(time.monotonic() - ago - started, 2)


def _wait_for_workers(recorder: Recorder, supervisor: Supervisor, workers: int) -> None:
    limit = time.monotonic() + FIRST_FRAME_S
    with tqdm(total=workers, desc="workers", unit="worker", disable=None, leave=False) as progress:
        while True:
            with recorder.changed:
                recorder.changed.wait(0.2)
                ready = len(recorder.recording.profiles)
            progress.update(ready - progress.n)
            if ready >= workers:
                return
            supervisor.check()
            if time.monotonic() > limit:
                raise InputError(f"only {ready} of {workers} workers came up; see the lines above")


def _follow(
    recorder: Recorder,
    supervisor: Supervisor,
    total: int | None,
    title: str,
    progressed: Callable[[int], None] | None,
) -> None:
    """Until all frames are fused; InputError where a process fails or nothing moves any more."""
    with tqdm(total=total, desc=title, unit="frame", disable=None) as progress:
        for fused in _fused_counts(recorder, supervisor):
            progress.update(fused - progress.n)
            if progressed is not None:
                progressed(fused)


def _fused_counts(recorder: Recorder, supervisor: Supervisor) -> Iterator[int]:
    fused, moved = 0, time.monotonic()
    while True:
        with recorder.changed:
            recorder.changed.wait(0.2)
            now = len(recorder.recording.fused())
            published = recorder.recording.frames_published
            complete = recorder.recording.complete()
        if now != fused:
            fused, moved = now, time.monotonic()
            yield fused
        if published is not None and fused >= published and complete:
            return
        supervisor.check()
        quiet = time.monotonic() - moved
        # A camera that has ended may have done so unheard.
        ended = published is not None or (fused and supervisor.ended())
        if quiet > _LAST_WORDS_S and ended:
            return
        if quiet > (STALLED_S if fused else FIRST_FRAME_S):
            raise InputError(f"nothing was fused for {quiet:.0f} s; see the lines above")
