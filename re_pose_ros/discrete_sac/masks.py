"""Which actions an environment allows in its present state.

The convention is sb3-contrib's: a method ``action_masks()`` of the environment, or of a wrapper
around it, gives a boolean for each action, True where it is valid.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

from re_pose_ros.errors import InputError

METHOD = "action_masks"
"""Name of the environment's method, and of what ``MasksInInfo`` adds to the info."""

Masks = NDArray[np.bool_]


class MasksInInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds the mask after each step to its info, under ``action_masks``.

    A vectorised environment resets by itself where an episode ends; only the info still tells what
    was valid in the last state, which matters where a time limit ended it. ``DiscreteSAC`` wraps
    environments of its own process with this; wrap those of a ``SubprocVecEnv`` where you make
    them.
    """

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        mask = np.array(self.env.get_wrapper_attr(METHOD)(), bool)
        return observation, reward, terminated, truncated, {**info, METHOD: mask}


class MaskedPredictor:
    """A model that looks up the masks itself, as for stable-baselines3's ``evaluate_policy``.

    ``evaluate_policy(MaskedPredictor(model, env), env)``, with a vectorised ``env``.
    """

    def __init__(self, model: Any, env: VecEnv) -> None:
        self._model, self._env = model, env

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        masks = action_masks(self._env) if has_masks(self._env) else None
        chosen: tuple[np.ndarray, tuple[np.ndarray, ...] | None] = self._model.predict(
            observation, state, episode_start, deterministic, action_masks=masks
        )
        return chosen


def has_masks(env: VecEnv) -> bool:
    """Whether the environments have the method ``action_masks()``."""
    return bool(env.has_attr(METHOD))


def action_masks(env: VecEnv, indices: NDArray[np.intp] | None = None) -> Masks:
    """What is valid now, (environments, actions).

    Args:
        env: has the method, see ``has_masks``.
        indices: of the environments to ask; all where it is None.

    Raises:
        InputError: a mask that is not one boolean per action, or allows nothing.
    """
    chosen = None if indices is None else indices.tolist()
    return checked(env.env_method(METHOD, indices=chosen), _actions(env))


def checked(rows: Any, actions: int, ended: NDArray[np.bool_] | None = None) -> Masks:
    """Masks as one array, (rows, actions).

    Args:
        rows: a mask each.
        actions: how many there are.
        ended: rows of states after which nothing comes; there, all may be invalid.

    Raises:
        InputError: as ``action_masks``.
    """
    try:
        masks = np.array(rows, bool)
    except ValueError:
        masks = np.zeros((0, 0), bool)
    if masks.shape != (len(rows), actions):
        raise InputError(f"{METHOD}() has to give {actions} booleans, one per action")
    possible = masks.any(axis=1)
    if ended is not None:
        possible |= ended
    if not possible.all():
        raise InputError(f"{METHOD}() leaves no valid action in a state that goes on")
    return masks


def masks_after(infos: list[dict[str, Any]], dones: NDArray[np.bool_], actions: int) -> Masks:
    """What is valid in the states that a step led to, before any reset; (environments, actions).

    Args:
        infos: of the step, each with ``action_masks``.
        dones: whether the episodes ended.
        actions: how many there are.

    Raises:
        InputError: as ``action_masks``, or an info has no mask.
    """
    missing = [k for k, info in enumerate(infos) if METHOD not in info]
    if missing:
        raise InputError(
            f"environment {missing[0]} has {METHOD}() but no mask in the infos of its steps; "
            "wrap it in re_pose_ros.discrete_sac.MasksInInfo"
        )
    cut = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
    return checked([info[METHOD] for info in infos], actions, dones & ~cut)


def put_masks_in_info(env: VecEnv) -> None:
    """Wrap those environments that have masks and run in this process in ``MasksInInfo``."""
    inner = env
    while isinstance(inner, VecEnvWrapper):
        inner = inner.venv
    if isinstance(inner, DummyVecEnv) and has_masks(inner):
        inner.envs = [
            one if is_wrapped(one, MasksInInfo) else MasksInInfo(one) for one in inner.envs
        ]


def _actions(env: VecEnv) -> int:
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Discrete)
    return int(space.n)
