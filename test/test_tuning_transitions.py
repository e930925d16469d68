"""The file of what decisions led to: bounded, readable, of one table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tuning_cases as cases

from re_pose_ros.errors import InputError
from re_pose_ros.tuning.state import width
from re_pose_ros.tuning.told import WorkerOutcome
from re_pose_ros.tuning.transitions import (
    Choice,
    Story,
    Transition,
    TransitionLog,
    read_kept,
    read_transitions,
)

TABLE = cases.small_table()


def transition(number: int, latency_ms: float = 40.0) -> Transition:
    allowed = np.array([True, False, True, False])
    state = np.arange(width(TABLE)) + number
    return Transition("a", number, state, 1, 2, latency_ms, 1000, 90.5, allowed)


def stamps(path: Path) -> list[int]:
    return [entry.stamp_ns for entry in read_transitions(path, TABLE)]


def test_transitions_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "transitions.jsonl"
    log = TransitionLog(path, TABLE, 10)
    for entry in (transition(1), transition(2, math.inf)):
        log.add(entry)
    first, second = read_transitions(path, TABLE)
    assert first.state.tolist() == transition(1).state.tolist()
    assert (first.worker, first.stamp_ns, first.last, first.action) == ("a", 1, 1, 2)
    assert (first.latency_ms, first.size, first.deadline_ms) == (40.0, 1000, 90.5)
    assert first.allowed.tolist() == [True, False, True, False]
    assert second.latency_ms == math.inf


def test_there_are_never_more_than_twice_the_limit(tmp_path: Path) -> None:
    path, old = tmp_path / "t.jsonl", tmp_path / "t.jsonl.old"
    log = TransitionLog(path, TABLE, 3)
    for number in range(11):
        log.add(transition(number))
    assert (stamps(old), stamps(path)) == ([6, 7, 8], [9, 10])
    assert [entry.stamp_ns for entry in read_kept(path, TABLE)] == [6, 7, 8, 9, 10]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.jsonl", "t.jsonl.old"]
    old.write_bytes(path.read_bytes())
    assert [entry.stamp_ns for entry in read_kept(path, TABLE)] == [9, 10]
    old.unlink()
    assert [entry.stamp_ns for entry in read_kept(path, TABLE)] == [9, 10]


def test_a_new_start_goes_on_with_the_file_of_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    TransitionLog(path, TABLE, 3).add(transition(1))
    log = TransitionLog(path, TABLE, 3)
    for number in (2, 3, 4):
        log.add(transition(number))
    assert stamps(path) == [4]
    other = cases.detector_table()
    TransitionLog(path, other, 3)
    assert list(read_transitions(path, other)) == []
    assert stamps(tmp_path / "t.jsonl.old") == [4]
    with pytest.raises(InputError, match="of other settings than those of small"):
        stamps(path)


def test_a_line_broken_off_is_left_out_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    log = TransitionLog(path, TABLE, 10)
    for number in range(3):
        log.add(transition(number))
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert stamps(path) == [0, 1]
    lines = whole.splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace('"action"', '"deed"'), lines[3]]))
    with pytest.raises(InputError, match="line 3 is damaged"):
        stamps(path)
    wrong = lines[2].replace('"action": 2', '"action": 4')
    path.write_text("\n".join([*lines[:2], wrong, lines[3]]))
    with pytest.raises(InputError, match="line 3 is damaged"):
        stamps(path)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        stamps(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        TransitionLog(tmp_path / "file" / "t.jsonl", TABLE, 3)


def test_an_outcome_goes_with_the_state_that_its_frame_was_planned_in(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    story = Story(TransitionLog(path, TABLE, 10))
    rows = [np.full(width(TABLE), float(k)) for k in range(3)]
    everything = np.ones(4, bool)
    for k, row in enumerate(rows):
        story.decided("a", Choice(row, 80.0, everything))
        story.planned(k + 1)
    story.happened([WorkerOutcome("a", 1, 3, 50.0, 10), WorkerOutcome("b", 1, 3, 50.0, 10)])
    (told,) = story.happened([WorkerOutcome("a", 2, 0, math.inf, 0)])
    assert not story.happened([WorkerOutcome("a", 9, 1, 50.0, 0)])
    # Before the first of a worker nothing is known of its setting, nor of a frame never planned.
    (entry,) = read_transitions(path, TABLE)
    assert entry.state.tolist() == told.state.tolist() == rows[1].tolist()
    assert (entry.stamp_ns, entry.last, entry.action, entry.deadline_ms) == (2, 3, 0, 80.0)
    assert entry.latency_ms == math.inf
