"""Blocks where objects were lately: mean shift in perspective, sized by the objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from re_pose_ros.detections import Detections
from re_pose_ros.fusion.merge import MergeSettings, merge
from re_pose_ros.geometry import Block, FloatArray, box_areas, enclosing_block
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
    smallest_variant,
)
from re_pose_ros.partition.mean_shift import mean_shift
from re_pose_ros.partition.perspective import Perspective, object_sizes
from re_pose_ros.partition.tiles import whole_look
from re_pose_ros.plan import BlockRequest, Expectation

CONTAINED = 0.9
"""Share of a block's area that another must cover to stand in for it."""

Extent = tuple[float, float, float, float]
"""x1, y1, x2, y2 around some boxes."""


def block_around(extent: Extent, grow: float, min_side: int, frame_size: tuple[int, int]) -> Block:
    """The block that shows ``extent`` and ``grow`` pixels around it.

    It has at least ``min_side`` pixels on each side (or the frame's), and lies in the frame.
    """
    x1, y1, x2, y2 = extent
    width, height = frame_size
    left, right = _span(x1 - grow, x2 + grow, min_side, width)
    top, bottom = _span(y1 - grow, y2 + grow, min_side, height)
    return enclosing_block(left, top, right, bottom, frame_size)


def _span(low: float, high: float, least: int, length: int) -> tuple[float, float]:
    """The range low to high within 0 to ``length``, widened to ``least`` (or ``length``)."""
    low, high = max(low, 0.0), min(high, float(length))
    lacking = (min(least, length) - (high - low)) / 2
    if lacking <= 0:
        return low, high
    low, high = low - lacking, high + lacking
    shift = max(0.0, -low) - max(0.0, high - length)
    return low + shift, high + shift


@dataclass(frozen=True, eq=False)
class _Layout:
    """What holds for all groups of one frame.

    Plain lists, as groups have few members: numpy's calls would take longer than their work.
    """

    boxes: list[Extent]
    sizes: list[float]
    centres: tuple[list[float], list[float]]
    frame_size: tuple[int, int]
    inputs: tuple[int, ...]
    settings: PartitionSettings

    def group(self, members: Sequence[int]) -> _Group:
        lefts, tops, rights, bottoms = zip(*[self.boxes[k] for k in members], strict=True)
        extent = (min(lefts), min(tops), max(rights), max(bottoms))
        return self.grown(sorted(members), sorted([self.sizes[k] for k in members]), extent)

    def grown(self, members: list[int], sizes: list[float], extent: Extent) -> _Group:
        """The group, with the block that shows it."""
        count, settings = len(sizes), self.settings
        median = (sizes[(count - 1) // 2] + sizes[count // 2]) / 2
        grow = settings.margin * median
        block = block_around(extent, grow, settings.min_block, self.frame_size)
        return _Group(self, members, sizes, extent, block)


@dataclass(frozen=True, eq=False)
class _Group:
    """Objects that are looked at together.

    ``members`` are rising indices into the layout, ``sizes`` are the members' from small to large,
    ``extent`` is around the objects alone.
    """

    layout: _Layout
    members: list[int]
    sizes: list[float]
    extent: Extent
    block: Block

    @cached_property
    def side(self) -> int:
        return max(self.block.width, self.block.height)

    @property
    def small_object(self) -> float:
        """Size in pixels that three of four objects have at least."""
        return self.sizes[(len(self.sizes) - 1) // 4]

    @cached_property
    def wanted_input(self) -> float:
        """Input size at which three of four objects have the wanted size."""
        return self.layout.settings.target_object * self.side / self.small_object

    @cached_property
    def input_size(self) -> int:
        """The input size it will be looked at with."""
        inputs = self.layout.inputs
        return next((size for size in inputs if size >= self.wanted_input), inputs[-1])

    @property
    def is_sharp(self) -> bool:
        return self.input_size >= self.wanted_input

    @cached_property
    def cost(self) -> float:
        """Pixels of the network's input, which keeps the block's aspect ratio."""
        return self.input_size**2 * min(self.block.width, self.block.height) / self.side

    @property
    def scale(self) -> float:
        return self.input_size / self.side

    def joined(self, other: _Group) -> _Group:
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = self.extent, other.extent
        return self.layout.grown(
            sorted(self.members + other.members),
            sorted(self.sizes + other.sizes),
            (min(ax1, bx1), min(ay1, by1), max(ax2, bx2), max(ay2, by2)),
        )


class Clusters:
    """Blocks around clusters of recent objects, with a look at the whole frame now and then.

    Each frame: the objects of the last frames are clustered by mean shift at distances measured in
    object sizes (``perspective``); a cluster's block is the box around its objects, grown by
    ``margin`` object sizes; clusters that have more blocks than slots are merged where that wastes
    the least area. While slots remain, a block whose objects would be smaller than
    ``target_object`` on the largest input is split at a gap between its objects; blocks are merged
    where one input costs no more than two. Each block takes the smallest input at which three of
    four of its objects have the wanted size. The whole frame is looked at first, then once every
    ``look_every`` frames, and whenever no objects are remembered.
    """

    name = "clusters"
    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings
        self._recent: list[Detections] = []
        self._since_look: int | None = None

    def observe(self, outcome: FrameOutcome) -> None:
        self._recent = [*self._recent, outcome.detections][-self.settings.memory :]

    def remembered(self) -> Detections:
        """The objects of the last ``memory`` frames; ``block`` tells the frame."""
        # The frame stands in for the block: two objects of one frame never become one.
        parts = [
            Detections.of(seen.xyxy, seen.confidence, seen.class_id, age)
            for age, seen in enumerate(self._recent)
        ]
        # An IoU of a third is half of each of two boxes of one size.
        return merge(Detections.concatenate(parts), MergeSettings("iou", threshold=1 / 3))

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        objects = _inside(self.remembered(), context.frame_size)
        due = self._since_look is None or self._since_look + 1 >= self.settings.look_every
        look = due or not len(objects)
        self._since_look = 0 if look else (self._since_look or 0) + 1
        limit = context.slots - look
        if self.settings.max_blocks:
            limit = min(limit, self.settings.max_blocks)
        requests = self.around(objects, context, limit)
        if look:
            requests.append(whole_look(context, self.settings))
        return requests

    def around(
        self, objects: Detections, context: PartitionContext, limit: int
    ) -> list[BlockRequest]:
        """At most ``limit`` blocks that show these objects; none where there are no objects."""
        objects = _inside(objects, context.frame_size)
        if not len(objects) or limit < 1:
            return []
        groups = self._groups(objects.xyxy, context, limit)
        return [
            BlockRequest(group.block, smallest_variant(context.variants, group.input_size))
            for group in sorted(groups, key=lambda group: group.block)
        ]

    def _groups(self, boxes: FloatArray, context: PartitionContext, limit: int) -> list[_Group]:
        inputs = sorted({v.input_size for v in context.variants}) or [self.settings.whole_size]
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        layout = _Layout(
            [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()],
            object_sizes(boxes).tolist(),
            (middles[:, 0].tolist(), middles[:, 1].tolist()),
            context.frame_size,
            tuple(inputs),
            self.settings,
        )
        feet = np.column_stack([middles[:, 0], boxes[:, 3]])
        points = Perspective.fit(boxes).flatten(feet, context.frame_size[0] / 2)
        members: dict[int, list[int]] = {}
        for k, label in enumerate(mean_shift(points, self.settings.bandwidth).tolist()):
            members.setdefault(label, []).append(k)
        groups = [layout.group(members[label]) for label in sorted(members)]
        groups = _split(_merge_to(groups, limit), limit)
        return _without_contained(_merge_where_cheaper(groups))


def _inside(objects: Detections, frame_size: tuple[int, int]) -> Detections:
    """The objects clipped to the frame, without those that are outside it."""
    width, height = frame_size
    boxes = objects.xyxy.clip(0, np.array([width, height, width, height], np.float32))
    clipped = Detections(boxes, objects.confidence, objects.class_id, objects.block)
    return clipped.take(box_areas(boxes) > 0)


def _shared_area(a: Block, b: Block) -> int:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.xyxy, b.xyxy
    return max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))


def _merge_to(groups: Sequence[_Group], limit: int) -> list[_Group]:
    """Join the two whose enclosing rectangle wastes least until there are at most ``limit``."""
    surplus = len(groups) - limit
    if surplus <= 0:
        return list(groups)
    alive = dict(enumerate(groups))
    # What is joined goes behind the others; there is room for all that will be.
    blocks = np.zeros((4, len(groups) + surplus))
    blocks[:, : len(groups)] = np.transpose([group.block.xyxy for group in groups])
    wasted = np.full((blocks.shape[1], blocks.shape[1]), np.inf)
    first, second = np.triu_indices(len(groups), 1)
    wasted[first, second] = _wasted_areas(blocks[:, first], blocks[:, second])
    for new in range(len(groups), blocks.shape[1]):
        i, j = divmod(int(wasted.argmin()), blocks.shape[1])
        joined = alive.pop(i).joined(alive.pop(j))
        for gone in (i, j):
            wasted[gone] = wasted[:, gone] = np.inf
        blocks[:, new] = joined.block.xyxy
        others = list(alive)
        wasted[others, new] = _wasted_areas(blocks[:, others], blocks[:, new, None])
        alive[new] = joined
    return list(alive.values())


def _wasted_areas(a: FloatArray, b: FloatArray) -> FloatArray:
    """Pixels that the rectangle around two blocks shows and neither of them does.

    For blocks x1, y1, x2, y2 of shape (4, N) and as many others, or one; shape (N,).
    """
    around = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    sides_a, sides_b = a[2:] - a[:2], b[2:] - b[:2]
    shared = np.maximum(sides_a + sides_b - around, 0)
    areas = (sides[0] * sides[1] for sides in (around, sides_a, sides_b, shared))
    shown_around, shown_a, shown_b, shown_by_both = areas
    return shown_around - (shown_a + shown_b - shown_by_both)


def _split(groups: Sequence[_Group], limit: int) -> list[_Group]:
    """Split the least sharp blocks while there are fewer than ``limit``."""
    groups = list(groups)
    done: list[_Group] = []
    while groups and len(groups) + len(done) < limit:
        groups.sort(key=lambda group: (group.wanted_input, group.block))
        worst = groups.pop()
        halves = None if worst.is_sharp else _halves(worst)
        if halves is None:
            done.append(worst)
        else:
            groups += halves
    return groups + done


def _halves(group: _Group) -> list[_Group] | None:
    """Two groups with smaller blocks, parted across the longer side; None where there are none.

    Parted between neighbouring object centres where the gap is large and near the middle: a gap
    counts by its width times its nearness to the middle (1 there, 0 at the ends).
    """
    axis = 0 if group.block.width >= group.block.height else 1
    centre_of = group.layout.centres[axis]
    order = sorted(group.members, key=centre_of.__getitem__)
    centres = [centre_of[k] for k in order]
    if centres[0] == centres[-1]:
        return None
    start, length = (group.block.x, group.block.width)
    if axis:
        start, length = (group.block.y, group.block.height)
    middle = start + length / 2

    def weight(at: int) -> float:
        low, high = centres[at - 1], centres[at]
        nearness = 1 - abs((low + high) / 2 - middle) / (length / 2)
        return (high - low) * max(nearness, 0.01)

    at = max(range(1, len(order)), key=weight)
    halves = [group.layout.group(part) for part in (order[:at], order[at:])]
    return halves if max(half.side for half in halves) < group.side else None


def _merge_where_cheaper(groups: Sequence[_Group]) -> list[_Group]:
    """Join pairs, best saving first, whose joined block is sharp and costs no more than the two."""
    alive = dict(enumerate(groups))
    joins = {(i, j): _cheaper_join(alive[i], alive[j]) for i, j in combinations(alive, 2)}
    while True:
        possible = {pair: found for pair, found in joins.items() if found is not None}
        if not possible:
            return list(alive.values())
        (i, j), (_, joined) = max(possible.items(), key=lambda item: item[1][0])
        del alive[i], alive[j]
        joins = {pair: found for pair, found in joins.items() if not {i, j} & set(pair)}
        new = max(i, j, *alive) + 1 if alive else 0
        joins |= {(k, new): _cheaper_join(group, joined) for k, group in alive.items()}
        alive[new] = joined


def _cheaper_join(a: _Group, b: _Group) -> tuple[float, _Group] | None:
    """(saving, joined group) where joining the two costs no more and is sharp."""
    affordable = a.cost + b.cost
    # Bounds that most pairs fail, before the exact test: the joined block is at least as large as
    # what encloses the objects, and its wanted object is at most the larger of the two.
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.extent, b.extent
    width, height = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    enlarged = a.layout.settings.target_object / max(a.small_object, b.small_object)
    if enlarged * max(width, height) > a.layout.inputs[-1]:
        return None
    if enlarged**2 * width * height > affordable:
        return None
    joined = a.joined(b)
    if joined.cost > affordable or not joined.is_sharp:
        return None
    return affordable - joined.cost, joined


def _without_contained(groups: Sequence[_Group]) -> list[_Group]:
    """Drop a block that another shows (almost) all of, with all its objects, no less sharply."""
    kept = list(groups)
    for group in sorted(groups, key=lambda group: (group.block.area, group.block)):
        if any(other is not group and _stands_in(other, group) for other in kept):
            kept = [other for other in kept if other is not group]
    return kept


def _stands_in(other: _Group, group: _Group) -> bool:
    if other.scale < group.scale:
        return False
    (left, top, right, bottom), (x1, y1, x2, y2) = group.extent, other.block.xyxy
    if not (left >= x1 and top >= y1 and right <= x2 and bottom <= y2):
        return False
    shared = _shared_area(group.block, other.block)
    return shared >= CONTAINED * group.block.area
