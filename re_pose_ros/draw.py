"""Pictures of what was looked at and found."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections
from re_pose_ros.plan import PlannedBlock

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_COLOURS = 64


def _palette(first_hue: int, saturation: int, value: int) -> list[tuple[int, int, int]]:
    """Colours whose neighbours differ: hues a golden angle apart."""
    steps = [first_hue + k * 180 * 0.618034 for k in range(_COLOURS)]
    hues = [[[round(step) % 180, saturation, value]] for step in steps]
    colours = cv2.cvtColor(np.array(hues, np.uint8), cv2.COLOR_HSV2BGR)
    return [(int(row[0][0]), int(row[0][1]), int(row[0][2])) for row in colours]


MISSED_COLOUR = (40, 40, 255)
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
    cv2.putText(image, text, (x + 2, y + height + 1), _FONT, size, (20, 20, 20), 1, cv2.LINE_AA)


def draw_frame(
    image: NDArray[np.uint8],
    blocks: Sequence[PlannedBlock],
    detections: Detections,
    labels: Sequence[str] = (),
    caption: str = "",
    *,
    missed: NDArray[np.floating] | None = None,
    scale: float = 1.0,
    legend: bool = True,
) -> NDArray[np.uint8]:
    """A copy of ``image`` with blocks (colour and name by worker), boxes and a caption.

    Args:
        image: (H, W, 3) uint8 BGR.
        blocks: in pixels of ``image``, as all that follow.
        detections: outlined in the colour of their class.
        labels: names of the classes, where known.
        caption: at the top.
        missed: (N, 4) boxes of objects that were not found, outlined in red; None where nothing
            is known of them.
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
    thick = max(1, round((1.5 if scale == 1.0 else 1.0) * unit))
    for box, class_id in zip(detections.xyxy * scale, detections.class_id, strict=True):
        _outline(canvas, box, _CLASS_COLOURS[int(class_id) % _COLOURS], thick)
    lost: Sequence[NDArray[np.floating]] = () if missed is None else list(missed * scale)
    for box in lost:
        _outline(canvas, box, MISSED_COLOUR, thick)
    notes = [(caption, (245, 245, 245))] if caption else []
    if legend:
        notes += _counts(detections, labels)
    if legend and lost:
        notes.append((f"{len(lost)} missed", MISSED_COLOUR))
    for k, (text, colour) in enumerate(notes, 0 if caption else 1):
        place = (round(8 * unit), round((10 + 24 * k) * unit))
        _label(canvas, text, place, colour, (0.55 if k == 0 else 0.5) * unit)
    return canvas


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
