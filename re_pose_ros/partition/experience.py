"""Learning from what came of plans: how often objects that are known were found again.

A profile says how a network does on average, on data like those it was measured on. Which objects
are found in this place, by this light, is learned here; a network without a profile of its accuracy
is known after a few frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.distribution.association import near_pairs
from re_pose_ros.distribution.motion import boxes_of
from re_pose_ros.geometry import box_areas, intersections
from re_pose_ros.partition.groups import Floats
from re_pose_ros.plan import PlannedBlock

SURE = 0.8
"""Only objects at least so probable tell anything."""
AGAIN = 0.3
"""IoU from which a detection is taken for the object that was expected."""
CONFIDENT = 0.25
"""Confidence that a detection has to have."""
BELIEF = 100.0
"""Objects that what was believed before counts for, in each bin."""
MEMORY = 100.0
"""Objects that are remembered in each bin. No more than are believed: what nobody knows yet is
harder to find than what was found before, and the profile speaks for both."""

_EDGES = np.log(4.0) + np.log(2.0) / 2 * np.arange(15)  # half octaves from 4 to 512 pixels
_MIDDLES = (_EDGES[:-1] + _EDGES[1:]) / 2


class Experience:
    """Objects looked at and found, by network and by size on its input."""

    def __init__(self) -> None:
        self._counts: dict[str, NDArray[np.float64]] = {}

    def take(
        self,
        expected: ObjectDistribution,
        detections: Detections,
        blocks: Sequence[PlannedBlock],
        answered: Sequence[bool],
    ) -> None:
        """What was expected in a frame, and what was found in the blocks of it that answered.

        An object counts for the sharpest block that shows it whole.
        """
        views = [b for b, there in zip(blocks, answered, strict=True) if there]
        expected = expected.take(expected.weight >= SURE)
        if not len(expected) or not views:
            return
        rects = np.array([view.block.xyxy for view in views], np.float64)
        areas = (expected.xyxy[:, 2:] - expected.xyxy[:, :2]).prod(axis=1)
        shown = intersections(expected.xyxy, rects) >= 0.99 * areas[:, None]
        scales = np.where(shown, [view.request.input_scale for view in views], 0.0)
        best = scales.argmax(axis=1)
        scale = scales[np.arange(len(best)), best]
        looked = scale > 0
        sure = detections.take(detections.confidence >= CONFIDENT)
        found = _found_again(expected.xyxy, sure.xyxy.astype(np.float64))
        place = np.searchsorted(_EDGES, np.log(np.maximum(expected.sizes * scale, 1e-6))) - 1
        place = place.clip(0, len(_MIDDLES) - 1)
        models = [
            "" if view.request.variant is None else view.request.variant.model for view in views
        ]
        for model in dict.fromkeys(models):
            own = looked & np.array([models[k] == model for k in best.tolist()], bool)
            counts = self._counts.setdefault(model, np.zeros((2, len(_MIDDLES))))
            counts[0] += np.bincount(place[own], minlength=len(_MIDDLES))
            counts[1] += np.bincount(place[own & found], minlength=len(_MIDDLES))
            counts *= np.minimum(1.0, MEMORY / np.maximum(counts[0], 1.0))

    def corrected(self, recall: Callable[[str, Floats], Floats]) -> Callable[[str, Floats], Floats]:
        """``recall`` (network, sizes on its input) with what was learned since."""

        def learned(model: str, sizes: Floats) -> Floats:
            before = recall(model, sizes)
            if model not in self._counts:
                return before
            looked, found = self._counts[model]
            at_middles = recall(model, np.exp(_MIDDLES))
            now = (BELIEF * at_middles + found) / (BELIEF + looked)
            shift = np.log(np.maximum(sizes, 1e-6))
            return np.asarray((before + np.interp(shift, _MIDDLES, now - at_middles)).clip(0, 1))

        return learned


def _found_again(boxes: Floats, others: Floats) -> NDArray[np.bool_]:
    """(N,) for which of (N, 4) boxes there is one of (M, 4) others with an IoU of ``AGAIN``."""
    own, other = boxes_of(boxes.T), boxes_of(others.T)
    # Along both axes they share that part of the longer side, so that none is further away.
    reach = own[2:] * ((1 / AGAIN - 1) / 2 * (1 + 1e-6))
    rows, columns = near_pairs(own[:2], other[:2], reach)
    a, b = boxes[rows], others[columns]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    np.maximum(sides, 0.0, out=sides)
    shared = sides[:, 0] * sides[:, 1]
    union = box_areas(a) + box_areas(b) - shared
    found = np.zeros(len(boxes), bool)
    found[rows[shared / np.maximum(union, np.finfo(np.float64).tiny) >= AGAIN]] = True
    return found
