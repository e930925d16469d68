"""Answers of a detector that is not there: ground truth as a profile says a network sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from re_pose_ros.detection.preprocess import canvas_size
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.detections import Detections
from re_pose_ros.distribution.detectability import usual_recall
from re_pose_ros.geometry import box_areas, intersections
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import BlockRequest, PlannedBlock
from re_pose_ros.planning.costs import FIXED_SHARE, STRIDE, profiled_pixels
from re_pose_ros.planning.makespan import BlockCost

Floats = NDArray[np.float64]

CENTRE_ERROR, SIZE_ERROR = 0.05, 0.06
"""Standard deviations of a detection's place and sides, in sizes of the object."""
SURE = 0.25
"""Detections from this confidence on are what a profile's recall counts."""
WEAK = 0.5
"""Share of the objects missed that are found with less confidence than ``SURE``."""
LASTING = 0.9
"""Correlation of how hard an object is to find from look to look. With ``scene-n`` on frames five
steps apart of the scenes with seeds 501 to 503, whether objects are found is correlated by 0.6 to
0.8 in most bins of size, at half and at full resolution."""
DOUBLE, DOUBLE_ERROR = 0.8, 0.2
"""Share of the objects found that are found twice, with less confidence, and by how many sizes
the second box is off."""
NOTHING_SURE, NOTHING_WEAK = 0.3, 3.0
"""Detections of nothing per block, with at least the confidence ``SURE`` and with less."""
TIME_ERROR, SIZE_OF_FILE_ERROR = 0.05, 0.1
"""Standard deviations of the logarithms of block times and of JPEG sizes."""
_TRACKS = 4096
"""Tracks that may differ."""
BYTES_PER_PIXEL, ENCODE_MS_PER_PIXEL = 0.25, 2.6e-6
"""Of a JPEG; 2.4 ms for 1280x720."""


class Imagined:
    """What workers of a profile might answer; the same for the same seed and order of calls.

    An object is found with the recall at its size on the network's input, times the square of the
    share of it that the block shows. What is missed once is likely to be missed again: each object
    is as hard to find as chance has it (a Gaussian copula, ``LASTING``), for all of its track, or
    for one block where that is unknown. Boxes and confidences are perturbed. Some are found twice,
    and nothing is taken for something now and then, as often as ``scene-n`` does that on scenes
    with seeds from 500 to 502. All of this is ours.
    """

    def __init__(self, profile: Profile, seed: int) -> None:
        self._profile = profile
        self._random = np.random.default_rng(seed)
        self._lasting = np.random.default_rng([seed, 34]).normal(size=_TRACKS)

    def answer(self, planned: PlannedBlock, truth: GroundTruth) -> Detections:
        """What is found in a block, in frame pixels and within the block."""
        random = self._random
        corners = np.array(planned.block.xyxy, np.float64)
        boxes = truth.xyxy.astype(np.float64)
        sizes = np.sqrt(box_areas(boxes))
        shown = _shown(boxes, planned.request)
        chance = self._recall(planned.request, sizes) * np.square(shown)
        hard, spread = self._hardness(truth)
        drawn = ndtr(hard + spread * random.normal(size=len(truth)))
        sure = drawn < chance
        kept = sure | ((drawn < chance + WEAK * (1 - chance)) & (shown > 0.3))
        noise = random.normal(0.0, 1.0, (len(truth), 4)) * sizes[:, None]
        boxes = boxes + np.tile(CENTRE_ERROR * noise[:, :2], 2)
        boxes += SIZE_ERROR / 2 * np.concatenate([-noise[:, 2:], noise[:, 2:]], axis=1)
        confidence = np.where(
            sure, random.uniform(SURE, 0.95, len(truth)), random.uniform(0.05, SURE, len(truth))
        )
        found = Detections.of(boxes[kept], confidence[kept], truth.class_id[kept])
        parts = [found, self._doubles(found), self._nothing(planned)]
        return _within(Detections.concatenate(parts), corners)

    def chances(self, request: BlockRequest, truth: GroundTruth) -> Floats:
        """(N,) with which each of the objects is found in a block, hard to find as it is."""
        boxes = truth.xyxy.astype(np.float64)
        recall = self._recall(request, np.sqrt(box_areas(boxes)))
        hard, spread = self._hardness(truth)
        easy = ndtri(recall * np.square(_shown(boxes, request)))
        return np.asarray(ndtr((easy - hard) / spread))

    def _hardness(self, truth: GroundTruth) -> tuple[Floats, Floats]:
        """(N,) what lasts of how hard the objects are to find, and (N,) the spread of the rest."""
        lasting = np.where(truth.track_id < 0, 0.0, LASTING)
        return np.sqrt(lasting) * self._lasting[truth.track_id % _TRACKS], np.sqrt(1 - lasting)

    def cost(self, planned: PlannedBlock) -> BlockCost:
        """What the block might take, on a worker whose times are those of the profile."""
        width, height = planned.request.image_size
        stray = self._random.normal(0.0, 1.0, 2)
        size = BYTES_PER_PIXEL * width * height * np.exp(SIZE_OF_FILE_ERROR * stray[0])
        time = self._time_ms(planned.request) * np.exp(TIME_ERROR * stray[1])
        encode = ENCODE_MS_PER_PIXEL * width * height
        return BlockCost(planned.slot.worker, encode, max(int(size), 1), float(time))

    def _entry(self, request: BlockRequest) -> VariantProfile:
        found = self._profile.find(request.variant) if request.variant else None
        return found or self._profile.variants[0]

    def _recall(self, request: BlockRequest, sizes: Floats) -> Floats:
        accuracy = self._entry(request).accuracy
        inputs = sizes * request.input_scale
        if accuracy is None:
            return usual_recall(request.variant, inputs)
        return accuracy.expected_recall(inputs)

    def _time_ms(self, request: BlockRequest) -> float:
        entry = self._entry(request)
        canvas = canvas_size(request.image_size, entry.variant.input_size, STRIDE)
        share = canvas[0] * canvas[1] / profiled_pixels(entry.variant)
        return entry.time_ms * (FIXED_SHARE + (1 - FIXED_SHARE) * share)

    def _doubles(self, found: Detections) -> Detections:
        random = self._random
        twice = found.take(random.random(len(found)) < DOUBLE)
        boxes = twice.xyxy.astype(np.float64)
        off = random.normal(0.0, DOUBLE_ERROR, boxes.shape) * np.sqrt(box_areas(boxes))[:, None]
        share = random.uniform(0.2, 0.7, len(twice))
        return Detections.of(boxes + off, share * twice.confidence, twice.class_id)

    def _nothing(self, planned: PlannedBlock) -> Detections:
        random = self._random
        sure, weak = random.poisson(NOTHING_SURE), random.poisson(NOTHING_WEAK)
        count = sure + weak
        low = np.array(planned.block.xyxy[:2])
        span = np.array([planned.block.width, planned.block.height])
        corner = low + random.random((count, 2)) * span
        side = np.exp(random.uniform(np.log(6.0), np.log(60.0), (count, 2)))
        confidence = np.concatenate(
            [random.uniform(SURE, 0.6, sure), random.uniform(0.05, SURE, weak)]
        )
        classes = random.integers(0, len(self._profile.labels), count)
        return Detections.of(np.concatenate([corner, corner + side], axis=1), confidence, classes)


def _shown(boxes: Floats, request: BlockRequest) -> Floats:
    """(N,) share of each box that the block shows."""
    corners = np.array(request.block.xyxy, np.float64)
    shared = intersections(boxes, corners[None])[:, 0]
    return np.asarray(shared / np.maximum(box_areas(boxes), 1e-18))


def _within(found: Detections, corners: Floats) -> Detections:
    boxes = found.xyxy.clip(np.tile(corners[:2], 2), np.tile(corners[2:], 2)).astype(np.float32)
    inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return Detections(boxes, found.confidence, found.class_id, found.block).take(inside)
