"""Ground truth as the detections of a ``vision_msgs/Detection2DArray``, and back.

Of an annotated object, ``bbox`` is the box in pixels, ``id`` the track id (empty where unknown),
and the hypothesis has the class number that ``label_info`` names, with the visibility for a score.
What the hypotheses cannot say is said by a first hypothesis with a word for class:

- ``ignored``, followed by the class: need not be found (``GroundTruth.ignore``);
- ``ignored`` alone: an ignored region;
- ``unannotated``, followed by class numbers: these were not annotated in this frame; no box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from re_pose_ros.datasets.text import MAX_PIXEL
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import UNKNOWN_TRACK, GroundTruth

IGNORED, UNANNOTATED = "ignored", "unannotated"


@dataclass(frozen=True, slots=True)
class Entry:
    """One detection of the message.

    Attributes:
        box: corners in pixels.
        hypotheses: (class_id, score) pairs.
        id: the track id; empty where there is none.
    """

    box: tuple[float, float, float, float]
    hypotheses: tuple[tuple[str, float], ...]
    id: str = ""


def entries_of(truth: GroundTruth, classes: int) -> Iterator[Entry]:
    """What a message says of one frame; ``classes`` is how many there are."""
    for k, box in enumerate(truth.xyxy.astype(float).tolist()):
        track = int(truth.track_id[k])
        named = (str(int(truth.class_id[k])), float(truth.visibility[k]))
        hypotheses = ((IGNORED, 1.0), named) if truth.ignore[k] else (named,)
        yield Entry(tuple(box), hypotheses, "" if track == UNKNOWN_TRACK else str(track))
    for box in truth.ignored_regions.astype(float).tolist():
        yield Entry(tuple(box), ((IGNORED, 1.0),))
    if truth.annotated is not None:
        missing = [(str(k), 0.0) for k in range(classes) if k not in truth.annotated]
        yield Entry((0.0, 0.0, 0.0, 0.0), ((UNANNOTATED, 1.0), *missing))


def names_in_use(messages: Sequence[Any]) -> tuple[str, ...]:
    """Labels for messages without ``label_info``: the names in them, or numbers up to the last."""
    used = {
        result.hypothesis.class_id
        for message in messages
        for detection in message.detections
        for result in detection.results
    } - {IGNORED, UNANNOTATED}
    if all(re.fullmatch("[0-9]{1,4}", name) for name in used):
        return tuple(str(k) for k in range(max(map(int, used), default=-1) + 1))
    return tuple(sorted(used))


def class_numbers(labels: Sequence[str]) -> dict[str, int]:
    """Class ids by name, and by number as text where that is no name."""
    numbers = {name: k for k, name in enumerate(labels)}
    return numbers | {str(k): k for k in range(len(labels)) if str(k) not in numbers}


def truth_of(message: Any, numbers: Mapping[str, int], place: str) -> GroundTruth:
    """The ground truth that a message, of rclpy or of rosbags, says.

    Args:
        message: ``vision_msgs/Detection2DArray``.
        numbers: see ``class_numbers``.
        place: of the message, for errors.

    Raises:
        InputError: an unknown class, or a box that cannot be one.
    """
    objects = _Objects()
    for detection in message.detections:
        ids = [result.hypothesis.class_id for result in detection.results]
        mark = ids[0] if ids and ids[0] in (IGNORED, UNANNOTATED) else ""
        results = detection.results[1:] if mark else detection.results
        if mark == UNANNOTATED:
            missing = {_number(r.hypothesis.class_id, numbers, place) for r in results}
            objects.annotated = tuple(sorted(set(numbers.values()) - missing))
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
            # In this order a score that is no number becomes 0.
            objects.visibilities.append(min(max(0.0, best.score), 1.0))
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
    track = int(name) if re.fullmatch("[0-9]{1,19}", name) else UNKNOWN_TRACK
    return track if track < 2**63 else UNKNOWN_TRACK


def _corners(bounds: Any, place: str) -> tuple[float, float, float, float]:
    x, y = bounds.center.position.x, bounds.center.position.y
    wide, high = bounds.size_x / 2, bounds.size_y / 2
    values = (x - wide, y - high, x + wide, y + high)
    if not (wide >= 0 and high >= 0 and all(abs(v) < MAX_PIXEL for v in values)):
        raise InputError(f"{place}: a box of {2 * wide:g}x{2 * high:g} at {x:g}, {y:g}")
    return values
