"""COCO's detection metrics, computed by pycocotools.

Definitions: https://cocodataset.org/#detection-eval. AP is interpolated at 101 recalls; mAP is its
mean over classes and IoU thresholds 0.50, 0.55 ... 0.95.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from re_pose_ros.detections import Detections
from re_pose_ros.ground_truth import GroundTruth

SIZE_LIMITS = (32.0, 96.0)
"""Sides in pixels of the squares below which COCO calls an object small and medium."""

CURVE_CONFIDENCES = tuple(k / 100 for k in range(101))

_EVERY_AREA = 1e10
_NO_IDS = np.zeros(0, np.int32)
_AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class ClassMetrics:
    """Of one class; None where no object of it is to be found.

    Attributes:
        ap50: average precision at IoU 0.5.
        ap: mean over the IoU thresholds.
        truths: objects to be found.
    """

    ap50: float | None
    ap: float | None
    truths: int


@dataclass(frozen=True)
class FrameCounts:
    """Of one frame at the confidence asked for and IoU 0.5, all classes together."""

    true_positives: int
    false_positives: int
    missed: int


@dataclass(frozen=True)
class Curve:
    """Precision and recall at IoU 0.5 of all classes together, by least confidence."""

    confidence: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True)
class Counts:
    """What was compared.

    Attributes:
        frames: all of them.
        dropped: those without a prediction (None), which count as frames without detections.
        truths: objects to be found.
        ignored: ignored objects and ignored regions.
        detections: detections in classes annotated in their frame.
        true_positives: found objects, at ``Metrics.confidence`` and IoU 0.5.
        false_positives: detections of nothing, ditto.
        missed: objects not found, ditto.
    """

    frames: int
    dropped: int
    truths: int
    ignored: int
    detections: int
    true_positives: int
    false_positives: int
    missed: int


@dataclass(frozen=True)
class Metrics:
    """Accuracy over all frames; an average is None where no object is to be found.

    Attributes:
        map50: mean over classes of the average precision at IoU 0.5.
        map: mean over classes and IoU thresholds.
        ap_small: ``map`` of objects with an area to ``size_limits[0]`` squared.
        ap_medium: from there to ``size_limits[1]`` squared.
        ap_large: from there on.
        ar: mean over classes and IoU thresholds of the greatest recall.
        precision: at ``confidence`` and IoU 0.5 over all classes together; 0 without detections.
        recall: ditto; 0 without objects.
        confidence: what ``precision``, ``recall`` and counts of hits are taken at.
        per_class: by class name.
        curve: precision and recall by confidence.
        counts: what was compared.
        frames: counts frame by frame.
    """

    map50: float | None
    map: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None
    precision: float
    recall: float
    confidence: float
    per_class: dict[str, ClassMetrics]
    curve: Curve
    counts: Counts
    frames: tuple[FrameCounts, ...]


def evaluate_coco(
    predictions: Sequence[Detections | None],
    truths: Sequence[GroundTruth],
    labels: Sequence[str],
    *,
    confidence: float = 0.25,
    max_detections: int = 500,
    size_limits: tuple[float, float] = SIZE_LIMITS,
) -> Metrics:
    """Compare detections with ground truth as COCO does.

    Ignored objects are COCO's crowds; an ignored region is a crowd of every class. What a crowd
    excuses is measured by the intersection over the detection's area: at the IoU threshold t, a
    detection that is left over costs nothing where t of its area is inside. Detections in classes
    that were not annotated in their frame are left out. The order of detections in a frame does
    not matter, and the result is the same to the last digit every time.

    Args:
        predictions: by frame, in pixels and classes of the truths; None for a frame that was
            dropped, which counts as one without detections.
        truths: by frame, in the same order.
        labels: class names by class id.
        confidence: for precision, recall and the counts of hits; ``map`` and the like take all
            detections there are.
        max_detections: per frame and class, the most confident ones.
        size_limits: sides in pixels, see ``Metrics.ap_small``; areas are those of the boxes.

    Raises:
        ValueError: lengths differ, or a class id is behind the labels.
    """
    everything = range(len(truths))
    (metrics,) = evaluate_parts(
        predictions,
        truths,
        labels,
        [everything],
        confidence=confidence,
        max_detections=max_detections,
        size_limits=size_limits,
    )
    return metrics


def evaluate_parts(
    predictions: Sequence[Detections | None],
    truths: Sequence[GroundTruth],
    labels: Sequence[str],
    parts: Sequence[Sequence[int]],
    *,
    confidence: float = 0.25,
    max_detections: int = 500,
    size_limits: tuple[float, float] = SIZE_LIMITS,
) -> list[Metrics]:
    """As ``evaluate_coco`` of each part by itself, in little more than the time of one.

    Args:
        predictions: see ``evaluate_coco``, as for the rest.
        truths: of all frames.
        labels: class names by class id.
        parts: numbers of frames; one may be in several.
        confidence: see above.
        max_detections: see above.
        size_limits: see above.

    Raises:
        ValueError: lengths differ, or a class id is behind the labels.
    """
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} predictions for {len(truths)} frames")
    found = [
        _comparable(Detections.empty() if p is None else p, truth)
        for p, truth in zip(predictions, truths, strict=True)
    ]
    ids = np.concatenate([_NO_IDS, *(d.class_id for d in found), *(t.class_id for t in truths)])
    if ids.size and not 0 <= ids.min() <= ids.max() < len(labels):
        raise ValueError(f"a class id is not in 0 to {len(labels) - 1}")
    small, medium = (side**2 for side in size_limits)
    areas = [[0, _EVERY_AREA], [0, small], [small, medium], [medium, _EVERY_AREA]]
    # pycocotools reports to standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _coco(len(truths), labels, _truth_entries(truths, len(labels))),
            _coco(len(truths), labels, _detection_entries(found)),
            "bbox",
        )
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng = areas
        evaluation.params.areaRngLbl = list(_AREAS)
        evaluation.evaluate()
        accumulated = [_accumulated(evaluation, part) for part in parts]
    metrics = []
    for part, of in zip(parts, accumulated, strict=True):
        dropped = sum(predictions[k] is None for k in part)
        ignored = sum(int(truths[k].ignore.sum()) + len(truths[k].ignored_regions) for k in part)
        amounts = dropped, ignored, sum(len(found[k]) for k in part)
        metrics.append(_metrics(of, _hits(of, part), labels, confidence, amounts))
    return metrics


def _accumulated(evaluation: COCOeval, frames: Sequence[int]) -> COCOeval:
    """As if only these frames had been evaluated; matches within a frame are those of all."""
    part = copy.copy(evaluation)
    part.params = copy.copy(evaluation.params)
    part.params.imgIds = list(frames)
    part._paramsEval = part.params
    of = evaluation.params
    matches = np.array(evaluation.evalImgs, object)
    matches = matches.reshape(len(of.catIds), len(of.areaRng), len(of.imgIds))
    part.evalImgs = matches[..., part.params.imgIds].ravel().tolist()
    part.accumulate()
    return part


def _comparable(detections: Detections, truth: GroundTruth) -> Detections:
    if truth.annotated is not None:
        detections = detections.take(np.isin(detections.class_id, truth.annotated))
    return detections.ranked()


def _coco(frames: int, labels: Sequence[str], annotations: Iterator[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": k} for k in range(frames)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(labels)],
        # Ids begin at 1: pycocotools takes a match with 0 for none.
        "annotations": [entry | {"id": k} for k, entry in enumerate(annotations, 1)],
    }
    coco.createIndex()
    return coco


def _entry(frame: int, class_id: int, box: Sequence[float], **fields: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    place = {"image_id": frame, "category_id": class_id, "bbox": [x1, y1, width, height]}
    return {**place, "area": width * height, "iscrowd": 0, **fields}


def _truth_entries(truths: Sequence[GroundTruth], classes: int) -> Iterator[dict[str, Any]]:
    for frame, truth in enumerate(truths):
        boxes = truth.xyxy.astype(float).tolist()
        for box, class_id, ignore in zip(boxes, truth.class_id, truth.ignore, strict=True):
            if truth.annotated is None or class_id in truth.annotated:
                yield _entry(frame, int(class_id), box, iscrowd=int(ignore))
        for box in truth.ignored_regions.astype(float).tolist():
            for class_id in range(classes):
                yield _entry(frame, class_id, box, iscrowd=1)


def _detection_entries(found: Sequence[Detections]) -> Iterator[dict[str, Any]]:
    for frame, detections in enumerate(found):
        boxes = detections.xyxy.astype(float).tolist()
        scores = detections.confidence.astype(float).tolist()
        for box, score, class_id in zip(boxes, scores, detections.class_id, strict=True):
            yield _entry(frame, int(class_id), box, score=score)


@dataclass(frozen=True, eq=False)
class _Hits:
    """Detections that count, at IoU 0.5: all arrays (N,); and objects by class and frame."""

    confidence: NDArray[np.float64]
    matched: NDArray[np.bool_]
    frame: NDArray[np.int64]
    truths_by_class: NDArray[np.int64]
    truths_by_frame: NDArray[np.int64]


def _hits(evaluation: COCOeval, frames: Sequence[int]) -> _Hits:
    """From the matches of single frames and classes that pycocotools keeps."""
    by_class = np.zeros(len(evaluation.params.catIds), np.int64)
    by_frame = np.zeros(len(frames), np.int64)
    place = {frame: k for k, frame in enumerate(frames)}
    scores, matched, places = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, np.int64)]
    whole_range = evaluation.params.areaRng[0]
    for result in evaluation.evalImgs:
        if result is None or result["aRng"] != whole_range:
            continue
        truths = int(np.count_nonzero(np.logical_not(result["gtIgnore"])))
        by_class[result["category_id"]] += truths
        at = place[result["image_id"]]
        by_frame[at] += truths
        counts = np.logical_not(result["dtIgnore"][0])
        scores.append(np.asarray(result["dtScores"], float)[counts])
        matched.append(result["dtMatches"][0][counts] > 0)
        places.append(np.full(int(counts.sum()), at, np.int64))
    return _Hits(
        np.concatenate(scores), np.concatenate(matched), np.concatenate(places), by_class, by_frame
    )


def _metrics(
    evaluation: COCOeval,
    hits: _Hits,
    labels: Sequence[str],
    confidence: float,
    amounts: tuple[int, int, int],
) -> Metrics:
    """``amounts``: frames dropped, ignored objects and regions, detections compared."""
    # Axes: IoU threshold, recall, class, area, maximum of detections.
    precision = evaluation.eval["precision"][..., 0]
    frames, truths = len(hits.truths_by_frame), int(hits.truths_by_frame.sum())
    kept = hits.confidence >= confidence
    right = np.bincount(hits.frame[kept & hits.matched], minlength=frames)
    wrong = np.bincount(hits.frame[kept & ~hits.matched], minlength=frames)
    at = _precision_recall(hits, truths, confidence)
    curve = [_precision_recall(hits, truths, value) for value in CURVE_CONFIDENCES]
    dropped, ignored, detections = amounts
    right_sum, wrong_sum = int(right.sum()), int(wrong.sum())
    return Metrics(
        map50=_mean(precision[0, :, :, 0]),
        map=_mean(precision[:, :, :, 0]),
        ap_small=_mean(precision[:, :, :, 1]),
        ap_medium=_mean(precision[:, :, :, 2]),
        ap_large=_mean(precision[:, :, :, 3]),
        ar=_mean(evaluation.eval["recall"][:, :, 0, 0]),
        precision=at[0],
        recall=at[1],
        confidence=confidence,
        per_class={
            name: ClassMetrics(
                _mean(precision[0, :, k, 0]),
                _mean(precision[:, :, k, 0]),
                int(hits.truths_by_class[k]),
            )
            for k, name in enumerate(labels)
        },
        curve=Curve(CURVE_CONFIDENCES, tuple(p for p, _ in curve), tuple(r for _, r in curve)),
        counts=Counts(
            frames, dropped, truths, ignored, detections, right_sum, wrong_sum, truths - right_sum
        ),
        frames=tuple(
            FrameCounts(int(r), int(w), int(t - r))
            for r, w, t in zip(right, wrong, hits.truths_by_frame, strict=True)
        ),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    """As pycocotools summarises: -1 stands for classes without objects."""
    present = values[values > -1]
    return float(present.mean()) if present.size else None


def _precision_recall(hits: _Hits, truths: int, confidence: float) -> tuple[float, float]:
    kept = hits.confidence >= confidence
    right = int((kept & hits.matched).sum())
    return right / max(int(kept.sum()), 1), right / max(truths, 1)
