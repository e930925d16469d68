"""A detector's two halves: the bytes that the robot sends, and what the worker makes of them.

Both sides load the same files. A message says by itself how it was made (``envelope``), so that a
setting may change from one block to the next, and neither side has to be told first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from re_pose_ros.coinference.detector import StagedDetector, staged_detector
from re_pose_ros.coinference.envelope import BytesLike, Expected, Features, pack, unpack
from re_pose_ros.coinference.quantise import dequantise, quantise
from re_pose_ros.coinference.setting import DEVICE, Setting
from re_pose_ros.detection.model import Model, to_tensor
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError

GRAPH = "detector"
"""What the envelope calls this graph."""


@dataclass(frozen=True)
class Halves:
    """A detector that can be shared between robot and worker.

    Attributes:
        staged: the network, its exits and its bottlenecks.
        per_channel: how features are quantised, see ``quantise``; None: by their bits. Whoever
            receives them is told.
    """

    staged: StagedDetector
    per_channel: bool | None = None

    @classmethod
    def of(cls, model: Model) -> Halves:
        """With the exits and bottlenecks that lie beside the network's weights.

        Raises InputError where the network has no layers, or the files are not its own.
        """
        return cls(staged_detector(model))

    @property
    def model_hash(self) -> str:
        """Equal on both sides if what one sends means the same to the other."""
        return self.staged.model_hash

    @property
    def exits(self) -> tuple[str, ...]:
        """Names, the earliest first."""
        return tuple(exit.name for exit in self.staged.network.exits)

    @cached_property
    def cuts(self) -> dict[str, tuple[int, ...]]:
        """Of each exit, the cuts at which features can be sent, rising."""
        return self.staged.network.sendable_cuts(self.staged.maps)

    def check(self, setting: Setting) -> None:
        """Raises InputError where a setting is none of this network's."""
        name = self.staged.model.name
        if setting.exit not in self.exits:
            known = ", ".join(self.exits)
            raise InputError(f"exit '{setting.exit}' is none of {name}'s; it has {known}")
        cuts = self.cuts[setting.exit]
        if setting.cut > 0 and setting.cut not in cuts:
            raise InputError(
                f"{name} cannot be cut at {setting.cut} on the way to exit '{setting.exit}'; use "
                f"0 for the picture, {DEVICE} for all on the robot, or one of "
                f"{', '.join(map(str, cuts))}"
            )

    def at(self, exit: str) -> Model:
        """The network that ends at an exit; raises InputError where there is none of that name."""
        model, network = self.staged.model, self.staged.network
        if exit == self.exits[-1]:
            return model
        network.exit(exit)

        def predict(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            assert model.suppress is not None
            output = self.staged.run(to_tensor(batch, model.device), exit)
            return model.suppress(output, (batch.shape[2], batch.shape[1]))

        return replace(model, predict=predict)

    def head(self, image: NDArray[np.uint8], input_size: int, setting: Setting) -> bytes:
        """What the robot sends for a block.

        Args:
            image: (H, W, 3) uint8 BGR, the block's picture.
            input_size: the longer side on the network's input.
            setting: one that sends features and that ``check`` lets pass.
        """
        picture = self.staged.picture([image], input_size)
        values = self.staged.head(picture, setting.cut, setting.exit)
        tensors = {
            stage: quantise(
                value[0].float().cpu().numpy(), setting.bits, per_channel=self.per_channel
            )
            for stage, value in values.items()
        }
        size = image.shape[1], image.shape[0]
        canvas = self.staged.model.canvas(size, input_size)
        return pack(Features(GRAPH, self.model_hash, setting, size, input_size, canvas, tensors))

    def tail(self, data: BytesLike) -> tuple[Detections, tuple[int, int]]:
        """The detections of a message, in pixels of the block's picture, and its (width, height).

        Raises InputError where the message is damaged or of another network.
        """
        features = unpack(data, self._expected)
        setting, device = features.setting, self.staged.model.device
        values = {
            stage: torch.from_numpy(dequantise(tensor))[None].to(device)
            for stage, tensor in features.tensors.items()
        }
        output = self.staged.tail(values, setting.cut, setting.exit)
        found = self.staged.detections(output, [features.picture], features.input_size)
        return found[0], features.picture

    @cached_property
    def _expected(self) -> Expected:
        staged = self.staged
        return Expected(
            GRAPH,
            self.model_hash,
            self.cuts,
            staged.model.canvas,
            lambda exit, cut, canvas: staged.shapes(cut, exit, canvas),
        )


def halves_of(models: Sequence[Model]) -> dict[str, Halves]:
    """Those of the networks that consist of layers, by name."""
    return {model.name: Halves.of(model) for model in models if model.network is not None}
