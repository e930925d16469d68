"""From samples to the JSON file and the table of a bench."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from re_pose_ros.bench.measure import Timing
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.pool import Offer
from re_pose_ros.datasets import ClassMap
from re_pose_ros.detections import Detections
from re_pose_ros.evaluation import Metrics, evaluate_coco
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.provenance import commit, machine

VERSION = 1
BUSY = 1.1
"""From here on the table says that the machine was not idle."""
_OVERHEADS = ("partition", "encode", "transfer", "decode", "fusion")
_PACKAGES = ("torch", "ultralytics", "sahi", "opencv-python")


@dataclass(frozen=True, eq=False)
class Sample:
    """All methods on one frame.

    Attributes:
        number: of the dataset, in the order given.
        index: of the frame in its dataset.
        sequence: its ``frame_id``.
        truth: in the evaluated classes.
        measured: detections in the detector's classes, and times, by method.
    """

    number: int
    index: int
    sequence: str
    truth: GroundTruth
    measured: Mapping[str, tuple[Detections, Timing]]


@dataclass(frozen=True)
class Setup:
    """What was run on what.

    Attributes:
        options: as given.
        specs: the data as the user named them.
        offer: the network.
        cores: workers that ran at once.
        class_map: from the detector's and the datasets' classes to the evaluated ones.
        unavailable: methods that could not run, with the reason.
    """

    options: BenchOptions
    specs: tuple[str, ...]
    offer: Offer
    cores: int
    class_map: ClassMap
    unavailable: Mapping[str, str]


def result(
    setup: Setup, samples: Sequence[Sample], wall_s: float, error: str = ""
) -> dict[str, Any]:
    """The content of the JSON file; ``error`` tells why a run ended early."""
    options = setup.options
    names = list(samples[0].measured) if samples else []
    return {
        "kind": "bench partition",
        "version": VERSION,
        "complete": not error,
        **({"error": error} if error else {}),
        "machine": machine(),
        "commit": commit(),
        "packages": _packages(),
        "model": setup.offer.model,
        "data": list(setup.specs),
        "seeds": _seeds(setup.specs),
        "frames": len(samples),
        "labels": list(setup.class_map.labels),
        "workers": options.workers,
        "speeds": list(options.speed_by_worker().values()),
        "cores": setup.cores,
        "bandwidth_mbit_s": options.bandwidth_mbit_s,
        "links": options.links,
        "settings": _settings(options, setup.class_map),
        "notes": _notes(options, setup.cores),
        "unavailable": dict(setup.unavailable),
        "held_up": _held_up(samples),
        "methods": {name: _method(name, setup, samples) for name in names},
        "wall_s": round(wall_s, 1),
    }


def _held_up(samples: Sequence[Sample]) -> float | None:
    """Median over all measurements of wall over processor time."""
    shares = [timing.held_up for sample in samples for _, timing in sample.measured.values()]
    return round(float(np.median(shares)), 3) if shares else None


def _method(name: str, setup: Setup, samples: Sequence[Sample]) -> dict[str, Any]:
    timings = [sample.measured[name][1] for sample in samples]
    metrics = _metrics(name, setup, samples)
    return {
        **_accuracy(metrics),
        "precision": metrics.precision,
        "recall": metrics.recall,
        "per_class": {label: asdict(of) for label, of in metrics.per_class.items()},
        **_times(timings),
        "overhead_ms": {
            kind: _mean([getattr(timing, f"{kind}_ms") for timing in timings])
            for kind in _OVERHEADS
        },
        "by_data": [
            {
                "data": spec,
                "frames": len(part),
                **_accuracy(_metrics(name, setup, part)),
                **_times([sample.measured[name][1] for sample in part]),
            }
            for number, spec in enumerate(setup.specs)
            if (part := [sample for sample in samples if sample.number == number])
        ],
        "per_frame": [
            {
                "data": sample.number,
                "index": sample.index,
                "sequence": sample.sequence,
                "detections": len(sample.measured[name][0]),
                **_rounded(asdict(sample.measured[name][1])),
            }
            for sample in samples
        ],
    }


def _metrics(name: str, setup: Setup, samples: Sequence[Sample]) -> Metrics:
    found = [
        setup.class_map.map_detections(sample.measured[name][0], setup.offer.labels)
        for sample in samples
    ]
    truths = [sample.truth for sample in samples]
    return evaluate_coco(found, truths, setup.class_map.labels)


def _accuracy(metrics: Metrics) -> dict[str, float | None]:
    kinds = ("map50", "map", "ap_small", "ap_medium", "ap_large", "ar")
    return {kind: getattr(metrics, kind) for kind in kinds}


def _times(timings: Sequence[Timing]) -> dict[str, Any]:
    return {
        "latency_ms": _percentiles([timing.latency_ms for timing in timings]),
        "makespan_ms": _percentiles([timing.makespan_ms for timing in timings]),
        "serial_ms": _mean([timing.serial_ms for timing in timings]),
        "bytes_per_frame": _mean([timing.sent_bytes for timing in timings]),
        "blocks_per_frame": _mean([timing.blocks for timing in timings]),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95)}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _seeds(specs: Sequence[str]) -> list[int]:
    """Of the scenes among the data; a scene that names none has seed 0."""
    scenes = [spec for spec in specs if spec.startswith("scene:")]
    seeds = [re.search(r"[?&]seed=([0-9]+)", spec) for spec in scenes]
    return [int(match[1]) if match else 0 for match in seeds]


def _settings(options: BenchOptions, class_map: ClassMap) -> dict[str, Any]:
    detector = options.detector
    return {
        "methods": list(options.methods),
        "weights": detector.weights,
        "confidence": detector.confidence,
        "observed_confidence": options.observed_confidence,
        "input_sizes": list(options.input_sizes),
        "tile_size": detector.tile_size,
        "overlap": detector.overlap,
        "slots": options.slots,
        "jpeg_quality": options.jpeg_quality,
        "clock": detector.clock,
        "warm": options.warm,
        "repeat": options.repeat,
        "class_map": class_map.name,
        "partition": asdict(options.partition),
        "changed": sorted(options.changed),
        "fusion": {
            **asdict(options.fusion.merge),
            "cut_margin": options.fusion.cut_margin,
        },
    }


def _notes(options: BenchOptions, cores: int) -> dict[str, str]:
    low = options.detector.confidence < 0.1
    return {
        "latency_ms": f"measured by the clock with {cores} worker processes, each pinned to a core "
        "with one thread, over local pipes without a limit to bandwidth; all blocks are encoded "
        "before the first is sent; the pool places blocks for its own number of workers",
        "makespan_ms": f"computed for {options.workers} workers from times measured one block at a "
        "time on one pinned core (divided by the worker's speed), with transfer at "
        f"{options.bandwidth_mbit_s:g} Mbit/s "
        + (
            "over one uplink that all blocks share, one after the other"
            if options.links == "shared"
            else "over one link per worker"
        )
        + "; it includes planning, encoding and fusion on the robot; answers travel in no time",
        "clock": "all times but latency_ms are "
        + (
            "wall time"
            if options.detector.clock == "wall"
            else "processor time of the process that took them"
        )
        + "; robot and workers have one thread each",
        "held_up": "wall over processor time of the measured blocks, median: above 1 other "
        "programs used the cores and times by the wall clock are too long",
        "serial_ms": "measured: decoding and detecting all blocks one after the other on one core; "
        "mean over frames",
        "overhead_ms": "means over frames; partition, encode and fusion are measured on the robot, "
        "transfer is computed, decode is measured on a worker and part of serial_ms",
        "bytes_per_frame": "JPEG sent to workers; mean over frames",
        "accuracy": "COCO's, by pycocotools, of all detections from the confidence in settings; "
        "ignored objects and regions cost nothing; precision and recall at 0.25",
        "sahi": "the sahi package around the same network on one worker, to which the whole frame "
        "goes as one JPEG; slices in native batches; "
        + (
            "at this confidence sahi merges by NMS at an IoU of 0.5 by its own choice"
            if low
            else "merged by GREEDYNMM at an IoS of 0.5"
        )
        + " (sahi_greedynmm: GREEDYNMM at any confidence)",
        "elf": "after Elf (MobiCom 2021) and its authors' code: blocks and looks in the resolution "
        "of the frame, not limited to input_sizes; see re_pose_ros.partition.elf for what is ours",
        "ground_truth": "blocks of the clusters method around the objects that are there",
    }


def table(content: Mapping[str, Any]) -> str:
    """The result for reading."""
    head = ("method", "mAP50", "mAP", "APs", "makespan", "p95", "latency", "p95", "serial")
    rows: list[Sequence[str]] = [(*head, "kB", "blocks")]
    for name, of in content["methods"].items():
        rows.append(
            (
                name,
                *(_three(of[kind]) for kind in ("map50", "map", "ap_small")),
                *(f"{of[kind][q]:.0f}" for kind in ("makespan_ms", "latency_ms") for q in of[kind]),
                f"{of['serial_ms']:.0f}",
                f"{of['bytes_per_frame'] / 1e3:.0f}",
                f"{of['blocks_per_frame']:.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines += [f"{name}: {reason}" for name, reason in content["unavailable"].items()]
    lines.append(
        f"{content['frames']} frames, {content['model']}; times in ms; makespan computed for "
        f"{content['workers']} workers at {content['bandwidth_mbit_s']:g} Mbit/s "
        f"({content['links']}), latency measured on {content['cores']} cores"
    )
    if (content["held_up"] or 0) > BUSY:
        lines.append(
            f"other programs used the cores: blocks took {content['held_up']:.1f} times their "
            "processor time"
        )
    return "\n".join(lines)


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
