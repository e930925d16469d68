"""Objects in groups that are looked at together, as arrays that merging and splitting keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.distribution import ObjectDistribution

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PER_OCTAVE = 8
"""Bins of object size per factor of two."""
SMALLEST, BINS = 2.0, 72
"""Size in pixels at which the first bin begins, and how many there are: to 1024 pixels."""

_OUTWARDS = np.array([[-1.0], [-1.0], [1.0], [1.0]])


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
        probability: (N,) that each is there.
        weight: (N,) the same times what each counts for.
        size: (N,) square roots of the boxes' areas in pixels.
        bin: (N,) see ``size_bins``.
        frame_size: (width, height) in pixels.
        least: least side of a block in pixels.
    """

    reach: Floats
    centre: Floats
    probability: Floats
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
        counts: Floats | None = None,
    ) -> Objects:
        """From what is believed.

        Args:
            objects: see there.
            frame_size: (width, height) in pixels.
            margin: what a block shows around an object on each side, in sizes of the object.
            sigmas: the same in standard deviations of its position, on top.
            least: least side of a block in pixels.
            counts: (N,) what each counts for; None: all the same.
        """
        sizes = objects.sizes
        grow = margin * sizes[:, None] + sigmas * objects.sigma
        reach = objects.xyxy + np.concatenate([-grow, grow], axis=1)
        np.clip(reach, 0.0, np.tile(np.array(frame_size, np.float64), 2), out=reach)
        middle = (objects.xyxy[:, :2] + objects.xyxy[:, 2:]) / 2
        probability = objects.weight
        weight = probability if counts is None else probability * counts
        bins = size_bins(sizes)
        return cls(reach, middle, probability, weight, sizes, bins, frame_size, least)

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
        if not members:
            return cls(objects, (), np.empty((0, 4)), np.empty((0, BINS)))
        own = np.concatenate(members)
        counts = np.array([len(each) for each in members])
        begins = np.cumsum(counts) - counts
        reach = objects.reach[own]
        low = np.minimum.reduceat(reach[:, :2], begins)
        high = np.maximum.reduceat(reach[:, 2:], begins)
        extent = at_least(np.concatenate([low, high], axis=1), objects.least, objects.frame_size)
        places = np.repeat(np.arange(len(members)) * BINS, counts) + objects.bin[own]
        weight = np.bincount(places, objects.weight[own], len(members) * BINS).astype(np.float64)
        return cls(objects, tuple(members), extent, weight.reshape(-1, BINS))

    @classmethod
    def labelled(cls, objects: Objects, labels: NDArray[np.intp]) -> Groups:
        """One group per label from 0 on, each of which is there."""
        order = np.argsort(labels, kind="stable").astype(np.int64, copy=False)
        return cls.of(objects, _divided(order, np.bincount(labels)))

    def __len__(self) -> int:
        return len(self.members)

    def merged(self, a: int, b: int) -> Groups:
        """Groups a and b as one, which takes the place of the first of them."""
        a, b = min(a, b), max(a, b)
        own = np.sort(np.concatenate([self.members[a], self.members[b]]))
        members = (*self.members[:a], own, *self.members[a + 1 : b], *self.members[b + 1 :])
        extent = np.concatenate([self.extent[:b], self.extent[b + 1 :]])
        weight = np.concatenate([self.weight[:b], self.weight[b + 1 :]])
        extent[a] = _around(self.extent[a], self.extent[b])
        weight[a] += self.weight[b]
        return Groups(self.objects, members, extent, weight)

    def split(self, k: int) -> Groups | None:
        """Group k as two, the second of which becomes the last; None where it cannot be parted."""
        (parts,) = self.parts([k])
        return None if parts is None else self.replaced(k, parts)

    def replaced(self, k: int, parts: Groups) -> Groups:
        """With the first of two groups in place of group k, and the second at the end."""
        members = (*self.members[:k], parts.members[0], *self.members[k + 1 :], parts.members[1])
        extent = np.concatenate([self.extent, parts.extent[1:]])
        weight = np.concatenate([self.weight, parts.weight[1:]])
        extent[k], weight[k] = parts.extent[0], parts.weight[0]
        return Groups(self.objects, members, extent, weight)

    def parts(self, which: Sequence[int]) -> list[Groups | None]:
        """Each of these groups as two, as ``parted``; None where it has but one object."""
        large = [k for k in which if len(self.members[k]) > 1]
        halves = parted(self.objects, [self.members[k] for k in large])
        both = Groups.of(self.objects, [half for pair in halves for half in pair])
        extents, weights = both.extent.reshape(-1, 2, 4), both.weight.reshape(-1, 2, BINS)
        found = {
            k: Groups(self.objects, pair, extent, weight)
            for k, pair, extent, weight in zip(large, halves, extents, weights, strict=True)
        }
        return [found.get(k) for k in which]

    @cached_property
    def sides(self) -> Floats:
        """(K, 2) widths and heights."""
        return np.asarray(self.extent[:, 2:] - self.extent[:, :2])

    def gaps(self) -> Floats:
        """(K, K) pixels that the rectangle around two groups shows and neither of them does.

        Infinite on the diagonal. Two are the closest where this is least.
        """
        # Axis by axis: numpy is slow along short ones.
        left, top, right, bottom = self.extent.T
        width, height = self.sides.T
        wide = np.maximum(right[:, None], right) - np.minimum(left[:, None], left)
        high = np.maximum(bottom[:, None], bottom) - np.minimum(top[:, None], top)
        shared = np.maximum(width[:, None] + width - wide, 0.0)
        shared *= np.maximum(height[:, None] + height - high, 0.0)
        areas = width * height
        gaps = wide * high - (areas[:, None] + areas - shared)
        np.fill_diagonal(gaps, np.inf)
        return np.asarray(gaps)


def class_counts(class_id: NDArray[Any], probability: Floats, balance: float) -> Floats:
    """What objects (N,) count for so that rare classes are not forgotten beside common ones.

    In proportion to the expected number of objects of their class to the power of -``balance``:
    with 0 all objects count the same, with 1 all classes do, as in a mean average precision. A
    class counts as one object at least; over all that are expected, objects count 1 on average.

    Args:
        class_id: (N,) of the objects.
        probability: (N,) that each is there.
        balance: 0 to 1.
    """
    if not balance or not len(class_id):
        return np.ones(len(class_id))
    _, own = np.unique(class_id, return_inverse=True)
    expected = np.maximum(np.bincount(own, probability), 1.0)
    counts = expected[own] ** -balance
    total = float(probability @ counts)
    return np.asarray(counts * (float(probability.sum()) / total if total > 0 else 1.0))


def at_least(extent: Floats, least: float, frame_size: tuple[int, int]) -> Floats:
    """Rectangles (K, 4) widened on both sides to ``least`` pixels, or the frame's, and moved in."""
    whole = np.array(frame_size, np.float64)
    side = np.minimum(least, whole)
    low, high = extent[:, :2], extent[:, 2:]
    lacking = side - (high - low)
    begin = np.minimum(np.maximum(low - lacking / 2, 0.0), whole - side)
    small = lacking > 0
    sides = np.where(small, begin, low), np.where(small, begin + side, high)
    return np.concatenate(sides, axis=1)


def _around(a: Floats, b: Floats) -> Floats:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def parted(objects: Objects, members: Sequence[Integers]) -> list[tuple[Integers, Integers]]:
    """Each of K groups of at least two in two parts whose rectangles together are smallest.

    Every cut between neighbours in the order of the centres along either axis is tried.
    """
    if not members:
        return []
    counts = np.array([len(own) for own in members])
    longest = int(counts.max())
    there = np.arange(longest) < counts[:, None]
    padded = np.zeros(there.shape, np.int64)
    padded[there] = np.concatenate(members)
    # In the order of the centres along x and y, shape (2, K, M), with the padding last.
    centre = np.where(there, objects.centre.T.take(padded, axis=1), np.inf)
    order = centre.argsort(axis=2, kind="stable")
    rows = np.arange(len(members))[:, None]
    # Left and top with the sign by which further out is always larger.
    outer = (objects.reach.T * _OUTWARDS).take(padded[rows, order], axis=1)
    outer = np.where(there, outer, -np.inf)  # makes no rectangle larger
    areas = _running_areas(outer)[:, :, :-1]
    areas += _running_areas(outer[..., ::-1])[:, :, -2::-1]
    areas[:, ~there[:, 1:]] = np.inf
    # Of cuts that are alike, the first along x.
    both = areas.swapaxes(0, 1).reshape(len(members), -1).argmin(axis=1)
    axis, cut = np.divmod(both, longest - 1)
    chosen = order[axis, rows[:, 0]]
    first = np.zeros(there.shape, bool)
    first[rows, chosen] = np.arange(longest) <= cut[:, None]
    firsts = _divided(padded[first], cut + 1)
    others = _divided(padded[there & ~first], counts - cut - 1)
    return list(zip(firsts, others, strict=True))


def _divided(values: Integers, counts: Integers) -> list[Integers]:
    """As ``numpy.split``, which takes several times as long, with so many in each part."""
    ends = counts.cumsum().tolist()
    return [values[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _running_areas(outer: Floats) -> Floats:
    """Areas of the rectangles around the first 1, 2, ... of M boxes, shape (..., M).

    ``outer`` (4, ..., M) are the boxes' sides, left and top negative.
    """
    furthest = np.maximum.accumulate(outer, axis=-1)
    sides = furthest[:2] + furthest[2:]
    return np.asarray(sides[0] * sides[1])
