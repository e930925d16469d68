"""Train exits of a detection network by distillation, with the network itself frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from re_pose_ros.training.distil import Teacher, imitation_loss, in_float
from re_pose_ros.training.resumable import Course, train


def train_exits(
    teacher: Teacher,
    folder: Path,
    *,
    save_every: int = 100,
    on_batch: Callable[[int], None] = lambda iteration: None,
) -> Path:
    """Train all exits of a network at once; an interrupted run goes on.

    Args:
        teacher: the network and the pictures.
        folder: for the checkpoint and the result.
        save_every: batches from checkpoint to checkpoint.
        on_batch: called with the number of batches done.

    Returns:
        The file of exits.

    Raises:
        InputError: the network can have no exits, or the checkpoint cannot be used.
    """
    import torch

    from re_pose_ros.coinference.exit_heads import ExitHead, exit_shapes, exits_path, save_exits
    from re_pose_ros.coinference.layers import FULL, layers_alone
    from re_pose_ros.coinference.weights import file_hash

    settings, path = teacher.settings, teacher.model.path
    assert path is not None
    shapes = exit_shapes(teacher.model.network)
    raw = layers_alone(teacher.network)
    torch.manual_seed(settings.seed)
    last = teacher.model.network.model[-1]
    heads = torch.nn.ModuleDict({shape.name: ExitHead(last, shape) for shape in shapes})
    heads.to(teacher.device, memory_format=torch.channels_last).train()
    cut = shapes[-1].levels[-1] + 1

    def loss_of(iteration: int) -> Any:
        pixels, targets = teacher.batch(iteration)
        with teacher.arithmetic():
            with torch.no_grad():
                features = raw.head(pixels, cut, FULL)
                wanted = in_float(raw.tail(features, cut, FULL))
            given = [heads[s.name](*(features[i] for i in s.levels)) for s in shapes]
        raws = [in_float(outputs) for outputs in given]
        return sum(imitation_loss(g, wanted) + teacher.truth_loss(g, targets) for g in raws)

    course = Course(settings.iterations, settings.learning_rate, save_every=save_every)
    known = {k: v for k, v in asdict(settings).items() if k != "iterations"}
    average, curve = train(
        heads, loss_of, course, folder / f"{teacher.model.name}.exits.checkpoint", known, on_batch
    )
    result = exits_path(folder / path.name)
    exits = [(shape, average[shape.name]) for shape in shapes]
    save_exits(result, file_hash(path), exits, {**asdict(settings), "loss": curve})
    return result
