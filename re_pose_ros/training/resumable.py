"""One training loop for small parts: averaged weights, checkpoints, going on after a stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from re_pose_ros.errors import InputError

_CLIP = 10.0
_KEPT = 0.98  # of the smoothed loss, per batch
_CURVE_POINTS = 50


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast.

    Attributes:
        iterations: batches.
        learning_rate: of AdamW at its highest; it rises in a line, then falls as a cosine.
        warm_up: batches until it is highest, a fifth of all at most.
        averaging: how much of the averaged weights stays per batch, once there were many.
        save_every: batches from checkpoint to checkpoint.
    """

    iterations: int
    learning_rate: float
    warm_up: int = 100
    averaging: float = 0.995
    save_every: int = 100


@dataclass(slots=True)
class _State:
    module: Any
    average: Any
    optimizer: Any
    iteration: int = 0
    smooth: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        import torch

        content = {
            "settings": dict(settings),
            "iteration": self.iteration,
            "smooth": self.smooth,
            "curve": self.curve,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = path.with_suffix(".part")
        torch.save(content, partial)
        partial.replace(path)

    def load(self, path: Path, settings: Mapping[str, Any]) -> None:
        import torch

        try:
            content = torch.load(path, weights_only=True)
            before = content["settings"]
            self.module.load_state_dict(content["module"])
            self.average.load_state_dict(content["average"])
            self.optimizer.load_state_dict(content["optimizer"])
        except Exception as error:  # torch has no common exception for damaged files
            raise InputError(f"{path} is no checkpoint of this; delete it to start anew") from error
        for name, value in settings.items():
            if before.get(name) != value:
                raise InputError(
                    f"{path} was trained with {name} = {before.get(name)}, now {value} is asked "
                    f"for; use the same, or another folder"
                )
        self.iteration, self.smooth = content["iteration"], content["smooth"]
        self.curve = [(int(k), float(loss)) for k, loss in content["curve"]]


def train(
    module: Any,
    loss_of: Callable[[int], Any],
    course: Course,
    checkpoint: Path,
    settings: Mapping[str, Any],
    on_batch: Callable[[int], None] = lambda iteration: None,
) -> tuple[Any, list[tuple[int, float]]]:
    """Train; an interrupted run goes on where its checkpoint is, and ends with the same weights.

    Args:
        module: torch module in training mode; those of its parameters that need gradients learn.
        loss_of: the loss of batch k, which must not depend on anything but k and the weights.
        course: how long and how fast.
        checkpoint: file; its folder is made.
        settings: what must be equal for going on, but for the number of batches; for JSON.
        on_batch: called with the number of batches done.

    Returns:
        The module with averaged weights, in evaluation mode, and the smoothed loss by batch.

    Raises:
        InputError: the checkpoint cannot be used.
    """
    import torch

    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(weight_groups(module), lr=course.learning_rate, betas=(0.9, 0.99))
    state = _State(module, deepcopy(module).requires_grad_(False).eval(), optimizer)
    if checkpoint.exists():
        state.load(checkpoint, settings)
    with tqdm(
        total=course.iterations, initial=state.iteration, desc=checkpoint.stem, unit="batch"
    ) as progress:
        while state.iteration < course.iterations:
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(state.iteration, course)
            loss = loss_of(state.iteration)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), _CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.iteration += 1
            _note(state, float(loss.detach()), course)
            _average(state, course)
            progress.set_postfix(loss=f"{state.smooth:.3f}", refresh=False)
            progress.update()
            if state.iteration % course.save_every == 0 or state.iteration == course.iterations:
                state.save(checkpoint, settings)
            on_batch(state.iteration)
    return state.average, state.curve


def weight_groups(module: Any) -> list[dict[str, Any]]:
    """Weight decay for what multiplies; none for biases and normalisation."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _learning_rate(iteration: int, course: Course) -> float:
    warm_up = min(course.warm_up, course.iterations // 5)
    if iteration < warm_up:
        return course.learning_rate * (iteration + 1) / warm_up
    share = iteration / course.iterations
    return course.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _note(state: _State, loss: float, course: Course) -> None:
    if not math.isfinite(loss):
        raise InputError(f"the loss is {loss} after {state.iteration} batches; train slower")
    state.smooth = _KEPT * state.smooth + (1 - _KEPT) * loss if state.iteration > 1 else loss
    if state.iteration % max(course.iterations // _CURVE_POINTS, 1) == 0:
        state.curve.append((state.iteration, round(state.smooth, 4)))


def _average(state: _State, course: Course) -> None:
    """Weights exponentially; what is no weight, as the statistics of normalisation, as it is."""
    import torch

    kept = course.averaging * (1 - math.exp(-state.iteration / 200))
    learned = {name for name, _ in state.module.named_parameters()}
    with torch.no_grad():
        now = state.module.state_dict()
        for name, tensor in state.average.state_dict().items():
            if name in learned:
                tensor.lerp_(now[name], 1 - kept)
            else:
                tensor.copy_(now[name])
