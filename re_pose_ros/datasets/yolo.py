"""YOLO's text: per image a file of ``class cx cy width height`` in shares of the image's sides.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from re_pose_ros.datasets.dataset import Dataset, FrameRef
from re_pose_ros.datasets.text import (
    MAX_PIXEL,
    Row,
    clip,
    image_files,
    image_size,
    list_of_names,
    read_rows,
    read_text,
)
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import GroundTruth

_MAX_COLUMNS = 2001
"""Class and polygon of a segmentation; boxes have 5 columns."""


@dataclass(frozen=True)
class _Notes:
    """What ``meta.json`` says beside the labels.

    Attributes:
        names: of the classes; empty where it does not say.
        annotated: class ids by group.
        images: by file name its group and its ignored regions (left, top, width, height).
    """

    names: tuple[str, ...] = ()
    annotated: dict[str, tuple[int, ...]] = field(default_factory=dict)
    images: dict[str, tuple[str, tuple[tuple[float, ...], ...]]] = field(default_factory=dict)


def read_yolo(
    path: Path, *, names: str | Sequence[str] = "", part: str = "", groups: str | Sequence[str] = ""
) -> Dataset:
    """Images with YOLO text files.

    A folder has ``images/`` and ``labels/``, with the same folders in both, or images and text
    files side by side. An image without a text file has no objects. Polygons become the boxes
    around them. A ``meta.json`` in the folder may tell more: ``names`` (list),
    ``annotated_classes`` (class ids by group) and ``images``, a list of ``file``, ``gt`` (its
    group) and ``ignore_xywh`` (ignored regions in pixels). Classes that were not annotated in an
    image cost nothing there.

    Args:
        path: the folder, or a ``data.yaml``.
        names: of the classes, a list or with commas between; empty takes them from data.yaml or
            meta.json.
        part: of a ``data.yaml`` the key (``val``); of a folder the folder in ``images/``; empty is
            ``val`` and all.
        groups: only images of these groups of ``meta.json``; empty is all.

    Raises:
        InputError: a file is missing or malformed, or there are no names.
    """
    if path.is_file():
        description, root, images = _described(path, part or "val")
    else:
        file = path / "data.yaml"
        description = _names_of(file, _yaml(file)) if file.is_file() else ()
        root, images = path, path / "images" / part if (path / "images").is_dir() else path / part
    files = image_files(images, below=True)
    texts = [_label_file(root, file) for file in files]
    if not any(text.is_file() for text in texts):
        raise InputError(f"no image in {images} has a text file, as {texts[0]} would be")
    notes = _notes(root / "meta.json")
    labels = list_of_names(names) if names else description or notes.names
    if not labels:
        raise InputError(f"{path} does not name its classes; add names=NAME,NAME,...")
    wanted = set(list_of_names(groups)) if groups else set()
    if unknown := wanted - notes.annotated.keys():
        raise InputError(f"{root / 'meta.json'} has no group {', '.join(sorted(unknown))}")
    frames = []
    for file, text in zip(files, texts, strict=True):
        group, regions = notes.images.get(file.name, ("", ()))
        if not wanted or group in wanted:
            truth = _truth(file, text, len(labels), notes.annotated.get(group), regions)
            frame_id = file.relative_to(images).as_posix()
            frames.append(FrameRef(file, truth, frame_id=frame_id))
    return Dataset(path.resolve().stem, labels, tuple(frames))


def _label_file(root: Path, image: Path) -> Path:
    """Where ultralytics looks: the last ``images`` of the path becomes ``labels``."""
    if not image.is_relative_to(root):
        root = Path()
    parts = list(image.relative_to(root).parts if root.parts else image.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _truth(
    image: Path,
    text: Path,
    classes: int,
    annotated: tuple[int, ...] | None,
    regions: Sequence[Sequence[float]],
) -> GroundTruth:
    rows = read_rows(text, (5, _MAX_COLUMNS), None) if text.is_file() else []
    ids = [row.integer(0, "class", 0, classes - 1) for row in rows]
    corners = [[left, top, left + width, top + height] for left, top, width, height in regions]
    size = image_size(image)
    shares = np.array([_corners(row) for row in rows], float).reshape(-1, 4)
    boxes = clip(shares * np.tile(size, 2), size)
    return GroundTruth.of(boxes, ids, ignored_regions=corners, annotated=annotated).solid()


def _corners(row: Row) -> tuple[float, float, float, float]:
    values = row.values[1:]
    if max(map(abs, values)) > 2:
        raise row.fail("coordinates are in shares of the image's sides, from 0 to 1")
    if len(values) == 4:
        x, y, width, height = values
        if width < 0 or height < 0:
            raise row.fail("a box has a negative size")
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) < 6 or len(values) % 2:
        raise row.fail(f"{len(values) + 1} columns are neither a box (5) nor a polygon")
    xs, ys = values[::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(file))
    except InputError:
        raise
    except Exception as error:  # PyYAML lets errors of its constructors through
        problem = " ".join(str(error).split())
        raise InputError(f"{file} is no YAML: {problem}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is no data.yaml: it has no names")
    return content


def _names_of(file: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [names.get(k, names.get(str(k))) for k in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(f"{file}: 'names' is no list of class names")
    return list_of_names(names)


def _described(file: Path, part: str) -> tuple[tuple[str, ...], Path, Path]:
    """Names, root and folder of images that a ``data.yaml`` tells."""
    content = _yaml(file)
    names = _names_of(file, content)
    base, folder = content.get("path", "."), content.get(part)
    if not isinstance(base, str) or not isinstance(folder, str) or "\0" in base + folder:
        raise InputError(f"{file}: '{part}' is no folder; part=KEY chooses another key")
    root = file.parent / base
    return names, root, root / folder


def _notes(file: Path) -> _Notes:
    if not file.is_file():
        return _Notes()
    try:
        content = json.loads(read_text(file))
        annotated = {
            str(group): tuple(sorted({int(k) for k in ids}))
            for group, ids in content.get("annotated_classes", {}).items()
        }
        images = {}
        for image in content.get("images", []):
            regions = tuple(tuple(map(float, box)) for box in image.get("ignore_xywh", []))
            if not all(len(box) == 4 and max(map(abs, box)) < MAX_PIXEL for box in regions):
                raise ValueError(f"ignore_xywh of {image['file']} is no list of boxes")
            images[str(image["file"])] = (str(image.get("gt", "")), regions)
        return _Notes(list_of_names(content.get("names", ())), annotated, images)
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: no JSON ({error.msg})") from error
    except (
        TypeError,
        ValueError,
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
    ) as error:
        raise InputError(f"{file} is malformed: {error}") from error
