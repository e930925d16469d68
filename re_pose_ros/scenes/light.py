"""Light that changes with time, and the noise of the sensor."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.scenes.ground import noise_tile

_GRID = (96, 54)
_ROWS = 64
_PAD = 509
_ONE = 128
"""What stands for a brightness of 1 in the light's picture."""


class Light:
    """Brightness, colour, cloud shadows, vignette and noise of frames of one size.

    Args:
        size: (width, height) in pixels.
        light: 0 keeps the light as it is, 1 changes it much.
        noise: 0 is none, 1 a standard deviation of about 8 of 255.
    """

    def __init__(self, size: tuple[int, int], seed: int, light: float, noise: float) -> None:
        rng = np.random.default_rng([seed, 8])
        self._size, self._seed, self._light = size, seed, light
        self._rates = rng.uniform(0.02, 0.09, 4)
        self._starts = rng.uniform(0, 2 * math.pi, 4)
        self._drift = rng.uniform(2.0, 5.0, 2) * rng.choice([-1.0, 1.0], 2)
        self._clouds = np.clip(noise_tile(rng, 8) + 0.5 * noise_tile(rng, 16), -1.2, 1.2)
        x, y = np.meshgrid(np.linspace(-1, 1, _GRID[0]), np.linspace(-1, 1, _GRID[1]))
        self._vignette = (1.0 - 0.10 * (x * x + y * y) / 2).astype(np.float32)
        self._lit = np.empty((size[1], size[0], 3), np.uint8)
        spread = 8.0 * noise
        shape = (4 * _ROWS, size[0] + _PAD, 3)
        level = np.uint8(math.ceil(3 * spread))
        field = rng.standard_normal(shape, dtype=np.float32) * spread + level
        grain = np.clip(field + 0.5, 0, 255).astype(np.uint8)
        # Brighter and darker apart: adding and subtracting bytes is what processors do best.
        self._grain = (
            (np.maximum(grain, level) - level, level - np.minimum(grain, level)) if noise else None
        )

    def field(self, time_s: float) -> NDArray[np.uint8]:
        """The light (54, 96, 3) over the picture; 128 leaves a pixel as it is."""
        waves = np.sin(2 * math.pi * self._rates * time_s + self._starts)
        bright = 1.0 + self._light * (0.10 * waves[0] + 0.05 * waves[1])
        warm = self._light * 0.05 * waves[2]
        columns, rows = _GRID
        x = np.arange(columns, dtype=np.float32)[None] * 1.6 + self._drift[0] * time_s
        y = np.arange(rows, dtype=np.float32)[:, None] * 2.4 + self._drift[1] * time_s
        shape = (rows, columns)
        cloud = cv2.remap(
            self._clouds.astype(np.float32),
            np.ascontiguousarray(np.broadcast_to(np.mod(x, 512), shape), np.float32),
            np.ascontiguousarray(np.broadcast_to(np.mod(y, 512), shape), np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        light = bright * self._vignette * (1.0 + 0.14 * self._light * cloud)
        channels = [light * (1 - warm), light, light * (1 + warm)]
        return np.clip(np.stack(channels, axis=2) * _ONE, 0, 255).astype(np.uint8)

    def apply(self, image: NDArray[np.uint8], index: int, time_s: float) -> None:
        """Light and noise, in place; a band at a time, which stays in the processor's cache."""
        cv2.resize(self.field(time_s), self._size, dst=self._lit, interpolation=cv2.INTER_LINEAR)
        height, width = image.shape[:2]
        rng = np.random.default_rng([self._seed, 9, index])
        edges = np.linspace(0, height, math.ceil(height / _ROWS) + 1).astype(int)
        spots = rng.integers(0, (3 * _ROWS, _PAD), (len(edges), 2))
        for k, (first, last) in enumerate(itertools.pairwise(edges)):
            band = image[first:last]
            cv2.multiply(band, self._lit[first:last], dst=band, scale=1 / _ONE)
            if self._grain is not None:
                y, x = spots[k]
                part = (slice(y, y + last - first), slice(x, x + width))
                cv2.add(band, self._grain[0][part], dst=band)
                cv2.subtract(band, self._grain[1][part], dst=band)
