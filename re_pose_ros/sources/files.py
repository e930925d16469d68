"""Frames from images and videos on disk."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2

from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.image_codec import as_bgr, decode_compressed
from re_pose_ros.sources.source import Feed

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGES_RATE_HZ = 10.0
# Reading a whole video file once only to count its frames has to end somewhere.
_COUNTED_BYTES = 256 * 2**20

_logger = logging.getLogger(__name__)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which ``2.png`` comes before ``10.png``."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]


def open_folder(folder: Path) -> Feed:
    """The images directly in ``folder``, in natural order.

    Raises:
        InputError: no image there, or none that is readable.
    """
    try:
        files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()]
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read: {error.strerror}") from error
    if not files:
        raise InputError(
            f"folder {folder} has no images ({', '.join(IMAGE_SUFFIXES)}) and no rosbag2 metadata"
        )
    return _images(str(folder), sorted(files, key=_natural))


def open_image(path: Path) -> Feed:
    """A single image; raises InputError where it is not readable."""
    return _images(str(path), [path])


def _images(name: str, files: Sequence[Path]) -> Feed:
    def play(start: int) -> Iterator[Frame]:
        for index, file in enumerate(files[start:], start):
            try:
                yield Frame(decode_compressed(file.read_bytes()), index)
            except (InputError, OSError) as error:
                _logger.warning("%s skipped: %s", file, error)

    first = next(play(0), None)
    if first is None:
        raise InputError(f"{name} has no readable image")
    return Feed(name, first.size, IMAGES_RATE_HZ, len(files), True, play)


def open_video(path: Path) -> Feed:
    """A video file of any format that OpenCV's FFmpeg reads.

    A start position is reached by decoding what is before it: seeking by frame number is
    inexact for streams whose container tells a wrong rate.

    Raises:
        InputError: the file is no readable video.
    """

    def play(start: int) -> Iterator[Frame]:
        video = _open(path)
        try:
            if not all(video.grab() for _ in range(start)):
                return
            for index in itertools.count(start):
                done, image = video.read()
                if not done:
                    return
                yield Frame(as_bgr(image), index)
        finally:
            video.release()

    frames = play(0)
    first = next(frames, None)
    frames.close()  # type: ignore[attr-defined]
    if first is None:
        raise InputError(f"video {path} has no readable frame")
    rate, length = _rate_and_length(path)
    return Feed(str(path), first.size, rate, length, True, play)


def _open(path: Path, parameters: Sequence[int] = ()) -> Any:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, list(parameters))
    if not video.isOpened():
        raise InputError(f"{path} is neither an image nor a readable video")
    return video


def _rate_and_length(path: Path) -> tuple[float, int | None]:
    """Frames per second and number of frames, as the stream has them.

    Headers may tell the field rate, twice the frame rate (H.264 in AVI does), and count
    accordingly; the stamps of the first frames tell the truth.
    """
    video = _open(path)
    told_rate = float(video.get(cv2.CAP_PROP_FPS))
    told_length = float(video.get(cv2.CAP_PROP_FRAME_COUNT))
    stamps_ms = [video.get(cv2.CAP_PROP_POS_MSEC) for _ in range(10) if video.grab()]
    video.release()
    steps_ms = [b - a for a, b in itertools.pairwise(stamps_ms) if b > a]
    measured = 1000.0 / median(steps_ms) if steps_ms else 0.0
    off_by_factor = measured and told_rate and not 0.75 < measured / told_rate < 1.5
    rate = measured if off_by_factor or not told_rate else told_rate

    length: int | None = None
    if path.stat().st_size <= _COUNTED_BYTES:
        # A format of -1 gives packets undecoded, which costs reading the file only.
        packets = _open(path, (cv2.CAP_PROP_FORMAT, -1))
        length = sum(1 for _ in iter(packets.grab, False))
        packets.release()
    elif told_length > 0 and told_rate > 0:
        length = round(told_length * rate / told_rate)
    return rate or IMAGES_RATE_HZ, length or None
