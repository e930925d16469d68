"""Frames from a live camera."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import cv2

from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.image_codec import as_bgr
from re_pose_ros.sources.source import Feed

_SPEC = re.compile(r"^(?P<device>[0-9]{1,3}|/dev/[^?]+)(?:\?(?P<query>.*))?$")
_OPTIONS = {
    "fourcc": cv2.CAP_PROP_FOURCC,
    "width": cv2.CAP_PROP_FRAME_WIDTH,
    "height": cv2.CAP_PROP_FRAME_HEIGHT,
    "fps": cv2.CAP_PROP_FPS,
}

_logger = logging.getLogger(__name__)


def is_camera(spec: str) -> bool:
    """True for ``0``, ``/dev/video0`` and the same with ``?width=...``."""
    return _SPEC.match(spec) is not None


def camera_options(spec: str) -> tuple[str, dict[str, float]]:
    """The device path and the OpenCV value of each option of a camera spec.

    Raises:
        InputError: unknown option or a value that does not fit.
    """
    match = _SPEC.match(spec)
    if match is None:
        raise InputError(f"'{spec}' is no camera; expected 0 or /dev/video0, with options after ?")
    device = match["device"]
    values: dict[str, float] = {}
    for name, text in parse_qsl(match["query"] or "", keep_blank_values=True):
        if name not in _OPTIONS:
            raise InputError(f"camera option '{name}' is not known; known: {', '.join(_OPTIONS)}")
        if name == "fourcc":
            if len(text) != 4 or not text.isascii():
                raise InputError(f"camera option fourcc={text} needs four letters, as MJPG")
            values[name] = float(int.from_bytes(text.encode(), "little"))
        elif not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or not float(text):
            raise InputError(f"camera option {name}={text} needs a positive number")
        else:
            values[name] = float(text)
    return (f"/dev/video{device}" if device.isdigit() else device), values


def open_camera(spec: str) -> Feed:
    """A V4L2 device, as ``/dev/video0?width=3840&height=2160&fps=30&fourcc=MJPG``.

    Raises:
        InputError: bad options, device absent, busy or without images.
    """
    device, values = camera_options(spec)
    if not Path(device).exists():
        there = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise InputError(f"camera {device} does not exist; cameras there: {there}")
    camera = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if not camera.isOpened():
        camera.release()
        raise InputError(
            f"camera {device} cannot be opened; it is busy, not permitted or no camera"
        )
    # Drivers offer sizes and rates per format, so the format goes first.
    for name in _OPTIONS:
        if name in values and not camera.set(_OPTIONS[name], values[name]):
            _logger.warning("camera %s does not take %s", device, name)
    done, image = camera.read()
    if not done:
        camera.release()
        raise InputError(f"camera {device} gives no images; it is busy or wants other options")

    def play(start: int) -> Iterator[Frame]:
        for index in itertools.count():
            if index < start:
                done = camera.grab()
            else:
                done, image = camera.read()
            if not done:
                _logger.warning("camera %s stopped giving images after %d", device, index)
                return
            if index >= start:
                yield Frame(as_bgr(image), index)

    rate = max(0.0, float(camera.get(cv2.CAP_PROP_FPS)))
    size = (int(image.shape[1]), int(image.shape[0]))
    return Feed(device, size, rate, None, False, play, camera.release)
