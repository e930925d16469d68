"""Live evaluation: from what was recorded of a run to one outcome per frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.evaluation import live
from re_pose_ros.evaluation.configuration import configurations
from re_pose_ros.evaluation.data import EvaluationData
from re_pose_ros.evaluation.live import LiveOptions, live_outcomes, played_rate, run_live
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block
from re_pose_ros.graph.description import Graph
from re_pose_ros.graph.records import Recording
from re_pose_ros.graph.session import Session
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.plan import BlockRequest, Plan, PlannedBlock, Slot
from re_pose_ros.plan_outcome import PlanOutcome
from re_pose_ros.sources import open_source

IMAGES = [np.full((180, 320, 3), 60 * k, np.uint8) for k in range(4)]
PERIOD_NS = 200_000_000


def frames() -> Iterator[Frame]:
    truth = GroundTruth.of([(0, 0, 10, 10)], [0])
    for k, image in enumerate(IMAGES):
        yield Frame(image, k, 10**9 + k * PERIOD_NS, "mast", truth)


@pytest.fixture(scope="module")
def data() -> EvaluationData:
    return EvaluationData("made", ("person",), False, len(IMAGES), frames, lambda _: frames())


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The same frames as a camera node finds them."""
    for k, image in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / f"{k}.png"), image)
    return str(tmp_path)


def add(recording: Recording, index: int, total_ms: float | None) -> None:
    """A frame that was published; ``total_ms`` None: and dropped."""
    record = recording.frame(10**9 + index * PERIOD_NS)
    record.index = index
    record.telemetry["camera"] = {"index": str(index)}
    if total_ms is None:
        return
    blocks = tuple(
        PlannedBlock(Slot("edge_0", k), BlockRequest(Block(40 * k, 0, 40, 40))) for k in range(2)
    )
    record.plan = Plan(record.stamp_ns, "", blocks)
    record.detections = Detections.of([(0, 0, 10, 10)], [0.9], [0])
    record.telemetry["fusion"] = {"total_ms": str(total_ms), "fusion_ms": "2.0"}
    record.telemetry["partitioner"] = {
        "partition_ms": "1.0",
        "encode_ms": "3.0",
        "bytes/edge_0/slot_0": "100",
        "bytes/edge_0/slot_1": "20",
    }
    record.telemetry["edge_0"] = {"detect_ms": "50.0", "decode_ms": "4.0"}
    record.telemetry["edge_1"] = {"detect_ms": "30.0", "decode_ms": "5.0"}


@pytest.fixture
def recording() -> Recording:
    made = Recording(frames_published=4, labels=("person",))
    add(made, 0, 100.0)
    add(made, 1, None)
    add(made, 3, 300.5)
    return made


def test_dropped_and_late_frames_are_misses(recording: Recording, data: EvaluationData) -> None:
    outcomes = live_outcomes(data, recording, ["edge_0", "edge_1"], 0.3)
    assert [o.index for o in outcomes] == [0, 1, 2, 3]
    assert [o.detections is None for o in outcomes] == [False, True, True, True]
    assert [o.late for o in outcomes] == [False, False, False, True]
    assert [o.latency_ms for o in outcomes] == [100.0, None, None, 300.5]
    assert all(o.truth is not None and o.size == (320, 180) for o in outcomes)
    in_time = live_outcomes(data, recording, ["edge_0", "edge_1"], 0.3005)
    assert [o.late for o in in_time] == [False] * 4


def test_stages_and_bytes_are_what_the_nodes_tell(
    recording: Recording, data: EvaluationData
) -> None:
    first, second, *_ = live_outcomes(data, recording, ["edge_0", "edge_1"], 1.0)
    assert first.stages_ms == {
        "partition": 1.0,
        "encode": 3.0,
        "decode": 5.0,
        "detect": 50.0,
        "fusion": 2.0,
        "waiting": 39.0,
    }
    assert first.block_bytes == (100, 20) and first.plan is not None
    assert second.stages_ms == {} and second.block_bytes == () and second.plan is None


def test_what_was_expected_is_what_the_partitioner_tells(
    recording: Recording, data: EvaluationData
) -> None:
    outcome = PlanOutcome(90.0, 98.0, 1.5, 1, 95.0, "latency")
    told = recording.frame(10**9).telemetry
    told["partitioner"] = {**told["partitioner"], **outcome.texts(), "clusters": "1,2,3,4"}
    first, *others = live_outcomes(data, recording, ["edge_0", "edge_1"], 1.0)
    assert first.expected == outcome and first.clusters == (Block(1, 2, 3, 4),)
    assert all(o.expected is None and o.clusters == () for o in others)


def test_the_rate_that_was_played_is_told(recording: Recording) -> None:
    assert played_rate(recording) == pytest.approx(5 * 2 / 3)
    assert played_rate(Recording()) is None


class Player:
    """Stands in for the graph: notes what it was to play, and gives a recording."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, recording: Recording) -> None:
        self.recording = recording
        self.stopped: InputError | None = None
        self.graph: Graph | None = None
        self.images: list[np.ndarray] = []
        self.rate = 0.0
        monkeypatch.setattr(live, "run_session", self.play)

    def play(self, graph: Graph, **_: object) -> Session:
        self.graph = graph
        with open_source(str(self.parameters("camera")["source"])) as source:
            self.rate = source.rate
            self.images = [frame.image for frame in source]
        return Session(self.recording, 1.0, self.stopped)

    def parameters(self, node: str) -> dict[str, object]:
        assert self.graph is not None
        found: dict[str, object] = {}
        for process in self.graph.processes:
            found |= process.explicit.get(node, {})
        return found


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> Player:
    return Player(monkeypatch, recording)


def test_the_graph_is_what_the_configuration_says(
    player: Player, data: EvaluationData, source: str
) -> None:
    settings = {"partitioner.margin": "2.5", "fusion.merge_threshold": "0.7"}
    (method,) = configurations(
        ["uniform_400"], input_sizes=(320,), workers=2, slots=3, jpeg_quality=70, settings=settings
    )
    options = LiveOptions(rate=7.0, confidence=0.4, settings={"detector.threads": "1"})
    run = run_live(data, "scene-n", method, options, source=source)
    partitioner = player.parameters("partitioner")
    assert partitioner["partitioner"] == "uniform" and partitioner["tile_size"] == 400
    assert partitioner["margin"] == 2.5 and partitioner["jpeg_quality"] == 70
    assert player.parameters("fusion")["merge_threshold"] == 0.7
    assert player.parameters("camera")["rate"] == 7.0
    detector = player.parameters("edge_1")
    assert detector["models"] == ["scene-n"] and detector["threads"] == 1
    assert detector["confidence"] == 0.4 and detector["input_sizes"] == list(method.input_sizes)
    assert {player.parameters(n)["slots"] for n in ("partitioner", "fusion", "edge_0")} == {3}
    assert run.rate == 7.0 and run.deadline_s == pytest.approx(0.5 + 1 / 7)


def test_frames_that_no_camera_can_open_are_recorded_first(
    player: Player, data: EvaluationData
) -> None:
    (method,) = configurations(["whole"])
    run = run_live(data, "scene-n", method)
    for image, original in zip(player.images, IMAGES, strict=True):
        assert np.abs(image.astype(int) - original).max() < 3, "but for JPEG"
    assert run.rate == player.rate == pytest.approx(5.0)
    assert not Path(str(player.parameters("camera")["source"])).exists()


def test_the_deadline_is_the_one_given_or_that_of_fusion(
    player: Player, data: EvaluationData, source: str
) -> None:
    (method,) = configurations(["whole"])
    given = run_live(data, "scene-n", method, LiveOptions(deadline=0.2), source=source)
    assert given.deadline_s == 0.2 and given.outcomes[3].late
    settings = {"fusion.deadline": "2.0"}
    longer = run_live(data, "scene-n", method, LiveOptions(settings=settings), source=source)
    assert longer.deadline_s == pytest.approx(2.1) and not longer.outcomes[3].late
    assert longer.notes[0].startswith("played at 3.33 instead of 10 frames/s")


def test_what_was_recorded_before_a_failure_is_kept(
    player: Player, data: EvaluationData, source: str
) -> None:
    (method,) = configurations(["whole"])
    player.stopped = InputError("edge_0 ended with code -9")
    run = run_live(data, "scene-n", method, source=source)
    assert run.stopped is player.stopped and run.outcomes[0].detections is not None
    player.recording = Recording()
    with pytest.raises(InputError, match="edge_0 ended"):
        run_live(data, "scene-n", method, source=source)


def test_impossible_options_are_told(data: EvaluationData, source: str) -> None:
    (method,) = configurations(["whole"])
    for options in (LiveOptions(rate=-1.0), LiveOptions(deadline=-1.0)):
        with pytest.raises(InputError, match="must not be negative"):
            run_live(data, "scene-n", method, options)
    with pytest.raises(InputError, match="no parameter speed"):
        run_live(
            data, "scene-n", method, LiveOptions(settings={"fusion.speed": "1"}), source=source
        )
