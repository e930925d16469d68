"""From samples to the JSON file of a bench."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from re_pose_ros.bench import notes
from re_pose_ros.bench.budget import budget, row
from re_pose_ros.bench.measure import Measured, Timing
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.pool import Offer
from re_pose_ros.bench.spread import seeds, versus
from re_pose_ros.datasets import ClassMap
from re_pose_ros.evaluation import Metrics, evaluate_parts
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.provenance import commit, machine

VERSION = 2
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
        measured: detections in the detector's classes, times and expectations, by method.
        slowed: whether a worker was slower than at the start.
    """

    number: int
    index: int
    sequence: str
    truth: GroundTruth
    measured: Mapping[str, Measured]
    slowed: bool = False


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
        profile: of the network, as ``profiles.described``.
    """

    options: BenchOptions
    specs: tuple[str, ...]
    offer: Offer
    cores: int
    class_map: ClassMap
    unavailable: Mapping[str, str]
    profile: Mapping[str, Any]


def result(
    setup: Setup, samples: Sequence[Sample], wall_s: float, error: str = ""
) -> dict[str, Any]:
    """The content of the JSON file; ``error`` tells why a run ended early."""
    options = setup.options
    names = list(samples[0].measured) if samples else []
    methods = {name: _method(name, setup, samples) for name in names}
    for name, pairs in versus(methods).items():
        methods[name]["versus"] = pairs
    return {
        "kind": "bench partition",
        "version": VERSION,
        "complete": not error,
        **({"error": error} if error else {}),
        "machine": machine(),
        "commit": commit(),
        "packages": _packages(),
        "model": setup.offer.model,
        "models": list(setup.offer.models),
        "data": list(setup.specs),
        "seeds": _scene_seeds(setup.specs),
        "frames": len(samples),
        "labels": list(setup.class_map.labels),
        "workers": options.workers,
        "speeds": list(options.speed_by_worker().values()),
        "cores": setup.cores,
        "bandwidth_mbit_s": options.bandwidth_mbit_s,
        "links": options.links,
        "profile": dict(setup.profile),
        "settings": notes.settings(options, setup.class_map.name),
        "notes": notes.notes(options, setup.cores),
        "unavailable": dict(setup.unavailable),
        "held_up": _held_up(samples),
        "methods": methods,
        "wall_s": round(wall_s, 1),
    }


def _held_up(samples: Sequence[Sample]) -> float | None:
    """Median over all measurements of wall over processor time."""
    shares = [one.timing.held_up for sample in samples for one in sample.measured.values()]
    return round(float(np.median(shares)), 3) if shares else None


def _method(name: str, setup: Setup, samples: Sequence[Sample]) -> dict[str, Any]:
    measured = [sample.measured[name] for sample in samples]
    timings = [one.timing for one in measured]
    metrics, *by_number = _metrics(name, setup, samples)
    found = [counts.true_positives for counts in metrics.frames]
    by_data = _by_data(name, setup, samples, by_number)
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
        "exact_share": _share([one.exact for one in measured if one.exact is not None]),
        "budget": budget(measured, found, [sample.slowed for sample in samples]),
        "seeds": seeds(by_data),
        "by_data": by_data,
        "per_frame": [
            {
                "data": sample.number,
                "index": sample.index,
                "sequence": sample.sequence,
                "detections": len(one.detections),
                **_rounded(asdict(one.timing)),
                **row(one, count),
            }
            for sample, one, count in zip(samples, measured, found, strict=True)
        ],
    }


def _by_data(
    name: str, setup: Setup, samples: Sequence[Sample], by_number: Sequence[Metrics]
) -> list[dict[str, Any]]:
    """The same figures of each dataset by itself."""
    return [
        {
            "data": setup.specs[number],
            "frames": len(part),
            **_accuracy(metrics),
            **_times([samples[k].measured[name].timing for k in part]),
        }
        for (number, part), metrics in zip(_parts(setup, samples), by_number, strict=True)
    ]


def _parts(setup: Setup, samples: Sequence[Sample]) -> list[tuple[int, list[int]]]:
    """Datasets of which there are frames, and the places of these."""
    places = [
        (number, [k for k, sample in enumerate(samples) if sample.number == number])
        for number in range(len(setup.specs))
    ]
    return [(number, part) for number, part in places if part]


def _metrics(name: str, setup: Setup, samples: Sequence[Sample]) -> list[Metrics]:
    """Of all frames, and of those of each of ``_parts``."""
    found = [
        setup.class_map.map_detections(sample.measured[name].detections, setup.offer.labels)
        for sample in samples
    ]
    truths = [sample.truth for sample in samples]
    parts = [list(range(len(samples))), *(part for _, part in _parts(setup, samples))]
    return evaluate_parts(found, truths, setup.class_map.labels, parts)


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


def _share(values: Sequence[bool]) -> float | None:
    """Of those that are true; None where there are none at all."""
    return _mean(values) if values else None


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


def _scene_seeds(specs: Sequence[str]) -> list[int]:
    """Of the scenes among the data; a scene that names none has seed 0."""
    scenes = [spec for spec in specs if spec.startswith("scene:")]
    seeds = [re.search(r"[?&]seed=([0-9]+)", spec) for spec in scenes]
    return [int(match[1]) if match else 0 for match in seeds]
