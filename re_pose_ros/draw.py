"""Pictures of what was looked at and found."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.plan import PlannedBlock
from re_pose_ros.plan_outcome import PlanOutcome

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_COLOURS = 64


def _palette(first_hue: int, saturation: int, value: int) -> list[tuple[int, int, int]]:
    """Colours whose neighbours differ: hues a golden angle apart."""
    steps = [first_hue + k * 180 * 0.618034 for k in range(_COLOURS)]
    hues = [[[round(step) % 180, saturation, value]] for step in steps]
    colours = cv2.cvtColor(np.array(hues, np.uint8), cv2.COLOR_HSV2BGR)
    return [(int(row[0][0]), int(row[0][1]), int(row[0][2])) for row in colours]


MISSED_COLOUR = (40, 40, 255)
CLUSTER_COLOUR = (225, 225, 225)
_WITHIN_COLOUR, _PREDICTED_COLOUR = (90, 200, 90), (200, 170, 110)
_PAPER, _INK = (245, 245, 245), (20, 20, 20)
# The first few have no red, which is for what was missed.
_CLASS_COLOURS = _palette(40, 220, 255)
_WORKER_COLOURS = _palette(100, 120, 230)


def _label(
    image: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Sequence[int], size: float
) -> None:
    """Dark text on a filled box whose top-left is ``corner``, kept inside the image."""
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    x = int(np.clip(corner[0], 0, max(0, image.shape[1] - width - 4)))
    y = int(np.clip(corner[1], 0, max(0, image.shape[0] - height - below - 4)))
    cv2.rectangle(image, (x, y), (x + width + 4, y + height + below + 2), tuple(colour), -1)
    cv2.putText(image, text, (x + 2, y + height + 1), _FONT, size, _INK, 1, cv2.LINE_AA)


def draw_frame(
    image: NDArray[np.uint8],
    blocks: Sequence[PlannedBlock],
    detections: Detections,
    labels: Sequence[str] = (),
    caption: str = "",
    *,
    missed: NDArray[np.floating] | None = None,
    clusters: Sequence[Block] = (),
    outcome: PlanOutcome | None = None,
    scale: float = 1.0,
    legend: bool = True,
) -> NDArray[np.uint8]:
    """A copy of ``image`` with blocks (colour by worker, slot and network), boxes and a caption.

    Args:
        image: (H, W, 3) uint8 BGR.
        blocks: in pixels of ``image``, as all that follow.
        detections: outlined in the colour of their class.
        labels: names of the classes, where known.
        caption: at the top.
        missed: (N, 4) boxes of objects that were not found, outlined in red; None where nothing
            is known of them.
        clusters: what the blocks were made from, in thin dashes.
        outcome: shown at the top right: happened and predicted time against the budget.
        scale: size of the copy as a share of that of ``image``; lines and text are drawn after
            scaling, so that they stay sharp.
        legend: also say how many there are of each class.
    """
    canvas = _scaled(image, scale)
    unit = max(1.0, canvas.shape[0] / 1080)
    workers = sorted({planned.slot.worker for planned in blocks})
    for planned in blocks:
        colour = _WORKER_COLOURS[workers.index(planned.slot.worker) % _COLOURS]
        left, top, right, bottom = (round(edge * scale) for edge in planned.block.xyxy)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, round(2 * unit))
        variant = planned.request.variant
        text = f"{planned.slot}" + (f" {variant}" if variant else "")
        _label(canvas, text, (left, top), colour, 0.45 * unit)
    for cluster in clusters:
        draw_dashed(canvas, cluster, scale, CLUSTER_COLOUR, round(unit))
    thick = max(1, round((1.5 if scale == 1.0 else 1.0) * unit))
    for box, class_id in zip(detections.xyxy * scale, detections.class_id, strict=True):
        _outline(canvas, box, _CLASS_COLOURS[int(class_id) % _COLOURS], thick)
    lost: Sequence[NDArray[np.floating]] = () if missed is None else list(missed * scale)
    for box in lost:
        _outline(canvas, box, MISSED_COLOUR, thick)
    notes = [(caption, _PAPER)] if caption else []
    if legend:
        notes += _counts(detections, labels)
    if legend and lost:
        notes.append((f"{len(lost)} missed", MISSED_COLOUR))
    for k, (text, colour) in enumerate(notes, 0 if caption else 1):
        place = (round(8 * unit), round((10 + 24 * k) * unit))
        _label(canvas, text, place, colour, (0.55 if k == 0 else 0.5) * unit)
    if outcome is not None:
        _budget(canvas, outcome, unit)
    return canvas


def draw_dashed(
    canvas: NDArray[np.uint8], block: Block, scale: float, colour: Sequence[int], thick: int = 1
) -> None:
    """The outline of a block, times ``scale``, in dashes onto ``canvas``."""
    left, top, right, bottom = (round(edge * scale) for edge in block.xyxy)
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    dash = 6 * thick
    for start in range(left, right + 1, 2 * dash):
        end = min(start + dash, right)
        for y in (top, bottom):
            cv2.line(canvas, (start, y), (end, y), tuple(colour), thick)
    for start in range(top, bottom + 1, 2 * dash):
        end = min(start + dash, bottom)
        for x in (left, right):
            cv2.line(canvas, (x, start), (x, end), tuple(colour), thick)


def _budget(canvas: NDArray[np.uint8], outcome: PlanOutcome, unit: float) -> None:
    """Two bars on a panel, with a mark at the budget, which is at two thirds of their length."""
    wide, high, edge = round(240 * unit), round(9 * unit), round(10 * unit)
    left, top = max(0, canvas.shape[1] - wide - edge), edge
    below = top + 2 * high + 2
    bottom = below + round(24 * unit)
    cv2.rectangle(canvas, (left - edge, 0), (canvas.shape[1] - 1, bottom), _PAPER, -1)
    rows = (
        (outcome.happened_ms, MISSED_COLOUR if outcome.over_budget else _WITHIN_COLOUR),
        (outcome.predicted_ms, _PREDICTED_COLOUR),
    )
    full = 1.5 * max(outcome.budget_ms, 1e-3)
    for k, (value, colour) in enumerate(rows):
        y = top + k * (high + 2)
        length = round(wide * float(np.clip(value / full, 0.0, 1.0)))
        cv2.rectangle(canvas, (left, y), (left + length, y + high - 1), colour, -1)
    mark = left + round(wide / 1.5)
    cv2.line(canvas, (mark, top - 3), (mark, below + 2), _INK, max(1, round(2 * unit)))
    text = (
        f"{outcome.happened_ms:.0f} of {outcome.budget_ms:.0f} ms "
        f"({outcome.predicted_ms:.0f} predicted)"
    )
    place = (left, below + round(18 * unit))
    cv2.putText(canvas, text, place, _FONT, 0.45 * unit, _INK, 1, cv2.LINE_AA)


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1.0:
        return image.copy()
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _outline(
    canvas: NDArray[np.uint8], box: NDArray[np.floating], colour: Sequence[int], thick: int
) -> None:
    x1, y1, x2, y2 = (round(float(edge)) for edge in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), tuple(colour), thick)


def _counts(
    detections: Detections, labels: Sequence[str]
) -> list[tuple[str, tuple[int, int, int]]]:
    """How many there are of each class, with its colour."""
    rows = []
    for class_id in sorted(set(detections.class_id.tolist())):
        name = labels[class_id] if class_id < len(labels) else str(class_id)
        count = int((detections.class_id == class_id).sum())
        rows.append((f"{count} {name}", _CLASS_COLOURS[class_id % _COLOURS]))
    return rows
