"""One camera image with its place in the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.ground_truth import GroundTruth


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A BGR image.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: position in the source, from 0.
        stamp_ns: capture time in nanoseconds; None where the source has no clock.
        frame_id: coordinate frame of the camera; empty where the source has none. Where it changes
            from one frame to the next, another sequence begins.
        truth: what is in the image; None where that is not known.
    """

    image: NDArray[np.uint8]
    index: int
    stamp_ns: int | None = None
    frame_id: str = ""
    truth: GroundTruth | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]
