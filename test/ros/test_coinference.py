"""Robot and workers share the network: features, early exits, the robot alone, and switching."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from re_pose_ros.detections import Detections
from re_pose_ros.graph.description import describe
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import read_detections, read_plan

from . import figures
from .harness import Bench, Child

pytestmark = pytest.mark.ros

PICTURES = 3
SCENE = f"scene:plaza?seed=501&size=1280x720&frames={PICTURES}"
"""Played again and again, so that it is known what has to be found."""

SWITCHES = int(os.environ.get("SWITCHES", "12"))
"""How often settings are switched while frames flow."""

SWITCHED = ([0, 0], [4, 4], [-1, -1], [5, 5], [0, 4], [5, -1])
"""Cuts of both workers."""
COMMON = {
    "model": "scene-n",
    "input_sizes": "320",
    "detector.profile_repeats": "1",
    "detector.threads": "1",
    "partitioner.coinference.model": "scene-n",
    "partitioner.coinference.input_sizes": "320",
    "partitioner": "uniform",
    "partitioner.tile_size": "480",
    "source": SCENE,
    "camera.loop": "true",
    "camera.rate": "5",
    "log_level": "warn",
}


class Found(NamedTuple):
    """What came of a frame: of which picture, by which settings."""

    picture: int
    way: str
    detections: Detections
    missing: str


class Shared:
    """A running graph with two workers, and what it fuses."""

    def __init__(self, bench: Bench, **arguments: str) -> None:
        self.bench = bench
        live = arguments.get("mode") == "live"
        profile = qos.reliable(100) if live else qos.latched(100)
        self.results = bench.probe.subscribe("detections", Detection2DArray, profile)
        self.plans = bench.probe.subscribe_latched("plan", Detection2DArray)
        self.fusion = bench.probe.telemetry["fusion"]
        graph = describe({"namespace": bench.namespace, "workers": "2", **COMMON, **arguments})
        self.children: dict[str, Child] = bench.start_graph(graph)

    def wait_for_frames(self, count: int, limit_s: float = 60.0) -> None:
        """Until so many more are fused."""
        wanted = len(self.results) + count
        self.bench.wait_for(lambda: len(self.results) >= wanted, f"{count} frames", limit_s)

    def told(self, node: str, key: str) -> list[float]:
        """A number of a node's telemetry, by frame."""
        return [float(v[key]) for v in list(self.bench.probe.telemetry[node].values()) if key in v]

    def last_workers(self) -> set[str]:
        """Who had blocks of the last fused frame, all of which were answered; empty if not."""
        if not len(self.results):
            return set()
        stamp = self.results.stamps[-1]
        told, plan = self.fusion.get(stamp), self.plans.by_stamp.get(stamp)
        if told is None or plan is None or told["missing"]:
            return set()
        return {slot.worker for slot in read_plan(plan).slots}

    def set(self, name: str, value: object) -> tuple[bool, str]:
        return self.bench.probe.set_parameter("partitioner", f"coinference.{name}", value)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    pytest.importorskip("ultralytics")
    with Bench("shared", tmp_path_factory.mktemp("shared")) as bench:
        made = Shared(bench, mode="lockstep")
        made.wait_for_frames(2, 120.0)
        yield made


def features(shared: Shared) -> int:
    """Blocks that came to workers as features so far."""
    found = 0
    for worker in ("edge_0", "edge_1"):
        health = shared.bench.probe.health[worker]
        found += int(health[-1].values["features"]) if health else 0
    return found


def test_features_are_sent_and_find_what_pictures_find(shared: Shared) -> None:
    pictures = len(read_detections(shared.results[-1])[0])
    assert shared.set("cut", [4]) == (True, "")
    assert shared.set("bits", [8]) == (True, "")
    shared.wait_for_frames(4)
    shared.bench.wait_for(lambda: features(shared) > 0, "features")
    found = len(read_detections(shared.results[-1])[0])
    assert found >= 0.6 * pictures > 0
    assert shared.last_workers() == {"edge_0", "edge_1"}


def test_workers_have_settings_of_their_own(shared: Shared) -> None:
    assert shared.set("cut", [0, 4]) == (True, "")
    shared.wait_for_frames(2)

    def both() -> bool:
        told = list(shared.bench.probe.telemetry["partitioner"].values())[-1]
        kinds = [told.get(f"setting/{worker}", "") for worker in ("edge_0", "edge_1")]
        return "jpeg" in kinds[0] and "cut4" in kinds[1]

    shared.bench.wait_for(both, "settings in the telemetry")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cut", [999], "cannot be cut at 999"),
        ("bits", [5], "coinference.bits=5"),
        ("exit", ["nowhere"], "exit 'nowhere'"),
        ("cut", [0, 0, 0], "3 values for 2 workers"),
    ],
)
def test_impossible_settings_are_refused_and_frames_go_on(
    shared: Shared, name: str, value: object, reason: str
) -> None:
    taken, why = shared.set(name, value)
    assert not taken and reason in why
    shared.wait_for_frames(1)


def test_the_robot_works_alone_where_it_is_told_to(shared: Shared) -> None:
    assert shared.set("cut", [-1]) == (True, "")
    shared.bench.wait_for(lambda: shared.last_workers() == {"device"}, "a frame of the robot's own")
    assert len(read_detections(shared.results[-1])[0]) > 0
    assert shared.set("cut", [0]) == (True, "")
    both = {"edge_0", "edge_1"}
    shared.bench.wait_for(lambda: shared.last_workers() == both, "a frame of the workers")


def found_by(shared: Shared, stamps: Sequence[int]) -> dict[int, Found]:
    """What was found in frames, and how: the picture, the settings and the detections."""
    told = shared.bench.probe.telemetry["partitioner"]
    shared.bench.wait_for(lambda: set(stamps) <= told.keys() & shared.fusion.keys(), "telemetry")
    messages, plans = shared.results.by_stamp, shared.plans.stamps
    rows = {}
    for stamp in stamps:
        ways = {k: v for k, v in told[stamp].items() if k.startswith("setting/")}
        way = " ".join(f"{key}={value}" for key, value in sorted(ways.items()))
        detections = read_detections(messages[stamp])[0]
        order = np.lexsort((*detections.xyxy.T, detections.class_id))
        picture = plans.index(stamp) % PICTURES
        rows[stamp] = Found(picture, way, detections.take(order), shared.fusion[stamp]["missing"])
    return rows


def same(a: Detections, b: Detections) -> bool:
    """Up to what differs by how many blocks a network had at once."""
    return (
        a.class_id.tolist() == b.class_id.tolist()
        and np.allclose(a.xyxy, b.xyxy, atol=0.5)
        and np.allclose(a.confidence, b.confidence, atol=0.01)
    )


@pytest.mark.timeout(7200)
def test_every_frame_is_fused_and_none_is_wrong_while_settings_switch(shared: Shared) -> None:
    """Right is what the same settings find in the same picture when they stay."""
    expected: dict[tuple[int, str], Detections] = {}
    for cuts in SWITCHED:
        assert shared.set("cut", cuts)[0]
        start = len(shared.results)
        # One may still be by the setting before.
        shared.wait_for_frames(PICTURES + 1)
        for row in found_by(shared, shared.results.stamps[start:]).values():
            expected.setdefault((row.picture, row.way), row.detections)
    ways = {way for _, way in expected}
    assert len(expected) == PICTURES * len(SWITCHED) and len(ways) == len(SWITCHED)

    dice = random.Random(SWITCHES)
    first = len(shared.results)
    started = time.monotonic()
    cuts = SWITCHED[-1]
    for _ in range(SWITCHES):
        cuts = dice.choice([other for other in SWITCHED if other != cuts])
        assert shared.set("cut", cuts)[0]
        shared.wait_for_frames(1)
    seconds = time.monotonic() - started
    last = shared.results.stamps[-1]
    stamps = [stamp for stamp in shared.results.stamps[first:] if stamp <= last]
    begin, end = (shared.plans.stamps.index(stamp) for stamp in (stamps[0], last))
    planned = shared.plans.stamps[begin : end + 1]
    rows = found_by(shared, stamps)
    wrong = [
        stamp
        for stamp, row in rows.items()
        if row.missing
        or (row.picture, row.way) not in expected
        or not same(row.detections, expected[row.picture, row.way])
    ]
    figures.keep(
        "switching settings while frames flow",
        f"SWITCHES={SWITCHES} FIGURES=<this file> python -m pytest test/ros/test_coinference.py",
        switches=SWITCHES,
        frames=len(planned),
        fused=len(set(stamps)),
        wrong=len(wrong),
        seconds=round(seconds, 1),
    )
    assert stamps == planned
    assert not wrong, [rows[stamp] for stamp in wrong[:3]]
    assert {row.way for row in rows.values()} <= ways


def test_the_robot_goes_on_alone_and_workers_come_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pytest.importorskip("ultralytics")
    with Bench("alone", tmp_path_factory.mktemp("alone")) as bench:
        shared = Shared(bench, mode="live", **{"partitioner.deadline": "2", "fusion.deadline": "2"})
        profiles = bench.probe.subscribe_latched("edge_0/profile", String)
        bench.wait_for(lambda: len(profiles), "edge_0", 120.0)
        shared.wait_for_frames(2, 60.0)
        stopped = [shared.children[name] for name in ("edge_0", "edge_1")]
        for child in stopped:
            os.kill(child.pid, signal.SIGSTOP)
        frozen = time.monotonic()
        bench.wait_for(lambda: shared.last_workers() == {"device"}, "a frame of the robot's own")
        alone_s = time.monotonic() - frozen
        for child in stopped:
            os.kill(child.pid, signal.SIGCONT)
        bench.wait_for(lambda: shared.last_workers() - {"device"}, "a frame of a worker")
        print(f"alone after {alone_s:.2f} s")
