"""Kalman filters of many objects at once, one per object and coordinate.

The model is that of nearly constant velocity (Bar-Shalom, Li and Kirubarajan, Estimation with
Applications to Tracking and Navigation, 2001, section 6.2.2) whose velocity falls back to a mean,
as acceleration does in Singer's model (ibid., section 8.2.3): over long times nobody keeps going.
The coordinates do not influence one another, so all covariances are 2x2 blocks on the diagonal, as
in SORT (Bewley et al., ICIP 2016) but with width and height, in logarithms, for area and aspect.

Here and in the files that use it, arrays have a row per coordinate and a column per object, along
which numpy is several times faster; boxes (4, N) are centre x and y, width and height, in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """N objects by four coordinates: centre x and y in pixels, and the natural logarithms of width
    and height in pixels.

    ``state`` (5, 4, N) holds for the four coordinates: the value, its rate of change per second,
    the variance of the value, the covariance of both, and the variance of the rate.
    """

    state: Array

    @classmethod
    def of(
        cls, value: Array, rate: Array, variance: Array, covariance: Array, rate_variance: Array
    ) -> Motion:
        """From (4, N) each."""
        return cls(np.array([value, rate, variance, covariance, rate_variance], np.float64))

    @classmethod
    def concatenate(cls, parts: Sequence[Motion]) -> Motion:
        return cls(np.concatenate([part.state for part in parts], axis=2))

    @property
    def value(self) -> Array:
        return self.state[0]

    @property
    def rate(self) -> Array:
        return self.state[1]

    @property
    def variance(self) -> Array:
        return self.state[2]

    @property
    def covariance(self) -> Array:
        return self.state[3]

    @property
    def rate_variance(self) -> Array:
        return self.state[4]

    def take(self, index: Indices) -> Motion:
        return Motion(self.state.take(index, axis=2))

    def boxes(self) -> Array:
        """Expected boxes, shape (4, N)."""
        boxes = self.value.copy()
        np.exp(boxes[2:], out=boxes[2:])
        return boxes


def boxes_of(corners: Array) -> Array:
    """(4, N) boxes of (4, N) corners, which are left, top, right and bottom."""
    boxes = np.empty_like(corners)
    np.add(corners[:2], corners[2:], out=boxes[:2])
    boxes[:2] *= 0.5
    np.subtract(corners[2:], corners[:2], out=boxes[2:])
    return boxes


def corners_of(boxes: Array) -> Array:
    """(4, N) corners of (4, N) boxes."""
    corners = np.empty_like(boxes)
    half = 0.5 * boxes[2:]
    np.subtract(boxes[:2], half, out=corners[:2])
    np.add(boxes[:2], half, out=corners[2:])
    return corners


def coordinates(boxes: Array) -> Array:
    """The four coordinates of (4, N) boxes; sides below a pixel count as one."""
    values = boxes.copy()
    np.log(np.maximum(boxes[2:], 1.0), out=values[2:])
    return values


def forecast(
    motion: Motion, dt_s: float, mean_rate: Array, memory_s: Array, drive: Array
) -> Motion:
    """The same objects ``dt_s`` seconds later; two steps give what one of their sum gives.

    With r = 1 / ``memory_s`` the rate's deviation u from ``mean_rate`` follows du = -r u dt + noise
    (Ornstein-Uhlenbeck), and the value is the rate's integral; mean and covariance are exact.

    Args:
        motion: N objects.
        dt_s: at least 0.
        mean_rate: (4,) rates that the objects fall back to.
        memory_s: (4,) time constants of that, above 0.
        drive: (4, N) spectral density of the noise: how much the rate's variance grows per second.
    """
    kinds = zip(mean_rate.tolist(), memory_s.tolist(), strict=True)
    step = np.array([_step(dt_s, mean, memory) for mean, memory in kinds])
    given = np.empty((7, *drive.shape))
    given[:5], given[5], given[6] = motion.state, drive, 1.0
    return Motion(np.matmul(step, given.swapaxes(0, 1)).swapaxes(0, 1))


def _step(dt_s: float, mean: float, memory_s: float) -> list[list[float]]:
    """The matrix (5, 7) that makes the state of one coordinate from that before, drive and 1."""
    short = dt_s / memory_s
    kept = math.exp(-short)
    lost = 1 - kept
    reach = memory_s * lost
    if short < 1e-3:
        # Series, as the exact difference of nearly equal terms would lose digits.
        by_value = dt_s**3 / 3 * (1 - 0.75 * short)
    else:
        by_value = memory_s**3 * (short - 2 * lost + (1 - kept**2) / 2)
    return [
        [1.0, reach, 0.0, 0.0, 0.0, 0.0, mean * (dt_s - reach)],
        [0.0, kept, 0.0, 0.0, 0.0, 0.0, mean * lost],
        [0.0, 0.0, 1.0, 2 * reach, reach**2, by_value, 0.0],
        [0.0, 0.0, 0.0, kept, kept * reach, reach**2 / 2, 0.0],
        [0.0, 0.0, 0.0, 0.0, kept**2, memory_s / 2 * (1 - kept**2), 0.0],
    ]


def correct(motion: Motion, innovation: Array, noise: Array) -> Motion:
    """The objects after one measurement each.

    Args:
        motion: N objects.
        innovation: (4, N) measured less expected value.
        noise: (4, N) variance of the measurement, above 0.
    """
    total = motion.variance + noise
    rate_gain = motion.covariance / total
    left = noise / total
    state = np.empty_like(motion.state)
    np.add(motion.value, motion.variance / total * innovation, out=state[0])
    np.add(motion.rate, rate_gain * innovation, out=state[1])
    np.multiply(motion.variance, left, out=state[2])
    np.multiply(motion.covariance, left, out=state[3])
    np.subtract(motion.rate_variance, rate_gain * motion.covariance, out=state[4])
    return Motion(state)
