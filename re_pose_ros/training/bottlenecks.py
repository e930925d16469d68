"""Train bottlenecks of a detection network by distillation, with the network itself frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from re_pose_ros.coinference.setting import BITS
from re_pose_ros.training.distil import Teacher, imitation_loss, in_float
from re_pose_ros.training.resumable import Course, train

CODE = 12
"""Channels that are sent; chosen by rate: 4 bits of them are about a JPEG file of quality 20."""

_FEATURE_GAIN, _RATE_GAIN = 0.3, 0.1
_BEGINNING = 6  # batches that principal components are taken of


def bottleneck_shapes(network: Any, code: int = CODE) -> tuple[Any, ...]:
    """The bottlenecks of a network: ``code`` channels at the head's finest resolution.

    One takes the backbone's last feature map of that resolution, one the last of twice that, if
    each is all that crosses the cut behind it. The earlier one leaves less work to the robot.

    Raises:
        InputError: the network has no backbone.
    """
    from re_pose_ros.coinference.bottleneck import BottleneckShape
    from re_pose_ros.coinference.layers import FULL, backbone_maps, layers_alone

    staged = layers_alone(network)
    finest = int(min(network.stride))
    maps = backbone_maps(network)
    shapes = []
    for stride in (finest // 2, finest):
        stage, channels = maps.get(stride, (-1, 0))
        cut = stage + 1
        if cut in staged.cuts(FULL)[1:] and staged.alive(cut, FULL) == (stage,):
            shapes.append(BottleneckShape(stage, channels, code, finest // stride))
    return tuple(shapes)


def train_bottlenecks(
    teacher: Teacher,
    folder: Path,
    *,
    code: int = CODE,
    save_every: int = 100,
    on_batch: Callable[[int], None] = lambda iteration: None,
) -> Path:
    """Train all bottlenecks of a network at once; an interrupted run goes on.

    Each batch is quantised with other ``BITS``. The loss is that of imitating the whole network's
    result, the square error of what crosses the cut, relative to its power, and a price on the
    bits per value that are sent.

    Args:
        teacher: the network and the pictures.
        folder: for the checkpoint and the result.
        code: channels that are sent.
        save_every: batches from checkpoint to checkpoint.
        on_batch: called with the number of batches done.

    Returns:
        The file of bottlenecks.

    Raises:
        InputError: the network can have none, or the checkpoint cannot be used.
    """
    import torch

    from re_pose_ros.coinference.bottleneck import Bottleneck, bottlenecks_path, save_bottlenecks
    from re_pose_ros.coinference.layers import FULL, layers_alone
    from re_pose_ros.coinference.weights import file_hash

    settings, path = teacher.settings, teacher.model.path
    assert path is not None
    torch.manual_seed(settings.seed)
    staged = layers_alone(teacher.network)
    shapes = bottleneck_shapes(teacher.model.network, code)
    parts = torch.nn.ModuleList(Bottleneck(shape) for shape in shapes)
    checkpoint = folder / f"{teacher.model.name}.bottlenecks.checkpoint"
    if not checkpoint.exists():
        _begin(teacher, staged, parts)
    parts.to(teacher.device, memory_format=torch.channels_last).train()

    def loss_of(iteration: int) -> Any:
        pixels = _pictures(teacher, iteration)
        bits = int(np.random.default_rng([settings.seed, iteration, 5]).choice(BITS))
        with teacher.arithmetic():
            with torch.no_grad():
                wanted = in_float(staged.run(pixels, FULL))
            return sum(_loss(staged, part, pixels, wanted, bits) for part in parts)

    course = Course(settings.iterations, settings.learning_rate, save_every=save_every)
    known = {k: v for k, v in asdict(settings).items() if k != "iterations"} | {"code": code}
    average, curve = train(parts, loss_of, course, checkpoint, known, on_batch)
    result = bottlenecks_path(folder / path.name)
    training = {**asdict(settings), "loss": curve}
    save_bottlenecks(result, file_hash(path), list(average), training)
    return result


def _pictures(teacher: Teacher, iteration: int) -> Any:
    """Half a batch: the network runs forth and back once per bottleneck."""
    return teacher.batch(iteration)[0][::2]


def _loss(staged: Any, part: Any, pixels: Any, wanted: dict[str, Any], bits: int) -> Any:
    import torch

    from re_pose_ros.coinference.bottleneck import bits_per_value, quantised
    from re_pose_ros.coinference.layers import FULL

    stage = part.shape.stage
    with torch.no_grad():
        crossing = staged.head(pixels, stage + 1, FULL)
    code = part.encode(crossing)[stage].float()
    decoded = part.decode({stage: quantised(code, bits)})
    given = in_float(staged.tail(decoded, stage + 1, FULL))
    original = crossing[stage].float()
    error = (decoded[stage].float() - original).square().mean() / original.square().mean()
    rate = bits_per_value(code, bits)
    return imitation_loss(given, wanted) + _FEATURE_GAIN * error + _RATE_GAIN * rate


def _begin(teacher: Teacher, staged: Any, parts: Sequence[Any]) -> None:
    """Give each bottleneck the principal components of what crosses its cut."""
    import torch
    from torch.nn import functional

    from re_pose_ros.coinference.layers import FULL

    for part in parts:
        shape = part.shape
        rows = []
        with torch.no_grad():
            for iteration in range(_BEGINNING):
                pixels = _pictures(teacher, iteration)
                value = staged.head(pixels, shape.stage + 1, FULL)[shape.stage]
                patches = functional.unfold(value, shape.stride, stride=shape.stride)
                rows.append(patches.transpose(1, 2).reshape(-1, patches.shape[1])[::8])
        patches = torch.cat(rows)
        part.begin_with(torch.cov(patches.T), patches.mean(0))
