"""The fusion node, with plans, answers and profiles of the test's own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, String
from vision_msgs.msg import Detection2DArray, LabelInfo

from re_pose_ros.detection.profile import Profile, VariantProfile, to_json
from re_pose_ros.detections import Detections
from re_pose_ros.geometry import Block
from re_pose_ros.image_codec import encode_jpeg
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import (
    JPEG_FORMAT,
    camera_info_message,
    compressed_message,
    detections_message,
    from_stamp,
    header,
    plan_message,
    read_detections,
)
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot, Variant
from re_pose_ros.sources.calibration import default_calibration

from .harness import Bench, Box

pytestmark = pytest.mark.ros

LEASE_S = 2.0
NO_DEADLINE_S = 300.0
LABELS = {"edge_0": ("person", "car"), "edge_1": ("car", "person", "bus")}
"""The fusion node numbers them person 0, car 1, bus 2."""
A, A1, B = Slot("edge_0", 0), Slot("edge_0", 1), Slot("edge_1", 0)
MORTAL, FOREIGN = Slot("edge_2", 0), Slot("foreign", 0)
# Two tiles of a frame of 640 x 360 that share the columns 280 to 360.
LEFT, RIGHT = Block(0, 0, 360, 360), Block(280, 0, 360, 360)
PERSON = Box(100, 100, 140, 200)


class Rig:
    """One fusion node for all tests; a test has the stamps from ``start`` on to itself."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.probe = bench.probe
        self.results = self.probe.subscribe("detections", Detection2DArray)
        self.plans = self.probe.publisher("plan", Detection2DArray, qos.latched(4))
        self.answers = {
            slot: self.probe.publisher(f"{slot}/detections", Detection2DArray, qos.latched(4))
            for slot in (A, A1, B, MORTAL)
        }
        self.answers[FOREIGN] = self.probe.publisher(f"{FOREIGN}/detections", Detection2DArray)
        self.profiles: dict[str, Publisher] = {}
        self._last = 0

    def introduce(self, worker: str) -> None:
        """Publish its profile, which also says that it is there."""
        publisher = self.probe.publisher(f"{worker}/profile", String, qos.presence(LEASE_S))
        entry = VariantProfile(Variant("net", 320), 5.0)
        profile = Profile(worker, "cpu", LABELS[worker], (entry,))
        publisher.publish(String(data=to_json(profile)))
        self.profiles[worker] = publisher

    def new_stamp(self) -> int:
        """Later than all before."""
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def plan(
        self, blocks: Mapping[Slot, Block], stamp: int = 0, variant: Variant | None = None
    ) -> int:
        """Publish a plan; returns its stamp, a new one by default."""
        stamp = stamp or self.new_stamp()
        planned = [
            PlannedBlock(slot, BlockRequest(block, variant)) for slot, block in blocks.items()
        ]
        self.plans.publish(plan_message(Plan(stamp, "lens", tuple(planned))))
        return stamp

    def answer(self, slot: Slot, stamp: int, boxes: Sequence[Box] = ()) -> None:
        self.answers[slot].publish(answer_message(stamp, boxes))

    def result(self, stamp: int) -> Detections:
        """Waits for the detections of ``stamp``."""
        what = f"the detections of {stamp}"
        message = self.bench.wait_for(lambda: self.results.by_stamp.get(stamp), what)
        return read_detections(message)[0]

    def fuse(self, answers: Mapping[tuple[Slot, Block], Sequence[Box]], **plan: Any) -> Detections:
        """One frame from its plan to its detections."""
        stamp = self.plan(dict(answers.keys()), **plan)
        for (slot, _), boxes in answers.items():
            self.answer(slot, stamp, boxes)
        return self.result(stamp)

    def told(self, stamp: int) -> dict[str, str]:
        """Waits for what fusion tells of the frame."""
        telemetry = self.probe.telemetry["fusion"]
        return self.bench.wait_for(lambda: telemetry.get(stamp), f"telemetry of {stamp}")

    def counts(self) -> dict[str, int]:
        """Fresh counts of the diagnostics."""
        values = self.bench.wait_for_health("fusion").values
        return {name: int(text) for name, text in values.items() if name != "missing"}

    def wait_for_counts(self, **expected: int) -> None:
        values: dict[str, Any] = {name: str(count) for name, count in expected.items()}
        self.bench.wait_for_health("fusion", **values)


def answer_message(stamp: int, boxes: Sequence[Box]) -> Detection2DArray:
    found = Detections.of(
        [box[:4] for box in boxes], [box.score for box in boxes], [box.class_id for box in boxes]
    )
    return detections_message(found, stamp, "lens")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Bench("fusion", tmp_path_factory.mktemp("fusion")) as bench:
        rig = Rig(bench)
        bench.node(
            "fusion",
            workers=["edge_0", "edge_1", "edge_2", "foreign"],
            crop_workers=["foreign"],
            slots=2,
            deadline=NO_DEADLINE_S,
            liveliness_lease=LEASE_S,
        )
        labels = bench.probe.subscribe_latched("label_info", LabelInfo)
        # One by one: classes are numbered as they are heard of.
        for worker, count in (("edge_0", 2), ("edge_1", 3)):
            rig.introduce(worker)
            bench.wait_for(
                lambda count=count: labels and len(labels[-1].class_map) == count,  # type: ignore[misc]
                f"the labels of {worker}",
            )

        def heard() -> bool:
            """An empty plan is fused at once; once its result is heard, so will be all others."""
            rig.plan({})
            return len(rig.results) > 0

        bench.wait_for(heard, "the first result")
        yield rig


@pytest.fixture
def rig(started: Rig) -> Iterator[Rig]:
    """The node, with the parameters as they were."""
    yield started
    for name, value in (("deadline", NO_DEADLINE_S), ("merge_threshold", 0.5)):
        assert started.probe.set_parameter("fusion", name, value) == (True, "")


# Waiting.


def test_frames_wait_for_all_answers_and_come_once_and_in_order(rig: Rig) -> None:
    before = rig.counts()
    first = rig.plan({A: LEFT, B: RIGHT})
    second = rig.plan({A: LEFT})
    rig.answer(A, second, [PERSON])
    rig.answer(A, first)
    rig.wait_for_counts(answers=before["answers"] + 2, frames=before["frames"])
    assert not {first, second} & set(rig.results.stamps)
    rig.answer(B, first, [Box(400, 100, 440, 200, class_id=1)])
    assert rig.result(second).xyxy.tolist() == [[100, 100, 140, 200]]
    third = rig.plan({})
    rig.result(third)
    assert [s for s in rig.results.stamps if s >= first] == [first, second, third]
    message = rig.results.by_stamp[first]
    assert message.header.frame_id == "lens"
    assert [from_stamp(d.header.stamp) for d in message.detections] == [first]
    assert [d.header.frame_id for d in message.detections] == ["lens"]
    assert rig.told(first)["missing"] == ""


def test_answers_may_come_before_their_plan(rig: Rig) -> None:
    stamp = rig.new_stamp()
    rig.answer(A, stamp, [PERSON])
    rig.answer(B, stamp)
    assert rig.answers[A].wait_for_all_acked() and rig.answers[B].wait_for_all_acked()
    rig.plan({A: LEFT, B: RIGHT}, stamp)
    assert len(rig.result(stamp)) == 1 and rig.told(stamp)["missing"] == ""


def test_a_frame_without_blocks_has_no_detections(rig: Rig) -> None:
    stamp = rig.plan({})
    assert len(rig.result(stamp)) == 0


def test_at_the_deadline_comes_what_is_there_and_the_missing_slot_is_named(rig: Rig) -> None:
    before = rig.counts()
    assert rig.probe.set_parameter("fusion", "deadline", 0.2) == (True, "")
    stamp = rig.new_stamp()
    rig.answer(A, stamp, [PERSON])
    assert rig.answers[A].wait_for_all_acked()
    rig.plan({A: LEFT, B: RIGHT}, stamp)
    assert rig.result(stamp).xyxy.tolist() == [[100, 100, 140, 200]]
    assert rig.told(stamp)["missing"] == "edge_1/slot_0"
    assert "answered_ms/edge_0/slot_0" in rig.told(stamp)
    rig.bench.wait_for_health(
        "fusion",
        "last frame without edge_1/slot_0",
        level=1,
        partial=str(before["partial"] + 1),
        missing="edge_1/slot_0",
    )
    rig.answer(B, stamp, [Box(400, 100, 440, 200)])
    rig.wait_for_counts(late_answers=before["late_answers"] + 1)
    rig.result(rig.plan({}))
    assert rig.results.stamps.count(stamp) == 1, "a frame that was given out is not corrected"
    rig.bench.wait_for_health("fusion", "fusing", level=0, missing="")


def test_second_answers_and_those_not_asked_for_are_counted_and_change_nothing(rig: Rig) -> None:
    before = rig.counts()
    stamp = rig.plan({A: LEFT, B: RIGHT})
    rig.answer(A, stamp, [PERSON])
    rig.answer(A, stamp, [PERSON, Box(10, 10, 30, 30)])
    rig.answer(A1, stamp, [Box(200, 200, 250, 250)])
    rig.wait_for_counts(
        duplicate_answers=before["duplicate_answers"] + 1,
        unknown_answers=before["unknown_answers"] + 1,
    )
    rig.answer(B, stamp)
    assert len(rig.result(stamp)) == 1
    rig.plan({A: LEFT}, stamp)
    rig.wait_for_counts(stale_plans=before["stale_plans"] + 1)


def test_a_dead_worker_is_not_waited_for_until_it_is_back(rig: Rig) -> None:
    """Its frames have no deadline that would end them."""
    bench = rig.bench
    images = rig.probe.publisher(f"{MORTAL}/image/compressed", CompressedImage)
    infos = rig.probe.publisher(f"{MORTAL}/camera_info", CameraInfo)
    jpeg = bytes(encode_jpeg(np.zeros((36, 36, 3), np.uint8), 90))
    missing: list[str] = []

    def frame() -> str:
        """Sends a frame for edge_2 through; what it lacks in the end."""
        stamp = rig.plan({MORTAL: LEFT})
        infos.publish(camera_info_message(default_calibration(640, 360), stamp, "lens", LEFT))
        images.publish(compressed_message(JPEG_FORMAT, jpeg, stamp, "lens"))
        rig.result(stamp)
        missing.append(rig.told(stamp)["missing"])
        return missing[-1]

    def served() -> bool:
        # Fusion itself takes the camera_info of each worker.
        return images.get_subscription_count() == 1 and infos.get_subscription_count() == 2

    profiles = rig.probe.subscribe_latched(f"{MORTAL.worker}/profile", String)
    worker = bench.fake_detector("edge_2", liveliness_lease=LEASE_S, slots=1)
    bench.wait_for(lambda: len(profiles) == 1 and served(), "edge_2")
    assert frame() == ""

    stamp = rig.plan({A: LEFT, MORTAL: RIGHT})
    rig.answer(A, stamp, [PERSON])
    worker.kill()
    assert len(rig.result(stamp)) == 1 and rig.told(stamp)["missing"] == "edge_2/slot_0"
    while_dead = rig.plan({MORTAL: LEFT})
    rig.result(while_dead)
    assert rig.told(while_dead)["missing"] == "edge_2/slot_0"

    returned = bench.fake_detector("edge_2", liveliness_lease=LEASE_S, slots=1)
    bench.wait_for(lambda: len(profiles) == 2, "edge_2 again")
    # A block that it misses while topics are still being matched.
    assert rig.probe.set_parameter("fusion", "deadline", 5.0) == (True, "")
    bench.wait_for(lambda: frame() == "", "a frame that waits for edge_2 again")
    returned.interrupt()
    assert returned.wait() == 0


# What becomes of the answers.


def test_overlapping_blocks_are_merged_and_cut_boxes_dropped(rig: Rig) -> None:
    fused = rig.fuse(
        {
            # The first is in both blocks; the second is cut by the left block's border.
            (A, LEFT): [Box(300, 50, 330, 100, 0.6), Box(330, 200, 360, 300, 0.9)],
            (B, RIGHT): [
                Box(301, 50, 331, 100, 0.8, class_id=1),
                Box(330, 200, 390, 300, 0.7, class_id=1),
            ],
        }
    )
    assert fused.xyxy.tolist() == [[301, 50, 331, 100], [330, 200, 390, 300]]
    assert fused.class_id.tolist() == [0, 0], "both call it person, by other numbers"
    assert np.allclose(fused.confidence, [0.8, 0.7])


def test_the_block_that_saw_an_object_is_told(rig: Rig) -> None:
    stamp = rig.plan({A: LEFT, B: RIGHT})
    rig.answer(A, stamp, [Box(100, 100, 140, 200, 0.5), Box(20, 20, 60, 60, 0.9)])
    rig.answer(B, stamp, [Box(400, 100, 440, 200, 0.7, 1)])
    found = rig.result(stamp)
    assert found.xyxy[:, 0].tolist() == [20, 400, 100]
    assert rig.told(stamp)["seen_in"] == "0,1,0"
    nothing = rig.plan({A: LEFT})
    rig.answer(A, nothing)
    assert len(rig.result(nothing)) == 0 and rig.told(nothing)["seen_in"] == ""


def test_labels_are_one_list_for_workers_that_number_them_differently(rig: Rig) -> None:
    late = rig.probe.subscribe_latched("label_info", LabelInfo)
    rig.bench.wait_for(lambda: len(late), "label_info, published long ago")
    names = {entry.class_id: entry.class_name for entry in late[-1].class_map}
    assert [names[k] for k in range(3)] == ["person", "car", "bus"]
    fused = rig.fuse(
        {
            (A, LEFT): [Box(10, 10, 50, 50, class_id=1)],
            (B, RIGHT): [Box(400, 10, 450, 50, 0.8, 2), Box(500, 10, 550, 50, 0.7, 0)],
        }
    )
    assert [names[k] for k in fused.class_id.tolist()] == ["car", "bus", "car"]


def test_a_worker_that_answers_in_crop_pixels_is_mapped_through_the_roi(rig: Rig) -> None:
    block = Block(320, 160, 320, 180)
    message = answer_message(0, [Box(40, 20, 80, 60), Box(100, 20, 120, 60, 0.8)])
    for detection, name in zip(message.detections, ("bus", "tram"), strict=True):
        detection.results[0].hypothesis.class_id = name
    for variant, scale in ((Variant("net", 160), 2), (Variant("net", 640), 1), (None, 1)):
        stamp = rig.plan({FOREIGN: block}, variant=variant)
        message.header = header(stamp, "lens")
        rig.answers[FOREIGN].publish(message)
        fused = rig.result(stamp)
        assert fused.xyxy.tolist() == [
            [320 + 40 * scale, 160 + 20 * scale, 320 + 80 * scale, 160 + 60 * scale],
            [320 + 100 * scale, 160 + 20 * scale, 320 + 120 * scale, 160 + 60 * scale],
        ]
        assert fused.class_id.tolist() == [2, 3]
    labels = rig.probe.subscribe_latched("label_info", LabelInfo)
    rig.bench.wait_for(
        lambda: labels and [e.class_name for e in labels[-1].class_map][3:] == ["tram"],
        "a name that only the foreign detector uses",
    )


def test_garbage_in_answers_is_dropped_and_counted(rig: Rig) -> None:
    before = rig.counts()
    stamp = rig.plan({A: LEFT})
    message = answer_message(stamp, [PERSON] * 12)
    wrong = message.detections[1:]
    wrong[0].bbox.center.position.x = math.nan
    wrong[1].bbox.center.position.y = math.inf
    wrong[2].bbox.size_x = -20.0
    wrong[3].bbox.size_x = 0.0
    wrong[4].bbox.size_y = 1e300
    wrong[5].results[0].hypothesis.score = math.nan
    wrong[6].results[0].hypothesis.class_id = "99"
    wrong[7].results[0].hypothesis.class_id = "9" * 5000
    wrong[8].results[0].hypothesis.class_id = "unicorn"
    wrong[9].results[0].hypothesis.class_id = "-1"
    wrong[10].results = []
    rig.answers[A].publish(message)
    assert rig.result(stamp).xyxy.tolist() == [[100, 100, 140, 200]]
    rig.wait_for_counts(malformed=before["malformed"] + len(wrong))


def test_messages_that_are_no_plan_are_counted(rig: Rig) -> None:
    before = rig.counts()
    for name, size in (("no slot", 100.0), (str(A), math.nan), (str(A), 1e300), (str(A), -5.0)):
        message = plan_message(
            Plan(rig.new_stamp(), "lens", (PlannedBlock(A, BlockRequest(LEFT)),))
        )
        message.detections[0].id = name
        message.detections[0].bbox.size_x = size
        rig.plans.publish(message)
    rig.wait_for_counts(malformed=before["malformed"] + 4, plans=before["plans"])
    assert len(rig.fuse({(A, LEFT): [PERSON]})) == 1


# Parameters and what else it publishes.


def test_the_merge_can_be_changed_while_running(rig: Rig) -> None:
    # Two thirds of their union are shared.
    answers = {(A, LEFT): [Box(290, 100, 330, 200)], (B, RIGHT): [Box(298, 100, 338, 200, 0.8, 1)]}
    assert len(rig.fuse(answers)) == 1
    assert rig.probe.set_parameter("fusion", "merge_threshold", 0.7) == (True, "")
    assert len(rig.fuse(answers)) == 2
    taken, reason = rig.probe.set_parameter("fusion", "merge_threshold", 7.0)
    assert not taken and reason
    taken, reason = rig.probe.set_parameter("fusion", "mode", "lockstep")
    assert not taken and "restart" in reason
    assert len(rig.fuse(answers)) == 2


def test_latencies_are_published_for_each_frame(rig: Rig) -> None:
    stages = ("workers", "fusion", "total")
    heard = {stage: rig.probe.subscribe(f"latency/{stage}", Float64) for stage in stages}

    def all_heard() -> bool:
        rig.fuse({(A, LEFT): [PERSON]})
        return all(len(inbox) for inbox in heard.values())

    rig.bench.wait_for(all_heard, "a latency of each stage")
    stamp = rig.plan({A: LEFT})
    rig.answer(A, stamp)
    told = rig.told(stamp)
    values = {stage: float(told[f"{stage}_ms"]) for stage in stages}
    rig.bench.wait_for(
        lambda: all(
            math.isclose(heard[stage][-1].data, values[stage], abs_tol=1e-3) for stage in stages
        ),
        "the latencies of the last frame",
    )
    assert values["total"] >= values["workers"] > 0 and values["fusion"] > 0


def test_the_debug_image_costs_nothing_until_somebody_looks(rig: Rig) -> None:
    camera = rig.probe.publisher("image_raw", Image, qos.reliable(1))
    rig.bench.wait_for_health("fusion")
    assert camera.get_subscription_count() == 0
    shown: list[Image] = []
    node = rig.probe.node
    listener = node.create_subscription(Image, "debug_image", shown.append, qos.reliable(4))
    rig.bench.wait_for(lambda: camera.get_subscription_count() == 1, "fusion to take images")
    stamps = []

    def seen() -> bool:
        stamp = rig.new_stamp()
        image = Image(height=360, width=640, encoding="bgr8", step=1920, header=header(stamp, ""))
        image.data.frombytes(bytes(360 * 1920))
        camera.publish(image)
        assert camera.wait_for_all_acked()
        rig.plan({A: LEFT}, stamp)
        rig.answer(A, stamp, [PERSON])
        rig.result(stamp)
        stamps.append(stamp)
        return bool(shown)

    rig.bench.wait_for(seen, "a debug image")
    picture = np.frombuffer(shown[0].data, np.uint8).reshape(360, 640, 3)
    assert from_stamp(shown[0].header.stamp) in stamps
    assert shown[0].header.frame_id == "lens"
    assert picture[150, 100].any() and not picture[150, 120].any(), "the box, not its inside"
    node.destroy_subscription(listener)
    rig.bench.wait_for(lambda: camera.get_subscription_count() == 0, "fusion to let go of images")


def test_wrong_parameters_end_the_node_with_one_line(bench: Bench) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "workers is empty": {"workers": [""]},
        "crop_workers names other, which workers lacks": {"crop_workers": ["other"]},
        "merge_metric='area': allowed is one of border, ios, iou": {"merge_metric": "area"},
        "write 10.0 instead of 10": {"deadline": 10},
    }
    children = {line: bench.node("fusion", **values) for line, values in wrong.items()}
    for line, child in children.items():
        assert child.wait() == 2
        assert sum(line in text for text in child.lines) == 1, child.output
        assert "Traceback" not in child.output
