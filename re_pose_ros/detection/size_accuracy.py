"""How well a network finds objects, by their size on its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE_EDGES = tuple(round(4 * 2 ** (k / 2), 3) for k in range(15))
"""Bins of half an octave from 4 to 512 pixels of the network's input."""

ENOUGH = 5
"""Objects from which on a bin counts for ``SizeAccuracy.expected_recall``."""


@dataclass(frozen=True, slots=True)
class SizeAccuracy:
    """Accuracy of one variant in bins of object size.

    An object's size is the square root of its box's area in pixels of the network's input, so that
    the figures hold for any block, whatever it is scaled by. They are as measured: neither
    smoothed nor made to rise with the size.

    Attributes:
        edges: (N + 1,) rising and positive; bin k has sizes from ``edges[k]`` to below
            ``edges[k + 1]``.
        recall: (N,) share of the objects that were found (same class, IoU of at least 0.5) with at
            least ``confidence``; None where there were no objects.
        ap: (N,) average precision at IoU 0.5 of all classes together, interpolated at 101 recalls
            as COCO does; None where there were no objects.
        count: (N,) objects.
        false_positives: detections of nothing per crop, with at least ``confidence``.
        crops: images that were looked at.
        confidence: see ``recall``.
    """

    edges: tuple[float, ...]
    recall: tuple[float | None, ...]
    ap: tuple[float | None, ...]
    count: tuple[int, ...]
    false_positives: float = 0.0
    crops: int = 0
    confidence: float = 0.25

    def __post_init__(self) -> None:
        """Raises ValueError where the parts do not fit together."""
        bins = len(self.edges) - 1
        if bins < 1 or not all(
            0 < low < high < np.inf for low, high in zip(self.edges, self.edges[1:], strict=False)
        ):
            raise ValueError("the edges do not rise from above 0")
        if not len(self.recall) == len(self.ap) == len(self.count) == bins:
            raise ValueError(f"recall, ap and count need {bins} values each, one per bin")
        for recall, ap, count in zip(self.recall, self.ap, self.count, strict=True):
            known = [value for value in (recall, ap) if value is not None]
            if count < 0 or len(known) != (2 if count else 0):
                raise ValueError("recall and ap are there where count is above 0, and only there")
            if not all(0 <= value <= 1 for value in known):
                raise ValueError("recall and ap lie in 0 to 1")
        if not (0 <= self.false_positives < np.inf and self.crops >= 0):
            raise ValueError("false_positives and crops must not be negative")
        if not 0 <= self.confidence <= 1:
            raise ValueError("confidence lies in 0 to 1")

    def expected_recall(self, sizes: object) -> NDArray[np.float64]:
        """The recall to expect of objects of ``sizes`` (any shape), in input pixels.

        Interpolated linearly in the logarithm of the size between the middles of the bins that
        have at least ``ENOUGH`` objects; below the first of them it falls to 0 at ``edges[0]``,
        beyond the last it stays. 0 everywhere where no bin has enough.
        """
        return self._expected(self.recall, sizes)

    def expected_ap(self, sizes: object) -> NDArray[np.float64]:
        """As ``expected_recall``, for ``ap``."""
        return self._expected(self.ap, sizes)

    def _expected(self, values: Sequence[float | None], sizes: object) -> NDArray[np.float64]:
        logs = np.log(self.edges)
        known = [
            (middle, value)
            for middle, value, count in zip(
                (logs[:-1] + logs[1:]) / 2, values, self.count, strict=True
            )
            if value is not None and count >= ENOUGH
        ]
        at = np.log(np.maximum(np.asarray(sizes, float), np.finfo(float).tiny))
        places, heights = zip((logs[0], 0.0), *known, strict=True)
        return np.asarray(np.interp(at, places, heights), np.float64)
