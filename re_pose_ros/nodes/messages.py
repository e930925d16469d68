"""Our value types as ROS messages and back; what comes in is not trusted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

from re_pose_ros.datasets.annotation import entries_of
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant
from re_pose_ros.sources.calibration import Calibration

JPEG_FORMAT = "bgr8; jpeg compressed bgr8"
MAX_PIXEL = 1e6
"""Coordinates from here on are taken for garbage."""

_CLASS_NUMBER = re.compile(r"[0-9]{1,5}")


def to_stamp(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def from_stamp(stamp: Time) -> int:
    """Nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def header(stamp_ns: int, frame_id: str) -> Header:
    return Header(stamp=to_stamp(stamp_ns), frame_id=frame_id)


def _bounding_box(x1: float, y1: float, x2: float, y2: float) -> BoundingBox2D:
    centre = Pose2D(position=Point2D(x=(x1 + x2) / 2, y=(y1 + y2) / 2), theta=0.0)
    # rclpy aborts the process where a float field is given an int.
    return BoundingBox2D(center=centre, size_x=float(x2 - x1), size_y=float(y2 - y1))


def _corners(box: BoundingBox2D) -> tuple[float, float, float, float]:
    x, y = box.center.position.x, box.center.position.y
    return x - box.size_x / 2, y - box.size_y / 2, x + box.size_x / 2, y + box.size_y / 2


def _hypothesis(class_id: str, score: float) -> ObjectHypothesisWithPose:
    return ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(class_id=class_id, score=float(score))
    )


def detections_message(
    detections: Detections, stamp_ns: int, frame_id: str, ids: Sequence[str] = ()
) -> Detection2DArray:
    """``class_id`` is the number that ``label_info`` names; ``ids`` gives each detection's id."""
    head = header(stamp_ns, frame_id)
    boxes = detections.xyxy.astype(float).tolist()
    message = Detection2DArray(header=head)
    message.detections = [
        Detection2D(
            header=head,
            bbox=_bounding_box(*box),
            results=[_hypothesis(str(int(class_id)), score)],
            id=ids[k] if ids else "",
        )
        for k, (box, score, class_id) in enumerate(
            zip(boxes, detections.confidence, detections.class_id, strict=True)
        )
    ]
    return message


def truth_message(
    truth: GroundTruth, classes: int, stamp_ns: int, frame_id: str
) -> Detection2DArray:
    """As ``datasets.annotation`` says; ``classes`` is how many there are."""
    head = header(stamp_ns, frame_id)
    message = Detection2DArray(header=head)
    message.detections = [
        Detection2D(
            header=head,
            bbox=_bounding_box(*entry.box),
            results=[_hypothesis(class_id, score) for class_id, score in entry.hypotheses],
            id=entry.id,
        )
        for entry in entries_of(truth, classes)
    ]
    return message


def read_detections(
    message: Detection2DArray, class_number: Mapping[str, int] | None = None
) -> tuple[Detections, int]:
    """The usable detections in the message's own coordinates, and how many were malformed.

    ``class_number`` maps the class names of detectors that write names for numbers.
    """
    rows: list[tuple[tuple[float, float, float, float], float, int]] = []
    names = class_number or {}
    for detection in message.detections:
        if not detection.results:
            continue
        best = max(detection.results, key=lambda result: result.hypothesis.score).hypothesis
        box = _corners(detection.bbox)
        number = names.get(best.class_id)
        if number is None and _CLASS_NUMBER.fullmatch(best.class_id):
            number = int(best.class_id)
        usable = all(map(math.isfinite, (*box, best.score))) and box[2] > box[0] and box[3] > box[1]
        if usable and number is not None and number < 2**16 and abs(max(box, key=abs)) < MAX_PIXEL:
            rows.append((box, min(max(best.score, 0.0), 1.0), number))
    malformed = len(message.detections) - len(rows)
    if not rows:
        return Detections.empty(), malformed
    boxes, scores, classes = zip(*rows, strict=True)
    return Detections.of(boxes, scores, classes), malformed


def class_names(message: Detection2DArray) -> set[str]:
    """The classes that are given by name and not by number."""
    ids = {r.hypothesis.class_id for d in message.detections for r in d.results}
    return {name for name in ids if name and not _CLASS_NUMBER.fullmatch(name)}


def plan_message(plan: Plan) -> Detection2DArray:
    """One Detection2D per block: id = slot, bbox = ROI, hypothesis = variant and its accuracy."""
    head = header(plan.stamp_ns, plan.frame_id)
    message = Detection2DArray(header=head)
    for planned in plan.blocks:
        variant = planned.request.variant
        message.detections.append(
            Detection2D(
                header=head,
                bbox=_bounding_box(*planned.block.xyxy),
                results=[
                    _hypothesis(
                        "" if variant is None else str(variant), planned.request.expected_accuracy
                    )
                ],
                id=str(planned.slot),
            )
        )
    return message


def read_plan(message: Detection2DArray) -> Plan:
    """InputError where the message is no plan."""
    blocks = []
    try:
        for detection in message.detections:
            x1, y1, x2, y2 = _corners(detection.bbox)
            if max(abs(x1), abs(y1), abs(x2), abs(y2)) >= MAX_PIXEL:
                raise ValueError(f"the block of {detection.id} reaches beyond {MAX_PIXEL:g} pixels")
            block = Block(round(x1), round(y1), round(x2 - x1), round(y2 - y1))
            hypothesis = detection.results[0].hypothesis if detection.results else None
            variant = (
                Variant.parse(hypothesis.class_id) if hypothesis and hypothesis.class_id else None
            )
            accuracy = float(hypothesis.score) if hypothesis else 0.0
            blocks.append(
                PlannedBlock(Slot.parse(detection.id), BlockRequest(block, variant, accuracy))
            )
        return Plan(from_stamp(message.header.stamp), message.header.frame_id, tuple(blocks))
    except (ValueError, OverflowError) as error:
        raise InputError(f"not a plan: {error}") from None


def camera_info_message(
    calibration: Calibration, stamp_ns: int, frame_id: str, roi: Block | None = None
) -> CameraInfo:
    """The camera's calibration; ``roi`` in full-resolution pixels, as image_proc's crop node."""
    message = CameraInfo(
        header=header(stamp_ns, frame_id),
        width=calibration.width,
        height=calibration.height,
        distortion_model=calibration.distortion_model,
        d=list(calibration.d),
        k=np.array(calibration.k, float),
        r=np.array(calibration.r, float),
        p=np.array(calibration.p, float),
    )
    if roi is not None:
        message.roi.x_offset, message.roi.y_offset = roi.x, roi.y
        message.roi.width, message.roi.height = roi.width, roi.height
        message.roi.do_rectify = False
    return message


def read_calibration(message: CameraInfo) -> Calibration:
    return Calibration(
        width=message.width,
        height=message.height,
        camera_name="",
        distortion_model=message.distortion_model,
        d=tuple(message.d),
        k=tuple(message.k),
        r=tuple(message.r),
        p=tuple(message.p),
    )


def read_roi(message: CameraInfo) -> Block | None:
    """The region of interest; None where the message has none (the whole frame)."""
    roi = message.roi
    if not roi.width or not roi.height:
        return None
    return Block(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))


def compressed_message(
    format: str, data: bytes | memoryview, stamp_ns: int, frame_id: str
) -> CompressedImage:
    message = CompressedImage(header=header(stamp_ns, frame_id), format=format)
    # Setting .data = bytes would copy element by element: a second for a large image.
    message.data.frombytes(data)
    return message


def label_message(
    labels: Sequence[str], threshold: float, stamp_ns: int, frame_id: str
) -> LabelInfo:
    return LabelInfo(
        header=header(stamp_ns, frame_id),
        class_map=[VisionClass(class_id=k, class_name=name) for k, name in enumerate(labels)],
        threshold=float(threshold),
    )


def status_message(
    name: str, level: bytes, message: str, values: Mapping[str, object], hardware_id: str = ""
) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=str(key), value=str(value)) for key, value in values.items()],
    )


def diagnostics_message(stamp_ns: int, statuses: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    return DiagnosticArray(header=header(stamp_ns, ""), status=list(statuses))
