"""The camera node: every kind of source, lock-step, lifecycle, and what cannot be a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import UInt64
from vision_msgs.msg import Detection2DArray, LabelInfo

from re_pose_ros.bags import BagWriter
from re_pose_ros.datasets import open_dataset, read_truth
from re_pose_ros.datasets.annotation import class_numbers, truth_of
from re_pose_ros.image_codec import decode_compressed
from re_pose_ros.nodes.messages import to_stamp
from re_pose_ros.nodes.recorder import Recorder

from . import inputs
from .harness import Bench
from .probe import Inbox, Probe

pytestmark = pytest.mark.ros


class Heard:
    """All that a camera publishes."""

    def __init__(self, probe: Probe) -> None:
        probe.stand_in_for_fusion()
        self.raw = probe.subscribe_latched("image_raw", Image)
        self.compressed = probe.subscribe_latched("image_raw/compressed", CompressedImage)
        self.info = probe.subscribe_latched("camera_info", CameraInfo)
        self.end = probe.subscribe_latched("end_of_stream", UInt64, depth=1)

    def numbers(self) -> list[int]:
        return [inputs.number(pixels(message)) for message in self.raw]


def pixels(message: Any) -> np.ndarray:
    return np.array(message.data, np.uint8).reshape(message.height, message.width, 3)


def play_through(bench: Bench, heard: Heard) -> None:
    """Answer each frame when all of it has come, until the end is announced."""
    answered: set[int] = set()
    topics: Sequence[Inbox] = (heard.raw, heard.compressed, heard.info)

    def step() -> bool:
        complete = set.intersection(*(set(topic.stamps) for topic in topics))
        for stamp in complete - answered:
            bench.probe.fused(stamp)
        answered.update(complete)
        return len(heard.end) > 0

    bench.wait_for(step, "the end of the stream")


SOURCES: dict[str, Callable[[Path], Path]] = {
    "video.avi": inputs.write_video,
    "folder": inputs.write_folder,
    "bag.mcap": inputs.write_bag,
    "bag-sqlite": lambda path: inputs.write_bag(path, storage="sqlite3", compressed=True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_frame_on_every_topic(bench: Bench, tmp_path: Path, name: str) -> None:
    source = SOURCES[name](tmp_path / name)
    heard = Heard(bench.probe)
    recorded = name.startswith("bag")
    stamp = "source" if recorded else "now"
    camera = bench.node("camera", source=str(source), mode="lockstep", stamp=stamp)
    play_through(bench, heard)
    assert camera.wait() == 0
    assert heard.end[0].data == inputs.FRAMES
    assert heard.numbers() == list(range(inputs.FRAMES))
    decoded = [inputs.number(decode_compressed(m.data)) for m in heard.compressed]
    assert decoded == list(range(inputs.FRAMES))
    assert heard.raw.stamps == heard.compressed.stamps == heard.info.stamps
    assert heard.raw.stamps == sorted(set(heard.raw.stamps))
    if recorded:
        steps = range(inputs.FRAMES)
        assert heard.raw.stamps == [inputs.FIRST_STAMP + k * inputs.PERIOD for k in steps]
    for topic in (heard.raw, heard.compressed, heard.info):
        assert {m.header.frame_id for m in topic} == {"mast" if recorded else "camera"}
    assert {(m.width, m.height, m.encoding, m.step) for m in heard.raw} == {(64, 48, "bgr8", 192)}
    assert {(m.width, m.height) for m in heard.info} == {inputs.SIZE}
    assert all("jpeg" in message.format for message in heard.compressed)


def test_a_scene_tells_its_truth(bench: Bench, tmp_path: Path) -> None:
    spec = "scene:yard?seed=2&size=160x90&frames=3"
    truths = bench.probe.subscribe_latched("ground_truth", Detection2DArray)
    labels = bench.probe.subscribe_latched("ground_truth/label_info", LabelInfo, depth=1)
    heard = Heard(bench.probe)
    camera = bench.node("camera", source=spec, mode="lockstep")
    play_through(bench, heard)
    assert camera.wait() == 0
    bench.wait_for(lambda: len(truths) == 3 and len(labels) == 1, "the truth of every frame")
    assert truths.stamps == heard.raw.stamps
    assert {message.header.frame_id for message in truths} == {"camera"}
    names = [entry.class_name for entry in labels[0].class_map]
    scene = open_dataset(spec)
    assert tuple(names) == scene.labels
    ignored = 0
    for message, (_, expected) in zip(truths, scene, strict=True):
        truth = truth_of(message, class_numbers(names), "ground_truth")
        assert np.array_equal(truth.xyxy, expected.xyxy)
        assert np.array_equal(truth.class_id, expected.class_id)
        assert np.array_equal(truth.ignore, expected.ignore)
        assert np.array_equal(truth.track_id, expected.track_id)
        assert np.array_equal(truth.visibility, expected.visibility)
        ignored += int(truth.ignore.sum())
        plain = next(d for d in message.detections if len(d.results) == 1)
        assert plain.results[0].hypothesis.class_id in map(str, range(len(names)))
    assert ignored


def test_the_recorder_keeps_the_truth(bench: Bench, tmp_path: Path) -> None:
    spec = "scene:yard?seed=2&size=160x90&frames=2&fps=5"
    heard = Heard(bench.probe)
    with (
        BagWriter(tmp_path / "graph.mcap") as bag,
        Recorder(bench.namespace, bag, live=False) as recorder,
    ):
        camera = bench.node("camera", source=spec, mode="lockstep", stamp="source")
        play_through(bench, heard)
        recording = recorder.recording

        def kept() -> bool:
            with recorder.changed:
                return sum(f.truth is not None for f in recording.frames.values()) == 2

        bench.wait_for(kept, "the truth of both frames")
        assert camera.wait() == 0
    recorded = read_truth(tmp_path / "graph.mcap")
    scene = open_dataset(spec)
    assert recording.truth_labels == recorded.labels == scene.labels
    assert sorted(recorded.by_stamp) == heard.raw.stamps
    for stamp, (_, expected) in zip(heard.raw.stamps, scene, strict=True):
        kept_truth = recording.frames[stamp].truth
        assert kept_truth is not None
        for truth in (recorded.by_stamp[stamp], kept_truth):
            assert np.array_equal(truth.xyxy, expected.xyxy)
            assert np.array_equal(truth.ignore, expected.ignore)


def test_who_does_not_know_the_truth_offers_none(bench: Bench, tmp_path: Path) -> None:
    heard = Heard(bench.probe)
    source = inputs.write_folder(tmp_path / "images", frames=1)
    bench.node("camera", source=str(source), mode="lockstep")
    bench.wait_for(lambda: len(heard.raw) == 1, "the first frame")
    topics = {name for name, _ in bench.probe.node.get_topic_names_and_types()}
    assert f"/{bench.namespace}/image_raw" in topics
    assert not [name for name in topics if "ground_truth" in name]
    bench.probe.fused(heard.raw.stamps[0])


def test_start_count_loop_rate_and_frame_id(bench: Bench, tmp_path: Path) -> None:
    source = inputs.write_folder(tmp_path / "images")
    heard = Heard(bench.probe)
    chosen = {"start": 1, "count": 7, "loop": True, "rate": 200.0, "frame_id": "left"}
    camera = bench.node("camera", source=str(source), mode="lockstep", **chosen)
    play_through(bench, heard)
    assert camera.wait() == 0
    assert heard.numbers() == [1, 2, 3, 1, 2, 3, 1]
    assert heard.end[0].data == 7
    assert {m.header.frame_id for m in heard.info} == {"left"}
    # Numbered on, so that no two frames have one index.
    telemetry = bench.probe.telemetry["camera"]
    assert [telemetry[s]["index"] for s in heard.raw.stamps] == [str(k) for k in range(1, 8)]
    assert "200 Hz" in camera.output


def test_lockstep_sends_the_next_frame_when_the_last_is_fused(bench: Bench, tmp_path: Path) -> None:
    heard = Heard(bench.probe)
    source = inputs.write_folder(tmp_path / "images", frames=3)
    camera = bench.node("camera", source=str(source), mode="lockstep")
    for k in range(3):
        bench.wait_for(lambda k=k: len(heard.raw) > k, f"frame {k}")
        bench.probe.fused(heard.raw.stamps[k] - 1)  # an older frame's
        seen = len(bench.probe.health["camera"])
        # Two diagnostics are a second apart: time enough for a frame too many.
        bench.wait_for(lambda s=seen: len(bench.probe.health["camera"]) > s + 1, "diagnostics")
        assert len(heard.raw) == k + 1
        assert not len(heard.end)
        bench.probe.fused(heard.raw.stamps[k])
    assert camera.wait() == 0
    assert [message.data for message in heard.end] == [3]


def test_who_comes_late_gets_the_frame_that_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    probe = bench.probe
    probe.stand_in_for_fusion()
    viewer = probe.subscribe("image_raw/compressed", CompressedImage)
    source = inputs.write_folder(tmp_path / "images", frames=2)
    bench.node("camera", source=str(source), mode="lockstep")
    bench.wait_for(lambda: len(viewer) == 1, "the first frame, for the viewer")
    first = probe.subscribe_latched("image_raw", Image)
    bench.wait_for(lambda: len(first) == 1, "the first frame again")
    second = probe.subscribe_latched("image_raw", Image)
    bench.wait_for(lambda: len(second) == 1, "the first frame once more")
    assert first.stamps == second.stamps == viewer.stamps
    probe.fused(viewer.stamps[0])
    bench.wait_for(lambda: len(viewer) == len(first) == len(second) == 2, "the second frame")


def test_results_of_an_earlier_run_are_not_taken_for_this_one(bench: Bench, tmp_path: Path) -> None:
    source = inputs.write_bag(tmp_path / "bag.mcap")
    recorded = {"source": str(source), "mode": "lockstep", "stamp": "source"}
    heard = Heard(bench.probe)
    first = bench.node("camera", **recorded)
    play_through(bench, heard)
    assert first.wait() == 0
    again = bench.node("camera", **recorded)
    # The results that were kept have the same stamps, and reach it with its first frame.
    bench.wait_for(lambda: len(heard.raw) > inputs.FRAMES, "the first frame of the second run")
    seen = len(bench.probe.health["camera"])
    bench.wait_for(lambda: len(bench.probe.health["camera"]) > seen + 1, "diagnostics")
    assert inputs.FRAMES < len(heard.raw) < 2 * inputs.FRAMES
    assert len(heard.end) == 1
    assert again.code is None


def test_a_frame_that_is_never_fused_is_given_up(bench: Bench, tmp_path: Path) -> None:
    heard = Heard(bench.probe)
    source = inputs.write_folder(tmp_path / "images", frames=3)
    camera = bench.node("camera", source=str(source), mode="lockstep", fused_timeout=1.0)
    bench.wait_for(lambda: len(heard.raw) > 1, "the frame after the one given up")
    bench.wait_for_health("camera", "frame 0 was not fused in time", level=1)
    bench.wait_for(lambda: len(heard.raw) > 2, "the last frame")
    bench.probe.fused(heard.raw.stamps[2])
    assert camera.wait() == 0
    assert heard.numbers() == [0, 1, 2]
    assert heard.end[0].data == 3
    assert "frame 1 was not fused in time" in camera.output
    assert "frame 2 was not fused in time" not in camera.output


def test_live_waits_for_somebody_and_stays_after_the_end(bench: Bench, tmp_path: Path) -> None:
    source = inputs.write_video(tmp_path / "video.avi")
    reliability = f"qos_overrides./{bench.namespace}/image_raw.publisher.reliability"
    camera = bench.node(
        "camera",
        source=str(source),
        exit_on_end=False,
        arguments=["-p", f"{reliability}:=best_effort"],
    )
    bench.wait_for_health("camera", "nobody takes the frames yet", level=1, frames_published="0")
    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    raw = bench.probe.subscribe("image_raw", Image, best_effort)
    end = bench.probe.subscribe_latched("end_of_stream", UInt64, depth=1)
    bench.wait_for(lambda: len(end) > 0, "the end of the stream")
    assert end[0].data == inputs.FRAMES
    bench.wait_for_health("camera", frames_published=str(inputs.FRAMES))
    assert raw.stamps == sorted(set(raw.stamps))
    (offered,) = bench.probe.node.get_publishers_info_by_topic(f"/{bench.namespace}/image_raw")
    assert offered.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    camera.interrupt()
    assert camera.wait() == 0
    assert "Traceback" not in camera.output


def test_calibration_is_published(bench: Bench, tmp_path: Path) -> None:
    source = inputs.write_folder(tmp_path / "images", frames=1)
    calibration = inputs.write_calibration(tmp_path / "camera.yaml")
    heard = Heard(bench.probe)
    bench.node("camera", source=str(source), mode="lockstep", calibration=str(calibration))
    play_through(bench, heard)
    info = heard.info[0]
    assert info.distortion_model == "plumb_bob"
    assert list(info.d) == [0.1, -0.2, 0.001, 0.002, 0.05]
    assert list(info.k) == [70.0, 0.0, 31.5, 0.0, 71.0, 23.5, 0.0, 0.0, 1.0]
    assert list(info.p)[:8] == [69.0, 0.0, 31.0, 0.0, 0.0, 70.0, 23.0, 0.0]
    assert info.roi.width == 0  # the whole image, as camera drivers say it


def test_unusable_sources_end_with_one_line(bench: Bench, tmp_path: Path) -> None:
    good = str(inputs.write_folder(tmp_path / "images", frames=2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    other_size = inputs.write_calibration(tmp_path / "camera.yaml", (640, 480))
    bag = str(inputs.write_bag(tmp_path / "bag.mcap"))
    wrong: dict[str, tuple[dict[str, object], str]] = {
        "none": ({}, "set the parameter source"),
        "absent": ({"source": "/no/such/video.mp4"}, "/no/such/video.mp4 does not exist"),
        "empty": ({"source": str(tmp_path / "empty")}, "empty"),
        "text": ({"source": str(tmp_path / "text.mp4")}, "text.mp4"),
        "device": ({"source": "/dev/video97"}, "/dev/video97 does not exist; cameras there"),
        "index": ({"source": "98"}, "/dev/video98 does not exist"),
        "start": ({"source": good, "start": 2}, "has 2 frames; start 2"),
        "topic": ({"source": bag, "topic": "/other"}, "image topics: /cam/image"),
        "calibration": (
            {"source": good, "calibration": str(other_size)},
            "is for 640x480 pixels, the images have 64x48",
        ),
    }
    cameras = {
        name: bench.node("camera", name, mode="lockstep", **given)
        for name, (given, _) in wrong.items()
    }
    for name, (_, reason) in wrong.items():
        camera = cameras[name]
        assert camera.wait() == 2, camera.output
        assert reason in camera.output
        # FFmpeg and OpenCV may have said something too.
        ours = [line for line in camera.lines if line.startswith("[ERROR]")]
        assert len(ours) == 1, camera.output
        assert "Traceback" not in camera.output


def test_a_manager_leads_it_through_its_lifecycle(bench: Bench, tmp_path: Path) -> None:
    source = inputs.write_folder(tmp_path / "images")
    probe, heard = bench.probe, Heard(bench.probe)
    bench.node("camera", source=str(source), mode="lockstep", autostart=False)
    assert probe.state("camera") == "unconfigured"
    bench.wait_for_health("camera", "not configured", level=1)
    assert probe.change_state("camera", "configure")
    assert probe.state("camera") == "inactive"
    assert not len(heard.raw)
    assert probe.change_state("camera", "activate")
    assert probe.state("camera") == "active"
    bench.wait_for(lambda: len(heard.raw) == 1, "the first frame")
    assert probe.change_state("camera", "deactivate")
    bench.probe.fused(heard.raw.stamps[0])
    assert probe.change_state("camera", "activate")
    bench.wait_for(lambda: len(heard.raw) == 2, "the frame after the pause")
    assert heard.numbers() == [0, 1]
    assert probe.change_state("camera", "deactivate")
    assert probe.change_state("camera", "cleanup")
    assert probe.state("camera") == "unconfigured"
    assert probe.change_state("camera", "configure")
    assert probe.change_state("camera", "activate")
    bench.wait_for(lambda: len(heard.raw) == 3, "the first frame again")
    assert heard.numbers() == [0, 1, 0]


def test_a_source_that_is_not_there_yet_can_be_configured_again(
    bench: Bench, tmp_path: Path
) -> None:
    probe = bench.probe
    source = tmp_path / "images"
    camera = bench.node("camera", source=str(source), mode="lockstep", autostart=False)
    assert not probe.change_state("camera", "configure")
    assert probe.state("camera") == "unconfigured"
    bench.wait_for_health("camera", f"{source} does not exist", level=2)
    assert not probe.change_state("camera", "activate")
    inputs.write_folder(source, frames=1)
    heard = Heard(probe)
    assert probe.change_state("camera", "configure")
    assert probe.change_state("camera", "activate")
    play_through(bench, heard)
    assert heard.numbers() == [0]
    assert camera.wait() == 0


def test_simulated_time_is_stamped_and_nothing_hangs_while_it_stands(
    bench: Bench, tmp_path: Path
) -> None:
    heard = Heard(bench.probe)
    clock = bench.probe.publisher("/clock", Clock)
    source = inputs.write_folder(tmp_path / "images", frames=2)
    camera = bench.node(
        "camera", source=str(source), mode="lockstep", autostart=False, use_sim_time=True
    )
    bench.wait_for_health("camera", "not configured")
    bench.wait_for(lambda: clock.get_subscription_count() > 0, "somebody to take the time")
    clock.publish(Clock(clock=to_stamp(5_000_000_000_000)))
    assert bench.probe.change_state("camera", "configure")
    assert bench.probe.change_state("camera", "activate")
    play_through(bench, heard)
    assert camera.wait() == 0
    assert all(0 <= stamp - 5_000_000_000_000 < 10 for stamp in heard.raw.stamps)
