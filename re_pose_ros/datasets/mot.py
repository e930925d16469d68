"""MOT Challenge: ``gt.txt`` with the images of a sequence, https://arxiv.org/abs/1603.00831."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from re_pose_ros.bags.reading import is_bag
from re_pose_ros.datasets.dataset import Dataset, FrameRef
from re_pose_ros.datasets.text import (
    MAX_PIXEL,
    Row,
    clip,
    image_files,
    read_rows,
    read_text,
    rows_by_frame,
    subfolders,
)
from re_pose_ros.errors import InputError
from re_pose_ros.ground_truth import UNKNOWN_TRACK, GroundTruth
from re_pose_ros.sources import open_source

LABELS = ("pedestrian",)

_PEDESTRIAN = 1
# Person on vehicle, static person, distractor, reflection: section 4.2 of the paper; crowd:
# MOT20, https://arxiv.org/abs/2003.09003.
_NEITHER_RIGHT_NOR_WRONG = (2, 7, 8, 12, 13)
_MAX_CLASS = 13
_MOT15_COLUMNS = 10


@dataclass(frozen=True)
class _Sequence:
    """The frames of one sequence as places to read from; ``size`` (width, height) if known."""

    name: str
    ground_truth: Path
    frames: Sequence[tuple[Path, int | None]]
    size: tuple[int, int] | None
    rate: float


def read_mot(path: Path, *, images: str = "") -> Dataset:
    """A sequence folder, a folder of such, or a ``gt.txt`` with its images elsewhere.

    A sequence has ``gt/gt.txt``, its images in ``img1/`` (``imDir`` of ``seqinfo.ini``) and, where
    ``seqinfo.ini`` is there, a frame rate. Rows of class 1 (pedestrian) with column 7 set count;
    rows of class 1 without it and of the classes person on vehicle, static person, distractor,
    reflection and crowd are ignored objects; other classes are left out. Boxes, which
    count pixels from 1, are cut to the frame. Rows without an image are left out.

    Args:
        path: the folder, or an annotation file of 7 columns or more.
        images: for an annotation file: the folder of images, the video or the bag that it belongs
            to.

    Raises:
        InputError: a file is missing or a line is malformed.
    """
    if path.is_file():
        sequences = [_loose(path, images)]
    elif (path / "gt" / "gt.txt").is_file():
        sequences = [_folder(path)]
    elif path.is_dir():
        sequences = [_folder(f) for f in subfolders(path) if (f / "gt" / "gt.txt").is_file()]
    else:
        raise InputError(f"{path} does not exist")
    if not sequences:
        raise InputError(f"{path} has no gt/gt.txt, and no folder in it has")
    frames = [frame for sequence in sequences for frame in _frames(sequence)]
    return Dataset(path.resolve().stem, LABELS, tuple(frames))


def _folder(path: Path) -> _Sequence:
    name, folder, size, rate = path.resolve().name, "img1", None, 0.0
    if (file := path / "seqinfo.ini").is_file():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(read_text(file), str(file))
            info = parser["Sequence"]
            folder = info.get("imDir", folder)
            rate = info.getfloat("frameRate", 0.0)
            width, height = info.getint("imWidth", 0), info.getint("imHeight", 0)
        except (configparser.Error, KeyError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise InputError(f"{file} is malformed: {problem}") from error
        size = (width, height) if 0 < width < MAX_PIXEL and 0 < height < MAX_PIXEL else None
    files = image_files(path / folder)
    return _Sequence(name, path / "gt" / "gt.txt", [(f, None) for f in files], size, rate)


def _loose(path: Path, images: str) -> _Sequence:
    if not images:
        raise InputError(f"{path} does not say where its images are; add images=FOLDER or VIDEO")
    place = Path(images)
    if place.is_dir() and not is_bag(place):
        frames: list[tuple[Path, int | None]] = [(f, None) for f in image_files(place)]
        return _Sequence(path.stem, path, frames, None, 0.0)
    with open_source(images) as video:
        if video.total is None:
            raise InputError(
                f"{images} does not tell how many frames it has; use a folder of images"
            )
        frames = [(place, k) for k in range(video.total)]
        return _Sequence(path.stem, path, frames, video.size, video.rate)


def _frames(sequence: _Sequence) -> list[FrameRef]:
    images = [path for path, _ in sequence.frames]
    grouped = rows_by_frame(read_rows(sequence.ground_truth, (7, _MOT15_COLUMNS)), images)
    period_ns = 1e9 / sequence.rate if 1e-3 < sequence.rate < 1e6 else None
    return [
        FrameRef(
            path,
            _truth(rows, sequence.size),
            index,
            stamp_ns=None if period_ns is None else round((number + 1) * period_ns),
            frame_id=sequence.name,
        )
        for number, ((path, index), rows) in enumerate(zip(sequence.frames, grouped, strict=True))
    ]


def _truth(rows: Sequence[Row], size: tuple[int, int] | None) -> GroundTruth:
    """Columns: frame, id, left, top, width, height, counted, class, visibility.

    MOT15 has a place in the world (3 columns) for class and visibility.
    """
    boxes, ignore, tracks, visibilities = [], [], [], []
    for row in rows:
        classed = 8 <= len(row.values) < _MOT15_COLUMNS
        kind = row.integer(7, "class", 1, _MAX_CLASS) if classed else _PEDESTRIAN
        corners = row.corners(2)
        if kind not in (_PEDESTRIAN, *_NEITHER_RIGHT_NOR_WRONG):
            continue
        visibility = row.values[8] if classed and len(row.values) > 8 else 1.0
        if not 0 <= visibility <= 1:
            raise row.fail(f"visibility is {visibility:g}; it has to be between 0 and 1")
        # Pixels count from 1: the left column of the image is 1.
        boxes.append([corner - 1 for corner in corners])
        ignore.append(kind != _PEDESTRIAN or row.values[6] == 0)
        tracks.append(row.integer(1, "id", UNKNOWN_TRACK))
        visibilities.append(visibility)
    truth = GroundTruth.of(boxes, 0, ignore=ignore, track_id=tracks, visibility=visibilities)
    if size is not None:
        truth = replace(truth, xyxy=clip(truth.xyxy, size))
    return truth.solid()
