"""Actor and critics of DiscreteSAC as a stable-baselines3 policy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    FlattenExtractor,
    create_mlp,
    get_actor_critic_arch,
)
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from re_pose_ros.discrete_sac.losses import Chances, chances, entropy
from re_pose_ros.discrete_sac.masks import Masks
from re_pose_ros.errors import InputError


class Actor(BasePolicy):
    """The policy: observations (B, ...) to probabilities of A actions and their logarithms."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int],
        activation_fn: type[nn.Module],
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        layers = create_mlp(features_dim, int(action_space.n), net_arch, activation_fn)
        self.layers = nn.Sequential(*layers)

    def logits(self, observations: th.Tensor) -> th.Tensor:
        """Preferences (B, A), of what is invalid, too."""
        features = self.extract_features(observations, self.features_extractor)
        preferences: th.Tensor = self.layers(features)
        return preferences

    def forward(self, observations: th.Tensor, masks: th.Tensor | None) -> Chances:
        """As ``losses.chances``, for observations (B, ...) and masks (B, A), None: all valid."""
        return chances(self.logits(observations), masks)

    def _predict(
        self,
        observation: Any,
        deterministic: bool = False,
        masks: th.Tensor | None = None,
    ) -> th.Tensor:
        probabilities, _ = self(observation, masks)
        if deterministic:
            return probabilities.argmax(dim=1)
        return th.multinomial(probabilities, 1).squeeze(1)


class _Linears(nn.Module):
    """Several linear layers side by side: (C, B, inputs) to (C, B, outputs)."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as nn.Linear starts
        self.weight = nn.Parameter(th.empty(count, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(th.empty(count, 1, outputs).uniform_(-bound, bound))

    def forward(self, values: th.Tensor) -> th.Tensor:
        return th.baddbmm(self.bias, values, self.weight)


class Critics(BaseModel):
    """C independent action values: observations (B, ...) to (C, B, A), in one pass."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int],
        activation_fn: type[nn.Module],
        normalize_images: bool = True,
        n_critics: int = 2,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        self.n_critics = n_critics
        widths = [features_dim, *net_arch, int(action_space.n)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [_Linears(n_critics, inputs, outputs), activation_fn()]
        self.values = nn.Sequential(*layers[:-1])

    def forward(self, observations: th.Tensor) -> th.Tensor:
        assert self.features_extractor is not None
        features = self.extract_features(observations, self.features_extractor)
        return self.values(features.expand(self.n_critics, -1, -1))


class DiscreteSACPolicy(BasePolicy):
    """Actor, critics, target critics, the temperature's logarithm and their one optimiser."""

    actor: Actor
    critic: Critics
    critic_target: Critics

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        n_critics: int = 2,
    ) -> None:
        """As stable-baselines3's ``SACPolicy``.

        Args:
            observation_space: anything but a Dict.
            action_space: its first action is 0.
            lr_schedule: of the remaining progress, 1 to 0.
            net_arch: units of the hidden layers, [64, 64] where it is None, or
                ``{"pi": [...], "qf": [...]}``.
            activation_fn: between layers.
            features_extractor_class: each network has one of its own.
            features_extractor_kwargs: for it.
            normalize_images: whether images are divided by 255.
            optimizer_class: of all parameters together; Adam runs fused unless told otherwise.
            optimizer_kwargs: for it, but for the learning rate.
            n_critics: at least 1.
        """
        if optimizer_kwargs is None and optimizer_class in (th.optim.Adam, th.optim.AdamW):
            optimizer_kwargs = {"fused": True}
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            normalize_images=normalize_images,
        )
        if n_critics < 1:
            raise InputError(f"n_critics is {n_critics}; there has to be at least 1")
        self.net_arch = [64, 64] if net_arch is None else net_arch
        self.activation_fn, self.n_critics = activation_fn, n_critics
        self._build(lr_schedule)

    def _build(self, lr_schedule: Schedule) -> None:
        actor_arch, critic_arch = get_actor_critic_arch(self.net_arch)
        shared = {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "activation_fn": self.activation_fn,
            "normalize_images": self.normalize_images,
        }
        critics = {**shared, "net_arch": critic_arch, "n_critics": self.n_critics}
        self.actor = Actor(**self._update_features_extractor({**shared, "net_arch": actor_arch}))
        self.critic = Critics(**self._update_features_extractor(critics))
        self.critic_target = Critics(**self._update_features_extractor(critics))
        self.critic_target.load_state_dict(self.critic.state_dict())
        self.critic_target.requires_grad_(False)
        self.critic_target.set_training_mode(False)
        self.log_ent_coef = nn.Parameter(th.zeros(()))
        self.optimizer = self.optimizer_class(
            [*self.actor.parameters(), *self.critic.parameters(), self.log_ent_coef],
            lr=lr_schedule(1),
            **self.optimizer_kwargs,
        )

    def forward(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return self._predict(observation, deterministic)

    def _predict(
        self,
        observation: Any,
        deterministic: bool = False,
        masks: th.Tensor | None = None,
    ) -> th.Tensor:
        return self.actor._predict(observation, deterministic, masks)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions for one observation or several; those that are invalid are never chosen.

        Args:
            observation: as the space has it, or (n, ...).
            state: passed on.
            episode_start: not used.
            deterministic: whether the most probable action is taken.
            action_masks: (A,) or (n, A), True where an action is valid; None: all are.

        Raises:
            InputError: the masks have another shape or leave no action.
        """
        if action_masks is None:
            return super().predict(observation, state, episode_start, deterministic)
        self.set_training_mode(False)
        tensor, several = self.obs_to_tensor(observation)
        assert isinstance(tensor, th.Tensor)
        masks = self._masks(action_masks, len(tensor))
        with th.no_grad():
            actions = self._predict(tensor, deterministic, masks).cpu().numpy()
        return (actions if several else actions.squeeze(axis=0)), state

    def act(
        self, observation: np.ndarray, masks: Masks
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Draw actions (n,), and tell the entropies (n,), in nats, that they were drawn with."""
        tensor, _ = self.obs_to_tensor(observation)
        with th.no_grad():
            drawn_from = self.actor(tensor, th.from_numpy(masks).to(self.device))
            actions = th.multinomial(drawn_from[0], 1).squeeze(1)
            entropies = entropy(*drawn_from)
        return actions.cpu().numpy(), entropies.cpu().numpy()

    def probabilities(
        self, observation: np.ndarray, action_masks: np.ndarray | None = None
    ) -> NDArray[np.float32]:
        """Of the actions, (n, A), for observations (n, ...); raises as ``predict`` does."""
        tensor, _ = self.obs_to_tensor(observation)
        assert isinstance(tensor, th.Tensor)
        masks = None if action_masks is None else self._masks(action_masks, len(tensor))
        with th.no_grad():
            found: NDArray[np.float32] = self.actor(tensor, masks)[0].cpu().numpy()
        return found

    def action_values(self, observation: np.ndarray) -> NDArray[np.float32]:
        """Of each critic, (C, n, A), for observations (n, ...); for invalid actions untrained."""
        tensor, _ = self.obs_to_tensor(observation)
        with th.no_grad():
            values: NDArray[np.float32] = self.critic(tensor).cpu().numpy()
        return values

    def _masks(self, given: np.ndarray, rows: int) -> th.Tensor:
        assert isinstance(self.action_space, spaces.Discrete)
        actions = int(self.action_space.n)
        masks = np.asarray(given, bool)
        if masks.size != rows * actions:
            raise InputError(
                f"action_masks of shape {masks.shape} do not fit {rows} observations and "
                f"{actions} actions"
            )
        masks = masks.reshape(rows, actions)
        if not masks.any(axis=1).all():
            raise InputError("action_masks leave no valid action")
        return th.from_numpy(masks).to(self.device)

    def set_training_mode(self, mode: bool) -> None:
        """For networks with dropout or normalisation; target critics never train."""
        self.actor.set_training_mode(mode)
        self.critic.set_training_mode(mode)
        self.training = mode

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "lr_schedule": self._dummy_schedule,
            "net_arch": self.net_arch,
            "activation_fn": self.activation_fn,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            "n_critics": self.n_critics,
        }


MlpPolicy = DiscreteSACPolicy
