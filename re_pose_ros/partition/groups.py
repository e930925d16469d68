"""Objects in groups that are looked at together, as arrays that merging and splitting keep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.distribution import ObjectDistribution

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PER_OCTAVE = 8
"""Bins of object size per factor of two."""
SMALLEST, BINS = 2.0, 72
"""Size in pixels at which the first bin begins, and how many there are: to 1024 pixels."""


def size_bins(sizes: Floats) -> Integers:
    """The bin of each size in pixels, those beyond the ends in the first and the last."""
    bins = np.floor(PER_OCTAVE * np.log2(np.maximum(sizes, 1e-6) / SMALLEST)).astype(np.int64)
    return np.asarray(bins.clip(0, BINS - 1))


def bin_middles() -> Floats:
    """Sizes in pixels in the middle of the bins, shape (BINS,)."""
    return np.asarray(SMALLEST * 2 ** ((np.arange(BINS) + 0.5) / PER_OCTAVE))


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """N objects as groups need them.

    Attributes:
        reach: (N, 4) the boxes grown by what a block is to show around them, within the frame.
        centre: (N, 2) middles of the boxes.
        weight: (N,) probability that each is there.
        size: (N,) square roots of the boxes' areas in pixels.
        bin: (N,) see ``size_bins``.
        frame_size: (width, height) in pixels.
        least: least side of a block in pixels.
    """

    reach: Floats
    centre: Floats
    weight: Floats
    size: Floats
    bin: Integers
    frame_size: tuple[int, int]
    least: float

    @classmethod
    def of(
        cls,
        objects: ObjectDistribution,
        frame_size: tuple[int, int],
        *,
        margin: float,
        sigmas: float = 1.0,
        least: float = 0.0,
    ) -> Objects:
        """From what is believed.

        Args:
            objects: see there.
            frame_size: (width, height) in pixels.
            margin: what a block shows around an object on each side, in sizes of the object.
            sigmas: the same in standard deviations of its position, on top.
            least: least side of a block in pixels.
        """
        sizes = objects.sizes
        grow = margin * sizes[:, None] + sigmas * objects.sigma
        reach = objects.xyxy + np.concatenate([-grow, grow], axis=1)
        np.clip(reach, 0.0, np.tile(np.array(frame_size, np.float64), 2), out=reach)
        middle = (objects.xyxy[:, :2] + objects.xyxy[:, 2:]) / 2
        return cls(reach, middle, objects.weight, sizes, size_bins(sizes), frame_size, least)

    def __len__(self) -> int:
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class Groups:
    """K groups of objects; every object is in at most one.

    Attributes:
        objects: see there.
        members: K arrays of rising object indices, none empty.
        extent: (K, 4) rectangle around the members' reach, at least ``objects.least`` wide and
            high, within the frame.
        weight: (K, BINS) sum of the members' weights by size.
    """

    objects: Objects
    members: tuple[Integers, ...]
    extent: Floats
    weight: Floats

    @classmethod
    def of(cls, objects: Objects, members: list[Integers]) -> Groups:
        """Groups of these object indices, none empty."""
        count = len(members)
        extent, weight = np.empty((count, 4)), np.empty((count, BINS))
        for k, own in enumerate(members):
            extent[k], weight[k] = _summary(objects, own)
        return cls(objects, tuple(members), extent, weight)

    @classmethod
    def labelled(cls, objects: Objects, labels: NDArray[np.intp]) -> Groups:
        """One group per label from 0 on, each of which is there."""
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(np.bincount(labels))[:-1]
        return cls.of(objects, [own.astype(np.int64) for own in np.split(order, ends)])

    def __len__(self) -> int:
        return len(self.members)

    def merged(self, a: int, b: int) -> Groups:
        """Groups a and b as one, which takes the place of the first of them."""
        a, b = min(a, b), max(a, b)
        own = np.sort(np.concatenate([self.members[a], self.members[b]]))
        members = (*self.members[:a], own, *self.members[a + 1 : b], *self.members[b + 1 :])
        left = np.delete(np.arange(len(self)), b)
        extent, weight = self.extent[left], self.weight[left]
        extent[a] = _around(self.extent[a], self.extent[b])
        weight[a] += self.weight[b]
        return Groups(self.objects, members, extent, weight)

    def split(self, k: int) -> Groups | None:
        """Group k as two, the second of which becomes the last; None where it cannot be parted."""
        parts = parted(self.objects, self.members[k])
        return None if parts is None else self.replaced(k, Groups.of(self.objects, list(parts)))

    def replaced(self, k: int, parts: Groups) -> Groups:
        """With the first of two groups in place of group k, and the second at the end."""
        members = (*self.members[:k], parts.members[0], *self.members[k + 1 :], parts.members[1])
        extent = np.concatenate([self.extent, parts.extent[1:]])
        weight = np.concatenate([self.weight, parts.weight[1:]])
        extent[k], weight[k] = parts.extent[0], parts.weight[0]
        return Groups(self.objects, members, extent, weight)

    @cached_property
    def sides(self) -> Floats:
        """(K, 2) widths and heights."""
        return np.asarray(self.extent[:, 2:] - self.extent[:, :2])

    def gaps(self) -> Floats:
        """(K, K) pixels that the rectangle around two groups shows and neither of them does.

        Infinite on the diagonal. Two are the closest where this is least.
        """
        low, high = self.extent[:, :2], self.extent[:, 2:]
        around = np.maximum(high[:, None], high) - np.minimum(low[:, None], low)
        sides = self.sides
        shared = (sides[:, None] + sides - around).clip(0)
        areas = sides.prod(axis=1)
        gaps = around.prod(axis=2) - (areas[:, None] + areas - shared.prod(axis=2))
        np.fill_diagonal(gaps, np.inf)
        return np.asarray(gaps)


def _summary(objects: Objects, own: Integers) -> tuple[Floats, Floats]:
    reach = objects.reach[own]
    extent = reach.max(axis=0)
    extent[:2] = reach.min(axis=0)[:2]
    weight = np.bincount(objects.bin[own], objects.weight[own], BINS).astype(np.float64)
    x1, y1, x2, y2 = extent.tolist()
    if x2 - x1 < objects.least or y2 - y1 < objects.least:
        extent = at_least(extent, objects.least, objects.frame_size)
    return extent, weight


def at_least(extent: Floats, least: float, frame_size: tuple[int, int]) -> Floats:
    """A rectangle (4,) widened on both sides to ``least`` pixels, or the frame's, and moved in."""
    for low, high, length in ((0, 2, frame_size[0]), (1, 3, frame_size[1])):
        lacking = min(least, length) - (extent[high] - extent[low])
        if lacking > 0:
            begin = min(max(extent[low] - lacking / 2, 0.0), length - min(least, length))
            extent[low], extent[high] = begin, begin + min(least, length)
    return extent


def _around(a: Floats, b: Floats) -> Floats:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def parted(objects: Objects, own: Integers) -> tuple[Integers, Integers] | None:
    """Two parts whose rectangles together are as small as can be, cut across x or y.

    Every cut between neighbours in the order of the centres along either axis is tried. None where
    there is but one object.
    """
    if len(own) < 2:
        return None
    if len(own) == 2:
        return own[:1], own[1:]
    best: tuple[float, Integers, int] | None = None
    for axis in (0, 1):
        order = own[np.argsort(objects.centre[own, axis], kind="stable")]
        reach = objects.reach[order]
        areas = _running_areas(reach)[:-1] + _running_areas(reach[::-1])[-2::-1]
        cut = int(areas.argmin())
        if best is None or areas[cut] < best[0]:
            best = float(areas[cut]), order, cut + 1
    assert best is not None
    _, order, cut = best
    return np.sort(order[:cut]), np.sort(order[cut:])


def _running_areas(reach: Floats) -> Floats:
    """Areas of the rectangles around the first 1, 2, ... of (N, 4) boxes, shape (N,)."""
    low = np.minimum.accumulate(reach[:, :2])
    high = np.maximum.accumulate(reach[:, 2:])
    return np.asarray((high - low).prod(axis=1))
