"""A start for learned tuners: what the model of the task knows about every action of a state.

Learning by trying sees one action's reward per block. The simulation can tell that of all of them,
so that a policy may begin where this is used up. On states that cautious and less cautious greedy
rules come into, with some actions drawn by chance, R(s, a) being what each action would bring now,

    policy       maximises E[sum_a pi(a|s) (R(s, a) - alpha log pi(a|s))], alpha falling
    values       minimise E[(Q(s, a) - R(s, a))^2] over the actions that may be taken

which are the objectives of DiscreteSAC with R in place of the critics and for a discount of 0. The
observations are what a tuner measures, the rewards are true ones: what comes out is no copy of the
oracle but the best for what can be known. The method is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.errors import InputError
from re_pose_ros.training.tuner_task import Task
from re_pose_ros.tuning.latency import latency_ms
from re_pose_ros.tuning.observation import Observations
from re_pose_ros.tuning.reward import RewardTerms, rewards
from re_pose_ros.tuning.simulation import Simulation
from re_pose_ros.tuning.state import SHARES, Bools, width

_CAUTIONS = (1.0, 1.05, 1.1, 1.2, 1.4)
_BY_CHANCE = 0.1
_BATCH = 512
_LEARNING_RATE = 1e-3
_TEMPERATURES = (0.02, 0.002)  # first and last

_RAMP, _MARGIN = 0.03, 0.06
"""Width of the step by which being late sets in, and how long before the deadline it does; in
doublings of latency over deadline."""
_SLOW, _STEEPEST, _SLOPE = 1.5, 0.43, 0.3
"""Latency costs about this much more per doubling, of what it costs at the deadline, from so many
halvings of the deadline on."""
_LITTLE = 0.2
"""What numbers up to 1 are scaled to, where tanh is a line."""

POLICY_SCALE = 1 / 0.02
"""Of preferences: rewards over a temperature."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What was seen, and what every action would have brought.

    Attributes:
        observations: (S, D).
        masks: (S, A) which actions may be taken.
        rewards: (S, A).
    """

    observations: Observations
    masks: Bools
    rewards: NDArray[np.float32]


def collect(
    task: Task,
    terms: RewardTerms,
    seed: int,
    traces: int = 800,
    steps: int = 129,
    actual: ActionTable | None = None,
) -> States:
    """States of greedy rules of several cautions that now and then act by chance.

    ``actual`` are the costs that the task's settings have, where they are others than the table's.
    """
    rng = np.random.default_rng([seed, 1])
    simulation = Simulation(task.part, task.traces(seed, traces, steps), terms, actual=actual)
    caution = rng.choice(_CAUTIONS, (traces, 1))
    seen: list[tuple[Any, ...]] = []
    while not simulation.over:
        masks, measured = simulation.masks(), simulation.measured
        found = simulation.true_rewards().astype(np.float32)
        seen.append((simulation.observations(), masks, found))
        predicted = caution * latency_ms(task.part, measured)
        wanted = rewards(task.part, measured, simulation.last, terms, predicted)
        actions = np.where(masks, wanted, -np.inf).argmax(axis=1)
        chance = np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=1)
        simulation.step(np.where(rng.random(traces) < _BY_CHANCE, chance, actions))
    return States(*(np.concatenate(column) for column in zip(*seen, strict=True)))


def inform(layers: Sequence[Any], table: ActionTable, terms: RewardTerms, scale: float) -> None:
    """Set linear layers, with tanh between them, to about the predicted reward of every action.

    The first layer takes from the observation the shares of sizes, whether each action is late, as
    a steep step around the deadline, about what its latency costs, and the last action; the second
    passes that on; the last puts the reward together, times ``scale``. Units that are left begin
    as they would, without a say in the result. Observations are those of ``tuning.observation``.
    No unit can become large, so that what is learned of usual states does little harm in others.

    Args:
        layers: three, of modules with ``weight`` (outputs, inputs) and ``bias`` (outputs,), or
            several networks side by side (C, inputs, outputs) and (C, 1, outputs).
        table: the actions.
        terms: of the reward.
        scale: of the outputs.

    Raises InputError where the layers are too small.
    """
    import torch

    first, second, last = _informed(table, terms, layers[0].bias.shape[-1])
    with torch.no_grad():
        for layer, (weight, bias, is_last) in zip(layers, (first, second, last), strict=True):
            factor = scale if is_last else 1.0
            side_by_side = layer.weight.ndim == 3
            target = layer.weight.transpose(1, 2) if side_by_side else layer.weight
            rows = len(weight)
            target[..., :rows, :] = torch.as_tensor(weight * factor, dtype=target.dtype)
            layer.bias[..., :rows] = torch.as_tensor(bias * factor, dtype=target.dtype)


def _informed(
    table: ActionTable, terms: RewardTerms, hidden: int
) -> tuple[tuple[Floats, Floats, bool], ...]:
    """Weights (rows, inputs) and biases (rows,) of three layers, and whether rows are outputs."""
    count, classes, states = len(table.actions), len(table.size_edges) + 1, width(table)
    used = classes + 3 * count
    if used > hidden:
        raise InputError(f"{count} settings need {used} hidden units instead of {hidden}")
    weight, bias = np.zeros((used, states + 2 * count)), np.zeros(used)
    weight[np.arange(classes), SHARES + np.arange(classes)] = _LITTLE
    each = np.arange(count)
    late, slow, same = (classes + k * count + each for k in range(3))
    ratio = states + each
    weight[late, ratio], bias[late] = 1 / _RAMP, _MARGIN / _RAMP
    weight[slow, ratio], bias[slow] = _SLOPE, _SLOPE * _SLOW
    weight[same, states + count + each] = _LITTLE
    on = np.eye(used, hidden)
    on[late] *= 2
    whole = 2 * np.tanh(2.0)  # from in time to late
    linear = np.tanh(np.tanh(_LITTLE))
    out, offset = np.zeros((count, hidden)), np.zeros(count)
    out[:, :classes] = table.accuracy_by_size / linear
    out[each, late] = -(1 + terms.late) / whole
    out[each, slow] = -terms.latency * _STEEPEST / _SLOPE
    out[each, same] = terms.switch / linear
    offset -= (1 + terms.late) / 2 + terms.latency * _STEEPEST * _SLOW / 2 + terms.switch
    return (weight, bias, False), (on, np.zeros(used), False), (out, offset, True)


def start(
    states: States,
    steps: int,
    policy: tuple[Callable[[Any], Any], Sequence[Any]] | None,
    values: tuple[Callable[[Any], Any], Sequence[Any]] | None,
    seed: int,
) -> None:
    """Fit a policy and action values to states.

    Args:
        states: of ``collect``.
        steps: batches for each.
        policy: observations (B, D) to logits (B, A), and its parameters.
        values: observations to action values (..., B, A), and their parameters.
        seed: of the batches.
    """
    import torch

    tensors = [torch.as_tensor(a) for a in (states.observations, states.masks, states.rewards)]
    rng = np.random.default_rng([seed, 2])
    for part in (policy, values):
        if part is None or steps < 1:
            continue
        function, parameters = part
        optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE, fused=True)
        for k in range(steps):
            left = 1 - k / steps
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * max(left, 0.02)
            rows = torch.as_tensor(rng.integers(0, len(states.masks), _BATCH))
            batch = [tensor[rows] for tensor in tensors]
            loss = _policy_loss if part is policy else _values_loss
            optimizer.zero_grad()
            loss(function(batch[0]), batch[1], batch[2], left).backward()
            optimizer.step()


def _policy_loss(logits: Any, masks: Any, found: Any, left: float) -> Any:
    import torch

    temperature = _TEMPERATURES[1] + (_TEMPERATURES[0] - _TEMPERATURES[1]) * left**2
    logits = logits.masked_fill(~masks, -1e9)
    costs = temperature * torch.log_softmax(logits, dim=1) - found
    return (torch.softmax(logits, dim=1) * costs).sum(dim=1).mean()


def _values_loss(values: Any, masks: Any, found: Any, left: float) -> Any:
    del left
    return ((values - found).square() * masks).sum(dim=-1).mean()
