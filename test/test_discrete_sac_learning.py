"""What DiscreteSAC learns, against what is best."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sac_cases as cases
import torch as th
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from re_pose_ros.discrete_sac import DiscreteSAC

DISCOUNT = 0.8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(before)


def learned(problem: cases.Problem, limit: int, **settings: Any) -> DiscreteSAC:
    """With a value for each state and action, and steps that become smaller."""
    model = DiscreteSAC(
        "MlpPolicy",
        DummyVecEnv([lambda: cases.Walk(problem, limit)]),
        learning_rate=lambda left: 0.05 * max(left, 0.02),
        learning_starts=600,
        batch_size=64,
        tau=0.2,
        gamma=DISCOUNT,
        policy_kwargs={"net_arch": []},
        seed=0,
        device="cpu",
        **settings,
    )
    return model.learn(1600)


def distances(
    model: DiscreteSAC, problem: cases.Problem, temperature: float
) -> tuple[float, float]:
    """The greatest differences from the optimal policy and from the optimal action values."""
    values, policy = problem.soft_optimum(temperature, DISCOUNT)
    states = np.arange(len(values))
    found = model.policy.probabilities(states, problem.valid)
    own = model.policy.action_values(states)[:, problem.valid]
    return (
        float(np.abs(found - policy).max()),
        float(np.abs(own - values[problem.valid]).max()),
    )


@pytest.mark.parametrize(
    ("seed", "limit", "settings"),
    [
        (0, 7, {"critics_combined": "min"}),
        (1, 7, {"critics_combined": "average", "q_clip": 1.0}),
        # Each step is cut off by the time limit: all that follows is known from last states alone.
        (2, 1, {"critics_combined": "average"}),
    ],
)
def test_it_finds_the_soft_optimum_of_a_small_problem(
    seed: int, limit: int, settings: dict[str, Any]
) -> None:
    problem = cases.problem(seed)
    model = learned(problem, limit, ent_coef=0.4, **settings)
    of_policy, of_values = distances(model, problem, 0.4)
    assert of_policy < 0.01
    assert of_values < 0.02


def test_the_temperature_is_learned_such_that_the_entropy_is_its_target() -> None:
    problem = cases.problem(3)
    model = learned(problem, 7, target_entropy_fraction=0.6)
    temperature = model.policy.log_ent_coef.exp().item()
    of_policy, of_values = distances(model, problem, temperature)
    assert of_policy < 0.03
    assert of_values < 0.1
    samples = model.replay_buffer.sample(4000)
    with th.no_grad():
        chances, logarithms = model.actor(samples.observations, samples.masks)
    counts = samples.masks.sum(dim=1).numpy()
    target = 0.6 * np.log(counts)
    entropies = -(chances * logarithms).sum(dim=1).numpy()
    assert entropies.mean() == pytest.approx(target.mean(), abs=0.05)
    assert (entropies[counts == 1] == 0).all() and (counts == 1).any()


def test_it_takes_the_best_of_what_is_valid() -> None:
    model = DiscreteSAC(
        "MlpPolicy",
        DummyVecEnv([cases.Bandit] * 4),
        learning_rate=lambda left: 5e-3 * max(left, 0.05),
        learning_starts=1000,
        batch_size=128,
        gamma=0.0,
        train_freq=2,
        target_entropy_fraction=0.3,
        policy_kwargs={"net_arch": [32]},
        seed=0,
        device="cpu",
    )
    model.learn(8000)
    random = np.random.default_rng(3)
    contexts = random.uniform(-1, 1, (2000, 3)).astype(np.float32)
    masks = random.random((2000, cases.ACTIONS)) < 0.5
    masks[:, 0] = True
    rewards = contexts @ cases.Bandit.weights
    best = np.where(masks, rewards, -np.inf).max(axis=1)
    actions, _ = model.predict(contexts, deterministic=True, action_masks=masks)
    lost = best - rewards[np.arange(2000), actions]
    assert lost.mean() < 0.05 * best.mean()
    by_chance = best - np.where(masks, rewards, 0).sum(axis=1) / masks.sum(axis=1)
    assert by_chance.mean() > 0.5 * best.mean()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_balances_a_pole() -> None:
    model = DiscreteSAC(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=1e-3,
        batch_size=64,
        tau=0.01,
        seed=0,
        device="cpu",
    )
    model.learn(8000)
    mean, _ = evaluate_policy(model, model.get_env(), 20)
    assert mean >= 195
