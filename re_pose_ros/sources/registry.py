"""From what the user names to the frames of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from re_pose_ros.bags.reading import is_bag
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.sources.files import (
    IMAGE_SUFFIXES,
    IMAGES_RATE_HZ,
    open_folder,
    open_image,
    open_video,
)
from re_pose_ros.sources.recording import open_recording
from re_pose_ros.sources.source import Feed, Source, rate_of
from re_pose_ros.sources.v4l2 import is_camera, open_camera


@dataclass(frozen=True)
class Kind:
    """One kind of source: whether a spec means it, and how (spec, topic) opens."""

    name: str
    accepts: Callable[[str], bool]
    open: Callable[[str, str], Feed]


def _open_scene(spec: str, _topic: str) -> Feed:
    from re_pose_ros.scenes import CLASSES, Scene, parse_spec

    options = parse_spec(spec)
    scene = Scene(options)

    def play(start: int) -> Iterator[Frame]:
        for index in range(start, options.frames):
            image, truth = scene.render(index)
            yield Frame(image, index, scene.stamp_ns(index), truth=truth)

    return Feed(spec, options.size, options.fps, options.frames, True, play, labels=CLASSES)


def _open_dataset(spec: str, _topic: str) -> Feed:
    from re_pose_ros.datasets import open_dataset

    dataset = open_dataset(spec.removeprefix("dataset:"))

    def play(start: int) -> Iterator[Frame]:
        for frame, _ in dataset.select(slice(start, None)):
            yield frame

    first = [frame for frame, _ in dataset.select(slice(_RATE_SAMPLES))]
    rate = rate_of([frame.stamp_ns or 0 for frame in first], IMAGES_RATE_HZ)
    return Feed(spec, first[0].size, rate, len(dataset), True, play, labels=dataset.labels)


# The first that accepts a spec opens it.
KINDS = (
    Kind("scene", lambda spec: spec.startswith("scene:"), _open_scene),
    Kind("dataset", lambda spec: spec.startswith("dataset:"), _open_dataset),
    Kind("camera", is_camera, lambda spec, _: open_camera(spec)),
    Kind(
        "rosbag2", lambda spec: is_bag(Path(spec)), lambda s, topic: open_recording(Path(s), topic)
    ),
    Kind("folder", lambda spec: Path(spec).is_dir(), lambda spec, _: open_folder(Path(spec))),
    Kind(
        "image",
        lambda spec: Path(spec).suffix.lower() in IMAGE_SUFFIXES,
        lambda spec, _: open_image(Path(spec)),
    ),
    Kind("video", lambda spec: True, lambda spec, _: open_video(Path(spec))),
)
_NOT_FILES = ("scene", "dataset", "camera")
_RATE_SAMPLES = 3


def open_source(
    spec: str,
    *,
    rate: float = 0.0,
    loop: bool = False,
    start: int = 0,
    count: int = 0,
    topic: str = "",
) -> Source:
    """Open a source of frames; its first frame has been decoded when this returns.

    Args:
        spec: a V4L2 index or device (``0``, ``/dev/video0?width=1920&height=1080&fps=30&
            fourcc=MJPG``), a video file, a folder of images, an image, a rosbag2 (its folder, or
            a bare ``.mcap`` or ``.db3`` file), a generated scene (``scene:plaza?seed=1``), or
            ``dataset:`` and what ``datasets.open_dataset`` takes. The frames of the last two
            have their truth.
        rate: frames per second that ``Source.rate`` tells; 0 is the source's own: a video's, a
            bag's by its stamps, what a camera says, 10 for images.
        loop: begin again at ``start`` after the end.
        start: first frame; of a camera, so many are dropped.
        count: at most so many frames; 0 is all.
        topic: image topic of a bag; not needed where there is only one.

    Raises:
        InputError: the source is missing, unreadable or has no images, or a number is negative.
    """
    if not spec:
        raise InputError("no source given; name a camera, video, folder of images or rosbag2")
    if not math.isfinite(rate) or min(rate, start, count) < 0:
        raise InputError(f"rate {rate}, start {start} and count {count} must not be negative")
    kind = next(kind for kind in KINDS if kind.accepts(spec))
    if kind.name not in _NOT_FILES and not Path(spec).exists():
        raise InputError(f"source {spec} does not exist")
    feed = kind.open(spec, topic)
    return Source(feed, rate=rate, loop=loop, start=start, count=count)
