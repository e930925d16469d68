"""The figures and the video of a run, from what was recorded of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from re_pose_ros.demo.judge import Judge, judge_of
from re_pose_ros.demo.summary import percentiles, summarise, table
from re_pose_ros.demo.video import write_video
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block
from re_pose_ros.graph.records import Recording
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot
from re_pose_ros.plan_outcome import PlanOutcome
from re_pose_ros.sources import open_source
from re_pose_ros.sources.source import Feed, Source

OPTIONS = {"source": "s", "model": "m", "partitioner": "p"}
KEYS = [
    "source",
    "model",
    "partitioner",
    "workers",
    "frames_in",
    "frames_fused",
    "frames_partial",
    "detections",
    "detections_per_frame",
    "latency_ms",
    "budget",
    "stages_ms",
    "bytes_to_workers",
    "blocks_per_frame",
    "per_worker",
    "wall_s",
]


def objects(count: int) -> Detections:
    boxes = [(10 * k, 5, 10 * k + 8, 20) for k in range(count)]
    return Detections.of(boxes, [0.5] * count, [0] * count)


def plan_of(stamp: int, *slots: Slot) -> Plan:
    request = BlockRequest(Block(4, 4, 30, 30))
    return Plan(stamp, "camera", tuple(PlannedBlock(slot, request) for slot in slots))


def add_frame(
    recording: Recording, index: int, *, total_ms: float, count: int, missing: str = ""
) -> None:
    """A frame every 0.1 s, one block for ``a`` and two for ``b``."""
    stamp = 1_000_000_000 + index * 100_000_000
    record = recording.frame(stamp)
    record.index = index
    record.plan = plan_of(stamp, Slot("a", 0), Slot("b", 0), Slot("b", 1))
    record.detections = objects(count)
    record.telemetry = {
        "camera": {"index": str(index)},
        "partitioner": {
            "partition_ms": "2.0",
            "encode_ms": "3.0",
            "bytes/a/slot_0": "100",
            "bytes/b/slot_0": "10",
            "bytes/b/slot_1": "1",
        },
        "fusion": {
            "total_ms": str(total_ms),
            "workers_ms": "20.0",
            "fusion_ms": "1.0",
            "missing": missing,
            "answered_ms/a/slot_0": "12.0",
            "answered_ms/b/slot_0": "15.0",
        },
        "a": {"detect_ms": "9.0", "processing_ms": "10.0"},
        "b": {"detect_ms": "14.0", "processing_ms": "16.0"},
    }


@pytest.fixture
def recording() -> Recording:
    made = Recording(frames_published=4, labels=("person",))
    add_frame(made, 0, total_ms=30.0, count=2)
    add_frame(made, 1, total_ms=50.0, count=4, missing="b/slot_1")
    add_frame(made, 2, total_ms=40.0, count=6)
    made.frame(1_300_000_000).plan = plan_of(1_300_000_000, Slot("a", 0))
    return made


def test_the_summary_has_the_agreed_keys_first(recording: Recording) -> None:
    summary = summarise(recording, OPTIONS, ["a", "b"])
    assert list(summary) == KEYS
    assert list(summary["latency_ms"]) == ["p50", "p95", "max"]
    assert json.loads(json.dumps(summary)) == summary


def test_frames_detections_and_blocks_are_counted(recording: Recording) -> None:
    summary = summarise(recording, OPTIONS, ["a", "b"])
    counts = ("frames_in", "frames_fused", "frames_partial", "detections", "workers")
    assert [summary[name] for name in counts] == [4, 3, 1, 12, 2]
    assert summary["detections_per_frame"] == 4.0 and summary["blocks_per_frame"] == 3.0
    assert summary["bytes_to_workers"] == 333


def test_times_are_medians_and_percentiles(recording: Recording) -> None:
    summary = summarise(recording, OPTIONS, ["a", "b"])
    assert summary["latency_ms"] == {"p50": 40.0, "p95": 49.0, "max": 50.0}
    assert summary["stages_ms"] == {
        "camera": 40.0 - 2.0 - 20.0 - 1.0,
        "partition": 2.0,
        "encode": 3.0,
        "workers": 20.0,
        "detect": 14.0,
        "fusion": 1.0,
    }
    # Two steps of 0.1 s, and the last frame's own 40 ms.
    assert summary["wall_s"] == pytest.approx(0.24)


def tell_outcome(recording: Recording, index: int, happened_ms: float) -> None:
    """As the partitioner's telemetry has it of a frame that was planned for a budget."""
    told = recording.frame(1_000_000_000 + index * 100_000_000).telemetry
    outcome = PlanOutcome(30.0, happened_ms, 5.0, 4, 45.0, "latency")
    told["partitioner"] = {**told["partitioner"], **outcome.texts(), "clusters": "4,4,90,60"}


def test_the_budget_is_told_where_one_was_planned_for(recording: Recording) -> None:
    bare = summarise(recording, OPTIONS, ["a", "b"])
    assert bare["budget"] is None and "budget" not in table(bare)
    tell_outcome(recording, 0, 35.0)
    tell_outcome(recording, 1, 55.0)
    summary = summarise(recording, OPTIONS, ["a", "b"])
    assert summary["budget"] == {
        "budget_ms": 45.0,
        "objective": "latency",
        "over_budget_share": 0.5,
        "far_over_budget_share": 0.5,
        "predicted_ms": {"p50": 30.0, "p95": 30.0},
        "happened_ms": {"p50": 45.0, "p95": 54.0},
        "value_predicted": 5.0,
        "value_happened": 4.0,
    }
    (line,) = [line for line in table(summary).splitlines() if line.startswith("budget ")]
    assert "45 ms for latency, 50.0% of frames over it" in line


def test_workers_are_told_apart(recording: Recording) -> None:
    workers = summarise(recording, OPTIONS, ["a", "b"])["per_worker"]
    assert workers["a"] == {
        "blocks": 3,
        "blocks_missing": 0,
        "bytes": 300,
        "processing_ms": 10.0,
        "answered_ms": 12.0,
    }
    assert workers["b"]["blocks"] == 6 and workers["b"]["blocks_missing"] == 1
    assert workers["b"]["bytes"] == 33 and workers["b"]["answered_ms"] == 15.0


def test_a_worker_whose_name_begins_like_anothers_is_not_mixed_up_with_it() -> None:
    recording = Recording()
    record = recording.frame(5)
    record.detections = objects(0)
    record.plan = plan_of(5, Slot("edge_1", 0), Slot("edge_10", 0))
    record.telemetry = {
        "partitioner": {"bytes/edge_1/slot_0": "1", "bytes/edge_10/slot_0": "100"},
        "fusion": {"missing": "edge_10/slot_0", "answered_ms/edge_1/slot_0": "3"},
    }
    workers = summarise(recording, OPTIONS, ["edge_1", "edge_10"])["per_worker"]
    assert [w["bytes"] for w in workers.values()] == [1, 100]
    assert [w["blocks_missing"] for w in workers.values()] == [0, 1]
    assert [w["answered_ms"] for w in workers.values()] == [3.0, None]


def test_a_run_that_ended_before_its_first_frame_has_a_summary_too() -> None:
    summary = summarise(Recording(), OPTIONS, ["a"])
    assert list(summary) == KEYS
    assert summary["frames_in"] == summary["frames_fused"] == summary["detections"] == 0
    assert summary["latency_ms"] == {} and summary["wall_s"] == 0.0
    assert json.loads(json.dumps(summary)) == summary
    assert "0 in, 0 fused, 0 partial" in table(summary)


def test_frames_in_are_those_seen_where_the_camera_did_not_come_to_its_end(
    recording: Recording,
) -> None:
    recording.frames_published = None
    assert summarise(recording, OPTIONS, ["a"])["frames_in"] == 4


def test_a_result_without_its_plan_or_telemetry_still_counts() -> None:
    recording = Recording()
    recording.frame(7).detections = objects(3)
    summary = summarise(recording, OPTIONS, ["a"])
    assert summary["frames_fused"] == 1 and summary["detections"] == 3
    assert summary["stages_ms"]["workers"] is None and summary["blocks_per_frame"] == 0.0
    assert "3 (3.0 per frame)" in table(summary)


def test_the_table_says_what_was_lost(recording: Recording) -> None:
    lines = table(summarise(recording, OPTIONS, ["a", "b"])).splitlines()
    assert any(line.startswith("b ") and "1 missing" in line for line in lines)
    assert any(line.startswith("a ") and "missing" not in line for line in lines)
    assert any("4 in, 3 fused, 1 partial" in line for line in lines)


def test_a_recording_is_complete_when_plans_and_telemetry_have_come_too(
    recording: Recording,
) -> None:
    assert Recording().complete() and recording.complete(), "the last frame has no result yet"
    record = recording.frame(1_100_000_000)
    fusion = record.telemetry.pop("fusion")
    assert not recording.complete()
    record.telemetry["fusion"] = fusion
    plan, record.plan = record.plan, None
    assert plan is not None and not recording.complete()
    record.plan = plan
    assert recording.complete()
    partitioner = record.telemetry["partitioner"]
    record.telemetry["partitioner"] = {**partitioner, "predicted_ms": "30.0"}
    assert not recording.complete(), "what happened is still to come"
    tell_outcome(recording, 1, 40.0)
    assert recording.complete()
    record.telemetry["partitioner"] = PlanOutcome(1.0, 2.0, 3.0, 4, 5.0, "latency").texts()
    assert not recording.complete(), "what was told with the plan is still to come"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        ([7.0], {"p50": 7.0, "p95": 7.0, "max": 7.0}),
        (range(101), {"p50": 50.0, "p95": 95.0, "max": 100.0}),
    ],
)
def test_percentiles(values: Any, expected: dict[str, float]) -> None:
    assert percentiles(values) == expected


# The video.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for k in range(4):
        cv2.imwrite(str(images / f"{k}.png"), np.full((120, 160, 3), 40 * (k + 1), np.uint8))
    return images


def video_frames(path: Path) -> list[Any]:
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    video.release()
    return frames


def test_the_video_has_the_fused_frames_in_order(
    recording: Recording, folder: Path, tmp_path: Path
) -> None:
    del recording.frames[1_100_000_000]
    path = tmp_path / "annotated.mp4"
    with open_source(str(folder)) as source:
        assert write_video(path, source, recording) == 2
    frames = video_frames(path)
    # A corner that nothing is drawn over tells which image it was.
    assert [round(float(frame[100:, 130:].mean()), -1) for frame in frames] == [40, 120]
    assert all(frame.shape == (120, 160, 3) for frame in frames)
    assert abs(frames[0].astype(int) - 40).max() > 60, "nothing was drawn"


def test_the_video_shows_clusters_and_use_of_the_budget_where_there_are_any(
    recording: Recording, folder: Path, tmp_path: Path
) -> None:
    def drawn(name: str) -> NDArray[np.uint8]:
        with open_source(str(folder)) as source:
            write_video(tmp_path / name, source, recording)
        return video_frames(tmp_path / name)[0].astype(int)

    before = drawn("before.mp4")
    tell_outcome(recording, 0, 35.0)
    changed = abs(drawn("after.mp4") - before).max(axis=2) > 40
    assert changed[63, 4:94].any(), "the cluster's lower edge"
    assert changed[:20, 100:].any(), "the bar at the top right"
    assert not changed[70:, 100:].any()


def test_images_of_other_sizes_do_not_end_the_video(
    recording: Recording, folder: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(folder / "1.png"), np.full((60, 90, 3), 80, np.uint8))
    path = tmp_path / "annotated.mp4"
    with open_source(str(folder)) as source:
        assert write_video(path, source, recording) == 3
    assert len(video_frames(path)) == 3


def test_a_video_that_cannot_be_written_is_told(
    recording: Recording, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "absent" / "annotated.mp4"
    with open_source(str(folder)) as source, pytest.raises(InputError, match="cannot be written"):
        write_video(path, source, recording)


def source_of(images: Sequence[NDArray[np.uint8]], truths: Sequence[GroundTruth | None]) -> Source:
    height, width = images[0].shape[:2]

    def play(start: int) -> Iterator[Frame]:
        for index in range(start, len(images)):
            yield Frame(images[index], index, truth=truths[index])

    return Source(Feed("made", (width, height), 10.0, len(images), True, play))


def test_wide_frames_are_scaled_and_shown_enlarged_where_most_was_found(tmp_path: Path) -> None:
    recording = Recording(frames_published=1, labels=("person",))
    record = recording.frame(1)
    record.index = 0
    record.detections = Detections.of([(3000, 1500, 3040, 1540)], [0.9], [0])
    image = np.full((2160, 3840, 3), 90, np.uint8)
    image[1500:1540, 3000:3040] = 250
    path = tmp_path / "annotated.mp4"
    assert write_video(path, source_of([image], [None]), recording) == 1
    (drawn,) = video_frames(path)
    assert drawn.shape == (1080, 1920, 3)
    # 40 pixels are 20 in the picture and 80 in the inset, which is in the other half.
    bright = (drawn.min(axis=2) > 235).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
    widths = [s[cv2.CC_STAT_WIDTH] for s in stats[1:] if 0.8 < s[2] / s[3] < 1.25]
    assert any(15 <= w <= 21 for w in widths) and any(70 <= w <= 81 for w in widths)


# Accuracy.


def test_the_judge_counts_frames_without_result_as_missed() -> None:
    judge = Judge(("person", "car"), ("person", "car"))
    truth = GroundTruth.of([(10 * k, 5, 10 * k + 8, 20) for k in range(4)], [0] * 4)
    assert len(judge.add(objects(4), truth)) == 0 and judge.map50() == 1.0
    assert judge.add(objects(3), truth).tolist() == [[30, 5, 38, 20]]
    assert len(judge.add(None, truth)) == 4
    summary = judge.summary()
    assert summary["objects"] == 12 and summary["recall"] == round(7 / 12, 4)
    assert summary["precision"] == 1.0 and summary["ap_large"] is None
    assert summary["map50"] == summary["ap_small"] == pytest.approx(59 / 101, abs=1e-4)
    assert json.loads(json.dumps(summary)) == summary


def test_there_is_no_judge_without_truth_or_common_classes() -> None:
    assert judge_of(("person",), ()) is None
    assert judge_of(("person",), ("tree",)) is None
    assert judge_of(("person",), ("person", "tree")) is not None


def test_the_video_shows_the_judge_all_published_frames(tmp_path: Path) -> None:
    recording = Recording(frames_published=4, labels=("person",))
    add_frame(recording, 0, total_ms=30.0, count=2)
    add_frame(recording, 2, total_ms=30.0, count=2)
    for index in (1, 3):  # dropped
        recording.frame(1_000_000_000 + index * 100_000_000).index = index
    images = [np.full((120, 160, 3), 90, np.uint8)] * 6
    truth = GroundTruth.of([(0, 5, 8, 20), (10, 5, 18, 20)], [0, 0])
    judge = Judge(("person",), ("person",))
    path = tmp_path / "annotated.mp4"
    assert write_video(path, source_of(images, [truth] * 6), recording, judge) == 2
    assert judge.summary()["objects"] == 8 and judge.summary()["recall"] == 0.5
    recording.frames_published = None
    judge = Judge(("person",), ("person",))
    write_video(path, source_of(images, [truth] * 6), recording, judge)
    assert judge.summary()["objects"] == 6, "an interrupted run is judged to its last result"


def test_the_table_has_the_accuracy_where_it_is_known(recording: Recording) -> None:
    summary = summarise(recording, OPTIONS, ["a", "b"])
    assert "mAP" not in table(summary)
    judge = Judge(("person",), ("person",))
    judge.add(objects(1), GroundTruth.of([(0, 5, 8, 20)], [0]))
    shown = table(summary | judge.summary())
    assert "mAP50 1.000" in shown and "small 1.000" in shown and "of 1 objects" in shown
