"""Coarse looks, which find what nobody expects: at everything first, then region by region."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.distribution import Coverage
from re_pose_ros.geometry import Block
from re_pose_ros.partition.groups import BINS, Floats, Integers, bin_middles

SMALLEST_SHARE, LARGEST_SHARE = 1 / 256, 1 / 16
"""Sizes of what may be where nobody has looked, as shares of the frame's longer side; between them,
all octaves are taken for equally likely."""

UNKNOWN_OBJECTS, MOST_UNKNOWN = 20.0, 120.0
"""How many of them a frame is thought to have before the first look, where a look at everything
shows it in full resolution; where it shows it n times smaller, n times as many, since small things
go unseen then, up to the most. Chosen on scenes of 3840x2160 with seeds from 501 on and looks of
1280, where a third of that was too few if there is little time and much to find, and twice as many
no better; by size because of the photos of the benchmark, in which as many were too many."""

APPEARING = 0.2
"""Share of these that is thought to be there again where nobody has looked for as long as is
allowed."""

MISSED = 0.5
"""Share of these that is thought to be left after one look; after n, an n-th of that."""

MOST_MORE, MOST_MORE_EARLY = 3, 9
"""Looks that are offered besides what has to be looked at, and how many after the first look."""

EARLY = 2
"""Frames after which little is thought to be left that could have been found."""

_MOST_REGIONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Blocks to be looked at although nothing is expected there.

    Attributes:
        extent: (L, 4) rectangles in pixels of the frame.
        weight: (L, BINS) what may be found there, by size.
        required: (L,) whether they have to be looked at, whatever else there is.
        scale: network-input pixels per image pixel that a look has to have at least.
    """

    extent: Floats
    weight: Floats
    required: NDArray[np.bool_]
    scale: float

    @classmethod
    def none(cls) -> Looks:
        return cls(np.empty((0, 4)), np.empty((0, BINS)), np.empty(0, bool), 0.0)

    def __len__(self) -> int:
        return len(self.extent)


@lru_cache(64)
def unknown_sizes(frame_size: tuple[int, int], shown: float = 1.0) -> Floats:
    """Expected number of unknown objects of a frame by size, shape (BINS,), read-only.

    Args:
        frame_size: (width, height) in pixels.
        shown: network-input pixels per image pixel of a look at all of it.
    """
    longer = max(frame_size)
    sizes = bin_middles()
    there = (sizes >= SMALLEST_SHARE * longer) & (sizes <= LARGEST_SHARE * longer)
    if not there.any():
        there[int(np.abs(sizes - SMALLEST_SHARE * longer).argmin())] = True
    count = min(UNKNOWN_OBJECTS / min(shown, 1.0), MOST_UNKNOWN)
    sizes = np.asarray(count * there / there.sum())
    sizes.setflags(write=False)
    return sizes


def grid_looks(
    frame_size: tuple[int, int],
    per_side: int,
    overlap: float,
    scale: float,
    shown: float = 1.0,
) -> Looks:
    """The whole frame as ``per_side`` x ``per_side`` blocks that overlap by so many pixels.

    ``scale`` is as of ``Looks``, ``shown`` as of ``unknown_sizes``.
    """
    width, height = frame_size
    step_x, step_y = width / per_side, height / per_side
    extent = np.array(
        [
            (
                max(column * step_x - overlap / 2, 0.0),
                max(row * step_y - overlap / 2, 0.0),
                min((column + 1) * step_x + overlap / 2, width),
                min((row + 1) * step_y + overlap / 2, height),
            )
            for row in range(per_side)
            for column in range(per_side)
        ]
    )
    weight = np.tile(unknown_sizes(frame_size, shown) / len(extent), (len(extent), 1))
    return Looks(extent, weight, np.ones(len(extent), bool), scale)


def regions_per_side(unseen_frames: int) -> int:
    """Into how many columns and rows of regions a frame is parted, of which each frame sees one.

    As many as can be without any being unseen for more than ``unseen_frames`` frames.
    """
    return max(1, math.isqrt(min(unseen_frames + 1, _MOST_REGIONS)))


def region_looks(
    coverage: Coverage, unseen_frames: int, overlap: float, scale: float, seen_frames: int
) -> Looks:
    """What has to be looked at in the next frame, so that no part goes unseen for too long.

    The region that has waited longest, as far as other blocks have not shown it lately, and besides
    what would be late otherwise. So each frame has its share of the work. The regions that have
    waited longest then are offered, too.

    Args:
        coverage: when each part was last seen.
        unseen_frames: for how many frames a part may go unseen.
        overlap: by how many pixels looks reach into their neighbours.
        scale: as of ``Looks``; that of a look at everything.
        seen_frames: how many were looked at so far, at least 1.
    """
    per_side = regions_per_side(unseen_frames)
    regions = sorted(_regions(coverage, coverage.age(), per_side), reverse=True)
    due = coverage.stale(unseen_frames)
    ages = [unseen_frames] * len(due)
    blocks = list(due)
    # The k-th of those that wait has its turn in k frames, if one is looked at in each.
    if regions and (due or any(age + k >= unseen_frames for k, (age, _) in enumerate(regions))):
        age, first = regions.pop(0)
        blocks = [first, *(late for late in due if not _within(late, first))]
        ages = [age, *ages[: len(blocks) - 1]]
    required = len(blocks)
    for age, block in regions[: MOST_MORE_EARLY if seen_frames <= EARLY else MOST_MORE]:
        blocks.append(block)
        ages.append(age)
    if not blocks:
        return Looks.none()
    extent = np.array([block.xyxy for block in blocks], np.float64)
    # What a border cuts is seen whole by one of its neighbours.
    extent += np.array([-1.0, -1.0, 1.0, 1.0]) * overlap / 2
    np.clip(extent, 0.0, np.tile(np.array(coverage.frame_size, np.float64), 2), out=extent)
    shares = (extent[:, 2:] - extent[:, :2]).prod(axis=1) / math.prod(coverage.frame_size)
    waited = np.minimum(np.array(ages) / max(unseen_frames, 1), 1.0)
    there = shares * np.maximum(APPEARING * waited, MISSED / seen_frames)
    weight = there[:, None] * unknown_sizes(coverage.frame_size, scale)
    return Looks(extent, weight, np.arange(len(blocks)) < required, scale)


def _regions(coverage: Coverage, age: Integers, per_side: int) -> list[tuple[int, Block]]:
    """The age of each region's oldest cell, and a block around its cells of at least half of it."""
    cells, cell = age.tolist(), coverage.cell  # too few of them for numpy
    width, height = coverage.frame_size
    found = []
    for top, bottom in _bands(len(cells), per_side):
        for left, right in _bands(len(cells[0]), per_side):
            own = [row[left:right] for row in cells[top:bottom]]
            oldest = max(map(max, own))
            rows = [y for y, row in enumerate(own, top) if 2 * max(row) >= oldest]
            columns = [
                x for x, of in enumerate(zip(*own, strict=True), left) if 2 * max(of) >= oldest
            ]
            x, y = columns[0] * cell, rows[0] * cell
            x_end, y_end = min((columns[-1] + 1) * cell, width), min((rows[-1] + 1) * cell, height)
            found.append((oldest, Block(x, y, x_end - x, y_end - y)))
    return found


def _bands(count: int, parts: int) -> list[tuple[int, int]]:
    """As ``numpy.array_split``: first and behind the last of up to so many parts of ``count``."""
    parts = min(parts, count)
    size, longer = divmod(count, parts)
    begins = [k * size + min(k, longer) for k in range(parts + 1)]
    return list(pairwise(begins))


def _within(inner: Block, outer: Block) -> bool:
    (x1, y1, x2, y2), (left, top, right, bottom) = inner.xyxy, outer.xyxy
    return left <= x1 and top <= y1 and x2 <= right and y2 <= bottom
