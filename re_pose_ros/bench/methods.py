"""What is compared: how a frame becomes blocks, where they go, and what is done with them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Protocol

from re_pose_ros.detection.networks import has_tiles
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.frame import Frame
from re_pose_ros.geometry import Block, whole
from re_pose_ros.ground_truth import GroundTruth
from re_pose_ros.partition import PARTITIONERS, Partitioner, make_partitioner
from re_pose_ros.partition.assign import assign
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
    smallest_variant,
)
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.partition.tiles import whole_look
from re_pose_ros.plan import BlockRequest, Expectation, PlannedBlock, Variant

DEFAULT = (
    "whole_640",
    "whole_1280",
    "tiles",
    "sahi",
    "ultralytics_tile",
    "clusters",
    "elf",
    "ground_truth",
)
"""What a bench compares when it is not told."""

ELF_LOOK_EVERY = 3
"""As in the authors' code; the setting's default is for clusters."""

_WHOLE = re.compile(r"whole_([1-9][0-9]{1,3})")
_TILES = 1 << 12  # no frame has more
_NATIVE = range(32, 8193, 32)


class Method(Protocol):
    """One way of looking at frames that follow one another."""

    @property
    def name(self) -> str:
        """In tables, and in the JSON under ``methods``."""

    @property
    def job(self) -> str:
        """What workers do with its blocks; see ``pool.Task``."""

    @property
    def remembers(self) -> bool:
        """Whether what it does depends on the frames before."""

    def begin(self) -> None:
        """Another sequence begins: forget."""

    def plan(self, frame: Frame, truth: GroundTruth) -> tuple[PlannedBlock, ...]:
        """The blocks of the next frame on their workers; ``truth`` is for methods that cheat."""

    def observe(self, outcome: FrameOutcome) -> None:
        """Take what came of that frame."""


@dataclass(frozen=True)
class MethodSettings:
    """What methods are made with.

    Attributes:
        model: the network, as variants call it.
        workers: speed of each, by name; 1 is what times are measured at.
        slots: blocks per worker and frame of the partitioners that heed it.
        input_sizes: network inputs that ``clusters``, ``ground_truth`` and the like choose from.
        partition: settings of the partitioners; ``tiles`` has ``tile_size`` and ``overlap`` of it.
        changed: names of those that were set by the user.
    """

    model: str
    workers: Mapping[str, float]
    slots: int = 8
    input_sizes: tuple[int, ...] = (320, 640)
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    changed: frozenset[str] = frozenset()

    def variants(self, sizes: Sequence[int]) -> tuple[Variant, ...]:
        return tuple(Variant(self.model, size) for size in sizes)


@dataclass
class Partitioned:
    """A method that is a partitioner, with its blocks spread over the workers as in the graph."""

    name: str
    make: Callable[[], Partitioner]
    variants: tuple[Variant, ...]
    workers: Mapping[str, float]
    slots: int
    remembers: bool = True
    job: str = "detect"

    def __post_init__(self) -> None:
        self._partitioner = self.make()

    def begin(self) -> None:
        self._partitioner = self.make()

    def plan(self, frame: Frame, truth: GroundTruth) -> tuple[PlannedBlock, ...]:
        context = PartitionContext(
            frame.size,
            self.slots * len(self.workers),
            self.variants,
            tuple(self.workers.values()),
        )
        if isinstance(self._partitioner, TruthBlocks):
            self._partitioner.know(truth)
        requests = self._partitioner.partition(context)
        return assign(requests, dict.fromkeys(self.workers, self.slots), speed=self.workers)

    def observe(self, outcome: FrameOutcome) -> None:
        self._partitioner.observe(outcome)


class SahiTiles:
    """The slices that sahi makes, each on an input of its size, and a look at the whole frame."""

    name = "tiles"
    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        settings = self.settings
        tiles = sahi_slices(context.frame_size, settings.tile_size, settings.overlap)
        requests = [
            BlockRequest(tile, smallest_variant(context.variants, settings.tile_size))
            for tile in tiles
        ]
        if len(requests) > 1:
            requests.append(whole_look(context, settings))
        return requests

    def observe(self, outcome: FrameOutcome) -> None:
        """Nothing to learn."""


class WholeImage:
    """The frame as it is, for a worker that cuts it by itself."""

    name = "whole_image"
    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        return [BlockRequest(whole(*context.frame_size))]

    def observe(self, outcome: FrameOutcome) -> None:
        """Nothing to learn."""


class TruthBlocks:
    """The blocks that ``clusters`` makes, around what is there instead of what was found."""

    name = "ground_truth"
    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings
        self._truth = GroundTruth.empty()

    def know(self, truth: GroundTruth) -> None:
        """What is to be found in the next frame."""
        self._truth = truth.take(~truth.ignore)

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        there = Detections.of(self._truth.xyxy, [1.0] * len(self._truth), self._truth.class_id)
        blocks = Clusters(self.settings).around(there, context, context.slots)
        return blocks or [whole_look(context, self.settings)]

    def observe(self, outcome: FrameOutcome) -> None:
        """It knows already."""


def sahi_slices(frame_size: tuple[int, int], tile: int, overlap: float) -> list[Block]:
    """Slices as ``sahi.slicing.get_slice_bboxes`` places them, row by row.

    The stride is the tile less the whole pixels of the overlap; the last of a row or column is
    moved inwards to end at the frame's edge.
    """
    stride = tile - int(overlap * tile)

    def starts(length: int) -> list[int]:
        if length <= tile:
            return [0]
        return [*range(0, length - tile, stride), length - tile]

    width, height = (min(tile, length) for length in frame_size)
    return [
        Block(x, y, width, height) for y in starts(frame_size[1]) for x in starts(frame_size[0])
    ]


def make_methods(
    names: Sequence[str], settings: MethodSettings
) -> tuple[list[Method], dict[str, str]]:
    """The methods of these names, and those that cannot run here by name with the reason.

    Args:
        names: of ``DEFAULT``, any partitioner, ``whole_<input size>``, or ``sahi_greedynmm``, which
            has sahi merge by GREEDYNMM at any confidence.
        settings: what they are made with.

    Raises:
        InputError: an unknown name, or one given twice.
    """
    twice = {name for name in names if list(names).count(name) > 1}
    if twice:
        raise InputError(f"method '{min(twice)}' is given twice")
    reasons = {name: reason for name in names if (reason := unavailable(name))}
    return [_make(name, settings) for name in names if name not in reasons], reasons


def unavailable(name: str) -> str:
    """Why a method cannot run here; empty where it can."""
    if name in ("sahi", "sahi_greedynmm") and find_spec("sahi") is None:
        return "the sahi package is not installed; pip install sahi"
    if name == "ultralytics_tile" and not has_tiles():
        from importlib.metadata import version

        return f"ultralytics {version('ultralytics')} has no option tile"
    return ""


def _make(name: str, settings: MethodSettings) -> Method:
    partition = settings.partition
    if match := _WHOLE.fullmatch(name):
        size = int(match[1])
        look = replace(partition, whole_size=size)
        return _on_all(name, lambda: make_partitioner("whole", look), (size,), settings)
    if name == "tiles":
        look = replace(partition, whole_size=partition.tile_size)
        return _on_all(name, lambda: SahiTiles(look), (look.tile_size,), settings, _TILES)
    if name in ("sahi", "sahi_greedynmm", "ultralytics_tile"):
        return _on_fastest(name, settings)
    if name == "ground_truth":
        return _on_all(name, lambda: TruthBlocks(partition), settings.input_sizes, settings)
    if name == "elf":
        if "look_every" not in settings.changed:
            partition = replace(partition, look_every=ELF_LOOK_EVERY)
        return replace(
            _on_all(name, lambda: make_partitioner("elf", partition), _NATIVE, settings),
            remembers=True,
        )
    if name in PARTITIONERS:
        return replace(
            _on_all(
                name, lambda: make_partitioner(name, partition), settings.input_sizes, settings
            ),
            remembers=name not in ("whole", "uniform"),
        )
    known = ", ".join(dict.fromkeys([*DEFAULT, "whole_<size>", "sahi_greedynmm", *PARTITIONERS]))
    raise InputError(f"method '{name}' is unknown; known: {known}")


def _on_all(
    name: str,
    make: Callable[[], Partitioner],
    sizes: Sequence[int],
    settings: MethodSettings,
    slots: int = 0,
) -> Partitioned:
    """A method without memory on all workers."""
    return Partitioned(
        name,
        make,
        settings.variants(sizes),
        settings.workers,
        slots or settings.slots,
        remembers=False,
    )


def _on_fastest(name: str, settings: MethodSettings) -> Partitioned:
    """A job that one worker does alone."""
    fastest = max(settings.workers, key=lambda worker: settings.workers[worker])
    return Partitioned(
        name,
        lambda: WholeImage(settings.partition),
        (),
        {fastest: settings.workers[fastest]},
        1,
        remembers=False,
        job=name,
    )
