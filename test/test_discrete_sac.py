"""DiscreteSAC: its terms, its place in stable-baselines3, and what it saves and exports."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import sac_cases as cases
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from sac_cases import ACTIONS, Bandit, made, vector
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from re_pose_ros.discrete_sac import (
    DiscreteSAC,
    DiscreteSACPolicy,
    MaskedPredictor,
    action_masks,
    actor_arrays,
    losses,
)
from re_pose_ros.errors import InputError


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(before)


# The losses.


def test_critics_are_combined_and_clipped_as_told() -> None:
    values = th.tensor([[[1.0, 5.0]], [[3.0, 2.0]]])
    assert losses.combined(values, "min").tolist() == [[1, 2]]
    assert losses.combined(values, "average").tolist() == [[2, 3.5]]
    taken, targets = th.tensor([[0.0, 3.0], [1.0, 1.0]]), th.tensor([1.0, 1.0])
    assert float(losses.critic_loss(taken, targets, None, None)) == pytest.approx(0.25 + 1)
    before = th.tensor([[-2.0, 0.0], [1.0, 1.0]])
    # Held within 0.5 of before, 0 becomes -1.5, farther off; 3 becomes 0.5, and 3 itself counts.
    clipped = losses.critic_loss(taken, targets, before, 0.5)
    assert float(clipped) == pytest.approx(0.25 * (2.5**2 + 2**2))


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_targets_are_those_of_the_equation(discount: float) -> None:
    model = made(env=vector(Bandit, 2), gamma=discount, critics_combined="min")
    model.learn(80)
    samples = model.replay_buffer.sample(40)
    temperature = th.tensor(0.7)
    with th.no_grad():
        targets = model._targets(samples, temperature)
    following = samples.next_observations.numpy()
    chances = model.policy.probabilities(following, samples.next_masks.numpy()).astype(np.float64)
    with th.no_grad():
        values = model.critic_target(samples.next_observations).numpy().min(axis=0)
    logs = np.log(chances, where=chances > 0, out=np.zeros_like(chances))
    soft = (chances * (values - 0.7 * logs)).sum(axis=1)
    goes_on = 1 - samples.dones.numpy()[:, 0]
    expected = samples.rewards.numpy()[:, 0] + discount * goes_on * soft
    assert targets.numpy() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_the_actors_gradient_is_that_of_its_loss(seed: int, penalty: float) -> None:
    random = np.random.default_rng(seed)
    logits = th.from_numpy(random.normal(0, 2, (5, ACTIONS))).requires_grad_()
    masks = th.from_numpy(random.random((5, ACTIONS)) < 0.5)
    masks[:, 0] = True
    values, acted = th.from_numpy(random.normal(0, 1, (5, ACTIONS))), th.tensor([0.5])
    pair = losses.chances(logits, masks)
    entropies = losses.entropy(*pair)
    change = 0.5 * penalty * (acted - entropies).square()
    (change - losses.soft_values(values, *pair, th.tensor(0.3))).sum().backward()
    temperatures = 0.3 + penalty * (acted - entropies.detach())
    found = losses.actor_gradient(values, *(p.detach() for p in pair), temperatures[:, None])
    assert found.numpy() == pytest.approx(logits.grad.numpy(), abs=1e-6)
    assert (found[~masks] == 0).all()


# The temperature.


def test_a_state_without_a_choice_leaves_everything_finite() -> None:
    class Single(Bandit):
        def _draw(self) -> np.ndarray:
            context = super()._draw()
            self.valid = np.arange(ACTIONS) == 4
            return context

    model = made(Single(), target_entropy_fraction=0.98)
    model.learn(120)
    assert model.logger.name_to_value["train/target_entropy"] == 0
    assert model.logger.name_to_value["train/entropy"] == 0
    assert model.policy.log_ent_coef.exp().item() == pytest.approx(1)
    assert all(th.isfinite(parameter).all() for parameter in model.policy.parameters())


@pytest.mark.parametrize(("fraction", "bound"), [(0.0, 0), (1.0, 1)])
def test_the_temperature_stays_in_its_bounds(fraction: float, bound: int) -> None:
    bounds = (0.5, 1.5)
    model = made(
        learning_rate=0.05, ent_coef_bounds=bounds, target_entropy_fraction=fraction, gamma=0.0
    )
    found = []
    for _ in range(4):
        model.learn(60, reset_num_timesteps=False)
        found.append(model.policy.log_ent_coef.exp().item())
    assert all(0.4999 <= value <= 1.5001 for value in found)
    assert found[-1] == pytest.approx(bounds[bound], abs=1e-4)


def test_a_temperature_that_is_given_stays() -> None:
    model = made(ent_coef=0.2)
    model.learn(80)
    assert model.policy.log_ent_coef.exp().item() == pytest.approx(0.2)
    with pytest.raises(InputError, match="outside its bounds"):
        made(ent_coef="auto_20")
    assert made(ent_coef="auto_0.25").policy.log_ent_coef.exp().item() == pytest.approx(0.25)


def test_the_target_entropy_may_change_with_the_progress() -> None:
    model = made(target_entropy_fraction=lambda left: 0.9 * left)
    seen = []

    def note(local: dict[str, Any], _: dict[str, Any]) -> bool:
        seen.append(local["self"].logger.name_to_value.get("train/target_entropy"))
        return True

    model.learn(100, callback=note)
    targets = [value for value in seen if value is not None]
    assert targets[0] > 4 * targets[-1] > 0


# Its place in stable-baselines3.


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ent_coef": "automatic"}, "ent_coef 'automatic'"),
        ({"ent_coef": -1.0}, "ent_coef '-1.0'"),
        ({"ent_coef_bounds": (0.0, 1.0)}, "ent_coef_bounds"),
        ({"ent_coef_bounds": (2.0, 1.0)}, "ent_coef_bounds"),
        ({"target_entropy_fraction": 1.5}, "target_entropy_fraction 1.5"),
        ({"critics_combined": "max"}, "critics_combined 'max'"),
        ({"q_clip": 0.0}, "q_clip 0.0"),
        ({"entropy_penalty": -0.1}, "entropy_penalty -0.1"),
        ({"gamma": 1.2}, "gamma 1.2"),
        ({"policy_kwargs": {"n_critics": 0}}, "n_critics is 0"),
    ],
)
def test_settings_have_their_limits(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(**wrong)


def test_the_same_seed_learns_the_same_and_another_does_not() -> None:
    def learned(seed: int) -> np.ndarray:
        model = made(vector(Bandit, 2), seed=seed, q_clip=0.5, entropy_penalty=0.5)
        return model.learn(120).policy.parameters_to_vector()

    first, again, other = learned(3), learned(3), learned(4)
    assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize("count", [1, 3])
def test_it_learns_on_vectorised_environments(count: int) -> None:
    env = vector(Bandit, count)
    model = made(env, train_freq=2, gradient_steps=-1).learn(120)
    assert model.num_timesteps >= 120 and model._n_updates > 0
    observed = env.reset()
    actions, _ = model.predict(observed, action_masks=action_masks(env))
    assert actions.shape == (count,)
    env.step(actions)
    mean, _ = evaluate_policy(MaskedPredictor(model, env), env, 4, warn=False)
    assert np.isfinite(mean)


def test_environments_without_masks_and_normalised_ones() -> None:
    model = made("CartPole-v1").learn(80)
    assert model.replay_buffer.masks[:80].all()
    mean, _ = evaluate_policy(model, model.get_env(), 2)
    assert mean >= 1
    normalised = VecNormalize(vector(Bandit, 2))
    assert made(normalised).learn(80).num_timesteps >= 80


def test_callbacks_and_the_logger_work(tmp_path: Path) -> None:
    model = made("CartPole-v1")
    evaluation = EvalCallback(gymnasium.make("CartPole-v1"), eval_freq=40, verbose=0, warn=False)
    model.learn(100, callback=[CheckpointCallback(50, str(tmp_path)), evaluation], log_interval=1)
    assert len(list(tmp_path.glob("*.zip"))) == 2
    assert np.isfinite(evaluation.last_mean_reward)
    stopped = model.learn(100, callback=lambda *_: False)
    assert stopped.num_timesteps == 1


def test_networks_are_as_told() -> None:
    kwargs = {"net_arch": {"pi": [8], "qf": [5, 6]}, "activation_fn": th.nn.Tanh, "n_critics": 3}
    model = made(policy_kwargs=kwargs)
    assert [type(layer) for layer in model.actor.layers] == [th.nn.Linear, th.nn.Tanh, th.nn.Linear]
    values = model.policy.action_values(np.zeros((2, 3), np.float32))
    assert values.shape == (3, 2, ACTIONS) and (values[0] != values[1]).any()
    assert [tuple(p.shape) for n, p in model.critic.named_parameters() if "weight" in n] == [
        (3, 3, 5),
        (3, 5, 6),
        (3, 6, ACTIONS),
    ]
    model.learn(60)


def test_what_was_saved_predicts_the_same_and_goes_on(tmp_path: Path) -> None:
    model = made(vector(Bandit, 2)).learn(150)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    env = vector(Bandit, 2)
    loaded = DiscreteSAC.load(tmp_path / "model", env, device="cpu")
    observed = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    masks = np.random.default_rng(1).random((50, ACTIONS)) < 0.5
    masks[:, 0] = True
    for given_masks in ({}, {"action_masks": masks}):
        pair = [m.predict(observed, deterministic=True, **given_masks)[0] for m in (model, loaded)]
        assert (pair[0] == pair[1]).all()
    assert (loaded.policy.action_values(observed) == model.policy.action_values(observed)).all()
    assert (loaded.policy.parameters_to_vector() == model.policy.parameters_to_vector()).all()
    loaded.load_replay_buffer(tmp_path / "buffer")
    for one in (model, loaded):
        one.set_logger(model.logger)
        np.random.seed(7)
        one.train(5, 32)
    assert (loaded.policy.parameters_to_vector() == model.policy.parameters_to_vector()).all()
    assert loaded.learn(60, reset_num_timesteps=False).num_timesteps >= 210
    alone = DiscreteSAC.load(tmp_path / "model", device="cpu")
    assert alone.predict(observed[0], action_masks=masks[0])[0] in np.flatnonzero(masks[0])


def test_the_policy_is_saved_alone_too(tmp_path: Path) -> None:
    policy = made().policy
    policy.save(str(tmp_path / "policy"))
    loaded = DiscreteSACPolicy.load(str(tmp_path / "policy"), device="cpu")
    assert (loaded.parameters_to_vector() == policy.parameters_to_vector()).all()


# The export.


def logits(arrays: dict[str, np.ndarray], observed: np.ndarray) -> np.ndarray:
    act = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[str(arrays["activation"])]
    layers = sum(name.endswith("weight") for name in arrays)
    for k in range(layers):
        observed = observed @ arrays[f"actor.{k}.weight"].T + arrays[f"actor.{k}.bias"]
        observed = act(observed) if k < layers - 1 else observed
    return observed


@pytest.mark.parametrize("activation", [th.nn.ReLU, th.nn.Tanh])
@pytest.mark.parametrize("net_arch", [[], [9], [8, 7]])
def test_numpy_prefers_what_the_actor_does(net_arch: list[int], activation: type) -> None:
    model = made(policy_kwargs={"net_arch": net_arch, "activation_fn": activation}).learn(60)
    file = io.BytesIO()
    np.savez(file, **actor_arrays(model))
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    assert all(a.dtype == np.float32 for name, a in arrays.items() if name != "activation")
    observed = np.random.default_rng(0).uniform(-1, 1, (100, 3)).astype(np.float32)
    weights = np.exp(logits(arrays, observed))
    expected = model.policy.probabilities(observed)
    assert weights / weights.sum(axis=1, keepdims=True) == pytest.approx(expected, abs=1e-5)


def test_what_numpy_could_not_run_is_not_exported() -> None:
    with pytest.raises(InputError, match="flat real observations"):
        actor_arrays(made(cases.Walk(cases.problem(0))))
    with pytest.raises(InputError, match="VecNormalize"):
        actor_arrays(made(VecNormalize(vector(Bandit, 1))))
    with pytest.raises(InputError, match="neither ReLU nor Tanh"):
        actor_arrays(made(policy_kwargs={"net_arch": [4], "activation_fn": th.nn.GELU}))


@pytest.mark.parametrize("package", ["stable_baselines3", "gymnasium", "torch"])
def test_one_line_says_what_is_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("re_pose_ros.discrete_sac"):
            monkeypatch.delitem(sys.modules, name)
        elif name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"needs {package}: pip install") as caught:
        importlib.import_module("re_pose_ros.discrete_sac")
    assert "\n" not in str(caught.value)
