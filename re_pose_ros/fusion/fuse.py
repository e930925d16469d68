"""From the workers' answers of one frame to its detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.fusion.cut import drop_cut, interior_borders
from re_pose_ros.fusion.merge import MergeSettings, merge
from re_pose_ros.geometry import crop_to_full
from re_pose_ros.plan import Plan, PlannedBlock, Slot


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """How answers become one result.

    Attributes:
        merge: see there.
        cut_margin: distance in pixels to an interior block border at which a box counts as cut.
        crop_workers: workers whose boxes are in pixels of the image they were sent.
    """

    merge: MergeSettings = field(default_factory=MergeSettings)
    cut_margin: float = 2.0
    crop_workers: frozenset[str] = frozenset()


def fuse(
    plan: Plan,
    answers: Mapping[Slot, Detections],
    frame_size: tuple[int, int] | None,
    settings: FusionSettings,
) -> Detections:
    """Map, drop what block borders cut, merge; strongest first, ``block`` indexes the plan.

    Args:
        plan: the frame's blocks.
        answers: by slot, with one set of labels; slots that did not answer are absent.
        frame_size: (width, height); None takes the extent of the plan's blocks.
        settings: see there.
    """
    if not plan.blocks:
        return Detections.empty()
    replies = [
        _in_full(answers[planned.slot], planned, index, settings)
        for index, planned in enumerate(plan.blocks)
        if planned.slot in answers
    ]
    corners = np.array([planned.block.xyxy for planned in plan.blocks], np.float32)
    found = _clipped(Detections.concatenate(replies), corners)
    if frame_size is None:
        frame_size = (int(corners[:, 2].max()), int(corners[:, 3].max()))
    blocks = [planned.block for planned in plan.blocks]
    whole = drop_cut(
        found,
        blocks,
        frame_size,
        margin=settings.cut_margin,
        answered=[planned.slot in answers for planned in plan.blocks],
        scales=[planned.request.input_scale for planned in plan.blocks],
    )
    return merge(whole, settings.merge, interior_borders(blocks, frame_size, settings.cut_margin))


def _in_full(
    answer: Detections, planned: PlannedBlock, index: int, settings: FusionSettings
) -> Detections:
    """A block's answer in full-image pixels, with the block's index in the plan."""
    boxes = answer.xyxy
    if planned.slot.worker in settings.crop_workers:
        mapped = crop_to_full(boxes, planned.block, planned.request.image_size)
        boxes = mapped.astype(np.float32)
    block = np.full(len(answer), index, np.int32)
    return Detections(boxes, answer.confidence, answer.class_id, block)


def _clipped(found: Detections, corners: NDArray[np.float32]) -> Detections:
    """Boxes clipped to their block's ``corners`` (B, 4), without those that are outside it."""
    own = corners[found.block]
    boxes = found.xyxy.copy()
    boxes[:, :2] = np.clip(boxes[:, :2], own[:, :2], own[:, 2:])
    boxes[:, 2:] = np.clip(boxes[:, 2:], own[:, :2], own[:, 2:])
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Detections(boxes, found.confidence, found.class_id, found.block).take(inside)
