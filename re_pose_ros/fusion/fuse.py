"""From the workers' answers of one frame to its detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from re_pose_ros.detections import Detections
from re_pose_ros.fusion.cut import drop_cut
from re_pose_ros.fusion.merge import MergeSettings, merge
from re_pose_ros.geometry import crop_to_full
from re_pose_ros.plan import Plan, Slot


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
    parts = []
    for index, planned in enumerate(plan.blocks):
        found = answers.get(planned.slot)
        if found is None:
            continue
        boxes = found.xyxy
        if planned.slot.worker in settings.crop_workers:
            boxes = crop_to_full(boxes, planned.block, planned.request.image_size)
        left, top, right, bottom = planned.block.xyxy
        boxes = boxes.clip((left, top, left, top), (right, bottom, right, bottom))
        part = Detections.of(boxes, found.confidence, found.class_id, index)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        parts.append(part.take(inside))
    if frame_size is None:
        corners = [planned.block.xyxy for planned in plan.blocks]
        frame_size = (max(c[2] for c in corners), max(c[3] for c in corners))
    whole = drop_cut(
        Detections.concatenate(parts),
        [planned.block for planned in plan.blocks],
        frame_size,
        margin=settings.cut_margin,
        answered=[planned.slot in answers for planned in plan.blocks],
        scales=[planned.request.input_scale for planned in plan.blocks],
    )
    return merge(whole, settings.merge)
