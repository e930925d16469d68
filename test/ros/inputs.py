"""Small sources of each kind, whose frame k is of one brightness that tells k, and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from re_pose_ros.bags import BagWriter, typestore
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes.messages import header

SIZE = (64, 48)
STEP = 20
FRAMES = 4
FIRST_STAMP = 1_700_000_000_000_000_000
PERIOD = 40_000_000
IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"


def picture(k: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), k * STEP, np.uint8)


def number(image: NDArray[np.uint8]) -> int:
    """The k of a picture that may have been through a lossy codec."""
    return round(float(image.mean()) / STEP)


def scene(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) in which every place looks different, smooth enough for JPEG."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return np.stack([x, y, 255 - (x + y) / 2], axis=2).astype(np.uint8)


def image_message(image: NDArray[np.uint8], stamp: int, encoding: str = "bgr8") -> Image:
    """A raw message of an image (H, W, 3) BGR; the encodings are bgr8 and rgb8."""
    height, width = image.shape[:2]
    message = Image(
        header=header(stamp, "lens"),
        height=height,
        width=width,
        encoding=encoding,
        step=3 * width,
    )
    message.data.frombytes((image if encoding == "bgr8" else image[:, :, ::-1]).tobytes())
    return message


def write_folder(path: Path, frames: int = FRAMES) -> Path:
    path.mkdir()
    for k in range(frames):
        cv2.imwrite(str(path / f"{k}.png"), picture(k))
    return path


def write_video(path: Path, frames: int = FRAMES) -> Path:
    fourcc = int.from_bytes(b"MJPG", "little")
    video = cv2.VideoWriter(str(path), fourcc, 25.0, SIZE)
    for k in range(frames):
        video.write(picture(k))
    video.release()
    return path


def write_bag(path: Path, *, storage: str = "mcap", compressed: bool = False) -> Path:
    types = typestore().types
    with BagWriter(path, storage=storage) as bag:
        for k in range(FRAMES):
            stamp = FIRST_STAMP + k * PERIOD
            time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
            head = types["std_msgs/msg/Header"](time, "mast")
            message: Any
            if compressed:
                data = np.frombuffer(encode_jpeg(picture(k), 95), np.uint8)
                message = types[COMPRESSED_TYPE](head, "jpeg", data)
            else:
                fields = (SIZE[1], SIZE[0], "bgr8", 0, SIZE[0] * 3, picture(k).reshape(-1))
                message = types[IMAGE_TYPE](head, *fields)
            bag.write("/cam/image", COMPRESSED_TYPE if compressed else IMAGE_TYPE, message, stamp)
    return path


def write_calibration(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.write_text(
        f"""
image_width: {size[0]}
image_height: {size[1]}
camera_name: mast
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0.05]}}
camera_matrix: {{rows: 3, cols: 3, data: [70.0, 0.0, 31.5, 0.0, 71.0, 23.5, 0.0, 0.0, 1.0]}}
rectification_matrix: {{rows: 3, cols: 3, data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}}
projection_matrix:
  {{rows: 3, cols: 4, data: [69.0, 0.0, 31.0, 0.0, 0.0, 70.0, 23.0, 0.0, 0.0, 0.0, 1.0, 0.0]}}
"""
    )
    return path
