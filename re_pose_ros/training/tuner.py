"""Train tuners: discrete Soft Actor-Critic, and those of stable-baselines3 beside it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from re_pose_ros.errors import InputError
from re_pose_ros.training import tuner_start
from re_pose_ros.training.tuner_task import VARIANTS, Task, training_terms
from re_pose_ros.tuning import episodes
from re_pose_ros.tuning.environment import TuningVecEnv
from re_pose_ros.tuning.policy import Policy, save_policy
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.rules import Chooser, Within

ALGORITHMS = ("sac_d", "dqn", "ppo")

ENVIRONMENTS, HIDDEN = 64, (128, 128)
_RANDOM_STEPS = 4096
_VALUES_LONGER = 4
"""Batches of the start for the values over those for the policy. Values that fit less well lead the
policy away from a start that is better than they know."""
_SEEDS_EACH = 1000  # of one training
_WATCHED = (240, 129)  # traces and blocks that curves are measured on
_WATCH_SEED = 700_000_000


@dataclass(frozen=True, slots=True)
class TunerTraining:
    """What determines a trained tuner, but for the arithmetic of the machine.

    Attributes:
        algorithm: of ``ALGORITHMS``.
        seed: of the first weights and of what is drawn, 0 to 100000.
        steps: blocks of all environments together.
        start: batches of ``tuner_start`` for the policy before that; 0 for no start.
        gamma: discount of rewards of later blocks, 0 to 1.
        entropy: of sac_d: target entropy at the start, as a share of the greatest; it falls to a
            tenth of that.
        variant: of ``tuner_task.VARIANTS``.
        recorded: digest of the recordings among the task's links and loads; empty for none.
        kept_every: steps from checkpoint to checkpoint.

    Raises InputError for a value that cannot be used.
    """

    algorithm: str = "sac_d"
    seed: int = 0
    steps: int = 32_768
    start: int = 1000
    gamma: float = 0.0
    entropy: float = 0.1
    variant: str = ""
    recorded: str = ""
    kept_every: int = 8192

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"'{self.algorithm}' is unknown; known: {', '.join(ALGORITHMS)}")
        if self.variant not in VARIANTS:
            raise InputError(f"variant '{self.variant}' is none of {', '.join(VARIANTS[1:])}")
        if not 0 <= self.seed <= 100_000:
            raise InputError(f"seed {self.seed} is not between 0 and 100000")
        if self.steps < 0 or self.start < 0 or self.kept_every < ENVIRONMENTS:
            raise InputError(f"steps and start are at least 0, kept_every at least {ENVIRONMENTS}")
        if not (0 <= self.gamma <= 1 and 0 <= self.entropy <= 1):
            raise InputError("gamma and entropy are between 0 and 1")

    @property
    def parts(self) -> int:
        """Checkpoints."""
        return -(-self.steps // self.kept_every)

    def drawn(self, part: int) -> int:
        """Seed of what is drawn in a part from 1 on; of the start in part 0."""
        return self.seed * _SEEDS_EACH + part


def name_of(training: TunerTraining) -> str:
    """File name of a training: its algorithm, what is not as usual, its seed."""
    usual, own = asdict(TunerTraining()), asdict(training)
    changed = [
        f"{key}_{own[key]}" if key != "variant" else str(own[key])
        for key in own
        if key not in ("algorithm", "seed") and own[key] != usual[key]
    ]
    return "-".join([training.algorithm, *changed, f"seed{training.seed}"])


def chooser_of(path: Path, task: Task) -> Chooser:
    """A trained policy among all settings of a task; InputError where it does not fit."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            known = set(arrays["settings"].tolist())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"the tuner's policy {path} cannot be read: {error}") from error
    part = task.table.only(lambda setting: str(setting) in known)
    return Within(Policy.load(path, part), part, task.table)


def train_tuner(training: TunerTraining, task: Task, folder: Path) -> Path:
    """Train one; what was interrupted goes on, what is there already is not trained anew.

    Leaves ``<name>.npz`` for ``tuning.policy``, the best of all checkpoints but the start on traces
    that nothing else uses, and ``<name>.json`` with its curve.

    Raises InputError where the folder cannot be written.
    """
    path = folder / f"{name_of(training)}.npz"
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
    import torch

    torch.set_num_threads(1)
    env = TuningVecEnv(task.part, ENVIRONMENTS, task.scenarios, training_terms())
    best = path.with_name(f"{path.stem}.best.npz")
    model, part, curve = _restored(training, env, task, path)
    with tqdm(
        total=training.parts, initial=part, desc=path.stem, unit="part", disable=None
    ) as progress:
        while True:
            steps = min(part * training.kept_every, training.steps)
            curve.append(_point(model, task, steps))
            rivals = curve[1:] or curve[training.parts :]
            if rivals and curve[-1]["learned_for"] == max(p["learned_for"] for p in rivals):
                save_policy(best, policy_arrays(model), task.part)
            _keep(model, training, path, part, curve)
            progress.set_postfix(regret=f"{curve[-1]['regret_pct']:.2f}%")
            if part == training.parts:
                break
            part += 1
            _learn(model, training, part)
            progress.update()
    best.replace(path)
    for left in path.parent.glob(f"{path.stem}.*.zip"):
        left.unlink()
    for left in path.parent.glob(f"{path.stem}.*.pkl"):
        left.unlink()
    return path


def policy_arrays(model: Any) -> dict[str, Any]:
    """The layers that choose, of any of the algorithms, for ``tuning.policy``."""
    from re_pose_ros.discrete_sac import DiscreteSAC, actor_arrays

    if isinstance(model, DiscreteSAC):
        return actor_arrays(model)
    layers = _choosing_layers(model)
    arrays: dict[str, Any] = {"activation": np.array(type(layers[1]).__name__.lower())}
    for k, layer in enumerate(layers[::2]):
        arrays[f"actor.{k}.weight"] = layer.weight.detach().cpu().numpy().copy()
        arrays[f"actor.{k}.bias"] = layer.bias.detach().cpu().numpy().copy()
    return arrays


def _choosing_layers(model: Any) -> list[Any]:
    policy = model.policy
    if hasattr(policy, "q_net"):
        return list(policy.q_net.q_net)
    return [*policy.mlp_extractor.policy_net, policy.action_net]


@dataclass(frozen=True, slots=True)
class Falling:
    """A schedule in a line from ``first`` to a share of it, by the progress that remains."""

    first: float
    share: float = 0.05

    def __call__(self, left: float) -> float:
        return self.first * (self.share + (1 - self.share) * max(left, 0.0))


def _fresh(training: TunerTraining, env: TuningVecEnv) -> Any:
    import torch
    from stable_baselines3 import DQN, PPO

    from re_pose_ros.discrete_sac import DiscreteSAC

    activation = torch.nn.Tanh if training.start else torch.nn.ReLU
    network = {"net_arch": list(HIDDEN), "activation_fn": activation}
    shared: dict[str, Any] = {
        "env": env,
        "gamma": training.gamma,
        "seed": training.drawn(0),
        "device": "cpu",
        "policy_kwargs": network,
    }
    if training.algorithm == "ppo":
        return PPO(
            "MlpPolicy",
            learning_rate=Falling(7e-4),
            n_steps=64,
            batch_size=1024,
            n_epochs=6,
            gae_lambda=0.9,
            ent_coef=0.002,
            **shared,
        )
    shared |= {
        "learning_rate": Falling(3e-5 if training.start else 1e-3),
        "buffer_size": 65_536,
        "learning_starts": _RANDOM_STEPS,
        "batch_size": 256,
        "train_freq": 1,
        "gradient_steps": 4 if training.start else 8,
    }
    if training.algorithm == "dqn":
        return DQN(
            "MlpPolicy",
            target_update_interval=1024,
            exploration_fraction=0.3,
            exploration_final_eps=0.03,
            **shared,
        )
    return DiscreteSAC(
        "MlpPolicy",
        target_entropy_fraction=Falling(training.entropy, 0.1),
        ent_coef="auto_0.01",
        ent_coef_bounds=(1e-4, 1.0),
        **shared,
    )


def _begun(training: TunerTraining, task: Task, model: Any) -> None:
    """Let ``tuner_start`` fit what an algorithm has of a policy and of action values."""
    if not training.start:
        return
    terms, table = training_terms(), task.part
    states = tuner_start.collect(task, terms, training.drawn(0))
    policy: tuple[Callable[[Any], Any], Sequence[Any]] | None = None
    values: tuple[Callable[[Any], Any], Sequence[Any]] | None = None
    if training.algorithm == "sac_d":
        tuner_start.inform(list(model.actor.layers)[::2], table, terms, tuner_start.POLICY_SCALE)
        tuner_start.inform(list(model.critic.values)[::2], table, terms, 1.0)
        policy = model.actor.logits, list(model.actor.parameters())
        values = model.critic, list(model.critic.parameters())
    elif training.algorithm == "dqn":
        tuner_start.inform(_choosing_layers(model)[::2], table, terms, 1.0)
        values = model.q_net, list(model.q_net.parameters())
    else:
        import torch

        tuner_start.inform(_choosing_layers(model)[::2], table, terms, tuner_start.POLICY_SCALE)
        layers = torch.nn.Sequential(*_choosing_layers(model))
        policy = layers, list(layers.parameters())
    tuner_start.start(states, training.start, policy, None, training.drawn(0))
    tuner_start.start(states, _VALUES_LONGER * training.start, None, values, training.drawn(0))
    if training.algorithm == "sac_d":
        model.critic_target.load_state_dict(model.critic.state_dict())
    elif training.algorithm == "dqn":
        model.q_net_target.load_state_dict(model.q_net.state_dict())


def _learn(model: Any, training: TunerTraining, part: int) -> None:
    """One part of a training; it depends on nothing but the model, its buffer and the part."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Whole(BaseCallback):
        """Schedules go by the whole training, not by this part of it."""

        def _on_training_start(self) -> None:
            self.model._total_timesteps = training.steps

        def _on_step(self) -> bool:
            return True

    model.set_random_seed(training.drawn(part))
    model._last_obs = None  # begins new episodes
    goal = min(part * training.kept_every, training.steps) - model.num_timesteps
    model.learn(goal, callback=Whole(), reset_num_timesteps=False)


def _point(model: Any, task: Task, steps: int) -> dict[str, float]:
    """Of the curve: figures on a few traces that are neither trained on nor reported."""
    content = {**policy_arrays(model), "settings": np.array(list(map(str, task.part.settings)))}
    chooser = Within(Policy(content, task.part), task.part, task.table)
    found = episodes.figures(
        episodes.roll(chooser, task.table, task.traces(_WATCH_SEED, *_WATCHED))
    )
    terms, usual = training_terms(), RewardTerms()
    more_late = (terms.late - usual.late) * (1 - found["deadline_hit"])
    return {
        "steps": steps,
        "learned_for": round(found["reward"] - more_late, 6),
        **{name: found[name] for name in ("reward", "regret_pct", "deadline_hit")},
    }


def _keep(
    model: Any, training: TunerTraining, path: Path, part: int, curve: Sequence[dict[str, float]]
) -> None:
    """Write all that is needed to go on; what was kept before is there until it is done."""
    model.save(path.with_name(f"{path.stem}.{part}.zip"))
    if hasattr(model, "save_replay_buffer"):
        model.save_replay_buffer(path.with_name(f"{path.stem}.{part}.pkl"))
    text = json.dumps({"training": asdict(training), "part": part, "curve": list(curve)}) + "\n"
    written = path.with_name(f"{path.stem}.part.json")
    written.write_text(text, encoding="utf-8")
    written.replace(path.with_suffix(".json"))
    for suffix in ("zip", "pkl"):
        path.with_name(f"{path.stem}.{part - 1}.{suffix}").unlink(missing_ok=True)


def _restored(
    training: TunerTraining, env: TuningVecEnv, task: Task, path: Path
) -> tuple[Any, int, list[dict[str, float]]]:
    """The model, the parts that it has learned and the curve before the last of them."""
    model = _fresh(training, env)
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        part, curve = int(content["part"]), list(content["curve"][:-1])
        if not all("learned_for" in point for point in curve):
            raise KeyError("learned_for")
        model = type(model).load(path.with_name(f"{path.stem}.{part}.zip"), env=env, device="cpu")
        if hasattr(model, "load_replay_buffer"):
            model.load_replay_buffer(path.with_name(f"{path.stem}.{part}.pkl"))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        model = _fresh(training, env)
        _begun(training, task, model)
        return model, 0, []
    return model, part, curve
