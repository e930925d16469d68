"""From an image to the network's input and back."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

PADDING_VALUE = 114
"""Grey level around the image; what ultralytics trains and predicts with."""


def canvas_size(
    image_size: tuple[int, int],
    input_size: int,
    stride: int,
    fixed_size: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """The (width, height) of the network's input for an image of ``image_size`` (width, height).

    The resized image padded to multiples of ``stride``, or ``fixed_size`` where that is given.
    """
    if fixed_size is not None:
        return fixed_size
    width, height = _resized(image_size, (input_size, input_size))
    return math.ceil(width / stride) * stride, math.ceil(height / stride) * stride


def letterbox(
    image: NDArray[np.uint8],
    input_size: int,
    stride: int,
    fixed_size: tuple[int, int] | None = None,
) -> tuple[NDArray[np.uint8], tuple[float, float], tuple[int, int]]:
    """Resize with the aspect ratio kept, so that the longer side is ``input_size``, and pad.

    With ``fixed_size`` (width, height) the image is fitted into exactly that canvas instead.
    Resizing (bilinear), rounding and centring are those of ultralytics' ``LetterBox``.

    Args:
        image: (H, W, 3) uint8.
        input_size: longer side of the resized image in pixels, at least 1.
        stride: both sides of the result are multiples of it.
        fixed_size: the only input that the network takes; None where it takes any.

    Returns:
        The padded image (H', W', 3) uint8; the scale per axis (x, y), input over image pixels;
        the padding (left, top) in input pixels.
    """
    size = image.shape[1], image.shape[0]
    resized = _resized(size, fixed_size or (input_size, input_size))
    canvas = canvas_size(size, input_size, stride, fixed_size)
    if resized != size:
        image = cv2.resize(image, resized, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    scale, (left, top) = placement(size, input_size, stride, fixed_size)
    padded = np.full((canvas[1], canvas[0], 3), PADDING_VALUE, np.uint8)
    padded[top : top + resized[1], left : left + resized[0]] = image
    return padded, scale, (left, top)


def placement(
    image_size: tuple[int, int],
    input_size: int,
    stride: int,
    fixed_size: tuple[int, int] | None = None,
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Scale and padding, as ``letterbox`` gives them, of an image of ``image_size``."""
    resized = _resized(image_size, fixed_size or (input_size, input_size))
    canvas = canvas_size(image_size, input_size, stride, fixed_size)
    scale = resized[0] / image_size[0], resized[1] / image_size[1]
    return scale, ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)


def to_image(
    boxes: NDArray[np.floating],
    scale: tuple[float, float],
    pad: tuple[int, int],
    image_size: tuple[int, int],
) -> NDArray[np.float32]:
    """Boxes (N, 4) of a letterboxed input in the pixels of its image, clipped to ``image_size``."""
    mapped = (boxes - np.tile(pad, 2)) / np.tile(scale, 2)
    return mapped.clip(0, np.tile(image_size, 2)).astype(np.float32)


def _resized(image_size: tuple[int, int], bounds: tuple[int, int]) -> tuple[int, int]:
    ratio = min(bounds[0] / image_size[0], bounds[1] / image_size[1])
    return max(round(image_size[0] * ratio), 1), max(round(image_size[1] * ratio), 1)
