"""The partitioner node between somebody else's camera and stand-ins for detectors."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from re_pose_ros.detections import Detections
from re_pose_ros.image_codec import decode_compressed, encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import JPEG_FORMAT, compressed_message, read_detections, read_roi
from re_pose_ros.partition.tiles import grid
from re_pose_ros.plan import Slot

from . import inputs
from .ends import ForeignCamera, Plans, wait_until_watched
from .harness import Bench, Child

pytestmark = pytest.mark.ros

SIZE = (320, 240)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Four blocks for a frame of SIZE.
TILES = {"partitioner": "uniform", "tile_size": 160, "overlap": 0.0}
HELD = {"deadline": 300.0}
"""Frames stay in flight for as long as the test does not say that they are fused."""


def start_partitioner(bench: Bench, *workers: str, **parameters: object) -> Child:
    return bench.node("partitioner", workers=list(workers), **{**TILES, **parameters})


# What it makes of a frame.


@pytest.mark.parametrize("transport", ["raw", "compressed"])
@pytest.mark.parametrize("profile", [BEST_EFFORT, qos.reliable()], ids=["best_effort", "reliable"])
def test_a_foreign_camera_is_cut_into_slots(
    bench: Bench, transport: str, profile: QoSProfile
) -> None:
    probe = bench.probe
    slots = [Slot("edge_0", k) for k in range(4)]
    images = [probe.subscribe(f"{slot}/image/compressed", CompressedImage) for slot in slots]
    infos = [probe.subscribe(f"{slot}/camera_info", CameraInfo) for slot in slots]
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_0", variants=["fake@64"])
    bench.node(
        "partitioner",
        workers=["edge_0"],
        image_transport=transport,
        remaps={"image_raw": "mast/image"},
        **TILES,
    )
    lens = CameraInfo(width=SIZE[0], height=SIZE[1], distortion_model="plumb_bob")
    lens.k = np.array([300.0, 0.0, 150.0, 0.0, 310.0, 110.0, 0.0, 0.0, 1.0])
    info = probe.publisher("mast/camera_info", CameraInfo, profile)
    probe.node.create_timer(0.05, lambda: info.publish(lens))
    scene = inputs.scene(SIZE)
    camera = ForeignCamera(probe, "mast/image", transport=transport, profile=profile)
    camera.stream(scene, "rgb8")

    def complete() -> int | None:
        plans.heard()
        everywhere = set.intersection(*(set(topic.stamps) for topic in [*images, *infos]))
        known = {s for s in everywhere if infos[0].by_stamp[s].k[0] == 300.0}
        return max(known & set(plans.inbox.stamps), default=None)

    stamp = bench.wait_for(complete, "a plan and all its blocks, with the camera's calibration")
    plan = plans.of(stamp)
    assert plan.frame_id == "lens"
    assert plan.slots == tuple(slots)
    assert [planned.block for planned in plan.blocks] == grid(SIZE, 160, 0.0)
    assert {str(planned.request.variant) for planned in plan.blocks} == {"fake@64"}
    planned_at = plans.inbox.sent[plans.inbox.stamps.index(stamp)]
    for planned, image, info_of_slot in zip(plan.blocks, images, infos, strict=True):
        assert image.sent[image.stamps.index(stamp)] > planned_at
        told = info_of_slot.by_stamp[stamp]
        assert read_roi(told) == planned.block
        assert (told.width, told.height) == SIZE
        assert list(told.k) == list(lens.k)
        assert told.header == image.by_stamp[stamp].header
        decoded = decode_compressed(image.by_stamp[stamp].data)
        wanted = cv2.resize(planned.block.crop(scene), (64, 64), interpolation=cv2.INTER_AREA)
        assert decoded.shape == (64, 64, 3)
        assert np.abs(decoded.astype(int) - wanted).mean() < 3.0


def test_a_foreign_detector_gets_raw_blocks(bench: Bench) -> None:
    found = bench.probe.subscribe("robo/slot_0/detections", Detection2DArray)
    plans = Plans(bench, answering=True)
    bench.fake_detector("robo", foreign=True)
    start_partitioner(bench, "robo", crop_workers=["robo"], partitioner="whole")
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[40:100, 200:240] = 255
    ForeignCamera(bench.probe).stream(image)
    bench.wait_for(lambda: plans.heard() and len(found) > 0, "an answer of the foreign detector")
    (detection,) = found[0].detections
    assert detection.results[0].hypothesis.class_id == "person"
    detections, malformed = read_detections(found[0], {"person": 0})
    assert not malformed
    assert detections.xyxy.tolist() == [[200, 40, 240, 100]]
    assert found.stamps[0] in plans.inbox.stamps


def test_frames_may_change_their_size(bench: Bench) -> None:
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0", partitioner="clusters", mode="lockstep")
    camera = ForeignCamera(bench.probe)
    wait_until_watched(bench, camera)
    everywhere = [[x, y, x + 20, y + 40] for x in range(0, 1300, 90) for y in range(0, 700, 80)]
    seen = Detections.of(everywhere, [0.8] * len(everywhere), [0] * len(everywhere))
    sizes = [(320, 240), (1280, 720), (64, 48), (1, 1), (3, 500), (640, 480), (640, 480)]
    for width, height in sizes:
        stamp = camera.send(inputs.scene((width, height)))
        plan = plans.of(stamp)
        assert plan.blocks
        for planned in plan.blocks:
            x1, y1, x2, y2 = planned.block.xyxy
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
        bench.probe.fused(stamp, seen)
    assert len(plans.inbox) == len(sizes)


# Which frames it takes.


def test_live_takes_the_newest_frame_and_counts_the_dropped(bench: Bench) -> None:
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0", in_flight=1, **HELD)
    camera = ForeignCamera(bench.probe)
    wait_until_watched(bench, camera)
    scene = inputs.scene(SIZE)
    first = camera.send(scene)
    plans.of(first)
    for received in (2, 3, 4):
        last = camera.send(scene)
        bench.wait_for_health("partitioner", received=str(received), dropped=str(received - 2))
    assert [plan.stamp_ns for plan in plans.heard()] == [first]
    bench.probe.fused(first)
    plans.of(last)
    assert [plan.stamp_ns for plan in plans.heard()] == [first, last]


def test_live_does_not_wait_for_ever_for_fusion(bench: Bench) -> None:
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0", in_flight=1, deadline=0.1)
    camera = ForeignCamera(bench.probe)
    wait_until_watched(bench, camera)
    scene = inputs.scene(SIZE)
    plans.of(camera.send(scene))
    plans.of(camera.send(scene))
    bench.wait_for_health("partitioner", not_fused="1", planned="2")


def test_lockstep_plans_every_frame_once_all_workers_are_there(bench: Bench) -> None:
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0", "edge_1", mode="lockstep")
    camera = ForeignCamera(bench.probe)
    bench.wait_for_health("partitioner", "workers missing: edge_1", level=1)
    assert not camera.watched
    bench.fake_detector("edge_1")
    wait_until_watched(bench, camera)
    stamps = []
    for _ in range(12):
        stamps.append(camera.send(inputs.scene(SIZE)))
        plan = plans.of(stamps[-1])
        assert {slot.worker for slot in plan.slots} == {"edge_0", "edge_1"}
        bench.probe.fused(stamps[-1])
    assert [plan.stamp_ns for plan in plans.heard()] == stamps
    bench.wait_for_health("partitioner", "partitioning", level=0, planned="12", dropped="0")


def test_lockstep_holds_the_next_frame_until_the_last_is_fused(bench: Bench) -> None:
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0", mode="lockstep", **HELD)
    camera = ForeignCamera(bench.probe)
    wait_until_watched(bench, camera)
    first = camera.send(inputs.scene(SIZE))
    plans.of(first)
    second = camera.send(inputs.scene(SIZE))
    bench.wait_for_health("partitioner", received="2", planned="1")
    assert [plan.stamp_ns for plan in plans.heard()] == [first]
    bench.probe.fused(first)
    plans.of(second)


# Workers.


def test_workers_come_and_go(bench: Bench) -> None:
    plans = Plans(bench, answering=True)
    start_partitioner(bench, "edge_0", "edge_1")
    camera = ForeignCamera(bench.probe)
    camera.stream(inputs.scene(SIZE))
    start = "no worker is there; start detector nodes named edge_0, edge_1"
    bench.wait_for_health("partitioner", start, level=2)
    assert not plans.heard()
    bench.fake_detector("edge_0")
    plans.next_with(["edge_0"], blocks=4)
    second = bench.fake_detector("edge_1")
    plans.next_with(["edge_0", "edge_1"], blocks=4)
    bench.wait_for_health("partitioner", "partitioning", level=0)
    second.kill()
    plans.next_with(["edge_0"], blocks=4)
    health = bench.wait_for_health("partitioner", "workers missing: edge_1", level=1)
    assert health.values["workers_missing"] == "edge_1"
    bench.fake_detector("edge_1")
    plans.next_with(["edge_0", "edge_1"], blocks=4)
    bench.wait_for_health("partitioner", "partitioning", level=0, workers_missing="")


def test_lockstep_goes_on_without_a_worker_that_never_comes(bench: Bench) -> None:
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_1", slots=3)
    start_partitioner(bench, "edge_0", "edge_1", mode="lockstep", startup_timeout=0.0)
    camera = ForeignCamera(bench.probe)
    wait_until_watched(bench, camera)
    plan = plans.of(camera.send(inputs.scene(SIZE)))
    # This worker has three slots, so the tiles have grown to fit.
    assert plan.slots == tuple(Slot("edge_1", k) for k in range(len(plan.slots)))
    assert len(plan.slots) <= 3
    assert all(planned.block.width > 160 for planned in plan.blocks)


# What it cannot use.


def bad_images(transport: str) -> list[Any]:
    good = inputs.image_message(inputs.scene(SIZE), 1)
    if transport == "compressed":
        encoded = bytes(encode_jpeg(inputs.scene(SIZE), 90))
        wrong = [b"", b"no image", encoded[: len(encoded) // 2], b"\xff\xd8\xff\xd9"]
        return [compressed_message(JPEG_FORMAT, data, 1, "lens") for data in wrong]
    short, unknown, narrow, empty, huge = (
        Image(
            header=good.header,
            height=good.height,
            width=good.width,
            encoding=good.encoding,
            step=good.step,
            data=good.data,
        )
        for _ in range(5)
    )
    short.data = good.data[:-1]
    unknown.encoding = "thermal7"
    narrow.step = good.step - 1
    empty.width = empty.height = empty.step = 0
    huge.width = huge.height = huge.step = 2**32 - 1
    return [short, unknown, narrow, empty, huge]


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_malformed_images_are_counted_and_passed_over(bench: Bench, transport: str) -> None:
    plans = Plans(bench)
    bench.fake_detector("edge_0")
    # A queue for the burst; the partitioner's own keeps the latest only.
    topic = "image_raw/compressed" if transport == "compressed" else "image_raw"
    depth = f"qos_overrides./{bench.namespace}/{topic}.subscription.depth"
    partitioner = bench.node(
        "partitioner",
        workers=["edge_0"],
        mode="lockstep",
        image_transport=transport,
        arguments=["-p", f"{depth}:=20"],
        **TILES,
    )
    camera = ForeignCamera(bench.probe, transport=transport)
    wait_until_watched(bench, camera)
    wrong = bad_images(transport)
    for message in wrong:
        camera.publisher.publish(message)
    plans.of(camera.send(inputs.scene(SIZE)))
    bench.wait_for_health("partitioner", malformed=str(len(wrong)), planned="1")
    assert len(plans.inbox) == 1
    assert "Traceback" not in partitioner.output


def test_a_topic_of_another_type_is_told(bench: Bench) -> None:
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0")
    bench.wait_for_health("partitioner", f"nobody publishes /{bench.namespace}/image_raw", level=1)
    wrong = bench.probe.publisher("image_raw", CompressedImage)
    bench.wait_for_health(
        "partitioner",
        f"/{bench.namespace}/image_raw carries sensor_msgs/msg/CompressedImage, "
        "expected sensor_msgs/msg/Image",
        level=2,
    )
    bench.probe.node.destroy_publisher(wrong)
    bench.wait_for_health("partitioner", "nobody publishes", level=1)
    ForeignCamera(bench.probe).stream(inputs.scene(SIZE))
    plans.next_with(["edge_0"], blocks=4)
    bench.wait_for_health("partitioner", "partitioning", level=0)


def test_a_publisher_may_be_replaced_by_one_of_another_qos(bench: Bench) -> None:
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_0")
    start_partitioner(bench, "edge_0")
    first = ForeignCamera(bench.probe)
    wait_until_watched(bench, first)
    plans.of(first.send(inputs.scene(SIZE)))
    bench.probe.node.destroy_publisher(first.publisher)
    second = ForeignCamera(bench.probe, profile=BEST_EFFORT)
    for _ in range(5):
        second.skip_frame()  # time has gone on
    second.stream(inputs.scene(SIZE))
    plans.next_with(["edge_0"], blocks=4)


# Lifecycle.


def test_a_manager_leads_it_through_its_lifecycle(bench: Bench) -> None:
    probe = bench.probe
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_0")
    partitioner = start_partitioner(bench, "edge_0", autostart=False)
    ForeignCamera(probe).stream(inputs.scene(SIZE))
    bench.wait_for_health("partitioner", "not configured", level=1)
    for _ in range(2):
        assert probe.change_state("partitioner", "configure")
        assert probe.change_state("partitioner", "activate")
        plans.next_with(["edge_0"], blocks=4)
        assert probe.change_state("partitioner", "deactivate")
        assert probe.change_state("partitioner", "cleanup")
        assert probe.state("partitioner") == "unconfigured"
        bench.wait_for_health("partitioner", "not configured", level=1)
    partitioner.interrupt()
    assert partitioner.wait() == 0
    assert "Traceback" not in partitioner.output


@pytest.mark.parametrize(
    ("mode", "deadline", "expected"), [("live", 3.0, 6.0), ("lockstep", 3.0, None)]
)
def test_blocks_are_sent_again_only_while_a_frame_waits_for_them(
    bench: Bench, mode: str, deadline: float, expected: float | None
) -> None:
    """In lockstep every frame is waited for, in live operation none after its deadline."""
    start_partitioner(bench, "edge_0", mode=mode, deadline=deadline)
    topic = f"/{bench.namespace}/edge_0/slot_0/image/features"
    (info,) = bench.wait_for(
        lambda: bench.probe.node.get_publishers_info_by_topic(topic), "the slot"
    )
    lifespan_s = info.qos_profile.lifespan.nanoseconds / 1e9
    assert lifespan_s == pytest.approx(expected) if expected else lifespan_s > 1e6
