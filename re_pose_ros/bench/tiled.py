"""What ultralytics does with a large image by itself, where it can (``tile=``)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.model import MAX_BATCH, find_weights
from re_pose_ros.detection.networks import load_predictor, prepare_environment
from re_pose_ros.detections import Detections


def tiled_detect(
    weights: str, confidence: float, tile_size: int
) -> Callable[[NDArray[np.uint8]], Detections]:
    """A function from a (H, W, 3) uint8 BGR image to what ultralytics finds in its tiles.

    The tiles overlap by 20 percent, there is no pass over the whole image, and boxes are merged by
    ultralytics' own non-maximum suppression (docs.ultralytics.com, high-resolution tiling).

    Args:
        weights: as for ``load_model``.
        confidence: least confidence of a detection.
        tile_size: side of a tile in pixels, and of the network's input.
    """
    prepare_environment()
    options = {
        "conf": confidence,
        "tile": tile_size,
        "imgsz": tile_size,
        "batch": MAX_BATCH,
        "device": "cpu",
        "mode": "predict",
        "save": False,
        "verbose": False,
        "save_dir": tempfile.gettempdir(),
    }
    predictor = load_predictor(find_weights(weights), options)

    def detect(image: NDArray[np.uint8]) -> Detections:
        rows = predictor(image)[0].boxes.data.cpu().numpy()
        return Detections.of(rows[:, :4], rows[:, 4], rows[:, 5])

    return detect
