"""The task that the partitioner's agent is trained on, as a gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.profile import Profile, read_profile
from re_pose_ros.partition.refine import (
    ACTIONS,
    FRAME_FEATURES,
    GROUP_FEATURES,
    MOST,
    STEPS,
    State,
    Terms,
)
from re_pose_ros.training.drives import Beginning

OBSERVED = MOST * GROUP_FEATURES + FRAME_FEATURES + ACTIONS
"""Numbers per observation: the groups' features, the frame's, and which actions are possible."""

REWARD_SCALE = 20.0
IMPOSSIBLE = -0.05
"""Reward for an action that cannot be done, which changes nothing."""

ASTRAY = 0.3
"""Share of the episodes that begin some changes away from where the planner was."""


def observation(state: State, step: int) -> NDArray[np.float32]:
    """``State.observed`` and ``State.possible`` in one row of ``OBSERVED`` numbers."""
    rows, frame = state.observed(step)
    both = np.concatenate([rows.ravel(), frame, state.possible().astype(np.float32)])
    np.maximum(both, -10, out=both)
    return np.minimum(both, 10, out=both)


def led_astray(beginning: Beginning, rng: np.random.Generator) -> Beginning:
    """The same or, now and then, up to four changes by chance away from it, with all steps left."""
    if rng.random() >= ASTRAY:
        return beginning
    state = beginning.state
    for _ in range(int(rng.integers(1, 5))):
        state = state.applied(int(rng.integers(1, ACTIONS))) or state
    return replace(beginning, state=state, step=0)


class PartitionEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One frame per episode: the agent merges and splits groups until it stops.

    Episodes have as many steps as the robot makes in that frame. Observation: ``observation``, and
    zeros at the end, where nothing can be done any more. Actions: those of ``refine.ACTIONS``.
    Reward: in the end, by how much more of the objects the plan for the last groups would really
    find than the plan for those that the frame began with (``Situation.found``), times
    ``REWARD_SCALE``; with ``terms``, by how much better the planner thinks that they are
    (``State.score``), which is known far sooner. Each step costs a little, so that the
    agent stops where nothing is to be had. All of this is ours.
    """

    def __init__(
        self,
        beginnings: Sequence[Beginning],
        terms: Terms | None = None,
        step_cost: float = 0.005,
    ) -> None:
        """At least one beginning; ``terms`` for being rewarded by the score."""
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (OBSERVED,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self._beginnings = beginnings
        self._terms = terms
        self._cost = step_cost

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        del options
        chosen = self._beginnings[int(self.np_random.integers(len(self._beginnings)))]
        beginning = led_astray(chosen, self.np_random)
        self._state, self._step = beginning.state, beginning.step
        self._chosen = chosen
        return observation(self._state, self._step), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        after = self._state.applied(int(action))
        self._step += 1
        reward, stops = -self._cost, int(action) == 0
        if after is not None:
            self._state = after
        elif not stops:
            reward += IMPOSSIBLE
        # The agent sees the step, so that running out of them is an end, not an interruption.
        if stops or self._step >= STEPS:
            gain = self._gain()
            reward += REWARD_SCALE * gain
            return np.zeros(OBSERVED, np.float32), float(reward), True, False, {"gain": gain}
        return observation(self._state, self._step), float(reward), False, False, {}

    def _gain(self) -> float:
        chosen, state = self._chosen, self._state
        if self._terms is not None:
            return state.score(self._terms) - chosen.state.score(self._terms)
        return chosen.situation.found(state.groups) - chosen.found


def shipped_profiles() -> list[Profile]:
    """Of the embedded networks, whose recall by size the agent is trained with."""
    folder = Path(__file__).resolve().parent.parent / "weights"
    return [read_profile(path) for path in sorted(folder.glob("scene-*.profile.json"))]
