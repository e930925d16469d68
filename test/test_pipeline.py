"""The whole per-frame job in process, with a stand-in network that finds bright squares."""

from __future__ import annotations

import numpy as np
import pytest
from bench_model import bright_squares
from numpy.typing import NDArray

from re_pose_ros.detection.model import Model
from re_pose_ros.errors import InputError
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.pipeline import Pipeline

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
