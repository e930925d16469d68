"""With which probability the blocks that were looked at show an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.geometry import box_areas, intersections
from re_pose_ros.plan import PlannedBlock, Variant

Array = NDArray[np.float64]
Recall = Callable[[Variant | None, Array], Array]
"""The recall to expect of a variant for object sizes in pixels of its input, any shape."""


def usual_recall(_: Variant | None, sizes: Array) -> Array:
    """For networks that were not measured: 0.5 at 10 input pixels, 0.86 at 20, 0.9 at most (ours).

    ``sizes`` are square roots of box areas.
    """
    ratio = np.square(np.square(np.asarray(sizes, np.float64) / 10.0))
    return np.asarray(0.9 * ratio / (0.8 + ratio))


def detection_probability(
    boxes: Array,
    sigma: Array,
    blocks: Sequence[PlannedBlock],
    frame_size: tuple[int, int],
    recall: Recall = usual_recall,
) -> Array:
    """How probable it is that an object which is there was found, shape (N,), in [0, 1].

    For one block: the recall expected at the object's size on the network's input, times the
    square of the share of the object that the block shows; the square because half an object is
    less than half as likely to be recognised. The share is that of the box grown by ``sigma``, so
    that an object which may well be elsewhere is not taken for looked at. Of several blocks the
    best counts, since they fail on the same objects. All of this is ours.

    Args:
        boxes: (N, 4) expected boxes in the frame, in its pixels, with an area.
        sigma: (N, 2) standard deviation of their centres in pixels.
        blocks: those of the frame whose answers arrived.
        frame_size: (width, height) in pixels; nobody can look beyond it.
        recall: see there.
    """
    best = np.zeros(len(boxes))
    if not len(boxes) or not blocks:
        return best
    rects = np.array([planned.block.xyxy for planned in blocks], np.float64)
    scales = np.array([planned.request.input_scale for planned in blocks])
    variants = [planned.request.variant for planned in blocks]
    grown = np.concatenate([boxes[:, :2] - sigma, boxes[:, 2:] + sigma], axis=1)
    np.clip(grown, 0, np.tile(frame_size, 2), out=grown)
    share = intersections(grown, rects) / box_areas(grown)[:, None]
    sizes = np.sqrt(box_areas(boxes))[:, None] * scales
    for variant in dict.fromkeys(variants):
        own = [k for k, other in enumerate(variants) if other == variant]
        found = recall(variant, sizes[:, own]) * np.square(share[:, own])
        np.maximum(best, found.max(axis=1), out=best)
    return best
