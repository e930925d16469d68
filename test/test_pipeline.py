"""The whole per-frame job in process, with a stand-in network that finds bright squares."""

from __future__ import annotations

import numpy as np
import pytest
from bench_model import bright_squares
from numpy.typing import NDArray

from re_pose_ros import partition
from re_pose_ros.detection.model import Model
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block, whole
from re_pose_ros.partition.base import FrameOutcome, PartitionContext, PartitionSettings
from re_pose_ros.pipeline import NETWORK, Pipeline
from re_pose_ros.plan import BlockRequest, Expectation, Variant
from re_pose_ros.plan_outcome import PlanOutcome

SQUARES = [(60, 40), (100, 44), (900, 500), (940, 520), (1000, 480)]
SIDE = 20


@pytest.fixture
def model() -> Model:
    return Model(
        name="squares",
        labels=("square",),
        stride=32,
        fixed_size=None,
        max_batch=8,
        device="cpu",
        predict=bright_squares,
    )


def frame(shift: int = 0) -> NDArray[np.uint8]:
    image = np.full((720, 1280, 3), 60, np.uint8)
    for x, y in SQUARES:
        image[y : y + SIDE, x + shift : x + shift + SIDE] = 255
    return image


@pytest.mark.parametrize("partitioner", ["whole", "uniform", "clusters", "elf"])
def test_every_object_is_found_once_where_it_is(model: Model, partitioner: str) -> None:
    pipeline = Pipeline(
        [model],
        partitioner=partitioner,
        input_sizes=(320, 640, 1280),
        workers=2,
        partition=PartitionSettings(whole_size=1280, tile_size=360),
    )
    for shift in (0, 3, 6):
        found = pipeline.detect(frame(shift)).ranked()
        boxes = found.xyxy[np.argsort(found.xyxy[:, 0])]
        expected = np.array([(x + shift, y, x + shift + SIDE, y + SIDE) for x, y in SQUARES])
        assert boxes.shape == expected.shape
        assert np.abs(boxes - expected).max() < 3


def test_clusters_look_at_less_once_they_know_where(model: Model) -> None:
    pipeline = Pipeline(
        [model],
        partitioner="clusters",
        input_sizes=(320, 640, 1280),
        workers=2,
        partition=PartitionSettings(whole_size=1280),
    )
    first, second = pipeline.run(frame()), pipeline.run(frame())
    assert [planned.block.area for planned in first.plan.blocks] == [1280 * 720]
    assert sum(planned.block.area for planned in second.plan.blocks) < 1280 * 720 / 3
    assert sum(second.block_bytes) < sum(first.block_bytes)


def test_the_same_frames_give_the_same_detections(model: Model) -> None:
    runs = []
    for _ in range(2):
        pipeline = Pipeline([model], input_sizes=(320, 640), workers=3)
        runs.append([pipeline.detect(frame(shift)).xyxy.tobytes() for shift in range(5)])
    assert runs[0] == runs[1]


def test_every_stage_is_timed_and_every_block_charged(model: Model) -> None:
    result = Pipeline([model], partitioner="uniform", input_sizes=(640,), workers=2).run(frame())
    assert list(result.stages_ms) == ["partition", "encode", "decode", "detect", "fusion"]
    assert len(result.block_ms) == len(result.block_bytes) == len(result.plan.blocks) > 1
    assert min(result.block_bytes) > 0
    assert result.detections.block.max() < len(result.plan.blocks)


def test_blocks_may_skip_jpeg(model: Model) -> None:
    pipeline = Pipeline([model], partitioner="whole", input_sizes=(1280,), jpeg_quality=0)
    assert pipeline.run(frame()).block_bytes == (1280 * 720 * 3,)


def test_impossible_settings_are_named(model: Model) -> None:
    with pytest.raises(InputError, match="workers"):
        Pipeline([model], workers=0)
    with pytest.raises(InputError, match="diagonal"):
        Pipeline([model], partitioner="diagonal")


# What partitioners get to know.


class Noting:
    """Halves the frame on two workers, expects something, and notes what it is told."""

    name = "noting"
    notes = ("a note",)

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings
        self.expected: Expectation | None = None
        self.heard: list[PartitionContext | FrameOutcome] = []

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        self.heard.append(context)
        width, height = context.frame_size
        variant = Variant("squares", 640)
        value = float(len(self.heard))
        self.expected = Expectation(
            value, 50.0, self.settings.budget_ms, "accuracy", (40.0, 45.0), (Block(1, 2, 3, 4),)
        )
        return [
            BlockRequest(Block(width // 2, 0, width // 2, height), variant, worker="edge_1"),
            BlockRequest(Block(0, 0, width // 2, height), variant, worker="edge_0"),
        ]

    def observe(self, outcome: FrameOutcome) -> None:
        self.heard.append(outcome)


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> list[Noting]:
    """The partitioners that were made as ``re_pose``."""
    made: list[Noting] = []

    def make(settings: PartitionSettings) -> Noting:
        made.append(Noting(settings))
        return made[-1]

    monkeypatch.setitem(partition.PARTITIONERS, "re_pose", make)
    return made


def profile_of(ms: float) -> Profile:
    entry = VariantProfile(Variant("squares", 640), ms)
    return Profile("desk", "cpu", ("square",), (entry,))


def test_a_planner_gets_to_know_all_there_is(model: Model, noting: list[Noting]) -> None:
    given = profile_of(12.0)
    pipeline = Pipeline(
        [model],
        partitioner="re_pose",
        input_sizes=(640,),
        workers=2,
        slots=3,
        partition=PartitionSettings(budget_ms=90.0),
        profile=given,
    )
    results = [pipeline.run(frame(shift)) for shift in (0, 5, 5)]
    (partitioner,) = noting
    first, told, second, *_ = partitioner.heard
    assert len(partitioner.heard) == 5, "each frame is observed before the next is planned"
    assert isinstance(first, PartitionContext) and isinstance(told, FrameOutcome)
    assert first.workers == {"edge_0": 3, "edge_1": 3} and first.slots == 6
    assert first.profiles == {"edge_0": given, "edge_1": given}
    assert first.stamp_ns is None and first.thumbnail is not None
    assert isinstance(second, PartitionContext) and second.thumbnail is not None
    assert not np.array_equal(first.thumbnail, second.thumbnail)

    result = results[0]
    assert told.detections is result.detections and told.blocks == result.plan.blocks
    assert [b.slot.worker for b in told.blocks] == ["edge_1", "edge_0"]
    assert told.answered == (True, True)
    assert [o.sent_bytes for o in told.outcomes] == list(result.block_bytes)
    for outcome, detecting in zip(told.outcomes, result.block_ms, strict=True):
        assert outcome.compute_ms is not None and outcome.compute_ms >= detecting > 0
        assert outcome.encode_ms is not None and outcome.encode_ms > 0
        assert outcome.transfer_ms is None, "nothing travelled"
    stages = result.stages_ms
    assert sum(o.encode_ms or 0.0 for o in told.outcomes) <= stages["encode"]
    assert sum(o.compute_ms or 0.0 for o in told.outcomes) <= stages["decode"] + stages["detect"]
    assert told.overhead_ms == pytest.approx(stages["partition"] + stages["fusion"])
    assert pipeline.notes == ("a note",)


def test_expectation_and_computed_makespan_stand_side_by_side(
    model: Model, noting: list[Noting]
) -> None:
    pipeline = Pipeline([model], partitioner="re_pose", workers=2, profile=profile_of(1.0))
    first, second = pipeline.run(frame()), pipeline.run(frame())
    assert first.expected is not None and second.expected is not None
    assert (first.expected.value, second.expected.value) == (1.0, 3.0)
    found = len(first.detections)
    wanted = PlanOutcome(50.0, first.makespan_ms, 1.0, found, 150.0, "accuracy")
    assert first.outcome == wanted
    # Both ends of what two workers on one link can take.
    told = noting[0].heard[1]
    assert isinstance(told, FrameOutcome)
    work = [o.compute_ms or 0.0 for o in told.outcomes]
    encode = [o.encode_ms or 0.0 for o in told.outcomes]
    send = [NETWORK.transfer_ms(size) for size in first.block_bytes]
    least = (told.overhead_ms or 0.0) + max(work)
    most = (told.overhead_ms or 0.0) + sum(work) + sum(encode) + sum(send)
    assert least < first.makespan_ms < most


def test_a_planner_without_a_profile_measures_one(model: Model, noting: list[Noting]) -> None:
    pipeline = Pipeline([model], partitioner="re_pose", input_sizes=(320, 640), workers=2)
    pipeline.run(frame())
    context = noting[0].heard[0]
    assert isinstance(context, PartitionContext) and list(context.profiles) == ["edge_0", "edge_1"]
    (profile, same) = context.profiles.values()
    assert profile is same
    assert [str(entry.variant) for entry in profile.variants] == ["squares@320", "squares@640"]
    assert all(entry.time_ms > 0 for entry in profile.variants)


def test_another_sequence_begins_without_the_last_frame(model: Model, noting: list[Noting]) -> None:
    pipeline = Pipeline([model], partitioner="re_pose", workers=2, profile=profile_of(1.0))
    pipeline.run(frame())
    pipeline.reset()
    pipeline.run(frame())
    assert [len(partitioner.heard) for partitioner in noting] == [1, 1]


def test_methods_that_expect_nothing_have_no_outcome(model: Model) -> None:
    result = Pipeline([model], partitioner="whole", input_sizes=(640,)).run(frame())
    assert result.expected is None and result.outcome is None
    (block,) = result.plan.blocks
    assert block.block == whole(1280, 720)
    # One block on one worker: nothing overlaps.
    sent = NETWORK.transfer_ms(result.block_bytes[0])
    assert result.makespan_ms == pytest.approx(sum(result.stages_ms.values()) + sent, abs=1.0)
