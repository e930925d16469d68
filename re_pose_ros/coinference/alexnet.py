"""AlexNet with exits for small pictures, in stages.

The convolutions and fully connected layers are those of AlexNet (Krizhevsky et al., 2012) for
pictures of 32x32, with branches as in BranchyNet (Teerapittayanon et al., ICPR 2016), which the
co-inference paper (arXiv 2201.02968) takes as its multi-branch AlexNet. The widths, a third branch
and BatchNorm in place of local response normalisation are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from re_pose_ros.coinference.layers import FULL
from re_pose_ros.coinference.stages import PICTURE, Exit, Stage, StagedNetwork, value_shapes
from re_pose_ros.coinference.units import ConvUnit, fold_normalisation
from re_pose_ros.coinference.weights import file_hash, load_weights, save_weights
from re_pose_ros.errors import InputError

SIDE = 32
"""Width and height of the pictures in pixels."""

EXITS = ("b1", "b2", "b3", FULL)
"""Ordered by depth."""

SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "alexnet.safetensors"
"""The network that the package has."""


class AlexNet(nn.Module):
    """All stages; see ``staged`` for how they hang together.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()

        def pool() -> Any:
            return nn.MaxPool2d(3, 2, 1)

        self.trunk = nn.ModuleDict(
            {
                "conv1": ConvUnit(3, 32, 5, act="relu"),
                "pool1": pool(),
                "conv2": ConvUnit(32, 64, 5, act="relu"),
                "pool2": pool(),
                "conv3": ConvUnit(64, 96, 3, act="relu"),
                "conv4": ConvUnit(96, 96, 3, act="relu"),
                "conv5": ConvUnit(96, 64, 3, act="relu"),
                "pool5": pool(),
                "fc6": _dense(64 * 4 * 4, 256),
                "fc7": _dense(256, 128),
                "fc8": nn.Sequential(nn.Flatten(), nn.Linear(128, classes)),
            }
        )
        self.branches = nn.ModuleDict(
            {
                "b1": _branch(32, classes),
                "b2": _branch(64, classes),
                "b3": _branch(96, classes),
            }
        )

    def staged(self) -> StagedNetwork:
        """The graph: the trunk in its order, each branch behind the stage it leaves from."""
        leaves = {"pool1": "b1", "pool2": "b2", "conv4": "b3"}
        stages: list[Stage] = []
        exits = []
        last = PICTURE
        for name, module in self.trunk.items():
            stages.append(Stage(name, module, (last,)))
            last = len(stages) - 1
            if name in leaves:
                branch = leaves[name]
                exits.append(Exit(branch, len(stages)))
                stages.append(Stage(branch, self.branches[branch], (last,)))
        exits.append(Exit(FULL, last))
        return StagedNetwork(tuple(stages), tuple(exits))

    def forward(self, picture: Any) -> tuple[Any, ...]:
        """The logits (B, classes) of every exit, ordered by depth."""
        network = self.staged()
        values = {PICTURE: picture}
        for index, stage in enumerate(network.stages):
            values[index] = stage.module(*(values[i] for i in stage.inputs))
        return tuple(values[e.output] for e in network.exits)


@dataclass(frozen=True, slots=True, eq=False)
class StagedClassifier:
    """A trained AlexNet that can be cut and left early.

    Attributes:
        network: its stages and exits; an exit's result is the logits (B, classes).
        labels: class names by class id.
        mean: of the pictures it was trained on, RGB in 0 to 1.
        deviation: ditto.
        model_hash: sha256 of the file.
        maps: (C, H, W) of each stage's value, ``PICTURE`` among them; logits are left out.
    """

    network: StagedNetwork
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    model_hash: str
    maps: Mapping[int, tuple[int, int, int]]

    def picture(self, images: Sequence[NDArray[np.uint8]]) -> Any:
        """The network's input (B, 3, 32, 32) for images (32, 32, 3) uint8 BGR."""
        return normalised(np.stack(images), self.mean, self.deviation)

    def head(self, picture: Any, cut: int, exit: str) -> dict[int, Any]:
        """What the robot sends, see ``StagedNetwork.head``."""
        with torch.inference_mode():
            return self.network.head(picture, cut, exit)

    def shapes(
        self, cut: int, exit: str, canvas: tuple[int, int] = (SIDE, SIDE)
    ) -> dict[int, tuple[int, int, int]]:
        """(C, H, W) of what ``head`` sends of each picture, by stage; see ``StagedDetector``."""
        if canvas != (SIDE, SIDE):
            raise InputError(f"AlexNet takes pictures of {SIDE}x{SIDE}, not of {canvas}")
        return {index: self.maps[index] for index in self.network.alive(cut, exit)}

    def tail(self, values: Mapping[int, Any], cut: int, exit: str) -> Any:
        """What the edge makes of it, see ``StagedNetwork.tail``."""
        with torch.inference_mode():
            return self.network.tail(values, cut, exit)

    def run(self, picture: Any, exit: str) -> Any:
        """All the way to an exit, see ``StagedNetwork.run``."""
        with torch.inference_mode():
            return self.network.run(picture, exit)

    def classes(self, output: Any) -> NDArray[np.int64]:
        """The likeliest class of each picture, (B,), from an exit's result."""
        return np.asarray(output.argmax(1).cpu().numpy(), np.int64)


def normalised(images: NDArray[np.uint8], mean: Sequence[float], deviation: Sequence[float]) -> Any:
    """Images (B, 32, 32, 3) uint8 BGR as a tensor (B, 3, 32, 32) RGB of that mean and deviation."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).flip(1).float().div_(255)
    return (tensor - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)


def save_alexnet(
    path: Path,
    network: AlexNet,
    labels: Sequence[str],
    statistics: tuple[Sequence[float], Sequence[float]],
    training: Any,
) -> None:
    """Write an AlexNet for inference.

    Args:
        path: of the file.
        network: its normalisation is folded in place.
        labels: class names by class id.
        statistics: mean and deviation of the pictures, RGB in 0 to 1.
        training: how it was made, for JSON.
    """
    fold_normalisation(network)
    about = {
        "labels": list(labels),
        "mean": list(statistics[0]),
        "deviation": list(statistics[1]),
        "training": training,
    }
    save_weights(path, "alexnet", "", network.state_dict(), about)


def load_alexnet(path: Path = SHIPPED) -> StagedClassifier:
    """What ``save_alexnet`` wrote; by default the one that comes with the package.

    Raises:
        InputError: the file cannot be used.
    """
    tensors, about = load_weights(path, "alexnet", "")
    labels = tuple(about["labels"])
    network = AlexNet(len(labels)).eval().requires_grad_(False)
    fold_normalisation(network)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit this version; make it anew") from error
    staged = network.staged()
    shapes = value_shapes(staged, torch.zeros(1, 3, SIDE, SIDE))
    return StagedClassifier(
        staged,
        labels,
        tuple(about["mean"]),
        tuple(about["deviation"]),
        file_hash(path),
        {i: (s[1], s[2], s[3]) for i, s in shapes.items() if len(s) == 4},
    )


def _dense(inputs: int, outputs: int) -> Any:
    """A fully connected layer whose values are a row (B, 1, 1, outputs), fit to be sent."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(inputs, outputs),
        nn.ReLU(),
        nn.Unflatten(1, (1, 1, outputs)),
    )


def _branch(channels: int, classes: int) -> Any:
    return nn.Sequential(
        ConvUnit(channels, 32, 3, 2, act="relu"),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, classes),
    )
