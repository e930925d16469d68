"""What interfaces/ supplies behaves as the ROS packages of the same names."""

from __future__ import annotations

import json
import time
from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

rclpy = pytest.importorskip("rclpy", reason="needs rclpy")

import vision_msgs  # noqa: E402
from cv_bridge import CvBridge, CvBridgeError  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

RELIED_ON = {
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}
BRIDGE = CvBridge()
DTYPES = {
    "8U": np.uint8,
    "8S": np.int8,
    "16U": np.uint16,
    "16S": np.int16,
    "32S": np.int32,
    "32F": np.float32,
    "64F": np.float64,
}
TYPE_ONLY = [(f"{name}C{c}", dtype, c) for name, dtype in DTYPES.items() for c in (1, 2, 3, 4)]
COLOURED: list[tuple[str, type, int]] = [
    ("mono8", np.uint8, 1),
    ("mono16", np.uint16, 1),
    ("bgr8", np.uint8, 3),
    ("rgb8", np.uint8, 3),
    ("bgr16", np.uint16, 3),
    ("rgb16", np.uint16, 3),
    ("bgra8", np.uint8, 4),
    ("rgba8", np.uint8, 4),
    ("bgra16", np.uint16, 4),
    ("rgba16", np.uint16, 4),
    ("bayer_rggb8", np.uint8, 1),
    ("bayer_gbrg16", np.uint16, 1),
    ("yuv422", np.uint8, 2),
    ("yuv422_yuy2", np.uint8, 2),
]
# Where the first two rows and columns of each pattern have their red and blue pixel.
BAYER = {
    "bayer_rggb8": ((0, 0), (1, 1)),
    "bayer_bggr8": ((1, 1), (0, 0)),
    "bayer_gbrg8": ((1, 0), (0, 1)),
    "bayer_grbg8": ((0, 1), (1, 0)),
}


def installed_hashes() -> dict[str, str]:
    """Type hashes of every installed message of vision_msgs, by full type name."""
    prefix = Path(vision_msgs.__file__).resolve().parents[4]
    found = {}
    for path in (prefix / "share/vision_msgs/msg").glob("*.json"):
        for entry in json.loads(path.read_text())["type_hashes"]:
            found[entry["type_name"]] = entry["hash_string"]
    return {name: value for name, value in found.items() if name.startswith("vision_msgs/")}


def random_image(dtype: type, channels: int, height: int = 5, width: int = 7) -> Any:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(7).integers(0, 120, shape).astype(dtype)


def message_of(image: Any, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """A message whose rows end in ``padding`` unused bytes."""
    values = image.astype(image.dtype.newbyteorder(">" if big else "<"))
    rows = [row.tobytes() + b"\xee" * padding for row in values]
    message = Image(encoding=encoding, height=image.shape[0], width=image.shape[1])
    message.step = len(rows[0])
    message.is_bigendian = int(big)
    message.data = array("B", b"".join(rows))
    return message


@pytest.mark.parametrize(("name", "value"), RELIED_ON.items())
def test_the_messages_we_use_have_the_type_hash_of_the_real_ones(name: str, value: str) -> None:
    assert installed_hashes()[f"vision_msgs/msg/{name}"] == f"RIHS01_{value}"


def test_every_message_has_the_type_hash_of_the_real_one(shared_data: Path) -> None:
    expected = json.loads((shared_data / "vision_msgs_type_hashes.json").read_text())
    assert installed_hashes() == expected


def test_the_compiled_type_announces_that_hash_on_dds() -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("overlay_test", context=context)
    try:
        node.create_publisher(Detection2DArray, "overlay_test", 1)
        deadline = time.monotonic() + 10
        while not (found := node.get_publishers_info_by_topic("overlay_test")):
            assert time.monotonic() < deadline, "the publisher was never announced"
        announced = str(found[0].topic_type_hash)
        assert RELIED_ON["Detection2DArray"] in announced or bytes(
            found[0].topic_type_hash.value
        ) == bytes.fromhex(RELIED_ON["Detection2DArray"])
    finally:
        node.destroy_node()
        context.shutdown()


@pytest.mark.parametrize(("encoding", "dtype", "channels"), TYPE_ONLY + COLOURED)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 8])
def test_every_encoding_survives_the_way_there_and_back(
    encoding: str, dtype: type, channels: int, big: bool, padding: int
) -> None:
    image = random_image(dtype, channels)
    if padding == 0:
        source = image.astype(image.dtype.newbyteorder(">")) if big else image
        message = BRIDGE.cv2_to_imgmsg(source, encoding)
        assert message.encoding == encoding
        assert message.is_bigendian == (big and image.dtype.itemsize > 1)
    else:
        message = message_of(image, encoding, padding, big)
    back = BRIDGE.imgmsg_to_cv2(message)
    np.testing.assert_array_equal(back, image)
    assert back.shape == image.shape
    assert back.dtype == image.dtype
    assert BRIDGE.imgmsg_to_cv2(message, encoding).dtype.isnative


def test_a_message_carries_size_step_header_and_type() -> None:
    image = random_image(np.uint16, 3)
    message = BRIDGE.cv2_to_imgmsg(image, header=Header(frame_id="camera"))
    assert (message.width, message.height, message.step) == (7, 5, 42)
    assert message.encoding == "16UC3"
    assert message.header.frame_id == "camera"


def test_a_crop_can_be_sent() -> None:
    image = random_image(np.uint8, 3)[1:4, 2:5]
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image)), image)


@pytest.mark.parametrize("padding", [0, 5])
def test_reading_gives_a_view_of_the_data(padding: int) -> None:
    message = message_of(random_image(np.uint8, 3), "bgr8", padding)
    image = BRIDGE.imgmsg_to_cv2(message, "bgr8")
    message.data[0] = 255
    assert image[0, 0, 0] == 255


def test_a_4k_image_takes_no_time() -> None:
    image = np.zeros((2160, 3840, 3), np.uint8)
    start = time.perf_counter()
    BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, "bgr8"), "bgr8")
    assert time.perf_counter() - start < 0.5  # a copy; over a second if value by value


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("rgb8", cv2.COLOR_BGR2RGB),
        ("mono8", cv2.COLOR_BGR2GRAY),
        ("bgra8", cv2.COLOR_BGR2BGRA),
        ("rgba8", cv2.COLOR_BGR2RGBA),
    ],
)
def test_colours_are_converted_as_opencv_does(encoding: str, code: int) -> None:
    image = random_image(np.uint8, 3)
    converted = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, "bgr8"), encoding)
    np.testing.assert_array_equal(converted, cv2.cvtColor(image, code))


def test_depth_is_scaled_to_the_full_range() -> None:
    image = np.array([[0, 1, 128, 255]], np.uint8)
    deep = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, "mono8"), "mono16")
    np.testing.assert_array_equal(deep, [[0, 257, 128 * 257, 65535]])
    back = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(deep, "mono16"), "mono8")
    np.testing.assert_array_equal(back, image)


def test_types_are_converted_with_saturation() -> None:
    image = np.array([[-3.0, 1.4, 1e9]], np.float32)
    converted = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, "32FC1"), "16UC1")
    np.testing.assert_array_equal(converted, [[0, 1, 65535]])


@pytest.mark.parametrize(("encoding", "places"), BAYER.items())
@pytest.mark.parametrize("deep", [False, True])
def test_bayer_patterns_give_the_colour_they_saw(
    encoding: str, places: tuple[tuple[int, int], tuple[int, int]], deep: bool
) -> None:
    red, blue, green = 200, 40, 90
    pattern = np.full((2, 2), green, np.uint8)
    pattern[places[0]], pattern[places[1]] = red, blue
    image = np.tile(pattern, (4, 4))
    if deep:
        encoding, image = encoding[:-1] + "16", image.astype(np.uint16) * 257
    colours = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, encoding), "bgr8")
    np.testing.assert_array_equal(colours[3:5, 3:5], np.full((2, 2, 3), (blue, green, red)))


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_yuv422_is_decoded(encoding: str, order: str) -> None:
    luma, u, v = 82, 90, 240  # red
    pair = [{"y": luma, "u": u, "v": v}[letter] for letter in order]
    image = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (4, 2, 1))
    blue, green, red = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(image, encoding), "bgr8")[0, 0]
    assert red > 240
    assert max(blue, green) < 15


@settings(max_examples=50, derandomize=True)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    padding=st.integers(0, 7),
    kind=st.sampled_from(TYPE_ONLY + COLOURED),
)
def test_any_size_and_padding_is_read(
    height: int, width: int, padding: int, kind: tuple[str, type, int]
) -> None:
    image = random_image(kind[1], kind[2], height, width)
    read = BRIDGE.imgmsg_to_cv2(message_of(image, kind[0], padding))
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("ending", ["png", "bmp", "jpg", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_images_are_read_back(ending: str, channels: int) -> None:
    image = np.full((16, 24) if channels == 1 else (16, 24, 3), 77, np.uint8)
    message = BRIDGE.cv2_to_compressed_imgmsg(image, ending)
    assert message.format == ending
    back = BRIDGE.compressed_imgmsg_to_cv2(message, "mono8" if channels == 1 else "passthrough")
    assert back.shape == image.shape
    np.testing.assert_allclose(back, image, atol=0 if ending in ("png", "bmp") else 2)


def test_compressed_images_are_converted() -> None:
    image = random_image(np.uint8, 3)
    message = BRIDGE.cv2_to_compressed_imgmsg(image, "png")
    np.testing.assert_array_equal(
        BRIDGE.compressed_imgmsg_to_cv2(message, "rgb8"), image[:, :, ::-1]
    )


@pytest.mark.parametrize(
    ("encoding", "desired"), [("8UC3", "bgr8"), ("bgr8", "8UC1"), ("bgr8", "yuv422"), ("x", "x")]
)
def test_senseless_conversions_are_refused(encoding: str, desired: str) -> None:
    message = message_of(random_image(np.uint8, 3), encoding)
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message, desired)


def test_an_image_must_fit_its_encoding() -> None:
    with pytest.raises(CvBridgeError, match=r"mono8.*8UC3"):
        BRIDGE.cv2_to_imgmsg(random_image(np.uint8, 3), "mono8")
    with pytest.raises(TypeError, match="numpy"):
        BRIDGE.cv2_to_imgmsg([[1]])
    with pytest.raises(CvBridgeError, match="complex64"):
        BRIDGE.cv2_to_imgmsg(np.zeros((2, 2), np.complex64))


@pytest.mark.parametrize("field", ["data", "step"])
def test_a_message_too_short_for_its_size_is_refused(field: str) -> None:
    message = message_of(random_image(np.uint8, 3), "bgr8")
    setattr(message, field, message.data[:-1] if field == "data" else message.step - 1)
    with pytest.raises(CvBridgeError, match="does not fit"):
        BRIDGE.imgmsg_to_cv2(message)


@pytest.mark.parametrize("data", [b"", b"no image at all"])
def test_data_that_is_no_image_is_refused(data: bytes) -> None:
    message = CompressedImage(format="jpeg", data=array("B", data))
    with pytest.raises(CvBridgeError, match="jpeg"):
        BRIDGE.compressed_imgmsg_to_cv2(message)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(CvBridgeError, match="nonsense"):
        BRIDGE.cv2_to_compressed_imgmsg(random_image(np.uint8, 3), "nonsense")
