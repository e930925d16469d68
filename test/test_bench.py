"""``bench partition``: all methods on the same frames, with a stand-in network."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bench_model
import numpy as np
import pytest

from re_pose_ros import __main__ as commands
from re_pose_ros.bench import command, compare
from re_pose_ros.bench.command import bench_partition
from re_pose_ros.bench.methods import DEFAULT, Partitioned
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.plot import save_plot
from re_pose_ros.bench.pool import Detector
from re_pose_ros.bench.slowdown import Slowdown
from re_pose_ros.bench.table import table
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.pipeline import Pipeline

SQUARES = [(60, 40), (100, 44), (900, 500), (940, 520), (1000, 480)]
SIDE = 24
METHODS = ("whole_320", "whole_1280", "tiles", "sahi", "clusters", "elf", "ground_truth")
SPEC = "scene:plaza?seed=7"


def frame(index: int, sequence: str = "one") -> tuple[Frame, GroundTruth]:
    image = np.full((720, 1280, 3), 60, np.uint8)
    corners = [(x + 3 * index, y) for x, y in SQUARES]
    for x, y in corners:
        image[y : y + SIDE, x : x + SIDE] = 255
    truth = GroundTruth.of([(x, y, x + SIDE, y + SIDE) for x, y in corners], [0] * len(corners))
    return Frame(image, index, None, sequence, truth), truth


@dataclass(frozen=True)
class Frames:
    """Annotated frames by hand; a frame that is None cannot be read."""

    pairs: Sequence[tuple[Frame, GroundTruth] | None]
    labels: tuple[str, ...] = ("square",)
    name: str = "by hand"

    @property
    def independent(self) -> bool:
        names = [pair[0].frame_id for pair in self.pairs if pair]
        return all(a != b for a, b in itertools.pairwise(names))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[tuple[Frame, GroundTruth]]:
        for pair in self.pairs:
            if pair is None:
                raise InputError("photo.jpg: compressed image is empty")
            yield pair

    def select(self, indices: Sequence[int] | slice) -> Frames:
        raise AssertionError("nobody asked")


def usual() -> BenchOptions:
    return BenchOptions(
        methods=METHODS,
        detector=Detector("squares", 0.25, load=bench_model.load),
        input_sizes=(320, 640),
        partition=PartitionSettings(whole_size=1280),
        changed=frozenset({"whole_size"}),
        workers=3,
    )


@pytest.fixture
def options() -> BenchOptions:
    return usual()


@pytest.fixture(scope="module")
def outcome() -> dict[str, Any]:
    """Of four frames in two sequences."""
    data = Frames([frame(0), frame(1), frame(2), frame(0, "two")])
    return compare.compare([(SPEC, data)], usual())


def test_the_result_has_what_reports_quote(outcome: dict[str, Any]) -> None:
    assert outcome["complete"] and outcome["frames"] == 4 and outcome["model"] == "squares"
    assert outcome["data"] == [SPEC] and outcome["seeds"] == [7] and outcome["workers"] == 3
    assert outcome["machine"]["cores"] and outcome["commit"] and outcome["wall_s"] > 0
    assert list(outcome["methods"]) == list(METHODS)
    for of in outcome["methods"].values():
        assert {"map50", "map", "ap_small", "ap_medium", "ap_large"} <= of.keys()
        for kind in ("latency_ms", "makespan_ms"):
            assert 0 < of[kind]["p50"] <= of[kind]["p95"]
        rows = of["per_frame"]
        assert [row["sequence"] for row in rows] == ["one"] * 3 + ["two"]
        assert of["serial_ms"] == pytest.approx(np.mean([row["serial_ms"] for row in rows]), abs=1)
        assert of["bytes_per_frame"] == np.mean([row["sent_bytes"] for row in rows])
        assert {"partition", "encode", "fusion"} <= of["overhead_ms"].keys()
        for row in rows:
            sent = row["sent_bytes"] * 8 / 100e6 * 1e3
            assert row["transfer_ms"] == pytest.approx(sent, abs=1e-3)
            least = row["partition_ms"] + row["fusion_ms"] + row["serial_ms"] / 3
            most = least + row["encode_ms"] + row["transfer_ms"] + row["serial_ms"]
            assert least - 0.1 <= row["makespan_ms"] <= most + 0.1
    assert json.loads(json.dumps(outcome)) == outcome
    assert "computed for 3 workers" in outcome["notes"]["makespan_ms"]


def test_every_method_was_really_run(outcome: dict[str, Any]) -> None:
    for name, of in outcome["methods"].items():
        assert of["map50"] == pytest.approx(1.0), name
        assert [row["detections"] for row in of["per_frame"]] == [len(SQUARES)] * 4, name
    blocks = {name: of["blocks_per_frame"] for name, of in outcome["methods"].items()}
    assert blocks["tiles"] == 7 and blocks["sahi"] == blocks["whole_320"] == 1
    clusters = [row["blocks"] for row in outcome["methods"]["clusters"]["per_frame"]]
    assert clusters[0] == clusters[3] == 1 < clusters[1], "anew where a sequence begins"
    assert outcome["methods"]["ground_truth"]["per_frame"][0]["blocks"] > 1


def test_by_data_adds_up(options: BenchOptions) -> None:
    two = [("scene:yard?seed=3", Frames([frame(0)])), ("scene:yard", Frames([frame(1), frame(2)]))]
    found = compare.compare(two, replace(options, methods=("whole_320",)))
    of = found["methods"]["whole_320"]
    assert [part["frames"] for part in of["by_data"]] == [1, 2]
    assert [part["data"] for part in of["by_data"]] == ["scene:yard?seed=3", "scene:yard"]
    assert found["seeds"] == [3, 0]
    assert [row["data"] for row in of["per_frame"]] == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "partitioner", "settings", "sizes"),
    [
        ("whole_640", "whole", PartitionSettings(whole_size=640), (640,)),
        ("uniform", "uniform", PartitionSettings(tile_size=400), (320, 640)),
        ("clusters", "clusters", PartitionSettings(whole_size=640), (320, 640)),
    ],
)
def test_it_finds_what_the_pipeline_finds(
    options: BenchOptions,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    partitioner: str,
    settings: PartitionSettings,
    sizes: tuple[int, ...],
) -> None:
    pipeline = Pipeline(
        [bench_model.load("squares", confidence=0.25, threads=1)],
        partitioner=partitioner,
        input_sizes=sizes,
        workers=3,
        partition=settings,
    )
    kept = []
    monkeypatch.setattr(compare, "result", lambda setup, samples, *_: kept.extend(samples))
    pairs = [frame(k) for k in range(3)]
    compare.compare([(SPEC, Frames(pairs))], replace(options, methods=(name,), partition=settings))
    for (shown, _), sample in zip(pairs, kept, strict=True):
        expected, found = pipeline.run(shown.image), sample.measured[name]
        assert found.detections.xyxy.tolist() == expected.detections.xyxy.tolist()
        assert found.timing.sent_bytes == sum(expected.block_bytes)


def test_warm_frames_are_shown_and_do_not_count(options: BenchOptions) -> None:
    data = Frames([frame(0), frame(1), frame(2), frame(0, "two"), frame(1, "two")])
    found = compare.compare(
        [(SPEC, data)], replace(options, methods=("whole_320", "clusters"), warm=1)
    )
    rows = found["methods"]["clusters"]["per_frame"]
    assert [(row["sequence"], row["index"]) for row in rows] == [
        ("one", 1),
        ("one", 2),
        ("two", 1),
    ]
    assert all(row["blocks"] > 1 for row in rows), "it knows from the frame before"


def test_a_photo_is_shown_repeatedly_and_counts_once(options: BenchOptions) -> None:
    photos = Frames([frame(0, "a"), frame(5, "b")])
    few = replace(options, methods=("clusters",))
    once = compare.compare([(SPEC, photos)], few)["methods"]["clusters"]["per_frame"]
    twice = compare.compare([(SPEC, photos)], replace(few, repeat=2))
    rows = twice["methods"]["clusters"]["per_frame"]
    assert [row["blocks"] for row in once] == [1, 1]
    assert len(rows) == 2 and all(row["blocks"] > 1 for row in rows)
    with pytest.raises(InputError, match="repeat is for independent photos"):
        compare.compare([(SPEC, Frames([frame(0), frame(1)]))], replace(few, repeat=2))


def test_repeated_photos_have_rising_stamps(
    options: BenchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[tuple[int, int | None]] = []
    original = Partitioned.plan

    def plan(self: Partitioned, shown: Frame, truth: GroundTruth) -> Any:
        planned.append((shown.index, shown.stamp_ns))
        return original(self, shown, truth)

    monkeypatch.setattr(Partitioned, "plan", plan)
    few = replace(options, methods=("clusters",))
    first, second = frame(0, "a"), frame(5, "b")
    stamped = replace(second[0], stamp_ns=1_000), second[1]
    compare.compare([(SPEC, Frames([first, stamped]))], replace(few, repeat=3))
    step = compare.REPEAT_NS
    assert planned == [
        *((0, k * step) for k in range(3)),
        *((5, 1_000 + k * step) for k in range(3)),
    ]
    planned.clear()
    compare.compare([(SPEC, Frames([first]))], few)
    assert planned == [(0, None)]


def test_a_planner_is_held_to_its_budget(options: BenchOptions) -> None:
    """Also where a worker becomes slower; on what a real planner does with a stand-in network."""
    data = [(f"scene:yard?seed={k}", Frames([frame(j) for j in range(4)])) for k in (3, 4)]
    slow = (Slowdown("edge_1", 1000.0, 2),)
    names = ("clusters", "greedy@400", "greedy_truth")
    found = compare.compare(
        data,
        replace(options, methods=names, slow=slow, warm=1, budgets={"greedy_truth": 300.0}),
    )
    methods = found["methods"]
    assert methods["clusters"]["budget"] is None
    assert methods["clusters"]["makespan_ms"]["p95"] > 500, "it waits for the slow worker"
    for name, budget in (("greedy@400", 400.0), ("greedy_truth", 300.0)):
        of = methods[name]["budget"]
        assert (of["budget_ms"], of["objective"]) == (budget, "accuracy")
        assert of["over_10_percent"] == 0 <= of["planned_over_10_percent"]
        assert of["slowed"]["frames"] == 2
        for row in methods[name]["per_frame"]:
            assert row["makespan_ms"] <= 1.1 * budget + 1e-3
            assert (row["late"] > 0) == (row["all_answers_ms"] > 1.1 * budget)
            assert row["predicted_ms"] > 0 and row["found"] <= len(SQUARES)
    assert methods["clusters"]["per_frame"][0]["found"] == len(SQUARES)
    assert set(methods["clusters"]["versus"]) == {"greedy@400"}
    pair = methods["greedy_truth"]["versus"]["clusters"]
    assert len(pair["map50"]["values"]) == 2
    assert found["settings"]["slow"] == [{"worker": "edge_1", "factor": 1000.0, "frame": 2}]
    assert found["settings"]["budgets"] == {"greedy_truth": 300.0}
    assert set(found["profile"]["time_ms"]) == {"squares@320", "squares@640"}
    assert json.loads(json.dumps(found)) == found
    assert "greedy@400" in table(found)


def red(index: int) -> tuple[Frame, GroundTruth]:
    image = np.zeros((720, 1280, 3), np.uint8)
    image[..., 2] = 255
    return Frame(image, index, None, "one"), GroundTruth.empty()


@pytest.mark.parametrize(
    ("third", "reason"), [(red(2), "ended: signal 9"), (None, "photo.jpg: compressed image")]
)
def test_what_was_measured_is_kept_when_a_run_ends_early(
    options: BenchOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    third: tuple[Frame, GroundTruth] | None,
    reason: str,
) -> None:
    data = Frames([frame(0), frame(1), third, frame(3)])
    monkeypatch.setattr(command, "open_dataset", lambda *_, **__: data)
    few = replace(
        options,
        methods=("whole_320", "tiles"),
        detector=Detector("dies", 0.25, load=bench_model.load),
    )
    file = tmp_path / "deep" / "bench.json"
    with pytest.raises(InputError, match=reason):
        bench_partition([SPEC], few, file=file)
    kept = json.loads(file.read_text())
    assert not kept["complete"] and reason in kept["error"]
    assert kept["frames"] == 2 and kept["methods"]["tiles"]["map50"] == pytest.approx(1.0)
    assert "tiles" in capsys.readouterr().out


def test_table_and_plot(outcome: dict[str, Any], tmp_path: Path) -> None:
    text = table(outcome)
    assert [line.split()[0] for line in text.splitlines()[1:8]] == list(METHODS)
    assert len({len(line) for line in text.splitlines()[:8]}) == 1
    save_plot(outcome, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    save_plot({**outcome, "methods": {}}, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size > 1000


BAD: list[tuple[dict[str, Any], str]] = [
    ({"workers": 0}, "workers is 0"),
    ({"jpeg_quality": 101}, "at most 100"),
    ({"speeds": (1.0, 2.0)}, "2 speeds for 3 workers"),
    ({"speeds": (1.0, 0.0, 1.0)}, "above 0"),
    ({"methods": ()}, "no method is given"),
    ({"input_sizes": ()}, "input sizes"),
    ({"repeat": 0}, "repeat is 0"),
    ({"slow": (Slowdown("edge_9", 2.0, 0),)}, "'edge_9' is not there to become slower"),
    ({"budgets": {"greedy": 50.0}}, "'greedy' has a budget, but is not among the methods"),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_options_have_limits(options: BenchOptions, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        replace(options, **change)


def test_data_have_to_fit_together(options: BenchOptions) -> None:
    other = Frames([frame(0)], labels=("circle",))
    with pytest.raises(InputError, match="different classes"):
        compare.compare([("a", Frames([frame(0)])), ("b", other)], options)
    with pytest.raises(InputError, match="no class in common"):
        compare.compare([("b", other)], replace(options, methods=("whole_320",)))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            "--data scene:plaza?seed=7 --methods grid --json b.json --plot b.png",
            "method 'grid' is unknown",
        ),
        ("--data absent", "dataset absent does not exist"),
        ("--data scene:plaza?seed=7 --bandwidth 0", "carries nothing"),
        ("--data scene:plaza?seed=7 --speed 1,fast", "'1,fast' is no list of numbers"),
        ("--data scene:plaza?seed=7 --plot plot.docx", "plot plot.docx"),
        ("--data scene:plaza?seed=7 --slow edge_0", "'edge_0' is no slowdown"),
        ("--data scene:plaza?seed=7 --budget greedy", "'greedy' is no budget"),
        ("--data scene:plaza?seed=7 --methods greedy@1", "budget_ms = 1"),
        ("--data scene:plaza?seed=7 --methods tiles --budget tiles=9", "'tiles' heeds no budget"),
        ("--data scene:plaza?seed=7 --json /proc/bench.json", "cannot be written"),
    ],
)
def test_a_command_that_cannot_run_says_so_at_once(
    arguments: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.main(["bench", "partition", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_command_and_the_bench_have_the_same_methods(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        commands.main(["bench", "partition", "--help"])
    assert f"(default:{','.join(DEFAULT)})" in "".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_command_on_a_scene_with_the_embedded_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    words = "--data scene:yard?seed=500&size=640x360&frames=2 --methods whole_320,elf --workers 2"
    arguments = ["bench", "partition", *words.split(), "--json", str(file), "--set"]
    assert commands.main([*arguments, "partitioner.look_every:=1"]) == 0
    found = json.loads(file.read_text())
    assert found["model"] == "scene-n" and found["seeds"] == [500] and found["frames"] == 2
    assert found["settings"]["changed"] == ["look_every"]
    assert found["methods"]["elf"]["per_frame"][1]["blocks"] >= 1
    assert "whole_320" in capsys.readouterr().out
