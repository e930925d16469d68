"""What a quantised feature is expected to be, given those coded before it.

Prediction and contexts are those of lossless image coders: the median edge detector of LOCO-I
(Weinberger, Seroussi and Sapiro, IEEE Trans. Image Processing 9(8), 2000, section III) and a
context of how much the neighbours differ; how often each residual occurs in each context is learnt
from what was coded. The order, the classes of channels and the first counts are ours. All of it is
in whole numbers, so that no two machines disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.rans import PRECISION

IntArray = NDArray[np.int16]

CHANNEL_CLASSES = 4
"""Channels are told apart by the rank of their mean code."""

_ACTIVITIES = (1, 2, 4, 8, 20)  # least range of the neighbours in each class but the first
_WEIGHT = 32  # of one coded feature in the counts
_LEARN_EVERY = 1.2  # how many times more was coded from one lesson to the next


@dataclass(frozen=True, slots=True)
class _Shape:
    """Contexts for codes of so many bits, chosen on layers of a detector and their projections.

    Attributes:
        levels: classes of the prediction.
        channel_classes: 1 or CHANNEL_CLASSES.
        decay: per class of activity, what each further step from the prediction leaves of the
            first count, in 64ths.
        prior: what the first counts of a context add up to, in features.
        least: added to each first count, in 32ths of a feature.
    """

    levels: int
    channel_classes: int
    decay: tuple[int, ...]
    prior: int
    least: int


_SHAPES = {
    2: _Shape(4, CHANNEL_CLASSES, (12, 22, 34, 34, 34, 34), 4, 2),
    4: _Shape(16, CHANNEL_CLASSES, (18, 26, 33, 42, 46, 50), 8, 2),
    6: _Shape(16, 1, (32, 36, 42, 47, 51, 56), 32, 1),
    8: _Shape(4, 1, (48, 49, 50, 52, 56, 60), 32, 1),
}


class Diagonals:
    """Codes (C, H, W) in the order in which they travel: by diagonals y + x, all channels at once.

    Features of one diagonal are not neighbours, so that numpy can work on all of them. ``_cells``
    has a row per diagonal: [y + x + 2, y + 1] holds the codes (C,) of feature (y, x). The cells
    around the map hold what is assumed there: on the left the code above it, above it the code on
    the left, at the corner 0.

    Attributes:
        sizes: codes per diagonal.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        channels, self._height, self._width = shape
        diagonals = np.arange(self._height + self._width - 1)
        first = np.maximum(diagonals - self._width + 1, 0)
        last = np.minimum(diagonals, self._height - 1)
        self._first = [int(y) for y in first]
        self._end = [int(y) + 1 for y in last]
        self.sizes = [int(n) for n in (last - first + 1) * channels]
        self._cells = np.zeros(
            (self._height + self._width + 1, self._height + 1, channels), np.int16
        )
        y, x = np.mgrid[: self._height, : self._width]
        self._inside = (y + x + 2, y + 1)

    def fill(self, codes: NDArray[np.uint8]) -> None:
        """Set all codes (C, H, W)."""
        self._cells[self._inside] = codes.transpose(1, 2, 0)
        rows = np.arange(1, self._height)
        self._cells[rows + 1, rows + 1] = self._cells[rows + 1, rows]
        columns = np.arange(1, self._width)
        self._cells[columns + 1, 0] = self._cells[columns + 1, 1]

    def set(self, diagonal: int, codes: IntArray) -> None:
        """Set the codes (features, C) of a diagonal, after those of the ones before it."""
        cells = self._cells[diagonal + 2]
        cells[self._first[diagonal] + 1 : self._end[diagonal] + 1] = codes
        if diagonal + 1 < self._height:
            cells[diagonal + 2] = cells[diagonal + 1]
        if diagonal + 1 < self._width:
            cells[0] = cells[1]

    def codes(self) -> NDArray[np.uint8]:
        """All codes (C, H, W)."""
        return np.ascontiguousarray(self._cells[self._inside].transpose(2, 0, 1), np.uint8)

    def neighbours(self, diagonal: int) -> tuple[IntArray, IntArray, IntArray]:
        """What is on the left, above, and left above of a diagonal's features; (features, C)."""
        first, end = self._first[diagonal], self._end[diagonal]
        before = self._cells[diagonal + 1]
        return before[first + 1 : end + 1], before[first:end], self._cells[diagonal, first:end]

    def in_order(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """All codes, and what is on the left, above, and left above of each; (H * W, C)."""
        rows = np.arange(self._height)
        first, end = np.array(self._first)[:, None], np.array(self._end)[:, None]
        inside = (rows >= first) & (rows < end)
        return (
            self._cells[2:, 1:][inside],
            self._cells[1:-1, 1:][inside],
            self._cells[1:-1, :-1][inside],
            self._cells[:-2, :-1][inside],
        )

    def lessons(self) -> list[int]:
        """The diagonals before which both sides learn from what was coded; rising."""
        coded = known = 0
        found = []
        for diagonal, size in enumerate(self.sizes):
            if coded and coded >= _LEARN_EVERY * known:
                found.append(diagonal)
                known = coded
            coded += size
        return found


class Contexts:
    """How often each residual (code minus prediction, modulo ``codes``) occurs in each context.

    Attributes:
        codes: how many there are, 2 ** bits.
        channel_classes: 1 or CHANNEL_CLASSES.
    """

    def __init__(self, bits: int) -> None:
        shape = _SHAPES[bits]
        self.codes = 1 << bits
        self.channel_classes = shape.channel_classes
        self._shift = bits - shape.levels.bit_length() + 1
        per_activity = shape.levels * shape.channel_classes
        activities = np.digitize(np.arange(self.codes), _ACTIVITIES)
        self._activity = (activities * per_activity).astype(np.int16)
        self._counts = np.repeat(_first_counts(shape, self.codes), per_activity, axis=0)
        self._rows = np.arange(len(self._counts))

    def classify(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class of each channel of (C, H, W)."""
        sums = codes.reshape(len(codes), -1).sum(axis=1, dtype=np.int64)
        ranks = sums.argsort(kind="stable").argsort(kind="stable")
        return (ranks * self.channel_classes // len(codes)).astype(np.uint8)

    def of(
        self, left: IntArray, above: IntArray, corner: IntArray, classes: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Prediction and context of features with these neighbours; all (features, C).

        ``classes`` (C,) are those of the channels.
        """
        low = np.minimum(left, above)
        high = np.maximum(left, above)
        prediction = left + above
        prediction -= corner
        np.minimum(prediction, high, out=prediction)
        np.maximum(prediction, low, out=prediction)
        np.minimum(low, corner, out=low)
        np.maximum(high, corner, out=high)
        high -= low
        context = self._activity[high]
        level = prediction >> self._shift
        level *= self.channel_classes
        context += level
        context += classes
        return prediction, context

    def tables(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frequencies of the residuals of all contexts, and the sums of all before each.

        Both (contexts * codes,), in multiples of 2 ** -PRECISION; each at least 1.
        """
        whole = 1 << PRECISION
        totals = self._counts.sum(axis=1, keepdims=True)
        frequencies = self._counts * (whole - self.codes) // totals + 1
        commonest = self._counts.argmax(axis=1)
        frequencies[self._rows, commonest] += whole - frequencies.sum(axis=1)
        frequencies = frequencies.ravel()
        return frequencies, frequencies.cumsum() - frequencies

    def learn(self, entries: NDArray[np.int64]) -> None:
        """Count coded features, given as context * codes + residual."""
        seen = np.bincount(entries, minlength=self._counts.size)
        self._counts += _WEIGHT * seen.reshape(self._counts.shape)


def _first_counts(shape: _Shape, codes: int) -> NDArray[np.int64]:
    """Per class of activity: the farther a residual is from 0 (modulo ``codes``), the rarer."""
    rows = []
    for decay in shape.decay:
        weights = [1 << 20]
        for _ in range(codes // 2):
            weights.append(weights[-1] * decay >> 6)
        folded = [weights[min(residual, codes - residual)] for residual in range(codes)]
        rows.append([w * shape.prior * _WEIGHT // sum(folded) + shape.least for w in folded])
    return np.array(rows, np.int64)
