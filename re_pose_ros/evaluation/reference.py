"""A slow look at everything, for data whose truth is not known.

How far detections agree with it says what a faster way of looking loses to a thorough one with the
same network. It says nothing of what that network cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.model import Model
from re_pose_ros.detection.worker import Request, Worker
from re_pose_ros.detections import Detections
from re_pose_ros.fusion.fuse import FusionSettings, fuse
from re_pose_ros.geometry import whole
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.tiles import grid
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant

OVERLAP = 0.2
SCALES = (1.0, 0.5, 2.0)
"""Network-input pixels per image pixel of the grids."""

CONFIDENCE = 0.25
"""Least confidence of a reference detection that has to be found; weaker ones may be."""


def reference_blocks(frame_size: tuple[int, int], variant: Variant) -> list[PlannedBlock]:
    """Overlapping tiles at native, half and double scale, and the whole frame, all on one input."""
    blocks = [
        block
        for scale in SCALES
        for block in grid(frame_size, max(round(variant.input_size / scale), 1), OVERLAP)
    ]
    blocks = list(dict.fromkeys([*blocks, whole(*frame_size)]))
    return [
        PlannedBlock(Slot("reference", k), BlockRequest(block, variant))
        for k, block in enumerate(blocks)
    ]


class Reference:
    """Detects in every block of ``reference_blocks`` and fuses; blocks are not compressed."""

    def __init__(
        self,
        models: Sequence[Model],
        input_sizes: Sequence[int],
        fusion: FusionSettings | None = None,
    ) -> None:
        """The first model on its largest input.

        Raises:
            InputError: the models or sizes do not fit together.
        """
        self._worker = Worker(models[:1], input_sizes)
        self._variant = max(self._worker.variants, key=lambda variant: variant.input_size)
        self._fusion = fusion or FusionSettings()

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """The objects in (H, W, 3) uint8 BGR, in its pixels, strongest first."""
        size = (image.shape[1], image.shape[0])
        blocks = reference_blocks(size, self._variant)
        requests = [
            Request(planned.block.crop(image), planned.block, planned.request.variant)
            for planned in blocks
        ]
        found, _ = self._worker.process(requests)
        answers = {planned.slot: part for planned, part in zip(blocks, found, strict=True)}
        return fuse(Plan(0, "", tuple(blocks)), answers, size, self._fusion)

    def truth(self, image: NDArray[np.uint8], confidence: float = CONFIDENCE) -> GroundTruth:
        """What was detected as if it were true; what is weaker than ``confidence`` is ignored."""
        found = self.detect(image)
        return GroundTruth.of(
            found.xyxy, found.class_id, ignore=found.confidence < max(confidence, CONFIDENCE)
        ).solid()
