"""The annotated video: clusters, blocks, boxes, what was missed, which worker, time used."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.demo.judge import Judge
from re_pose_ros.detections import Detections
from re_pose_ros.draw import draw_frame
from re_pose_ros.errors import InputError
from re_pose_ros.graph.records import FrameRecord, Recording
from re_pose_ros.sources import Source

WIDTH = 1920
"""Greatest width of the video in pixels."""

_ZOOM = 2.0
_ZOOM_SHARE = 0.3
# VP9 plays in browsers and takes ten times as long to write.
_SHORT, _CODECS = 300, {True: ("avc1", "vp09", "mp4v"), False: ("avc1", "mp4v")}


def write_video(
    path: Path, source: Source, recording: Recording, judge: Judge | None = None
) -> int:
    """Draw the recorded frames over ``source``, read from its beginning; returns how many.

    Frames wider than ``WIDTH`` are scaled down, and the part with the most objects is shown
    enlarged in a corner.

    Args:
        path: of the MP4 file.
        source: the frames, with their truth where ``judge`` is given.
        recording: what came of them.
        judge: is shown all frames up to the last that was published, those without result too.

    Raises:
        InputError: the video cannot be written.
    """
    by_index = {record.index: record for record in recording.fused() if record.index >= 0}
    last = max(by_index, default=-1)
    if recording.frames_published is not None:
        last = max((record.index for record in recording.frames.values()), default=-1)
    scale = min(1.0, WIDTH / source.size[0])
    size = tuple(max(1, round(side * scale)) for side in source.size)
    rate = source.rate if source.rate > 0 else 10.0
    writer = _open(path, rate, (size[0], size[1]), short=len(by_index) <= _SHORT)
    zoomed = _crowded(recording, source.size, scale)
    drawn = 0
    try:
        with tqdm(total=len(by_index), desc="drawing", unit="frame", disable=None) as progress:
            for frame in source:
                if frame.index > last:
                    break
                record = by_index.get(frame.index)
                found = None if record is None else record.detections
                missed = None
                if judge is not None and frame.truth is not None:
                    missed = judge.add(found, frame.truth)
                if record is None:
                    continue
                labels = recording.labels
                share = size[0] / frame.size[0]
                picture = _draw(frame.image, record, labels, missed, share, _caption(record, judge))
                if zoomed is not None and frame.size == source.size:
                    _inset(picture, frame.image, zoomed, record, labels, missed)
                if picture.shape[1::-1] != size:
                    picture = np.asarray(cv2.resize(picture, size), np.uint8)
                writer.write(picture)
                drawn += 1
                progress.update()
    finally:
        writer.release()
    return drawn


def _open(path: Path, rate: float, size: tuple[int, int], *, short: bool) -> cv2.VideoWriter:
    """With the first codec that this OpenCV has."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # about codecs that are not there
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        for codec in _CODECS[short]:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
            if writer.isOpened():
                return writer
    finally:
        cv2.utils.logging.setLogLevel(level)
    raise InputError(f"{path} cannot be written as video; is the folder writable?")


def _caption(record: FrameRecord, judge: Judge | None) -> str:
    detections, plan = record.detections or Detections.empty(), record.plan
    parts = [f"frame {record.index}", f"{len(detections)} objects"]
    parts.append(f"{len(plan.blocks) if plan is not None else 0} blocks")
    total = record.value("fusion", "total_ms")
    if total is not None:
        parts.append(f"{total:.0f} ms")
    map50 = None if judge is None else judge.map50()
    if map50 is not None:
        parts.append(f"mAP50 so far {map50:.2f}")
    missing = record.telemetry.get("fusion", {}).get("missing")
    if missing:
        parts.append(f"without {missing}")
    return "   ".join(parts)


def _draw(
    image: NDArray[np.uint8],
    record: FrameRecord,
    labels: tuple[str, ...],
    missed: NDArray[np.float32] | None,
    scale: float,
    caption: str,
) -> NDArray[np.uint8]:
    blocks = record.plan.blocks if record.plan is not None else ()
    found = record.detections or Detections.empty()
    return draw_frame(
        image,
        blocks,
        found,
        labels,
        caption,
        missed=missed,
        clusters=record.clusters,
        outcome=record.outcome,
        scale=scale,
    )


def _crowded(
    recording: Recording, size: tuple[int, int], scale: float
) -> tuple[int, int, int, int] | None:
    """The part of the frame where most was found, x1 y1 x2 y2; None where nothing is scaled down.

    Its width is such that it fills ``_ZOOM_SHARE`` of the video's at ``_ZOOM`` times the size.
    """
    fused = [r.detections for r in recording.fused() if r.detections is not None]
    found = Detections.concatenate(fused).xyxy
    if scale == 1.0 or not len(found):
        return None
    wide, high = (round(side * scale * _ZOOM_SHARE / _ZOOM) for side in size)
    centres = (found[:, :2] + found[:, 2:]) / 2
    bins = [np.arange(0, side + step, step) for side, step in zip(size, (wide, high), strict=True)]
    counts, *_ = np.histogram2d(centres[:, 0], centres[:, 1], bins)
    column, row = np.unravel_index(int(counts.argmax()), counts.shape)
    x = min(int(column) * wide, size[0] - wide)
    y = min(int(row) * high, size[1] - high)
    return x, y, x + wide, y + high


def _inset(
    picture: NDArray[np.uint8],
    image: NDArray[np.uint8],
    part: tuple[int, int, int, int],
    record: FrameRecord,
    labels: tuple[str, ...],
    missed: NDArray[np.float32] | None,
) -> None:
    """``part`` of the image, enlarged, into the corner of ``picture`` that is farthest from it."""
    x1, y1, x2, y2 = part
    shift = np.array([x1, y1, x1, y1], np.float32)
    inside = _within(record, part)
    found = Detections(inside.xyxy - shift, inside.confidence, inside.class_id, inside.block)
    lost = None if missed is None else missed - shift
    crop = np.ascontiguousarray(image[y1:y2, x1:x2])
    enlarged = draw_frame(crop, (), found, labels, missed=lost, scale=_ZOOM, legend=False)
    high, wide = enlarged.shape[:2]
    left = x1 + x2 > image.shape[1]
    x = 8 if left else picture.shape[1] - wide - 8
    y = picture.shape[0] - high - 8
    picture[y : y + high, x : x + wide] = enlarged
    cv2.rectangle(picture, (x, y), (x + wide, y + high), (245, 245, 245), 2)
    share = picture.shape[1] / image.shape[1]
    corners = [round(edge * share) for edge in part]
    cv2.rectangle(picture, tuple(corners[:2]), tuple(corners[2:]), (245, 245, 245), 1)


def _within(record: FrameRecord, part: tuple[int, int, int, int]) -> Detections:
    found = record.detections or Detections.empty()
    x1, y1, x2, y2 = part
    boxes = found.xyxy
    touching = (boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)
    return found.take(touching)
