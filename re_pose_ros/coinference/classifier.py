"""AlexNet's two halves: the bytes between them, and the class that comes out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from re_pose_ros.coinference.alexnet import SIDE, StagedClassifier
from re_pose_ros.coinference.envelope import BytesLike, Expected, Features, pack, unpack
from re_pose_ros.coinference.quantise import dequantise, quantise
from re_pose_ros.coinference.setting import Setting

GRAPH = "alexnet"
"""What the envelope calls this graph."""


@dataclass(frozen=True)
class ClassifierHalves:
    """A classifier that can be shared between robot and worker; see ``halves.Halves``.

    Attributes:
        staged: the network and its exits.
        per_channel: how features are quantised; None: by their bits.
    """

    staged: StagedClassifier
    per_channel: bool | None = None

    @property
    def exits(self) -> tuple[str, ...]:
        """Names, the earliest first."""
        return tuple(exit.name for exit in self.staged.network.exits)

    @cached_property
    def cuts(self) -> dict[str, tuple[int, ...]]:
        """Of each exit, the cuts at which features can be sent, rising."""
        return self.staged.network.sendable_cuts(self.staged.maps)

    def head(self, image: NDArray[np.uint8], input_size: int, setting: Setting) -> bytes:
        """What the robot sends for a picture (32, 32, 3) uint8 BGR; ``input_size`` is 32."""
        values = self.staged.head(self.staged.picture([image]), setting.cut, setting.exit)
        shapes = self.staged.shapes(setting.cut, setting.exit)
        tensors = {
            stage: quantise(
                value[0].reshape(shapes[stage]).numpy(),
                setting.bits,
                per_channel=self.per_channel,
            )
            for stage, value in values.items()
        }
        size = SIDE, SIDE
        model = self.staged.model_hash
        return pack(Features(GRAPH, model, setting, size, input_size, size, tensors))

    def finished(self, data: BytesLike) -> int:
        """The class of a message; raises InputError where it is damaged or not for this network."""
        features = unpack(data, self._expected)
        setting = features.setting
        maps = self.staged.maps
        values = {
            stage: torch.from_numpy(dequantise(tensor))[None].reshape(1, *_shape(maps[stage]))
            for stage, tensor in features.tensors.items()
        }
        output = self.staged.tail(values, setting.cut, setting.exit)
        return int(self.staged.classes(output)[0])

    def whole(self, image: NDArray[np.uint8], input_size: int, exit: str) -> int:
        """The class by the network that ends at ``exit``; ``input_size`` is 32."""
        del input_size
        return int(self.staged.classes(self.staged.run(self.staged.picture([image]), exit))[0])

    @cached_property
    def _expected(self) -> Expected:
        return Expected(
            GRAPH,
            self.staged.model_hash,
            self.cuts,
            lambda picture, input_size: (SIDE, SIDE),
            lambda exit, cut, canvas: self.staged.shapes(cut, exit),
            SIDE,
        )


def _shape(shape: tuple[int, int, int]) -> tuple[int, ...]:
    """That of a value within the network: what has one channel of one row is a vector there."""
    return shape[2:] if shape[:2] == (1, 1) else shape
