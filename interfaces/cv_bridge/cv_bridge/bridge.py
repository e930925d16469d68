"""The converter class."""

from __future__ import annotations

import sys
from array import array

import cv2
import numpy as np
from cv_bridge.encodings import CvBridgeError, Image, convert, parse, type_name
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Header


class CvBridge:
    """Converts between ``sensor_msgs`` images and OpenCV arrays, (H, W) or (H, W, C)."""

    def cv2_to_imgmsg(
        self, cvim: Image, encoding: str = "passthrough", header: Header | None = None
    ) -> ImageMessage:
        """A message of the array's pixels.

        ``encoding`` names what they are and must fit the array's type and channels, else
        CvBridgeError; ``passthrough`` gives the type alone, as 8UC3.
        """
        _require_array(cvim)
        found = type_name(cvim)
        if encoding == "passthrough":
            encoding = found
        else:
            want = parse(encoding)
            have = parse(found)
            if (have.dtype, have.channels) != (want.dtype, want.channels):
                raise CvBridgeError(
                    f"encoding specified as {encoding}, but image has incompatible type {found}"
                )
        message = ImageMessage()
        if header is not None:
            message.header = header
        message.height, message.width = cvim.shape[:2]
        message.encoding = encoding
        order = cvim.dtype.byteorder
        message.is_bigendian = int(order == ">" or (order == "=" and sys.byteorder == "big"))
        message.data = _to_bytes(cvim)
        message.step = len(message.data) // message.height if message.height else 0
        return message

    def imgmsg_to_cv2(self, img_msg: ImageMessage, desired_encoding: str = "passthrough") -> Image:
        """The message's pixels as an array, (H, W) for one channel, else (H, W, C).

        Where nothing is converted the array is a view of the message's data, read-only if the
        data is. Raises CvBridgeError where the data is too short or there is no conversion.
        """
        encoding = parse(img_msg.encoding)
        dtype = encoding.dtype.newbyteorder(">" if img_msg.is_bigendian else "<")
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        pixel = dtype.itemsize * encoding.channels
        available = memoryview(img_msg.data).nbytes
        last_row = width * pixel if height else 0
        if step < width * pixel or available < step * max(height - 1, 0) + last_row:
            raise CvBridgeError(
                f"{img_msg.encoding} image of {width}x{height} with step {step} "
                f"does not fit its {available} bytes of data"
            )
        strides: tuple[int, ...] = (step, pixel, dtype.itemsize)
        shape: tuple[int, ...] = (height, width, encoding.channels)
        if encoding.channels == 1:
            strides, shape = strides[:2], shape[:2]
        image: Image = np.ndarray(shape, dtype, buffer=img_msg.data, strides=strides)
        if not dtype.isnative:
            image = image.astype(encoding.dtype)
        return _convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: Image, dst_format: str = "jpg") -> CompressedImage:
        """A message of the array encoded as ``dst_format``, a file ending that OpenCV writes."""
        _require_array(cvim)
        try:
            written, encoded = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(f"cannot encode the image as '{dst_format}': {error}") from error
        if not written:
            raise CvBridgeError(f"cannot encode the image as '{dst_format}'")
        message = CompressedImage()
        message.format = dst_format
        message.data = _to_bytes(encoded)
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> Image:
        """The decoded image, 8 bits deep: (H, W) if grey, else (H, W, 3) in BGR order.

        Raises CvBridgeError where the data is no image or there is no conversion.
        """
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) if data.size else None
        if image is None:
            raise CvBridgeError(f"the data of format '{cmprs_img_msg.format}' is no image")
        return _convert(image, "mono8" if image.ndim == 2 else "bgr8", desired_encoding)


def _convert(image: Image, encoding: str, desired: str) -> Image:
    if desired == "passthrough":
        return image
    try:
        return convert(image, encoding, desired)
    except cv2.error as error:
        raise CvBridgeError(str(error)) from error


def _require_array(image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError("Your input type is not a numpy array")


def _to_bytes(image: Image) -> array[int]:
    # A message takes an array('B') as it is, but checks any other sequence value by value.
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).reshape(-1).view(np.uint8).data)
    return data
