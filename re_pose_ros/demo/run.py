"""Runs a source through the graph and writes what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from re_pose_ros.demo.judge import judge_of
from re_pose_ros.demo.summary import summarise, table
from re_pose_ros.demo.video import write_video
from re_pose_ros.detection.model import EMBEDDED
from re_pose_ros.errors import InputError
from re_pose_ros.graph.description import describe
from re_pose_ros.graph.session import run_session, workers_of
from re_pose_ros.provenance import commit, machine
from re_pose_ros.sources import open_source

NAMESPACE = "demo"
SOURCE = "scene:plaza?seed=1&size=3840x2160&frames=60"
MODEL = EMBEDDED[-1]
SUITED = {
    "partitioner.target_object": "24",
    "partitioner.whole_size": "1280",
    "detector.input_sizes": "320,640,1280",
}
"""For the embedded networks: objects of half the size suffice them that networks trained on COCO
need. Chosen on scenes with seeds from 500 on."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run; the defaults need no network and no data.

    Attributes:
        settings: further arguments of the graph, as ``partitioner.tile_size``.
    """

    source: str = SOURCE
    model: str = MODEL
    workers: int = 2
    partitioner: str = "clusters"
    frames: int = 0
    out: str = "out/demo"
    mode: str = "lockstep"
    robot: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run, write ``annotated.mp4``, ``detections.mcap`` and ``summary.json``; returns the summary.

    Where the source knows its truth, the summary has the accuracy and the video what was missed.
    InputError says what cannot be used. What was recorded before an interruption is kept.
    """
    for weights in options.model.split(","):
        # A bare name may be one that ultralytics publishes; the detectors find that out.
        if "/" in weights and not Path(weights).expanduser().exists():
            raise InputError(f"model {weights} does not exist")
    if options.workers < 1:
        raise InputError("--workers has to be at least 1")
    own = set(options.model.split(",")) <= set(EMBEDDED)
    settings = (SUITED if own else {}) | {"camera.count": str(options.frames), **options.settings}
    said = {
        "source": options.source,
        "model": options.model,
        "partitioner": options.partitioner,
        "mode": options.mode,
    }
    graph = describe(
        {
            **said,
            "workers": str(options.workers),
            "robot": str(options.robot).lower(),
            "namespace": NAMESPACE,
            "log_level": "warn",
            **settings,
        }
    )
    reopen = partial(
        open_source,
        options.source,
        start=int(settings.get("camera.start", "0")),
        count=int(settings["camera.count"]),
        topic=settings.get("camera.topic", ""),
    )
    with reopen() as probe:
        total, replayable, truth_labels = probe.total, probe.replayable, probe.labels
    out = Path(options.out)
    images = out / "frames.mcap"
    _clear(out, images)
    session = run_session(
        graph,
        live=options.mode == "live",
        total=total,
        bag=out / "detections.mcap",
        images=None if replayable else images,
    )
    recording, stopped = session.recording, session.stopped
    if stopped is not None and not recording.fused():
        raise stopped
    summary = summarise(recording, said, workers_of(graph))
    if recording.fused():
        judge = judge_of(recording.labels, truth_labels)
        with reopen() if replayable else open_source(str(images)) as again:
            try:
                write_video(out / "annotated.mp4", again, recording, judge)
            except KeyboardInterrupt as reason:
                stopped = stopped or reason
        summary |= {} if judge is None else judge.summary()
    summary |= {
        "startup_s": session.startup_s,
        "settings": settings | {"robot": options.robot},
        "machine": machine(),
        "commit": commit(),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(table(summary))
    print(f"\n{out}/annotated.mp4, {out}/detections.mcap, {out}/summary.json")
    if stopped is not None:
        raise stopped
    return summary


def _clear(out: Path, *files: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in files:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--out {out} cannot be used: {error.strerror}") from None
