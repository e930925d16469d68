"""``bench ablation``: which parts there are, and that a run goes on where it ended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from re_pose_ros import __main__ as commands
from re_pose_ros.bench import ablation
from re_pose_ros.bench.ablation import (
    BASE,
    DENSITIES,
    METHODS,
    SIZES,
    WORKERS,
    Extent,
    Part,
    bench_ablation,
    parts,
    summary,
)
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.datasets import open_dataset
from re_pose_ros.errors import InputError

OPTIONS = BenchOptions(methods=("whole_640", "greedy"))
QUICK = Extent(quick=True)


def figures(map50: float | None, makespan: float, over: float | None = None) -> dict[str, Any]:
    budget = None if over is None else {"over_10_percent": over}
    return {"map50": map50, "makespan_ms": {"p50": makespan}, "budget": budget}


class Runs:
    """In place of ``compare``; what it was asked, and where it is to fail."""

    def __init__(self, fails_at: int = 99) -> None:
        self.asked: list[tuple[int, int, tuple[str, ...]]] = []
        self.fails_at = fails_at

    def __call__(self, data: list[tuple[str, Any]], options: BenchOptions) -> dict[str, Any]:
        if len(self.asked) == self.fails_at:
            raise InputError("a worker ended")
        self.asked.append((options.workers, options.warm, tuple(spec for spec, _ in data)))
        return {"methods": {name: figures(0.5, 10.0) for name in options.methods}}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr(ablation, "compare", lambda *of: found(*of))
    return found


def test_one_condition_is_varied_at_a_time() -> None:
    found = parts(Extent())
    base = Part(*BASE)
    assert found[0] == base and len(found) == len(set(found)) == 1 + 3 + 2 + 3
    differing = [
        sum(getattr(part, name) != getattr(base, name) for name in ("workers", "size", "density"))
        for part in found[1:]
    ]
    assert set(differing) == {1}
    assert {part.workers for part in found} == set(WORKERS)
    assert {part.size for part in found} == set(SIZES)
    assert {part.density for part in found} == set(DENSITIES)
    assert len(parts(Extent(cross=True))) == len(WORKERS) * len(SIZES) * len(DENSITIES)


def test_scenes_are_as_asked_for() -> None:
    extent = Extent(seeds=(5, 6), frames=7, warm=2)
    for part in parts(extent):
        specs = part.specs(extent)
        assert len(specs) == 2
        for spec in specs:
            frames: Any = open_dataset(spec)
            width, height = frames.spec.size
            assert f"{width}x{height}" == part.size and len(frames) == 9
        assert frames.spec.seed == 6
    crowded: Any = open_dataset(Part(4, SIZES[0], "crowded").specs(extent)[0])
    assert crowded.spec.objects == 2.5


def test_a_run_goes_on_where_it_ended(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, runs.fails_at = tmp_path / "ablation.json", 1
    with pytest.raises(InputError, match="a worker ended"):
        bench_ablation(OPTIONS, QUICK, file=file)
    first, second = (part.name for part in parts(QUICK))
    assert list(json.loads(file.read_text())["parts"]) == [first]
    runs.fails_at = 99
    content = bench_ablation(OPTIONS, QUICK, file=file)
    assert json.loads(file.read_text()) == content and list(content["parts"]) == [first, second]
    assert [workers for workers, _, _ in runs.asked] == [part.workers for part in parts(QUICK)]
    assert "(in the file)" in capsys.readouterr().out
    bench_ablation(OPTIONS, QUICK, file=file)
    assert len(runs.asked) == 2 and list(tmp_path.iterdir()) == [file]


def test_what_was_measured_otherwise_is_not_overwritten(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "ablation.json"
    bench_ablation(OPTIONS, QUICK, file=file)
    before = file.read_text()
    for options, extent in (
        (replace(OPTIONS, bandwidth_mbit_s=9.0), QUICK),
        (replace(OPTIONS, methods=("greedy",)), QUICK),
        (OPTIONS, Extent(quick=True, seeds=(9,))),
    ):
        with pytest.raises(InputError, match="with other settings; give another name"):
            bench_ablation(options, extent, file=file)
    assert file.read_text() == before
    bench_ablation(OPTIONS, Extent(cross=True, frames=1), file=tmp_path / "cross.json")
    file.write_text('{"kind": "bench partition"}')
    with pytest.raises(InputError, match="holds no ablation"):
        bench_ablation(OPTIONS, QUICK, file=file)


def test_what_pays_is_not_beaten_by_a_look_at_the_whole() -> None:
    methods = {
        "whole_640": figures(0.3, 30.0),
        "whole_1280": figures(0.6, 100.0),
        "better": figures(0.7, 120.0, 0.0),
        "faster": figures(0.5, 60.0, 0.02),
        "worse": figures(0.3, 40.0),
        "nothing": figures(None, 50.0),
    }
    found = summary({"methods": methods})
    pays = {name: of["pays"] for name, of in found.items() if "pays" in of}
    assert pays == {"better": True, "faster": True, "worse": False, "nothing": False}
    assert found["faster"]["over_10_percent"] == 0.02
    assert found["worse"]["over_10_percent"] is None


def test_the_command_asks_for_all_parts_of_the_planner(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    words = f"bench ablation --quick --seeds 7 --json {file} --input-sizes 320,640"
    assert commands.main(words.split()) == 0
    content = json.loads(file.read_text())
    assert {"greedy", "re_pose", "re_pose_no_agent", "re_pose_no_knapsack"} < set(METHODS)
    for of in content["parts"].values():
        assert list(of["result"]["methods"]) == list(METHODS)
    assert all("seed=7" in spec for _, _, specs in runs.asked for spec in specs)
    assert "re_pose_no_tracking" in capsys.readouterr().out
    assert commands.main([*words.split(), "--frames", "0"]) == 2
    assert "frames is 0" in capsys.readouterr().err
