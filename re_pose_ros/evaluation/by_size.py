"""Accuracy by object size: what is matched with what at IoU 0.5, and its figures in size bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.size_accuracy import SIZE_EDGES, SizeAccuracy
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import box_areas, intersections, iou
from re_pose_ros.ground_truth import GroundTruth

LEAST_IOU = 0.5
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which of N detections of an image found which of M objects.

    Attributes:
        truth: (N,) the object that a detection found; -1 where it found none.
        excused: (N,) whether it costs nothing though it found none.
        wanted: (M,) whether an object had to be found.
    """

    truth: NDArray[np.int64]
    excused: NDArray[np.bool_]
    wanted: NDArray[np.bool_]

    @property
    def missed(self) -> NDArray[np.bool_]:
        """(M,) objects that had to be found and were not."""
        mask = self.wanted.copy()
        mask[self.truth[self.truth >= 0]] = False
        return mask


def match(detections: Detections, truth: GroundTruth) -> Matches:
    """Match as COCO does at IoU 0.5: the most confident detection chooses first.

    Each takes the free object of its class with the greatest IoU, if that is at least 0.5. One
    that is left over is excused where half of its area is on an ignored object of its class or in
    an ignored region, or where its class was not annotated.
    """
    found = np.full(len(detections), -1, np.int64)
    excused = np.zeros(len(detections), bool)
    wanted = ~truth.ignore
    if truth.annotated is not None:
        wanted &= np.isin(truth.class_id, truth.annotated)
        excused |= ~np.isin(detections.class_id, truth.annotated)
    for class_id in np.unique(detections.class_id):
        mine = np.flatnonzero((detections.class_id == class_id) & ~excused)
        mine = mine[np.argsort(-detections.confidence[mine], kind="stable")]
        boxes = detections.xyxy[mine].astype(float)
        same = truth.class_id == class_id
        objects = np.flatnonzero(same & wanted)
        overlaps = iou(boxes, truth.xyxy[objects].astype(float))
        for row, k in enumerate(mine):
            if len(objects) and overlaps[row].max() >= LEAST_IOU:
                best = int(overlaps[row].argmax())
                found[k] = objects[best]
                overlaps[:, best] = -1.0
        crowds = np.concatenate([truth.xyxy[same & truth.ignore], truth.ignored_regions])
        shared = intersections(boxes, crowds.astype(float))
        inside = shared / np.maximum(box_areas(boxes), 1e-9)[:, None]
        excused[mine] |= (inside >= LEAST_IOU).any(axis=1) & (found[mine] < 0)
    return Matches(found, excused, wanted)


class SizeTally:
    """Collects matches image by image and gives figures by object size."""

    def __init__(self, edges: Sequence[float] = SIZE_EDGES) -> None:
        self._edges = tuple(float(edge) for edge in edges)
        self._images = 0
        self._counts = np.zeros(len(self._edges) - 1, np.int64)
        # Of detections the confidence, the size that decides their bin (that of the object where
        # they found one) and whether they did.
        self._detections: list[NDArray[np.float64]] = []

    @property
    def counts(self) -> NDArray[np.int64]:
        """Objects by bin so far."""
        return self._counts

    def add(self, detections: Detections, truth: GroundTruth, scale: float = 1.0) -> None:
        """One image; ``scale`` is from its pixels to those in which sizes count."""
        matches = match(detections, truth)
        sizes = object_sizes(truth.xyxy) * scale
        self._counts = self._counts + self._binned(sizes[matches.wanted])
        hit = matches.truth >= 0
        own = object_sizes(detections.xyxy) * scale
        own[hit] = sizes[matches.truth[hit]]
        rows = np.stack([detections.confidence.astype(float), own, hit.astype(float)], axis=1)
        self._detections.append(rows[~matches.excused])
        self._images += 1

    def accuracy(self, confidence: float) -> SizeAccuracy:
        """Figures of all images; ``confidence`` is for recall and false positives."""
        rows = np.concatenate([np.zeros((0, 3)), *self._detections])
        rows = rows[np.argsort(-rows[:, 0], kind="stable")]
        hit, sure = rows[:, 2] > 0, rows[:, 0] >= confidence
        found = self._binned(rows[hit & sure, 1])
        counts = self._counts
        place = np.searchsorted(self._edges, rows[:, 1], side="right") - 1
        ap = [_average_precision(hit[place == k], int(n)) for k, n in enumerate(counts)]
        return SizeAccuracy(
            self._edges,
            tuple(
                round(int(f) / int(n), 4) if n else None for f, n in zip(found, counts, strict=True)
            ),
            tuple(None if value is None else round(value, 4) for value in ap),
            tuple(int(n) for n in counts),
            round(float((sure & ~hit).sum()) / max(self._images, 1), 4),
            self._images,
            confidence,
        )

    def _binned(self, sizes: NDArray[np.float64]) -> NDArray[np.int64]:
        place = np.searchsorted(self._edges, sizes, side="right") - 1
        inside = (place >= 0) & (place < len(self._edges) - 1)
        return np.bincount(place[inside], minlength=len(self._edges) - 1).astype(np.int64)


def object_sizes(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Square roots of the areas of (N, 4) boxes."""
    return np.sqrt(box_areas(boxes.astype(float)))


def _average_precision(hit: NDArray[np.bool_], objects: int) -> float | None:
    """Of detections by falling confidence; at 101 recalls, None without objects."""
    if not objects:
        return None
    if not len(hit):
        return 0.0
    right = np.cumsum(hit)
    recall, precision = right / objects, right / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[place].mean())
