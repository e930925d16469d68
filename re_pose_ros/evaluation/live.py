"""Frames at the recorded rate through the real graph: what is dropped or late is missed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from re_pose_ros.bags import BagWriter, typestore
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.configuration import Configuration
from re_pose_ros.evaluation.data import EvaluationData
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.frame import Frame
from re_pose_ros.graph.description import Graph, describe
from re_pose_ros.graph.records import FrameRecord, Recording
from re_pose_ros.graph.session import run_session, workers_of
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.parameters.shared import LIVE_DEADLINE_S
from re_pose_ros.sources import open_source

NAMESPACE = "evaluation"

FALLBACK_RATE_HZ = 10.0
_JPEG_QUALITY = 95
_IMAGE = "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How the graph runs, besides what ``Configuration`` says.

    Attributes:
        rate: frames per second; 0 is the rate that the frames were recorded at (a video's, that of
            a bag's or a dataset's stamps, a scene's ``fps``), 10 where there is none.
        deadline: seconds from a frame's capture within which its result has to come; 0 is the
            fusion node's deadline and one frame period.
        robot: camera, partitioner and fusion in one process, so that frames are handed over in
            memory; False sends them through DDS.
        device: of the networks.
        confidence: least confidence of a detection.
        settings: further arguments of the graph, as ``camera.jpeg_quality``.
    """

    rate: float = 0.0
    deadline: float = 0.0
    robot: bool = True
    device: str = "cpu"
    confidence: float = 0.25
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class LiveRun:
    """What came of it.

    Attributes:
        outcomes: of all frames, in order; those after an early end are missed.
        labels: class names of the detector.
        rate: frames per second that were to be played.
        played: frames per second that were: a camera that renders or decodes its frames may be
            slower than they were recorded.
        deadline_s: see ``LiveOptions.deadline``.
        stopped: why the graph ended early; None where it did not.
    """

    outcomes: list[FrameOutcome]
    labels: tuple[str, ...]
    rate: float
    played: float | None
    deadline_s: float
    stopped: KeyboardInterrupt | InputError | None

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to be told."""
        if self.played is None or self.played >= 0.95 * self.rate:
            return []
        return [
            f"played at {self.played:.3g} instead of {self.rate:.3g} frames/s: this machine does "
            f"not make the images as fast as they were recorded"
        ]


def run_live(
    data: EvaluationData,
    model: str,
    configuration: Configuration,
    options: LiveOptions | None = None,
    *,
    source: str = "",
) -> LiveRun:
    """Play ``data`` through the graph, which is started for it, and judge by the clock.

    The camera starts when all detectors are there. Partitioners see one stream: they do not start
    anew where another sequence begins. Progress is shown on stderr.

    Args:
        data: the frames and their truth.
        model: weights as of the graph's argument ``model``.
        configuration: how frames become blocks, and for how many workers.
        options: None takes the defaults.
        source: what a camera node opens to get the same frames; empty writes them to a temporary
            bag first, as JPEGs of quality 95.

    Raises:
        InputError: something given cannot be used, or the graph came to nothing.
    """
    options = options or LiveOptions()
    if min(options.rate, options.deadline) < 0:
        raise InputError(
            f"rate {options.rate:g} and deadline {options.deadline:g} must not be negative"
        )
    with tempfile.TemporaryDirectory(prefix="re_pose_ros_") as folder:
        played = source or _recorded(data, Path(folder) / "frames.mcap", options.rate)
        topic = options.settings.get("camera.topic", "")
        with open_source(played, rate=options.rate, topic=topic) as probe:
            rate, total = probe.rate, probe.total
        graph = _graph(played, model, configuration, options)
        session = run_session(graph, live=True, total=total, title=configuration.name)
    recording = session.recording
    if session.stopped is not None and not recording.fused():
        raise session.stopped
    fusion_s = float(options.settings.get("fusion.deadline", "0")) or LIVE_DEADLINE_S
    deadline = options.deadline or fusion_s + 1.0 / rate
    outcomes = live_outcomes(data, recording, workers_of(graph), deadline)
    return LiveRun(
        outcomes, recording.labels, rate, played_rate(recording), deadline, session.stopped
    )


def _graph(source: str, model: str, configuration: Configuration, options: LiveOptions) -> Graph:
    described = configuration.described()
    nodes = {
        "camera.rate": str(options.rate),
        "partitioner.jpeg_quality": str(configuration.jpeg_quality),
        "detector.confidence": str(options.confidence),
        **{f"{node}.slots": str(configuration.slots) for node in ("partitioner", "detector")},
        "fusion.slots": str(configuration.slots),
        **{f"partitioner.{name}": _text(v) for name, v in described["partition"].items()},
        **{f"fusion.{name}": _text(v) for name, v in described["fusion"].items()},
    }
    return describe(
        {
            "source": source,
            "model": model,
            "workers": str(configuration.workers),
            "partitioner": configuration.partitioner,
            "input_sizes": ",".join(map(str, configuration.input_sizes)),
            "mode": "live",
            "robot": str(options.robot).lower(),
            "device": options.device,
            "namespace": NAMESPACE,
            "log_level": "warn",
            **nodes,
            **options.settings,
        }
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _recorded(data: EvaluationData, path: Path, rate: float) -> str:
    """A bag of the frames; those without stamps, or out of order, have them by ``rate``."""
    types = typestore().types
    period_ns = round(1e9 / (rate or FALLBACK_RATE_HZ))
    last_ns = 0
    with BagWriter(path) as bag:
        for frame in data.frames():
            stamp_ns = frame.stamp_ns
            if stamp_ns is None or stamp_ns <= last_ns:
                stamp_ns = last_ns + period_ns
            last_ns = stamp_ns
            time = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
            header = types["std_msgs/msg/Header"](time, frame.frame_id)
            jpeg = np.frombuffer(encode_jpeg(frame.image, _JPEG_QUALITY), np.uint8)
            bag.write(
                "/image_raw/compressed", _IMAGE, types[_IMAGE](header, "jpeg", jpeg), stamp_ns
            )
    return str(path)


def live_outcomes(
    data: EvaluationData, recording: Recording, workers: list[str], deadline_s: float
) -> list[FrameOutcome]:
    """One outcome per frame of ``data``; the camera's index says which record is whose."""
    by_index = {record.index: record for record in recording.frames.values()}
    outcome = partial(_outcome, workers=workers, deadline_s=deadline_s)
    return [
        outcome(frame, data.frame_name(frame, index), index, by_index.get(index))
        for index, frame in enumerate(data.frames())
    ]


def _outcome(
    frame: Frame,
    name: str,
    index: int,
    record: FrameRecord | None,
    *,
    workers: list[str],
    deadline_s: float,
) -> FrameOutcome:
    record = record or FrameRecord(0)
    total = record.value("fusion", "total_ms") if record.detections is not None else None
    late = total is not None and total > deadline_s * 1e3
    blocks = record.plan.blocks if record.plan is not None else ()
    sent = [record.value("partitioner", f"bytes/{planned.slot}") for planned in blocks]
    return FrameOutcome(
        index=index,
        name=name,
        sequence=frame.frame_id,
        size=frame.size,
        truth=frame.truth,
        detections=None if late else record.detections,
        plan=record.plan,
        stages_ms=live_stages(record, workers),
        block_ms=(),
        block_bytes=tuple(int(size or 0) for size in sent),
        latency_ms=total,
        late=late,
        expected=record.outcome,
        clusters=record.clusters,
    )


def live_stages(record: FrameRecord, workers: list[str]) -> dict[str, float]:
    """Milliseconds by stage, as far as they are known of a frame.

    ``partition``, ``encode``, ``decode``, ``detect`` (the slowest worker's) and ``fusion`` are
    those of ``Pipeline``, as the nodes tell them. ``waiting`` is the rest of the frame's latency:
    queues and the way between the processes. Blocks are worked on while others are still being
    encoded, so that the sum may exceed the latency.
    """
    total = record.value("fusion", "total_ms")

    def slowest(key: str) -> float | None:
        told = [record.value(name, key) for name in workers]
        return max((value for value in told if value is not None), default=None)

    stages = {
        "partition": record.value("partitioner", "partition_ms"),
        "encode": record.value("partitioner", "encode_ms"),
        "decode": slowest("decode_ms"),
        "detect": slowest("detect_ms"),
        "fusion": record.value("fusion", "fusion_ms"),
    }
    known = {stage: value for stage, value in stages.items() if value is not None}
    if total is not None and len(known) == len(stages):
        known["waiting"] = max(0.0, total - sum(known.values()))
    return known


def played_rate(recording: Recording) -> float | None:
    """Frames per second that the camera published; None for fewer than two frames."""
    stamps = sorted(r.stamp_ns for r in recording.frames.values() if r.index >= 0)
    if len(stamps) < 2:
        return None
    return (len(stamps) - 1) / ((stamps[-1] - stamps[0]) / 1e9)
