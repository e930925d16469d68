"""The whole graph on the real video: real detectors that stay, and a robot's side per test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray, LabelInfo

from re_pose_ros.detections import Detections
from re_pose_ros.geometry import crop_to_full
from re_pose_ros.graph.description import Process, describe
from re_pose_ros.graph.supervisor import Supervisor
from re_pose_ros.nodes.messages import read_detections, read_plan
from re_pose_ros.plan import Plan
from re_pose_ros.scenes import Scene, parse_spec

from .harness import Bench, Box, Child

pytestmark = pytest.mark.ros

FRAMES = 8
BRIEFLY = 10
"""Frames until partitioner and fusion both know that a worker is gone, or back."""
SCENE = "scene:plaza?seed=501&size=1280x720"


@dataclass(frozen=True)
class Run:
    """What came of the frames of one source, in the order in which it came."""

    stamps: list[int]
    plans: list[Plan]
    results: list[Detections]
    missing: list[str]


class Edge:
    """Two detectors under the supervisor that ``up`` uses, and whoever needs them."""

    def __init__(self, bench: Bench, supervisor: Supervisor, processes: dict[str, Process]) -> None:
        self.bench = bench
        self.supervisor = supervisor
        self.processes = processes
        self.results = bench.probe.subscribe_latched("detections", Detection2DArray)
        self.plans = bench.probe.subscribe_latched("plan", Detection2DArray)
        self.fusion = bench.probe.telemetry["fusion"]

    def start_robot(self, source: str | Path, **arguments: str) -> dict[str, Child]:
        """Camera, partitioner and fusion as processes, in lock-step."""
        given = {
            "workers": "",
            "remote_workers": "edge_0,edge_1",
            "source": str(source),
            "mode": "lockstep",
            "log_level": "warn",
        }
        return self.bench.graph(**(given | arguments))

    def run(self, source: str | Path, frames: int, **arguments: str) -> Run:
        """All frames of ``source``, until the camera has ended by itself."""
        start = time.time_ns()
        robot = self.start_robot(source, **arguments)
        self.bench.wait_for(lambda: self.count(start) >= frames, f"{frames} results", 90.0)
        assert robot.pop("camera").wait() == 0
        run = self.recorded(start)
        self.stop(robot)
        return run

    def stop(self, robot: dict[str, Child]) -> None:
        for child in robot.values():
            child.interrupt()
        for title, child in robot.items():
            assert child.wait() == 0, f"{title}: {child.output}"

    def count(self, start: int) -> int:
        """Results of frames since ``start``."""
        return sum(stamp >= start for stamp in self.results.stamps)

    def last_served_by(self, workers: set[str]) -> bool:
        """Whether the last frame was planned for exactly these, and all have answered."""
        stamp = self.results.stamps[-1]
        told, plan = self.fusion.get(stamp), self.plans.by_stamp.get(stamp)
        if told is None or plan is None:
            return False
        return workers_of(read_plan(plan)) == workers and not told["missing"]

    def recorded(self, start: int) -> Run:
        """The frames that have a result by now; the robot's side still has to run."""
        stamps = [stamp for stamp in self.results.stamps if stamp >= start]
        # Topics are matched one by one: a result may be heard before its plan.
        self.bench.wait_for(
            lambda: set(stamps) <= self.fusion.keys() & self.plans.by_stamp.keys(),
            "all plans and telemetry",
        )
        plans, results = self.plans.by_stamp, self.results.by_stamp
        return Run(
            stamps,
            [read_plan(plans[stamp]) for stamp in stamps],
            [read_detections(results[stamp])[0] for stamp in stamps],
            [self.fusion[stamp]["missing"] for stamp in stamps],
        )


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    pytest.importorskip("ultralytics")
    with Bench("graph", tmp_path_factory.mktemp("graph")) as bench:
        graph = describe(
            {
                "namespace": bench.namespace,
                "workers": "edge_0,edge_1",
                "model": "scene-n",
                "input_sizes": "320",
                "detector.profile_repeats": "1",
                "detector.threads": "1",
                "log_level": "warn",
            },
            "detector",
        )
        with Supervisor(graph) as supervisor:
            made = Edge(bench, supervisor, {p.title: p for p in graph.processes})
            profiles = [
                bench.probe.subscribe_latched(f"{name}/profile", String) for name in made.processes
            ]

            def ready() -> bool:
                supervisor.check()
                return all(len(heard) for heard in profiles)

            bench.wait_for(ready, "both detectors", 90.0)
            yield made


def workers_of(plan: Plan) -> set[str]:
    return {slot.worker for slot in plan.slots}


def test_every_frame_is_fused_in_order_and_the_same_in_every_run(
    edge: Edge,
) -> None:
    first, second = (edge.run(SCENE, FRAMES, camera__count=str(FRAMES)) for _ in range(2))
    for run in (first, second):
        assert len(run.stamps) == FRAMES and run.stamps == sorted(set(run.stamps))
        assert run.missing == [""] * FRAMES
        # Cluster by cluster, from the second frame on, both work.
        assert all(workers_of(plan) == {"edge_0", "edge_1"} for plan in run.plans[1:])
        assert sum(map(len, run.results)) > 5 * FRAMES
    for one, other in zip(first.plans, second.plans, strict=True):
        assert one.blocks == other.blocks
    for found, again in zip(first.results, second.results, strict=True):
        assert len(found) == len(again)
        assert np.allclose(found.xyxy, again.xyxy, atol=0.05)
        assert np.allclose(found.confidence, again.confidence, atol=1e-3)
        assert found.class_id.tolist() == again.class_id.tolist()


def test_a_worker_killed_in_a_run_is_done_without_and_used_again_when_it_is_back(
    edge: Edge,
) -> None:
    start = time.time_ns()
    robot = edge.start_robot(
        SCENE,
        partitioner="uniform",
        partitioner__tile_size="640",
        camera__loop="true",
    )
    edge.bench.wait_for(lambda: edge.count(start) >= 3, "the first results", 90.0)
    os.kill(edge.supervisor.pid("edge_1"), signal.SIGKILL)
    killed = time.time_ns()
    # Frames go on, first without what edge_1 had, then without planning for it.
    edge.bench.wait_for(lambda: edge.last_served_by({"edge_0"}), "a frame that leaves edge_1 out")
    edge.bench.wait_for(lambda: edge.supervisor.ended().get("edge_1"), "the end of edge_1")
    partial = [missing for missing in edge.recorded(killed).missing if missing]
    assert len(partial) <= BRIEFLY and all("edge_0" not in missing for missing in partial)

    edge.supervisor.start(edge.processes["edge_1"])

    both = {"edge_0", "edge_1"}
    edge.bench.wait_for(lambda: edge.last_served_by(both), "a frame that edge_1 works on", 90.0)
    run = edge.recorded(start)
    edge.stop(robot)
    assert run.stamps == sorted(set(run.stamps))
    assert sum(map(bool, run.missing)) <= 2 * BRIEFLY


def test_a_detector_that_is_not_ours_serves_beside_ours(edge: Edge, tmp_path: Path) -> None:
    scene = Scene(parse_spec(SCENE))
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(3):
        image = scene.render(k)[0]
        cv2.imwrite(str(folder / f"{k}.png"), image[200:440, 300:620])
    # In pixels of each block that it gets, away from the border.
    mark = Box(20, 10, 60, 90, 0.99)
    edge.bench.fake_detector("ext", [mark], foreign=True, labels=["mark"])
    labels = edge.bench.probe.subscribe_latched("label_info", LabelInfo)
    run = edge.run(
        folder,
        3,
        remote_workers="edge_0,ext",
        partitioner="uniform",
        partitioner__tile_size="160",
        partitioner__crop_workers="ext",
        fusion__crop_workers="ext",
    )
    assert run.missing == [""] * 3
    (number,) = [e.class_id for e in labels[-1].class_map if e.class_name == "mark"]
    for plan, found in zip(run.plans, run.results, strict=True):
        assert workers_of(plan) == {"edge_0", "ext"}
        expected = [
            crop_to_full(np.array([mark[:4]]), planned.block, planned.request.image_size)[0]
            for planned in plan.blocks
            if planned.slot.worker == "ext"
        ]
        marks = found.take(found.class_id == number).xyxy
        assert len(marks) == len(expected) >= 2
        assert np.allclose(sorted(marks.tolist()), sorted(map(list, expected)), atol=0.01)
