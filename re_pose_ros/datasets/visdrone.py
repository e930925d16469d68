"""VisDrone's annotation text: DET (8 columns, one file per image), VID and MOT (10 columns).

Format: https://github.com/VisDrone/VisDrone2018-DET-toolkit and VisDrone2018-MOT-toolkit, README.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from re_pose_ros.datasets.dataset import Dataset, FrameRef
from re_pose_ros.datasets.text import (
    IMAGE_SUFFIXES,
    Row,
    image_files,
    natural,
    read_rows,
    rows_by_frame,
)
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import UNKNOWN_TRACK, GroundTruth

LABELS = (
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
)
"""Categories 1 to 10."""

_IGNORED_REGION, _OTHERS = 0, 11
_VISIBILITY = (1.0, 0.75, 0.25)
"""Middle of the range that an occlusion of 0 (none), 1 (to half) and 2 (over half) stands for."""


def read_visdrone(path: Path, *, annotations: str = "annotations") -> Dataset:
    """A VisDrone folder as it is published.

    DET has ``images/`` and ``annotations/<image>.txt``; VID and MOT have
    ``sequences/<name>/<frame>.jpg`` and ``annotations/<name>.txt``. Frames are those of DET that
    have an annotation file, and all of a sequence. Categories 0 (ignored regions) and 11 (others)
    become ignored regions; objects with a score of 0, which the benchmark does not count, are
    ignored. Boxes without area are left out.

    Args:
        path: the folder.
        annotations: the name of the folder of text files.

    Raises:
        InputError: a file is missing or a line is malformed.
    """
    folder = path / annotations
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist; annotations=NAME names another one")
    files = sorted(folder.glob("*.txt"), key=natural)
    if not files:
        raise InputError(f"folder {folder} has no .txt files")
    frames: list[FrameRef] = []
    if (path / "sequences").is_dir():
        for file in files:
            frames += _sequence(file, path / "sequences" / file.stem)
    else:
        frames = _stills(files, path / "images")
    return Dataset(path.resolve().name, LABELS, tuple(frames))


def _stills(files: Sequence[Path], folder: Path) -> list[FrameRef]:
    images = {image.stem: image for image in image_files(folder)}
    frames = []
    for file in files:
        image = images.get(file.stem)
        if image is None:
            raise InputError(f"{file} has no image {file.stem}{IMAGE_SUFFIXES[0]} in {folder}")
        truth = _truth(read_rows(file, (8, 8)), box=0, tracked=False)
        frames.append(FrameRef(image, truth, frame_id=image.name))
    return frames


def _sequence(file: Path, folder: Path) -> list[FrameRef]:
    images = image_files(folder)
    grouped = rows_by_frame(read_rows(file, (10, 10)), images)
    return [
        FrameRef(image, _truth(rows, box=2, tracked=True), frame_id=file.stem)
        for image, rows in zip(images, grouped, strict=True)
    ]


def _truth(rows: Sequence[Row], *, box: int, tracked: bool) -> GroundTruth:
    """Columns from ``box`` on: left, top, width, height, score, category, truncation, occlusion."""
    objects: list[tuple[tuple[float, float, float, float], int, bool, int, float]] = []
    regions = []
    for row in rows:
        corners = row.corners(box)
        score = row.integer(box + 4, "score", 0, 1)
        category = row.integer(box + 5, "category", 0, _OTHERS)
        visibility = _VISIBILITY[row.integer(box + 7, "occlusion", 0, 2)]
        if category in (_IGNORED_REGION, _OTHERS):
            regions.append(corners)
            continue
        track = row.integer(1, "target", UNKNOWN_TRACK) if tracked else UNKNOWN_TRACK
        objects.append((corners, category - 1, score == 0, track, visibility))
    boxes, classes, ignore, tracks, visibilities = (
        zip(*objects, strict=True) if objects else ((),) * 5
    )
    return GroundTruth.of(
        boxes,
        classes,
        ignore=ignore,
        track_id=tracks,
        visibility=visibilities,
        ignored_regions=regions,
    ).solid()
