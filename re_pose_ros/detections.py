"""The value type that every part takes and returns for detected objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.integer] | NDArray[np.bool_] | Sequence[int] | slice
"""What chooses some of N objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N objects of one frame.

    Attributes:
        xyxy: (N, 4) float32, corners in pixels of the image named by the context.
        confidence: (N,) float32 in [0, 1].
        class_id: (N,) int32, index into the label list that goes with the detections.
        block: (N,) int32, index of the block that saw the object; -1 where none is known.
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int32]
    block: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        xyxy: object,
        confidence: object,
        class_id: object,
        block: int | Sequence[int] | NDArray[np.int32] = -1,
    ) -> Detections:
        """Build from anything array-like; raises ValueError where the lengths differ."""
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        count = len(boxes)
        scores = np.asarray(confidence, np.float32).reshape(-1)
        classes = np.asarray(class_id, np.int32).reshape(-1)
        blocks = np.broadcast_to(np.asarray(block, np.int32), (count,)).copy()
        if not len(scores) == len(classes) == count:
            raise ValueError(f"{count} boxes, {len(scores)} scores, {len(classes)} classes")
        return cls(boxes, scores, classes, blocks)

    @classmethod
    def empty(cls) -> Detections:
        return cls.of([], [], [])

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All objects of ``parts`` in their order."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.xyxy for p in parts]),
            np.concatenate([p.confidence for p in parts]),
            np.concatenate([p.class_id for p in parts]),
            np.concatenate([p.block for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, index: Index) -> Detections:
        """The objects chosen by a numpy index or mask."""
        return Detections(
            self.xyxy[index],
            self.confidence[index],
            self.class_id[index],
            self.block[index],
        )

    def ranked(self) -> Detections:
        """Ordered by falling confidence; ties by class, position and block: reproducible."""
        position = (self.xyxy[:, k] for k in (3, 2, 1, 0))
        keys = (self.block, *position, self.class_id, -self.confidence)
        return self.take(np.lexsort(keys))
