"""What is known of the workers: their speeds, what they find, and how both follow what happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import partition_cases as cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from re_pose_ros.detections import Detections
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.geometry import Block
from re_pose_ros.partition.base import (
    BlockOutcome,
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
)
from re_pose_ros.partition.experience import Experience
from re_pose_ros.partition.outlook import Conditions
from re_pose_ros.partition.workforce import Workforce, input_area
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant
from re_pose_ros.planning.costs import CostSettings, profiled_pixels

WORKERS = ("edge_0", "edge_1", "edge_2", "edge_3")
SPEEDS = {"edge_0": 1.0, "edge_1": 0.25, "edge_2": 0.5}
NET = cases.PROFILE.models[0]
BLOCK = PlannedBlock(
    Slot("edge_1", 0), BlockRequest(Block(0, 0, 640, 384), Variant(NET, 640), 0.0, "edge_1")
)


def known(where: PartitionContext) -> Workforce:
    made = Workforce(CostSettings(link_ms=0.5))
    made.meet(where.profiles)
    return made


def conditions(made: Workforce, where: PartitionContext) -> Conditions:
    return made.conditions(where.workers, where.variants, 100.0, 2.0)


def came(outcome: BlockOutcome, block: PlannedBlock = BLOCK) -> FrameOutcome:
    return FrameOutcome(Detections.empty(), (block,), (outcome,))


def test_conditions_are_those_of_the_fastest_and_shares_of_it() -> None:
    where = cases.context(SPEEDS, slots=3)
    how = conditions(known(where), where)
    assert how.speeds.tolist() == pytest.approx([1.0, 0.5, 0.25])
    assert (how.slots, how.budget_ms) == (9, 100.0)
    for k, variant in enumerate(where.variants):
        entry = where.profiles["edge_0"].find(variant)
        assert entry is not None
        at_nominal = how.base_ms[k] + how.pixel_ms[k] * profiled_pixels(variant)
        assert at_nominal == pytest.approx(entry.time_ms)
    assert how.worth.variants == where.variants


def test_a_slower_worker_changes_the_speeds_and_no_other() -> None:
    where = cases.context(SPEEDS)
    made = known(where)
    for _ in range(4):
        area = input_area(640, 384, Variant(NET, 640))
        entry = where.profiles["edge_1"].find(Variant(NET, 640))
        assert entry is not None and area == profiled_pixels(Variant(NET, 640))
        made.observe(came(BlockOutcome(True, 3 * entry.time_ms)), ObjectDistribution.empty())
    how = conditions(made, where)
    assert how.speeds.tolist() == pytest.approx([1.0, 0.5, 0.25 / 3], rel=0.05)


def test_conditions_follow_what_was_observed_since_they_were_asked_for() -> None:
    where = cases.context(SPEEDS)
    made, late = known(where), known(where)
    before = conditions(made, where)
    for workforce in 4 * (made, late):
        outcome = BlockOutcome(True, 500.0, 20.0, 25_000, 2.0)
        workforce.observe(came(outcome), ObjectDistribution.empty())
    after, fresh = conditions(made, where), conditions(late, where)
    assert after.speeds.tolist() == fresh.speeds.tolist() != before.speeds.tolist()
    assert after.send_ms == fresh.send_ms != before.send_ms
    assert after.base_ms.tolist() == fresh.base_ms.tolist()


def test_conditions_are_of_the_workers_and_variants_asked_for() -> None:
    where = cases.context(SPEEDS)
    made = known(where)
    assert len(conditions(made, where).speeds) == len(SPEEDS)
    fewer = replace(where, workers={"edge_0": 8}, variants=where.variants[1:])
    how = conditions(made, fewer)
    assert how.speeds.tolist() == [1.0] and len(how.base_ms) == len(where.variants) - 1


def test_a_profile_that_is_new_is_taken() -> None:
    where = cases.context(SPEEDS)
    made = known(where)
    before = conditions(made, where)
    faster = {name: cases.slowed(profile, 0.5) for name, profile in where.profiles.items()}
    made.meet(faster)
    after = conditions(made, where)
    assert after.base_ms + after.pixel_ms * 1e5 == pytest.approx(
        (before.base_ms + before.pixel_ms * 1e5) / 2
    )


@pytest.mark.parametrize(
    "strange",
    [
        BlockOutcome(False),
        BlockOutcome(True, 0.0, 0.0, 0, 0.0),
        BlockOutcome(True, -1.0, -1.0, None, -1.0),
        BlockOutcome(True, None, 5.0, None, None),
    ],
)
def test_what_was_not_measured_teaches_nothing(strange: BlockOutcome) -> None:
    where = cases.context(SPEEDS)
    made, fresh = known(where), known(where)
    stranger = replace(BLOCK, slot=Slot("robot", 0))
    unknown = replace(BLOCK, request=replace(BLOCK.request, variant=None))
    for block in (BLOCK, stranger, unknown):
        made.observe(came(strange, block), ObjectDistribution.empty())
    good = BlockOutcome(True, 99.0, 99.0, 999, 99.0)
    made.observe(came(good, stranger), ObjectDistribution.empty())
    made.observe(came(good, unknown), ObjectDistribution.empty())
    for name in SPEEDS:
        assert made.costs.slowness(name) == fresh.costs.slowness(name) == 1
        assert made.costs.sending_ms(name, 1e6) == fresh.costs.sending_ms(name, 1e6)
    assert made.costs.encode_ms(1e6) == fresh.costs.encode_ms(1e6)


def test_encoding_and_sending_follow_what_was_measured() -> None:
    where = cases.context(SPEEDS)
    made = known(where)
    pixels = 640 * 384
    for _ in range(5):
        outcome = BlockOutcome(True, None, 0.5 + 20.0, pixels // 10, 2.0)
        made.observe(came(outcome), ObjectDistribution.empty())
    assert made.costs.encode_ms(pixels) == pytest.approx(2.0, rel=0.01)
    assert made.costs.sending_ms("edge_1", pixels) == pytest.approx(20.0, rel=0.02)


# Plans that follow.


def test_a_worker_that_becomes_slower_gets_less_and_the_budget_is_kept() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=100.0, unseen_frames=1000))
    there = cases.seen(cases.crowd(np.random.default_rng(1), 60).xyxy)

    def work_of(requests: list[BlockRequest]) -> float:
        """The slow one's share of the network inputs."""
        areas = dict.fromkeys(WORKERS, 0.0)
        for request in requests:
            assert request.worker is not None and request.variant is not None
            areas[request.worker] += request.variant.input_size**2
        return areas["edge_1"] / sum(areas.values())

    before = [cases.step(planner, where, there) for _ in range(8)][-3:]
    assert max(ms for _, ms in before) <= 100
    slow = {"edge_1": 3.0}
    after = [cases.step(planner, where, there, slowness=slow) for _ in range(8)]
    late = [ms for _, ms in after]
    assert late[0] > 110  # or nothing was tested
    assert max(late[3:]) <= 110
    assert planner.expected is not None and planner.expected.makespan_ms <= 103
    share = float(np.mean([work_of(requests) for requests, _ in before]))
    assert max(work_of(requests) for requests, _ in after[3:]) < 0.7 * share
    again = [cases.step(planner, where, there) for _ in range(8)]
    assert np.mean([work_of(requests) for requests, _ in again[4:]]) > 0.7 * share


def test_a_link_that_becomes_slower_has_less_sent_over_it() -> None:
    where = cases.context()
    planner = cases.planner(PartitionSettings(budget_ms=120.0, unseen_frames=1000))
    there = cases.seen(cases.crowd(np.random.default_rng(1), 60).xyxy)

    def sent(requests: list[BlockRequest]) -> float:
        return float(sum(np.prod(request.image_size) for request in requests))

    before = [cases.step(planner, where, there) for _ in range(6)]
    after = [cases.step(planner, where, there, mbit_s=10.0) for _ in range(8)]
    assert after[0][1] > 132  # or nothing was tested
    assert max(ms for _, ms in after[3:]) <= 132
    assert max(sent(requests) for requests, _ in after[3:]) < 0.8 * sent(before[-1][0])


# What is found.


def learned(found: bool, times: int, size: float = 24.0, answered: bool = True) -> Experience:
    """Of one object of ``size`` pixels, looked at as it is so many times."""
    experience = Experience()
    box = (10.0, 10.0, 10.0 + size, 10.0 + size)
    there = Detections.of([box], [0.9], [0]) if found else Detections.empty()
    for _ in range(times):
        experience.take(ObjectDistribution.of([box]), there, [BLOCK], [answered])
    return experience


@settings(max_examples=30)
@given(st.booleans(), st.integers(1, 300), st.floats(6, 300))
def test_recall_moves_towards_what_happens_where_it_happens(
    found: bool, times: int, size: float
) -> None:
    sizes = np.geomspace(1, 2000, 400)
    before = cases.recall(NET, sizes)
    after = learned(found, times, size).corrected(cases.recall)(NET, sizes)
    assert ((after >= 0) & (after <= 1)).all()
    moved = (after - before) if found else (before - after)
    assert (moved >= -1e-12).all() and moved.max() > 0
    near = np.abs(np.log2(sizes / size)) <= 1.0
    assert moved[~near & (sizes > 4.8) & (sizes < 430)].max(initial=0) == pytest.approx(0, abs=1e-9)


def test_many_misses_lower_the_recall_and_other_networks_keep_theirs() -> None:
    at = np.array([24.0])
    recalls = [learned(False, n).corrected(cases.recall)(NET, at)[0] for n in (0, 10, 50, 400)]
    assert (np.diff(recalls) < 0).all()
    assert recalls[-1] < 0.7 * recalls[0]
    other = learned(False, 400).corrected(cases.recall)("other", at)
    assert other == pytest.approx(cases.recall("other", at))


def test_what_did_not_answer_or_was_not_shown_teaches_nothing() -> None:
    sizes = np.geomspace(1, 500, 50)
    before = cases.recall(NET, sizes)
    silent = learned(False, 50, answered=False).corrected(cases.recall)(NET, sizes)
    assert silent == pytest.approx(before)
    experience = Experience()
    outside = ObjectDistribution.of([(700.0, 100.0, 730.0, 130.0), (630.0, 10.0, 660.0, 40.0)])
    unsure = ObjectDistribution.of([(100.0, 100.0, 130.0, 130.0)], weight=0.3)
    for objects in (outside, unsure):
        for _ in range(50):
            experience.take(objects, Detections.empty(), [BLOCK], [True])
    assert experience.corrected(cases.recall)(NET, sizes) == pytest.approx(before)


def test_recall_is_taken_from_whoever_knows_it() -> None:
    where = cases.context(SPEEDS)
    blind = {
        name: replace(
            profile, variants=tuple(replace(entry, accuracy=None) for entry in profile.variants)
        )
        for name, profile in where.profiles.items()
    }
    sizes = np.geomspace(4, 100, 20)
    made = Workforce(CostSettings(link_ms=0.5))
    made.meet(blind | {"edge_2": where.profiles["edge_2"]})
    expected = known(where).recall(Variant(NET, 320), sizes)
    assert made.recall(Variant(NET, 320), sizes) == pytest.approx(expected)
