"""The task that the partitioner's agent is trained on, as a gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.profile import Profile, read_profile
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.partition.beginnings import clustered
from re_pose_ros.partition.groups import Floats, Objects
from re_pose_ros.partition.outlook import Conditions
from re_pose_ros.partition.refine import (
    ACTIONS,
    FRAME_FEATURES,
    GROUP_FEATURES,
    MOST,
    STEPS,
    State,
    Terms,
    greedy,
)
from re_pose_ros.partition.worth import Worth, pooled_recall
from re_pose_ros.plan import Variant
from re_pose_ros.training.layouts import Layout

OBSERVED = MOST * GROUP_FEATURES + FRAME_FEATURES + ACTIONS
"""Numbers per observation: the groups' features, the frame's, and which actions are possible."""

REWARD_SCALE = 20.0
IMPOSSIBLE = -0.05
"""Reward for an action that cannot be done, which changes nothing."""

MOST_ENLARGED = 2.0
"""By how much blocks may be enlarged at most, as of ``PartitionSettings``."""

_INPUTS = (160, 320, 480, 640, 800, 960, 1280)
_MOST_OBJECTS = 400
_BEGINNINGS, _AGAIN = 256, 0.9


def observation(state: State, step: int) -> NDArray[np.float32]:
    """``State.observed`` and ``State.possible`` in one row of ``OBSERVED`` numbers."""
    rows, frame = state.observed(step)
    both = np.concatenate([rows.ravel(), frame, state.possible().astype(np.float32)])
    np.maximum(both, -10, out=both)
    return np.minimum(both, 10, out=both)


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Frames, networks and workers drawn by chance.

    Attributes:
        layouts: where objects are, of at least one frame that has two.
        profiles: of networks whose recall by size is taken, shifted by chance.
        bandwidth: of mean shift, in object sizes.
    """

    layouts: Sequence[Layout]
    profiles: Sequence[Profile]
    bandwidth: float = 6.0

    def draw(self, rng: np.random.Generator) -> State:
        """A frame with its initial groups and what there is to look at it with."""
        while True:
            layout = self.layouts[int(rng.integers(len(self.layouts)))]
            found = _believed(layout, rng)
            if len(found) >= 2:
                break
        objects = Objects.of(
            found, layout.frame_size, margin=float(rng.uniform(0.3, 0.8)), least=96.0
        )
        groups = clustered(objects, found.xyxy, self.bandwidth)
        state = State.of(groups, self._conditions(layout.frame_size, rng))
        return _on_the_way(state, rng)

    def _conditions(self, frame_size: tuple[int, int], rng: np.random.Generator) -> Conditions:
        """Networks, workers and a budget for a twentieth to all of the frame in full resolution."""
        count = int(rng.integers(3, len(_INPUTS) + 1))
        sizes = sorted(rng.choice(_INPUTS, count, replace=False).tolist())
        profile = self.profiles[int(rng.integers(len(self.profiles)))]
        shift = float(np.exp2(rng.uniform(-0.5, 1.0)))

        def recall(model: str, pixels: Floats) -> Floats:
            return pooled_recall([profile], model, pixels / shift)

        name = profile.models[0]
        worth = Worth.of([Variant(name, size) for size in sizes], recall, MOST_ENLARGED)
        speeds = np.ones(int(rng.choice([1, 2, 3, 4, 4, 6, 8])))
        if rng.random() < 0.5:
            speeds = np.sort(rng.uniform(0.3, 1.0, len(speeds)))[::-1]
        pixel = float(np.exp(rng.uniform(np.log(5e-6), np.log(3e-4))))
        base = pixel * float(np.exp(rng.uniform(np.log(2e4), np.log(2e5))))
        native = frame_size[0] * frame_size[1] * pixel
        budget = native * float(np.exp(rng.uniform(np.log(0.05), 0.0))) / speeds.sum()
        budget = max(budget, 2 * (base + pixel * sizes[0] ** 2) / speeds[0])
        # Sending everything in full resolution takes a tenth to twice the budget.
        send = budget * float(np.exp(rng.uniform(np.log(0.1), np.log(2.0))))
        spread = rng.uniform(0.9, 1.1, len(sizes))
        return Conditions(
            worth,
            base * spread,
            pixel * spread,
            send / (frame_size[0] * frame_size[1]),
            speeds,
            8 * len(speeds),
            budget,
        )


def _on_the_way(state: State, rng: np.random.Generator) -> State:
    """A state as it may be after some frames: half of all are refined already, or led astray."""
    if rng.random() < 0.5:
        return state
    if rng.random() < 0.7:
        for step in range(int(rng.integers(1, 2 * STEPS))):
            after = state.applied(greedy(state, step))
            if after is None:
                break
            state = after
    for _ in range(int(rng.integers(0, 5))):
        state = state.applied(int(rng.integers(1, ACTIONS))) or state
    return state


def _believed(layout: Layout, rng: np.random.Generator) -> ObjectDistribution:
    """What a tracker might believe of a layout: some objects unknown, some unsure, some wrong."""
    boxes = layout.boxes.astype(np.float64)
    keep = rng.random(len(boxes)) < rng.uniform(0.3, 1.0)
    boxes = boxes[keep]
    if len(boxes) > _MOST_OBJECTS:
        boxes = boxes[rng.choice(len(boxes), _MOST_OBJECTS, replace=False)]
    if rng.random() < 0.5:
        boxes = boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (layout.frame_size[0], 0) * 2
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))[:, None]
    boxes = boxes + np.tile(rng.normal(0, 0.05, (len(boxes), 2)) * sizes, 2)
    np.clip(boxes, 0, np.tile(layout.frame_size, 2), out=boxes)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) > 1).all(axis=1)]
    count = len(boxes)
    weight = np.where(
        rng.random(count) < 0.8, rng.uniform(0.8, 0.98, count), rng.uniform(0.05, 0.8, count)
    )
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))[:, None]
    sigma = sizes * rng.uniform(0.02, 0.3, (count, 1)) * np.ones((1, 2))
    return ObjectDistribution.of(boxes, 0, weight=weight, sigma=sigma)


class PartitionEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One frame per episode: the agent merges and splits groups until it stops.

    Observation: ``observation``. Actions: those of ``refine.ACTIONS``. Reward: by how much the best
    score (``State.score``) so far is surpassed, times ``REWARD_SCALE``, since the robot takes the
    best state that the agent comes by; each step costs a little, so that it stops where nothing is
    to be had. Sum of rewards and its form are ours.
    """

    def __init__(
        self, scenarios: Scenarios, terms: Terms | None = None, step_cost: float = 0.01
    ) -> None:
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (OBSERVED,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self._scenarios = scenarios
        self._terms = terms or Terms()
        self._cost = step_cost
        self._beginnings: list[State] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._beginnings.clear()
        del options
        self._state = self._drawn()
        self._best = self._first = self._state.score(self._terms)
        self._step = 0
        return observation(self._state, 0), {}

    def _drawn(self) -> State:
        """A new beginning or, mostly, one of before: drawing takes longer than a step."""
        rng = self.np_random
        if len(self._beginnings) == _BEGINNINGS and rng.random() < _AGAIN:
            return self._beginnings[int(rng.integers(_BEGINNINGS))]
        state = self._scenarios.draw(rng)
        if len(self._beginnings) < _BEGINNINGS:
            self._beginnings.append(state)
        else:
            self._beginnings[int(rng.integers(_BEGINNINGS))] = state
        return state

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        after = self._state.applied(int(action))
        self._step += 1
        reward, ends = -self._cost, int(action) == 0
        if after is not None:
            self._state = after
            score = after.score(self._terms)
            reward += REWARD_SCALE * max(score - self._best, 0.0)
            self._best = max(self._best, score)
        elif not ends:
            reward += IMPOSSIBLE
        truncated = not ends and self._step >= STEPS
        info = {"gain": self._best - self._first} if ends or truncated else {}
        return observation(self._state, self._step), float(reward), ends, truncated, info


def shipped_profiles() -> list[Profile]:
    """Of the embedded networks, whose recall by size the agent is trained with."""
    folder = Path(__file__).resolve().parent.parent / "weights"
    return [read_profile(path) for path in sorted(folder.glob("scene-*.profile.json"))]
