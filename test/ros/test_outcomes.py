"""A planner's expectations beside what happened: what it hears of its plans, and what is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray

from re_pose_ros.distribution.schedule import thumbnail
from re_pose_ros.nodes.messages import read_detections
from re_pose_ros.plan_outcome import PlanOutcome

from . import inputs
from .ends import ForeignCamera, Plans, wait_until_watched
from .fake_detector import COMPUTE_MS
from .fake_partitioner import CLUSTER, DONE_MS, MAKESPAN_MS, VALUE
from .harness import Bench, Box

pytestmark = pytest.mark.ros

SIZE = (320, 240)
SCENE = inputs.scene(SIZE)
# One in the left half, two in the right one, of which one is hardly seen.
BOXES = [Box(20, 20, 60, 60, 0.9), Box(200, 40, 240, 80, 0.8), Box(260, 150, 300, 190, 0.1)]
SLOTS = ("edge_1/slot_0", "edge_0/slot_0")


class Heard:
    """What came of the frames on all topics and in the planner's own notes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.log = bench.folder / "heard.jsonl"
        self.outcomes = bench.probe.subscribe("plan_outcome", DiagnosticArray)
        self.results = bench.probe.subscribe_latched("detections", Detection2DArray)
        self.predicted = bench.probe.subscribe("latency/predicted", Float64)

    def noted(self, kind: str) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [entry[kind] for entry in map(json.loads, lines) if kind in entry]

    def outcome_of(self, stamp: int) -> tuple[str, int, dict[str, str]]:
        """Waits for what is told of a frame: name, level and values."""
        message = self.bench.wait_for(
            lambda: self.outcomes.by_stamp.get(stamp), f"the outcome of {stamp}"
        )
        (status,) = message.status
        level = int.from_bytes(status.level, "little")
        return status.name, level, {pair.key: pair.value for pair in status.values}

    def observed(self, stamp: int) -> dict[str, Any]:
        """Waits for what the planner heard of a frame."""

        def found() -> dict[str, Any] | None:
            return next((n for n in self.noted("outcome") if n["stamp_ns"] == stamp), None)

        return self.bench.wait_for(found, f"the planner to hear of {stamp}")


def start(bench: Bench, **partitioner: object) -> tuple[Heard, ForeignCamera]:
    """Two workers, the planner, fusion and a camera that is watched."""
    heard = Heard(bench)
    for worker in ("edge_0", "edge_1"):
        bench.fake_detector(worker, BOXES, delay=0.02)
    bench.node("fusion", workers=["edge_0", "edge_1"], mode="lockstep")
    bench.fake_partitioner(heard.log, workers=["edge_0", "edge_1"], mode="lockstep", **partitioner)
    camera = ForeignCamera(bench.probe)
    wait_until_watched(bench, camera)
    return heard, camera


def fuse(heard: Heard, camera: ForeignCamera) -> int:
    """One frame through the graph; its stamp."""
    stamp = camera.send(SCENE)
    heard.bench.wait_for(lambda: heard.results.by_stamp.get(stamp), f"the result of {stamp}")
    return stamp


def test_the_outcome_of_a_plan_is_told_and_learned_from(bench: Bench) -> None:
    heard, camera = start(bench, budget_ms=5000.0, objective="balanced", slots=4)
    plans = Plans(bench)
    first = fuse(heard, camera)
    name, level, told = heard.outcome_of(first)
    assert (name, level) == ("partitioner", 0)
    outcome = PlanOutcome.read(told)
    assert outcome is not None and not outcome.over_budget
    assert (outcome.predicted_ms, outcome.predicted_value) == (MAKESPAN_MS, VALUE)
    assert (outcome.budget_ms, outcome.objective) == (5000.0, "balanced")
    assert outcome.happened_value == 2, "of three, one is too unsure to count"
    assert told["over_budget"] == "false" and told["blocks"] == "2"
    # Both workers take 20 ms.
    assert outcome.happened_ms > 20.0
    for slot, done_ms in zip(SLOTS, DONE_MS, strict=True):
        assert float(told[f"predicted_ms/{slot}"]) == done_ms
        assert 20.0 < float(told[f"happened_ms/{slot}"]) < outcome.happened_ms
        assert told[f"variant/{slot}"] == "fake@320"
    assert [message.data for message in heard.predicted] == [MAKESPAN_MS]

    # All of it is in the telemetry too, with what was told at once.
    telemetry = bench.probe.telemetry["partitioner"]
    bench.wait_for(lambda: "happened_ms" in telemetry.get(first, {}), "the telemetry")
    assert telemetry[first].items() >= told.items()
    assert (
        telemetry[first]["clusters"] == f"{CLUSTER.x},{CLUSTER.y},{CLUSTER.width},{CLUSTER.height}"
    )
    assert int(telemetry[first][f"bytes/{SLOTS[0]}"]) > 0

    # The order of the blocks and their workers are the planner's.
    assert tuple(str(slot) for slot in plans.of(first).slots) == SLOTS

    stamps = [first, *(fuse(heard, camera) for _ in range(3))]
    observed = heard.observed(first)
    assert tuple(observed["slots"]) == SLOTS
    boxes = read_detections(heard.results.by_stamp[first])[0].xyxy.tolist()
    assert observed["boxes"] == boxes
    assert [box[0] < SIZE[0] / 2 for box in boxes] == [k == 1 for k in observed["block"]]
    assert observed["overhead_ms"] > 0
    for one, slot in zip(observed["outcomes"], SLOTS, strict=True):
        assert one["answered"]
        assert one["sent_bytes"] == int(telemetry[first][f"bytes/{slot}"])
        assert one["compute_ms"] == float(COMPUTE_MS)
        assert 0 < one["encode_ms"] < outcome.happened_ms
    later = [heard.observed(stamp) for stamp in stamps[:-1]]
    transfers = [one["transfer_ms"] for told in later for one in told["outcomes"]]
    assert any(ms is not None for ms in transfers)
    assert all(ms is None or ms > 0 for ms in transfers)

    contexts = heard.noted("context")
    assert [context["stamp_ns"] for context in contexts] == stamps
    for context in contexts:
        assert context["workers"] == {"edge_0": 4, "edge_1": 4}
        assert context["profiles"] == {"edge_0": "edge_0", "edge_1": "edge_1"}
        assert context["thumbnail"] == thumbnail(SCENE).tolist()


def test_budget_and_objective_change_while_it_runs(bench: Bench) -> None:
    heard, camera = start(bench, budget_ms=60_000.0)
    stamp = fuse(heard, camera)
    _, level, told = heard.outcome_of(stamp)
    assert (float(told["budget_ms"]), told["objective"]) == (60_000.0, "accuracy")
    assert told["over_budget"] == "false" and level == 0
    probe = bench.probe
    assert probe.set_parameter("partitioner", "budget_ms", 5.0) == (True, "")
    assert probe.set_parameter("partitioner", "objective", "latency") == (True, "")
    refused = {
        "objective": ("cheapest", "allowed is one of accuracy, latency, balanced"),
        "budget_ms": (4.0, "5"),
        "unseen_frames": (-1, "0"),
        "partitioner": ("greedy", "partitioner is read at start only"),
    }
    for parameter, (value, reason) in refused.items():
        taken, why = probe.set_parameter("partitioner", parameter, value)
        assert not taken and reason in why, parameter
    stamp = fuse(heard, camera)
    _, level, told = heard.outcome_of(stamp)
    assert (float(told["budget_ms"]), told["objective"]) == (5.0, "latency")
    # The workers alone take 20 ms.
    assert told["over_budget"] == "true" and level == 1
    bench.wait_for_health("partitioner", over_budget="1")


def test_an_outcome_is_told_without_fusions_telemetry(bench: Bench) -> None:
    """As where fusion is somebody else's, or its telemetry was lost."""
    heard = Heard(bench)
    bench.fake_detector("edge_0")
    bench.fake_partitioner(heard.log, workers=["edge_0"], mode="lockstep", slots=4)
    camera = ForeignCamera(bench.probe)
    bench.probe.stand_in_for_fusion()
    plans = Plans(bench)
    wait_until_watched(bench, camera)
    stamp = camera.send(SCENE)
    plans.of(stamp)
    bench.probe.fused(stamp)
    _, _, told = heard.outcome_of(stamp)
    assert told["happened_value"] == "0" and float(told["happened_ms"]) > 0
    assert not [key for key in told if key.startswith("happened_ms/")]
    # The next frame is planned with what is known of this one.
    plans.of(camera.send(SCENE))
    observed = heard.observed(stamp)
    assert observed["overhead_ms"] is None
    assert all(one["transfer_ms"] is None for one in observed["outcomes"])
    assert all(one["sent_bytes"] > 0 for one in observed["outcomes"])


def test_a_budget_beyond_the_deadline_is_told(bench: Bench) -> None:
    heard = Heard(bench)
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_0")
    bench.fake_partitioner(heard.log, workers=["edge_0"], budget_ms=600.0, deadline=0.5)
    camera = ForeignCamera(bench.probe)
    camera.stream(SCENE)
    bench.wait_for(lambda: plans.heard(), "a plan")
    status = bench.wait_for_health(
        "partitioner", "budget_ms is beyond the deadline of 0.5 s", level=1
    )
    assert "raise deadline here and on fusion" in status.message
    assert bench.probe.set_parameter("partitioner", "budget_ms", 400.0) == (True, "")
    bench.wait_for_health("partitioner", "partitioning", level=0)


def test_methods_that_expect_nothing_tell_no_outcome(bench: Bench) -> None:
    outcomes = bench.probe.subscribe("plan_outcome", DiagnosticArray)
    predicted = bench.probe.subscribe("latency/predicted", Float64)
    plans = Plans(bench, answering=True)
    bench.fake_detector("edge_0")
    bench.node("partitioner", workers=["edge_0"], partitioner="whole")
    camera = ForeignCamera(bench.probe)
    camera.stream(SCENE)
    bench.wait_for(lambda: len(plans.heard()) >= 8, "some plans")
    told = bench.probe.telemetry["partitioner"]
    bench.wait_for(lambda: len(told) >= 8, "their telemetry")
    assert not len(outcomes) and not len(predicted)
    assert not any("predicted_ms" in values for values in told.values())
