"""When a coarse look at the whole frame is due."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.distribution.tracker import Surprise
from re_pose_ros.errors import InputError

WIDTH, HEIGHT = 32, 18
"""Cells of a thumbnail."""
SAMPLES = 6
"""Pixels along each side of a thumbnail's cell that are read."""


class Reason(str, Enum):
    """Why a look is due."""

    FIRST = "first frame"
    PERIOD = "period"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class LookSettings:
    """When to look.

    Attributes:
        every: frames from one look to the next, 1 to 1000.
        missed: share of the expected objects that must be missed to call it a change, 0 to 1.
        new: share of the detections that must be new, 0 to 1.
        enough: objects (or confidences that sum up to it) from which on such shares count.
        changed: share of the thumbnail that must differ, 0 to 1; see ``changed_share``.
        pause: frames after a look in which a change brings no other, 0 to 1000.

    Raises InputError for a value out of range.
    """

    every: int = 10
    missed: float = 0.6
    new: float = 0.5
    enough: float = 5.0
    changed: float = 0.2
    pause: int = 2

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"look setting {name} = {value} is not in [{low}, {high}]")


RANGES: dict[str, tuple[float, float]] = {
    "every": (1, 1000),
    "missed": (0.0, 1.0),
    "new": (0.0, 1.0),
    "enough": (0.0, 1000.0),
    "changed": (0.0, 1.0),
    "pause": (0, 1000),
}
"""Inclusive range of each number in ``LookSettings``."""


class LookSchedule:
    """Says before each frame whether to look; counts from the last look that was taken."""

    def __init__(self, settings: LookSettings | None = None) -> None:
        self.settings = settings or LookSettings()
        self.reset()

    def reset(self) -> None:
        """As before the first frame."""
        self._since: int | None = None

    def due(self, surprise: Surprise | None = None, changed: float = 0.0) -> Reason | None:
        """Why the next frame needs a look; None where it needs none. Asking changes nothing.

        Args:
            surprise: of the last frame whose detections are known.
            changed: ``changed_share`` of thumbnails of the last look's frame and of the next.
        """
        how = self.settings
        if self._since is None:
            return Reason.FIRST
        if self._since >= how.every:
            return Reason.PERIOD
        if self._since <= how.pause:
            return None
        return Reason.CHANGE if changed >= how.changed or self._surprised(surprise) else None

    def planned(self, look: bool) -> None:
        """The next frame was planned, with a look or without."""
        if look:
            self._since = 1
        elif self._since is not None:
            self._since += 1

    def _surprised(self, surprise: Surprise | None) -> bool:
        if surprise is None:
            return False
        how = self.settings
        lost = surprise.expected >= how.enough and surprise.missed >= how.missed
        return lost or (surprise.detected >= how.enough and surprise.new >= how.new)


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(18, 32) brightness of an image (H, W, 3) in BGR, of which green is taken, or (H, W).

    Each cell is the mean of at most about 6 x 6 pixels of it.
    """
    down = max(1, image.shape[0] // (HEIGHT * SAMPLES))
    across = max(1, image.shape[1] // (WIDTH * SAMPLES))
    sparse = image[::down, ::across, 1] if image.ndim == 3 else image[::down, ::across]
    small = cv2.resize(np.ascontiguousarray(sparse), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def changed_share(
    before: NDArray[np.uint8], now: NDArray[np.uint8], threshold: float = 20.0
) -> float:
    """Share of two thumbnails' cells that differ by more than ``threshold`` grey levels.

    The median difference is taken off first, as light and exposure change all cells alike.
    """
    difference = (now.astype(np.int16) - before).ravel()
    count = len(difference)
    ordered = np.sort(difference)  # numpy.median takes longer
    median = (int(ordered[(count - 1) // 2]) + int(ordered[count // 2])) / 2
    return np.count_nonzero(np.abs(difference - median) > threshold) / count
