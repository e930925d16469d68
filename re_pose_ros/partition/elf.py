"""Vertical cuts around the objects of the last frame, as wide as the workers are fast.

After Elf (Zhang et al., MobiCom 2021, "Elf: accelerate high-resolution mobile deep vision with
content-aware parallel offloading") and its authors' public code (wuyangzhang/elf).

Theirs: objects predicted from the last frames; the rectangle around all of them cut vertically into
one part per worker; each object given to the part that it overlaps most; each part shrunk or grown
until it shows its objects whole, and extended by 6 percent for errors of the prediction; the parts
looked at in full resolution; a look at the whole frame at 0.4 of its resolution in every third
frame, which finds what is new; the first frame looked at whole and in full resolution.

Ours: constant velocity in place of a trained LSTM with attention; widths by the workers' speeds,
which the paper describes and the code leaves open; a least block size in pixels in place of a
tenth of the frame; empty parts are not sent; the look is merged by the common fusion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block, FloatArray, box_areas, enclosing_block, iou, whole
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
    smallest_variant,
)
from re_pose_ros.plan import BlockRequest, Expectation

SAME_OBJECT = 0.3
"""IoU from which boxes of one class in consecutive frames are one object."""


def moved(last: Detections, before: Detections) -> NDArray[np.float32]:
    """The boxes of ``last`` one frame on, (N, 4): those also seen ``before`` move on as they did.

    Each box is paired with the one of its class before it that overlaps it most, from an IoU of
    0.3 on; its centre moves by as much again, its size stays.
    """
    if not len(last) or not len(before):
        return last.xyxy
    overlap = iou(last.xyxy.astype(np.float64), before.xyxy.astype(np.float64))
    overlap[last.class_id[:, None] != before.class_id[None, :]] = 0
    partner = overlap.argmax(axis=1)
    known = overlap[np.arange(len(last)), partner] >= SAME_OBJECT
    step = last.xyxy - before.xyxy[partner]
    shift = np.where(known[:, None], (step[:, :2] + step[:, 2:]) / 2, 0)
    return (last.xyxy + np.tile(shift, 2)).astype(np.float32)


def parts_of(boxes: FloatArray, speeds: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of the vertical parts of (N, 4) boxes' common rectangle each box goes to, shape (N,).

    The parts' widths are in the proportion of ``speeds``, from left to right; a box goes to the
    part that holds most of its width (ties: the left one).
    """
    left, right = boxes[:, 0].min(), boxes[:, 2].max()
    shares = np.concatenate([[0.0], np.cumsum(speeds) / speeds.sum()])
    edges = left + (right - left) * shares
    shared = np.minimum(boxes[:, None, 2], edges[None, 1:]) - np.maximum(
        boxes[:, None, 0], edges[None, :-1]
    )
    return shared.argmax(axis=1)


class Elf:
    """One block per worker, side by side, and a look at the whole frame now and then.

    Blocks and look are as large on the network's input as in the frame (the look ``look_scale`` of
    that), or as near as the variants there are come. With objects unknown, the look is all there
    is; the first frame's is in full resolution. Of an object that was missed nothing is
    remembered until a look finds it again.
    """

    name = "elf"
    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings
        self._last = Detections.empty()
        self._before = Detections.empty()
        self._since_look: int | None = None

    def observe(self, outcome: FrameOutcome) -> None:
        self._before, self._last = self._last, outcome.detections

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        first = self._since_look is None
        width, height = context.frame_size
        boxes = moved(self._last, self._before).clip(0, (width, height, width, height))
        boxes = boxes[box_areas(boxes) > 0]
        due = first or (self._since_look or 0) + 1 >= self.settings.look_every
        look = due or not len(boxes)
        self._since_look = 0 if look else (self._since_look or 0) + 1
        room = context.slots - look
        blocks = self._blocks(boxes, context, room) if len(boxes) and room else []
        requests = [_request(block, 1.0, context) for block in blocks]
        if look:
            scale = 1.0 if first else self.settings.look_scale
            requests.append(_request(whole(width, height), scale, context))
        return requests

    def _blocks(self, boxes: FloatArray, context: PartitionContext, room: int) -> list[Block]:
        speeds = np.sort(np.array(context.speeds or (1.0,) * room, np.float64))[::-1][:room]
        part = parts_of(boxes, speeds)
        return [
            self._block(boxes[part == k], context.frame_size)
            for k in range(len(speeds))
            if (part == k).any()
        ]

    def _block(self, boxes: FloatArray, frame_size: tuple[int, int]) -> Block:
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        least = np.minimum(self.settings.min_block, frame_size)
        grow = np.maximum(self.settings.growth * (high - low), (least - (high - low)) / 2)
        low, high = low - grow, high + grow
        # Against the frame's border a least size is kept by moving in.
        low = np.clip(low, 0, np.maximum(frame_size - least, 0))
        high = np.clip(high, least, frame_size)
        (left, top), (right, bottom) = low.tolist(), high.tolist()
        return enclosing_block(left, top, right, bottom, frame_size)


def _request(block: Block, scale: float, context: PartitionContext) -> BlockRequest:
    side = max(block.width, block.height)
    return BlockRequest(block, smallest_variant(context.variants, scale * side))
