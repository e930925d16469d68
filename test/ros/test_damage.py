"""Damaged features over DDS: a detector in a process of its own refuses them one by one."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
from damage import mutated, signed
from sensor_msgs.msg import CameraInfo, CompressedImage
from vision_msgs.msg import Detection2DArray

from re_pose_ros.coinference.envelope import FORMAT
from re_pose_ros.geometry import Block
from re_pose_ros.nodes.messages import (
    camera_info_message,
    compressed_message,
    from_stamp,
    read_detections,
)
from re_pose_ros.sources.calibration import default_calibration

from . import figures
from .harness import Bench

pytestmark = pytest.mark.ros

MUTATIONS = int(os.environ.get("MUTATIONS", "300"))
WINDOW = 3
"""Messages under way at a time: fewer than publisher and detector keep, so that none is lost."""

SLOT = "edge_0/slot_0"
INPUT_SIZE = 160
FRAME = (1280, 720)
BLOCK = Block(600, 300, 400, 300)


@pytest.fixture(scope="module")
def good() -> list[bytes]:
    """The same picture's features at different cuts and bits."""
    pytest.importorskip("ultralytics")
    from re_pose_ros.coinference.halves import Halves
    from re_pose_ros.coinference.layers import FULL
    from re_pose_ros.coinference.setting import Setting
    from re_pose_ros.detection.model import load_model
    from re_pose_ros.scenes import Scene, parse_spec

    halves = Halves.of(load_model("scene-n", threads=1))
    image = Scene(parse_spec("scene:plaza?seed=501&size=1280x720")).render(3)[0]
    x, y = BLOCK.x, BLOCK.y
    picture = np.ascontiguousarray(image[y : y + BLOCK.height, x : x + BLOCK.width])
    settings = [Setting(FULL, cut, bits, 0) for cut in (4, 5) for bits in (8, 4, 2)]
    return [halves.head(picture, INPUT_SIZE, setting) for setting in settings]


class Robot:
    """Sends features as a partitioner does, a few at a time, and waits for what is told of each."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        probe = bench.probe
        self._told = probe.telemetry["edge_0"]
        self._info = probe.publisher(f"{SLOT}/camera_info", CameraInfo)
        self._features = probe.publisher(f"{SLOT}/image/features", CompressedImage)
        self._calibration = default_calibration(*FRAME)
        self._under_way: set[int] = set()
        self._stamps = itertools.count(time.time_ns(), 1000)
        self.answers = probe.subscribe_latched(f"{SLOT}/detections", Detection2DArray)
        self.used = self.told = 0
        bench.wait_for(
            lambda: self._info.get_subscription_count() and self._features.get_subscription_count(),
            "edge_0",
            120.0,
        )

    def send(self, data: bytes) -> int:
        """Publish one message when there is room for it; its stamp."""
        self.settle(WINDOW - 1)
        stamp = next(self._stamps)
        self._under_way.add(stamp)
        self._info.publish(camera_info_message(self._calibration, stamp, "lens", BLOCK))
        self._features.publish(compressed_message(FORMAT, data, stamp, "lens"))
        return stamp

    def settle(self, most: int = 0) -> None:
        """Until at most so many are under way."""

        def settled() -> bool:
            for stamp in [stamp for stamp in self._under_way if stamp in self._told]:
                self._under_way.remove(stamp)
                self.told += 1
                self.used += int(self._told.pop(stamp)["blocks"])
            return len(self._under_way) <= most

        self._bench.wait_for(settled, "what the detector tells of a message", 30.0)


@pytest.fixture
def robot(bench: Bench) -> Iterator[Robot]:
    bench.node(
        "detector",
        "edge_0",
        models=["scene-n"],
        input_sizes=[INPUT_SIZE],
        threads=1,
        profile_repeats=1,
        slots=1,
        batch_wait=0.0,
    )
    yield Robot(bench)


@pytest.mark.timeout(7200)
def test_damaged_features_are_counted_one_by_one_and_sound_ones_answered_after_them(
    bench: Bench, robot: Robot, good: list[bytes]
) -> None:
    """Every second message has a checksum that fits its damage, as an enemy would send it."""

    def found(data: bytes) -> np.ndarray:
        stamp = robot.send(data)
        message = bench.wait_for(
            lambda: next((m for m in robot.answers if from_stamp(m.header.stamp) == stamp), None),
            "the answer to sound features",
        )
        robot.settle()
        return np.asarray(read_detections(message)[0].xyxy)

    before = found(good[0])
    assert len(before) > 0
    dice = random.Random(MUTATIONS)
    started = time.monotonic()
    for index in range(MUTATIONS):
        blob, other = dice.sample(good, 2)
        damaged = blob
        while damaged in (blob, other):
            damaged = mutated(blob, other, dice)
        robot.send(signed(damaged) if index % 2 else damaged)
    robot.settle()
    seconds = time.monotonic() - started
    assert np.array_equal(found(good[0]), before)
    sent = MUTATIONS + 2

    def counted() -> dict[str, int] | None:
        values = bench.probe.health["edge_0"][-1].values
        counts = {k: int(values[k]) for k in ("malformed", "blocks", "dropped", "unplaced")}
        return counts if sum(counts.values()) >= sent else None

    counts = bench.wait_for(counted, "the detector's counts", 10.0)
    bench.wait_for(lambda: len(robot.answers) >= counts["blocks"], "all answers", 10.0)
    figures.keep(
        "mutated features over DDS",
        f"MUTATIONS={MUTATIONS} FIGURES=<this file> python -m pytest test/ros/test_damage.py",
        sent=MUTATIONS,
        malformed=counts["malformed"],
        answered=counts["blocks"] - 2,
        dropped=counts["dropped"],
        unplaced=counts["unplaced"],
        seconds=round(seconds, 1),
    )
    assert sum(counts.values()) == sent == robot.told
    assert counts["blocks"] == robot.used == len(robot.answers)
    assert counts["dropped"] == counts["unplaced"] == 0
    assert counts["malformed"] > MUTATIONS // 2, "no checksum fits by chance"
