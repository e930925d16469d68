"""Removing objects that a block border cuts, where another block sees them whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block

SCALE_SHARE = 0.5
"""A block at less than this share of another's resolution is no substitute for it."""


def drop_cut(
    detections: Detections,
    blocks: Sequence[Block],
    frame_size: tuple[int, int],
    *,
    margin: float = 2.0,
    reach: float = 0.25,
    answered: Sequence[bool] | None = None,
    scales: Sequence[float] | None = None,
) -> Detections:
    """The detections without those cut by an interior border that another block sees whole.

    A detection is cut where it comes within ``margin`` of a border of its own block that is not the
    frame's border. It is removed when one other block contains it, would not cut it in turn, and on
    every cut side reaches past the border by ``reach`` times the box's longer side (the object goes
    on for an unknown length, and of a sliver only the longer side tells its size) or to the frame's
    border. So two blocks never drop the same box in favour of each other.
    The order of what is left is unchanged. After ADPTD (IEEE IoT-J 2025); the conditions are ours.

    Args:
        detections: in full-image pixels; ``block`` indexes ``blocks``, -1 (unknown) is kept.
        blocks: the plan's blocks.
        frame_size: (width, height) in pixels.
        margin: in full-image pixels, at least 0.
        reach: share of the box's longer side, at least 0.
        answered: per block, whether its detections arrived; others replace nothing. None: all.
        scales: per block, network-input pixels per image pixel; a block at less than half of the
            own block's scale replaces nothing. None: all alike.

    Raises:
        ValueError: a block index is out of range, or a per-block list has another length.
    """
    if not len(detections):
        return detections
    if detections.block.max() >= len(blocks):
        raise ValueError(f"block {detections.block.max()} of a plan of {len(blocks)} blocks")
    known = np.flatnonzero(detections.block >= 0)
    if not len(known):
        return detections
    usable = _substitutes(len(blocks), answered, scales)

    borders = np.array([block.xyxy for block in blocks], np.float64)
    boxes = detections.xyxy[known].astype(np.float64)
    own = detections.block[known]
    # Sides as left, top, right, bottom; signed so that "further out" is always larger.
    sign = np.array([-1.0, -1.0, 1.0, 1.0])
    outer = borders * sign
    frame = np.array([0.0, 0.0, *frame_size]) * sign
    at_frame = outer >= frame
    cut = ~at_frame[own] & (boxes * sign >= outer[own] - margin)

    inside = at_frame[None] | ((boxes * sign)[:, None] < outer[None] - margin)
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    needed = outer[own] + reach * longer[:, None]
    further = outer[None] > outer[own][:, None]
    reaches = further & (at_frame[None] | (outer[None] >= needed[:, None]))
    whole = (inside & (reaches | ~cut[:, None])).all(axis=2) & usable[own]
    drop = np.zeros(len(detections), bool)
    drop[known] = cut.any(axis=1) & whole.any(axis=1)
    return detections.take(~drop)


def _substitutes(
    count: int, answered: Sequence[bool] | None, scales: Sequence[float] | None
) -> NDArray[np.bool_]:
    """(B, B) mask: whether the view of block j may replace that of block i."""
    for name, values in (("answered", answered), ("scales", scales)):
        if values is not None and len(values) != count:
            raise ValueError(f"{len(values)} values in {name} for {count} blocks")
    usable = ~np.eye(count, dtype=bool)
    if answered is not None:
        usable &= np.asarray(answered, bool)[None, :]
    if scales is not None:
        resolution = np.asarray(scales, np.float64)
        usable &= resolution[None, :] >= SCALE_SHARE * resolution[:, None]
    return usable
