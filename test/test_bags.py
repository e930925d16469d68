"""Writing and reading rosbag2, whole and damaged."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability

from re_pose_ros.bags import (
    BagWriter,
    image_messages,
    image_topics,
    qos_profile,
    topics,
    typestore,
)
from re_pose_ros.bags.types import VISION_MSGS
from re_pose_ros.errors import InputError
from re_pose_ros.image_codec import encode_jpeg

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
STAMP = 1_700_000_000_000_000_000
TYPES = typestore().types


def header(stamp_ns: int) -> Any:
    time = TYPES["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return TYPES["std_msgs/msg/Header"](time, "camera_link")


def raw_image(value: int, stamp_ns: int, size: tuple[int, int] = (8, 6)) -> Any:
    width, height = size
    data = np.full(height * width * 3, value, np.uint8)
    return TYPES[IMAGE](header(stamp_ns), height, width, "bgr8", 0, width * 3, data)


def jpeg_image(value: int, stamp_ns: int) -> Any:
    data = np.frombuffer(encode_jpeg(np.full((6, 8, 3), value, np.uint8), 95), np.uint8)
    return TYPES[COMPRESSED](header(stamp_ns), "bgr8; jpeg compressed bgr8", data)


def write_images(path: Path, count: int, storage: str = "mcap", **size: Any) -> Path:
    with BagWriter(path, storage=storage) as bag:
        for k in range(count):
            stamp = STAMP + k * 10**8
            bag.write("/image_raw", IMAGE, raw_image(k, stamp, **size), stamp + 5)
    return path


def storage_file(path: Path) -> Path:
    return path if path.is_file() else next(p for p in path.iterdir() if p.suffix != ".yaml")


BAGS = [("bag.mcap", "mcap"), ("bag", "mcap"), ("bag", "sqlite3")]


@pytest.fixture(params=BAGS, ids=["bare", "mcap", "sqlite3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    name, storage = request.param
    yield tmp_path / "new" / name, storage


def test_type_hashes_are_those_of_vision_msgs(shared_data: Path) -> None:
    hashes = json.loads((shared_data / "vision_msgs_type_hashes.json").read_text())
    for name in VISION_MSGS:
        kind = f"vision_msgs/msg/{name}"
        assert typestore().hash_rihs01(kind) == hashes[kind]


def test_images_come_back(target: tuple[Path, str]) -> None:
    path, storage = target
    with BagWriter(path, storage=storage) as bag:
        for k in range(5):
            stamp = STAMP + k * 10**8
            bag.write("/raw", IMAGE, raw_image(40 * k, stamp), stamp)
            bag.write("/jpeg", COMPRESSED, jpeg_image(40 * k, stamp), stamp)
    assert path.is_file() == (path.suffix == ".mcap")
    assert list(path.parent.iterdir()) == [path]
    assert topics(path) == image_topics(path) == {"/raw": IMAGE, "/jpeg": COMPRESSED}
    for topic in ("/raw", "/jpeg"):
        frames = list(image_messages(path, topic))
        assert [f.index for f in frames] == list(range(5))
        assert [f.stamp_ns for f in frames] == [STAMP + k * 10**8 for k in range(5)]
        assert {f.frame_id for f in frames} == {"camera_link"}
        assert all(f.image.shape == (6, 8, 3) for f in frames)
        assert [round(float(f.image.mean())) for f in frames] == [0, 40, 80, 120, 160]
        assert [f.index for f in image_messages(path, topic, start=3)] == [3, 4]


def test_raw_bytes_are_written_as_they_are(target: tuple[Path, str]) -> None:
    path, storage = target
    message = TYPES[DETECTIONS](header(STAMP), [])
    data = bytes(typestore().serialize_cdr(message, DETECTIONS))
    with BagWriter(path, storage=storage) as bag:
        bag.write("/detections", DETECTIONS, data, STAMP)
        bag.write("/detections", DETECTIONS, message, STAMP + 1)
        bag.write("/detections", DETECTIONS, memoryview(data), STAMP + 2)
    with AnyReader([path]) as reader:
        messages = list(reader.messages())
        assert [bytes(raw) for _, _, raw in messages] == [data] * 3
        read: Any = reader.deserialize(messages[0][2], DETECTIONS)
        assert read.header.frame_id == "camera_link"


def test_metadata_is_what_rosbag2_expects(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with BagWriter(path) as bag:
        labels = TYPES["vision_msgs/msg/LabelInfo"](header(STAMP), [], 0.25)
        latched = qos_profile(depth=1, latched=True)
        bag.write("/labels", "vision_msgs/msg/LabelInfo", labels, STAMP, qos=latched)
        best_effort = qos_profile(reliable=False)
        bag.write("/image", IMAGE, raw_image(1, STAMP), STAMP + 7, qos=best_effort)
    content = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert content["version"] == 9
    assert content["storage_identifier"] == "mcap"
    assert content["message_count"] == 2
    assert content["duration"]["nanoseconds"] == 7
    labels_info, image_info = (t["topic_metadata"] for t in content["topics_with_message_count"])
    assert labels_info["type_description_hash"].startswith("RIHS01_3d37df40")
    (profile,) = labels_info["offered_qos_profiles"]
    assert (profile["history"], profile["depth"]) == ("keep_last", 1)
    assert (profile["reliability"], profile["durability"]) == ("reliable", "transient_local")
    assert profile["deadline"] == {"sec": 9223372036, "nsec": 854775807}
    assert image_info["offered_qos_profiles"][0]["reliability"] == "best_effort"
    with AnyReader([path]) as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}  # type: ignore[union-attr]
    assert offered["/labels"].durability is QosDurability.TRANSIENT_LOCAL
    assert offered["/image"].reliability is QosReliability.BEST_EFFORT


def test_wrong_writing_is_refused(tmp_path: Path) -> None:
    path = write_images(tmp_path / "bag.mcap", 1)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        BagWriter(path)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="storage 'zip'"):
        BagWriter(tmp_path / "new", storage="zip")
    with pytest.raises(InputError, match="needs a folder"):
        BagWriter(tmp_path / "new.mcap", storage="sqlite3")
    with pytest.raises(InputError, match="cannot create"):
        BagWriter(path / "below" / "x.mcap")
    with BagWriter(tmp_path / "new") as bag:
        bag.write("/a", IMAGE, raw_image(1, STAMP), STAMP)
        with pytest.raises(InputError, match="/a carries"):
            bag.write("/a", COMPRESSED, jpeg_image(1, STAMP), STAMP)
        with pytest.raises(InputError, match="not known"):
            bag.write("/b", "my_msgs/msg/Own", b"", STAMP)
    bag.close()
    with pytest.raises(ValueError, match="closed"):
        bag.write("/a", IMAGE, raw_image(1, STAMP), STAMP)


def test_an_exception_leaves_a_whole_bag(target: tuple[Path, str]) -> None:
    path, storage = target
    with pytest.raises(KeyError), BagWriter(path, storage=storage) as bag:
        bag.write("/image_raw", IMAGE, raw_image(9, STAMP), STAMP)
        raise KeyError
    with AnyReader([path]) as reader:
        assert reader.message_count == 1


def test_an_empty_bag_is_a_bag(target: tuple[Path, str]) -> None:
    path, storage = target
    BagWriter(path, storage=storage).close()
    with AnyReader([path]) as reader:
        assert reader.message_count == 0


def test_what_was_flushed_survives_a_kill(
    target: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    path, storage = target
    script = (
        "import os, signal, sys\n"
        "sys.path[:0] = sys.argv[3:]\n"
        "from test_bags import *\n"
        "bag = BagWriter(sys.argv[1], storage=sys.argv[2])\n"
        "for k in range(4):\n"
        "    bag.write('/image_raw', IMAGE, raw_image(k, STAMP + k), STAMP + k)\n"
        "bag.flush()\n"
        "bag.write('/image_raw', IMAGE, raw_image(9, STAMP + 9), STAMP + 9)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    here = Path(__file__).resolve()
    paths = [str(here.parent), str(here.parents[1])]
    command = [sys.executable, "-c", script, str(path), storage, *paths]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(path.parent.iterdir()) == [path]
    with caplog.at_level(logging.WARNING):
        assert [f.image[0, 0, 0] for f in image_messages(path, "/image_raw")][:4] == [0, 1, 2, 3]
    assert len(caplog.records) <= 1


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_cut_bag_gives_what_is_there(
    target: tuple[Path, str], keep: float, caplog: pytest.LogCaptureFixture
) -> None:
    path, storage = target
    write_images(path, 60, storage, size=(160, 120))
    file = storage_file(path)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    assert topics(path) == {"/image_raw": IMAGE}
    with caplog.at_level(logging.WARNING):
        values = [int(f.image[-1, -1, 0]) for f in image_messages(path, "/image_raw")]
    assert values == list(range(len(values)))
    assert 60 * keep - 3 <= len(values) < 60 * keep + 1
    assert len([r for r in caplog.records if "is damaged" in r.getMessage()]) == 1


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3"])
def test_cutting_anywhere_gives_frames_or_one_clear_error(tmp_path: Path, name: str) -> None:
    storage = "mcap" if name.endswith("mcap") else "sqlite3"
    whole = write_images(tmp_path / "whole", 8, storage, size=(64, 32))
    source = storage_file(whole).read_bytes()
    cut = tmp_path / name
    for length in range(0, len(source), 499):
        cut.write_bytes(source[:length])
        try:
            frames = list(image_messages(cut, "/image_raw"))
        except InputError:
            continue
        assert all((f.image == k).all() for k, f in enumerate(frames))


def test_a_bag_that_lost_its_metadata_is_read(tmp_path: Path) -> None:
    path = write_images(tmp_path / "bag", 3)
    (path / "metadata.yaml").unlink()
    assert len(list(image_messages(path, "/image_raw"))) == 3


def test_corrupt_messages_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bag"
    good = bytes(typestore().serialize_cdr(jpeg_image(9, STAMP), COMPRESSED))
    cut = jpeg_image(9, STAMP)
    cut.data = cut.data[: len(cut.data) // 2]
    with BagWriter(path) as bag:
        for data in (good, b"", good[:30], b"\x00\x01\x00\x00" + b"\xff" * 50, cut, good):
            bag.write("/jpeg", COMPRESSED, data, STAMP)
    with caplog.at_level(logging.WARNING):
        assert [f.index for f in image_messages(path, "/jpeg")] == [0, 5]
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 2
    assert "message 1 on /jpeg skipped" in told[0]
    assert "4 messages on /jpeg skipped in all" in told[1]


def test_the_time_of_recording_stands_in_for_an_empty_stamp(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/image_raw", IMAGE, raw_image(1, 0), STAMP)
    assert next(image_messages(tmp_path / "bag", "/image_raw")).stamp_ns == STAMP


def test_what_is_no_bag_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        topics(tmp_path / "missing.mcap")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither metadata"):
        topics(tmp_path / "empty")
    for name in ("junk.mcap", "junk.db3"):
        (tmp_path / name).write_bytes(b"no bag at all" * 50)
        with pytest.raises(InputError, match="cannot be read"):
            topics(tmp_path / name)
    path = write_images(tmp_path / "bag", 1)
    with pytest.raises(InputError, match=r"no images on /other; it has /image_raw"):
        next(image_messages(path, "/other"))
    (path / "metadata.yaml").write_text("a: [")
    assert topics(path) == {"/image_raw": IMAGE}
