"""Detect heads at earlier depths of a detection network.

An exit of ours takes feature maps of the backbone through a light pyramid (as FPN, Lin et al.,
CVPR 2017: lateral 1x1 convolutions, the coarser map enlarged and added) into a head of the very
class that the network ends with, so that its results have the same anchors, classes and format.
The head's branches are depthwise separable: with the network's own, which are meant to follow
another dozen layers, it alone would cost as much as the backbone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from re_pose_ros.coinference.layers import backbone_levels
from re_pose_ros.coinference.units import ConvUnit, fold_normalisation
from re_pose_ros.coinference.weights import load_weights, save_weights
from re_pose_ros.errors import InputError


@dataclass(frozen=True, slots=True)
class ExitShape:
    """How an exit is built.

    Attributes:
        name: of the exit.
        levels: indices of the stages whose feature maps it takes, fine to coarse.
        channels: of these.
        widths: channels of the head's levels. Where they are more than ``levels``, the coarser
            ones are made of the coarsest that is there, by convolutions of stride 2.
    """

    name: str
    levels: tuple[int, ...]
    channels: tuple[int, ...]
    widths: tuple[int, ...]


class ExitHead(nn.Module):
    """Feature maps, fine to coarse, to what the network's own last layer would give.

    Args:
        last: the network's last layer, a Detect; it stays as it is.
        shape: how to build.
    """

    def __init__(self, last: Any, shape: ExitShape) -> None:
        super().__init__()
        widths, given = shape.widths, len(shape.levels)
        steps = list(itertools.pairwise(widths))
        self.lateral = nn.ModuleList(
            ConvUnit(c, w) for c, w in zip(shape.channels, widths, strict=False)
        )
        self.coarser = nn.ModuleList(ConvUnit(a, b, 3, 2) for a, b in steps[given - 1 :])
        self.down = nn.ModuleList(ConvUnit(b, a) for a, b in steps)
        self.smooth = nn.ModuleList(_separable(w) for w in widths)
        self.detect = _light_detect(last, widths)

    def forward(self, *features: Any) -> Any:
        maps = [unit(x) for unit, x in zip(self.lateral, features, strict=True)]
        for unit in self.coarser:
            maps.append(unit(maps[-1]))
        for k in range(len(maps) - 2, -1, -1):
            coarse = self.down[k](maps[k + 1])
            maps[k] = maps[k] + nn.functional.interpolate(coarse, scale_factor=2.0)
        return self.detect([unit(x) for unit, x in zip(self.smooth, maps, strict=True)])


def _separable(width: int) -> Any:
    depthwise = ConvUnit(width, width, 3, groups=width, act="none")
    return nn.Sequential(depthwise, ConvUnit(width, width))


def _light_detect(last: Any, widths: Sequence[int]) -> Any:
    detect = type(last)(nc=last.nc, ch=tuple(widths))
    detect.reg_max, detect.no, detect.dfl = last.reg_max, last.no, deepcopy(last.dfl)
    for name, outputs in (("cv2", 4 * last.reg_max), ("cv3", last.nc)):
        branches = [nn.Sequential(_separable(w), nn.Conv2d(w, outputs, 1)) for w in widths]
        setattr(detect, name, nn.ModuleList(branches))
    detect.stride = last.stride.clone()
    detect.bias_init()
    return detect


def exit_shapes(network: Any) -> tuple[ExitShape, ...]:
    """The exits for a network: before the last stage of its backbone, and behind all of it.

    They are called after the coarsest feature map they see, as p4 for one of stride 2^4.

    Raises:
        InputError: the network has no backbone, or a head without non-maximum suppression.
    """
    last = network.model[-1]
    if getattr(last, "end2end", False) or not hasattr(last, "reg_max"):
        raise InputError(f"exits are Detect heads with suppression; {type(last).__name__} is none")
    levels = backbone_levels(network)
    finest = levels[0][1]
    widths = (max(finest // 2, 16), *(finest for _ in levels[1:]))
    return tuple(
        ExitShape(
            f"p{round(math.log2(float(last.stride[count - 1])))}",
            tuple(index for index, _ in levels[:count]),
            tuple(channels for _, channels in levels[:count]),
            widths,
        )
        for count in (len(levels) - 1, len(levels))
    )


def exits_path(weights: Path) -> Path:
    """Where the exits of a network's file are looked for."""
    return weights.with_name(f"{weights.stem}.exits.safetensors")


def save_exits(
    path: Path, network_hash: str, exits: Sequence[tuple[ExitShape, Any]], training: Any
) -> None:
    """Write exits, ordered by depth, for inference.

    Args:
        path: of the file.
        network_hash: sha256 of the network's file.
        exits: shapes and ``ExitHead``s; their normalisation is folded in place.
        training: how they were made, for JSON.
    """
    tensors = {}
    for shape, head in exits:
        fold_normalisation(head)
        tensors.update({f"{shape.name}.{key}": t for key, t in head.state_dict().items()})
    about = {"exits": [asdict(shape) for shape, _ in exits], "training": training}
    save_weights(path, "exits", network_hash, tensors, about)


def load_exits(path: Path, network: Any, network_hash: str) -> list[tuple[ExitShape, Any]]:
    """What ``save_exits`` wrote, ordered by depth, in evaluation mode, float32, on the CPU.

    Raises:
        InputError: the file cannot be used or was made for another network.
    """
    tensors, about = load_weights(path, "exits", network_hash)
    exits = []
    for fields in about["exits"]:
        shape = ExitShape(
            fields["name"], *(tuple(fields[key]) for key in ("levels", "channels", "widths"))
        )
        head = ExitHead(network.model[-1], shape).eval().requires_grad_(False)
        fold_normalisation(head)
        prefix = f"{shape.name}."
        own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        try:
            head.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(f"{path} does not fit this version; make it anew") from error
        exits.append((shape, head))
    return exits
