"""The task that the tuner is trained on, as environments of gymnasium and stable-baselines3."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.tuning.observation import BOUND, Observations, length
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.scenarios import Scenarios
from re_pose_ros.tuning.simulation import Outcome, Sensing, Simulation
from re_pose_ros.tuning.state import Bools

try:
    import gymnasium
    from stable_baselines3.common.vec_env import VecEnv
except ModuleNotFoundError as error:
    raise InputError(
        f"training a tuner needs {error.name}: pip install gymnasium stable-baselines3"
    ) from error

STEPS = 257
"""Blocks of an episode and the one after it."""

_DRAWN = 32
"""Episodes that an environment draws at once."""


def spaces(table: ActionTable) -> tuple[gymnasium.Space[Observations], gymnasium.Space[np.int64]]:
    """Of observations (D,) and actions."""
    observations = gymnasium.spaces.Box(-BOUND, BOUND, (length(table),), np.float32)
    return observations, gymnasium.spaces.Discrete(len(table.actions))


class TuningEnv(gymnasium.Env[Observations, np.int64]):
    """One robot, link and worker for an episode of blocks; see ``simulation``.

    Observation: ``observation.observe``. Actions: those of the table; ``action_masks`` has which
    may be taken. What may not be taken can be, and counts as a lost block. Reward: ``reward``.
    Episodes end after so many blocks and are truncated: nothing else ends them.
    """

    def __init__(
        self,
        table: ActionTable,
        scenarios: Scenarios | None = None,
        terms: RewardTerms | None = None,
        sensing: Sensing | None = None,
        steps: int = STEPS,
    ) -> None:
        self.observation_space, self.action_space = spaces(table)
        self._table, self._scenarios = table, scenarios or Scenarios()
        self._terms, self._sensing, self._steps = terms, sensing, steps
        self._waiting: list[Simulation] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        super().reset(seed=seed)
        del options
        if seed is not None:
            self._waiting.clear()
        if not self._waiting:
            traces = self._scenarios.draw(self._table, self.np_random, _DRAWN, self._steps)
            self._waiting = [
                Simulation(self._table, traces.select(slice(k, k + 1)), self._terms, self._sensing)
                for k in range(_DRAWN)
            ]
        self._simulation = self._waiting.pop()
        return self._simulation.observations()[0], {}

    def step(self, action: np.int64) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        came = self._simulation.step(np.array([action], np.intp))
        observed = self._simulation.observations()[0]
        return observed, float(came.reward[0]), False, self._simulation.over, _info(came, 0)

    def action_masks(self) -> Bools:
        """(A,) which actions may be taken now."""
        return self._simulation.masks()[0]


class TuningVecEnv(VecEnv):
    """Many of ``TuningEnv`` in arrays; their episodes begin and end together.

    The infos have the masks after each step, under ``action_masks``, as ``discrete_sac`` wants it.
    """

    def __init__(
        self,
        table: ActionTable,
        count: int,
        scenarios: Scenarios | None = None,
        terms: RewardTerms | None = None,
        sensing: Sensing | None = None,
        steps: int = STEPS,
    ) -> None:
        self.render_mode = None
        super().__init__(count, *spaces(table))
        self._table, self._scenarios = table, scenarios or Scenarios()
        self._terms, self._sensing, self._steps = terms, sensing, steps
        self._rng = np.random.default_rng()
        self._actions = np.zeros(count, np.intp)

    def reset(self) -> Observations:
        seeds = [seed for seed in self._seeds if seed is not None]
        if seeds:
            self._rng = np.random.default_rng(seeds)
        self._reset_seeds()
        self._reset_options()
        return self._begin()

    def _begin(self) -> Observations:
        traces = self._scenarios.draw(self._table, self._rng, self.num_envs, self._steps)
        self._simulation = Simulation(self._table, traces, self._terms, self._sensing)
        return self._simulation.observations()

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = np.asarray(actions, np.intp)

    def step_wait(
        self,
    ) -> tuple[Observations, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        came = self._simulation.step(self._actions)
        observed, over = self._simulation.observations(), self._simulation.over
        infos: list[dict[str, Any]] = [{"action_masks": row} for row in self.action_masks()]
        if over:
            for k, info in enumerate(infos):
                info["terminal_observation"] = observed[k]
                info["TimeLimit.truncated"] = True
            observed = self._begin()
        done = np.full(self.num_envs, over)
        return observed, came.reward.astype(np.float32), done, infos

    def action_masks(self) -> Bools:
        """(N, A) which actions may be taken now."""
        return self._simulation.masks()

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        if method_name != "action_masks":
            raise AttributeError(f"the environment has no method '{method_name}'")
        masks = self.action_masks()
        return [masks[k] for k in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"'{attr_name}' cannot be set")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def close(self) -> None:
        """Nothing is open."""


def _info(came: Outcome, k: int) -> dict[str, Any]:
    return {
        "latency_ms": float(came.latency_ms[k]),
        "in_time": bool(came.in_time[k]),
        "accuracy": float(came.accuracy[k]),
        "bytes": float(came.bytes[k]),
    }
