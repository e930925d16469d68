"""Our detector inside the ``sahi`` package (MIT), so that both run the same network.

Of sahi 0.12: ``get_sliced_prediction`` cuts the image into slices of ``slice_width`` x
``slice_height`` with a stride of (1 - overlap), the last row and column moved inwards; runs them
``batch_size`` at a time and the whole image once more; and merges by GREEDYNMM at an intersection
over the smaller box of 0.5. At a confidence below 0.1 it changes to NMS at an intersection over
union of 0.5 by itself, unless told not to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sahi.models.base import DetectionModel
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction

from re_pose_ros.detection.model import Model
from re_pose_ros.detections import Detections

Detect = Callable[[NDArray[np.uint8]], Detections]


@dataclass(frozen=True, slots=True)
class SahiSettings:
    """How an image is sliced and merged.

    Attributes:
        tile_size: side of a slice in image pixels; also the network's input, of the full pass too.
        overlap: share of a slice that its neighbour sees too.
        confidence: what the network was loaded with; sahi chooses its merging by it.
        force_merge: GREEDYNMM also below a confidence of 0.1.
    """

    tile_size: int = 640
    overlap: float = 0.2
    confidence: float = 0.25
    force_merge: bool = False


class SahiModel(DetectionModel):
    """``Model`` as sahi's detection model, with native batches."""

    def __init__(self, model: Model, input_size: int, confidence: float) -> None:
        super().__init__(
            model=model, device=model.device, confidence_threshold=confidence, image_size=input_size
        )

    def set_model(self, model: Any, **kwargs: Any) -> None:
        self.model = model

    def perform_inference(self, image: NDArray[np.uint8]) -> None:
        self.perform_batch_inference([image])

    def perform_batch_inference(self, images: list[NDArray[np.uint8]]) -> None:
        """Detect in (H, W, 3) RGB images, as sahi hands them over."""
        flipped = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
        self._original_predictions = self.model.detect(flipped, self.image_size)

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: Any = None,
        full_shape_list: Any = None,
    ) -> None:
        count = len(self._original_predictions)
        shifts = _per_image(shift_amount_list, count)
        shapes = _per_image(full_shape_list, count)
        self._object_prediction_list_per_image = [
            [
                ObjectPrediction(
                    bbox=box.tolist(),
                    category_id=int(class_id),
                    category_name=self.model.labels[class_id],
                    score=float(score),
                    shift_amount=shift,
                    full_shape=shape,
                )
                for box, score, class_id in zip(
                    found.xyxy, found.confidence, found.class_id, strict=True
                )
            ]
            for found, shift, shape in zip(self._original_predictions, shifts, shapes, strict=True)
        ]


def _per_image(values: Any, count: int) -> list[list[int]]:
    """The pairs of all images: sahi gives one pair for one image, a list for several."""
    if not values or not isinstance(values[0], list | tuple):
        return [values] * count
    return list(values)


def sahi_detect(model: Model, settings: SahiSettings) -> Detect:
    """A function from a (H, W, 3) uint8 BGR image to what sahi finds in it, in its pixels."""
    logging.getLogger("sahi").setLevel(logging.ERROR)  # it tells of its choice at every image
    wrapped = SahiModel(model, settings.tile_size, settings.confidence)

    def detect(image: NDArray[np.uint8]) -> Detections:
        result = get_sliced_prediction(
            image[:, :, ::-1],
            wrapped,
            slice_height=settings.tile_size,
            slice_width=settings.tile_size,
            overlap_height_ratio=settings.overlap,
            overlap_width_ratio=settings.overlap,
            batch_size=model.max_batch,
            force_postprocess_type=settings.force_merge,
            verbose=0,
        )
        found = result.object_prediction_list
        return Detections.of(
            [p.bbox.to_xyxy() for p in found],
            [p.score.value for p in found],
            [p.category.id for p in found],
        )

    return detect
