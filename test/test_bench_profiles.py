"""What planners are told of the workers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import bench_model
import pytest

from re_pose_ros.bench.pool import Detector, Pool
from re_pose_ros.bench.profiles import described, measured_profile, worker_profiles
from re_pose_ros.detection.profile import write_profile
from re_pose_ros.plan import Variant


def test_profiles_are_measured_with_what_is_known_beside_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "squares.pt"
    known = bench_model.profile("squares", (320,))
    write_profile(tmp_path / "squares.profile.json", known)
    detector = Detector("squares", load=partial(bench_model.profiled, str(weights)))
    with Pool(detector, 1) as pool:
        profile, problem = measured_profile(pool, (640, 96, 640))
    assert not problem and profile.labels == ("square",) and profile.data == ("by hand",)
    assert [entry.variant for entry in profile.variants] == [
        Variant("squares", 96),
        Variant("squares", 640),
    ]
    assert profile.variants[0].time_ms < profile.variants[1].time_ms
    assert {entry.accuracy for entry in profile.variants} == {known.variants[0].accuracy}
    assert described(profile, "")["accuracy_from"] == ["by hand"]


def test_what_cannot_be_used_is_told_and_left_out(tmp_path: Path) -> None:
    weights = tmp_path / "squares.pt"
    (tmp_path / "squares.profile.json").write_text("{}")
    detector = Detector("squares", load=partial(bench_model.profiled, str(weights)))
    with Pool(detector, 1) as pool:
        profile, problem = measured_profile(pool, (96,))
    assert "squares.profile.json" in problem and profile.variants[0].accuracy is None
    assert described(profile, problem)["problem"] == problem


def test_a_worker_has_the_profiles_times_by_its_speed() -> None:
    profile = bench_model.profile()
    found = worker_profiles(profile, {"edge_0": 1.0, "edge_1": 0.5})
    times = [[entry.time_ms for entry in found[name].variants] for name in found]
    assert times[0] == [entry.time_ms for entry in profile.variants]
    assert times[1] == pytest.approx([2 * ms for ms in times[0]])
    assert found["edge_1"].worker == "edge_1" and found["edge_1"].data == profile.data
