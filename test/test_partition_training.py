"""The agent's training: its environment, its policy, and that it goes on where it stopped."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import partition_cases as cases
import pytest
import torch
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from re_pose_ros.errors import InputError
from re_pose_ros.partition.agent import GAIN, SHAPES, Agent
from re_pose_ros.partition.refine import ACTIONS, MOST, STEPS, State, Terms
from re_pose_ros.training import partition_env, partition_report, partitioner
from re_pose_ros.training.drives import Beginning, beginnings_of
from re_pose_ros.training.layouts import Layout
from re_pose_ros.training.partition_env import (
    IMPOSSIBLE,
    OBSERVED,
    REWARD_SCALE,
    PartitionEnv,
    led_astray,
    observation,
    shipped_profiles,
)
from re_pose_ros.training.partition_policy import PartitionPolicy
from re_pose_ros.training.partitioner import (
    PartitionerTraining,
    name_of,
    numbers,
    terms_of,
    train_agents,
    train_and_report,
)


def layout(seed: int, count: int = 40) -> Layout:
    crowd = cases.crowd(np.random.default_rng(seed), count)
    return Layout(cases.FRAME, crowd.xyxy.astype(np.float32), crowd.class_id.astype(np.int32))


LAYOUTS = [layout(seed, 3 + 12 * seed) for seed in range(5)]
BEGINNINGS = beginnings_of(LAYOUTS, shipped_profiles(), 6, 0)


def environment(step_cost: float = 0.01) -> PartitionEnv:
    return PartitionEnv(BEGINNINGS, step_cost=step_cost)


def possible(observed: np.ndarray) -> np.ndarray:
    return np.flatnonzero(observed[-ACTIONS:])


# The environment.


def test_both_checkers_are_content() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_sb3(environment(), warn=True)
        # It complains of environments that are not made by name.
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message=".*env.spec.*")
        check_gymnasium(environment(), skip_render_check=True)


def episode(env: gymnasium.Env, seed: int | None) -> list[tuple[bytes, float]]:
    observed, _ = env.reset(seed=seed)
    random, found = np.random.default_rng(7), [(observed.tobytes(), 0.0)]
    while True:
        action = random.choice(possible(observed)[1:] if len(found) < 4 else [0])
        observed, reward, ended, truncated, _ = env.step(np.int64(action))
        found.append((observed.tobytes(), float(reward)))
        if ended or truncated:
            return found


def test_the_same_seed_gives_the_same_episode() -> None:
    first, second, other = (episode(environment(), seed) for seed in (5, 5, 6))
    assert first == second != other


def test_the_same_seed_gives_the_same_episode_after_others() -> None:
    env = environment()
    for k in range(70):
        env.reset(seed=k)
    for seed in range(5):
        assert episode(env, seed) == episode(environment(), seed)


@pytest.mark.parametrize("terms", [None, Terms(1.0, 0.2, 0.1)])
@pytest.mark.parametrize("seed", range(6))
def test_rewards_add_up_to_what_was_gained(seed: int, terms: Terms | None) -> None:
    random, cost = np.random.default_rng(seed), 0.02
    env = PartitionEnv(BEGINNINGS, terms, step_cost=cost)
    observed, info = env.reset(seed=seed)
    assert info == {}
    left = round(STEPS * (1 - float(observed[-ACTIONS - 1])))
    total, steps, impossible = 0.0, 0, 0
    while True:
        action = int(random.integers(1, ACTIONS)) if random.random() < 0.3 else 0
        if not action:
            action = int(random.choice(possible(observed)[1:]))
        impossible += action not in possible(observed)
        observed, reward, ended, truncated, info = env.step(np.int64(action))
        total, steps = total + reward, steps + 1
        assert not truncated and ended == (steps == left) == ("gain" in info)
        if ended:
            break
    expected = REWARD_SCALE * info["gain"] - cost * steps + IMPOSSIBLE * impossible
    assert total == pytest.approx(expected)


def test_what_is_gained_is_what_the_plan_in_the_end_finds_more() -> None:
    begun = BEGINNINGS[3]
    env = PartitionEnv([begun])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_env, "ASTRAY", 0.0)
        observed, _ = env.reset(seed=0)
    state, step = begun.state, begun.step
    while step < STEPS:
        action = int(possible(observed)[-1])
        state, step = state.applied(action) or state, step + 1
        observed, _, _, _, info = env.step(np.int64(action))
    assert info["gain"] == begun.situation.found(state.groups) - begun.found != 0


def test_stopping_ends_an_episode_and_costs_a_step() -> None:
    env = environment(0.5)
    env.reset(seed=0)
    after, reward, ended, truncated, info = env.step(np.int64(0))
    assert (reward, ended, truncated, info) == (-0.5, True, False, {"gain": 0.0})
    assert not after.any() and after.shape == (OBSERVED,)


def test_what_cannot_be_done_changes_nothing() -> None:
    env = environment()
    before, _ = env.reset(seed=1)
    wrong = int(np.flatnonzero(before[-ACTIONS:] == 0)[0])
    after, reward, ended, _, _ = env.step(np.int64(wrong))
    assert reward == pytest.approx(-0.01 + IMPOSSIBLE) and not ended
    assert (possible(before) == possible(after)).all()


def test_some_episodes_begin_elsewhere_with_all_steps_left() -> None:
    rng = np.random.default_rng(0)
    begun = [led_astray(BEGINNINGS[k % len(BEGINNINGS)], rng) for k in range(200)]
    astray = [own for k, own in enumerate(begun) if own is not BEGINNINGS[k % len(BEGINNINGS)]]
    assert 30 < len(astray) < 100 and all(own.step == 0 for own in astray)


# The policy.


def policy(seed: int) -> PartitionPolicy:
    torch.manual_seed(seed)
    env = environment()
    made = PartitionPolicy(env.observation_space, env.action_space, lambda _: 1e-3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made


def states(seed: int) -> list[State]:
    """Some with more groups than the agent tells apart."""
    return [
        cases.state(seed, count, groups, budget)
        for count, groups, budget in ((1, 1, 50.0), (12, 4, 20.0), (40, 20, 80.0), (90, 40, 200.0))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_numpy_and_torch_prefer_the_same(seed: int) -> None:
    trained = policy(seed)
    agent = Agent(trained.tensors())
    for step, state in enumerate(states(seed)):
        rows, frame = state.observed(step)
        count = min(len(state.groups), MOST)
        observed = torch.from_numpy(observation(state, step))[None]
        with torch.no_grad():
            logits = trained.actor.logits(observed)[0].numpy()
            action, _, log_probability = trained(observed, deterministic=True)
        ours = agent.preferences(rows[:count].clip(-10, 10), frame.clip(-10, 10))
        places = [0, *range(1, 1 + count), *range(1 + MOST, 1 + MOST + count)]
        can = state.possible()[places]
        assert ours[can] == pytest.approx(logits[places][can], abs=1e-4)
        assert agent(state, step) == int(action[0])
        assert float(log_probability[0]) <= 0
        impossible = np.setdiff1d(np.arange(ACTIONS), np.flatnonzero(state.possible()))
        assert (logits[impossible] < -1e6).all()


def test_the_policy_never_draws_what_cannot_be_done() -> None:
    trained, all_states = policy(0), states(3)
    observed = torch.from_numpy(np.stack([observation(state, 0) for state in all_states]))
    for _ in range(30):
        with torch.no_grad():
            actions, values, _ = trained(observed)
        assert values.shape == (len(all_states), 1)
        for state, action in zip(all_states, actions.tolist(), strict=True):
            assert state.possible()[action]
    _, log_probability, entropy = trained.evaluate_actions(observed, actions)
    assert log_probability.shape == (len(all_states),)
    assert entropy is not None and (entropy >= 0).all()
    layers = {f"{name}.{part}" for name in SHAPES for part in ("weight", "bias")}
    assert set(trained.tensors()) == layers | {GAIN}


# Training.


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few drives, and rollouts of 128 steps, each of which is kept."""
    values = {"_DRIVES": 3, "_ENVIRONMENTS": 4, "_STEPS": 32, "_BATCH": 64, "_KEEP_EVERY": 1}
    for name, value in values.items():
        monkeypatch.setattr(partitioner, name, value)


def test_training_leaves_weights_and_a_curve(tiny: None, tmp_path: Path) -> None:
    training = PartitionerTraining(seed=3, steps=256, terms=Terms(compactness=0.2))
    (path,) = train_agents([training], LAYOUTS, tmp_path / "agents")
    assert path.name == "partitioner-found1-makespan0.1-compactness0.2-steps256-seed3.npz"
    assert path.stem == name_of(training)
    agent = Agent.load(path)
    first = cases.state(1)
    assert first.possible()[agent(first, 0)]
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["training"]["seed"] == 3 and content["training"]["steps"] == 256
    assert [point["steps"] for point in content["curve"]] == [128, 256]
    for point in content["curve"]:
        assert np.isfinite(point["gain"]) and 1 <= point["length"] <= STEPS
    before = path.stat().st_mtime_ns
    assert train_agents([training], LAYOUTS, tmp_path / "agents") == [path]
    assert path.stat().st_mtime_ns == before


def test_the_second_half_is_driven_by_the_agent_of_the_first(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers: list[Agent | None] = []

    def watched(*arguments: Any) -> list[Beginning]:
        drivers.append(arguments[-1])
        return beginnings_of(*arguments)

    monkeypatch.setattr(partitioner, "beginnings_of", watched)
    (path,) = train_agents([PartitionerTraining(steps=512)], LAYOUTS, tmp_path)
    assert drivers[0] is None and isinstance(drivers[1], Agent) and len(drivers) == 2
    state = states(1)[1]
    rows, frame = state.observed(0)
    first, last = drivers[1], Agent.load(path)
    few = rows[: len(state.groups)]
    assert not np.array_equal(first.preferences(few, frame), last.preferences(few, frame))


def test_what_was_interrupted_goes_on(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InterruptedRunError(Exception):
        pass

    training, keep = PartitionerTraining(steps=384), partitioner._keep

    def stop(agent: object, own: PartitionerTraining, path: Path, curve: list) -> None:
        keep(agent, own, path, curve)
        if len(curve) == 2:
            raise InterruptedRunError

    monkeypatch.setattr(partitioner, "_keep", stop)
    with pytest.raises(InterruptedRunError):
        train_agents([training], LAYOUTS, tmp_path)
    assert not list(tmp_path.glob("*.npz"))
    monkeypatch.setattr(partitioner, "_keep", keep)
    (path,) = train_agents([training], LAYOUTS, tmp_path)
    curve = json.loads(path.with_suffix(".json").read_text())["curve"]
    assert [point["steps"] for point in curve] == [128, 256, 384]
    assert Agent.load(path)


def test_an_interruption_while_keeping_loses_only_the_last_steps(
    tiny: None, tmp_path: Path
) -> None:
    training = PartitionerTraining(steps=256)
    (path,) = train_agents([training], LAYOUTS, tmp_path)
    kept = path.with_suffix(".zip")
    content = kept.read_bytes()
    # The second cut leaves the whole of an archive within this one.
    inner = content.rindex(b"PK\x05\x06", 0, len(content) - 30) + 22
    for end in (len(content) // 2, inner):
        path.unlink()
        kept.write_bytes(content[:end])
        assert train_agents([training], LAYOUTS, tmp_path) == [path]


def test_learning_is_learning(tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 2,000 steps it finds out that what cannot be had is not worth a step."""
    monkeypatch.setattr(partitioner, "_LEARNING_RATE", 3e-3)
    monkeypatch.setattr(partition_env, "ASTRAY", 1.0)  # all steps are there to be made
    boxes = np.array([[10, 10, 40, 40], [12, 12, 42, 42]], np.float32)
    alone = [Layout((200, 200), boxes, np.zeros(2, np.int32))]
    (path,) = train_agents([PartitionerTraining(steps=2048)], alone, tmp_path)
    curve = json.loads(path.with_suffix(".json").read_text())["curve"]
    assert curve[-1]["length"] < 0.85 * curve[0]["length"]
    assert curve[-1]["reward"] > curve[0]["reward"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seed": -1}, "seed -1"),
        ({"seed": 1001}, "seed 1001"),
        ({"steps": 10}, "steps is 10"),
        ({"discount": 1.5}, "discount 1.5"),
        ({"discount": float("nan")}, "discount nan"),
    ],
)
def test_a_training_has_its_limits(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        PartitionerTraining(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_there_has_to_be_something_to_train_on(tmp_path: Path) -> None:
    few = [Layout((640, 480), np.array([[1, 1, 20, 20]], np.float32), np.zeros(1, np.int32))]
    for nothing in ([], few):
        with pytest.raises(InputError, match="two objects"):
            train_agents([PartitionerTraining()], nothing, tmp_path)
    with pytest.raises(InputError, match="nothing to train on"):
        train_and_report([PartitionerTraining()], [], tmp_path, scenes=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        train_agents([PartitionerTraining()], LAYOUTS, tmp_path / "file" / "agents")


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1;2", "-1", "1.5", "1,1"])
def test_seeds_are_numbers(text: str) -> None:
    with pytest.raises(InputError, match="seeds"):
        numbers(text)
    assert numbers("3, 1,20") == [3, 1, 20]


def test_terms_are_read_by_name() -> None:
    assert terms_of("") is None
    assert terms_of("count=0.5,found=2") == Terms(2.0, 0.0, 0.0, 0.0, 0.5)
    for wrong, words in (("size=1", "'size' is unknown"), ("found=", "''"), ("found", "''")):
        with pytest.raises(InputError, match=words):
            terms_of(wrong)


def test_names_tell_trainings_apart() -> None:
    usual = PartitionerTraining()
    trainings = [
        usual,
        replace(usual, seed=1),
        replace(usual, discount=0.5),
        replace(usual, terms=Terms()),
        replace(usual, terms=Terms(0.5)),
        replace(usual, terms=Terms(0.5, 0.2)),
    ]
    assert len({name_of(training) for training in trainings}) == len(trainings)
    assert name_of(usual) == "partitioner-seed0"


# The report.


def test_the_report_tells_of_all_methods(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_report, "_SEARCHED", 2)
    (path,) = train_agents([PartitionerTraining(steps=128)], LAYOUTS, tmp_path)
    agents = {path.stem: Agent.load(path)}
    result = partition_report.judge(LAYOUTS, agents, 3)
    assert result["drives"] == 3 and result["searched"]["frames"] == 2
    for name in ("none", "greedy", path.stem):
        assert 0 <= result["found"][name] <= 1 and 0 <= result["frame"][name] <= 1.5
        assert result["ms"][name] >= 0
    assert result["score"]["none"] <= result["score"]["greedy"]
    assert result["errors"]["greedy"] == {"found": 0, "frame": 0}
    searched = result["searched"]
    assert searched["annealing"]["score"] >= searched["none"]["score"]
    assert searched["hindsight"]["frame"] >= searched["none"]["frame"]
    made = {path.stem: json.loads(path.with_suffix(".json").read_text())}
    content = partition_report.report(result, made, path.stem, "a test")
    partition_report.write(content, tmp_path)
    text = (tmp_path / "partitioner.md").read_text(encoding="utf-8")
    assert f"| {path.stem} |" in text and "| annealing |" in text
    assert json.loads((tmp_path / "partitioner.report.json").read_text())["shipped"] == path.stem
    assert (tmp_path / "partitioner.png").stat().st_size > 0
    assert partition_report.best_of(result, list(agents)) == path.stem
