"""One list of class names for detectors that each number their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Detections

MAX_NAMES = 2**16


class LabelSet:
    """The union of the workers' class names; a name keeps the number it got first."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._maps: dict[str, NDArray[np.int32]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._numbers)

    @property
    def numbers(self) -> dict[str, int]:
        """Class number by name."""
        return self._numbers

    def add(self, worker: str, labels: Sequence[str]) -> bool:
        """Take the labels of ``worker``; True where the set has grown."""
        before = len(self._numbers)
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in labels]
        self._maps[worker] = np.array(numbers, np.int32)
        return len(self._numbers) > before

    def learn(self, names: Iterable[str]) -> bool:
        """Take names used by a worker that tells no list; True where the set has grown.

        The set ends at 65536 names, as class numbers in ``label_info`` do.
        """
        before = len(self._numbers)
        for name in sorted(names):
            if len(self._numbers) < MAX_NAMES:
                self._numbers.setdefault(name, len(self._numbers))
        return len(self._numbers) > before

    def unified(self, worker: str, detections: Detections) -> Detections:
        """``detections`` of ``worker`` in this set's numbers, without classes it never named."""
        numbers = self._maps.get(worker)
        if numbers is None:
            return detections
        known = detections.take((detections.class_id >= 0) & (detections.class_id < len(numbers)))
        return Detections(known.xyxy, known.confidence, numbers[known.class_id], known.block)
