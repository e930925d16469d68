"""``bench overhead``: the robot's own work, on answers that are imagined."""

from __future__ import annotations

import json
from pathlib import Path

import bench_model
import numpy as np
import pytest

from re_pose_ros import __main__ as commands
from re_pose_ros.bench import inside
from re_pose_ros.bench.methods import Partitioned
from re_pose_ros.bench.overhead import PARTS, OverheadOptions, bench_overhead
from re_pose_ros.bench.pool import Clock
from re_pose_ros.distribution import Tracker
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, iou
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.base import FrameOutcome
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant
from re_pose_ros.planning.imagined import SURE, Imagined

PROFILE = bench_model.profile()
SPECS = [f"scene:{kind}?seed=9&size=640x360&frames=3" for kind in ("yard", "plaza")]


def planned(block: Block, size: int = 320) -> PlannedBlock:
    return PlannedBlock(Slot("edge_0", 0), BlockRequest(block, Variant("squares", size)))


def grid(side: float) -> GroundTruth:
    """1600 objects 100 pixels apart."""
    x, y = (axis.reshape(-1) * 100.0 + 30 for axis in np.mgrid[:40, :40])
    return GroundTruth.of(np.stack([x, y, x + side, y + side], axis=1), np.zeros(1600))


@pytest.mark.parametrize(("side", "recall"), [(11.3, 0.4), (22.6, 0.8), (45.3, 0.9)])
def test_objects_are_found_as_often_as_the_profile_says(side: float, recall: float) -> None:
    truth = grid(side)
    block = planned(Block(0, 0, 4000, 4000), 4000)
    imagined = Imagined(bench_model.profile(sizes=(4000,)), 1)
    found = imagined.answer(block, truth)
    overlap = iou(found.xyxy.astype(float), truth.xyxy.astype(float))
    sure = found.confidence >= SURE
    best = overlap[sure].max(axis=0)
    share = (best > 0.3).mean()
    assert abs(share - recall) < 4 * np.sqrt(recall * (1 - recall) / len(truth))
    assert np.median(best[best > 0.3]) > 0.8
    assert (~sure & (overlap.max(axis=1) > 0.3)).sum() > 20


def test_answers_are_in_their_block_and_the_same_for_a_seed() -> None:
    block = Block(150, 250, 700, 500)
    found, same, other = (
        Imagined(PROFILE, seed).answer(planned(block), grid(40.0)) for seed in (3, 3, 4)
    )
    assert len(found) and (found.xyxy[:, :2] >= (150, 250)).all()
    assert (found.xyxy[:, 2:] <= (850, 750)).all()
    assert found.xyxy.tolist() == same.xyxy.tolist() != other.xyxy.tolist()


def test_costs_grow_with_what_is_looked_at() -> None:
    imagined = Imagined(PROFILE, 0)
    small, tall, large = (
        imagined.cost(planned(Block(0, 0, *size), inputs))
        for size, inputs in (((320, 180), 320), ((320, 320), 320), ((640, 360), 640))
    )
    assert 0 < small.work_ms < tall.work_ms < large.work_ms
    assert 0 < small.size < tall.size < large.size and small.encode_ms < large.encode_ms


def test_every_part_of_every_frame_is_timed(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "overhead.json"
    options = OverheadOptions(method="greedy", input_sizes=(320, 640))
    found = bench_overhead(SPECS, options, file=file)
    assert json.loads(file.read_text()) == found
    assert "not_timed" not in found["notes"], "a part has another name now; see inside.PARTS"
    assert [of["data"] for of in found["data"]] == SPECS
    assert [of["frames"] for of in found["data"]] == [3, 3] and found["all"]["frames"] == 6
    for of in (*found["data"], found["all"]):
        assert of["blocks"] >= 1 and of["objects"] > 0
        assert of["least_ms"] == of["wall_ms"], "one replay is all there was"
        for clock in ("wall_ms", "cpu_ms"):
            assert set(of[clock]) == {*PARTS, *inside.PARTS, "before", "total"}
            means = [of[clock][part]["mean"] for part in PARTS]
            assert of[clock]["total"]["mean"] == pytest.approx(sum(means), abs=0.01)
            for part in inside.PARTS:
                whole = "learning" if part in ("update", "costs") else "planning"
                assert 0 < of[clock][part]["max"] <= of[clock][whole]["max"]
            for figures in of[clock].values():
                assert 0 <= figures["p50"] <= figures["p95"] <= figures["max"]


def test_functions_are_as_before_when_they_were_watched() -> None:
    original = Tracker.predict
    watch = inside.Stopwatch(("predict", "absent"))
    place = "distribution.tracker:Tracker"
    parts = {"predict": f"{place}.predict", "absent": f"{place}.foretell"}
    with inside.watched(watch, parts) as missing:
        Tracker((640, 360)).predict(0)
        assert Tracker.predict is not original and missing == ["absent"]
    assert Tracker.predict is original
    assert watch.wall["predict"] > 0 == watch.wall["absent"]
    watch.begin()
    assert watch.wall["predict"] == watch.cpu["predict"] == 0


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_the_planner_is_told_the_time_of_the_clock(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float | None] = []
    original = Partitioned.observe

    def observe(self: Partitioned, outcome: FrameOutcome) -> None:
        told.append(outcome.overhead_ms)
        original(self, outcome)

    monkeypatch.setattr(Partitioned, "observe", observe)
    found = bench_overhead(SPECS, OverheadOptions(method="greedy", clock=clock), frames=2)
    before = found["all"][f"{clock}_ms"]["before"]
    assert np.mean(np.array(told, float)) == pytest.approx(before["mean"], abs=0.01)


def test_replays_plan_alike_and_the_fastest_of_each_frame_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[float | None, tuple[PlannedBlock, ...]]] = []
    original = Partitioned.observe

    def observe(self: Partitioned, outcome: FrameOutcome) -> None:
        told.append((outcome.overhead_ms, tuple(outcome.blocks)))
        original(self, outcome)

    monkeypatch.setattr(Partitioned, "observe", observe)
    found = bench_overhead(SPECS, OverheadOptions(method="greedy", repeats=3), frames=2)
    assert len(told) == 12 and told[:4] == told[4:8] == told[8:]
    for of in (*found["data"], found["all"]):
        assert of["frames"] in (2, 4)
        for quantile in ("p50", "max", "mean"):
            assert of["least_ms"]["total"][quantile] <= of["wall_ms"]["total"][quantile]
    assert "fastest of 3 replays" in capsys.readouterr().out


def test_sequences_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    original = Partitioned.begin

    def begin(self: Partitioned) -> None:
        begun.append(self.name)
        original(self)

    monkeypatch.setattr(Partitioned, "begin", begin)
    bench_overhead(SPECS, OverheadOptions(method="greedy"), frames=2)
    assert begun == ["greedy"] * 3, "once when it is made, and for each scene"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--method clusters", "method 'clusters' is no planner"),
        ("--method greedy --workers 0", "workers is 0"),
        ("--method greedy --repeats 0", "repeats is 0"),
        ("--method greedy --model absent.onnx", "model 'absent.onnx' does not exist"),
        ("--method greedy --json /proc/overhead.json", "cannot be written"),
        ("--method greedy --data absent", "dataset absent does not exist"),
        ("--method greedy@2", "budget_ms = 2"),
    ],
)
def test_a_command_that_cannot_run_says_so(
    arguments: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["bench", "overhead", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_options_have_limits() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        OverheadOptions(seed=-1)
    with pytest.raises(InputError, match="input sizes"):
        OverheadOptions(input_sizes=())
