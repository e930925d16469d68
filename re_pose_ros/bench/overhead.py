"""``bench overhead``: the robot's own time per frame for a planner, with no network running.

Frames are drawn or read, blocks are planned, and what workers might have answered is imagined from
the ground truth and the profile beside the weights. Timed is what the robot does besides cropping
and encoding: making the thumbnail, planning, fusion, and learning from what came of the frame. The
parts are timed from outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from re_pose_ros.bench import inside
from re_pose_ros.bench.command import check_writable
from re_pose_ros.bench.inside import Stopwatch, watched
from re_pose_ros.bench.methods import MethodSettings, Partitioned, make_methods
from re_pose_ros.bench.planners import Planner
from re_pose_ros.bench.pool import Clock
from re_pose_ros.bench.profiles import worker_profiles
from re_pose_ros.bench.table import aligned
from re_pose_ros.datasets import AnnotatedFrames, open_dataset
from re_pose_ros.detection.model import find_weights, model_name
from re_pose_ros.detection.profile import Profile, VariantProfile, profile_beside, read_profile
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.base import BlockOutcome, FrameOutcome, PartitionSettings
from re_pose_ros.plan import Plan, Variant
from re_pose_ros.planning.imagined import Imagined
from re_pose_ros.planning.makespan import Network
from re_pose_ros.provenance import commit, machine

DATA = (
    "scene:plaza?seed=901&frames=1000",
    "scene:street?seed=902&frames=1000",
    "scene:yard?seed=903&frames=1000",
)
"""3840x2160, 25 frames a second."""

PARTS = ("thumbnail", "planning", "fusion", "learning")
"""What adds up to the total; ``inside.PARTS`` are within planning and learning."""

LATER = "learning"
"""What is done when the detections are out; the rest delays them."""


@dataclass(frozen=True)
class OverheadOptions:
    """What is timed, and what it plans for.

    Attributes:
        method: a planner; see ``planners.Planner``.
        weights: a network whose profile is beside it.
        input_sizes: of the variants; those without a profile take the nearest one's accuracy.
        workers: of speed 1.
        slots: blocks per worker and frame.
        bandwidth_mbit_s: of the link that all share.
        seed: of the imagined answers.
        clock: by which the planner is told the robot's own time, for which it leaves room; both are
            reported. ``cpu`` where other programs take turns with this one.
        repeats: how often all is replayed; the planner is told the times of the first replay in all
            of them, so that each frame is planned alike. Reported besides is each frame's fastest.
        partition: settings of the planner.
        fusion: how the blocks' answers become one.

    Raises InputError for a value that cannot be used.
    """

    method: str = "re_pose"
    weights: str = "scene-n"
    input_sizes: tuple[int, ...] = (320, 640, 1280)
    workers: int = 4
    slots: int = 8
    bandwidth_mbit_s: float = 100.0
    seed: int = 0
    clock: Clock = "wall"
    repeats: int = 1
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)

    def __post_init__(self) -> None:
        if Planner.parse(self.method) is None:
            raise InputError(f"method '{self.method}' is no planner; give re_pose, greedy or alike")
        for name in ("workers", "slots", "repeats"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it has to be at least 1")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it has to be 0 or more")
        if not self.input_sizes or min(self.input_sizes) < 32:
            raise InputError("input sizes have to be at least 32 pixels; give one or more")


@dataclass(frozen=True, slots=True)
class _Row:
    """One frame: milliseconds by part, by both clocks, and what there was to do."""

    wall: Mapping[str, float]
    cpu: Mapping[str, float]
    overhead_ms: float
    objects: int
    detections: int
    blocks: int

    @property
    def total(self) -> float:
        """Wall time of all parts."""
        return sum(self.wall[part] for part in PARTS)


def bench_overhead(
    specs: Sequence[str],
    options: OverheadOptions,
    *,
    frames: int = 120,
    file: Path | None = None,
) -> dict[str, Any]:
    """Time the planner on every frame, write the result and print its table.

    Args:
        specs: datasets as of ``open_dataset``; empty takes ``DATA``.
        options: see there.
        frames: at most so many of each spec; 0 is all.
        file: the result as JSON.

    Raises:
        InputError: something cannot be used, or a frame cannot be read.
    """
    if file is not None:
        check_writable(file)
    data = [(spec, open_dataset(spec, count=frames)) for spec in specs or DATA]
    profile = _profile(options)
    method = _method(options, profile)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    replays: list[list[list[_Row]]] = []
    total = options.repeats * sum(len(found) for _, found in data)
    stopwatch = Stopwatch((*PARTS, *inside.PARTS))
    try:
        with tqdm(total=total, unit="frame") as bar, watched(stopwatch) as missing:
            for _ in range(options.repeats):
                replays.append([])
                for place, (_, found) in enumerate(data):
                    told = [row.overhead_ms for row in replays[0][place]] if replays[1:] else None
                    run = _Run(method, Imagined(profile, options.seed), stopwatch, options, told)
                    replays[-1].append([])
                    for row in run.rows(found):
                        replays[-1][place].append(row)
                        bar.update()
    finally:
        cv2.setNumThreads(threads)
    content = _content([spec for spec, _ in data], replays, options, missing)
    if file is not None:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(content))
    return content


def _profile(options: OverheadOptions) -> Profile:
    """That beside the weights, with the input sizes asked for."""
    path = find_weights(options.weights)
    beside = profile_beside(path)
    known = read_profile(beside)
    model = model_name(path)
    entries = []
    for size in sorted(set(options.input_sizes)):
        own = [entry for entry in known.variants if entry.variant.model == model]
        if not own:
            raise InputError(f"profile {beside} has nothing of {model}; measure it anew")
        nearest = min(own, key=lambda e: (abs(e.variant.input_size - size), e.variant))
        scale = (size / nearest.variant.input_size) ** 2
        entries.append(
            VariantProfile(Variant(model, size), nearest.time_ms * scale, accuracy=nearest.accuracy)
        )
    return replace(known, variants=tuple(entries))


def _method(options: OverheadOptions, profile: Profile) -> Partitioned:
    workers = {f"edge_{k}": 1.0 for k in range(options.workers)}
    settings = MethodSettings(
        profile.models,
        workers,
        options.slots,
        tuple(sorted(set(options.input_sizes))),
        options.partition,
        profiles=worker_profiles(profile, workers),
        clock=options.clock,
    )
    (method,), _ = make_methods([options.method], settings)
    assert isinstance(method, Partitioned)
    return method


@dataclass(frozen=True)
class _Run:
    """One dataset with one planner, which is told its own times, or those of an earlier run."""

    method: Partitioned
    imagined: Imagined
    stopwatch: Stopwatch
    options: OverheadOptions
    told: Sequence[float] | None

    def rows(self, frames: AnnotatedFrames) -> Iterator[_Row]:
        last: str | None = None
        for place, (frame, truth) in enumerate(frames):
            if frame.frame_id != last or frames.independent:
                self.method.begin()
            last = frame.frame_id
            yield self._row(frame, truth, None if self.told is None else self.told[place])

    def _row(self, frame: Frame, truth: GroundTruth, told: float | None) -> _Row:
        watch, method, imagined = self.stopwatch, self.method, self.imagined
        watch.begin()
        network = Network(self.options.bandwidth_mbit_s)
        with watch.part("thumbnail"):
            context = method.context(frame)
        with watch.part("planning"):
            plan = Plan(frame.index, frame.frame_id, method.placed(context, truth))
        costs = [imagined.cost(planned) for planned in plan.blocks]
        answers = {planned.slot: imagined.answer(planned, truth) for planned in plan.blocks}
        with watch.part("fusion"):
            detections = fuse(plan, answers, frame.size, self.options.fusion)
        outcomes = tuple(
            BlockOutcome(True, c.work_ms, network.transfer_ms(c.size), c.size, c.encode_ms)
            for c in costs
        )
        if told is None:
            clock = watch.cpu if self.options.clock == "cpu" else watch.wall
            told = sum(clock[part] for part in PARTS)
        outcome = FrameOutcome(detections, plan.blocks, outcomes, frame.stamp_ns, told)
        with watch.part("learning"):
            method.observe(outcome)
        return _Row(watch.wall, watch.cpu, told, len(truth), len(detections), len(plan.blocks))


def _content(
    specs: Sequence[str],
    replays: Sequence[Sequence[Sequence[_Row]]],
    options: OverheadOptions,
    missing: Sequence[str],
) -> dict[str, Any]:
    by_data = [
        list(zip(*(replay[place] for replay in replays), strict=True))
        for place in range(len(specs))
    ]
    settings = asdict(options) | {"input_sizes": list(options.input_sizes)}
    settings["fusion"].pop("crop_workers")
    return {
        "kind": "bench overhead",
        "version": 1,
        "machine": machine(),
        "commit": commit(),
        "settings": settings,
        "notes": {
            "replay": "no network runs: what workers answer is drawn from the ground truth, with "
            "the recall, false positives and times of the profile beside the weights, and seeded",
            "parts": "thumbnail: of the whole frame; planning: prediction, looks, clustering, "
            "refinement, knapsack and placing; fusion; learning: tracker and costs; the total is "
            "of these four, before that of those that delay the detections (without learning); the "
            "others are within them. Not in it: cropping and encoding",
            **({"not_timed": ", ".join(missing)} if missing else {}),
            "wall_ms": "includes what other programs of the machine took",
            "cpu_ms": "processor time of the process",
            "least_ms": "wall time of each frame in that replay in which it took least in total: "
            "what the work takes where nothing interferes",
        },
        "all": _summary([frame for part in by_data for frame in part]),
        "data": [
            {"data": spec, **_summary(part)} for spec, part in zip(specs, by_data, strict=True)
        ],
    }


def _summary(frames: Sequence[Sequence[_Row]]) -> dict[str, Any]:
    """Figures of frames, each with its rows by replay."""

    def quantiles(values: Sequence[float]) -> dict[str, float]:
        p50, p95 = np.percentile(values, (50, 95))
        figures = {"p50": p50, "p95": p95, "max": max(values), "mean": np.mean(values)}
        return {name: round(float(value), 3) for name, value in figures.items()}

    def clock(times: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
        found = {part: quantiles([one[part] for one in times]) for part in times[0]}
        sums = [sum(one[part] for part in PARTS) for one in times]
        before = [total - one[LATER] for total, one in zip(sums, times, strict=True)]
        return {**found, "before": quantiles(before), "total": quantiles(sums)}

    rows = [own[0] for own in frames]
    least = [min(own, key=lambda row: row.total) for own in frames]
    return {
        "frames": len(rows),
        "objects": round(float(np.mean([row.objects for row in rows])), 1),
        "detections": round(float(np.mean([row.detections for row in rows])), 1),
        "blocks": round(float(np.mean([row.blocks for row in rows])), 1),
        "wall_ms": clock([row.wall for row in rows]),
        "cpu_ms": clock([row.cpu for row in rows]),
        "least_ms": clock([row.wall for row in least]),
    }


def table(content: Mapping[str, Any]) -> str:
    """The result for reading: milliseconds per frame, wall time and in brackets processor time."""
    rows: list[Sequence[str]] = [("data", "part", "p50", "p95", "max")]
    for of in (*content["data"], {"data": "all", **content["all"]}):
        for part in (*PARTS, "before", "total", *inside.PARTS):
            wall, cpu = of["wall_ms"][part], of["cpu_ms"][part]
            figures = (f"{wall[q]:.2f} ({cpu[q]:.2f})" for q in ("p50", "p95", "max"))
            name = f"({part})" if part in inside.PARTS else part
            rows.append((of["data"] if part == PARTS[0] else "", name, *figures))
    every = content["all"]
    lines = aligned(rows)
    lines.append(
        f"{every['frames']} frames with {every['objects']:g} objects, {every['blocks']:g} blocks "
        f"and {every['detections']:g} detections in the mean; ms of wall (processor) time"
    )
    if content["settings"]["repeats"] > 1:
        least = every["least_ms"]
        before, total = least["before"], least["total"]
        lines.append(
            f"each frame's fastest of {content['settings']['repeats']} replays: before p50 "
            f"{before['p50']:.2f}, p95 {before['p95']:.2f}; total p50 {total['p50']:.2f}, p95 "
            f"{total['p95']:.2f}"
        )
    return "\n".join(lines)
