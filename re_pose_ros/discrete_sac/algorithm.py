"""Discrete Soft Actor-Critic as a stable-baselines3 algorithm."""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv
from torch.optim.swa_utils import get_ema_multi_avg_fn

from re_pose_ros.discrete_sac import losses
from re_pose_ros.discrete_sac.buffer import MaskedReplayBuffer, MaskedSamples
from re_pose_ros.discrete_sac.masks import (
    Masks,
    action_masks,
    has_masks,
    masks_after,
    put_masks_in_info,
)
from re_pose_ros.discrete_sac.policies import Actor, Critics, DiscreteSACPolicy, MlpPolicy
from re_pose_ros.errors import InputError

Own = TypeVar("Own", bound="DiscreteSAC")


class DiscreteSAC(OffPolicyAlgorithm):
    """Soft Actor-Critic for discrete actions, some of which may be invalid in a state.

    With A(s) the valid actions, pi(a|s) = 0 for all others, H the entropy of pi(.|s) in nats,
    temperature alpha, and every expectation over actions taken exactly::

        value        V(s) = sum_a pi(a|s) [Q(s,a) - alpha log pi(a|s)]
        target       y = r + gamma (1 - d) V'(s'), with the target critics; y = r where gamma is 0
        critics      J_Q = sum_i E[(Q_i(s,a) - y)^2] / 2, or with Q-clip, see losses.critic_loss
        actor        J_pi = E[sum_a pi(a|s) (alpha log pi(a|s) - Q(s,a)) + beta (H_b - H)^2 / 2]
        temperature  J_alpha = E[log alpha (H - f log |A(s)|)], alpha kept in its bounds
        targets      Q_i' <- (1 - tau) Q_i' + tau Q_i

    Q is the mean of the critics, or their minimum; H_b the entropy of the policy when it acted.

    Sources. Value, actor and temperature in this form: P. Christodoulou, "Soft Actor-Critic for
    Discrete Action Settings", arXiv 1910.07207 (2019), with f = 0.98. Averaged critics, Q-clip and
    the entropy penalty beta: H. Zhou et al., "Revisiting Discrete Soft Actor-Critic" (SD-SAC),
    arXiv 2209.10081 (2022). That a constant, high target entropy hurts and is better lowered while
    training: Y. Xu et al., "Target Entropy Annealing for Discrete Soft Actor-Critic", arXiv
    2112.02852 (2021), whose schedule adapts itself, while here f may be any function of the
    progress. Choosing exit, partition point and bits by discrete SAC: T. Niu, Y. Teng, Z. Han and
    P. Zou, "An Adaptive Device-Edge Co-Inference Framework Based on Soft Actor-Critic", arXiv
    2201.02968 (2022).

    Ours: a target entropy that counts the valid actions of each state, so that a state which leaves
    no choice asks for log 1 = 0; the bounds of alpha; one optimiser for all, with all gradients
    taken at the same parameters. log alpha in its objective, in place of alpha, is what
    stable-baselines3 does.

    What is not explained here is as for stable-baselines3's SAC.

    Args:
        policy: ``"MlpPolicy"`` or a class like it.
        env: with a discrete action space, from action 0 on; if it has ``action_masks()``, that
            tells what is valid.
        learning_rate: of actor, critics and temperature.
        buffer_size: transitions.
        learning_starts: steps of valid actions, each as probable, before learning.
        batch_size: transitions per gradient step.
        tau: share of the critics in their targets, per gradient step.
        gamma: discount, 0 to 1; 0 for a contextual bandit.
        train_freq: steps between trainings.
        gradient_steps: per training; -1 for as many as there were steps.
        ent_coef: temperature, in units of reward: ``"auto"`` learns it from 1 on,
            ``"auto_0.1"`` from 0.1 on; a number stays.
        ent_coef_bounds: least and greatest temperature that is learned.
        target_entropy_fraction: f, 0 to 1, of the greatest entropy in a state; or a function
            of the remaining progress, 1 to 0. High ones drive the temperature to its bound and
            cost reward where there are many actions; a falling one tries much first and chooses
            well later.
        critics_combined: ``"average"`` or ``"min"``.
        q_clip: in units of return; None: no Q-clip.
        entropy_penalty: beta.
        stats_window_size: episodes that logged means are taken over.
        tensorboard_log: folder.
        policy_kwargs: for ``DiscreteSACPolicy``, as net_arch and activation_fn.
        verbose: 0 to 2.
        seed: of everything random.
        device: of the networks.

    Raises:
        InputError: a setting is out of its range, or the actions do not begin at 0.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MlpPolicy}
    action_space: spaces.Discrete
    policy: DiscreteSACPolicy
    actor: Actor
    critic: Critics
    critic_target: Critics
    replay_buffer: MaskedReplayBuffer

    def __init__(
        self,
        policy: str | type[DiscreteSACPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        buffer_size: int = 100_000,
        learning_starts: int = 1000,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        ent_coef: float | str = "auto",
        ent_coef_bounds: tuple[float, float] = (1e-3, 10.0),
        target_entropy_fraction: float | Schedule = 0.5,
        critics_combined: str = "average",
        q_clip: float | None = None,
        entropy_penalty: float = 0.0,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size,
            learning_starts,
            batch_size,
            tau,
            gamma,
            train_freq,
            gradient_steps,
            replay_buffer_class=MaskedReplayBuffer,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.Discrete,),
            support_multi_env=True,
        )
        self.ent_coef, self.ent_coef_bounds = ent_coef, ent_coef_bounds
        self.target_entropy_fraction = target_entropy_fraction
        self.critics_combined, self.q_clip = critics_combined, q_clip
        self.entropy_penalty = entropy_penalty
        self._last_masks: Masks = np.ones((0, 0), bool)
        self._last_entropies = np.zeros(0, np.float32)
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        wrapped = OffPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        put_masks_in_info(wrapped)
        return wrapped

    def _setup_model(self) -> None:
        self._check()
        super()._setup_model()
        self.actor, self.critic = self.policy.actor, self.policy.critic
        self.critic_target = self.policy.critic_target
        self._fraction = FloatSchedule(self.target_entropy_fraction)
        start, learned = _temperature(self.ent_coef)
        with th.no_grad():
            self.policy.log_ent_coef.fill_(math.log(start) if start > 0 else -math.inf)
        self.policy.log_ent_coef.requires_grad_(learned)
        self._log_bounds = tuple(math.log(bound) for bound in self.ent_coef_bounds)
        counts = th.arange(int(self.action_space.n) + 1, dtype=th.float32, device=self.device)
        self._greatest_entropies = counts.clamp(min=1).log()
        self._move = get_ema_multi_avg_fn(1 - self.tau)
        self._moved = list(self.critic_target.parameters())
        self._followed = list(self.critic.parameters())

    def _check(self) -> None:
        assert isinstance(self.action_space, spaces.Discrete)
        if self.action_space.start != 0:
            raise InputError(f"actions begin at {self.action_space.start}; let them begin at 0")
        if isinstance(self.observation_space, spaces.Dict):
            raise InputError("observations are a Dict; gymnasium's FlattenObservation joins them")
        low, high = self.ent_coef_bounds
        if not 0 < low <= high < math.inf:
            raise InputError(f"ent_coef_bounds {low}, {high} are no range of positive numbers")
        start, learned = _temperature(self.ent_coef)
        if learned and not low <= start <= high:
            raise InputError(f"ent_coef starts at {start}, outside its bounds {low} to {high}")
        fraction = self.target_entropy_fraction
        if not callable(fraction) and not 0 <= fraction <= 1:
            raise InputError(f"target_entropy_fraction {fraction} is not between 0 and 1")
        if self.critics_combined not in ("average", "min"):
            raise InputError(f"critics_combined '{self.critics_combined}' is not average or min")
        if self.q_clip is not None and not self.q_clip > 0:
            raise InputError(f"q_clip {self.q_clip} is not positive; None switches it off")
        if not self.entropy_penalty >= 0:
            raise InputError(f"entropy_penalty {self.entropy_penalty} is negative")
        if not 0 <= self.gamma <= 1:
            raise InputError(f"gamma {self.gamma} is not between 0 and 1")

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        steps, callbacks = super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        assert self.env is not None
        self._masked = has_masks(self.env)
        shape = (self.env.num_envs, int(self.action_space.n))
        self._last_masks = action_masks(self.env) if self._masked else np.ones(shape, bool)
        return steps, callbacks

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        masks = self._last_masks
        if self.num_timesteps < learning_starts:
            actions = np.where(masks, np.random.random(masks.shape), -1).argmax(axis=1)
            self._last_entropies = np.log(masks.sum(axis=1, dtype=np.float32))
        else:
            assert isinstance(self._last_obs, np.ndarray)
            actions, self._last_entropies = self.policy.act(self._last_obs, masks)
        return actions, actions

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        assert isinstance(replay_buffer, MaskedReplayBuffer) and self.env is not None
        masks = self._last_masks
        if self._masked:
            following = masks_after(infos, dones, masks.shape[1])
            self._last_masks = following.copy()
            reset = np.flatnonzero(dones)
            if len(reset):
                self._last_masks[reset] = action_masks(self.env, reset)
            replay_buffer.announce(masks, following, self._last_entropies)
        else:
            replay_buffer.announce(masks, masks, self._last_entropies)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)

    def train(self, gradient_steps: int, batch_size: int = 256) -> None:
        """Take gradient steps on transitions of the replay buffer, and log their means."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        fraction = self._fraction(self._current_progress_remaining)
        records = [
            self._gradient_step(
                self.replay_buffer.sample(batch_size, env=self._vec_normalize_env), fraction
            )
            for _ in range(gradient_steps)
        ]
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if records:
            names = ("critic_loss", "actor_loss", "ent_coef", "entropy", "target_entropy")
            for name, value in zip(names, np.mean(records, axis=0), strict=True):
                self.logger.record(f"train/{name}", float(value))

    def _gradient_step(self, samples: MaskedSamples, fraction: float) -> tuple[float, ...]:
        """Losses, temperature, entropy and its target, in the order in which they are logged."""
        policy, log_ent_coef = self.policy, self.policy.log_ent_coef
        logits, values = self.actor.logits(samples.observations), self.critic(samples.observations)
        chosen = samples.actions.expand(len(values), -1, 1)
        taken = values.gather(2, chosen).squeeze(2)
        with th.no_grad():
            ent_coef = log_ent_coef.exp()
            chances = losses.chances(logits, samples.masks)
            entropies = losses.entropy(*chances)
            wanted = fraction * self._greatest_entropies[samples.masks.sum(dim=1)]
            combined = losses.combined(values, self.critics_combined)
            actor_loss = -losses.soft_values(combined, *chances, ent_coef).mean()
            # See losses.actor_gradient for what the entropy penalty comes to.
            temperatures = ent_coef + self.entropy_penalty * (samples.entropies - entropies)
            gradient = losses.actor_gradient(combined, *chances, temperatures[:, None])
            targets = self._targets(samples, ent_coef)
            before = None
            if self.q_clip is not None:
                before = self.critic_target(samples.observations).gather(2, chosen).squeeze(2)
        critic_loss = losses.critic_loss(taken, targets, before, self.q_clip)
        policy.optimizer.zero_grad()
        th.autograd.backward([critic_loss, logits], [None, gradient / len(gradient)])
        if log_ent_coef.requires_grad:
            log_ent_coef.grad = (entropies - wanted).mean()
        policy.optimizer.step()
        with th.no_grad():
            if log_ent_coef.requires_grad:
                log_ent_coef.clamp_(*self._log_bounds)
            self._move(self._moved, self._followed, None)
        means = (entropies.mean(), wanted.mean())
        return tuple(one.item() for one in (critic_loss, actor_loss, ent_coef, *means))

    def _targets(self, samples: MaskedSamples, ent_coef: th.Tensor) -> th.Tensor:
        """Targets y of the critics, (B,)."""
        rewards = samples.rewards.squeeze(1)
        if self.gamma == 0:
            return rewards
        chances: losses.Chances = self.actor(samples.next_observations, samples.next_masks)
        values = self.critic_target(samples.next_observations)
        combined = losses.combined(values, self.critics_combined)
        following = losses.soft_values(combined, *chances, ent_coef)
        return rewards + self.gamma * (1 - samples.dones.squeeze(1)) * following

    def learn(
        self: Own,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "DiscreteSAC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Own:
        """As every algorithm of stable-baselines3; raises InputError for unusable masks."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """As ``DiscreteSACPolicy.predict``; without masks, every action counts as valid."""
        return self.policy.predict(
            observation, state, episode_start, deterministic, action_masks=action_masks
        )

    def _excluded_save_params(self) -> list[str]:
        networks = ["actor", "critic", "critic_target", "_move", "_moved", "_followed"]
        passing = ["_greatest_entropies", "_last_masks", "_last_entropies"]
        return [*super()._excluded_save_params(), *networks, *passing]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []


def _temperature(ent_coef: float | str) -> tuple[float, bool]:
    """The temperature at the start and whether it is learned; InputError for anything else."""
    learned = isinstance(ent_coef, str) and ent_coef.startswith("auto")
    text = str(ent_coef).removeprefix("auto").removeprefix("_") or "1"
    try:
        start = float(text)
    except ValueError:
        start = math.nan
    if not (start > 0 or (start == 0 and not learned)) or math.isinf(start):
        raise InputError(f"ent_coef '{ent_coef}' is no temperature; expected 0.1, auto, auto_0.1")
    return start, learned
