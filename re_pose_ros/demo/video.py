"""The annotated video: blocks, boxes, which worker, latency."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.demo.records import FrameRecord, Recording
from re_pose_ros.detections import Detections
from re_pose_ros.draw import draw_frame
from re_pose_ros.errors import InputError
from re_pose_ros.sources import Source


def write_video(path: Path, source: Source, recording: Recording) -> int:
    """Draw the recorded frames over ``source``, read from its beginning; returns how many.

    InputError where the video cannot be written.
    """
    by_index = {record.index: record for record in recording.fused()}
    size = source.size
    rate = source.rate if source.rate > 0 else 10.0
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    if not writer.isOpened():
        raise InputError(f"{path} cannot be written as video; is the folder writable?")
    drawn = 0
    try:
        with tqdm(total=len(by_index), desc="drawing", unit="frame", disable=None) as progress:
            for frame in source:
                record = by_index.pop(frame.index, None)
                if record is not None:
                    image = _draw(frame.image, record, recording.labels)
                    writer.write(image if frame.size == size else cv2.resize(image, size))
                    drawn += 1
                    progress.update()
                if not by_index:
                    break
    finally:
        writer.release()
    return drawn


def _draw(
    image: NDArray[np.uint8], record: FrameRecord, labels: tuple[str, ...]
) -> NDArray[np.uint8]:
    blocks = record.plan.blocks if record.plan is not None else ()
    detections = record.detections or Detections.empty()
    total = record.value("fusion", "total_ms")
    parts = [f"frame {record.index}", f"{len(detections)} objects", f"{len(blocks)} blocks"]
    if total is not None:
        parts.append(f"{total:.0f} ms")
    missing = record.telemetry.get("fusion", {}).get("missing")
    if missing:
        parts.append(f"without {missing}")
    return draw_frame(image, blocks, detections, labels, "  ".join(parts))
