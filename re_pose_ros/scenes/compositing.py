"""Sprites and shadows into pictures, clipped at the edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.scenes.shapes import Sprite

Rect = tuple[int, int, int, int]


def placed(sprite: Sprite, at: tuple[int, int], size: tuple[int, int]) -> Rect | None:
    """The part inside a picture of (width, height) of a sprite whose foot is ``at``; or None."""
    x, y = at[0] + sprite.offset[0], at[1] + sprite.offset[1]
    height, width = sprite.keep.shape[:2]
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, size[0]), min(y + height, size[1])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def paste(image: NDArray[np.uint8], sprite: Sprite, at: tuple[int, int]) -> Rect | None:
    """Draw a sprite; gives the rectangle that was drawn to, or None."""
    rect = cast(image, sprite, at)
    if rect is not None:
        x1, y1, x2, y2 = rect
        x, y = at[0] + sprite.offset[0], at[1] + sprite.offset[1]
        region = image[y1:y2, x1:x2]
        cv2.add(region, sprite.bgr[y1 - y : y2 - y, x1 - x : x2 - x], dst=region)
    return rect


def cast(image: NDArray[np.uint8], shadow: Sprite, at: tuple[int, int]) -> Rect | None:
    """Darken the picture by what a sprite or shadow lets through; gives the rectangle, or None."""
    rect = placed(shadow, at, (image.shape[1], image.shape[0]))
    if rect is not None:
        x1, y1, x2, y2 = rect
        x, y = at[0] + shadow.offset[0], at[1] + shadow.offset[1]
        region = image[y1:y2, x1:x2]
        keep = shadow.keep[y1 - y : y2 - y, x1 - x : x2 - x]
        cv2.multiply(region, keep, dst=region, scale=1 / 255)
    return rect
