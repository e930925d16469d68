"""Imagined drives: the planner at work with no network, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import partition_cases as cases
import pytest
from numpy.typing import NDArray

from re_pose_ros.geometry import Block, intersections
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition.groups import Groups
from re_pose_ros.partition.policies import greedy, refined
from re_pose_ros.partition.re_pose import STEPS_ON
from re_pose_ros.partition.refine import STEPS, State
from re_pose_ros.plan import BlockRequest, PlannedBlock, Slot, Variant
from re_pose_ros.planning.imagined import Imagined
from re_pose_ros.training import drives
from re_pose_ros.training.drives import FRAMES, beginnings_of, drive
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.partition_env import observation, shipped_profiles

PROFILES = shipped_profiles()


def layout(seed: int, count: int) -> Layout:
    crowd = cases.crowd(np.random.default_rng(seed), count)
    classes = np.arange(len(crowd), dtype=np.int32) % 3
    return Layout(cases.FRAME, crowd.xyxy.astype(np.float32), classes)


GREEDY = partial(refined, policy=greedy)


def stop(state: State, steps: int) -> State:
    return state


def test_a_drive_is_the_same_for_the_same_seed() -> None:
    first, again, other = (drive(layout(0, 30), PROFILES, seed, GREEDY) for seed in (1, 1, 2))
    assert first.found == again.found != other.found
    for one, two in zip(first.beginnings, again.beginnings, strict=True):
        assert one.step == two.step
        assert (observation(one.state, one.step) == observation(two.state, two.step)).all()


def test_refinement_begins_with_all_steps_and_goes_on_with_few() -> None:
    begun = [drive(layout(seed, 30), PROFILES, seed, GREEDY).beginnings for seed in range(4)]
    for own in begun:
        # Nothing is known before the first frame has been looked at.
        assert 1 <= len(own) < FRAMES
        assert own[0].step == 0
        assert {each.step for each in own[1:]} <= {0, STEPS - STEPS_ON}
    assert any(each.step for own in begun for each in own)


def test_drives_vary() -> None:
    states = [own.state for own in beginnings_of([layout(0, 40), layout(1, 9)], PROFILES, 12, 0)]
    assert len({len(state.conditions.speeds) for state in states}) > 2
    assert len({state.conditions.worth.input_size.size for state in states}) > 2
    assert len({state.conditions.worth.most_enlarged for state in states}) > 1
    for state in states:
        assert len(state.groups) and np.isfinite(observation(state, 0)).all()
        assert (np.diff(state.conditions.speeds) <= 0).all()
    assert np.mean([state.outlook.value > 0 for state in states]) > 0.8


def test_refining_finds_more() -> None:
    crowd = [layout(seed, 60) for seed in range(6)]
    found = {
        refiner: [drive(own, PROFILES, seed, refiner).found for seed, own in enumerate(crowd)]
        for refiner in (stop, GREEDY)
    }
    assert np.mean(found[GREEDY]) > np.mean(found[stop])


def test_objects_move_come_and_go() -> None:
    frames = drives._moving(layout(0, 60), np.random.default_rng(0))
    assert len(frames) == FRAMES
    assert len({len(truth) for truth in frames}) > 1
    width, height = cases.FRAME
    for truth in frames:
        assert (truth.xyxy >= 0).all() and (truth.xyxy <= (width, height, width, height)).all()
        assert (truth.xyxy[:, 2:] > truth.xyxy[:, :2]).all()


def test_where_nothing_is_there_nothing_is_found() -> None:
    gone = Layout((640, 480), np.array([[-90, 1, -20, 20]], np.float32), np.zeros(1, np.int32))
    assert drive(gone, PROFILES, 0, GREEDY).found == 0


# What plans would find.


def test_a_plan_for_all_objects_finds_more_than_one_for_some() -> None:
    """Objects that are in no group are found in looks at best."""
    begun = [own for k in range(4) for own in drive(layout(k, 30), PROFILES, k, GREEDY).beginnings]
    all_of_them = [own.situation.found(own.state.groups) for own in begun]
    assert all_of_them == [own.found for own in begun]
    assert all(0 <= share <= 1.5 for share in all_of_them)
    none = [own.situation.found(Groups.of(own.state.groups.objects, [])) for own in begun]
    assert np.mean(all_of_them) > np.mean(none)


def test_asking_what_a_plan_would_find_changes_nothing() -> None:
    begun = drive(layout(1, 30), PROFILES, 3, GREEDY).beginnings
    first = [own.situation.found(own.state.groups) for own in begun]
    assert [own.situation.found(own.state.groups) for own in begun] == first
    assert max(first) > 0


def test_where_nothing_is_there_a_plan_finds_nothing() -> None:
    own = drive(layout(1, 30), PROFILES, 3, GREEDY).beginnings[-1]
    assert own.found > 0
    nothing = replace(own.situation, truth=GroundTruth.of(np.empty((0, 4)), np.empty(0)))
    assert nothing.found(own.state.groups) == 0


def apart(truth: GroundTruth) -> GroundTruth:
    """Those objects that cannot be taken for one another."""
    shared = intersections(truth.xyxy.astype(np.float64), truth.xyxy.astype(np.float64))
    return truth.take(np.flatnonzero((shared > 0).sum(axis=1) == 1))


def test_what_is_missed_once_is_likely_to_be_missed_again() -> None:
    """In any frame, as long as it is the same track; on average as often as the profile says."""
    profile = PROFILES[0]
    size = 12.0
    corner = np.stack(np.meshgrid(np.arange(40), np.arange(25)), axis=-1).reshape(-1, 2) * 24.0
    boxes = np.concatenate([corner, corner + size], axis=1) + 6
    truth = GroundTruth.of(boxes, 0, track_id=np.arange(len(boxes)))
    planned = PlannedBlock(
        Slot("edge_0", 0), BlockRequest(Block(0, 0, 960, 640), Variant("scene-n", 960))
    )
    accuracy = profile.find(planned.request.variant).accuracy
    recall = float(accuracy.expected_recall(size))
    assert 0.2 < recall < 0.8

    def twice(truth: GroundTruth) -> NDArray[np.float64]:
        imagined = Imagined(profile, 3)
        chances = [imagined.chances(planned.request, truth) for _ in range(2)]
        assert (chances[0] == chances[1]).all()
        assert chances[0].mean() == pytest.approx(recall, abs=0.05)
        answers = [imagined.answer(planned, truth) for _ in range(2)]
        sure = [own.take(own.confidence >= 0.25) for own in answers]
        return np.corrcoef([drives._found(own, truth) for own in sure])[0, 1]

    assert 0.5 < twice(truth) < 0.9
    assert abs(twice(replace(truth, track_id=np.full(len(boxes), -1)))) < 0.15


def test_what_is_expected_is_what_is_found_on_average() -> None:
    """Of the objects of single blocks, over many answers."""
    profile, truth = PROFILES[0], apart(drives._moving(layout(3, 60), np.random.default_rng(1))[0])
    variant = profile.variants[-1].variant
    request = BlockRequest(Block(600, 300, 1200, 900), variant)
    planned = PlannedBlock(Slot("edge_0", 0), request)
    imagined = Imagined(profile, 0)
    chances = imagined.chances(request, truth)
    inside = (truth.xyxy[:, :2] >= (600, 300)).all(1) & (truth.xyxy[:, 2:] <= (1800, 1200)).all(1)
    assert 3 < inside.sum() < len(truth)
    found = np.zeros(len(truth))
    for _ in range(300):
        sure = imagined.answer(planned, truth)
        sure = sure.take(sure.confidence >= 0.25)
        found += drives._found(sure, truth)
    # Not all boxes are drawn near enough to count, and some are drawn twice.
    assert found[inside] / 300 == pytest.approx(chances[inside], abs=0.2)
    assert (found / 300)[inside].sum() == pytest.approx(chances[inside].sum(), rel=0.15)
    assert (chances[~inside] <= chances[inside].max()).all()
