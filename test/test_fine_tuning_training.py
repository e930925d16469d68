"""The process that learns: what it makes of drifted costs, how it judges, and its files."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fine_tuning_cases import policy_arrays, recorded, write_policy

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("stable_baselines3", reason="training needs stable-baselines3")

from re_pose_ros.__main__ import main
from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import EXIT_BAD_INPUT
from re_pose_ros.training import fine_tuning
from re_pose_ros.training.tuner_task import TABLES, WEIGHTS, Task, task_of
from re_pose_ros.tuning import episodes
from re_pose_ros.tuning.background import Background
from re_pose_ros.tuning.calibration import Calibration
from re_pose_ros.tuning.choosing import SHIPPED_POLICY
from re_pose_ros.tuning.fine_tuning import Files
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.observation import observe
from re_pose_ros.tuning.policy import Policy
from re_pose_ros.tuning.records import Records
from re_pose_ros.tuning.rules import Within
from re_pose_ros.tuning.transitions import TransitionLog

TABLE = ActionTable.read(WEIGHTS / TABLES["detector"])
ROBOTS, BLOCKS = 3, 400


@cache
def shipped() -> dict[str, Any]:
    with np.load(SHIPPED_POLICY, allow_pickle=False) as arrays:
        return dict(arrays)


@cache
def task() -> Task:
    known = set(shipped()["settings"].tolist())
    return task_of(TABLE, TABLE.only(lambda setting: str(setting) in known))


@cache
def drifted() -> ActionTable:
    """What the robot computes of the network takes 1.6 times as long, pictures as before."""
    actions = (
        action
        if action.setting.cut == 0
        else replace(action, device_ms=tuple(1.6 * ms for ms in action.device_ms))
        for action in TABLE.actions
    )
    return replace(TABLE, actions=tuple(actions))


def chooser(arrays: dict[str, Any]) -> Within:
    names = np.array(list(map(str, task().part.settings)))
    return Within(Policy({**arrays, "settings": names}, task().part), task().part, TABLE)


def costs(drift: bool) -> ActionTable:
    return drifted() if drift else TABLE


@cache
def records(drift: bool) -> Records:
    traces = task().traces(77, ROBOTS, BLOCKS + 1)
    return Records.of(recorded(chooser(shipped()), TABLE, traces, costs(drift)), TABLE).only(
        task().part
    )


def made(drift: bool, how: fine_tuning.FineTuning) -> tuple[dict[str, Any], Calibration]:
    found = records(drift)
    learned = found.select(~found.held_out())
    known = Calibration.of(learned)
    return fine_tuning.fine_tune(shipped(), task(), learned, known, how), known


def judged(candidate: dict[str, Any], drift: bool, known: Calibration) -> Any:
    found = records(drift)
    return fine_tuning.check(candidate, shipped(), task(), found.select(found.held_out()), known)


def regret(arrays: dict[str, Any], drift: bool) -> float:
    traces = task().traces(78, 20, 120)
    rolled = episodes.roll(chooser(arrays), TABLE, traces, actual=costs(drift))
    return float(rolled.best.mean() - rolled.reward.mean())


def test_a_candidate_mends_most_of_what_drifted_costs_cost() -> None:
    candidate, known = made(True, fine_tuning.FineTuning())
    before, after = (regret(arrays, True) for arrays in (shipped(), candidate))
    assert before > 0.3
    assert after < 0.4 * before
    verdict = judged(candidate, True, known)
    assert verdict.passed, verdict.reason
    whole = verdict.figures["factors"]["full/device"]
    assert whole == pytest.approx(1.6, rel=0.05)


def test_where_nothing_has_changed_nothing_much_changes() -> None:
    candidate, known = made(False, fine_tuning.FineTuning())
    assert regret(candidate, False) < regret(shipped(), False) + 0.01
    factors = list(known.factors)
    assert factors == pytest.approx([1.0] * len(factors), abs=0.02)


def test_the_first_layers_are_moved_by_what_was_measured() -> None:
    """With nothing learned, it chooses as the shipped one would if it saw latencies as they are."""
    how = fine_tuning.FineTuning(critic_batches=0, steps=0)
    candidate, known = made(True, how)
    moved = set(candidate) - {
        name for name in candidate if (candidate[name] == shipped()[name]).all()
    }
    assert moved == {"actor.0.bias"}
    found, part = records(True), task().part
    names = np.array(list(map(str, part.settings)))
    policies = (Policy({**of, "settings": names}, part) for of in (candidate, shipped()))
    new, old = policies
    late = latency_ms(part, found.rows)
    plain = observe(part, found.rows, found.last, found.allowed, late)
    seen = observe(part, found.rows, found.last, found.allowed, late * known.factors)
    inside = np.abs(seen).max(axis=1) < 3.0
    wanted = old.preferences(seen)[inside].argmax(axis=1)
    assert (new.preferences(plain)[inside].argmax(axis=1) == wanted).mean() > 0.99


def test_the_same_seed_makes_the_same_candidate() -> None:
    how = fine_tuning.FineTuning(seed=4, critic_batches=5, steps=5)
    one, other = made(True, how)[0], made(True, how)[0]
    assert all((one[name] == other[name]).all() for name in one)
    third = made(True, replace(how, seed=5))[0]
    assert any((one[name] != third[name]).any() for name in one)


def test_bad_candidates_do_not_pass() -> None:
    _, known = made(False, fine_tuning.FineTuning(critic_batches=0, steps=0))
    for number in range(len(task().part.settings)):
        verdict = judged(policy_arrays(task().part, number), False, known)
        assert not verdict.passed, task().part.settings[number]
    random = {
        name: np.random.default_rng(3).normal(size=array.shape).astype(np.float32)
        for name, array in shipped().items()
        if name.startswith("actor.")
    } | {"activation": np.array("tanh")}
    assert not judged(random, False, known).passed


def test_whoever_does_worse_in_simulation_does_not_pass_whatever_the_records_tell() -> None:
    limits = fine_tuning.Limits(least_gain=-math.inf)
    found = records(False)
    known = Calibration.of(found)
    number = task().part.index(next(s for s in task().part.settings if s.cut == 0))
    verdict = fine_tuning.check(
        policy_arrays(task().part, number), shipped(), task(), found, known, limits
    )
    assert not verdict.passed and "on simulated traces it has a reward" in verdict.reason


@pytest.fixture
def files(tmp_path: Path) -> Path:
    log = TransitionLog(tmp_path / "transitions", TABLE, 100_000)
    traces = task().traces(77, ROBOTS, BLOCKS + 1)
    for entry in recorded(chooser(shipped()), TABLE, traces, drifted()):
        log.add(entry)
    return tmp_path


def test_the_command_leaves_a_candidate_and_a_verdict(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = files / "out"
    given = ["fine-tune", "--transitions", str(files / "transitions"), "--out", str(out)]
    assert main(given) == 0
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["passed"] and verdict["reason"] in capsys.readouterr().out
    content = (out / "candidate.npz").read_bytes()
    assert verdict["candidate"] == sha256(content).hexdigest()
    Policy.load(out / "candidate.npz", task().part)
    names = {path.name for path in out.iterdir()}
    assert names == {"candidate.npz", "verdict.json"}


def test_too_few_transitions_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TransitionLog(tmp_path / "t", TABLE, 10)
    given = ["fine-tune", "--transitions", str(tmp_path / "t"), "--out", str(tmp_path)]
    assert main(given) == 0
    assert "0 can be learned from, too few" in capsys.readouterr().out
    assert json.loads((tmp_path / "verdict.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--transitions", "nothing"], "cannot be read"),
        (["--policy", "nothing.npz"], "nothing.npz cannot be read"),
        (["--in-use", "other.npz"], "other.npz: the tuner's policy is for other settings"),
        (["--table", "nothing.json"], "does not exist"),
        (["--newest", "3"], "--newest 3 is less than"),
        (["--seed", "-1"], "seed -1"),
    ],
)
def test_what_cannot_be_used_ends_it_with_one_line(
    option: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    TransitionLog(tmp_path / "t", TABLE, 10)
    few = TABLE.only(lambda setting: setting.cut == -1)
    write_policy(tmp_path / "other.npz", few)
    assert main(["fine-tune", "--transitions", "t", *option]) == EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_in_the_background_it_ends_as_it_should(files: Path) -> None:
    """As the node starts it: with its standard input open, and of low priority."""
    done = Background(files / "log")
    out = files / "out"
    command = Files(WEIGHTS / TABLES["detector"], SHIPPED_POLICY, files / "transitions", out)
    done.start(command.command(SHIPPED_POLICY), 120.0, time.monotonic())
    while (ended := done.ended(time.monotonic())) is None:
        time.sleep(0.05)
    assert ended.good, ended.reason
    assert json.loads((out / "verdict.json").read_text())["passed"]
