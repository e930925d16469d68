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


def _palette(saturation: int, value: int) -> list[tuple[int, int, int]]:
    """Colours whose neighbours differ: hues a golden angle apart."""
    hues = [[[round(k * 180 * 0.618034) % 180, saturation, value]] for k in range(_COLOURS)]
    colours = cv2.cvtColor(np.array(hues, np.uint8), cv2.COLOR_HSV2BGR)
    return [(int(row[0][0]), int(row[0][1]), int(row[0][2])) for row in colours]


_CLASS_COLOURS = _palette(220, 255)
_WORKER_COLOURS = _palette(120, 230)


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
) -> NDArray[np.uint8]:
    """A copy of ``image`` with blocks (colour and name by worker), boxes and a caption.

    ``detections`` are in pixels of ``image``; ``labels`` names their classes where given.
    """
    canvas = image.copy()
    unit = max(1.0, image.shape[0] / 1080)
    workers = sorted({planned.slot.worker for planned in blocks})
    for planned in blocks:
        colour = _WORKER_COLOURS[workers.index(planned.slot.worker) % _COLOURS]
        left, top, right, bottom = planned.block.xyxy
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, round(2 * unit))
        variant = planned.request.variant
        text = f"{planned.slot}" + (f" {variant}" if variant else "")
        _label(canvas, text, (left, top), colour, 0.45 * unit)
    for box, class_id in zip(detections.xyxy, detections.class_id, strict=True):
        colour = _CLASS_COLOURS[int(class_id) % _COLOURS]
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, max(1, round(1.5 * unit)))
    for k, class_id in enumerate(sorted(set(detections.class_id.tolist()))):
        name = labels[class_id] if class_id < len(labels) else str(class_id)
        count = int((detections.class_id == class_id).sum())
        place = (round(8 * unit), round((34 + 24 * k) * unit))
        _label(canvas, f"{count} {name}", place, _CLASS_COLOURS[class_id % _COLOURS], 0.5 * unit)
    if caption:
        _label(canvas, caption, (round(8 * unit), round(8 * unit)), (245, 245, 245), 0.55 * unit)
    return canvas
