"""Environments of DiscreteSAC's tests, and what is best in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv

from re_pose_ros.discrete_sac import DiscreteSAC


@dataclass(frozen=True, slots=True)
class Problem:
    """A small decision problem whose steps are certain.

    Attributes:
        rewards: (states, actions).
        following: next states, (states, actions).
        valid: (states, actions).
        ends: (states, actions), whether nothing comes afterwards.
    """

    rewards: NDArray[np.float64]
    following: NDArray[np.int64]
    valid: NDArray[np.bool_]
    ends: NDArray[np.bool_]

    def soft_optimum(
        self, temperature: float, discount: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Action values and policy, (states, actions) each, by soft value iteration."""
        values = np.zeros(len(self.rewards))
        for _ in range(2000):
            after = np.where(self.ends, 0.0, values[self.following])
            quality = self.rewards + discount * after
            masked = np.where(self.valid, quality, -np.inf) / temperature
            top = masked.max(axis=1, keepdims=True)
            weights = np.exp(masked - top)
            values = temperature * (top[:, 0] + np.log(weights.sum(axis=1)))
        return quality, weights / weights.sum(axis=1, keepdims=True)


def problem(seed: int, states: int = 6, actions: int = 4) -> Problem:
    """One state has a single valid action, others two or more; what is invalid pays best."""
    random = np.random.default_rng(seed)
    valid = random.random((states, actions)) < 0.6
    valid[:, 0] = True
    valid[1:, 1] = True
    valid[0, 1:] = False
    valid[1, 2] = False
    rewards = np.where(valid, random.uniform(-1, 1, valid.shape), 5.0)
    following = random.integers(0, states, valid.shape)
    return Problem(rewards, following, valid, random.random(valid.shape) < 0.1)


class Walk(gymnasium.Env[Any, Any]):
    """A ``Problem`` from a random state on, cut off by a time limit after ``limit`` steps."""

    def __init__(self, what: Problem, limit: int = 7) -> None:
        states, actions = what.rewards.shape
        self.observation_space = gymnasium.spaces.Discrete(states)
        self.action_space = gymnasium.spaces.Discrete(actions)
        self._what, self._limit = what, limit
        self._state = self._steps = 0

    def action_masks(self) -> NDArray[np.bool_]:
        return self._what.valid[self._state]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._state = int(self.np_random.integers(len(self._what.rewards)))
        self._steps = 0
        return self._state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        at = self._state, int(action)
        assert self._what.valid[at], f"{at} is invalid"
        self._state, self._steps = int(self._what.following[at]), self._steps + 1
        cut = self._steps >= self._limit
        return self._state, float(self._what.rewards[at]), bool(self._what.ends[at]), cut, {}


ACTIONS = 12


class Bandit(gymnasium.Env[Any, Any]):
    """Contexts in which one valid action is best; what is best of all is often invalid.

    Of context x in [-1, 1]^3, action a pays ``x W[:, a]``; steps depend on nothing before.
    """

    weights = np.random.default_rng(5).normal(0, 1, (3, ACTIONS)).astype(np.float32)

    def __init__(self, length: int = 20) -> None:
        self.observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self._length = length
        self._steps = 0

    def _draw(self) -> NDArray[np.float32]:
        self.context = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        self.valid = self.np_random.random(ACTIONS) < 0.5
        self.valid[self.np_random.integers(ACTIONS)] = True
        return self.context

    def action_masks(self) -> NDArray[np.bool_]:
        return self.valid

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.valid[int(action)], f"{action} is invalid"
        reward = float(self.context @ self.weights[:, int(action)])
        self._steps += 1
        return self._draw(), reward, False, self._steps >= self._length, {}


class Counting(gymnasium.Env[Any, Any]):
    """Observes its number, its episode and its step; ``mask_of`` tells what is then valid.

    Odd episodes terminate, even ones are truncated, after three steps and their number more.
    """

    def __init__(self, number: int) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1e6, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self._number, self._episode, self._steps = number, 0, 0

    def _observed(self) -> NDArray[np.float32]:
        return np.array([self._number, self._episode, self._steps], np.float32)

    def action_masks(self) -> NDArray[np.bool_]:
        return mask_of(self._observed())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._episode, self._steps = self._episode + 1, 0
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_masks()[int(action)], f"{action} is invalid"
        self._steps += 1
        over = self._steps >= 3 + self._number
        odd = self._episode % 2 == 1
        return self._observed(), 0.0, over and odd, over and not odd, {}


def mask_of(observation: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Valid actions of a ``Counting``; different ones in neighbouring steps and episodes."""
    number, episode, step = (int(part) for part in observation)
    random = np.random.default_rng([number, episode, step])
    mask = random.random(ACTIONS) < 0.4
    mask[(number + episode + step) % ACTIONS] = True
    return mask


SMALL: dict[str, Any] = {
    "learning_starts": 40,
    "batch_size": 32,
    "seed": 0,
    "device": "cpu",
    "policy_kwargs": {"net_arch": [16]},
}


def made(env: Any = None, **settings: Any) -> DiscreteSAC:
    return DiscreteSAC("MlpPolicy", Bandit() if env is None else env, **{**SMALL, **settings})


def vector(environment: Callable[[], gymnasium.Env[Any, Any]], count: int) -> DummyVecEnv:
    return DummyVecEnv([environment] * count)
