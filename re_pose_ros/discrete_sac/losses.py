"""The terms of discrete Soft Actor-Critic, with exact expectations over actions.

Shapes: B states, A actions, C critics. Of what is invalid the probability is exactly 0, so that it
takes part in no sum.
"""

from __future__ import annotations

import torch as th

Chances = tuple[th.Tensor, th.Tensor]
"""Probabilities and their logarithms."""

_NEVER = -1e9  # what softmax turns into exactly 0, and still finite in products


def chances(logits: th.Tensor, masks: th.Tensor | None) -> Chances:
    """Probabilities pi (B, A) and log pi, exactly 0 and about -1e9 for what is invalid.

    Args:
        logits: (B, A).
        masks: (B, A), True where valid, or None, where all is.
    """
    if masks is not None:
        logits = logits.masked_fill(~masks, _NEVER)
    # Not the exponential of the other, which is five times slower where it underflows.
    return th.softmax(logits, dim=1), th.log_softmax(logits, dim=1)


def combined(values: th.Tensor, how: str) -> th.Tensor:
    """One value (B, A) of several (C, B, A): their ``"min"`` or ``"average"``.

    The minimum is clipped double Q-learning (Fujimoto et al. 2018), as Christodoulou 2019 has it;
    Zhou et al. 2022 find that it underestimates where actions are discrete, and average.
    """
    return values.amin(dim=0) if how == "min" else values.mean(dim=0)


def entropy(probabilities: th.Tensor, logarithms: th.Tensor) -> th.Tensor:
    """H = -sum_a pi log pi, (B,), in nats, of pi and log pi (B, A)."""
    return -(probabilities * logarithms).sum(dim=1)


def soft_values(
    values: th.Tensor, probabilities: th.Tensor, logarithms: th.Tensor, temperature: th.Tensor
) -> th.Tensor:
    """V(s) = sum_a pi(a|s) (Q(s,a) - alpha log pi(a|s)), (B,); Christodoulou 2019."""
    return (probabilities * (values - temperature * logarithms)).sum(dim=1)


def actor_gradient(
    values: th.Tensor, probabilities: th.Tensor, logarithms: th.Tensor, temperatures: th.Tensor
) -> th.Tensor:
    """Gradient, with respect to the logits (B, A), of the actor's loss summed over states.

    Of sum_a pi (alpha log pi - Q) with respect to logit b it is pi_b (c_b - sum_a pi_a c_a), with
    c = alpha log pi - Q: the logits of what is invalid stay as they are.

    Args:
        values: Q, (B, A).
        probabilities: pi, (B, A).
        logarithms: log pi, (B, A).
        temperatures: alpha, (B, 1) or one for all. The entropy penalty beta (H_b - H)^2 / 2 of
            Zhou et al. 2022 has the gradient that beta (H_b - H) more has: both multiply -dH.
    """
    costs = temperatures * logarithms - values
    weighted = probabilities * costs
    return weighted - probabilities * weighted.sum(dim=1, keepdim=True)


def critic_loss(
    taken: th.Tensor, targets: th.Tensor, before: th.Tensor | None, clip: float | None
) -> th.Tensor:
    """Sum over critics of half the mean squared error, with Q-clip where ``clip`` is given.

    Q-clip (Zhou et al. 2022) takes the greater of two errors per transition: that of Q, and that of
    Q held within ``clip`` of the target critic's value.

    Args:
        taken: Q_i(s, a) of the actions that were taken, (C, B).
        targets: (B,).
        before: the target critics' values of the same, (C, B).
        clip: in units of return.
    """
    errors = (taken - targets).square()
    if clip is not None and before is not None:
        held = before + (taken - before).clamp(-clip, clip)
        errors = th.maximum(errors, (held - targets).square())
    return 0.5 * errors.mean(dim=1).sum()
