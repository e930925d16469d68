"""Kalman filters of many objects at once, one per object and coordinate.

The model is that of nearly constant velocity (Bar-Shalom, Li and Kirubarajan, Estimation with
Applications to Tracking and Navigation, 2001, section 6.2.2) whose velocity falls back to a mean,
as acceleration does in Singer's model (ibid., section 8.2.3): over long times nobody keeps going.
The coordinates do not influence one another, so all covariances are 2x2 blocks on the diagonal, as
in SORT (Bewley et al., ICIP 2016) but with width and height, in logarithms, for area and aspect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Index

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """N objects by four coordinates: centre x and y in pixels, and the natural logarithms of width
    and height in pixels.

    ``state`` (5, N, 4) holds for the four coordinates: the value, its rate of change per second,
    the variance of the value, the covariance of both, and the variance of the rate.
    """

    state: Array

    @classmethod
    def of(
        cls, value: Array, rate: Array, variance: Array, covariance: Array, rate_variance: Array
    ) -> Motion:
        """From (N, 4) each."""
        return cls(np.array([value, rate, variance, covariance, rate_variance], np.float64))

    @classmethod
    def concatenate(cls, parts: Sequence[Motion]) -> Motion:
        return cls(np.concatenate([part.state for part in parts], axis=1))

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

    def take(self, index: Index) -> Motion:
        return Motion(self.state[:, index])

    def boxes(self) -> Array:
        """Expected boxes as corners, shape (N, 4)."""
        half = np.exp(self.value[:, 2:]) / 2
        return np.concatenate([self.value[:, :2] - half, self.value[:, :2] + half], axis=1)


def coordinates(boxes: Array) -> Array:
    """The four coordinates of (N, 4) boxes given as corners; sides below a pixel count as one."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, np.log(sides)], axis=1)


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
        drive: (N, 4) spectral density of the noise: how much the rate's variance grows per second.
    """
    kept = np.exp(-dt_s / memory_s)
    reach = memory_s * (1 - kept)
    own = motion.rate - mean_rate
    by_rate = memory_s / 2 * (1 - kept**2)
    by_both = reach**2 / 2
    # Series for short steps, where the exact difference of nearly equal terms would lose digits.
    short = dt_s / memory_s
    exact = memory_s**3 * (short - 2 * (1 - kept) + (1 - kept**2) / 2)
    by_value = np.where(short < 1e-3, dt_s**3 / 3 * (1 - 0.75 * short), exact)
    cross = motion.covariance + reach * motion.rate_variance
    return Motion.of(
        motion.value + mean_rate * dt_s + reach * own,
        mean_rate + kept * own,
        motion.variance + reach * (motion.covariance + cross) + by_value * drive,
        kept * cross + by_both * drive,
        kept**2 * motion.rate_variance + by_rate * drive,
    )


def correct(motion: Motion, innovation: Array, noise: Array) -> Motion:
    """The objects after one measurement each.

    Args:
        motion: N objects.
        innovation: (N, 4) measured less expected value.
        noise: (N, 4) variance of the measurement, above 0.
    """
    total = motion.variance + noise
    gain, rate_gain = motion.variance / total, motion.covariance / total
    return Motion.of(
        motion.value + gain * innovation,
        motion.rate + rate_gain * innovation,
        motion.variance * noise / total,
        motion.covariance * noise / total,
        motion.rate_variance - rate_gain * motion.covariance,
    )
