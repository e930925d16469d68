"""Merging the detections of overlapping blocks into one set per frame.

The default measure is the intersection over the *smaller* box (IoS). A block border cuts an object
into a part that is much smaller than the whole seen by the neighbouring block: their IoU is low
although the part lies wholly in the other box, so IoU keeps both, while their IoS is close to 1.
ADPTD (IEEE IoT-J 2025) handles objects at block borders this way for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import ios, iou

Metric = Literal["ios", "iou"]
Mode = Literal["best", "union", "weighted"]

_METRICS = {"ios": ios, "iou": iou}
_MODES = ("best", "union", "weighted")

CHUNK = 64
"""Boxes compared at a time with all of lower rank: what stays in a processor's cache."""


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """When two boxes are one object, and what becomes of them.

    Attributes:
        metric: overlap measure, "ios" (intersection over the smaller box) or "iou".
        threshold: overlap from which two boxes are one object, in (0, 1].
        mode: "best" keeps the better box as it is, "union" gives it the box around itself and all
            it swallowed, "weighted" their mean weighted by confidence.
        class_aware: only boxes of one class are merged.
        within_block: boxes of one block may be merged too. Off by default: the detector's own NMS
            has judged them already, and in a crowd true neighbours overlap.

    Raises InputError for a value outside these ranges.
    """

    metric: Metric = "ios"
    threshold: float = 0.5
    mode: Mode = "best"
    class_aware: bool = True
    within_block: bool = False

    def __post_init__(self) -> None:
        if self.metric not in _METRICS:
            raise InputError(f"merge metric '{self.metric}' is none of {_either(_METRICS)}")
        if self.mode not in _MODES:
            raise InputError(f"merge mode '{self.mode}' is none of {_either(_MODES)}")
        if not 0 < self.threshold <= 1:
            raise InputError(f"merge threshold {self.threshold} is not in (0, 1]")


def merge(detections: Detections, settings: MergeSettings | None = None) -> Detections:
    """One detection per object, ordered as ``Detections.ranked``; any input order gives the same.

    Greedy from the highest confidence down: a box is kept unless a box kept before it swallows it.

    With ``within_block`` off, boxes of one block never swallow one another, and a kept box swallows
    at most one box of each other block, the one that overlaps it most (ties: the more confident).
    Two boxes of one block are two objects to the detector that saw both side by side; a large box
    that covers the two, from a coarser look say, can be at most one of them, so the other stays.
    A box that an earlier kept one passed over in this way may still be swallowed by a later one.
    This needs all that a block saw, so merging what is merged already may swallow more; with
    ``within_block`` on, a second merge changes nothing.
    ``block`` -1 means that the block is unknown: each such box counts as a block of its own.

    Confidence, class and block are those of the kept box in every mode.
    """
    settings = settings or MergeSettings()
    ranked = detections.ranked()
    count = len(ranked)
    if count < 2:
        return ranked
    partners, overlaps = _partners(ranked, settings)
    alive = np.ones(count, bool)
    kept: list[int] = []
    swallowed: list[NDArray[np.intp]] = []
    for i in range(count):
        if not alive[i]:
            continue
        taken = partners[i]
        if len(taken):
            free = alive[taken]
            taken = taken[free]
            if not settings.within_block:
                taken = _best_per_block(taken, overlaps[i][free], ranked.block[taken])
            alive[taken] = False
        kept.append(i)
        swallowed.append(taken)
    merged = ranked.take(np.array(kept, np.intp))
    if settings.mode == "best":
        return merged
    return _with_combined_boxes(merged, ranked, swallowed, settings.mode)


def _partners(
    ranked: Detections, settings: MergeSettings
) -> tuple[list[NDArray[np.intp]], list[NDArray[np.floating]]]:
    """For each box the lower ranks that it may swallow, rising, and its overlaps with them."""
    rows, columns, values = [], [], []
    for start in range(0, len(ranked), CHUNK):
        some = ranked.xyxy[start : start + CHUNK]
        overlap = _METRICS[settings.metric](some, ranked.xyxy[start:])
        row, column = np.nonzero(overlap >= settings.threshold)
        rows.append(row + start)
        columns.append(column + start)
        values.append(overlap[row, column])
    row, column, value = (np.concatenate(parts) for parts in (rows, columns, values))
    allowed = row < column
    if settings.class_aware:
        allowed &= ranked.class_id[row] == ranked.class_id[column]
    if not settings.within_block:
        allowed &= (ranked.block[row] != ranked.block[column]) | (ranked.block[row] < 0)
    row, column, value = row[allowed], column[allowed], value[allowed]
    ends = np.searchsorted(row, np.arange(1, len(ranked)))
    return np.split(column, ends), np.split(value, ends)


def _best_per_block(
    candidates: NDArray[np.intp], overlaps: NDArray[np.floating], blocks: NDArray[np.int32]
) -> NDArray[np.intp]:
    """Of the ``candidates`` (rising ranks) the one of each known block with the largest overlap."""
    if len(candidates) < 2:
        return candidates
    by_overlap = np.argsort(-overlaps, kind="stable")
    _, first = np.unique(blocks[by_overlap], return_index=True)
    best = by_overlap[first]
    chosen = np.union1d(best, np.flatnonzero(blocks < 0))
    return candidates[chosen]


def _with_combined_boxes(
    merged: Detections, ranked: Detections, swallowed: list[NDArray[np.intp]], mode: Mode
) -> Detections:
    """``merged`` with its boxes replaced as ``mode`` says; ``swallowed`` indexes ``ranked``."""
    boxes = merged.xyxy.copy()
    for k, taken in enumerate(swallowed):
        if not len(taken):
            continue
        group = np.vstack([merged.xyxy[k : k + 1], ranked.xyxy[taken]])
        if mode == "union":
            boxes[k] = [*group[:, :2].min(axis=0), *group[:, 2:].max(axis=0)]
            continue
        weights = np.append(merged.confidence[k], ranked.confidence[taken]).astype(np.float64)
        if weights.sum() > 0:
            boxes[k] = np.average(group, axis=0, weights=weights)
    return Detections(boxes, merged.confidence, merged.class_id, merged.block).ranked()


def _either(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
