"""The partitioner's agent as a stable-baselines3 policy; ``partition.agent`` runs it on numpy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from re_pose_ros.partition.agent import GAIN, HIDDEN, SHAPES
from re_pose_ros.partition.refine import FRAME_FEATURES, GAINS, GROUP_FEATURES, MOST

_LEAST = -1e8
_GREEDY = 20.0
"""What the preference rises by at first where a change gains 1/16 of all objects."""
_ROWS = MOST * GROUP_FEATURES


class _Trunk(nn.Module):
    """Descriptions of the groups and of the frame as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.group = nn.ModuleList([nn.Linear(*SHAPES["group.0"]), nn.Linear(*SHAPES["group.1"])])
        self.all = nn.ModuleList([nn.Linear(*SHAPES["all.0"])])

    def forward(self, rows: Tensor, frame: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """(B, MOST, GROUP_FEATURES), (B, FRAME_FEATURES), (B, MOST) -> per group, per frame."""
        around = frame[:, None].expand(-1, rows.shape[1], -1)
        own = torch.tanh(self.group[0](torch.cat([rows, around], dim=2)))
        own = torch.tanh(self.group[1](own))
        mask = there[:, :, None]
        mean = (own * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        most = own.masked_fill(mask == 0, -1.0).amax(dim=1)
        whole = torch.tanh(self.all[0](torch.cat([mean, most, frame], dim=1)))
        return own, whole


class _Actor(_Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.choice = nn.ModuleList(
            [nn.Linear(*SHAPES["choice.0"]), nn.Linear(*SHAPES["choice.1"])]
        )
        self.stop = nn.ModuleList([nn.Linear(*SHAPES["stop.0"])])
        # It begins as greedy, nearly, and learns where not to be.
        self.register_parameter(GAIN, nn.Parameter(torch.full((2,), _GREEDY)))
        for last in (self.choice[1], self.stop[0]):
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def logits(self, observation: Tensor) -> Tensor:
        rows, frame, there, possible = _parts(observation)
        own, whole = self(rows, frame, there)
        both = torch.cat([own, whole[:, None].expand(-1, MOST, -1)], dim=2)
        choice = self.choice[1](torch.tanh(self.choice[0](both)))
        choice = choice + self.get_parameter(GAIN) * rows[:, :, GAINS]
        logits = torch.cat([self.stop[0](whole), choice[:, :, 0], choice[:, :, 1]], dim=1)
        return logits.masked_fill(possible == 0, _LEAST)


class _Critic(_Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.worth = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def values(self, observation: Tensor) -> Tensor:
        rows, frame, there, _ = _parts(observation)
        worth: Tensor = self.worth(self(rows, frame, there)[1])
        return worth


def _parts(observation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = observation[:, :_ROWS].reshape(-1, MOST, GROUP_FEATURES)
    frame = observation[:, _ROWS : _ROWS + FRAME_FEATURES]
    possible = observation[:, _ROWS + FRAME_FEATURES :]
    there = (rows != 0).any(dim=2).to(rows.dtype)
    return rows, frame, there, possible


class PartitionPolicy(ActorCriticPolicy):
    """Actor and critic over sets of groups; what cannot be done is never chosen."""

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor, self.critic = _Actor(), _Critic()
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _distribution(self, observation: PyTorchObs) -> Distribution:
        assert isinstance(observation, Tensor)
        assert isinstance(self.action_dist, CategoricalDistribution)
        return self.action_dist.proba_distribution(self.actor.logits(observation))

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        distribution = self._distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.critic.values(obs), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        assert isinstance(obs, Tensor)
        distribution = self._distribution(obs)
        return self.critic.values(obs), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        return self._distribution(obs)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        assert isinstance(obs, Tensor)
        return self.critic.values(obs)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The actor's weights and biases, as ``partition.agent.Agent`` takes them."""
        return {
            name: value.detach().cpu().numpy().astype(np.float32)
            for name, value in self.actor.state_dict().items()
        }
