"""Frames from videos, images, recordings and cameras."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from re_pose_ros.bags import BagWriter, typestore
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.sources import Source, open_source
from re_pose_ros.sources.source import Feed
from re_pose_ros.sources.v4l2 import camera_options, is_camera

FRAMES = 30
STEP = 8
STAMP = 1_700_000_000_000_000_000
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def number(frame: Frame) -> int:
    """The frame number that a test picture carries as its brightness."""
    return round(float(frame.image.mean()) / STEP)


def picture(k: int, size: tuple[int, int] = (64, 48)) -> np.ndarray[Any, Any]:
    return np.full((size[1], size[0], 3), k * STEP, np.uint8)


def write_video(path: Path, fourcc: str, rate: float = 12.5) -> Path:
    code = int.from_bytes(fourcc.encode(), "little")
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, (64, 48))
    if not video.isOpened():
        pytest.skip(f"this OpenCV cannot write {fourcc}")
    for k in range(FRAMES):
        video.write(picture(k))
    video.release()
    return path


def write_folder(path: Path) -> Path:
    path.mkdir()
    for k in range(FRAMES):
        cv2.imwrite(str(path / f"frame{k}.png"), picture(k))
    (path / "notes.txt").write_text("no image")
    return path


def header(stamp_ns: int) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](time, "camera_link")


def write_bag(path: Path, storage: str, compressed: bool, topic: str = "/image_raw") -> Path:
    with BagWriter(path, storage=storage) as bag:
        for k in range(FRAMES):
            add_image(bag, topic, compressed, picture(k), STAMP + k * 40_000_000)
    return path


def add_image(bag: BagWriter, topic: str, compressed: bool, image: Any, stamp_ns: int) -> None:
    types = typestore().types
    height, width = image.shape[:2]
    if compressed:
        data = np.frombuffer(encode_jpeg(image, 95), np.uint8)
        bag.write(topic, COMPRESSED, types[COMPRESSED](header(stamp_ns), "jpeg", data), stamp_ns)
    else:
        fields = (height, width, "bgr8", 0, width * 3, image.reshape(-1))
        bag.write(topic, IMAGE, types[IMAGE](header(stamp_ns), *fields), stamp_ns + 3)


KINDS = [
    "MJPG.avi",
    "mp4v.mp4",
    "FFV1.mkv",
    "folder",
    "raw.mcap",
    "raw-mcap",
    "raw-sqlite3",
    "jpeg.mcap",
    "jpeg-sqlite3",
]


@pytest.fixture(scope="module", params=KINDS)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A source of each kind with the numbers 0 to 29 in its frames."""
    name: str = request.param
    path = tmp_path_factory.mktemp("source") / name
    if name == "folder":
        return str(write_folder(path))
    if name.startswith(("raw", "jpeg")):
        storage = "sqlite3" if name.endswith("sqlite3") else "mcap"
        return str(write_bag(path, storage, name.startswith("jpeg")))
    return str(write_video(path, name[:4]))


def test_all_frames(recorded: str) -> None:
    with open_source(recorded) as source:
        assert source.size == (64, 48)
        assert source.total == FRAMES
        assert source.replayable
        is_bag = "raw" in recorded or "jpeg" in recorded
        expected_rate = 25.0 if is_bag else 10.0 if recorded.endswith("folder") else 12.5
        assert source.rate == pytest.approx(expected_rate, rel=1e-3)
        frames = list(source)
    assert [number(f) for f in frames] == list(range(FRAMES))
    assert [f.index for f in frames] == list(range(FRAMES))
    assert all(f.size == (64, 48) and f.image.dtype == np.uint8 for f in frames)
    stamps = [STAMP + k * 40_000_000 for k in range(FRAMES)] if is_bag else [None] * FRAMES
    assert [f.stamp_ns for f in frames] == stamps
    assert {f.frame_id for f in frames} == {"camera_link" if is_bag else ""}


@pytest.mark.parametrize(
    ("start", "count", "expected"), [(7, 0, range(7, 30)), (0, 4, range(4)), (28, 9, range(28, 30))]
)
def test_start_and_count(recorded: str, start: int, count: int, expected: range) -> None:
    with open_source(recorded, start=start, count=count) as source:
        assert source.total == len(expected)
        frames = list(source)
    assert [number(f) for f in frames] == [f.index for f in frames] == list(expected)


def test_loop(recorded: str) -> None:
    with open_source(recorded, loop=True, start=27, count=8, rate=5.0) as source:
        assert source.rate == 5.0
        assert source.total == 8
        frames = list(source)
    assert [number(f) for f in frames] == [27, 28, 29, 27, 28, 29, 27, 28]
    assert [f.index for f in frames] == list(range(27, 35))
    stamps = [f.stamp_ns for f in frames]
    if stamps[0] is not None:
        assert set(np.diff(np.array(stamps, np.int64))) == {40_000_000}
    with open_source(recorded, loop=True) as source:
        assert source.total is None


def test_start_behind_the_end(recorded: str) -> None:
    with pytest.raises(InputError, match="has 30 frames"):
        open_source(recorded, start=30)


def test_a_cut_video_gives_what_decodes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.avi", "MJPG")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    numbers = [number(f) for f in open_source(str(path))]
    assert 5 < len(numbers) < FRAMES
    assert numbers == list(range(len(numbers)))


def test_a_stream_that_tells_its_field_rate(shared_data: Path) -> None:
    with open_source(str(shared_data / "video" / "plaza_720p.avi"), start=2, count=1) as source:
        assert (source.size, source.rate) == ((1280, 720), 25.0)
        assert next(source).index == 2
    assert open_source(str(shared_data / "video" / "plaza_720p.avi")).total == 341


def test_images_of_all_kinds(tmp_path: Path) -> None:
    grey = np.full((6, 8), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), grey)
    cv2.imwrite(str(tmp_path / "2.tif"), np.full((6, 8, 3), 90 * 256, np.uint16))
    cv2.imwrite(str(tmp_path / "3.PNG"), np.full((6, 8, 4), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "10.webp"), np.full((12, 20, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "20.bmp"), grey)
    source = open_source(str(tmp_path))
    frames = list(source)
    assert source.size == (8, 6)
    assert [f.size for f in frames] == [(8, 6), (8, 6), (8, 6), (20, 12), (8, 6)]
    assert all(abs(f.image.astype(int) - 90).max() <= 2 for f in frames)
    single = open_source(str(tmp_path / "3.PNG"), loop=True, count=3)
    assert [f.index for f in single] == [0, 1, 2]


def test_broken_images_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "images")
    (folder / "frame0.png").write_bytes(b"")
    cut = folder / "frame4.png"
    cut.write_bytes(cut.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        frames = list(open_source(str(folder), count=5))
    assert [number(f) for f in frames] == [1, 2, 3, 5, 6]
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert any("frame4.png" in r.getMessage() for r in caplog.records)


def test_a_bag_with_several_topics(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with BagWriter(path) as bag:
        add_image(bag, "/left/image_raw", False, picture(3), STAMP)
        add_image(bag, "/right/image_raw", True, picture(4), STAMP)
        add_image(bag, "/right/image_raw", True, picture(5, (32, 32)), STAMP + 1)
        label_info = typestore().types["vision_msgs/msg/LabelInfo"](header(STAMP), [], 0.5)
        bag.write("/labels", "vision_msgs/msg/LabelInfo", label_info, STAMP)
    with pytest.raises(InputError, match=r"choose one: /left/image_raw, /right/image_raw"):
        open_source(str(path))
    for topic in ("/right/image_raw", "right/image_raw"):
        source = open_source(str(path), topic=topic)
        assert source.size == (64, 48)
        assert [f.size for f in source] == [(64, 48), (32, 32)]
    with pytest.raises(InputError, match="no images on /labels; image topics: /left"):
        open_source(str(path), topic="/labels")


def test_a_bag_without_images(tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    with BagWriter(path) as bag:
        label_info = typestore().types["vision_msgs/msg/LabelInfo"](header(STAMP), [], 0.5)
        bag.write("/labels", "vision_msgs/msg/LabelInfo", label_info, STAMP)
    with pytest.raises(InputError, match=r"no image topic; it has /labels \(vision_msgs"):
        open_source(str(path))


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "video.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "image.png").write_bytes(b"no image")
    for spec, told in [
        ("", "no source given"),
        (str(tmp_path / "missing.mp4"), "missing.mp4 does not exist"),
        (str(tmp_path / "missing.mcap"), "missing.mcap does not exist"),
        (str(tmp_path / "missing.png"), "missing.png does not exist"),
        (str(tmp_path / "empty"), "no images .* and no rosbag2 metadata"),
        (str(tmp_path / "video.mp4"), "neither an image nor a readable video"),
        (str(tmp_path / "image.png"), "no readable image"),
        ("scene:moon", "'moon' is not known"),
        ("/dev/video987", "/dev/video987 does not exist"),
        ("987", "/dev/video987 does not exist"),
        ("987?zoom=2", "'zoom' is not known; known: fourcc"),
        ("987?width=big", "width=big needs a positive number"),
        ("987?fps=0", "fps=0 needs"),
        ("987?fourcc=MJPEG", "four letters"),
    ]:
        with pytest.raises(InputError, match=told) as caught:
            open_source(spec)
        assert "\n" not in str(caught.value)
    for wrong in ({"rate": -1.0}, {"rate": float("nan")}, {"start": -1}, {"count": -1}):
        with pytest.raises(InputError, match="must not be negative"):
            open_source(str(tmp_path), **wrong)


def test_camera_specs() -> None:
    device, values = camera_options("/dev/video2?width=3840&height=2160&fps=29.97&fourcc=MJPG")
    assert device == "/dev/video2"
    assert values["width"] == 3840
    assert values["fps"] == 29.97
    assert values["fourcc"] == cv2.VideoWriter.fourcc(*"MJPG")
    assert camera_options("3") == ("/dev/video3", {})
    assert is_camera("0?fps=5")
    assert not is_camera("0.png")
    assert not is_camera("videos/0")


class FakeCamera:
    """A cv2.VideoCapture of five frames."""

    def __init__(self, opens: bool = True) -> None:
        self.opens, self.taken, self.released = opens, 0, False

    def __call__(self, *_args: Any) -> FakeCamera:
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def set(self, _name: int, _value: float) -> bool:
        return True

    def get(self, _name: int) -> float:
        return 30.0

    def grab(self) -> bool:
        self.taken += 1
        return self.taken <= 6

    def read(self) -> tuple[bool, Any]:
        return self.grab(), picture(self.taken)[:, :, 0]

    def release(self) -> None:
        self.released = True


def test_a_live_camera(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    # /dev/null exists everywhere, as a device that is no camera.
    camera = FakeCamera()
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    with open_source("/dev/null?fps=30", start=2, loop=True) as source:
        assert (source.size, source.rate) == ((64, 48), 30.0)
        assert (source.total, source.replayable) == (None, False)
        frames = list(source)
    # The first is taken to learn the size, start drops two, the sixth is the last.
    assert [number(f) for f in frames] == [4, 5, 6]
    assert all(f.image.shape == (48, 64, 3) for f in frames)
    assert camera.released
    assert any("stopped" in r.getMessage() for r in caplog.records)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera(opens=False))
    with pytest.raises(InputError, match="busy, not permitted or no camera"):
        open_source("/dev/null")


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    source = open_source(str(write_folder(tmp_path / "images")), loop=True)
    assert [next(source).index for _ in range(3)] == [0, 1, 2]
    source.close()
    source.close()
    assert list(source) == []


def test_a_dataset_is_a_source_that_has_its_truth(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images")
    for k in range(FRAMES):
        (folder / f"frame{k}.txt").write_text(f"{k % 2} 0.5 0.5 1 1\n")
    spec = f"dataset:yolo:{folder}?names=dog,cat&start=4&step=5"
    with open_source(spec, start=1, count=3) as source:
        assert (source.size, source.rate, source.total) == ((64, 48), 10.0, 3)
        assert (source.labels, source.replayable) == (("dog", "cat"), True)
        frames = list(source)
    assert [number(frame) for frame in frames] == [9, 14, 19]
    assert [frame.index for frame in frames] == [1, 2, 3]
    assert [f.truth.class_id.tolist() for f in frames if f.truth] == [[1], [0], [1]]
    with open_source("dataset:scene:plaza?size=64x36&frames=9&step=4") as source:
        assert (source.total, source.rate) == (3, 25 / 4)
    assert open_source(str(folder)).labels == ()
    with pytest.raises(InputError, match="none does not exist"):
        open_source(f"dataset:{tmp_path}/none")


def test_a_loop_over_nothing_ends() -> None:
    feed = Feed("empty", (1, 1), 1.0, None, True, lambda start: iter(()))
    assert list(Source(feed, loop=True)) == []
