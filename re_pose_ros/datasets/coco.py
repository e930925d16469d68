"""COCO's instances JSON, https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from re_pose_ros.bags.reading import is_bag
from re_pose_ros.datasets.dataset import Dataset, FrameRef
from re_pose_ros.datasets.text import MAX_PIXEL, natural, read_text
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import UNKNOWN_TRACK, GroundTruth
from re_pose_ros.sources import open_source

_PARTS = ("images", "annotations", "categories")


def read_coco(path: Path, *, images: str = "") -> Dataset:
    """An annotation file in COCO's format.

    Labels are the categories by rising id. Annotations with ``iscrowd`` or ``ignore`` set are
    ignored objects, ``track_id`` is taken where it is there, and boxes without area are left out.
    With track ids the images of one folder are a sequence, without they are photos.

    Args:
        path: the JSON file, or a folder with one in ``annotations/`` or in itself.
        images: folder that the file names are relative to; or the video or bag whose frames are
            meant, in the order of the file names where there are as many, else by the last number
            in each, which counts from 0; empty looks beside the JSON file, in
            ``images/`` and, for ``instances_NAME.json``, in ``NAME/``, there and one level up.

    Raises:
        InputError: a file is missing or the JSON is no such annotation.
    """
    file = _annotation_file(path)
    content = _content(file)
    numbers: dict[int, int] = {}
    categories = sorted(_entries(file, content, "categories"), key=lambda c: _integer(c, "id"))
    for category in categories:
        numbers[_integer(category, "id")] = len(numbers)
    labels = tuple(_string(category, "name") for category in categories)
    if len(set(labels)) < len(categories) or len(numbers) < len(categories):
        raise InputError(f"{file}: two categories have the same id or name")

    listed = _entries(file, content, "images")
    by_image: dict[int, list[_Entry]] = defaultdict(list)
    known = {_integer(image, "id") for image in listed}
    if len(known) < len(listed):
        raise InputError(f"{file}: two images have the same id")
    for annotation in _entries(file, content, "annotations"):
        image_id = _integer(annotation, "image_id")
        if image_id not in known:
            raise annotation.fail(f"image_id {image_id} is not among the images")
        by_image[image_id].append(annotation)

    names = [_string(image, "file_name") for image in listed]
    truths = [_truth(by_image[_integer(image, "id")], numbers) for image in listed]
    if images and (os.path.isfile(images) or is_bag(Path(images))):
        return Dataset(file.stem, labels, _recorded(file, images, names, truths))
    folder = _image_folder(file, images, names)
    frames = []
    for image, name, truth in zip(listed, names, truths, strict=True):
        if not os.path.isfile(folder / name):
            raise image.fail(f"there is no {folder / name}")
        frames.append(FrameRef(folder / name, truth, frame_id=name))
    if any((ref.truth.track_id != UNKNOWN_TRACK).any() for ref in frames):
        frames = [replace(ref, frame_id=os.path.dirname(ref.frame_id)) for ref in frames]
    return Dataset(file.stem, labels, tuple(frames))


def _recorded(
    file: Path, recording: str, names: Sequence[str], truths: Sequence[GroundTruth]
) -> tuple[FrameRef, ...]:
    """The annotated frames of a video or bag, in its order."""
    with open_source(recording) as source:
        total = source.total
    order = sorted(range(len(names)), key=lambda k: natural(Path(names[k])))
    indices = list(range(len(names)))
    if len(names) != total:
        found = [re.findall("[0-9]+", names[k]) for k in order]
        indices = [int(digits[-1][:9]) if digits else -1 for digits in found]
    places = sorted(zip(indices, order, strict=True))
    for place, (index, k) in enumerate(places):
        twice = place > 0 and places[place - 1][0] == index
        if index < 0 or twice or (total is not None and index >= total):
            raise InputError(f"{file}: which of the {total} frames of {recording} is {names[k]}?")
    name = Path(recording).stem
    return tuple(FrameRef(Path(recording), truths[k], index, frame_id=name) for index, k in places)


def find_annotation_files(folder: Path) -> list[Path]:
    """What could be COCO annotations in a folder."""
    return sorted((folder / "annotations").glob("*.json")) or sorted(folder.glob("*.json"))


class _Entry:
    """One object of one of the lists, with its place for messages."""

    def __init__(self, file: Path, part: str, index: int, fields: dict[str, Any]) -> None:
        self.fields = fields
        self._place = f"{file}, {part}[{index}]"

    def fail(self, problem: str) -> InputError:
        return InputError(f"{self._place}: {problem}")


def _annotation_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = find_annotation_files(path)
    if len(files) != 1:
        there = ", ".join(str(f.relative_to(path)) for f in files[:5]) or "none"
        raise InputError(f"folder {path} has to have one annotation file, it has {there}; name one")
    return files[0]


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: no JSON ({error.msg})") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{file}: JSON cannot be read ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(p), list) for p in _PARTS):
        raise InputError(f"{file} has no lists {', '.join(_PARTS)}; it is no COCO annotation")
    return content


def _entries(file: Path, content: dict[str, Any], part: str) -> list[_Entry]:
    entries = []
    for index, fields in enumerate(content[part]):
        if not isinstance(fields, dict):
            raise InputError(f"{file}, {part}[{index}]: no object")
        entries.append(_Entry(file, part, index, fields))
    return entries


def _integer(entry: _Entry, key: str) -> int:
    value = entry.fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise entry.fail(f"'{key}' is no whole number")
    return value


def _string(entry: _Entry, key: str) -> str:
    value = entry.fields.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise entry.fail(f"'{key}' is no text")
    return value


def _image_folder(file: Path, images: str, names: Sequence[str]) -> Path:
    if images:
        return Path(images)
    part = file.stem.removeprefix("instances_")
    places = [
        place / name for place in (file.parent, file.parent.parent) for name in ("", "images", part)
    ]
    first = names[0] if names else ""
    for place in places:
        if os.path.exists(place / first):
            return place
    raise InputError(f"{first} of {file} is not found; images=FOLDER says where the images are")


def _truth(annotations: Sequence[_Entry], numbers: dict[int, int]) -> GroundTruth:
    boxes, classes, ignore, tracks = [], [], [], []
    for annotation in annotations:
        category = _integer(annotation, "category_id")
        if category not in numbers:
            raise annotation.fail(f"category_id {category} is not among the categories")
        left, top, width, height = _box(annotation)
        boxes.append((left, top, left + width, top + height))
        classes.append(numbers[category])
        ignore.append(any(annotation.fields.get(key) for key in ("iscrowd", "ignore")))
        track = annotation.fields.get("track_id")
        usable = isinstance(track, int) and 0 <= track < 2**63
        tracks.append(int(track) if usable else UNKNOWN_TRACK)  # type: ignore[arg-type]
    return GroundTruth.of(boxes, classes, ignore=ignore, track_id=tracks).solid()


def _box(annotation: _Entry) -> tuple[float, float, float, float]:
    box = annotation.fields.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        usable = all(isinstance(v, (int, float)) and abs(v) < MAX_PIXEL for v in box)
        if usable and min(box[2:]) >= 0:
            return float(box[0]), float(box[1]), float(box[2]), float(box[3])
    raise annotation.fail("'bbox' is no list of left, top, width, height")
