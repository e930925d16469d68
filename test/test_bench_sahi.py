"""Our detector inside the real sahi package: the same as sahi with a detector of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bench_model
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.detection.model import load_model
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import iou

pytest.importorskip("sahi", reason="needs the sahi package")

from re_pose_ros.bench.sahi_model import SahiSettings, sahi_detect


def test_an_object_in_several_slices_is_found_once_where_it_is() -> None:
    image = np.full((300, 500, 3), 60, np.uint8)
    squares = [(20, 30), (150, 150), (300, 100), (470, 270)]
    for x, y in squares:
        image[y : y + 20, x : x + 20] = 255
    model = bench_model.load("squares", confidence=0.25, threads=1)
    for force in (False, True):
        detect = sahi_detect(model, SahiSettings(192, 0.2, 0.25, force))
        found = detect(image)
        boxes = found.xyxy[np.argsort(found.xyxy[:, 0])]
        expected = [(x, y, x + 20, y + 20) for x, y in squares]
        assert boxes.shape == (4, 4) and np.abs(boxes - expected).max() < 3
        assert set(found.class_id) == {0}
    assert len(detect(np.full((300, 500, 3), 60, np.uint8))) == 0


def theirs(image: NDArray[np.uint8], weights: Path, confidence: float) -> Detections:
    """What sahi finds by its own wrapper around ultralytics."""
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    model: Any = AutoDetectionModel.from_pretrained(
        "ultralytics", str(weights), confidence_threshold=confidence, device="cpu", image_size=640
    )
    result = get_sliced_prediction(
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB), model, 640, 640, batch_size=8, verbose=0
    )
    found = result.object_prediction_list
    return Detections.of(
        [p.bbox.to_xyxy() for p in found],
        [p.score.value for p in found],
        [p.category.id for p in found],
    )


@pytest.mark.parametrize("confidence", [0.05, 0.25])
def test_it_is_what_sahi_gives_by_itself(shared_data: Path, confidence: float) -> None:
    weights = shared_data / "weights" / "yolo11n_coco.pt"
    model = load_model(str(weights), confidence=confidence, threads=1)
    detect = sahi_detect(model, SahiSettings(640, 0.2, confidence))
    photos = sorted((shared_data / "visdrone").rglob("*.jpg"))[:2]
    assert len(photos) == 2
    for photo in photos:
        image: Any = cv2.imread(str(photo))
        ours, real = detect(image).ranked(), theirs(image, weights, confidence).ranked()
        assert len(ours) == len(real) > 5
        assert (ours.class_id == real.class_id).all()
        assert np.abs(ours.confidence - real.confidence).max() < 1e-3
        assert np.diag(iou(ours.xyxy, real.xyxy)).min() > 0.99
