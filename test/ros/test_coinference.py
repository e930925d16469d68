"""Robot and workers share the network: features, early exits, the robot alone, and switching."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from re_pose_ros.graph.description import describe
from re_pose_ros.nodes import qos
from re_pose_ros.nodes.messages import read_detections, read_plan

from .harness import Bench, Child

pytestmark = pytest.mark.ros

SCENE = "scene:plaza?seed=501&size=1280x720"
SWITCHES = int(os.environ.get("SWITCHES", "12"))
"""How often settings are switched while frames flow."""
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


def test_no_frame_is_lost_by_switching(shared: Shared) -> None:
    start, plans = len(shared.results), len(shared.plans)
    for turn in range(SWITCHES):
        assert shared.set("cut", [(0, 4, -1, 5)[turn % 4]])[0]
        shared.wait_for_frames(1)
    assert shared.set("cut", [0])[0]
    stamps = shared.results.stamps[start:]
    planned = shared.plans.stamps[plans : plans + len(stamps)]
    assert stamps == sorted(set(stamps)) and set(planned) <= set(stamps) | set(planned[-2:])
    shared.bench.wait_for(lambda: set(stamps) <= shared.fusion.keys(), "telemetry")
    assert [shared.fusion[stamp]["missing"] for stamp in stamps] == [""] * len(stamps)


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
