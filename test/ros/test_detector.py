"""The detector node with a real network, on blocks and plans of the test's own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rclpy.event_handler import SubscriptionEventCallbacks
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from re_pose_ros.detection.profile import Profile, VariantProfile, from_json, write_profile
from re_pose_ros.detection.size_accuracy import SizeAccuracy
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block, iou, whole
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import (
    JPEG_FORMAT,
    camera_info_message,
    compressed_message,
    from_stamp,
    plan_message,
    read_detections,
)
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant
from re_pose_ros.scenes import CLASSES
from re_pose_ros.sources.calibration import default_calibration

from .harness import Bench, Child

pytestmark = pytest.mark.ros

LEASE_S = 1.0
PERSON, BAT = 0, 34
SMALL, LARGE = Variant("yolo11n_coco", 160), Variant("yolo11n_coco", 320)
WEIGHTS = "weights/yolo11n_coco.pt"
PHOTO = "coco256/{}/val2017/000000002153.{}"
"""640 x 480, four persons, one of them with a baseball bat."""


class Rig:
    """A detector that sees everything, and one that sees persons only; the test is their robot."""

    def __init__(self, bench: Bench, photo: NDArray[np.uint8]) -> None:
        self.bench = bench
        self.probe = bench.probe
        self.size = photo.shape[1], photo.shape[0]
        self.jpeg = bytes(encode_jpeg(photo, 95))
        self.slots = [*(Slot("edge_0", k) for k in range(3)), Slot("edge_1", 0)]
        self.plans = self.probe.publisher("plan", Detection2DArray, qos.latched(4))
        self.images = {
            slot: self.probe.publisher(f"{slot}/image/compressed", CompressedImage)
            for slot in self.slots
        }
        self.infos = {
            slot: self.probe.publisher(f"{slot}/camera_info", CameraInfo) for slot in self.slots
        }
        self.answers = {
            slot: self.probe.subscribe_latched(f"{slot}/detections", Detection2DArray)
            for slot in self.slots
        }
        self.children: dict[str, Child] = {}
        self._last = 0

    def new_stamp(self) -> int:
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def served(self) -> bool:
        """Whether both detectors take all that the test publishes."""
        publishers = [*self.images.values(), *self.infos.values()]
        matched = all(publisher.get_subscription_count() for publisher in publishers)
        return matched and self.plans.get_subscription_count() == 2

    def plan(self, blocks: Mapping[Slot, Block], variant: Variant | None = None) -> int:
        """Publish a plan; returns its stamp."""
        stamp = self.new_stamp()
        request = {slot: BlockRequest(block, variant) for slot, block in blocks.items()}
        planned = tuple(PlannedBlock(slot, asked) for slot, asked in request.items())
        self.plans.publish(plan_message(Plan(stamp, "lens", planned)))
        return stamp

    def send(self, slot: Slot, stamp: int, data: bytes | None = None) -> None:
        """Publish the photo, or other bytes, as a block."""
        self.images[slot].publish(compressed_message(JPEG_FORMAT, data or self.jpeg, stamp, "lens"))

    def answer(self, slot: Slot, stamp: int) -> Detections:
        """Waits for what the detector answers for that block."""
        inbox = self.answers[slot]
        message = self.bench.wait_for(
            lambda: inbox.by_stamp.get(stamp), f"the answer of {slot} to {stamp}"
        )
        assert message.header.frame_id == "lens"
        return read_detections(message)[0]

    def detect(self, slot: Slot, variant: Variant | None, block: Block | None = None) -> Detections:
        """The photo as the content of ``block``, or of its own size."""
        stamp = self.plan({slot: block or whole(*self.size)}, variant)
        self.send(slot, stamp)
        return self.answer(slot, stamp)

    def counts(self, node: str) -> dict[str, int]:
        values = self.bench.wait_for_health(node).values
        return {name: int(text) for name, text in values.items() if name != "variants"}


@pytest.fixture(scope="module")
def photo(shared_data: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(shared_data / PHOTO.format("images", "jpg")))
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="module")
def rig(
    shared_data: Path, photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    pytest.importorskip("ultralytics")
    common: dict[str, Any] = {
        "models": [str(shared_data / WEIGHTS)],
        "input_sizes": [160, 320],
        "profile_repeats": 1,
        "threads": 1,
        "liveliness_lease": LEASE_S,
        "batch_wait": 10.0,  # only what has come in full is worked on, however slow the machine
    }
    with Bench("detector", tmp_path_factory.mktemp("detector")) as bench:
        made = Rig(bench, photo)
        made.children = {
            "edge_0": bench.node("detector", "edge_0", slots=3, **common),
            "edge_1": bench.node("detector", "edge_1", slots=1, classes=["person"], **common),
        }
        bench.wait_for(made.served, "both detectors")
        yield made


def persons(found: Detections) -> Detections:
    return found.take(found.class_id == PERSON)


def test_the_profile_is_kept_for_late_comers_and_readable(rig: Rig) -> None:
    profiles = rig.probe.subscribe_latched("edge_0/profile", String)
    rig.bench.wait_for(lambda: len(profiles), "the profile")
    profile = from_json(profiles[0].data)
    assert profile.worker == "edge_0" and profile.device == "cpu"
    assert profile.labels[PERSON] == "person" and profile.labels[BAT] == "baseball bat"
    assert [entry.variant for entry in profile.variants] == [SMALL, LARGE]
    for entry in profile.variants:
        assert entry.time_ms > 0 and list(entry.batch_ms) == [2, 4]


def test_the_persons_of_a_photo_are_found_where_they_are(rig: Rig, shared_data: Path) -> None:
    rows = np.loadtxt(shared_data / PHOTO.format("labels", "txt"))
    width, height = rig.size
    people = rows[rows[:, 0] == PERSON]
    centre, half = people[:, 1:3] * (width, height), people[:, 3:5] * (width, height) / 2
    truth = np.hstack([centre - half, centre + half])
    found = persons(rig.detect(rig.slots[0], LARGE))
    assert (iou(truth, found.xyxy).max(axis=1) > 0.5).sum() >= 3


def test_each_slot_is_answered_once_in_pixels_of_the_whole_frame(rig: Rig) -> None:
    width, height = rig.size
    blocks = {
        rig.slots[0]: whole(width, height),
        rig.slots[1]: Block(1000, 500, 2 * width, 2 * height),
        rig.slots[2]: Block(30, 70, width, height // 2),
    }
    stamp = rig.plan(blocks, LARGE)
    for slot in blocks:
        rig.send(slot, stamp)
    first, second, third = (rig.answer(slot, stamp) for slot in blocks)
    assert len(first) >= 4
    assert np.allclose(second.xyxy, first.xyxy * 2 + [1000, 500, 1000, 500], atol=0.01)
    assert np.allclose(third.xyxy, first.xyxy * [1, 0.5, 1, 0.5] + [30, 70, 30, 70], atol=0.01)
    assert first.class_id.tolist() == second.class_id.tolist() == third.class_id.tolist()
    # The next frame is answered after this one, so nothing more comes of it.
    rig.detect(rig.slots[0], SMALL)
    assert [inbox.stamps.count(stamp) for inbox in rig.answers.values()] == [1, 1, 1, 0]
    message = rig.answers[rig.slots[1]].by_stamp[stamp]
    assert {from_stamp(d.header.stamp) for d in message.detections} == {stamp}


def test_the_blocks_of_a_plan_are_one_batch(rig: Rig) -> None:
    before = rig.counts("edge_0")
    own = rig.slots[:3]
    stamp = rig.plan(dict.fromkeys(own, whole(*rig.size)), SMALL)
    for slot in own[:2]:
        rig.send(slot, stamp)
        assert rig.images[slot].wait_for_all_acked()
    assert rig.counts("edge_0")["batches"] == before["batches"], "the third is still to come"
    rig.send(own[2], stamp)
    for slot in own:
        rig.answer(slot, stamp)
    telemetry = rig.probe.telemetry["edge_0"]
    told = rig.bench.wait_for(lambda: telemetry.get(stamp), "telemetry")
    assert told["blocks"] == "3"
    assert float(told["processing_ms"]) >= float(told["detect_ms"]) > 0
    shares = {key: float(text) for key, text in told.items() if key.startswith("compute_ms/")}
    assert set(shares) == {f"compute_ms/{slot.index}" for slot in own}
    assert min(shares.values()) > 0
    # Rounded to microseconds, each of them.
    batch = float(told["decode_ms"]) + float(told["detect_ms"])
    assert sum(shares.values()) <= batch + 0.005
    assert 0 <= float(told["queued_ms"]) <= float(told["gather_ms"])
    rig.bench.wait_for_health(
        "edge_0",
        "serving",
        level=0,
        batches=str(before["batches"] + 1),
        blocks=str(before["blocks"] + 3),
    )


def test_the_network_is_the_one_that_the_plan_asks_for(rig: Rig) -> None:
    slot = rig.slots[0]
    small, large = rig.detect(slot, SMALL), rig.detect(slot, LARGE)
    assert len(small) < len(large)

    def same(a: Detections, b: Detections) -> bool:
        return len(a) == len(b) and np.allclose(a.xyxy, b.xyxy, atol=0.01)

    assert same(rig.detect(slot, SMALL), small), "the same question has the same answer"
    assert same(rig.detect(slot, None), large), "the largest is the default"
    assert same(rig.detect(slot, Variant(SMALL.model, 100)), small), "the nearest size it has"
    assert same(rig.detect(slot, Variant(SMALL.model, 300)), large)
    assert same(rig.detect(slot, Variant("other", 160)), large), "a model that it does not have"


def test_without_a_plan_camera_info_places_the_block(rig: Rig) -> None:
    slot = rig.slots[1]
    width, height = rig.size
    block = Block(100, 50, 2 * width, 2 * height)
    expected = rig.detect(slot, None, block)
    assert rig.probe.set_parameter("edge_0", "batch_wait", 0.0) == (True, "")
    try:
        before = rig.counts("edge_0")
        nowhere = rig.new_stamp()
        rig.send(slot, nowhere)
        rig.bench.wait_for_health("edge_0", unplaced=str(before["unplaced"] + 1), level=1)
        stamp = rig.new_stamp()
        calibration = default_calibration(2 * width + 100, 2 * height + 50)
        rig.infos[slot].publish(camera_info_message(calibration, stamp, "lens", block))
        assert rig.infos[slot].wait_for_all_acked()
        rig.send(slot, stamp)
        found = rig.answer(slot, stamp)
    finally:
        assert rig.probe.set_parameter("edge_0", "batch_wait", 10.0) == (True, "")
    assert np.allclose(found.xyxy, expected.xyxy, atol=0.01) and len(found) >= 4
    assert nowhere not in rig.answers[slot].stamps


def test_what_is_no_image_is_counted_and_the_other_blocks_are_answered(rig: Rig) -> None:
    before = rig.counts("edge_0")
    stamp = rig.plan(dict.fromkeys(rig.slots[:3], whole(*rig.size)), SMALL)
    rig.send(rig.slots[0], stamp, b"no image at all")
    rig.send(rig.slots[1], stamp, rig.jpeg[: len(rig.jpeg) // 2])
    rig.send(rig.slots[2], stamp)
    assert len(rig.answer(rig.slots[2], stamp)) > 0
    rig.bench.wait_for_health(
        "edge_0", "could not be used", level=1, malformed=str(before["malformed"] + 2)
    )
    assert [stamp in rig.answers[slot].stamps for slot in rig.slots] == [False, False, True, False]


def test_messages_that_are_no_plan_are_counted(rig: Rig) -> None:
    slot = rig.slots[0]
    before = rig.counts("edge_0")
    for name, size, variant in (
        ("edge_0", 100.0, "yolo11n_coco@160"),
        (str(slot), math.nan, "yolo11n_coco@160"),
        (str(slot), 1e300, "yolo11n_coco@160"),
        (str(slot), 100.0, "as you like"),
    ):
        block = PlannedBlock(slot, BlockRequest(whole(*rig.size)))
        message = plan_message(Plan(rig.new_stamp(), "lens", (block,)))
        message.detections[0].id = name
        message.detections[0].bbox.size_x = size
        message.detections[0].results[0].hypothesis.class_id = variant
        rig.plans.publish(message)
    rig.bench.wait_for_health("edge_0", malformed=str(before["malformed"] + 4), level=1)
    assert len(rig.detect(slot, SMALL)) > 0


def test_only_the_chosen_classes_are_reported(rig: Rig) -> None:
    everything = rig.detect(rig.slots[0], LARGE)
    assert {PERSON, BAT} <= set(everything.class_id.tolist())
    chosen = rig.detect(rig.slots[3], LARGE)
    assert set(chosen.class_id.tolist()) == {PERSON}
    assert np.allclose(chosen.xyxy, persons(everything).xyxy, atol=0.01)


def test_the_death_of_a_detector_is_told_by_dds(rig: Rig) -> None:
    """The last of those that use edge_1."""
    alive: list[int] = []
    rig.probe.node.create_subscription(
        String,
        "edge_1/profile",
        lambda _: None,
        qos.presence(LEASE_S),
        event_callbacks=SubscriptionEventCallbacks(
            liveliness=lambda event: alive.append(event.alive_count)
        ),
    )
    rig.bench.wait_for(lambda: alive and alive[-1] == 1, "edge_1 to be alive")
    rig.children["edge_1"].kill()
    rig.bench.wait_for(lambda: alive[-1] == 0, "edge_1 to be gone", 10 * LEASE_S)
    assert len(rig.detect(rig.slots[0], SMALL)) > 0


def test_known_accuracy_is_published_and_a_file_that_does_not_fit_is_told(
    bench: Bench, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    known = SizeAccuracy((4, 32, 256), (0.2, 0.9), (0.1, 0.8), (50, 20))
    entries = (VariantProfile(Variant("scene-n", 320), 99.0, accuracy=known),)
    write_profile(tmp_path / "good.json", Profile("elsewhere", "cpu", CLASSES, entries, ("x",)))
    write_profile(tmp_path / "other.json", Profile("elsewhere", "cpu", ("tree",), entries))
    files = {"good": "", "other": "is for the classes tree", "absent": "does not exist"}
    for name in files:
        bench.node(
            "detector",
            name,
            models=["scene-n"],
            input_sizes=[160],
            profile_repeats=1,
            threads=1,
            profile=str(tmp_path / f"{name}.json"),
        )
    heard = {n: bench.probe.subscribe_latched(f"{n}/profile", String) for n in files}
    for name, problem in files.items():
        bench.wait_for(lambda name=name: len(heard[name]), f"the profile of {name}")
        profile = from_json(heard[name][0].data)
        (entry,) = profile.variants
        assert profile.worker == name and 0 < entry.time_ms != 99.0
        assert entry.accuracy == (None if problem else known)
        assert profile.data == (() if problem else ("x",))
        bench.wait_for_health(name, problem or "serving", level=1 if problem else 0)


def test_what_cannot_be_used_ends_the_node_with_one_line(
    bench: Bench, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ultralytics")
    good = str(shared_data / WEIGHTS)
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no weights")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("model 'absent/best.pt' does not exist", {"models": ["absent/best.pt"]}),
        ("models is empty", {"models": [""]}),
        ("input_sizes", {"models": [good], "input_sizes": [8]}),
        (f"model '{broken}' cannot be used", {"models": [str(broken)]}),
        ("the model has no class 'persn'; it has 80, as person", {"classes": ["persn"]}),
    ]
    children = [
        (line, bench.node("detector", f"edge_{k}", **{"models": [good], **values}))
        for k, (line, values) in enumerate(wrong)
    ]
    for line, child in children:
        assert child.wait() == 2, child.output
        assert sum(line in text for text in child.lines) == 1, child.output
        assert "Traceback" not in child.output
