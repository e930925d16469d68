"""Merging the detections of overlapping blocks into one set per frame.

Two blocks that see an object whole give nearly the same box, which the intersection over the union
(IoU) tells from a neighbour. A block's border cuts an object into a part that is much smaller than
the whole: its IoU with the other block's box is low although it lies wholly inside, while its
intersection over the *smaller* box (IoS) is close to 1. ADPTD (IEEE IoT-J 2025) merges at block
borders by IoS for this reason. Away from borders IoS costs accuracy in crowds, where a small object
in front of a large one lies wholly in its box too. So the default takes each where it is right;
that the border decides is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.fusion.cut import cut_sides
from re_pose_ros.geometry import FloatArray, box_areas

Metric = Literal["border", "ios", "iou"]
Mode = Literal["best", "union", "weighted"]

_METRICS = ("border", "ios", "iou")
_MODES = ("best", "union", "weighted")

CHUNK = 256
"""Boxes compared at a time with those to their right; bounds the memory in a crowd."""


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """When two boxes are one object, and what becomes of them.

    Attributes:
        metric: overlap measure, "iou", "ios" (intersection over the smaller box), or "border": IoS
            where an interior border of its own block may cut one of the two, else IoU.
        threshold: overlap from which two boxes are one object, in (0, 1].
        mode: "best" keeps the better box as it is, "union" gives it the box around itself and all
            it swallowed, "weighted" their mean weighted by confidence.
        class_aware: only boxes of one class are merged.
        within_block: boxes of one block may be merged too. Off by default: the detector's own NMS
            has judged them already, and in a crowd true neighbours overlap.

    Raises InputError for a value outside these ranges.
    """

    metric: Metric = "border"
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


def merge(
    detections: Detections,
    settings: MergeSettings | None = None,
    borders: NDArray[np.float64] | None = None,
) -> Detections:
    """One detection per object, ordered as ``Detections.ranked``; any input order gives the same.

    Greedy from the highest confidence down: a box is kept unless a box kept before it swallows it.
    A box may swallow several of another block: doubles that the detector left there are commoner
    than neighbours so close. In mode "best" a second merge changes nothing.

    Confidence, class and block are those of the kept box in every mode.

    Args:
        detections: in full-image pixels. ``block`` -1 means that the block is unknown: each such
            box counts as a block of its own.
        settings: see there.
        borders: per block, as of ``cut.interior_borders``; None where no border cuts anything.

    Raises:
        ValueError: a block index is behind ``borders``.
    """
    settings = settings or MergeSettings()
    ranked = detections.ranked()
    if len(ranked) < 2:
        return ranked
    swallowed = _swallowed(*_partners(ranked, settings, borders))
    kept = np.ones(len(ranked), bool)
    for taken in swallowed.values():
        kept[taken] = False
    if settings.mode == "best":
        return ranked.take(kept)
    return _with_combined_boxes(ranked, swallowed, settings.mode).take(kept).ranked()


def _swallowed(rank: NDArray[np.intp], lower: NDArray[np.intp]) -> dict[int, list[int]]:
    """The ranks, rising, that each kept rank swallows; kept ranks that swallow none are absent."""
    gone: set[int] = set()
    swallowed: dict[int, list[int]] = {}
    for taker, partner in zip(rank.tolist(), lower.tolist(), strict=True):
        if taker not in gone and partner not in gone:
            gone.add(partner)
            swallowed.setdefault(taker, []).append(partner)
    return swallowed


def _partners(
    ranked: Detections, settings: MergeSettings, borders: NDArray[np.float64] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Ranks and lower ranks that each may swallow, (P,) both; ordered by both."""
    areas = box_areas(ranked.xyxy)
    by_smaller = _by_smaller(ranked, settings.metric, borders)
    found = []
    for a, b in _side_by_side(ranked.xyxy):
        allowed = np.ones(len(a), bool)
        if settings.class_aware:
            allowed &= ranked.class_id[a] == ranked.class_id[b]
        if not settings.within_block:
            allowed &= (ranked.block[a] != ranked.block[b]) | (ranked.block[a] < 0)
        a, b = a[allowed], b[allowed]
        shared = _shared_areas(ranked.xyxy[a], ranked.xyxy[b])
        smaller, union = np.minimum(areas[a], areas[b]), areas[a] + areas[b] - shared
        reference = np.where(by_smaller[a] | by_smaller[b], smaller, union)
        # Where there is no area, nothing is shared either.
        overlap = shared / np.maximum(reference, np.finfo(reference.dtype).tiny)
        enough = overlap >= settings.threshold
        a, b = a[enough], b[enough]
        found.append((np.minimum(a, b), np.maximum(a, b)))
    rank, lower = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(rank * len(ranked) + lower)
    return rank[order], lower[order]


def _by_smaller(
    ranked: Detections, metric: Metric, borders: NDArray[np.float64] | None
) -> NDArray[np.bool_]:
    """(N,) mask: the boxes whose overlaps are taken over the smaller box."""
    if metric == "border" and borders is not None:
        return np.asarray(cut_sides(ranked, borders).any(axis=1))
    return np.full(len(ranked), metric == "ios")


def _side_by_side(boxes: FloatArray) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indices of all pairs of (N, 4) boxes that overlap, in chunks.

    In the order of the left sides, the partners of a box are among those from the next to the first
    that starts where this one ends.
    """
    order = np.argsort(boxes[:, 0], kind="stable")
    left, top, right, bottom = boxes[order].T
    ends = np.searchsorted(left, right)
    counts = (ends - np.arange(1, len(boxes) + 1)).clip(0)
    for start in range(0, len(boxes), CHUNK):
        some = counts[start : start + CHUNK]
        one = np.repeat(np.arange(start, start + len(some)), some)
        nth = np.arange(len(one)) - np.repeat(np.cumsum(some) - some, some)
        other = one + 1 + nth
        overlap = (top[one] < bottom[other]) & (top[other] < bottom[one])
        yield order[one[overlap]], order[other[overlap]]


def _shared_areas(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection areas of (N, 4) boxes with as many others, one by one; shape (N,)."""
    wide = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    high = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return wide.clip(0) * high.clip(0)


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
