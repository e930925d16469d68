"""The environments of gymnasium and stable-baselines3."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import tuning_cases as cases
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from re_pose_ros.tuning.environment import TuningEnv, TuningVecEnv
from re_pose_ros.tuning.observation import BOUND, length
from re_pose_ros.tuning.scenarios import Scenarios
from re_pose_ros.tuning.simulation import Simulation

SMALL, DETECTOR = cases.small_table(), cases.detector_table()
LIVELY = Scenarios(outage_every_s=5.0)


def test_both_checkers_are_content() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_sb3(TuningEnv(DETECTOR, steps=9), warn=True)
        # It complains of environments that are not made by name.
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message=".*env.spec.*")
        check_gymnasium(TuningEnv(DETECTOR, steps=9), skip_render_check=True)


def episode(env: TuningEnv, seed: int | None) -> list[tuple[bytes, float]]:
    observed, _ = env.reset(seed=seed)
    random, found = np.random.default_rng(7), [(observed.tobytes(), 0.0)]
    while True:
        action = random.choice(np.flatnonzero(env.action_masks()))
        observed, reward, ended, truncated, info = env.step(np.int64(action))
        assert not ended and set(info) == {"latency_ms", "in_time", "accuracy", "bytes"}
        found.append((observed.tobytes(), reward))
        if truncated:
            return found


def test_the_same_seed_gives_the_same_episodes() -> None:
    env = TuningEnv(DETECTOR, LIVELY, steps=20)
    first = [episode(env, 5), *(episode(env, None) for _ in range(40))]
    second = [episode(env, 5), *(episode(env, None) for _ in range(40))]
    assert first == second
    assert len(first[0]) == 20
    assert len({tuple(blocks) for blocks in first}) == 41
    assert episode(env, 6) != first[0]


def test_masks_are_what_the_worker_allows() -> None:
    env = TuningEnv(DETECTOR, Scenarios(without_features=1.0, outage_every_s=2.0), steps=60)
    env.reset(seed=0)
    kinds = set()
    for _ in range(200):
        masks = env.action_masks()
        assert masks.shape == (43,) and masks.dtype == bool
        assert masks[~DETECTOR.sends].all() and not masks[DETECTOR.sends_features].any()
        pictures = masks[DETECTOR.sends & ~DETECTOR.sends_features]
        assert pictures.all() or not pictures.any()
        kinds.add(bool(pictures.all()))
        observed, _, _, truncated, _ = env.step(np.int64(4))
        latencies = observed[-86:-43]
        assert (latencies[~env.action_masks()] == BOUND).all()
        if truncated:
            env.reset()
    assert kinds == {True, False}


def test_many_at_once_are_the_simulation() -> None:
    env = TuningVecEnv(DETECTOR, 5, LIVELY, steps=10)
    env.seed(3)
    observed = env.reset()
    expected = Simulation(
        DETECTOR, LIVELY.draw(DETECTOR, np.random.default_rng([3, 4, 5, 6, 7]), 5, 10)
    )
    assert observed.shape == (5, length(DETECTOR)) and env.observation_space.contains(observed[0])
    random = np.random.default_rng(0)
    for k in range(9):
        assert (np.array(env.env_method("action_masks")) == expected.masks()).all()
        actions = random.integers(0, 43, 5)
        came = expected.step(actions)
        observed, rewards, done, infos = env.step(actions)
        assert rewards == pytest.approx(came.reward, abs=1e-6) and rewards.dtype == np.float32
        assert (np.array([info["action_masks"] for info in infos]) == expected.masks()).all()
        if k < 8:
            assert not done.any() and (observed == expected.observations()).all()
    assert done.all() and all(info["TimeLimit.truncated"] for info in infos)
    last = np.array([info["terminal_observation"] for info in infos])
    assert (last == expected.observations()).all() and (observed != last).any(axis=1).all()


def test_many_at_once_are_what_learners_expect() -> None:
    env = TuningVecEnv(SMALL, 3, steps=10)
    env.seed(3)
    first = env.reset()
    assert env.has_attr("action_masks") and not env.has_attr("other")
    assert [m.shape for m in env.env_method("action_masks", indices=[2, 0])] == [(4,), (4,)]
    with pytest.raises(AttributeError, match="no method 'other'"):
        env.env_method("other")
    with pytest.raises(AttributeError, match="cannot be set"):
        env.set_attr("other", 1)
    assert env.get_attr("num_envs", 1) == [3]
    assert env.env_is_wrapped(object) == [False] * 3
    other = env.reset()
    assert (first != other).any(), "without a new seed all goes on"
    env.seed(3)
    assert (env.reset() == first).all()


def test_what_is_missing_is_named_in_one_line() -> None:
    code = (
        "import sys; sys.modules['stable_baselines3.common.vec_env'] = None\n"
        "from re_pose_ros.errors import InputError\n"
        "try:\n    import re_pose_ros.tuning.environment\n"
        "except InputError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install gymnasium stable-baselines3" in done.stdout
    assert done.stdout.count("\n") == 1
