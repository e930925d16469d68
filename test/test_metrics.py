"""Detection metrics: known values, equality with plain pycocotools, and what always holds."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from re_pose_ros.datasets import GroundTruth
from re_pose_ros.detections import Detections
from re_pose_ros.evaluation import evaluate_coco, evaluate_parts

LABELS = ("person", "car")
BOX = [10.0, 10.0, 50.0, 50.0]
FAR = [1000.0, 1000.0, 1040.0, 1040.0]


def one(box: list[float] = BOX, score: float = 0.9, class_id: int = 0) -> Detections:
    return Detections.of([box], [score], [class_id])


def random_set(seed: int, frames: int = 12) -> tuple[list[Detections], list[GroundTruth]]:
    """Crowded frames of all sizes, ignored objects and imperfect detections."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(frames):
        count = int(rng.integers(0, 20))
        corner = rng.uniform(0, 300, (count, 2))
        boxes = np.hstack([corner, corner + rng.uniform(5, 150, (count, 2))]).astype(np.float32)
        classes = rng.integers(0, 2, count)
        truths.append(GroundTruth.of(boxes, classes, ignore=rng.random(count) < 0.2))
        moved = boxes + rng.normal(0, 4, boxes.shape).astype(np.float32)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        moved = np.vstack([moved, moved[: count // 2] + 3])
        scores = rng.random(len(moved)).round(2)
        guessed = np.concatenate([classes, classes[: count // 2]])
        predictions.append(Detections.of(moved, scores, guessed))
    return predictions, truths


def plain_pycocotools(
    predictions: list[Detections], truths: list[GroundTruth], crowds: list[dict[str, Any]]
) -> list[float]:
    """``COCOeval.summarize`` on annotations and results as COCO's own files have them."""

    def xywh(box: Any) -> list[float]:
        x1, y1, x2, y2 = map(float, box)
        return [x1, y1, x2 - x1, y2 - y1]

    annotations = list(crowds)
    results = []
    for image, (found, truth) in enumerate(zip(predictions, truths, strict=True)):
        for box, kind, ignore in zip(truth.xyxy, truth.class_id, truth.ignore, strict=True):
            entry = {"image_id": image, "category_id": int(kind), "bbox": xywh(box)}
            annotations.append({**entry, "iscrowd": int(ignore)})
        ranked = found.ranked()
        for box, score, kind in zip(ranked.xyxy, ranked.confidence, ranked.class_id, strict=True):
            entry = {"image_id": image, "category_id": int(kind), "bbox": xywh(box)}
            results.append({**entry, "score": float(score)})
    for number, entry in enumerate(annotations, 1):
        entry["id"], entry["area"] = number, entry["bbox"][2] * entry["bbox"][3]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": k} for k in range(len(truths))],
            "categories": [{"id": k, "name": name} for k, name in enumerate(LABELS)],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_plain_pycocotools_with_crowds(seed: int) -> None:
    predictions, truths = random_set(seed)
    metrics = evaluate_coco(predictions, truths, LABELS, max_detections=100)
    stats = plain_pycocotools(predictions, truths, [])
    assert sum(int(t.ignore.sum()) for t in truths) > 10
    ours = (metrics.map, metrics.map50, metrics.ap_small, metrics.ap_medium, metrics.ap_large)
    assert [*ours, metrics.ar] == [stats[k] for k in (0, 1, 3, 4, 5, 8)]


def test_an_ignored_region_is_a_crowd_of_every_class() -> None:
    predictions, truths = random_set(9)
    region = [100.0, 100.0, 300.0, 280.0]
    crowds = [
        {"image_id": image, "category_id": kind, "bbox": [100.0, 100.0, 200.0, 180.0], "iscrowd": 1}
        for image in range(len(truths))
        for kind in range(2)
    ]
    stats = plain_pycocotools(predictions, truths, crowds)
    regions = [
        GroundTruth.of(t.xyxy, t.class_id, ignore=t.ignore, ignored_regions=[region])
        for t in truths
    ]
    metrics = evaluate_coco(predictions, regions, LABELS, max_detections=100)
    assert (metrics.map, metrics.map50, metrics.ar) == (stats[0], stats[1], stats[8])
    assert metrics.map50 != evaluate_coco(predictions, truths, LABELS).map50


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate_coco([one()], [GroundTruth.of([BOX], 0)], LABELS)
    assert capfd.readouterr() == ("", "")


def test_known_values() -> None:
    truth = GroundTruth.of([BOX, FAR], 0)
    half = evaluate_coco([one()], [truth], LABELS)
    # Precision is 1 up to a recall of one half: 51 of 101 points.
    assert half.map50 == pytest.approx(51 / 101)
    assert half.ar == pytest.approx(0.5)
    assert (half.precision, half.recall) == (1.0, 0.5)
    assert half.per_class["person"].ap == pytest.approx(51 / 101)
    assert half.per_class["person"].truths == 2
    assert half.per_class["car"].ap is None
    assert half.counts.missed == 1
    # A false positive in front of the only hit halves the precision at every recall.
    behind = Detections.of([FAR, BOX], [0.9, 0.5], [0, 0])
    second = evaluate_coco([behind], [GroundTruth.of([BOX], 0)], LABELS)
    assert second.map50 == pytest.approx(0.5)
    # IoU 40*36/(40*40) = 0.9: right at 9 of 10 thresholds, 0.5 to 0.9.
    shorter = evaluate_coco([one([10, 10, 50, 46.5])], [GroundTruth.of([BOX], 0)], LABELS)
    assert shorter.map == pytest.approx(0.9)
    wrong_class = evaluate_coco([one(class_id=1)], [GroundTruth.of([BOX], 0)], LABELS)
    assert wrong_class.map50 == 0
    assert wrong_class.counts.false_positives == 1


def test_sizes_are_box_areas_in_pixels() -> None:
    boxes = [[0, 0, 20, 20], [100, 0, 160, 60], [200, 0, 400, 200]]
    truth = [GroundTruth.of(boxes, 0)]
    for k, name in enumerate(("ap_small", "ap_medium", "ap_large")):
        metrics = asdict(evaluate_coco([one([float(v) for v in boxes[k]])], truth, LABELS))
        values = [metrics[f"ap_{size}"] for size in ("small", "medium", "large")]
        assert values == [pytest.approx(1.0) if i == k else 0.0 for i in range(3)], name
    limits = evaluate_coco([one([0, 0, 20, 20])], truth, LABELS, size_limits=(10, 20.5))
    assert limits.ap_small is None
    assert limits.ap_medium == pytest.approx(1)


def test_what_is_ignored_costs_nothing() -> None:
    inside, half_out = [400.0, 400.0, 440.0, 440.0], [481.0, 400.0, 521.0, 440.0]
    region = [300.0, 300.0, 500.0, 500.0]
    truth = GroundTruth.of([BOX, FAR], 0, ignore=[False, True], ignored_regions=[region])
    good = Detections.of([BOX, FAR, FAR, inside], [0.9, 0.95, 0.9, 0.99], [0, 0, 0, 1])
    metrics = evaluate_coco([good], [truth], LABELS)
    assert (metrics.map50, metrics.precision, metrics.recall) == (pytest.approx(1), 1, 1)
    assert metrics.counts.ignored == 2
    mostly_outside = evaluate_coco([one(half_out)], [truth], LABELS)
    assert mostly_outside.counts.false_positives == 1
    half_inside = evaluate_coco([one([480, 400, 520, 440])], [truth], LABELS)
    assert half_inside.counts.false_positives == 0


def test_classes_that_were_not_annotated_cost_nothing_there() -> None:
    truths = [GroundTruth.of([BOX], 0, annotated=[0]), GroundTruth.of([BOX], 0)]
    car = Detections.of([BOX, FAR], [0.9, 0.9], [0, 1])
    first, second = (evaluate_coco([car], [t], LABELS).counts for t in truths)
    assert (first.detections, first.false_positives) == (1, 0)
    assert (second.detections, second.false_positives) == (2, 1)


def test_dropped_frames_are_misses() -> None:
    truths = [GroundTruth.of([BOX], 0)] * 4
    metrics = evaluate_coco([one(), None, None, one()], truths, LABELS)
    empty = [one(), Detections.empty(), Detections.empty(), one()]
    assert metrics.map == evaluate_coco(empty, truths, LABELS).map
    assert metrics.counts.dropped == 2
    assert metrics.recall == 0.5
    assert [f.missed for f in metrics.frames] == [0, 1, 1, 0]
    with pytest.raises(ValueError, match="3 predictions for 4"):
        evaluate_coco([None] * 3, truths, LABELS)
    with pytest.raises(ValueError, match="class id"):
        evaluate_coco([one(class_id=2)], truths[:1], LABELS)


def test_precision_and_recall_by_confidence() -> None:
    truth = GroundTruth.of([BOX, FAR], 0)
    found = Detections.of([BOX, [0, 500, 40, 540], FAR], [0.8, 0.6, 0.4], [0, 0, 0])
    metrics = evaluate_coco([found], [truth], LABELS, confidence=0.5)
    assert (metrics.precision, metrics.recall) == (0.5, 0.5)
    at = dict(
        zip(
            metrics.curve.confidence,
            zip(metrics.curve.precision, metrics.curve.recall, strict=True),
            strict=True,
        )
    )
    assert at[0.0] == (2 / 3, 1.0)
    assert at[0.7] == (1.0, 0.5)
    assert at[0.9] == (0.0, 0.0)


def test_the_most_confident_ones_count() -> None:
    found = Detections.of([FAR, BOX], [0.9, 0.8], [0, 0])
    truths = [GroundTruth.of([BOX], 0)]
    assert evaluate_coco([found], truths, LABELS, max_detections=1).map50 == 0
    assert evaluate_coco([found], truths, LABELS, max_detections=2).map50 == pytest.approx(0.5)


def test_no_frames_and_no_truth() -> None:
    for predictions, truths in (([], []), ([one()], [GroundTruth.empty()])):
        metrics = evaluate_coco(predictions, truths, LABELS)
        assert metrics.map is metrics.map50 is metrics.ar is None
        assert metrics.recall == 0
        json.dumps(asdict(metrics), allow_nan=False)


seeds = st.integers(0, 10_000)


@settings(max_examples=15)
@given(seeds)
def test_perfect_is_one_and_nothing_is_zero(seed: int) -> None:
    _, truths = random_set(seed, 4)
    perfect = [Detections.of(t.xyxy, np.full(len(t), 0.9), t.class_id) for t in truths]
    metrics = evaluate_coco(perfect, truths, LABELS)
    nothing = evaluate_coco([None] * 4, truths, LABELS)
    for value, none in ((metrics.map, nothing.map), (metrics.map50, nothing.map50)):
        if value is not None:
            assert value == pytest.approx(1.0)
            assert none == 0.0
    assert metrics.counts.false_positives == nothing.counts.true_positives == 0


@settings(max_examples=15)
@given(seeds, st.floats(0.01, 1), st.integers(0, 1), st.integers(0, 3))
def test_a_false_positive_never_helps(seed: int, score: float, kind: int, frame: int) -> None:
    predictions, truths = random_set(seed, 4)
    before = evaluate_coco(predictions, truths, LABELS)
    predictions[frame] = Detections.concatenate([predictions[frame], one(FAR, score, kind)])
    after = evaluate_coco(predictions, truths, LABELS)
    for name in ("map", "map50", "ap_small", "ap_medium", "ap_large", "ar"):
        old, new = getattr(before, name), getattr(after, name)
        assert new == old if old is None else new <= old


@settings(max_examples=10)
@given(seeds)
def test_the_same_to_the_last_digit_in_any_order(seed: int) -> None:
    predictions, truths = random_set(seed, 4)
    rng = np.random.default_rng(seed)
    shuffled = [p.take(rng.permutation(len(p))) for p in predictions]
    assert evaluate_coco(shuffled, truths, LABELS) == evaluate_coco(predictions, truths, LABELS)


@settings(max_examples=15)
@given(seeds)
def test_parts_are_as_if_each_had_been_evaluated_by_itself(seed: int) -> None:
    given_ones, truths = random_set(seed, 6)
    predictions: list[Detections | None] = [*given_ones[:4], None, given_ones[5]]
    truths[1] = replace(truths[1], annotated=(0,), ignored_regions=np.float32([[9, 9, 99, 99]]))
    parts = [range(6), [0, 1, 4], [5], [3, 2, 5], []]
    together = evaluate_parts(predictions, truths, LABELS, parts, confidence=0.4)
    alone = [
        evaluate_coco([predictions[k] for k in p], [truths[k] for k in p], LABELS, confidence=0.4)
        for p in parts
    ]
    assert together == alone
