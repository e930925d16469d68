"""Fine-tune a tuner's policy on what its decisions led to: a candidate, and whether it may be used.

Off-policy with ``DiscreteSAC``, in this order:

- how much longer each setting takes than predicted is measured (``tuning.calibration``), and the
  first layers of actor and critics are moved by it, so that they see latencies as they are;
- critics first: they are fitted to what the records' settings really brought, and, in simulated and
  in recorded states, to what the others are expected to bring;
- then ``DiscreteSAC`` takes gradient steps on a replay of the recorded transitions, with a small
  learning rate, a discount of 0 and a temperature that stays.

The candidate is checked on records that it was not made from, and on simulated traces that have the
measured costs (``check``). How policies are changed and checked is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.training import tuner_start
from re_pose_ros.training.tuner_task import Task, training_terms
from re_pose_ros.tuning import episodes, off_policy
from re_pose_ros.tuning.calibration import Calibration
from re_pose_ros.tuning.environment import TuningEnv
from re_pose_ros.tuning.observation import Observations, observe
from re_pose_ros.tuning.policy import Policy
from re_pose_ros.tuning.records import Records
from re_pose_ros.tuning.reward import RewardTerms
from re_pose_ros.tuning.rules import Within
from re_pose_ros.tuning.state import width

Arrays = Mapping[str, NDArray[Any]]

LEAST_RECORDS = 200
"""That a candidate is made from, and a third more of them to check it."""

TRACES, BLOCKS = 60, 129
CHECK_SEED = 600_000_000
"""Of the simulated traces of the check; those of training are far below."""

_CRITIC_HIDDEN = (128, 128)
_SIMULATED = (200, 65)  # traces and blocks that critics are fitted on
_BATCH = 256
_TEMPERATURE = 0.005


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How a candidate is made.

    Attributes:
        seed: of everything random, 0 to 100000.
        critic_batches: before the policy moves.
        steps: gradient steps of DiscreteSAC.
        learning_rate: of these.
        moves_inputs: whether the first layers are moved by the measured factors.

    Raises InputError for a value that cannot be used.
    """

    seed: int = 0
    critic_batches: int = 400
    steps: int = 400
    learning_rate: float = 3e-5
    moves_inputs: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 100_000:
            raise InputError(f"seed {self.seed} is not between 0 and 100000")
        if self.critic_batches < 0 or self.steps < 0 or not 0 < self.learning_rate < 1:
            raise InputError("batches and steps are at least 0, the learning rate is in (0, 1)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate has to keep to; each at least 0.

    Attributes:
        least_gain: lower bound of the estimated gain in reward on held-out records.
        simulated_loss: reward that may be lost on simulated traces.
        simulated_late: share of their blocks that may be late more.
    """

    least_gain: float = 0.0
    simulated_loss: float = 0.005
    simulated_late: float = 0.003


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate may be used.

    Attributes:
        passed: whether.
        reason: why not, or by what.
        figures: what that was judged by.
    """

    passed: bool
    reason: str
    figures: dict[str, Any]


def fine_tune(
    arrays: Arrays, task: Task, records: Records, known: Calibration, how: FineTuning
) -> dict[str, Any]:
    """The arrays of a candidate.

    Args:
        arrays: of the policy that it begins as; see ``tuning.policy``.
        task: whose ``part`` are the policy's settings.
        records: to learn from, by these settings.
        known: their calibration.
        how: see there.

    Raises InputError where the policy is none of two hidden layers or more.
    """
    import torch

    from re_pose_ros.discrete_sac import actor_arrays

    torch.set_num_threads(1)
    model = _model(arrays, task.part, how)
    shift = np.log2(known.factors) if how.moves_inputs else np.zeros(len(known.factors))
    terms = training_terms()
    tuner_start.inform(list(model.critic.values)[::2], task.part, terms, 1.0)
    for layer in (model.actor.layers[0], model.critic.values[0]):
        _move(layer, task.part, shift)
    seen = observe(task.part, records.rows, records.last, records.allowed)
    states = _states(task, records, seen, known, terms, how.seed)
    values = model.critic, list(model.critic.parameters())
    tuner_start.start(states, how.critic_batches, None, values, how.seed)
    model.critic_target.load_state_dict(model.critic.state_dict())
    _replay(model, seen, records, terms)
    if how.steps:
        model.train(how.steps, _BATCH)
    return dict(actor_arrays(model))


def check(
    candidate: Arrays,
    arrays: Arrays,
    task: Task,
    records: Records,
    known: Calibration,
    limits: Limits | None = None,
) -> Verdict:
    """Judge a candidate against the policy in use.

    Args:
        candidate: arrays of it.
        arrays: of the policy in use.
        task: whose ``part`` are the settings of both.
        records: that the candidate was not made from, by these settings; at least one.
        known: calibration of those that it was made from.
        limits: see there.

    Raises InputError where the arrays are no policies for the settings.
    """
    limits, terms = limits or Limits(), RewardTerms()
    names = np.array(list(map(str, task.part.settings)))
    new, old = (Policy({**of, "settings": names}, task.part) for of in (candidate, arrays))
    found = off_policy.compare(new, old, records, known, terms)
    traces = task.traces(CHECK_SEED, TRACES, BLOCKS)
    actual = _costs_of_all(task, known)
    simulated = {
        name: episodes.figures(
            episodes.roll(Within(of, task.part, task.table), task.table, traces, actual=actual)
        )
        for name, of in (("candidate", new), ("in_use", old))
    }
    rewards, hits = (
        [simulated[name][key] for name in ("candidate", "in_use")]
        for key in ("reward", "deadline_hit")
    )
    figures = {
        "records": asdict(found),
        "simulated": simulated,
        "factors": _named(task.part, known.factors.round(4).tolist()),
        "tried": _named(task.part, known.tried.tolist()),
    }
    if not found.lower > limits.least_gain:
        return Verdict(
            False,
            f"on {found.records} held-out records it gains {found.gain:+.4f}, with 95 % at least "
            f"{found.lower:+.4f}, which is not above {limits.least_gain:g}",
            figures,
        )
    if rewards[0] < rewards[1] - limits.simulated_loss or hits[0] < hits[1] - limits.simulated_late:
        return Verdict(
            False,
            f"on simulated traces it has a reward of {rewards[0]:.4f} and {hits[0]:.4f} in time, "
            f"the policy in use {rewards[1]:.4f} and {hits[1]:.4f}",
            figures,
        )
    reason = f"on held-out records it gains {found.gain:+.4f}, at least {found.lower:+.4f}"
    return Verdict(True, reason, figures)


def _model(arrays: Arrays, part: ActionTable, how: FineTuning) -> Any:
    """DiscreteSAC with the policy as its actor."""
    import torch
    from stable_baselines3.common.logger import Logger

    from re_pose_ros.discrete_sac import DiscreteSAC

    layers = sum(name.endswith(".weight") for name in arrays)
    hidden = [int(arrays[f"actor.{k}.bias"].shape[0]) for k in range(layers - 1)]
    activation = torch.nn.Tanh if str(arrays["activation"]) == "tanh" else torch.nn.ReLU
    if activation is not torch.nn.Tanh:
        raise InputError("only policies with tanh are fine-tuned; train one with train tuner")
    model = DiscreteSAC(
        "MlpPolicy",
        TuningEnv(part),
        learning_rate=how.learning_rate,
        buffer_size=1,
        gamma=0.0,
        ent_coef=_TEMPERATURE,
        policy_kwargs={
            "net_arch": {"pi": hidden, "qf": list(_CRITIC_HIDDEN)},
            "activation_fn": activation,
        },
        seed=how.seed,
        device="cpu",
    )
    model.set_logger(Logger(None, []))
    with torch.no_grad():
        for k, layer in enumerate(list(model.actor.layers)[::2]):
            layer.weight.copy_(torch.as_tensor(arrays[f"actor.{k}.weight"]))
            layer.bias.copy_(torch.as_tensor(arrays[f"actor.{k}.bias"]))
    return model


def _move(layer: Any, part: ActionTable, shift: NDArray[np.float64]) -> None:
    """Let a first layer see log2 of latency over deadline larger by ``shift`` (A,)."""
    import torch

    columns = slice(width(part), width(part) + len(shift))
    moved = torch.as_tensor(shift, dtype=layer.weight.dtype)
    with torch.no_grad():
        if layer.weight.ndim == 3:  # several networks side by side
            layer.bias += (moved @ layer.weight[:, columns, :]).unsqueeze(1)
        else:
            layer.bias += layer.weight[:, columns] @ moved


def _states(
    task: Task,
    records: Records,
    seen: Observations,
    known: Calibration,
    terms: RewardTerms,
    seed: int,
) -> tuner_start.States:
    """What critics are fitted to: simulated states, and recorded ones as expected and as it was."""
    simulated = tuner_start.collect(
        task, terms, CHECK_SEED + 1 + seed, *_SIMULATED, actual=known.applied(task.part)
    )
    expected = known.rewards(records, terms).astype(np.float32)
    each = np.arange(len(records))
    came, taken = np.zeros_like(expected), np.zeros_like(records.allowed)
    came[each, records.actions] = records.rewards(terms)
    taken[each, records.actions] = True
    others = records.allowed & ~taken
    return tuner_start.States(
        np.concatenate([simulated.observations, seen, seen]),
        np.concatenate([simulated.masks, others, taken]),
        np.concatenate([simulated.rewards, expected, came]),
    )


def _replay(model: Any, seen: Observations, records: Records, terms: RewardTerms) -> None:
    """Fill the replay buffer with the records."""
    from re_pose_ros.discrete_sac import MaskedReplayBuffer

    count = len(records)
    buffer = MaskedReplayBuffer(
        count, model.observation_space, model.action_space, device="cpu", n_envs=1
    )
    rewards = records.rewards(terms)
    for k in range(count):
        masks = records.allowed[k : k + 1]
        buffer.announce(masks, masks, np.zeros(1, np.float32))
        buffer.add(
            seen[k : k + 1],
            seen[k : k + 1],
            records.actions[k : k + 1],
            rewards[k : k + 1],
            np.ones(1),
            [{}],
        )
    model.replay_buffer = buffer


def _costs_of_all(task: Task, known: Calibration) -> ActionTable:
    """The whole table with the costs that were measured of a part; the rest stays."""
    measured = dict(zip(task.part.settings, known.applied(task.part).actions, strict=True))
    actions = tuple(measured.get(action.setting, action) for action in task.table.actions)
    return replace(task.table, actions=actions)


def _named(part: ActionTable, values: list[Any]) -> dict[str, Any]:
    return dict(zip(map(str, part.settings), values, strict=True))
