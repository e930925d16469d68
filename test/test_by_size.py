"""Accuracy by object size: matching, figures in bins, and crops that fill them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from re_pose_ros.datasets import choose_class_map
from re_pose_ros.detection.model import Model
from re_pose_ros.detection.worker import Worker
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation import profiling
from re_pose_ros.evaluation.by_size import SizeTally, match, object_sizes
from re_pose_ros.evaluation.profiling import (
    CropSettings,
    ProfileOptions,
    measure_accuracy,
    profile_table,
    run_profile,
    truth_inside,
)
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import Variant

EDGES = (4.0, 16.0, 64.0, 256.0)


def test_the_most_confident_detection_chooses_first() -> None:
    truth = GroundTruth.of([(0, 0, 10, 10), (20, 0, 30, 10)], [0, 0])
    found = Detections.of(
        [(0, 0, 10, 9), (0, 0, 10, 10), (20, 0, 30, 10), (20, 0, 30, 10)],
        [0.5, 0.9, 0.4, 0.8],
        [0, 0, 0, 1],
    )
    matches = match(found, truth)
    assert matches.truth.tolist() == [-1, 0, 1, -1], "one each, and of its class"
    assert not matches.excused.any() and not matches.missed.any()


def test_what_need_not_be_found_excuses_and_is_not_missed() -> None:
    truth = GroundTruth.of(
        [(0, 0, 10, 10), (50, 0, 60, 10), (90, 0, 99, 10)],
        [0, 0, 1],
        ignore=[True, False, False],
        ignored_regions=[(0, 50, 100, 100)],
        annotated=[0],
    )
    found = Detections.of(
        [(0, 0, 10, 10), (0, 60, 9, 70), (0, 0, 9, 10), (200, 0, 210, 10)],
        [0.9] * 4,
        [0, 0, 1, 0],
    )
    matches = match(found, truth)
    assert matches.truth.tolist() == [-1] * 4
    assert matches.excused.tolist() == [True, True, True, False]
    assert matches.missed.tolist() == [False, True, False]


def random_image(rng: np.random.Generator) -> tuple[Detections, GroundTruth]:
    """Objects far from each other, found or not, somewhat beside where they are."""
    corners = np.stack(np.meshgrid(np.arange(8) * 300, np.arange(8) * 300), -1).reshape(-1, 2)
    sides = np.exp(rng.uniform(np.log(5), np.log(200), len(corners)))
    boxes = np.hstack([corners, corners + sides[:, None]])
    ignore = rng.random(len(boxes)) < 0.1
    seen = rng.random(len(boxes)) < 0.7
    shifted = boxes[seen] + rng.normal(0, 0.08, (seen.sum(), 4)) * sides[seen, None]
    false = corners[:20] + 150 + rng.uniform(0, 50, (20, 2))
    found = np.vstack([shifted, np.hstack([false, false + rng.uniform(5, 60, (20, 1))])])
    return (
        Detections.of(found, rng.random(len(found)), np.zeros(len(found), int)),
        GroundTruth.of(boxes, np.zeros(len(boxes), int), ignore=ignore),
    )


def coco_by_size(images: list[tuple[Detections, GroundTruth]]) -> tuple[list[float], list[float]]:
    """Recall and AP at IoU 0.5 in the bins of ``EDGES``, by pycocotools."""
    objects, found = COCO(), COCO()
    head = {"images": [{"id": k} for k in range(len(images))], "categories": [{"id": 0}]}

    def rows(k: int, boxes: NDArray[np.float32], **columns: list[float]) -> list[dict[str, object]]:
        made = []
        for i, (x1, y1, x2, y2) in enumerate(boxes.astype(float).tolist()):
            own = {name: values[i] for name, values in columns.items()}
            box = [x1, y1, x2 - x1, y2 - y1]
            made.append({"image_id": k, "category_id": 0, "bbox": box, "iscrowd": 0, **own})
            made[-1]["area"] = box[2] * box[3]
        return made

    truths = [r for k, (_, t) in enumerate(images) for r in rows(k, t.xyxy, iscrowd=t.ignore * 1)]
    seen = [r for k, (d, _) in enumerate(images) for r in rows(k, d.xyxy, score=d.confidence * 1.0)]
    for coco, entries in ((objects, truths), (found, seen)):
        coco.dataset = {**head, "annotations": [e | {"id": i} for i, e in enumerate(entries, 1)]}
    with contextlib.redirect_stdout(io.StringIO()):
        objects.createIndex()
        found.createIndex()
        evaluation = COCOeval(objects, found, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [1000]
        bins = pairwise(EDGES)
        # Both ends of COCO's ranges are inside.
        evaluation.params.areaRng = [[low**2, high**2 - 1e-9] for low, high in bins]
        evaluation.params.areaRngLbl = [str(edge) for edge in EDGES[1:]]
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"][0, 0, :, 0].tolist()
    return recall, evaluation.eval["precision"][0, :, 0, :, 0].mean(axis=0).tolist()


def test_figures_equal_those_of_pycocotools() -> None:
    rng = np.random.default_rng(3)
    images = [random_image(rng) for _ in range(5)]
    tally = SizeTally(EDGES)
    for found, truth in images:
        tally.add(found, truth)
    accuracy = tally.accuracy(confidence=0.0)
    recall, ap = coco_by_size(images)
    assert accuracy.recall == pytest.approx(recall, abs=1e-4)
    assert accuracy.ap == pytest.approx(ap, abs=1e-4)
    assert min(accuracy.count) > 20 and 0.2 < min(ap) < max(ap) < 0.9


def test_figures_count_what_they_say() -> None:
    tally = SizeTally(EDGES)
    boxes = [(0, 0, 8, 8), (20, 0, 28, 8), (100, 0, 132, 32), (200, 0, 202, 2)]
    truth = GroundTruth.of(boxes, [0] * 4)
    found = Detections.of([*boxes[:3], (300, 0, 310, 10)], [0.9, 0.2, 0.5, 0.8], [0] * 4)
    tally.add(found, truth)
    tally.add(Detections.empty(), GroundTruth.empty())
    accuracy = tally.accuracy(confidence=0.3)
    assert accuracy.count == (2, 1, 0) and tally.counts.tolist() == [2, 1, 0]
    assert accuracy.recall == (0.5, 1.0, None)
    # By confidence: right, wrong, right.
    expected = (51 + 50 * 2 / 3) / 101
    assert accuracy.ap[0] == pytest.approx(expected, abs=1e-4) and accuracy.ap[1:] == (1.0, None)
    assert accuracy.false_positives == 0.5 and accuracy.crops == 2


def test_sizes_count_in_pixels_of_the_input() -> None:
    tally = SizeTally(EDGES)
    truth = GroundTruth.of([(0, 0, 40, 40)], [0])
    for scale in (0.1, 0.25, 1.0, 4.0, 8.0):
        tally.add(Detections.empty(), truth, scale)
    assert tally.counts.tolist() == [2, 1, 1], "4, 10, 40, 160 pixels; 320 are in no bin"


def test_objects_cut_by_a_crops_edge_are_ignored() -> None:
    boxes = [(110, 110, 120, 120), (90, 110, 110, 120), (0, 0, 10, 10)]
    truth = GroundTruth.of(boxes, [0, 1, 2], ignored_regions=[(0, 0, 150, 150)])
    inside = truth_inside(truth, Block(100, 100, 100, 100))
    assert inside.class_id.tolist() == [0, 1] and inside.ignore.tolist() == [False, True]
    assert inside.xyxy[1].tolist() == [100, 110, 110, 120]
    assert inside.ignored_regions.tolist() == [[100, 100, 150, 150]]


# Measuring.

SQUARES = [(40, 30, 8), (300, 50, 20), (200, 200, 60), (500, 300, 150)]


def frame(index: int = 0) -> tuple[Frame, GroundTruth]:
    image = np.full((480, 800, 3), 60, np.uint8)
    boxes = []
    for x, y, side in SQUARES:
        image[y : y + side, x : x + side] = 255
        boxes.append((x, y, x + side, y + side))
    truth = GroundTruth.of(boxes, [0] * len(boxes))
    return Frame(image, index, truth=truth), truth


def model_that_sees(least: int, name: str = "net", labels: tuple[str, ...] = ("square",)) -> Model:
    """Finds bright squares of at least so many pixels on the input."""

    def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        results = []
        for image in batch:
            mask = (image.min(axis=2) > 150).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            rows = [[x, y, x + w, y + h, 0.9, 0] for x, y, w, h, _ in stats[1:] if w >= least]
            results.append(np.array(rows, np.float32).reshape(-1, 6))
        return results

    return Model(name, labels, 32, None, 8, "cpu", predict, Path(f"{name}.pt"))


def test_crops_at_several_scales_tell_from_which_size_on_objects_are_found() -> None:
    worker = Worker([model_that_sees(20)], [320])
    accuracy = measure_accuracy(worker, [frame(k) for k in range(4)])[Variant("net", 320)]
    filled = [edge for edge, n in zip(accuracy.edges, accuracy.count, strict=False) if n]
    assert filled[0] < 5 and filled[-1] > 100, "from far below to far above the objects' own size"
    for low, high, recall in zip(accuracy.edges, accuracy.edges[1:], accuracy.recall, strict=False):
        if recall is not None and high <= 19:
            assert recall == 0.0
        elif recall is not None and low >= 24:
            assert recall == 1.0
    assert accuracy.false_positives < 0.1, "what an edge cuts is ignored"


def test_a_network_is_seen_the_same_whatever_it_is_measured_with() -> None:
    small, large = model_that_sees(10, "a"), model_that_sees(40, "b")
    frames = [frame(k) for k in range(3)]
    alone = measure_accuracy(Worker([large], [320]), frames)
    both = measure_accuracy(Worker([small, large], [160, 320]), frames)
    assert both[Variant("b", 320)] == alone[Variant("b", 320)]
    assert both[Variant("a", 320)].count == alone[Variant("b", 320)].count


def test_classes_are_those_of_the_data() -> None:
    worker = Worker([model_that_sees(10, labels=("person",))], [320])
    classes = choose_class_map(("person",), ("car", "person"))
    frames = [(f, classes.map_truth(t, ("car", "person"))) for f, t in [frame()]]
    (none,) = measure_accuracy(worker, frames, CropSettings(0), classes).values()
    assert sum(none.count) == 0 and none.false_positives > 0, "all squares are cars"


@pytest.mark.parametrize(
    "box", [(-30, -20, 50, 60), (700, 400, 900, 520), (0, 0, 800, 480), (10, 10, 11, 11)]
)
def test_objects_anywhere_give_crops_inside_the_frame(box: tuple[int, ...]) -> None:
    image = frame()[0]
    truth = GroundTruth.of([box], [0])
    (accuracy,) = measure_accuracy(
        Worker([model_that_sees(10)], [160]), [(image, truth)] * 3
    ).values()
    assert accuracy.crops >= 3


def test_the_size_of_an_object_is_the_root_of_its_area() -> None:
    assert object_sizes(np.array([[0, 0, 4, 9]])).tolist() == [6.0]


def annotated(folder: Path) -> Path:
    image, _ = frame()
    cv2.imwrite(str(folder / "a.png"), image.image)
    annotations = [
        {"id": k, "image_id": 1, "category_id": 1, "bbox": [x, y, s, s], "iscrowd": 0}
        for k, (x, y, s) in enumerate(SQUARES, 1)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 800, "height": 480}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": annotations,
    }
    (folder / "truth.json").write_text(json.dumps(content))
    return folder / "truth.json"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand-ins for what weights called a and b would load."""

    def load(weights: str, **_: object) -> Model:
        made = model_that_sees(10 if weights == "a" else 40, weights)
        return replace(made, path=tmp_path / f"{weights}.pt")

    monkeypatch.setattr(profiling, "load_model", load)
    return tmp_path


def test_the_command_writes_one_file_or_one_beside_each_of_the_weights(models: Path) -> None:
    data = f"coco:{annotated(models)}"
    options = ProfileOptions(("a", "b"), (160, 320), (data,), batches=(2,), repeats=1)
    files = run_profile(options)
    assert list(files) == [models / "a.profile.json", models / "b.profile.json"]
    assert [[str(e.variant) for e in p.variants] for p in files.values()] == [
        ["a@160", "a@320"],
        ["b@160", "b@320"],
    ]
    for path, profile in files.items():
        assert path.stat().st_size < 20_000
        assert profile.data == (data,) and profile.labels == ("square",)
        for entry in profile.variants:
            assert entry.time_ms > 0 and list(entry.batch_ms) == [2]
            assert entry.accuracy is not None and entry.accuracy.crops > 1
    out = models / "both.json"
    one = run_profile(ProfileOptions(("a", "b"), (160,), out=out, repeats=1, batches=()))
    assert list(one) == [out] and len(one[out].variants) == 2
    assert all(entry.accuracy is None for entry in one[out].variants)
    assert "recall" in profile_table(files[models / "a.profile.json"])
    assert "recall" not in profile_table(one[out])


def test_what_cannot_be_measured_is_told(models: Path) -> None:
    data = f"coco:{annotated(models)}"
    with pytest.raises(InputError, match="no model"):
        run_profile(ProfileOptions((), (160,)))
    with pytest.raises(InputError, match="does not exist"):
        run_profile(ProfileOptions(("a",), (160,), ("coco:absent.json",)))
    with pytest.raises(InputError, match="class map 'best' is not known"):
        run_profile(ProfileOptions(("a",), (160,), (data,), "best"))
    with pytest.raises(InputError, match="repeats"):
        run_profile(ProfileOptions(("a",), (160,), repeats=0))
    with pytest.raises(InputError, match="must not be negative"):
        CropSettings(per_scale=-1)
    with pytest.raises(InputError, match="between 0 and 1"):
        CropSettings(confidence=2)
