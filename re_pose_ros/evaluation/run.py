"""The whole of ``python -m re_pose_ros evaluate``."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tqdm import tqdm

from re_pose_ros.datasets import ClassMap, choose_class_map
from re_pose_ros.detection.model import Model, load_model
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation.class_maps import class_map_of
from re_pose_ros.evaluation.configuration import Configuration, configurations
from re_pose_ros.evaluation.data import EvaluationData, open_data
from re_pose_ros.evaluation.offline import run_offline
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.evaluation.reference import Reference
from re_pose_ros.evaluation.report import read_compared, take_pictures, write_report
from re_pose_ros.evaluation.scores import Scoring, method_figures
from re_pose_ros.evaluation.table import table
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.provenance import commit, machine

MODES = ("offline", "live")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate; see ``--help`` of the command.

    Attributes:
        data: datasets, scenes, or one bag, video or folder.
        classes: of the class map those to evaluate; empty is all.
        settings: parameters of nodes, as ``partitioner.margin``.
        rate, deadline: of the live mode only; frames per second and seconds, 0 leaves them to it.
        pictures: frames to show in the report, the worst ones, per method.
    """

    data: Sequence[str]
    mode: str = "offline"
    ground_truth: str = ""
    topic: str = ""
    class_map: str = ""
    classes: Sequence[str] = ()
    model: Sequence[str] = ("scene-s",)
    input_sizes: Sequence[int] = (320, 640)
    workers: int = 1
    slots: int = 8
    partitioner: Sequence[str] = ("clusters",)
    confidence: float = 0.25
    jpeg_quality: int = 90
    device: str = "cpu"
    start: int = 0
    frames: int = 0
    step: int = 1
    repeat: int = 1
    rate: float = 0.0
    deadline: float = 0.0
    pictures: int = 6
    compare: Sequence[str] = ()
    out: str = "out/evaluate"
    json: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Run, write ``summary.json`` and ``report.html``, print a table; returns the summary.

    What was computed before an error or an interruption is scored and written all the same; the
    error is raised after that.

    Raises:
        InputError: something given cannot be used.
    """
    methods = configurations(
        options.partitioner,
        input_sizes=options.input_sizes,
        workers=options.workers,
        slots=options.slots,
        jpeg_quality=options.jpeg_quality,
        settings=options.settings if options.mode == "offline" else {},
    )
    out, json_path = _places(options)
    compared = [found for path in options.compare for found in read_compared(Path(path))]
    data = open_data(
        options.data,
        ground_truth=options.ground_truth,
        topic=options.topic,
        start=options.start,
        count=options.frames,
        step=options.step,
    )
    models = [
        load_model(name, confidence=options.confidence, device=options.device)
        for name in options.model
    ]
    scoring = _scoring(options, data, models)
    run = _Run(methods)
    started = time.monotonic()
    stopped: BaseException | None = None
    try:
        _work(options, data, models, run)
    except BaseException as reason:  # whatever ends the work, what was computed is kept
        stopped = reason
    if not run.done():
        raise stopped or InputError(f"{data.name} has no frames")
    summary = _summary(options, data, models, scoring, run)
    summary["wall_s"] = round(time.monotonic() - started, 3)
    summary["stopped"] = _reason(stopped)
    json_path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    try:
        pictures = take_pictures(data, run.outcomes, scoring, options.pictures)
    except (InputError, KeyboardInterrupt) as reason:
        pictures, stopped = [], stopped or reason
    write_report(out / "report.html", summary, pictures, compared)
    print(table(summary, compared))
    print(f"\n{out / 'report.html'}, {json_path}")
    if stopped is not None:
        raise stopped
    return summary


class _Run:
    """What was computed so far."""

    def __init__(self, methods: Sequence[Configuration]) -> None:
        self.methods = {method.name: method for method in methods}
        self.outcomes: dict[str, list[FrameOutcome]] = {name: [] for name in self.methods}
        self.notes: dict[str, dict[str, None]] = {name: {} for name in self.methods}
        self.live: dict[str, dict[str, float | None]] = {}

    def note(self, method: str, lines: Sequence[str]) -> None:
        """Keep and show what is new."""
        for line in lines:
            if line not in self.notes[method]:
                self.notes[method][line] = None
                tqdm.write(f"{method}: {line}", file=sys.stderr)

    def done(self) -> bool:
        return any(self.outcomes.values())


def _places(options: EvaluateOptions) -> tuple[Path, Path]:
    """Folder of the report and file of the summary; both can be written to."""
    if options.mode not in MODES:
        raise InputError(f"mode '{options.mode}' is none of {', '.join(MODES)}")
    if options.mode == "live" and options.repeat != 1:
        raise InputError("frames are repeated offline only")
    out = Path(options.out)
    path = Path(options.json) if options.json else out / "summary.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        path.open("a", encoding="utf-8").close()
        if fresh:
            path.unlink()
    except OSError as error:
        raise InputError(f"{error.filename or out} cannot be written: {error.strerror}") from None
    return out, path


def _scoring(options: EvaluateOptions, data: EvaluationData, models: Sequence[Model]) -> Scoring:
    labels = models[0].labels
    if not data.labels:
        if options.class_map:
            raise InputError(f"{data.name} has no ground truth, so no class map is of use")
        _say(f"{data.name} has no ground truth: measuring agreement with a slow reference")
        chosen = _only(choose_class_map(labels, labels, "identity"), options.classes)
        return Scoring(chosen, labels, labels, options.confidence, reference=True)
    chosen = _only(class_map_of(options.class_map, labels, data.labels), options.classes)
    _say(f"class map {chosen.name}: {', '.join(chosen.labels)}")
    return Scoring(chosen, labels, data.labels, options.confidence)


def _only(class_map: ClassMap, classes: Sequence[str]) -> ClassMap:
    return class_map.only(classes) if classes else class_map


def _work(
    options: EvaluateOptions, data: EvaluationData, models: Sequence[Model], run: _Run
) -> None:
    """Fill ``run`` frame by frame."""
    if options.mode == "live":
        _live(options, data, models, run)
        return
    pipelines = {name: method.pipeline(models) for name, method in run.methods.items()}
    truth = None
    if not data.labels:
        reference = Reference(models, options.input_sizes)
        truth = lambda frame: reference.truth(frame.image, options.confidence)  # noqa: E731
    steps = run_offline(pipelines, data, repeat=options.repeat, truth=truth)
    for outcomes in _progress(steps, data, "evaluated"):
        for name, outcome in outcomes.items():
            run.outcomes[name].append(outcome)
            run.note(name, pipelines[name].notes)


def _live(
    options: EvaluateOptions, data: EvaluationData, models: Sequence[Model], run: _Run
) -> None:
    """Each configuration through the real graph, one after the other."""
    from re_pose_ros.evaluation.live import LiveOptions, run_live

    how = LiveOptions(
        rate=options.rate,
        deadline=options.deadline,
        device=options.device,
        confidence=options.confidence,
        settings=options.settings,
    )
    truths: list[GroundTruth] = []
    if not data.labels:
        reference = Reference(models, options.input_sizes)
        truths = [
            reference.truth(frame.image, options.confidence)
            for frame in _progress(data.frames(), data, "reference")
        ]
    for name, method in run.methods.items():
        live = run_live(data, ",".join(options.model), method, how, source=_played(options, data))
        run.outcomes[name] += [
            replace(outcome, truth=truths[outcome.index]) if truths else outcome
            for outcome in live.outcomes
        ]
        run.live[name] = {
            "rate_hz": live.rate,
            "played_hz": live.played,
            "deadline_s": live.deadline_s,
        }
        run.note(name, live.notes)
        if live.stopped is not None:
            raise live.stopped


def _played(options: EvaluateOptions, data: EvaluationData) -> str:
    """What a camera can play itself to the same frames; empty where it cannot."""
    spec = options.data[0]
    some = options.start or options.frames or options.step != 1 or len(options.data) > 1
    if some or re.search(r"[?&](start|count|step)=", spec):
        return ""
    return spec if not data.labels or spec.startswith("scene:") else ""


def _progress(items: Iterator[Any], data: EvaluationData, what: str) -> Iterator[Any]:
    with tqdm(items, total=data.total, desc=what, unit="frame", disable=None) as progress:
        yield from progress


def _summary(
    options: EvaluateOptions,
    data: EvaluationData,
    models: Sequence[Model],
    scoring: Scoring,
    run: _Run,
) -> dict[str, Any]:
    methods = {}
    for name, outcomes in run.outcomes.items():
        if outcomes:
            settings = run.methods[name].described()
            figures = method_figures(outcomes, scoring)
            notes = list(run.notes[name])
            live = run.live.get(name, {})
            methods[name] = {**figures, **live, "settings": settings, "notes": notes}
    first = next(iter(methods.values()))
    # One method's figures also stand at the top, where scripts look first.
    head = {k: v for k, v in first.items() if k not in _ROWS} if len(methods) == 1 else {}
    return {
        "data": list(options.data),
        "ground_truth": "slow reference" if scoring.reference else options.ground_truth or "own",
        "mode": options.mode,
        "model": list(options.model),
        "device": models[0].device,
        "confidence": options.confidence,
        "class_map": scoring.class_map.name,
        "classes": list(scoring.class_map.labels),
        "frames_asked": data.total,
        "frames_done": min(len(o) for o in run.outcomes.values() if o),
        "start": options.start,
        "step": options.step,
        "repeat": options.repeat,
        "seeds": _seeds(options.data),
        "settings": dict(options.settings),
        **head,
        "methods": methods,
        "machine": machine(),
        "commit": commit(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


_ROWS = ("frames", "settings", "notes", "curve", "agreement_curve")


def _seeds(specs: Sequence[str]) -> list[int]:
    found = [re.search(r"[?&]seed=([0-9]+)", spec) for spec in specs if spec.startswith("scene:")]
    return [int(match[1]) if match else 0 for match in found]


def _reason(stopped: BaseException | None) -> str | None:
    if stopped is None:
        return None
    if isinstance(stopped, KeyboardInterrupt):
        return "interrupted"
    return str(stopped) or type(stopped).__name__


def _say(line: str) -> None:
    print(line, file=sys.stderr)
