"""Boxes and blocks in full-image pixels: x to the right, y down, origin at the top-left corner.

Boxes are float arrays of shape (N, 4) holding x1, y1, x2, y2 with x2 > x1 and y2 > y1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """A rectangle of whole full-image pixels that one worker looks at.

    ``x``, ``y`` is the top-left corner; ``width`` and ``height`` are at least 1.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a block needs a positive size, got {self.width}x{self.height}")

    @property
    def xyxy(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.x + self.width, self.y + self.height

    @property
    def area(self) -> int:
        return self.width * self.height

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The block's view of ``image`` (H, W, ...); no copy."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def whole(width: int, height: int) -> Block:
    """The block that is the entire frame."""
    return Block(0, 0, width, height)


def enclosing_block(x1: float, y1: float, x2: float, y2: float, size: tuple[int, int]) -> Block:
    """The smallest block inside a frame of ``size`` (width, height) that covers the rectangle."""
    width, height = size
    left = min(max(math.floor(x1), 0), width - 1)
    top = min(max(math.floor(y1), 0), height - 1)
    right = min(max(math.ceil(x2), left + 1), width)
    bottom = min(max(math.ceil(y2), top + 1), height)
    return Block(left, top, right - left, bottom - top)


def box_areas(boxes: FloatArray) -> FloatArray:
    """Areas in square pixels, shape (N,)."""
    return (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)


def intersections(a: FloatArray, b: FloatArray) -> FloatArray:
    """Pairwise intersection areas of (N, 4) and (M, 4) boxes, shape (N, M)."""
    # Axis by axis: twice as fast as on (N, M, 2) arrays.
    wide = np.minimum(a[:, None, 2], b[None, :, 2])
    wide -= np.maximum(a[:, None, 0], b[None, :, 0])
    high = np.minimum(a[:, None, 3], b[None, :, 3])
    high -= np.maximum(a[:, None, 1], b[None, :, 1])
    np.maximum(wide, 0, out=wide)
    np.maximum(high, 0, out=high)
    wide *= high
    return wide


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Pairwise intersection over union, shape (N, M), in [0, 1]."""
    shared = intersections(a, b)
    union = box_areas(a)[:, None] + box_areas(b)[None, :]
    union -= shared
    return _ratio(shared, union)


def _ratio(part: FloatArray, whole_area: FloatArray) -> FloatArray:
    """``part`` / ``whole_area`` in place; 0 where there is no area, as ``part`` is 0 there too."""
    np.maximum(whole_area, np.finfo(whole_area.dtype).tiny, out=whole_area)
    part /= whole_area
    return part


def crop_to_full(boxes: FloatArray, block: Block, image_size: tuple[int, int]) -> FloatArray:
    """Boxes of a crop image of ``image_size`` (width, height) mapped into the full image.

    The crop shows ``block``; its scale may differ per axis, as ``camera_info.roi`` allows.
    """
    scale = np.array([block.width / image_size[0], block.height / image_size[1]])
    offset = np.array([block.x, block.y])
    return boxes * np.tile(scale, 2) + np.tile(offset, 2)
