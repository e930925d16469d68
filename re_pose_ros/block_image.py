"""A block as an image for a worker: cropped, shrunk where that saves bytes, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.plan import BlockRequest


def scaled_crop(image: NDArray[np.uint8], request: BlockRequest) -> NDArray[np.uint8]:
    """The block's pixels of a full frame (H, W, 3), at ``request.image_size``."""
    crop = request.block.crop(image)
    if request.image_size == (request.block.width, request.block.height):
        return crop
    resized = cv2.resize(crop, request.image_size, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)
