"""Times of an earlier run in place of measured ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import test_bench_measure as measure

from re_pose_ros.bench.pool import Task
from re_pose_ros.bench.reckoned import (
    DECODE_MS,
    ENCODE_MS,
    FUSION_MS,
    LEAST_MS,
    PLANNING_MS,
    Reckoned,
)
from re_pose_ros.detection.profile import Profile, VariantProfile
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant
from re_pose_ros.planning.costs import profiled_pixels

TIMES = {"net@320": 10.0, "net@640": 25.0, "other@320": 1.0, "other@640": 40.0}


def written(path: Path, times: Any) -> Path:
    path.write_text(json.dumps({"profile": {"time_ms": times}}), encoding="utf-8")
    return path


def reckoned(tmp_path: Path) -> Reckoned:
    return Reckoned.read(written(tmp_path / "quiet.json", TIMES))


def test_times_lie_on_a_line_through_those_of_the_file(tmp_path: Path) -> None:
    times = reckoned(tmp_path)
    small, large = (profiled_pixels(Variant("net", size)) for size in (320, 640))
    assert times.detect_ms(Variant("net", 320), small) == pytest.approx(10)
    assert times.detect_ms(Variant("net", 999), (small + large) / 2) == pytest.approx(17.5)
    # A line that would begin below nothing.
    assert times.detect_ms(Variant("other", 320), 0) == LEAST_MS
    with pytest.raises(InputError, match=r"no times of third; it has net, other"):
        times.detect_ms(Variant("third", 320), small)


def test_a_profile_keeps_all_but_its_times(tmp_path: Path) -> None:
    entry = VariantProfile(Variant("net", 640), 99.0)
    own = Profile("core", "cpu", ("person",), (entry,))
    found = reckoned(tmp_path).profile(own)
    assert found.variants[0].time_ms == pytest.approx(25)
    assert replace(found, variants=own.variants) == own


def test_what_is_sent_takes_its_pixels(tmp_path: Path) -> None:
    request = BlockRequest(Block(0, 0, 640, 320), Variant("net", 320))
    planned = PlannedBlock(Slot("edge_0", 0), request)
    task = Task(b"", planned.block, request.variant)
    (answer,) = reckoned(tmp_path).answers([task], [planned])
    assert answer.decode_ms == pytest.approx(DECODE_MS * 320 * 160)
    assert answer.detect_ms == reckoned(tmp_path).detect_ms(Variant("net", 320), 320 * 160)
    assert Reckoned.encode_ms(planned) == pytest.approx(ENCODE_MS * 320 * 160)
    with pytest.raises(InputError, match="'sahi' takes can only be measured; leave out"):
        reckoned(tmp_path).answers([replace(task, job="sahi")], [planned])


@pytest.mark.parametrize("pool_ms", [1.0, 500.0])
def test_nothing_measured_counts(tmp_path: Path, pool_ms: float) -> None:
    pool = measure.FakePool(alone_ms=pool_ms, busy_ms=pool_ms)
    looker = measure.looker(measure.Planner(["edge_0", "edge_1"]), pool)
    looker._conditions = replace(looker._conditions, reckoned=reckoned(tmp_path))
    timing = looker.look(measure.FRAME, measure.NOTHING, measure.SPEEDS, alone=True).timing
    assert (timing.partition_ms, timing.fusion_ms) == (PLANNING_MS, FUSION_MS)
    assert timing.encode_ms == pytest.approx(2 * ENCODE_MS * 100 * 100)
    each = reckoned(tmp_path).detect_ms(Variant("net", 320), 320 * 320)
    assert timing.serial_ms == pytest.approx(2 * (each + DECODE_MS * 100 * 100))
    assert [len(tasks) for tasks in pool.ran] == [2]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({}, "fewer than two input sizes"),
        ({"net@320": 10.0}, "fewer than two input sizes"),
        ({"net@320": 10.0, "net@640": 9.0}, "larger inputs of net do not take longer"),
        ({"net": 10.0}, "no result of bench partition"),
        ({"net@320": "slow", "net@640": 1.0}, "no result of bench partition"),
        ([1.0], "no result of bench partition"),
    ],
)
def test_a_file_without_times_is_named(tmp_path: Path, times: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Reckoned.read(written(tmp_path / "odd.json", times))
    assert "odd.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json cannot be read: No such file"):
        Reckoned.read(tmp_path / "nothing.json")
    (tmp_path / "text").write_text("no JSON")
    with pytest.raises(InputError, match="no result of bench partition"):
        Reckoned.read(tmp_path / "text")
