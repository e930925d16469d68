"""A detection network in stages: its layers one by one, and exits at earlier depths.

Stage k is the network's layer k, as ultralytics numbers them; the heads of earlier exits come
behind them. The last exit, ``full``, is the original network and equals it bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from re_pose_ros.coinference.bottleneck import Bottleneck, bottlenecks_path, load_bottlenecks
from re_pose_ros.coinference.exit_heads import exits_path, load_exits
from re_pose_ros.coinference.layers import check_layers, layers_alone, small_picture
from re_pose_ros.coinference.stages import Exit, Stage, StagedNetwork, value_shapes
from re_pose_ros.coinference.weights import file_hash
from re_pose_ros.detection.model import Model, to_tensor
from re_pose_ros.detection.preprocess import letterbox
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class StagedDetector:
    """A detection network that can be cut and left early.

    Attributes:
        model: the network as a whole, with its labels and its non-maximum suppression.
        network: its stages and exits.
        network_hash: sha256 of the file it was loaded from.
        model_hash: sha256 over that and the files of exits and bottlenecks; equal on robot and
            edge if what one sends means the same to the other.
        bottlenecks: by what is alive across the cut that they are for.
        maps: channels and stride of the feature map that each stage gives, ``PICTURE`` among them.
    """

    model: Model
    network: StagedNetwork
    network_hash: str
    model_hash: str
    bottlenecks: Mapping[tuple[int, ...], Bottleneck]
    maps: Mapping[int, tuple[int, int]]

    def picture(self, images: Sequence[NDArray[np.uint8]], input_size: int) -> Any:
        """The network's input (B, 3, H, W) for images of one shape.

        Args:
            images: (H, W, 3) uint8 BGR each.
            input_size: the longer side on the network's input.
        """
        arrays = [letterbox(image, input_size, self.model.stride)[0] for image in images]
        return to_tensor(np.stack(arrays), self.model.device)

    def head(self, picture: Any, cut: int, exit: str) -> dict[int, Any]:
        """What the robot sends: ``StagedNetwork.head``, through a bottleneck where there is one."""
        with torch.inference_mode():
            values = self.network.head(picture, cut, exit)
            bottleneck = self.bottlenecks.get(tuple(values))
            return values if bottleneck is None else bottleneck.encode(values)

    def shapes(
        self, cut: int, exit: str, canvas: tuple[int, int]
    ) -> dict[int, tuple[int, int, int]]:
        """(C, H, W) of what ``head`` sends of each picture, by stage.

        Args:
            cut: one of ``network.cuts(exit)``.
            exit: name of the exit.
            canvas: (width, height) of the network's input, multiples of the model's stride.

        Raises:
            InputError: no such exit, or no such cut on the way to it.
        """
        alive = self.network.alive(cut, exit)
        maps = {index: self.maps[index] for index in alive}
        if alive in self.bottlenecks:
            shape = self.bottlenecks[alive].shape
            maps = {shape.stage: (shape.code, maps[shape.stage][1] * shape.stride)}
        width, height = canvas
        return {i: (c, height // stride, width // stride) for i, (c, stride) in maps.items()}

    def tail(self, values: Mapping[int, Any], cut: int, exit: str) -> Any:
        """What the edge makes of it: ``StagedNetwork.tail``; raises InputError as that does."""
        with torch.inference_mode():
            bottleneck = self.bottlenecks.get(self.network.alive(cut, exit))
            whole = values if bottleneck is None else bottleneck.decode(values)
            return self.network.tail(whole, cut, exit)

    def run(self, picture: Any, exit: str) -> Any:
        """All the way to an exit, as the robot does alone; raises InputError for no such exit."""
        with torch.inference_mode():
            return self.network.run(picture, exit)

    def detections(
        self, output: Any, image_sizes: Sequence[tuple[int, int]], input_size: int
    ) -> list[Detections]:
        """An exit's result as ``Model.detect`` gives it: suppressed, in each image's pixels.

        Args:
            output: of any exit, for a batch.
            image_sizes: (width, height) of the batch's images.
            input_size: what they were letterboxed for.
        """
        if self.model.suppress is None:
            raise ValueError("a model without layers")
        canvas = self.model.canvas(image_sizes[0], input_size)
        rows = self.model.suppress(output, canvas)
        return [
            self.model.detections(found, size, input_size)
            for found, size in zip(rows, image_sizes, strict=True)
        ]


def staged_detector(
    model: Model, *, exits: Path | None = None, bottlenecks: Path | None = None
) -> StagedDetector:
    """The stages of a loaded network, with the exits and bottlenecks that were trained for it.

    Args:
        model: a torch checkpoint's.
        exits: file of exits; by default the one beside the network's weights, if there is any.
        bottlenecks: file of bottlenecks, ditto.

    Raises:
        InputError: the network is none of layers, or a file cannot be used or is for another.
    """
    if model.network is None or model.path is None:
        raise InputError(f"model '{model.name}' has no layers to cut; use a .pt for detection")
    network_hash = file_hash(model.path)
    check_layers(model.network)
    alone = layers_alone(model.network)
    stages = list(alone.stages)
    hashes, earlier = [network_hash], []
    path = exits or exits_path(model.path)
    if exits is not None or path.exists():
        for shape, head in load_exits(path, model.network, network_hash):
            earlier.append(Exit(shape.name, len(stages)))
            stages.append(Stage(f"exit {shape.name}", head.to(model.device), shape.levels))
        hashes.append(file_hash(path))
    path = bottlenecks or bottlenecks_path(model.path)
    found: dict[tuple[int, ...], Bottleneck] = {}
    if bottlenecks is not None or path.exists():
        found = load_bottlenecks(path, network_hash)
        hashes.append(file_hash(path))
    network = StagedNetwork(tuple(stages), (*earlier, *alone.exits))
    return StagedDetector(
        model,
        network,
        network_hash,
        hashlib.sha256(" ".join(hashes).encode()).hexdigest(),
        {alive: bottleneck.to(model.device) for alive, bottleneck in found.items()},
        _maps(network, small_picture(model.network)),
    )


def _maps(network: StagedNetwork, picture: Any) -> dict[int, tuple[int, int]]:
    shapes = value_shapes(network, picture)
    side = picture.shape[2]
    return {i: (s[1], side // s[2]) for i, s in shapes.items() if len(s) == 4}
