"""What a worker makes of the blocks of a frame, whether they come as pictures or as features."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from re_pose_ros.coinference.halves import halves_of
from re_pose_ros.coinference.layers import FULL
from re_pose_ros.detection.worker import Request, Worker, in_full_image
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.geometry import Block
from re_pose_ros.image_codec import decode_compressed
from re_pose_ros.plan import Variant


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A block as it was sent.

    Attributes:
        data: of a compressed picture, or of features.
        features: which of the two.
        roi: what it shows, in full-image pixels.
        variant: the network asked for; None leaves it to the worker.
    """

    data: Any
    features: bool
    roi: Block
    variant: Variant | None


@dataclass(frozen=True, slots=True)
class Served:
    """What came of a block.

    Attributes:
        detections: in full-image pixels.
        problem: why it could not be used, in one line; empty where it could.
        decode_ms, detect_ms: what it took; shares where blocks went together.
    """

    detections: Detections
    problem: str = ""
    decode_ms: float = 0.0
    detect_ms: float = 0.0


class Service:
    """Networks that end at any of their exits, for blocks of either kind.

    Attributes:
        worker: of the whole networks.
        hashes: of the networks that go on from features, by name.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._halves = halves_of(worker.models)
        self._ending_at: dict[str, Worker] = {FULL: worker}

    @property
    def hashes(self) -> Mapping[str, str]:
        return {name: halves.model_hash for name, halves in self._halves.items()}

    def ending_at(self, exit: str) -> Worker:
        """The same networks ending at an exit.

        Raises InputError where one of them has none of that name.
        """
        if exit not in self._ending_at:
            without = [m.name for m in self.worker.models if m.name not in self._halves]
            if without:
                raise InputError(f"'{without[0]}' has no exit but '{FULL}'; use a .pt file")
            models = [self._halves[model.name].at(exit) for model in self.worker.models]
            sizes = sorted({variant.input_size for variant in self.worker.variants})
            self._ending_at[exit] = Worker(models, sizes, self.worker.default)
        return self._ending_at[exit]

    def serve(self, blocks: Sequence[Sent], exit: str = FULL) -> list[Served]:
        """Detect in all blocks; ``exit`` is for those that come as pictures."""
        served: dict[int, Served] = {}
        pictures: list[tuple[int, Request, float]] = []
        for k, block in enumerate(blocks):
            started = time.perf_counter()
            try:
                if block.features:
                    detections = self._finished(block)
                    served[k] = Served(detections, detect_ms=_since(started))
                else:
                    image = decode_compressed(block.data)
                    request = Request(image, block.roi, block.variant)
                    pictures.append((k, request, _since(started)))
            except InputError as error:
                served[k] = Served(Detections.empty(), str(error))
        found, timings = self.ending_at(exit).process([request for _, request, _ in pictures])
        for (k, _, decode_ms), own, ms in zip(pictures, found, timings.request_ms, strict=True):
            served[k] = Served(own, decode_ms=decode_ms, detect_ms=ms)
        return [served[k] for k in range(len(blocks))]

    def _finished(self, block: Sent) -> Detections:
        name = self.worker.choose(block.variant).model
        halves = self._halves.get(name)
        if halves is None:
            raise InputError(f"network '{name}' cannot go on from features; send pictures")
        found, picture = halves.tail(block.data)
        return in_full_image(found, picture, block.roi)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
