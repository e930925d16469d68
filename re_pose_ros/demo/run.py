"""Runs a source through the graph and writes what came of it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from re_pose_ros.bags import BagWriter
from re_pose_ros.demo.records import Recording
from re_pose_ros.demo.summary import summarise, table
from re_pose_ros.demo.video import write_video
from re_pose_ros.errors import InputError
from re_pose_ros.graph.description import describe
from re_pose_ros.graph.supervisor import Supervisor
from re_pose_ros.provenance import commit, machine
from re_pose_ros.sources import open_source

if TYPE_CHECKING:
    from re_pose_ros.nodes.recorder import Recorder

NAMESPACE = "demo"
FIRST_FRAME_S = 180.0
STALLED_S = 90.0
_SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run; empty strings take the default.

    Attributes:
        settings: further arguments of the graph, as ``partitioner.tile_size``.
    """

    source: str = ""
    model: str = ""
    workers: int = 2
    partitioner: str = "clusters"
    frames: int = 0
    out: str = "out/demo"
    mode: str = "lockstep"
    robot: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


def _default(given: str, name: str, option: str) -> str:
    if given:
        return given
    path = _SHARED / name
    if not path.exists():
        raise InputError(f"the default {option} {path} is not here; give one with --{option}")
    return str(path)


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run, write ``annotated.mp4``, ``detections.mcap`` and ``summary.json``; returns the summary.

    InputError says what cannot be used. What was recorded before an interruption is kept.
    """
    source = _default(options.source, "video/plaza_720p.avi", "source")
    model = _default(options.model, "weights/yolo11n_coco.pt", "model")
    for weights in model.split(","):
        # A bare name may be one that ultralytics publishes; the detectors find that out.
        if "/" in weights and not Path(weights).expanduser().exists():
            raise InputError(f"model {weights} does not exist")
    if options.workers < 1:
        raise InputError("--workers has to be at least 1")
    settings = {"camera.count": str(options.frames), **options.settings}
    graph = describe(
        {
            "source": source,
            "model": model,
            "workers": str(options.workers),
            "partitioner": options.partitioner,
            "mode": options.mode,
            "robot": str(options.robot).lower(),
            "namespace": NAMESPACE,
            "log_level": "warn",
            **settings,
        }
    )
    reopen = partial(
        open_source,
        source,
        start=int(settings.get("camera.start", "0")),
        count=int(settings["camera.count"]),
        topic=settings.get("camera.topic", ""),
    )
    with reopen() as probe:
        total, replayable = probe.total, probe.replayable
    out = Path(options.out)
    bag_path, images_path = out / "detections.mcap", out / "frames.mcap"
    _clear(out, bag_path, images_path)
    with contextlib.ExitStack() as stack:
        # Imported here: drawing and summing up need no ROS.
        from re_pose_ros.nodes.recorder import Recorder

        bag = stack.enter_context(BagWriter(bag_path))
        images = None if replayable else stack.enter_context(BagWriter(images_path))
        recorder = stack.enter_context(
            Recorder(NAMESPACE, bag, live=options.mode == "live", images=images)
        )
        started = time.monotonic()
        stopped: KeyboardInterrupt | InputError | None = None
        try:
            with Supervisor(graph, _shown) as supervisor:
                _follow(recorder, supervisor, total)
        except (KeyboardInterrupt, InputError) as reason:
            stopped = reason
        recording = recorder.recording
    if stopped is not None and not recording.fused():
        raise stopped
    workers = [name for p in graph.processes if p.executable == "detector" for name in [p.name]]
    said = {
        "source": source,
        "model": model,
        "partitioner": options.partitioner,
        "mode": options.mode,
    }
    summary = summarise(recording, said, workers)
    summary |= {
        "startup_s": _startup(recording, started),
        "settings": dict(options.settings) | {"robot": options.robot},
        "machine": machine(),
        "commit": commit(),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if recording.fused():
        with reopen() if replayable else open_source(str(images_path)) as again:
            write_video(out / "annotated.mp4", again, recording)
    print(table(summary))
    print(f"\n{out}/annotated.mp4, {out}/detections.mcap, {out}/summary.json")
    if stopped is not None:
        raise stopped
    return summary


def _clear(out: Path, *bags: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for bag in bags:
            bag.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--out {out} cannot be used: {error.strerror}") from None


def _shown(title: str, line: str) -> None:
    tqdm.write(f"[{title}] {line}", file=sys.stderr)


def _startup(recording: Recording, started: float) -> float | None:
    """Seconds from starting the processes to the camera's first frame."""
    stamps = sorted(recording.frames)
    if not stamps:
        return None
    ago = time.time() - stamps[0] / 1e9
    return round(time.monotonic() - ago - started, 2)


def _follow(recorder: Recorder, supervisor: Supervisor, total: int | None) -> None:
    """Until all frames are fused; InputError where a process fails or nothing moves any more."""
    with tqdm(total=total, desc="fused", unit="frame", disable=None) as progress:
        for fused in _fused_counts(recorder, supervisor):
            progress.update(fused - progress.n)


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
        if quiet > 5.0 and (published is not None or (fused and supervisor.ended())):
            return
        if quiet > (STALLED_S if fused else FIRST_FRAME_S):
            raise InputError(f"nothing was fused for {quiet:.0f} s; see the lines above")
