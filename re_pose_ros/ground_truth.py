"""What is true of one frame, whatever the format it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detections import Index

UNKNOWN_TRACK = -1


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """The N annotated objects of one frame, in pixels of its image.

    Attributes:
        xyxy: (N, 4) float32, corners, with x2 > x1 and y2 > y1.
        class_id: (N,) int32, index into the labels of the dataset.
        ignore: (N,) bool; such an object need not be found, and detections of its class on it
            cost nothing (COCO's ``iscrowd``).
        track_id: (N,) int64, the same for one object in all frames of a sequence; -1 unknown.
        visibility: (N,) float32 in [0, 1], the share that is not hidden; 1 where unknown.
        ignored_regions: (M, 4) float32, corners; detections of any class that are inside one
            cost nothing: with half of their area where an IoU of 0.5 makes a hit, else as
            ``evaluation.evaluate_coco`` says.
        annotated: the classes that were annotated in this frame, rising; detections of others
            cost nothing. None is all.
    """

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int32]
    ignore: NDArray[np.bool_]
    track_id: NDArray[np.int64]
    visibility: NDArray[np.float32]
    ignored_regions: NDArray[np.float32]
    annotated: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        xyxy: object,
        class_id: object,
        *,
        ignore: object = False,
        track_id: object = UNKNOWN_TRACK,
        visibility: object = 1.0,
        ignored_regions: object = (),
        annotated: Sequence[int] | None = None,
    ) -> GroundTruth:
        """Build from anything array-like; single values hold for all objects.

        Raises:
            ValueError: the lengths differ.
        """
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        count = len(boxes)
        return cls(
            boxes,
            np.broadcast_to(np.asarray(class_id, np.int32), (count,)).copy(),
            np.broadcast_to(np.asarray(ignore, np.bool_), (count,)).copy(),
            np.broadcast_to(np.asarray(track_id, np.int64), (count,)).copy(),
            np.broadcast_to(np.asarray(visibility, np.float32), (count,)).copy(),
            np.asarray(ignored_regions, np.float32).reshape(-1, 4),
            None if annotated is None else tuple(sorted({int(k) for k in annotated})),
        )

    @classmethod
    def empty(cls) -> GroundTruth:
        return cls.of([], [])

    def __len__(self) -> int:
        return len(self.class_id)

    def solid(self) -> GroundTruth:
        """Without objects and regions that have no area."""
        regions = self.ignored_regions[_has_area(self.ignored_regions)]
        return replace(self.take(_has_area(self.xyxy)), ignored_regions=regions)

    def take(self, index: Index) -> GroundTruth:
        """The objects chosen by a numpy index or mask; regions and classes stay."""
        return GroundTruth(
            self.xyxy[index],
            self.class_id[index],
            self.ignore[index],
            self.track_id[index],
            self.visibility[index],
            self.ignored_regions,
            self.annotated,
        )


def _has_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
