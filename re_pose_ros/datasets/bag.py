"""Datasets as rosbag2 recordings: compressed images with ``ground_truth`` and ``label_info``.

``ground_truth`` is one ``vision_msgs/Detection2DArray`` per image, with the image's stamp. Of an
annotated object, ``bbox`` is the box in pixels, ``id`` the track id (empty where unknown), and the
hypothesis has the class number that ``label_info`` names, with the visibility for a score. What
the hypotheses cannot say is said by a first hypothesis with a word for class:

- ``ignored``, followed by the class: need not be found (``GroundTruth.ignore``);
- ``ignored`` alone: an ignored region;
- ``unannotated``, followed by class numbers: these were not annotated in this frame; no box.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.bags import BagWriter, qos_profile, typestore
from re_pose_ros.bags.reading import COMPRESSED_IMAGE, IMAGE, Bag, open_bag
from re_pose_ros.datasets.dataset import Dataset, FrameRef, read_image_file
from re_pose_ros.datasets.text import MAX_PIXEL
from re_pose_ros.datasets.truth import UNKNOWN_TRACK, GroundTruth
from re_pose_ros.errors import InputError

IMAGE_TOPIC = "/image_raw/compressed"
TRUTH_TOPIC = "/ground_truth"
LABEL_TOPIC = "/label_info"
IGNORED, UNANNOTATED = "ignored", "unannotated"

_DETECTIONS = "vision_msgs/msg/Detection2DArray"
_LABELS = "vision_msgs/msg/LabelInfo"
# A header without time reads as "no stamp".
_FIRST_STAMP_NS = 1_000_000_000
_SIGNATURES = {b"\xff\xd8": "jpeg", b"\x89P": "png"}

_logger = logging.getLogger(__name__)


def write_bag(
    dataset: Dataset, path: str | Path, *, rate: float = 10.0, storage: str = "mcap"
) -> None:
    """Write a dataset as a new rosbag2 with ``/image_raw/compressed`` and its ground truth.

    JPEG and PNG files go in as they are; other images as PNG, so that pixels stay. Stamps are the
    dataset's own where they rise from frame to frame, else they begin at one second.

    Args:
        dataset: what to write.
        path: as of ``BagWriter``: ``*.mcap`` for a bare file, else the bag's folder.
        rate: frames per second where the dataset has no stamps.
        storage: ``mcap`` or ``sqlite3``.

    Raises:
        InputError: the bag exists or cannot be written, or an image cannot be read.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"rate is {rate}; it has to be greater than 0")
    stamps = _stamps(dataset.frames, rate)
    with BagWriter(path, storage=storage) as bag:
        first_ns = stamps[0] if stamps else _FIRST_STAMP_NS
        latched = qos_profile(depth=1, latched=True)
        bag.write(
            LABEL_TOPIC, _LABELS, _label_message(dataset.labels, first_ns), first_ns, qos=latched
        )
        images = _encoded(dataset)
        for ref, stamp_ns, (kind, data) in zip(dataset.frames, stamps, images, strict=True):
            head = _header(stamp_ns, ref.frame_id)
            text = f"bgr8; {kind} compressed bgr8"
            image = typestore().types[COMPRESSED_IMAGE](head, text, data)
            bag.write(IMAGE_TOPIC, COMPRESSED_IMAGE, image, stamp_ns)
            truth = truth_message(ref.truth, len(dataset.labels), stamp_ns, ref.frame_id)
            bag.write(TRUTH_TOPIC, _DETECTIONS, truth, stamp_ns)


def _stamps(frames: Sequence[FrameRef], rate: float) -> list[int]:
    own = [ref.stamp_ns for ref in frames if ref.stamp_ns]
    if len(own) == len(frames) and all(a < b for a, b in itertools.pairwise(own)):
        return own
    return [_FIRST_STAMP_NS + round(k * 1e9 / rate) for k in range(len(frames))]


def _encoded(dataset: Dataset) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Format and bytes of each image; only what is no JPEG or PNG file is decoded."""
    for files, group in itertools.groupby(dataset.frames, key=lambda ref: ref.index is None):
        refs = tuple(group)
        if not files:
            for frame, _ in Dataset(dataset.name, dataset.labels, refs):
                yield "png", _png(frame.image)
            continue
        for ref in refs:
            data = read_image_file(ref.path)
            kind = _SIGNATURES.get(data[:2])
            if kind is not None:
                yield kind, np.frombuffer(data, np.uint8)
            else:
                ((frame, _),) = Dataset(dataset.name, dataset.labels, (ref,))
                yield "png", _png(frame.image)


def _png(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Stronger compression of camera images costs a second at 4K and saves a tenth.
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].reshape(-1)


def _header(stamp_ns: int, frame_id: str) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return types["std_msgs/msg/Header"](time, frame_id)


def _label_message(labels: Sequence[str], stamp_ns: int) -> Any:
    types = typestore().types
    classes = [types["vision_msgs/msg/VisionClass"](k, name) for k, name in enumerate(labels)]
    return types[_LABELS](_header(stamp_ns, ""), classes, 0.0)


def truth_message(truth: GroundTruth, classes: int, stamp_ns: int, frame_id: str) -> Any:
    """A ``vision_msgs/Detection2DArray`` of ``typestore()``, as the module says.

    Args:
        truth: of one frame.
        classes: how many classes the dataset has.
        stamp_ns: of the image.
        frame_id: of the image.
    """
    types = typestore().types
    head = _header(stamp_ns, frame_id)

    def entry(box: Sequence[float], hypotheses: Sequence[tuple[str, float]], name: str) -> Any:
        x1, y1, x2, y2 = box
        point = types["vision_msgs/msg/Point2D"]((x1 + x2) / 2, (y1 + y2) / 2)
        centre = types["vision_msgs/msg/Pose2D"](point, 0.0)
        bounds = types["vision_msgs/msg/BoundingBox2D"](centre, x2 - x1, y2 - y1)
        results = [_hypothesis(class_id, score) for class_id, score in hypotheses]
        return types["vision_msgs/msg/Detection2D"](head, results, bounds, name)

    entries = []
    for k, box in enumerate(truth.xyxy.astype(float).tolist()):
        track = int(truth.track_id[k])
        results = [(str(int(truth.class_id[k])), float(truth.visibility[k]))]
        if truth.ignore[k]:
            results.insert(0, (IGNORED, 1.0))
        entries.append(entry(box, results, "" if track == UNKNOWN_TRACK else str(track)))
    regions = truth.ignored_regions.astype(float).tolist()
    entries += [entry(box, [(IGNORED, 1.0)], "") for box in regions]
    if truth.annotated is not None:
        missing = [(str(k), 0.0) for k in range(classes) if k not in truth.annotated]
        entries.append(entry((0.0, 0.0, 0.0, 0.0), [(UNANNOTATED, 1.0), *missing], ""))
    return types[_DETECTIONS](head, entries)


def _hypothesis(class_id: str, score: float) -> Any:
    types = typestore().types
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    uncertain = types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36))
    hypothesis = types["vision_msgs/msg/ObjectHypothesis"](class_id, score)
    return types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis, uncertain)


def read_bag(
    path: Path, *, images: str = "", ground_truth: str = TRUTH_TOPIC, labels: str = LABEL_TOPIC
) -> Dataset:
    """The annotated images of a rosbag2.

    Image and annotation belong together by their stamps; images without annotation are left out
    and counted in a warning. Classes may also be given by name; without ``label_info`` the names,
    or the numbers, that occur are the labels.

    Args:
        path: a bag folder or a bare ``.mcap`` or ``.db3`` file.
        images: image topic; empty takes ``/image_raw/compressed`` or the only one there is.
        ground_truth: topic of ``vision_msgs/Detection2DArray``.
        labels: topic of ``vision_msgs/LabelInfo``; it may be missing.

    Raises:
        InputError: the bag or a topic cannot be used, or annotations are malformed.
    """
    with open_bag(path) as bag:
        topic = _image_topic(bag, images)
        truth_topic = _topic(bag, ground_truth, (_DETECTIONS,), "ground_truth")
        annotated = _annotations(bag, truth_topic)
        names = _names(bag, labels) or _names_in_use(annotated)
        numbers = {name: k for k, name in enumerate(names)}
        numbers |= {str(k): k for k in range(len(names)) if str(k) not in numbers}
        place = f"{path}, {truth_topic}"
        truths = {
            stamp_ns: _read_truth(message, numbers, len(names), place)
            for stamp_ns, message in annotated.items()
        }
        frames = []
        bare = 0
        for index, stamp_ns, message in _messages(bag, topic):
            truth = truths.get(stamp_ns)
            if truth is None:
                bare += 1
                continue
            frames.append(FrameRef(path, truth, index, topic, stamp_ns, message.header.frame_id))
    if not frames:
        raise InputError(f"{path}: no stamp on {truth_topic} is that of an image on {topic}")
    if bare:
        _logger.warning("%s: %d images on %s are not annotated and left out", path, bare, topic)
    return Dataset(path.resolve().stem, names, tuple(frames))


def _topic(bag: Bag, name: str, kinds: Sequence[str], option: str) -> str:
    for topic in (name, f"/{name}"):
        if bag.types.get(topic) in kinds:
            return topic
    there = ", ".join(f"{t} ({kind})" for t, kind in sorted(bag.types.items())) or "nothing"
    kind = " or ".join(kinds)
    raise InputError(f"{bag.path} has no {kind} on {name}; {option}=TOPIC names it; it has {there}")


def _image_topic(bag: Bag, name: str) -> str:
    kinds = (IMAGE, COMPRESSED_IMAGE)
    there = [topic for topic, kind in bag.types.items() if kind in kinds]
    if not name and len(there) != 1:
        if len(there) > 1 and IMAGE_TOPIC not in there:
            every = ", ".join(sorted(there))
            raise InputError(f"{bag.path} has several image topics; images=TOPIC chooses: {every}")
        name = IMAGE_TOPIC
    return _topic(bag, name or there[0], kinds, "images")


def _messages(bag: Bag, topic: str) -> Iterator[tuple[int, int, Any]]:
    """Number, stamp in nanoseconds and content of the readable messages; others are counted."""
    corrupt = 0
    for index, (recorded_ns, data) in enumerate(bag.messages(topic)):
        try:
            message: Any = typestore().deserialize_cdr(memoryview(data), bag.types[topic])
        except Exception:  # rosbags lets the errors of all its parsers through
            corrupt += 1
            continue
        stamp = message.header.stamp
        yield index, stamp.sec * 1_000_000_000 + stamp.nanosec or recorded_ns, message
    if corrupt:
        _logger.warning("%s: %d corrupt messages on %s left out", bag.path, corrupt, topic)


def _annotations(bag: Bag, topic: str) -> dict[int, Any]:
    return {stamp_ns: message for _, stamp_ns, message in _messages(bag, topic)}


def _names(bag: Bag, topic: str) -> tuple[str, ...]:
    """The class names by number; empty where the bag has none. Gaps are named by their number."""
    found = next((t for t in (topic, f"/{topic}") if bag.types.get(t) == _LABELS), None)
    names: dict[int, str] = {}
    if found is not None:
        for _, _, message in _messages(bag, found):
            names = {int(entry.class_id): entry.class_name for entry in message.class_map}
    listed = tuple(names.get(k, str(k)) for k in range(max(names, default=-1) + 1))
    if len(set(listed)) < len(listed):
        raise InputError(f"{bag.path}: {found} names two classes the same")
    return listed


def _names_in_use(annotations: Mapping[int, Any]) -> tuple[str, ...]:
    used = {
        result.hypothesis.class_id
        for message in annotations.values()
        for detection in message.detections
        for result in detection.results
    } - {IGNORED, UNANNOTATED}
    if all(re.fullmatch("[0-9]{1,4}", name) for name in used):
        return tuple(str(k) for k in range(max(map(int, used), default=-1) + 1))
    return tuple(sorted(used))


def _read_truth(message: Any, numbers: Mapping[str, int], classes: int, place: str) -> GroundTruth:
    """``numbers`` has the classes by name and by number as text."""
    objects = _Objects()
    for detection in message.detections:
        ids = [result.hypothesis.class_id for result in detection.results]
        mark = ids[0] if ids and ids[0] in (IGNORED, UNANNOTATED) else ""
        results = detection.results[1:] if mark else detection.results
        if mark == UNANNOTATED:
            missing = {_number(r.hypothesis.class_id, numbers, place) for r in results}
            objects.annotated = tuple(k for k in range(classes) if k not in missing)
            continue
        corners = _corners(detection.bbox, place)
        if mark == IGNORED and not results:
            objects.regions.append(corners)
        elif results:
            best = max(results, key=lambda result: result.hypothesis.score).hypothesis
            objects.boxes.append(corners)
            objects.classes.append(_number(best.class_id, numbers, place))
            objects.ignore.append(mark == IGNORED)
            objects.tracks.append(_track(detection.id))
            objects.visibilities.append(min(max(best.score, 0.0), 1.0))
    return GroundTruth.of(
        objects.boxes,
        objects.classes,
        ignore=objects.ignore,
        track_id=objects.tracks,
        visibility=objects.visibilities,
        ignored_regions=objects.regions,
        annotated=objects.annotated,
    ).solid()


@dataclass
class _Objects:
    """The columns of a ground truth while they are collected."""

    boxes: list[tuple[float, ...]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)
    visibilities: list[float] = field(default_factory=list)
    regions: list[tuple[float, ...]] = field(default_factory=list)
    annotated: tuple[int, ...] | None = None


def _number(class_id: str, numbers: Mapping[str, int], place: str) -> int:
    number = numbers.get(class_id)
    if number is None:
        raise InputError(f"{place}: class '{class_id[:40]}' is not in label_info")
    return number


def _track(name: str) -> int:
    """Ids that are no numbers, as trackers of others write them, are unknown."""
    track = int(name) if re.fullmatch("[0-9]{1,10}", name) else UNKNOWN_TRACK
    return track if track < 2**31 else UNKNOWN_TRACK


def _corners(bounds: Any, place: str) -> tuple[float, float, float, float]:
    x, y = bounds.center.position.x, bounds.center.position.y
    wide, high = bounds.size_x / 2, bounds.size_y / 2
    values = (x - wide, y - high, x + wide, y + high)
    if not (wide >= 0 and high >= 0 and all(abs(v) < MAX_PIXEL for v in values)):
        raise InputError(f"{place}: a box of {2 * wide:g}x{2 * high:g} at {x:g}, {y:g}")
    return values
