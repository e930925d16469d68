"""Frames from a rosbag2 recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from re_pose_ros.bags.reading import (
    COMPRESSED_IMAGE,
    IMAGE,
    header_stamps,
    image_messages,
    open_bag,
)
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.sources.source import Feed, rate_of

_FALLBACK_RATE_HZ = 10.0
_RATE_SAMPLES = 20


def open_recording(path: Path, topic: str) -> Feed:
    """The images of ``topic``; an empty topic takes the only image topic there is.

    Raises:
        InputError: the bag or the topic cannot be used.
    """
    with open_bag(path) as bag:
        types = dict(bag.types)
        chosen = _choose(path, types, topic)
        length = bag.count(chosen)

    def play(start: int) -> Iterator[Frame]:
        return image_messages(path, chosen, start=start)

    frames = play(0)
    first = next(frames, None)
    frames.close()  # type: ignore[attr-defined]
    if first is None:
        raise InputError(f"{path} has no readable image on {chosen}")
    rate = rate_of(header_stamps(path, chosen, _RATE_SAMPLES), _FALLBACK_RATE_HZ)
    return Feed(f"{path}:{chosen}", first.size, rate, length, True, play)


def _choose(path: Path, types: dict[str, str], topic: str) -> str:
    images = sorted(t for t, kind in types.items() if kind in (IMAGE, COMPRESSED_IMAGE))
    if not images:
        there = ", ".join(f"{t} ({kind})" for t, kind in sorted(types.items()))
        raise InputError(f"{path} has no image topic; it has {there}")
    if not topic:
        if len(images) > 1:
            raise InputError(f"{path} has several image topics, choose one: {', '.join(images)}")
        return images[0]
    wanted = topic if topic in images else f"/{topic}"
    if wanted not in images:
        raise InputError(f"{path} has no images on {topic}; image topics: {', '.join(images)}")
    return wanted
