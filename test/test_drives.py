"""Imagined drives: the planner at work with no network, the same for the same seed."""

from __future__ import annotations

import numpy as np
import partition_cases as cases

from re_pose_ros.partition.re_pose import STEPS_ON
from re_pose_ros.partition.refine import STEPS, State, greedy
from re_pose_ros.training import drives
from re_pose_ros.training.drives import FRAMES, beginnings_of, drive
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.partition_env import observation, shipped_profiles

PROFILES = shipped_profiles()


def layout(seed: int, count: int) -> Layout:
    crowd = cases.crowd(np.random.default_rng(seed), count)
    classes = np.arange(len(crowd), dtype=np.int32) % 3
    return Layout(cases.FRAME, crowd.xyxy.astype(np.float32), classes)


def stop(state: State, step: int) -> tuple[int, ...]:
    return ()


def test_a_drive_is_the_same_for_the_same_seed() -> None:
    first, again, other = (drive(layout(0, 30), PROFILES, seed, greedy) for seed in (1, 1, 2))
    assert first.found == again.found != other.found
    for one, two in zip(first.beginnings, again.beginnings, strict=True):
        assert one.step == two.step
        assert (observation(one.state, one.step) == observation(two.state, two.step)).all()


def test_refinement_begins_with_all_steps_and_goes_on_with_few() -> None:
    begun = [drive(layout(seed, 30), PROFILES, seed, greedy).beginnings for seed in range(4)]
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
        policy: [drive(own, PROFILES, seed, policy).found for seed, own in enumerate(crowd)]
        for policy in (stop, greedy)
    }
    assert np.mean(found[greedy]) > np.mean(found[stop])


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
    assert drive(gone, PROFILES, 0, greedy).found == 0
