"""Objects that a block's border cuts: which they are, and which another block sees whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block

SCALE_SHARE = 0.5
"""A block at less than this share of another's resolution is no substitute for it."""

_OUTWARDS = np.array([-1.0, -1.0, 1.0, 1.0])
"""Sign by side (left, top, right, bottom) with which "further out" is always larger."""


def interior_borders(
    blocks: Sequence[Block], frame_size: tuple[int, int], margin: float = 2.0
) -> NDArray[np.float64]:
    """How far out a box may reach before its block's border may have cut it; shape (B, 4).

    Left, top, right and bottom in full-image pixels, ``margin`` inside of the block. A border that
    is the frame's cuts nothing, so it is infinitely far out.

    Args:
        blocks: the plan's blocks.
        frame_size: (width, height) in pixels.
        margin: in full-image pixels, at least 0.
    """
    outer = _outer(blocks)
    at_frame = outer >= np.array([0.0, 0.0, *frame_size]) * _OUTWARDS
    return np.where(at_frame, np.inf, outer - margin) * _OUTWARDS


def cut_sides(detections: Detections, borders: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, 4) mask: at which sides (left, top, right, bottom) each box may be cut.

    Args:
        detections: in full-image pixels; ``block`` indexes ``borders``, -1 (unknown) is not cut.
        borders: as of ``interior_borders``.

    Raises:
        ValueError: a block index is out of range.
    """
    own = detections.block
    if not (own >= 0).any():
        return np.zeros((len(detections), 4), bool)
    if own.max() >= len(borders):
        raise ValueError(f"block {own.max()} of a plan of {len(borders)} blocks")
    cut = detections.xyxy * _OUTWARDS >= (borders * _OUTWARDS)[own]
    cut &= (own >= 0)[:, None]
    return cut


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
    usable = _substitutes(len(blocks), answered, scales)
    borders = interior_borders(blocks, frame_size, margin)
    cut = cut_sides(detections, borders)
    at_border = np.flatnonzero(cut.any(axis=1))
    if not len(at_border):
        return detections

    limits, outer = borders * _OUTWARDS, _outer(blocks)
    at_frame = np.isinf(limits)
    own, sides, cut = (
        detections.block[at_border],
        detections.xyxy[at_border] * _OUTWARDS,
        cut[at_border],
    )
    inside = sides[:, None] < limits[None]
    # As the left and top are negative, sums are widths and heights.
    longer = np.maximum(sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3])
    needed = outer[own] + reach * longer[:, None]
    further = outer[None] > outer[own][:, None]
    reaches = further & (at_frame[None] | (outer[None] >= needed[:, None]))
    whole = (inside & (reaches | ~cut[:, None])).all(axis=2) & usable[own]
    left = np.ones(len(detections), bool)
    left[at_border[whole.any(axis=1)]] = False
    return detections.take(left)


def _outer(blocks: Sequence[Block]) -> NDArray[np.float64]:
    """(B, 4): the blocks' borders, larger where further out."""
    return np.array([block.xyxy for block in blocks], np.float64).reshape(-1, 4) * _OUTWARDS


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
