"""Annotated images in rosbag2 recordings.

An image and its annotation, a ``vision_msgs/Detection2DArray`` as ``annotation`` says, have the
same stamp. The class names are on ``label_info`` below the annotations' topic, since the
``label_info`` beside it, of a recorded graph, is the detector's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re_pose_ros.bags import typestore
from re_pose_ros.bags.reading import COMPRESSED_IMAGE, IMAGE, Bag, is_bag, open_bag
from re_pose_ros.datasets.annotation import class_numbers, names_in_use, truth_of
from re_pose_ros.datasets.dataset import Dataset, FrameRef
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth

IMAGE_TOPIC = "/image_raw/compressed"
TRUTH_TOPIC = "/ground_truth"
LABELS = "label_info"
DETECTIONS_TYPE = "vision_msgs/msg/Detection2DArray"
LABELS_TYPE = "vision_msgs/msg/LabelInfo"

_IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedTruth:
    """The annotations of a bag, with or without images.

    Attributes:
        topic: that they are on.
        labels: class names by class id.
        by_stamp: per frame, by the stamp of its image in nanoseconds.
    """

    topic: str
    labels: tuple[str, ...]
    by_stamp: Mapping[int, GroundTruth]


def read_bag(path: Path, *, images: str = "", ground_truth: str = "", labels: str = "") -> Dataset:
    """The annotated images of a rosbag2.

    Image and annotation belong together by their stamps; images without annotation are left out
    and counted in a warning. Classes may also be given by name; without ``label_info`` the names,
    or the numbers, that occur are the labels.

    Args:
        path: a bag folder or a bare ``.mcap`` or ``.db3`` file.
        images: image topic; empty takes the only one there is, or ``image_raw/compressed`` or
            ``image_raw`` in the namespace of the annotations or in none.
        ground_truth: topic of the annotations, or another bag that has them; empty takes
            ``/ground_truth``, or the only topic of that name in some namespace.
        labels: topic of ``vision_msgs/LabelInfo``; empty takes ``label_info`` below the
            annotations' topic, or else ``/label_info``, if there is one.

    Raises:
        InputError: a bag or a topic cannot be used, or annotations are malformed.
    """
    elsewhere = bool(ground_truth) and is_bag(Path(ground_truth))
    if elsewhere:
        truth = read_truth(Path(ground_truth), labels=labels)
    else:
        truth = read_truth(path, ground_truth=ground_truth, labels=labels)
    with open_bag(path) as bag:
        topic = _image_topic(bag, images, truth.topic.rpartition("/")[0])
        frames = []
        bare = 0
        for index, stamp_ns, message in _messages(bag, topic):
            found = truth.by_stamp.get(stamp_ns)
            if found is None:
                bare += 1
                continue
            frames.append(FrameRef(path, found, index, topic, stamp_ns, message.header.frame_id))
    if not frames:
        place = f"{ground_truth}, {truth.topic}" if elsewhere else truth.topic
        raise InputError(f"{path}: no stamp on {place} is that of an image on {topic}")
    if bare:
        _logger.warning("%s: %d images on %s are not annotated and left out", path, bare, topic)
    return Dataset(path.resolve().stem, truth.labels, tuple(frames))


def read_truth(path: Path, *, ground_truth: str = "", labels: str = "") -> RecordedTruth:
    """The annotations of a rosbag2, which may lack the images, as that of the demo does.

    Args:
        path: a bag folder or a bare ``.mcap`` or ``.db3`` file.
        ground_truth: topic of the annotations; empty as of ``read_bag``.
        labels: as of ``read_bag``.

    Raises:
        InputError: the bag or a topic cannot be used, or annotations are malformed.
    """
    with open_bag(path) as bag:
        topic = _truth_topic(bag, ground_truth)
        messages = {stamp_ns: message for _, stamp_ns, message in _messages(bag, topic)}
        names = _names(bag, _label_topic(bag, labels, topic)) or names_in_use([*messages.values()])
    numbers = class_numbers(names)
    place = f"{path}, {topic}"
    truths = {ns: truth_of(message, numbers, place) for ns, message in messages.items()}
    return RecordedTruth(topic, names, truths)


def has_truth(path: Path) -> bool:
    """Whether ``read_truth`` finds annotations without being told a topic."""
    with open_bag(path) as bag:
        return bool(_truth_topics(bag))


def _topic(bag: Bag, name: str, kinds: Sequence[str], option: str) -> str:
    for topic in (name, f"/{name}"):
        if bag.types.get(topic) in kinds:
            return topic
    there = ", ".join(f"{t} ({kind})" for t, kind in sorted(bag.types.items())) or "nothing"
    kind = " or ".join(kinds)
    raise InputError(f"{bag.path} has no {kind} on {name}; {option}=TOPIC names it; it has {there}")


def _truth_topics(bag: Bag) -> list[str]:
    kinds = bag.types.items()
    return [
        topic for topic, kind in kinds if kind == DETECTIONS_TYPE and topic.endswith(TRUTH_TOPIC)
    ]


def _truth_topic(bag: Bag, name: str) -> str:
    named = _truth_topics(bag)
    if not name and len(named) > 1 and TRUTH_TOPIC not in named:
        every = ", ".join(sorted(named))
        raise InputError(
            f"{bag.path} has several ground truths; ground_truth=TOPIC chooses: {every}"
        )
    chosen = name or (named[0] if len(named) == 1 else TRUTH_TOPIC)
    return _topic(bag, chosen, (DETECTIONS_TYPE,), "ground_truth")


def _label_topic(bag: Bag, name: str, truth_topic: str) -> str:
    """The topic of the class names; empty where there is none and none was asked for."""
    if name:
        return _topic(bag, name, (LABELS_TYPE,), "labels")
    usual = (f"{truth_topic}/{LABELS}", f"/{LABELS}")
    return next((topic for topic in usual if bag.types.get(topic) == LABELS_TYPE), "")


def _image_topic(bag: Bag, name: str, namespace: str) -> str:
    if name:
        return _topic(bag, name, _IMAGE_TYPES, "images")
    there = [topic for topic, kind in bag.types.items() if kind in _IMAGE_TYPES]
    if len(there) == 1:
        return there[0]
    raw = IMAGE_TOPIC.removesuffix("/compressed")
    usual = (f"{namespace}{IMAGE_TOPIC}", f"{namespace}{raw}", IMAGE_TOPIC, raw)
    found = next((topic for topic in usual if topic in there), "")
    if there and not found:
        every = ", ".join(sorted(there))
        raise InputError(f"{bag.path} has several image topics; images=TOPIC chooses: {every}")
    return _topic(bag, found or IMAGE_TOPIC, _IMAGE_TYPES, "images")


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


def _names(bag: Bag, topic: str) -> tuple[str, ...]:
    """The class names by number; empty without a topic. Gaps are named by their number."""
    names: dict[int, str] = {}
    if topic:
        for _, _, message in _messages(bag, topic):
            names = {int(entry.class_id): entry.class_name for entry in message.class_map}
    listed = tuple(names.get(k, str(k)) for k in range(max(names, default=-1) + 1))
    if len(set(listed)) < len(listed):
        raise InputError(f"{bag.path}: {topic} names two classes the same")
    return listed
