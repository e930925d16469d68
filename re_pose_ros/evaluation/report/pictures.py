"""Pictures of the frames that went worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.detections import Detections
from re_pose_ros.draw import draw_dashed
from re_pose_ros.evaluation.by_size import match
from re_pose_ros.evaluation.data import EvaluationData
from re_pose_ros.evaluation.outcome import FrameOutcome
from re_pose_ros.evaluation.scores import Scoring
from re_pose_ros.geometry import FloatArray
from re_pose_ros.image_codec import encode_jpeg

WIDTH = 1600
"""Most pixels across; 4K frames are shrunk to it."""

QUALITY = 78

COLOURS = {
    "hit": "#22c55e",
    "missed": "#ff2d9b",
    "false": "#ffb020",
    "ignored": "#94a3b8",
    "block": "#7dd3fc",
    "cluster": "#e2e8f0",
}
"""Of what is drawn, as CSS has them."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Picture:
    """One frame of one method with what was right and wrong in it.

    Attributes:
        method: its name.
        name: of the frame.
        caption: counts, blocks, latency and use of the budget.
        jpeg: the encoded picture.
        size: its (width, height) in pixels.
    """

    method: str
    name: str
    caption: str
    jpeg: bytes
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Marks:
    """Boxes (N, 4) by what they are, in frame pixels."""

    hit: FloatArray
    missed: FloatArray
    false: FloatArray
    ignored: FloatArray

    @property
    def errors(self) -> int:
        return len(self.missed) + len(self.false)


def take_pictures(
    data: EvaluationData,
    outcomes: Mapping[str, Sequence[FrameOutcome]],
    scoring: Scoring,
    count: int,
) -> list[Picture]:
    """The frames with most missed and false objects of each method, the worst first.

    The images are read from ``data`` once more.

    Args:
        data: what was evaluated on.
        outcomes: by method.
        scoring: how hits are counted.
        count: frames per method.

    Raises:
        InputError: an image cannot be read again.
    """
    wanted: dict[int, list[tuple[int, str, FrameOutcome, _Marks]]] = {}
    for method, rows in outcomes.items():
        marked = [(outcome, _marks(outcome, scoring)) for outcome in rows]
        marked = [(outcome, marks) for outcome, marks in marked if marks.errors]
        marked.sort(key=lambda pair: (-pair[1].errors, pair[0].index))
        for rank, (outcome, marks) in enumerate(marked[:count]):
            wanted.setdefault(outcome.index, []).append((rank, method, outcome, marks))
    order = list(outcomes)
    taken: list[tuple[int, int, Picture]] = []
    positions = sorted(wanted)
    frames = tqdm(data.some(positions), total=len(positions), desc="pictures", disable=None)
    # An interrupted run may have read less than it asks for again.
    for position, frame in zip(positions, frames, strict=False):
        for rank, method, outcome, marks in wanted[position]:
            picture = _picture(frame.image, method, outcome, marks)
            taken.append((order.index(method), rank, picture))
    return [picture for _, _, picture in sorted(taken, key=lambda entry: entry[:2])]


def _marks(outcome: FrameOutcome, scoring: Scoring) -> _Marks:
    truth = scoring.truth(outcome)
    found = scoring.detections(outcome) or Detections.empty()
    found = found.take(found.confidence.astype(float) >= scoring.confidence)
    matches = match(found, truth)
    hit = matches.truth >= 0
    return _Marks(
        found.xyxy[hit],
        truth.xyxy[matches.missed],
        found.xyxy[~hit & ~matches.excused],
        np.vstack([truth.xyxy[truth.ignore], truth.ignored_regions]),
    )


def _picture(
    image: NDArray[np.uint8], method: str, outcome: FrameOutcome, marks: _Marks
) -> Picture:
    height, width = image.shape[:2]
    scale = min(1.0, WIDTH / width)
    size = (round(width * scale), max(1, round(height * scale)))
    # Of its own, as several methods may show the same frame.
    canvas = np.array(
        image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    for planned in outcome.plan.blocks if outcome.plan is not None else ():
        _rectangle(canvas, planned.block.xyxy, scale, "block", 1)
        variant, worker = planned.request.variant, planned.slot.worker
        corner = (round(planned.block.x * scale) + 4, round(planned.block.y * scale) + 14)
        _text(canvas, worker if variant is None else f"{variant.input_size} {worker}", corner)
    for cluster in outcome.clusters:
        draw_dashed(canvas, cluster, scale, _bgr("cluster"))
    for kind, boxes, thickness in (
        ("ignored", marks.ignored, 1),
        ("hit", marks.hit, 1),
        ("false", marks.false, 2),
        ("missed", marks.missed, 2),
    ):
        for box in boxes.tolist():
            _rectangle(canvas, box, scale, kind, thickness)
    parts = [
        f"{len(marks.hit)} found, {len(marks.missed)} missed, {len(marks.false)} false",
        "no plan" if outcome.plan is None else _counted(len(outcome.plan.blocks), "block"),
    ]
    if outcome.latency_ms is not None:
        parts.append(f"{outcome.latency_ms:.0f} ms")
    if outcome.expected is not None:
        used = outcome.expected
        parts.append(
            f"makespan {used.happened_ms:.0f} ms of {used.budget_ms:.0f} "
            f"({used.predicted_ms:.0f} predicted)"
        )
    if outcome.detections is None:
        parts.append("late" if outcome.late else "dropped")
    jpeg = bytes(encode_jpeg(canvas, QUALITY))
    return Picture(method, outcome.name, ", ".join(parts), jpeg, size)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _bgr(kind: str) -> tuple[int, int, int]:
    text = COLOURS[kind]
    return int(text[5:7], 16), int(text[3:5], 16), int(text[1:3], 16)


def _rectangle(
    canvas: NDArray[np.uint8],
    box: Sequence[float],
    scale: float,
    kind: str,
    thickness: int,
) -> None:
    x1, y1, x2, y2 = (round(v * scale) for v in box)
    cv2.rectangle(canvas, (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1)), _bgr(kind), thickness)


def _text(canvas: NDArray[np.uint8], text: str, corner: tuple[int, int]) -> None:
    for colour, thickness in (((30, 30, 30), 3), (_bgr("block"), 1)):
        cv2.putText(canvas, text, corner, _FONT, 0.42, colour, thickness, cv2.LINE_AA)
