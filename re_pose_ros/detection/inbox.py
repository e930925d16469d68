"""Gathers the blocks of one frame that come to a worker, so that they run as one batch.

ROS-free and clock-free: times are seconds of any monotonic clock, passed in.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from re_pose_ros.geometry import Block
from re_pose_ros.plan import Plan, Variant

T = TypeVar("T")

PLACING_S = 5.0
"""How long a block is held of which nothing says yet where it lies in the frame."""


@dataclass(frozen=True, slots=True)
class ReceivedBlock(Generic[T]):
    """A block as it came; ``roi`` in full-image pixels, ``variant`` None without a plan."""

    slot_index: int
    data: T
    roi: Block
    variant: Variant | None


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """The blocks of one frame."""

    stamp_ns: int
    blocks: tuple[ReceivedBlock[T], ...]
    waited: float


@dataclass(slots=True)
class _Frame(Generic[T]):
    first_at: float
    blocks: dict[int, T] = field(default_factory=dict)


class BlockInbox(Generic[T]):
    """What arrived for ``worker`` and is not yet taken.

    A frame is ready when all blocks that its plan gives this worker are there, or ``wait`` seconds
    after its first block with what came; a block without a plan is placed by its ``camera_info``
    roi. With neither it is held for ``PLACING_S``, as topics are matched one by one when nodes come
    up, and then counted in ``unplaced``. At most ``capacity`` frames wait: the oldest goes first
    and is counted in ``dropped``.
    """

    def __init__(self, worker: str, capacity: int = 4) -> None:
        self.worker = worker
        self.capacity = capacity
        self.dropped = 0
        self.unplaced = 0
        self._frames: OrderedDict[int, _Frame[T]] = OrderedDict()
        self._plans: OrderedDict[int, dict[int, tuple[Block, Variant | None]]] = OrderedDict()
        self._rois: OrderedDict[tuple[int, int], Block] = OrderedDict()

    def add_plan(self, plan: Plan) -> None:
        self._plans[plan.stamp_ns] = {
            planned.slot.index: (planned.block, planned.request.variant)
            for planned in plan.blocks
            if planned.slot.worker == self.worker
        }
        _trim(self._plans, 4 * self.capacity)

    def add_roi(self, slot_index: int, stamp_ns: int, roi: Block) -> None:
        self._rois[stamp_ns, slot_index] = roi
        _trim(self._rois, 256 * self.capacity)

    def add_block(self, slot_index: int, stamp_ns: int, data: T, now: float) -> None:
        frame = self._frames.setdefault(stamp_ns, _Frame(now))
        frame.blocks[slot_index] = data
        while len(self._frames) > self.capacity:
            _, lost = self._frames.popitem(last=False)
            self.dropped += len(lost.blocks)

    def take(self, now: float, wait: float) -> Batch[T] | None:
        """The oldest ready frame; None while none is."""
        for stamp in sorted(self._frames):
            frame = self._frames[stamp]
            plan = self._plans.get(stamp)
            complete = plan is not None and plan.keys() <= frame.blocks.keys()
            if not complete and now < self._due(stamp, frame, wait):
                continue
            del self._frames[stamp]
            blocks = self._placed(stamp, frame, plan or {})
            if blocks:
                return Batch(stamp, blocks, now - frame.first_at)
        return None

    def next_check(self, wait: float) -> float | None:
        """When an incomplete frame will have waited long enough; None when nothing waits."""
        return min((self._due(s, f, wait) for s, f in self._frames.items()), default=None)

    def _due(self, stamp: int, frame: _Frame[T], wait: float) -> float:
        known = stamp in self._plans or all((stamp, k) in self._rois for k in frame.blocks)
        return frame.first_at + (wait if known else max(wait, PLACING_S))

    def _placed(
        self, stamp: int, frame: _Frame[T], plan: dict[int, tuple[Block, Variant | None]]
    ) -> tuple[ReceivedBlock[T], ...]:
        placed = []
        for index, data in sorted(frame.blocks.items()):
            roi, variant = plan.get(index, (self._rois.get((stamp, index)), None))
            if roi is None:
                self.unplaced += 1
            else:
                placed.append(ReceivedBlock(index, data, roi, variant))
        return tuple(placed)


def _trim(items: OrderedDict, limit: int) -> None:
    while len(items) > limit:
        items.popitem(last=False)
