"""Image encodings by their names in sensor_msgs/image_encodings.hpp, and conversions among them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]


class CvBridgeError(TypeError):
    """An image or message cannot be converted as asked."""


@dataclass(frozen=True)
class Encoding:
    """What the pixels of an encoding hold.

    Attributes:
        dtype: type of one value, native byte order.
        channels: values per pixel.
        colour: OpenCV's name of the colour order (``BGR``, ``GRAY``, ``BayerBG`` ...); empty
            where the encoding only says a type, as 32FC1 does.
    """

    dtype: np.dtype[Any]
    channels: int
    colour: str = ""


_DTYPES: dict[str, np.dtype[Any]] = {
    "8U": np.dtype(np.uint8),
    "8S": np.dtype(np.int8),
    "16U": np.dtype(np.uint16),
    "16S": np.dtype(np.int16),
    "32S": np.dtype(np.int32),
    "32F": np.dtype(np.float32),
    "64F": np.dtype(np.float64),
}
_TYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_TYPE_ONLY = re.compile(r"^(8U|8S|16U|16S|32S|32F|64F)(?:C([1-9][0-9]*))?$")

_ORDERS = {"mono": "GRAY", "bgr": "BGR", "rgb": "RGB", "bgra": "BGRA", "rgba": "RGBA"}
# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first two.
_BAYER = {
    "bayer_rggb": "BayerBG",
    "bayer_bggr": "BayerRG",
    "bayer_gbrg": "BayerGR",
    "bayer_grbg": "BayerGB",
}
_CHANNELS = {"BGR": 3, "RGB": 3, "BGRA": 4, "RGBA": 4}
_YUV422 = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}

_COLOURED = {
    f"{name}{bits}": Encoding(_DTYPES[f"{bits}U"], _CHANNELS.get(colour, 1), colour)
    for name, colour in (_ORDERS | _BAYER).items()
    for bits in (8, 16)
} | {name: Encoding(_DTYPES["8U"], 2, colour) for name, colour in _YUV422.items()}


def parse(name: str) -> Encoding:
    """The encoding called ``name``; raises CvBridgeError where there is none."""
    if name in _COLOURED:
        return _COLOURED[name]
    match = _TYPE_ONLY.match(name)
    if match is None:
        raise CvBridgeError(f"Unrecognized image encoding [{name}]")
    return Encoding(_DTYPES[match[1]], int(match[2] or 1))


def type_name(image: Image) -> str:
    """The type-only encoding of an (H, W) or (H, W, C) image, as ``8UC3``."""
    name = _TYPE_NAMES.get(image.dtype.newbyteorder("="))
    if name is None or image.ndim not in (2, 3):
        raise CvBridgeError(f"no encoding for an array of {image.dtype} with {image.ndim} axes")
    return f"{name}C{image.shape[2] if image.ndim == 3 else 1}"


def convert(image: Image, source: str, target: str) -> Image:
    """``image`` from one encoding to another; the image itself where nothing is to be done.

    The depth of coloured images is scaled (8 to 16 bits and back); type-only encodings can only
    change type, not the number of channels. Raises CvBridgeError where no conversion exists.
    """
    if source == target:
        return image
    have, want = parse(source), parse(target)
    if not have.colour and want.colour:
        raise CvBridgeError(
            f"[{source}] is not a color format. but [{target}] is. "
            "The conversion does not make sense"
        )
    if want.colour:
        image = _recolour(image, have.colour, want.colour)
    elif have.channels != want.channels:
        raise CvBridgeError(f"[{source}] and [{target}] do not have the same number of channels")
    return _retype(image, want.dtype)


def _recolour(image: Image, have: str, want: str) -> Image:
    if have == want:
        return image
    code = f"COLOR_YUV2{want}_{have}" if have in _YUV422.values() else f"COLOR_{have}2{want}"
    if not hasattr(cv2, code) and have.startswith("Bayer"):
        return _recolour(_recolour(image, have, "BGR"), "BGR", want)
    # Towards raw sensor formats OpenCV has no, or in some versions only a partial, way.
    if want not in _ORDERS.values() or not hasattr(cv2, code):
        raise CvBridgeError(f"no conversion from {have} to {want}")
    return np.asarray(cv2.cvtColor(image, getattr(cv2, code)))


def _retype(image: Image, dtype: np.dtype[Any]) -> Image:
    if image.dtype == dtype:
        return image
    if (image.dtype, dtype) == (_DTYPES["8U"], _DTYPES["16U"]):
        return image.astype(dtype) * dtype.type(257)
    if (image.dtype, dtype) == (_DTYPES["16U"], _DTYPES["8U"]):
        return np.asarray(cv2.convertScaleAbs(image, alpha=255 / 65535))
    if dtype.kind == "f":
        return image.astype(dtype)
    limits = np.iinfo(dtype)
    return np.rint(image).clip(limits.min, limits.max).astype(dtype)
