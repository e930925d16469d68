"""From the outcomes of one configuration to its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from re_pose_ros.datasets import ClassMap
from re_pose_ros.detections import Detections
from re_pose_ros.evaluation.by_size import SizeTally
from re_pose_ros.evaluation.metrics import Metrics, evaluate_coco
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan_outcome import PlanOutcome, budget_figures

AGREEMENT = "agreement_"
"""Put before the name of a figure of accuracy that was taken against the slow reference."""


@dataclass(frozen=True)
class Scoring:
    """How detections are compared with the truth.

    Attributes:
        class_map: brings both to the evaluated classes.
        detector_labels: class names of the detector by class id.
        truth_labels: class names of the truth by class id.
        confidence: what precision, recall and hits are counted at.
        reference: the truth is that of a slow reference, so figures are agreement.
    """

    class_map: ClassMap
    detector_labels: tuple[str, ...]
    truth_labels: tuple[str, ...]
    confidence: float
    reference: bool = False

    def truth(self, outcome: FrameOutcome) -> GroundTruth:
        """In the evaluated classes."""
        known = GroundTruth.empty() if outcome.truth is None else outcome.truth
        return self.class_map.map_truth(known, self.truth_labels)

    def detections(self, outcome: FrameOutcome) -> Detections | None:
        """In the evaluated classes; None for a frame without result."""
        if outcome.detections is None:
            return None
        return self.class_map.map_detections(outcome.detections, self.detector_labels)


def method_figures(outcomes: Sequence[FrameOutcome], scoring: Scoring) -> dict[str, Any]:
    """What ``summary.json`` has of one method but for its settings.

    Times are in milliseconds. Names of figures of accuracy begin with ``agreement_`` where they
    were taken against a slow reference. ``budget`` is None where nothing was expected of the plans.
    """
    truths = [scoring.truth(outcome) for outcome in outcomes]
    found = [scoring.detections(outcome) for outcome in outcomes]
    metrics = evaluate_coco(found, truths, scoring.class_map.labels, confidence=scoring.confidence)
    tally = SizeTally()
    for detections, truth in zip(found, truths, strict=True):
        tally.add(Detections.empty() if detections is None else detections, truth)
    sizes = tally.accuracy(scoring.confidence)
    prefix = AGREEMENT if scoring.reference else ""
    accuracy = _accuracy(metrics) | {
        "recall_by_size": {
            "edges_px": list(sizes.edges),
            "recall": list(sizes.recall),
            "ap50": list(sizes.ap),
            "objects": list(sizes.count),
        }
    }
    return {
        **{prefix + name: value for name, value in accuracy.items()},
        "detections": metrics.counts.detections,
        "frames_done": len(outcomes),
        "frames_dropped": sum(o.detections is None and not o.late for o in outcomes),
        "frames_late": sum(o.late for o in outcomes),
        "latency_ms": _spread(o.latency_ms for o in outcomes),
        "stages_ms": _stages(outcomes),
        "budget": budget_figures([o.expected for o in outcomes if o.expected is not None]),
        "bytes_per_frame": _mean(sum(o.block_bytes) for o in outcomes if o.plan is not None),
        "blocks_per_frame": _mean(len(o.plan.blocks) for o in outcomes if o.plan is not None),
        "frames": [
            _row(outcome, {f"{prefix}tp": c[0], f"{prefix}fp": c[1], f"{prefix}fn": c[2]})
            for outcome, counts in zip(outcomes, metrics.frames, strict=True)
            for c in [(counts.true_positives, counts.false_positives, counts.missed)]
        ],
    }


def _accuracy(metrics: Metrics) -> dict[str, Any]:
    return {
        "map50": metrics.map50,
        "map": metrics.map,
        "ap_small": metrics.ap_small,
        "ap_medium": metrics.ap_medium,
        "ap_large": metrics.ap_large,
        "ar": metrics.ar,
        "precision": metrics.precision,
        "recall": metrics.recall,
        "objects": metrics.counts.truths,
        "true_positives": metrics.counts.true_positives,
        "false_positives": metrics.counts.false_positives,
        "missed": metrics.counts.missed,
        "per_class": {name: asdict(values) for name, values in metrics.per_class.items()},
        "curve": asdict(metrics.curve),
    }


def _row(outcome: FrameOutcome, counts: dict[str, int]) -> dict[str, Any]:
    latency, expected = outcome.latency_ms, outcome.expected
    return {
        "index": outcome.index,
        "name": outcome.name,
        "sequence": outcome.sequence,
        "latency_ms": None if latency is None else round(latency, 3),
        "blocks": None if outcome.plan is None else len(outcome.plan.blocks),
        "bytes": sum(outcome.block_bytes),
        "dropped": outcome.detections is None,
        **counts,
        **({} if expected is None else _expected(expected)),
    }


def _expected(outcome: PlanOutcome) -> dict[str, float]:
    return {
        "predicted_ms": round(outcome.predicted_ms, 3),
        "happened_ms": round(outcome.happened_ms, 3),
        "predicted_value": round(outcome.predicted_value, 3),
        "happened_value": outcome.happened_value,
    }


def _spread(values: Iterable[float | None]) -> dict[str, float]:
    """Empty where nothing was measured."""
    known = np.array([value for value in values if value is not None], float)
    if not known.size:
        return {}
    figures: dict[str, Callable[[], Any]] = {
        "mean": known.mean,
        "p50": lambda: np.percentile(known, 50),
        "p95": lambda: np.percentile(known, 95),
        "p99": lambda: np.percentile(known, 99),
        "max": known.max,
    }
    return {name: round(float(figure()), 3) for name, figure in figures.items()}


def _stages(outcomes: Sequence[FrameOutcome]) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(stage for outcome in outcomes for stage in outcome.stages_ms)
    return {name: _spread(o.stages_ms.get(name) for o in outcomes) for name in names}


def _mean(values: Iterable[int]) -> float | None:
    known = list(values)
    return round(float(np.mean(known)), 3) if known else None
