"""Annotated frames written as a rosbag2: compressed images with ``ground_truth``.

The annotations are as ``annotation`` says, their class names on ``ground_truth/label_info``.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from re_pose_ros.bags import BagWriter, qos_profile, typestore
from re_pose_ros.bags.reading import COMPRESSED_IMAGE
from re_pose_ros.datasets.annotation import entries_of
from re_pose_ros.datasets.bag import (
    DETECTIONS_TYPE,
    IMAGE_TOPIC,
    LABELS,
    LABELS_TYPE,
    TRUTH_TOPIC,
)
from re_pose_ros.datasets.dataset import AnnotatedFrames, Dataset, read_image_file
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.image_codec import encode_jpeg

DEFAULT_RATE_HZ = 10.0

# A header without time reads as "no stamp".
_FIRST_STAMP_NS = 1_000_000_000
_SIGNATURES = {b"\xff\xd8": "jpeg", b"\x89P": "png"}
_Picture = tuple[int | None, str, GroundTruth, str, NDArray[np.uint8]]


def write_bag(
    frames: AnnotatedFrames,
    path: str | Path,
    *,
    rate: float | None = None,
    storage: str = "mcap",
    jpeg_quality: int | None = None,
) -> None:
    """Write annotated frames as a new rosbag2 that ``open_dataset`` reads; progress on stderr.

    It has ``/image_raw/compressed``, ``/ground_truth`` and ``/ground_truth/label_info``. What was
    written before an interruption is a readable bag.

    Args:
        frames: what to write. JPEG and PNG files of a ``Dataset`` go in as they are.
        path: as of ``BagWriter``: ``*.mcap`` for a bare file, else the bag's folder.
        rate: frames per second; None keeps the frames' own stamps, moved on where they do not
            rise, and takes 10 where there are none. Stamps of frames without begin at one second.
        storage: ``mcap`` or ``sqlite3``.
        jpeg_quality: 1 to 100, for images that are no JPEG files; None makes them PNG, so that
            pixels stay.

    Raises:
        InputError: the bag exists or cannot be written, or an image cannot be read.
    """
    if rate is not None and not 1e-3 <= rate <= 1e6:
        raise InputError(f"rate is {rate:g}; it has to be from 0.001 to 1000000")
    if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
        raise InputError(f"JPEG quality is {jpeg_quality}; it has to be from 1 to 100")
    pictures = tqdm(
        _pictures(frames, jpeg_quality), "writing", len(frames), unit="frame", disable=None
    )
    try:
        with BagWriter(path, storage=storage) as bag, pictures:
            _write(bag, frames.labels, pictures, _Clock(rate))
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"the bag {path} cannot be written: {error}") from error


def _write(
    bag: BagWriter, labels: Sequence[str], pictures: Iterable[_Picture], clock: _Clock
) -> None:
    types = typestore().types
    for number, (own_ns, frame_id, truth, kind, data) in enumerate(pictures):
        stamp_ns = clock.stamp(own_ns)
        if number == 0:
            latched = qos_profile(depth=1, latched=True)
            names = _label_message(labels, stamp_ns)
            bag.write(f"{TRUTH_TOPIC}/{LABELS}", LABELS_TYPE, names, stamp_ns, qos=latched)
        # Before its image: an image without would be left out by readers, with a warning.
        annotation = truth_message(truth, len(labels), stamp_ns, frame_id)
        bag.write(TRUTH_TOPIC, DETECTIONS_TYPE, annotation, stamp_ns)
        text = f"bgr8; {kind} compressed bgr8"
        image = types[COMPRESSED_IMAGE](_header(stamp_ns, frame_id), text, data)
        bag.write(IMAGE_TOPIC, COMPRESSED_IMAGE, image, stamp_ns)


class _Clock:
    """Stamps that rise, from those that frames have or, with a rate, do not need to have."""

    def __init__(self, rate: float | None) -> None:
        self._own = rate is None
        self._period_ns = round(1e9 / (rate or DEFAULT_RATE_HZ))
        self._last_ns = self._shift_ns = 0

    def stamp(self, own_ns: int | None) -> int:
        stamp_ns = self._last_ns + self._period_ns if self._last_ns else _FIRST_STAMP_NS
        if self._own and own_ns is not None:
            if own_ns + self._shift_ns <= self._last_ns:
                self._shift_ns = stamp_ns - own_ns
            stamp_ns = own_ns + self._shift_ns
        self._last_ns = stamp_ns
        return stamp_ns


def _pictures(frames: AnnotatedFrames, jpeg_quality: int | None) -> Iterator[_Picture]:
    """Stamp, frame_id, truth, and format and bytes of the image; files are decoded if need be."""
    if not isinstance(frames, Dataset):
        yield from _encoded(frames, jpeg_quality)
        return
    for files, group in itertools.groupby(frames.frames, key=lambda ref: ref.index is None):
        refs = tuple(group)
        if not files:
            yield from _encoded(replace(frames, frames=refs), jpeg_quality)
            continue
        for ref in refs:
            data = read_image_file(ref.path)
            kind = _SIGNATURES.get(data[:2])
            if kind == "jpeg" or (kind == "png" and jpeg_quality is None):
                yield ref.stamp_ns, ref.frame_id, ref.truth, kind, np.frombuffer(data, np.uint8)
            else:
                yield from _encoded(replace(frames, frames=(ref,)), jpeg_quality)


def _encoded(frames: AnnotatedFrames, jpeg_quality: int | None) -> Iterator[_Picture]:
    for frame, truth in frames:
        if jpeg_quality is None:
            # Stronger compression of camera images costs a second at 4K and saves a tenth.
            settings = [cv2.IMWRITE_PNG_COMPRESSION, 1]
            kind, data = "png", cv2.imencode(".png", frame.image, settings)[1].reshape(-1)
        else:
            kind = "jpeg"
            data = np.frombuffer(encode_jpeg(frame.image, jpeg_quality), np.uint8)
        yield frame.stamp_ns, frame.frame_id, truth, kind, np.asarray(data, np.uint8)


def truth_message(truth: GroundTruth, classes: int, stamp_ns: int, frame_id: str) -> Any:
    """A ``vision_msgs/Detection2DArray`` of ``typestore()``, as ``annotation`` says.

    Args:
        truth: of one frame.
        classes: how many classes there are.
        stamp_ns: of the image.
        frame_id: of the image.
    """
    types = typestore().types
    head = _header(stamp_ns, frame_id)
    detections = []
    for entry in entries_of(truth, classes):
        x1, y1, x2, y2 = entry.box
        point = types["vision_msgs/msg/Point2D"]((x1 + x2) / 2, (y1 + y2) / 2)
        centre = types["vision_msgs/msg/Pose2D"](point, 0.0)
        bounds = types["vision_msgs/msg/BoundingBox2D"](centre, x2 - x1, y2 - y1)
        results = [_hypothesis(class_id, score) for class_id, score in entry.hypotheses]
        detections.append(types["vision_msgs/msg/Detection2D"](head, results, bounds, entry.id))
    return types[DETECTIONS_TYPE](head, detections)


def _header(stamp_ns: int, frame_id: str) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return types["std_msgs/msg/Header"](time, frame_id)


def _label_message(labels: Sequence[str], stamp_ns: int) -> Any:
    types = typestore().types
    classes = [types["vision_msgs/msg/VisionClass"](k, name) for k, name in enumerate(labels)]
    return types[LABELS_TYPE](_header(stamp_ns, ""), classes, 0.0)


def _hypothesis(class_id: str, score: float) -> Any:
    types = typestore().types
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    uncertain = types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36))
    hypothesis = types["vision_msgs/msg/ObjectHypothesis"](class_id, score)
    return types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis, uncertain)
