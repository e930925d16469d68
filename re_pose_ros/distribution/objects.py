"""What is believed about where objects are in the frame that is about to be partitioned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Index
from re_pose_ros.geometry import box_areas


@dataclass(frozen=True, slots=True, eq=False)
class ObjectDistribution:
    """N objects that may be in one frame, all of them with a visible part in it.

    Attributes:
        xyxy: (N, 4) float64, expected boxes in pixels of the frame, clipped to it.
        class_id: (N,) int32, index into the label list of the detections they come from.
        weight: (N,) float64 in [0, 1], probability that the object exists and is there.
        sigma: (N, 2) float64, standard deviation of the box's centre in x and y, in pixels.
        age: (N,) int32, frames since the object was last detected; 1 where that was in the last
            frame that was observed.
        track_id: (N,) int64, the same for one object in all frames.
    """

    xyxy: NDArray[np.float64]
    class_id: NDArray[np.int32]
    weight: NDArray[np.float64]
    sigma: NDArray[np.float64]
    age: NDArray[np.int32]
    track_id: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        xyxy: object,
        class_id: object = 0,
        *,
        weight: object = 1.0,
        sigma: object = 0.0,
        age: object = 1,
        track_id: object = None,
    ) -> ObjectDistribution:
        """Build from anything array-like; single values hold for all objects.

        Ground-truth boxes without more make the distribution of one who knows everything.
        ``track_id`` None counts from 0.

        Raises:
            ValueError: the lengths differ.
        """
        boxes = np.asarray(xyxy, np.float64).reshape(-1, 4)
        count = len(boxes)
        tracks = np.arange(count) if track_id is None else track_id
        return cls(
            boxes,
            np.broadcast_to(np.asarray(class_id, np.int32), (count,)).copy(),
            np.broadcast_to(np.asarray(weight, np.float64), (count,)).copy(),
            np.broadcast_to(np.asarray(sigma, np.float64), (count, 2)).copy(),
            np.broadcast_to(np.asarray(age, np.int32), (count,)).copy(),
            np.broadcast_to(np.asarray(tracks, np.int64), (count,)).copy(),
        )

    @classmethod
    def empty(cls) -> ObjectDistribution:
        return cls.of([], [])

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Square roots of the expected boxes' areas in pixels, shape (N,)."""
        return np.sqrt(box_areas(self.xyxy))

    def take(self, index: Index) -> ObjectDistribution:
        """The objects chosen by a numpy index or mask."""
        return ObjectDistribution(
            self.xyxy[index],
            self.class_id[index],
            self.weight[index],
            self.sigma[index],
            self.age[index],
            self.track_id[index],
        )
