"""What DiscreteSAC does about invalid actions: none is chosen, and all is stored as it was."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from sac_cases import ACTIONS, Bandit, Counting, made, mask_of
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from re_pose_ros.discrete_sac import DiscreteSAC, DiscreteSACPolicy, MasksInInfo, losses
from re_pose_ros.errors import InputError


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(before)


# What is invalid.


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_what_is_invalid_has_no_probability_and_no_part_in_any_sum(seed: int, share: float) -> None:
    th.manual_seed(seed)
    random = np.random.default_rng(seed)
    policy = DiscreteSACPolicy(
        gymnasium.spaces.Box(-1, 1, (3,)), gymnasium.spaces.Discrete(ACTIONS), lambda _: 1e-3
    )
    masks = random.random((5, ACTIONS)) < share
    masks[np.arange(5), random.integers(0, ACTIONS, 5)] = True
    observed = random.uniform(-1, 1, (5, 3)).astype(np.float32)
    chances = policy.probabilities(observed, masks)
    assert (chances[~masks] == 0).all() and (chances[masks] > 0).all()
    assert chances.sum(axis=1) == pytest.approx(np.ones(5))

    obs, valid = th.from_numpy(observed), th.from_numpy(masks)
    pair = policy.actor(obs, valid)
    values = th.from_numpy(random.normal(0, 1, (5, ACTIONS)).astype(np.float32))
    wild = th.where(valid, values, th.tensor(1e6))
    temperature = th.tensor(0.3)
    entropies = losses.entropy(*pair)
    found = losses.soft_values(wild, *pair, temperature)
    for row in range(5):
        own = chances[row][masks[row]].astype(np.float64)
        assert entropies[row].item() == pytest.approx(-(own * np.log(own)).sum(), abs=1e-5)
        expected = (own * (values[row].numpy()[masks[row]] - 0.3 * np.log(own))).sum()
        assert found[row].item() == pytest.approx(expected, abs=1e-4)
    (found.sum() + entropies.sum()).backward()
    assert all(th.isfinite(p.grad).all() for p in policy.actor.parameters())
    last = policy.actor.layers[-1].bias.grad.numpy()
    assert (last[~masks.any(axis=0)] == 0).all()


def test_invalid_actions_are_never_predicted() -> None:
    model = made()
    random = np.random.default_rng(0)
    observed = random.uniform(-1, 1, (200, 3)).astype(np.float32)
    masks = random.random((200, ACTIONS)) < 0.2
    masks[:, 3] = True
    for deterministic in (True, False):
        actions, _ = model.predict(observed, deterministic=deterministic, action_masks=masks)
        assert masks[np.arange(200), actions].all()
    drawn = {int(model.predict(observed[0], action_masks=masks[0])[0]) for _ in range(300)}
    assert drawn == set(np.flatnonzero(masks[0]))


def test_predictions_have_the_shape_of_what_is_observed() -> None:
    model = made()
    one, _ = model.predict(np.zeros(3, np.float32), action_masks=np.ones(ACTIONS, bool))
    plain, _ = model.predict(np.zeros(3, np.float32))
    assert one.shape == plain.shape == ()
    for masks in (None, np.ones((4, ACTIONS), bool)):
        several, state = model.predict(np.zeros((4, 3), np.float32), action_masks=masks)
        assert several.shape == (4,) and several.dtype == np.int64 and state is None


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.ones(ACTIONS - 1, bool), "do not fit 1 observations"),
        (np.ones((2, ACTIONS), bool), "do not fit 1 observations"),
        (np.zeros(ACTIONS, bool), "no valid action"),
    ],
)
def test_masks_have_to_fit(masks: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made().predict(np.zeros(3, np.float32), action_masks=masks)


# What is stored.


def stored_masks_fit(model: DiscreteSAC) -> None:
    """Both masks of each transition are those of its observations; ends are told apart."""
    buffer = model.replay_buffer
    rows = buffer.size()
    observed, following = buffer.observations[:rows], buffer.next_observations[:rows]
    for number in range(buffer.n_envs):
        own = [observed[:, number], following[:, number]]
        found = [buffer.masks[:rows, number], buffer.next_masks[:rows, number]]
        for observations, masks in zip(own, found, strict=True):
            assert (masks == [mask_of(one) for one in observations]).all()
        last = own[1][:, 2] >= 3 + number
        assert (last == buffer.dones[:rows, number].astype(bool)).all()
        cut = last & (own[1][:, 1] % 2 == 0)
        assert (cut == buffer.timeouts[:rows, number].astype(bool)).all() and cut.any()
        valid = np.take_along_axis(found[0], buffer.actions[:rows, number], axis=1)
        assert valid.all()


def test_masks_of_both_states_are_stored_through_ends_and_time_limits() -> None:
    env = DummyVecEnv([partial(Counting, number) for number in range(3)])
    model = made(env, gradient_steps=0)
    model.learn(150)
    stored_masks_fit(model)
    model.learn(60, reset_num_timesteps=False)
    stored_masks_fit(model)
    samples = model.replay_buffer.sample(64)
    for observations, masks in (
        (samples.observations, samples.masks),
        (samples.next_observations, samples.next_masks),
    ):
        expected = [mask_of(one) for one in observations.numpy()]
        assert (masks.numpy() == expected).all()
    ended = samples.next_observations[:, 2] >= 3 + samples.next_observations[:, 0]
    odd = samples.next_observations[:, 1] % 2 == 1
    assert (samples.dones[:, 0].bool() == (ended & odd)).all()


def wrapped_counting(number: int) -> gymnasium.Env[Any, Any]:
    return MasksInInfo(Counting(number))


def test_other_processes_tell_masks_in_the_infos() -> None:
    env = SubprocVecEnv([partial(wrapped_counting, number) for number in range(2)], "fork")
    try:
        model = made(env, gradient_steps=0)
        model.learn(60)
        stored_masks_fit(model)
    finally:
        env.close()


def test_other_processes_that_do_not_are_told_how() -> None:
    env = SubprocVecEnv([partial(Counting, 0)], "fork")
    try:
        with pytest.raises(InputError, match="MasksInInfo"):
            made(env).learn(10)
    finally:
        env.close()


@pytest.mark.parametrize(
    ("mask", "words"), [([True] * 3, f"{ACTIONS} booleans"), ([False] * ACTIONS, "no valid action")]
)
def test_an_environment_has_to_give_usable_masks(mask: list[bool], words: str) -> None:
    class Wrong(Bandit):
        def action_masks(self) -> Any:
            return mask if self._steps else super().action_masks()

    with pytest.raises(InputError, match=words):
        made(Wrong()).learn(10)


def test_the_entropy_that_actions_were_drawn_with_is_stored() -> None:
    model = made(learning_starts=30, gradient_steps=0)
    model.learn(60)
    buffer = model.replay_buffer
    masks, observed = buffer.masks[:60, 0], buffer.observations[:60, 0]
    assert buffer.entropies[:30, 0] == pytest.approx(np.log(masks[:30].sum(axis=1)), abs=1e-6)
    chances = model.policy.probabilities(observed, masks).astype(np.float64)
    logs = np.log(chances, where=masks, out=np.zeros_like(chances))
    assert buffer.entropies[30:60, 0] == pytest.approx(-(chances * logs).sum(1)[30:], abs=1e-5)
