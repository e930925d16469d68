"""The partitioner's side of co-inference: which worker is sent what, and the robot's own half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.coinference.per_worker import settings_by_worker
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.detection.profile import Profile
from re_pose_ros.errors import InputError
from re_pose_ros.nodes.base import PipelineNode
from re_pose_ros.nodes.device_worker import DeviceWorker
from re_pose_ros.plan import PlannedBlock

Head = Callable[[NDArray[np.uint8]], bytes]
"""Makes the features that are sent of a block's picture."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How the network is shared with each worker, as it was set at one time.

    Attributes:
        settings: of the workers of the parameters.
        fallback: where the robot's own network ends while no worker answers.
    """

    settings: Mapping[str, Setting]
    fallback: str

    def device_exit(self, workers: Iterable[str]) -> str:
        """Where the robot's own network ends, while of its workers these are there.

        That of the first whose blocks are to stay on the robot; else that of the fall-back.
        """
        own = (self.settings[name] for name in workers)
        return next((setting.exit for setting in own if not setting.sends), self.fallback)


class CoInference:
    """What the parameters ``coinference.*`` of the partitioner mean.

    Attributes:
        device: the robot as a worker; None without ``coinference.model``.
        shares: of the parameters as they are. They may change at any time: of what belongs to one
            frame all is done by one of them.
    """

    def __init__(self, node: PipelineNode) -> None:
        """Raises InputError where the network cannot be loaded or cut, or a setting cannot be."""
        self._node = node
        self._halves = None
        self.device: DeviceWorker | None = None
        self._without: set[str] = set()
        values = node.values
        if weights := values.text("coinference.model"):
            # PyTorch takes seconds to import, and robots that only send pictures need none.
            from re_pose_ros.coinference.halves import Halves
            from re_pose_ros.detection.model import load_model

            model = load_model(
                weights,
                confidence=values.real("coinference.confidence"),
                threads=values.whole("coinference.threads"),
            )
            self._halves = Halves.of(model)
            self.device = DeviceWorker(node, self._halves)
        self.update()

    def update(self) -> None:
        """Take the parameters as they are; InputError, and nothing changed, where impossible."""
        values = self._node.values
        settings = settings_by_worker(
            values.texts("workers"),
            values.texts("coinference.exit"),
            values.wholes("coinference.cut"),
            values.wholes("coinference.bits"),
            values.wholes("coinference.quality"),
            values.whole("jpeg_quality"),
        )
        for setting in settings.values():
            if self._halves is not None:
                self._halves.check(setting)
            elif setting.cut:
                raise InputError(
                    f"coinference.cut={setting.cut} needs a network on the robot; set "
                    f"coinference.model"
                )
        fallback = values.text("coinference.fallback_exit")
        if self._halves is not None:
            if fallback and fallback not in self._halves.exits:
                known = ", ".join(self._halves.exits)
                raise InputError(f"coinference.fallback_exit='{fallback}': allowed is {known}")
            fallback = fallback or self._halves.exits[0]
        self.shares = Shares(settings, fallback)

    def head(
        self, planned: PlannedBlock, setting: Setting, profiles: Mapping[str, Profile]
    ) -> Head | None:
        """The robot's half for a block by a setting; None where a picture is sent.

        That is also so where the worker cannot go on from these features; see ``notes``.
        """
        worker, variant = planned.slot.worker, planned.request.variant
        halves = self._halves
        if halves is None or not setting.sends_features:
            self._without.discard(worker)
            return None
        profile = profiles.get(worker)
        name = halves.staged.model.name
        if (
            variant is None
            or variant.model != name
            or profile is None
            or profile.hashes.get(name) != halves.model_hash
        ):
            self._without.add(worker)
            return None
        self._without.discard(worker)
        size = variant.input_size
        return lambda picture: halves.head(picture, size, setting)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not done as asked for, and the way out."""
        if not self._without or self._halves is None:
            return ()
        return (
            f"{', '.join(sorted(self._without))} cannot go on from features of "
            f"{self._halves.staged.model.name}, so pictures are sent; load the same weights, with "
            f"their exits and bottlenecks, there",
        )

    def close(self) -> None:
        if self.device is not None:
            self.device.close()
