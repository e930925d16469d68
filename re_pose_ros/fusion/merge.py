"""Merging the detections of overlapping blocks into one set per frame.

The default measure is the intersection over the *smaller* box (IoS). A block border cuts an object
into a part that is much smaller than the whole seen by the neighbouring block: their IoU is low
although the part lies wholly in the other box, so IoU keeps both, while their IoS is close to 1.
ADPTD (IEEE IoT-J 2025) handles objects at block borders this way for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import FloatArray, box_areas

Metric = Literal["ios", "iou"]
Mode = Literal["best", "union", "weighted"]

_METRICS = ("ios", "iou")
_MODES = ("best", "union", "weighted")

CHUNK = 256
"""Boxes compared at a time with those to their right; bounds the memory in a crowd."""


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
    if len(ranked) < 2:
        return ranked
    swallowed = _swallowed(ranked, settings)
    kept = np.ones(len(ranked), bool)
    for taken in swallowed.values():
        kept[taken] = False
    if settings.mode == "best":
        return ranked.take(kept)
    return _with_combined_boxes(ranked, swallowed, settings.mode).take(kept).ranked()


def _swallowed(ranked: Detections, settings: MergeSettings) -> dict[int, list[int]]:
    """The ranks, rising, that each kept rank swallows; kept ranks that swallow none are absent."""
    rank, lower, overlap = _partners(ranked, settings)
    blocks = ranked.block.tolist()
    takers, starts = np.unique(rank, return_index=True)
    ends = np.append(starts, len(rank))[1:]
    gone: set[int] = set()
    swallowed: dict[int, list[int]] = {}
    for taker, start, end in zip(takers.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if taker in gone:
            continue
        partners = zip(lower[start:end].tolist(), overlap[start:end].tolist(), strict=True)
        free = [partner for partner in partners if partner[0] not in gone]
        taken = [k for k, _ in free] if settings.within_block else _best_per_block(free, blocks)
        if taken:
            gone.update(taken)
            swallowed[taker] = taken
    return swallowed


def _partners(
    ranked: Detections, settings: MergeSettings
) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """Ranks, lower ranks that each may swallow, and their overlap, (P,) each; ordered by both."""
    areas = box_areas(ranked.xyxy)
    found = []
    for a, b in _side_by_side(ranked.xyxy):
        allowed = np.ones(len(a), bool)
        if settings.class_aware:
            allowed &= ranked.class_id[a] == ranked.class_id[b]
        if not settings.within_block:
            allowed &= (ranked.block[a] != ranked.block[b]) | (ranked.block[a] < 0)
        a, b = a[allowed], b[allowed]
        shared = _shared_areas(ranked.xyxy[a], ranked.xyxy[b])
        if settings.metric == "ios":
            reference = np.minimum(areas[a], areas[b])
        else:
            reference = areas[a] + areas[b] - shared
        # Where there is no area, nothing is shared either.
        overlap = shared / np.maximum(reference, np.finfo(reference.dtype).tiny)
        enough = overlap >= settings.threshold
        a, b = a[enough], b[enough]
        found.append((np.minimum(a, b), np.maximum(a, b), overlap[enough]))
    rank, lower, overlap = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(rank * len(ranked) + lower)
    return rank[order], lower[order], overlap[order]


def _side_by_side(boxes: FloatArray) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indices of all pairs of (N, 4) boxes whose x ranges overlap, in chunks.

    In the order of the left sides, the partners of a box are those from the next to the first that
    starts where this one ends.
    """
    order = np.argsort(boxes[:, 0], kind="stable")
    ends = np.searchsorted(boxes[order, 0], boxes[order, 2])
    counts = (ends - np.arange(1, len(boxes) + 1)).clip(0)
    for start in range(0, len(boxes), CHUNK):
        some = counts[start : start + CHUNK]
        first = np.repeat(np.arange(len(some)), some)
        nth = np.arange(len(first)) - np.repeat(np.cumsum(some) - some, some)
        yield order[start + first], order[start + first + 1 + nth]


def _shared_areas(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection areas of (N, 4) boxes with as many others, one by one; shape (N,)."""
    wide = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    high = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return wide.clip(0) * high.clip(0)


def _best_per_block(candidates: Sequence[tuple[int, float]], blocks: Sequence[int]) -> list[int]:
    """Of ``candidates`` (rank and overlap, ranks rising) that with the largest overlap per block.

    Each of an unknown block is taken.
    """
    best: dict[int, tuple[int, float]] = {}
    for rank, overlap in candidates:
        key = blocks[rank] if blocks[rank] >= 0 else -1 - rank
        if key not in best or overlap > best[key][1]:
            best[key] = rank, overlap
    return sorted(rank for rank, _ in best.values())


def _with_combined_boxes(
    ranked: Detections, swallowed: Mapping[int, Sequence[int]], mode: Mode
) -> Detections:
    """``ranked`` with the boxes of those that swallowed others replaced as ``mode`` says."""
    boxes = ranked.xyxy.copy()
    for rank, taken in swallowed.items():
        group = ranked.xyxy[[rank, *taken]]
        if mode == "union":
            boxes[rank] = [*group[:, :2].min(axis=0), *group[:, 2:].max(axis=0)]
            continue
        weights = ranked.confidence[[rank, *taken]].astype(np.float64)
        if weights.sum() > 0:
            boxes[rank] = np.average(group, axis=0, weights=weights)
    return Detections(boxes, ranked.confidence, ranked.class_id, ranked.block)


def _either(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
