"""Images as they travel in messages and files, from and to BGR arrays.

Takes plain values and buffers, so that ROS nodes, bags and files share it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.errors import InputError

# bytes, bytearray, memoryview, array.array and uint8 arrays; typing has no name for them
# before Python 3.12.
BytesLike = Any

_JPEG = (b"\xff\xd8", b"\xff\xd9")
_PNG = (b"\x89PNG", b"IEND")


class _Layout(NamedTuple):
    """Bytes per channel, channels per pixel, OpenCV conversion of the 8-bit image to BGR."""

    depth: int
    channels: int
    conversion: int | None


def _layouts() -> dict[str, _Layout]:
    # OpenCV names a Bayer pattern by its second row, ROS by its first.
    bayer = {
        "bayer_rggb": cv2.COLOR_BayerBG2BGR,
        "bayer_bggr": cv2.COLOR_BayerRG2BGR,
        "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
        "bayer_grbg": cv2.COLOR_BayerGB2BGR,
    }
    named = {
        "mono": (1, cv2.COLOR_GRAY2BGR),
        "bgr": (3, None),
        "rgb": (3, cv2.COLOR_RGB2BGR),
        "bgra": (4, cv2.COLOR_BGRA2BGR),
        "rgba": (4, cv2.COLOR_RGBA2BGR),
        **{name: (1, code) for name, code in bayer.items()},
    }
    layouts = {
        f"{name}{8 * depth}": _Layout(depth, channels, code)
        for name, (channels, code) in named.items()
        for depth in (1, 2)
    }
    for alias, name in (("UC1", "mono"), ("UC3", "bgr"), ("UC4", "bgra")):
        layouts[f"8{alias}"] = layouts[f"{name}8"]
        layouts[f"16{alias}"] = layouts[f"{name}16"]
    for alias in ("yuv422", "uyvy"):
        layouts[alias] = _Layout(1, 2, cv2.COLOR_YUV2BGR_UYVY)
    for alias in ("yuv422_yuy2", "yuyv"):
        layouts[alias] = _Layout(1, 2, cv2.COLOR_YUV2BGR_YUY2)
    return layouts


_LAYOUTS = _layouts()


def decode_raw(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: BytesLike
) -> NDArray[np.uint8]:
    """The pixels of a ``sensor_msgs/Image`` as a (H, W, 3) uint8 BGR image.

    16-bit channels keep their high byte. A ``bgr8`` image is a view of ``data`` (no copy), so
    it is read-only where the buffer is.

    Args:
        encoding: as in ``sensor_msgs/image_encodings.hpp``.
        height: rows.
        width: pixels per row.
        step: bytes per row, padding included.
        is_bigendian: byte order of 16-bit channels.
        data: ``height * step`` bytes.

    Raises:
        InputError: unknown encoding, or lengths that do not fit.
    """
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise InputError(f"image encoding '{encoding}' is not known; known: {', '.join(_LAYOUTS)}")
    pixel_bytes = layout.depth * layout.channels
    if height < 1 or width < 1:
        raise InputError(f"an image of {width}x{height} pixels has no content")
    if step < width * pixel_bytes:
        raise InputError(
            f"{width} pixels of {encoding} need {width * pixel_bytes} bytes a row, step is {step}"
        )
    size = memoryview(data).nbytes
    if size != height * step:
        raise InputError(
            f"image data has {size} bytes; {height} rows of {step} need {height * step}"
        )

    kind = "u1" if layout.depth == 1 else (">u2" if is_bigendian else "<u2")
    pixels: NDArray[Any] = np.ndarray(
        (height, width, layout.channels), kind, data, 0, (step, pixel_bytes, layout.depth)
    )
    if layout.depth == 2:
        pixels = (pixels >> 8).astype(np.uint8)
    if layout.channels == 1:
        pixels = pixels[:, :, 0]
    if layout.conversion is None:
        return pixels
    try:
        return cv2.cvtColor(pixels, layout.conversion).astype(np.uint8, copy=False)
    except cv2.error as error:
        raise InputError(
            f"{encoding} image of {width}x{height} pixels cannot be converted"
        ) from error


def decode_compressed(data: BytesLike) -> NDArray[np.uint8]:
    """An encoded image (JPEG, PNG and what else OpenCV reads) as (H, W, 3) uint8 BGR.

    Grey, 16-bit and alpha images become 8-bit BGR.

    Raises:
        InputError: no image, or a JPEG or PNG that is cut off.
    """
    encoded = memoryview(data).cast("B") if memoryview(data).nbytes else b""
    if not len(encoded):
        raise InputError("compressed image is empty")
    # Decoders fill the missing part of a cut image with grey and say nothing.
    for head, end in (_JPEG, _PNG):
        if bytes(encoded[: len(head)]) == head and bytes(encoded).rfind(end) < 0:
            raise InputError(f"compressed image is cut off after {len(encoded)} bytes")
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"compressed image cannot be decoded ({len(encoded)} bytes)") from error
    if image is None:
        raise InputError(f"compressed image cannot be decoded ({len(encoded)} bytes)")
    return image.astype(np.uint8, copy=False)


def as_bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """A grey (H, W) or BGR (H, W, 3) image of 8 bits as BGR."""
    bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    return bgr.astype(np.uint8, copy=False)


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> memoryview:
    """``image`` (H, W, 3) BGR or (H, W) grey as JPEG bytes; quality 1 to 100.

    Raises:
        InputError: an image that JPEG cannot hold (empty, or over 65535 pixels a side).
    """
    try:
        done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    except cv2.error as error:
        raise InputError(f"image of shape {image.shape} cannot become a JPEG") from error
    if not done:
        raise InputError(f"image of shape {image.shape} cannot become a JPEG")
    return encoded.reshape(-1).data
