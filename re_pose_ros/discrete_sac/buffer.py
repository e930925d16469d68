"""A replay buffer that knows what was valid."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from re_pose_ros.discrete_sac.masks import Masks
from re_pose_ros.errors import InputError


class MaskedSamples(NamedTuple):
    """A batch of B transitions with A actions; the first five are as stable-baselines3 has them.

    Attributes:
        observations: (B, ...).
        actions: (B, 1), integers.
        next_observations: (B, ...); where an episode ended, its last one.
        dones: (B, 1), 1 where nothing came after; 0 where a time limit ended the episode.
        rewards: (B, 1).
        masks: (B, A), what was valid.
        next_masks: (B, A), what was valid afterwards, with ``next_observations``.
        entropies: (B,), of the policy that acted, in nats.
    """

    observations: th.Tensor
    actions: th.Tensor
    next_observations: th.Tensor
    dones: th.Tensor
    rewards: th.Tensor
    masks: th.Tensor
    next_masks: th.Tensor
    entropies: th.Tensor


class MaskedReplayBuffer(ReplayBuffer):
    """Stores, with each transition, both masks and the entropy of the policy that acted.

    ``announce`` tells them; the ``add`` after it stores them with its transition.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
    ) -> None:
        """Raises InputError for the memory-saving variant, whose next states are the next rows."""
        if optimize_memory_usage:
            raise InputError("DiscreteSAC has no optimize_memory_usage; make buffer_size smaller")
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        assert isinstance(action_space, spaces.Discrete)
        shape = (self.buffer_size, self.n_envs, int(action_space.n))
        self.masks = np.zeros(shape, bool)
        self.next_masks = np.zeros(shape, bool)
        self.entropies = np.zeros(shape[:2], np.float32)

    def announce(self, masks: Masks, next_masks: Masks, entropies: np.ndarray) -> None:
        """What belongs to the next transition, (n_envs, A), (n_envs, A) and (n_envs,)."""
        self.masks[self.pos] = masks
        self.next_masks[self.pos] = next_masks
        self.entropies[self.pos] = entropies

    def sample(  # type: ignore[override]
        self, batch_size: int, env: VecNormalize | None = None
    ) -> MaskedSamples:
        """Transitions drawn with replacement, each as probable; ``env`` may normalise them."""
        rows = np.random.randint(0, self.size() * self.n_envs, size=batch_size)

        def taken(stored: np.ndarray) -> np.ndarray:
            return stored.reshape(-1, *stored.shape[2:]).take(rows, axis=0)

        dones = taken(self.dones) * (1 - taken(self.timeouts))
        return MaskedSamples(
            *(
                th.from_numpy(np.asarray(array)).to(self.device)
                for array in (
                    self._normalize_obs(taken(self.observations), env),
                    taken(self.actions),
                    self._normalize_obs(taken(self.next_observations), env),
                    dones[:, None],
                    self._normalize_reward(taken(self.rewards)[:, None], env),
                    taken(self.masks),
                    taken(self.next_masks),
                    taken(self.entropies),
                )
            )
        )
