"""What is true of a scene's frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.scenes.background import Occluder
from re_pose_ros.scenes.compositing import Rect
from re_pose_ros.scenes.shapes import Sprite

LEAST_VISIBLE = 0.25
"""Objects of which a smaller share is seen need not be found."""


def scene_truth(
    boxes: NDArray[np.integer],
    class_id: NDArray[np.int32],
    track_id: NDArray[np.int64],
    visibility: NDArray[np.float32],
) -> GroundTruth:
    """The objects of a frame that are at least partly seen, in the given order.

    Args:
        boxes: (N, 4) tight boxes in pixels around what would be seen of each object if nothing
            stood before it, clipped to the frame.
        class_id: (N,) index into ``CLASSES``.
        track_id: (N,) the same for one object in all frames.
        visibility: (N,) the share of the object's pixels that is in the frame and not hidden by
            other objects or by props.
    """
    truth = GroundTruth.of(
        boxes, class_id, ignore=visibility < LEAST_VISIBLE, track_id=track_id, visibility=visibility
    )
    return truth.take(visibility > 0)


def rects_overlap(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which of (N, 4) rectangles share pixels with which of (M, 4), shape (N, M)."""
    wide = np.minimum(a[:, None, 2], b[None, :, 2]) > np.maximum(a[:, None, 0], b[None, :, 0])
    high = np.minimum(a[:, None, 3], b[None, :, 3]) > np.maximum(a[:, None, 1], b[None, :, 1])
    both: NDArray[np.bool_] = wide & high
    return both


def hidden_by(
    boxes: NDArray[np.integer], places: NDArray[np.floating], occluders: Sequence[Occluder]
) -> NDArray[np.bool_]:
    """Which of N objects are behind which of M occluders and share a rectangle, shape (N, M)."""
    rects = np.array([o.rect for o in occluders]).reshape(-1, 4)
    lines = np.array([o.line for o in occluders]).reshape(-1, 3)
    behind: NDArray[np.bool_] = places @ lines[:, :2].T > lines[:, 2]
    return behind & rects_overlap(boxes, rects)


def visibilities(
    sprites: Sequence[Sprite],
    corners: Sequence[tuple[int, int]],
    rects: Sequence[Rect],
    behind: NDArray[np.bool_],
    occluders: Sequence[Occluder],
) -> NDArray[np.float32]:
    """The seen share of each object, shape (N,), by the pixels of those before it.

    Args:
        sprites: the objects' pictures, far ones first.
        corners: where their upper left corners are.
        rects: the parts of them inside the frame.
        behind: (N, M) which of M occluders stand before them.
        occluders: props and houses, with rectangles in the same pixels.
    """
    count = len(sprites)
    shares = np.ones(count, np.float32)
    if not count:
        return shares
    boxes = np.array(rects)
    among = np.triu(rects_overlap(boxes, boxes), 1)
    for i, (sprite, (x, y), rect) in enumerate(zip(sprites, corners, rects, strict=True)):
        x1, y1, x2, y2 = rect
        others = [
            (sprites[j].solid, corners[j], rects[j]) for j in np.nonzero(among[i])[0].tolist()
        ]
        others += [
            (o.solid, (o.rect[0], o.rect[1]), o.rect)
            for o in (occluders[j] for j in np.nonzero(behind[i])[0].tolist())
        ]
        if not others and (x2 - x1, y2 - y1) == sprite.solid.shape[::-1]:
            continue
        seen = sprite.solid[y1 - y : y2 - y, x1 - x : x2 - x]
        if others:
            seen = seen.copy()
        for solid, (ox, oy), other in others:
            left, top = max(x1, other[0]), max(y1, other[1])
            right, low = min(x2, other[2]), min(y2, other[3])
            part = seen[top - y1 : low - y1, left - x1 : right - x1]
            part[solid[top - oy : low - oy, left - ox : right - ox] > 0] = 0
        shares[i] = cv2.countNonZero(np.ascontiguousarray(seen)) / sprite.area
    return shares
