"""Images as they travel in messages: every encoding, and anything that is none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.errors import InputError
from re_pose_ros.image_codec import decode_compressed, decode_raw, encode_jpeg


# The same picture in every encoding: left blue, right red.
def picture() -> np.ndarray[Any, Any]:
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :6] = (200, 0, 0)
    image[:, 6:] = (0, 0, 200)
    return image


def bayer(image: np.ndarray[Any, Any], pattern: str) -> np.ndarray[Any, Any]:
    """What a sensor with this pattern of its first two rows sees of a BGR image."""
    mosaic = np.zeros(image.shape[:2], np.uint8)
    for k, letter in enumerate(pattern):
        mosaic[k // 2 :: 2, k % 2 :: 2] = image[k // 2 :: 2, k % 2 :: 2, "bgr".index(letter)]
    return mosaic


def encodings() -> dict[str, np.ndarray[Any, Any]]:
    image = picture()
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    full = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb).astype(float) - (0, 128, 128)
    # BT.601 limited range, which is what 4:2:2 video has.
    luma, cr, cb = cv2.split(full * (219 / 255, 224 / 255, 224 / 255) + (16, 128, 128))
    chroma = np.where(np.arange(12) % 2 == 0, cb, cr)
    yuyv = np.dstack([luma, chroma]).round().astype(np.uint8)
    wide = {
        "bgr8": image,
        "rgb8": image[:, :, ::-1],
        "bgra8": cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
        "rgba8": cv2.cvtColor(image, cv2.COLOR_BGR2RGBA),
        "8UC3": image,
        "8UC4": cv2.cvtColor(image, cv2.COLOR_BGR2BGRA),
        "mono8": grey,
        "8UC1": grey,
        "mono16": grey.astype("<u2") * 256 + 77,
        "16UC1": grey.astype("<u2") * 256,
        "bgr16": image.astype("<u2") * 256 + 255,
        "rgba16": cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).astype("<u2") * 256,
        "yuv422": yuyv[:, :, ::-1],
        "uyvy": yuyv[:, :, ::-1],
        "yuv422_yuy2": yuyv,
        "yuyv": yuyv,
    }
    for pattern in ("rggb", "bggr", "gbrg", "grbg"):
        wide[f"bayer_{pattern}8"] = bayer(image, pattern)
        wide[f"bayer_{pattern}16"] = bayer(image, pattern).astype("<u2") * 256
    return wide


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", encodings())
def test_every_encoding(encoding: str, padding: int) -> None:
    pixels = encodings()[encoding]
    big = pixels.astype(pixels.dtype.newbyteorder(">")) if pixels.itemsize == 2 else pixels
    for bigendian, source in ((False, pixels), (True, big)):
        rows = np.ascontiguousarray(source).view(np.uint8).reshape(8, -1)
        rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
        data = rows.tobytes()
        image = decode_raw(encoding, 8, 12, rows.shape[1], bigendian, data)
        assert image.shape == (8, 12, 3)
        assert image.dtype == np.uint8
        expected = picture()
        if encoding in ("mono8", "8UC1", "mono16", "16UC1"):
            expected = cv2.cvtColor(cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        # Away from the colour edge, where demosaicing and chroma sampling mix.
        for columns in (slice(1, 4), slice(9, 11)):
            difference = image[1:-1, columns].astype(int) - expected[1:-1, columns]
            assert abs(difference).max() <= (4 if pixels.shape[2:] == (2,) else 1)


def test_bgr_is_not_copied() -> None:
    data = bytearray(picture().tobytes())
    image = decode_raw("bgr8", 8, 12, 36, False, data)
    data[0] = 77
    assert image[0, 0, 0] == 77


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (("nv99", 2, 2, 6, bytes(12)), "'nv99' is not known"),
        (("bgr8", 2, 2, 6, bytes(11)), "11 bytes"),
        (("bgr8", 2, 2, 6, bytes(13)), "13 bytes"),
        (("bgr8", 2, 2, 5, bytes(10)), "step is 5"),
        (("bgr8", 0, 2, 6, b""), "no content"),
        (("yuv422", 2, 3, 6, bytes(12)), "cannot be converted"),
    ],
)
def test_fields_that_do_not_fit(fields: tuple[str, int, int, int, bytes], told: str) -> None:
    encoding, height, width, step, data = fields
    with pytest.raises(InputError, match=told):
        decode_raw(encoding, height, width, step, False, data)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from([*encodings(), "", "other"]),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 60),
    st.booleans(),
    st.data(),
)
def test_any_fields_decode_or_are_refused(
    encoding: str, height: int, width: int, step: int, bigendian: bool, data: st.DataObject
) -> None:
    fitting = st.just(bytes(range(60)) * height)
    buffer = data.draw(st.one_of(st.binary(max_size=40), fitting.map(lambda b: b[: height * step])))
    try:
        image = decode_raw(encoding, height, width, step, bigendian, buffer)
    except InputError:
        return
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


HEADS = [encode_jpeg(picture(), 80).tobytes(), cv2.imencode(".png", picture())[1].tobytes(), b"BM"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from([*HEADS, b""]), st.integers(0, 400), st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(head: bytes, keep: int, tail: bytes) -> None:
    try:
        image = decode_compressed(head[:keep] + tail)
    except InputError:
        return
    assert image.ndim == 3
    assert image.dtype == np.uint8


def test_compressed_images_of_all_kinds_become_bgr() -> None:
    grey = np.full((6, 8), 90, np.uint8)
    deep = np.full((6, 8, 3), 90 * 256, np.uint16)
    alpha = np.full((6, 8, 4), 90, np.uint8)
    for source in (grey, deep, alpha):
        image = decode_compressed(cv2.imencode(".png", source)[1])
        assert image.shape == (6, 8, 3)
        assert image.dtype == np.uint8
        assert abs(image.astype(int) - 90).max() <= 1
    for encoded in HEADS[:2]:
        with pytest.raises(InputError, match="cut off"):
            decode_compressed(encoded[:-20])


def test_jpeg_there_and_back() -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    image = np.dstack([ramp, ramp, ramp])
    back = decode_compressed(encode_jpeg(image, 95))
    assert abs(back.astype(int) - image).max() <= 4
    with pytest.raises(InputError, match="cannot become a JPEG"):
        encode_jpeg(np.zeros((0, 4, 3), np.uint8), 80)
