"""What a bench reckons from its measurements: budgets, spreads, slowdowns, tables, pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from re_pose_ros.bench.budget import budget, row
from re_pose_ros.bench.measure import Measured, Timing
from re_pose_ros.bench.plot import predicted_path, save_predicted
from re_pose_ros.bench.slowdown import Slowdown, speeds_at
from re_pose_ros.bench.spread import seeds, spread, versus
from re_pose_ros.bench.table import table
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.plan import Expectation

TIMING = Timing(90.0, 80.0, 80.0, 70.0, 3.0, 4.0, 5.0, 6.0, 2.0, 5, 0, 1000, 1.0)


def measured(
    makespan_ms: float, *, waited_ms: float | None = None, late: int = 0, predicted_ms: float = 90.0
) -> Measured:
    timing = replace(
        TIMING, makespan_ms=makespan_ms, all_answers_ms=waited_ms or makespan_ms, late=late
    )
    return Measured(Detections.empty(), timing, Expectation(7.5, predicted_ms, 100.0, "latency"))


def test_the_budget_is_judged_frame_by_frame() -> None:
    frames = [
        measured(80.0),
        measured(110.0),
        measured(110.002),
        measured(110.0, waited_ms=150.0, late=2, predicted_ms=100.0),
    ]
    found = budget(frames, [5, 6, 7, 8], [False, False, True, True])
    assert found is not None
    assert (found["budget_ms"], found["objective"]) == (100.0, "latency")
    assert found["over_10_percent"] == 0.25 and found["planned_over_10_percent"] == 0.5
    assert found["late_blocks"] == 2 and found["late_blocks_per_frame"] == 0.5
    assert found["late_frames"] == 0.25
    assert found["predicted_ms"]["p50"] == 90.0
    assert found["error_ms"]["p50"] == pytest.approx(np.median([10, 20, 20.002, 50]), abs=1e-3)
    assert found["value"] == {"predicted": 7.5, "found": 6.5}
    assert found["slowed"] == {
        "frames": 2,
        "over_10_percent": 0.5,
        "planned_over_10_percent": 1.0,
        "late_blocks_per_frame": 1.0,
        "late_frames": 0.5,
    }
    steady = budget(frames, [5, 6, 7, 8], [False] * 4)
    assert steady is not None and "slowed" not in steady


def test_methods_that_expect_nothing_have_no_budget() -> None:
    plain = Measured(Detections.empty(), TIMING)
    assert budget([plain], [3], [False]) is None
    assert row(plain, 3) == {"predicted_ms": None, "predicted_value": None, "found": 3}
    one = budget([plain, measured(120.0)], [3, 4], [False, False])
    assert one is not None and one["over_10_percent"] == 1.0, "of the frames that had one"
    assert row(replace(plain, exact=True), 3)["exact"] is True


def part(map50: float | None, makespan: float) -> dict[str, Any]:
    return {"map50": map50, "makespan_ms": {"p50": makespan, "p95": 2 * makespan}}


def test_differences_are_taken_on_the_same_data() -> None:
    methods = {
        "re_pose@120": {"by_data": [part(0.9, 50.0), part(0.7, 30.0), part(None, 20.0)]},
        "clusters": {"by_data": [part(0.8, 100.0), part(0.5, 40.0), part(0.5, 10.0)]},
        "greedy@120": {"by_data": [part(0.9, 50.0), part(0.7, 30.0), part(0.5, 20.0)]},
        "re_pose_truth": {"by_data": [part(1.0, 50.0), part(0.7, 30.0), part(0.5, 20.0)]},
    }
    found = versus(methods)
    assert set(found["re_pose@120"]) == {"clusters", "greedy@120"}
    assert set(found["clusters"]) == {"greedy@120"}
    against = found["re_pose@120"]["clusters"]
    assert against["map50"] == {"mean": 0.15, "std": 0.0707, "values": [0.1, 0.2, None]}
    assert against["makespan"]["values"] == [0.5, 0.75, 2.0]
    assert against["makespan"]["mean"] == pytest.approx(np.mean([0.5, 0.75, 2.0]), abs=1e-4)
    own = seeds(methods["re_pose@120"]["by_data"])
    assert own["map50"]["mean"] == pytest.approx(0.8) and own["makespan_p50_ms"]["std"] > 0


@given(st.lists(st.floats(-1e3, 1e3), max_size=6))
def test_spread_is_that_of_the_values(values: list[float]) -> None:
    found = spread(values, 6)
    assert (found["mean"] is None) == (not values)
    assert (found["std"] is None) == (len(values) < 2)
    if len(values) > 1:
        assert found["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-5)


def test_workers_become_slower_from_a_frame_on() -> None:
    speeds = {"edge_0": 1.0, "edge_1": 2.0}
    slow = [Slowdown.parse("edge_1:3@2"), Slowdown.parse("edge_1:2@4"), Slowdown("edge_0", 0.5, 4)]
    assert [speeds_at(k, speeds, slow)["edge_1"] for k in range(6)] == pytest.approx(
        [2.0, 2.0, 2 / 3, 2 / 3, 1 / 3, 1 / 3]
    )
    assert speeds_at(4, speeds, slow)["edge_0"] == 2.0 and speeds["edge_1"] == 2.0
    assert speeds_at(9, speeds, ()) == speeds


@pytest.mark.parametrize("text", ["edge_0", "edge_0:3", "edge_0@3", ":3@2", "edge_0:x@2", "e:3@-1"])
def test_slowdowns_are_written_as_told(text: str) -> None:
    with pytest.raises(InputError, match="worker:factor@frame"):
        Slowdown.parse(text)


def test_a_worker_cannot_stand_still() -> None:
    with pytest.raises(InputError, match="cannot become 0 times slower"):
        Slowdown.parse("edge_0:0@2")


def content(planned: bool) -> dict[str, Any]:
    frames = [{"predicted_ms": 90.0, "all_answers_ms": 95.0, "predicted_value": 3.0, "found": 4}]
    of: dict[str, Any] = {
        "map50": 0.5,
        "map": None,
        "ap_small": 0.25,
        "makespan_ms": {"p50": 95.0, "p95": 99.0},
        "latency_ms": {"p50": 195.0, "p95": 199.0},
        "serial_ms": 300.0,
        "bytes_per_frame": 2000.0,
        "blocks_per_frame": 3.0,
        "seeds": {"map50": {"std": 0.0123}},
        "budget": {"over_10_percent": 0.015, "late_frames": 0.25} if planned else None,
        "per_frame": frames,
    }
    return {
        "methods": {"re_pose": of},
        "unavailable": {},
        "frames": 1,
        "model": "net",
        "workers": 4,
        "bandwidth_mbit_s": 100.0,
        "links": "shared",
        "cores": 2,
        "held_up": 1.0,
    }


def test_the_table_has_spread_and_budget() -> None:
    head, line = (text.split() for text in table(content(True)).splitlines()[:2])
    cells = dict(zip(head[:9], line, strict=False))
    assert cells["sd"] == "0.012" and cells["budget"] == "1.5%" and cells["late"] == "25.0%"
    assert table(content(False)).splitlines()[1].split()[7:9] == ["-", "-"]


def test_predictions_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    path = predicted_path(tmp_path / "plot.png")
    assert path == tmp_path / "plot_predicted.png"
    assert not save_predicted(content(False), path) and not path.exists()
    assert save_predicted(content(True), path)
    assert path.read_bytes()[:4] == b"\x89PNG"
