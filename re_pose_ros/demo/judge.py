"""Compares a run's results with the truth of its source, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.datasets import choose_class_map
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation import Metrics, evaluate_coco
from re_pose_ros.evaluation.by_size import match
from re_pose_ros.ground_truth import GroundTruth

_REFRESH = 1.5
FIGURES = ("map50", "map", "ap_small", "ap_medium", "ap_large", "precision", "recall")


class Judge:
    """Collects frames in their order; see ``judge_of``."""

    def __init__(self, detector_labels: Sequence[str], truth_labels: Sequence[str]) -> None:
        """Raises InputError where they have no class in common."""
        self._classes = choose_class_map(detector_labels, truth_labels)
        self._detector_labels, self._truth_labels = detector_labels, truth_labels
        self._found: list[Detections | None] = []
        self._truths: list[GroundTruth] = []
        self._map50: float | None = None
        self._due = 1

    def add(self, detections: Detections | None, truth: GroundTruth) -> NDArray[np.float32]:
        """One frame, None for one without result; gives the boxes (N, 4) that were missed."""
        found = None
        if detections is not None:
            found = self._classes.map_detections(detections, self._detector_labels)
        known = self._classes.map_truth(truth, self._truth_labels)
        self._found.append(found)
        self._truths.append(known)
        return known.xyxy[match(found or Detections.empty(), known).missed]

    def metrics(self) -> Metrics:
        """Of all frames so far."""
        return evaluate_coco(self._found, self._truths, self._classes.labels)

    def map50(self) -> float | None:
        """So far; taken anew at every half as many frames more, as it takes its time."""
        count = len(self._found)
        if count >= self._due:
            self._map50 = self.metrics().map50
            self._due = max(count + 1, int(count * _REFRESH))
        return self._map50

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says of the accuracy."""
        metrics = self.metrics()
        figures = {name: _rounded(getattr(metrics, name)) for name in FIGURES}
        return {**figures, "objects": metrics.counts.truths, "class_map": self._classes.name}


def judge_of(detector_labels: Sequence[str], truth_labels: Sequence[str]) -> Judge | None:
    """None where there is no truth, or no class that both sides have."""
    try:
        return Judge(detector_labels, truth_labels) if truth_labels else None
    except InputError:
        return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
