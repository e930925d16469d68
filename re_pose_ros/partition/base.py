"""What every partition method takes, gives and can be tuned by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from re_pose_ros.detection.profile import Profile
from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.plan import BlockRequest, Expectation, PlannedBlock, Variant
from re_pose_ros.planning.options import OBJECTIVES


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """The tunables of all methods; each method reads its own.

    Attributes:
        whole_size: wanted network input in pixels of a look at the whole frame, 32 to 8192.
        tile_size: uniform: side of a tile in image pixels, 32 to 8192.
        overlap: uniform: least share of a tile that its neighbour sees too, 0 to 0.9.
        full_pass: uniform: add a look at the whole frame, as SAHI does; takes one slot.
        bandwidth: clusters: radius within which objects attract each other, in object sizes,
            0.5 to 100.
        margin: clusters: what a block shows around its objects on each side, in median object
            sizes of the block, 0 to 10.
        growth: elf: what a block shows around its objects on each side, as a share of its own side,
            0 to 1.
        min_block: clusters, elf: least side of a block in image pixels, 16 to 4096.
        max_blocks: clusters: most blocks besides the look, 0 to 1024; 0 leaves it to the slots.
        target_object: clusters: object size wanted on the network's input in pixels, 4 to 512;
            larger finds more and costs more. The default is the (geometric) middle of what COCO
            calls medium, 32 to 96 pixels.
        look_every: clusters, elf: a look at the whole frame in every so many frames, 1 to 1000.
        look_scale: elf: network-input pixels per image pixel of a look, 0.05 to 1.
        memory: clusters: for how many frames an object is remembered, 1 to 100.
        budget_ms: re_pose, greedy: from having a frame to having its detections, 5 to 60000.
        objective: re_pose, greedy: ``latency``, ``accuracy`` or ``balanced``; see
            ``planning.Objective``.
        unseen_frames: re_pose, greedy: for how many frames a part of the frame may go unseen, 0 to
            1000.
        most_enlarged: re_pose, greedy: by how much blocks may be enlarged at most, 1 to 8; a
            network that was trained on larger objects than yours gains from more.
        class_balance: re_pose, greedy: with 0 every object counts the same, with 1 every class, 0
            to 1; in between, rare classes count for more than they are many.

    An object's size is the square root of its box's area, as in COCO.
    Raises InputError for a value outside its range.
    """

    whole_size: int = 640
    tile_size: int = 640
    overlap: float = 0.2
    full_pass: bool = False
    bandwidth: float = 6.0
    margin: float = 1.0
    growth: float = 0.06
    min_block: int = 160
    max_blocks: int = 0
    target_object: float = 56.0
    look_every: int = 10
    look_scale: float = 0.4
    memory: int = 3
    budget_ms: float = 150.0
    objective: str = "accuracy"
    unseen_frames: int = 10
    most_enlarged: float = 1.5
    class_balance: float = 0.5

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"partition setting {name} = {value} is not in [{low}, {high}]")
        if self.objective not in OBJECTIVES:
            raise InputError(
                f"partition setting objective = '{self.objective}' is unknown; use "
                f"{', '.join(OBJECTIVES)}"
            )


RANGES: dict[str, tuple[float, float]] = {
    "whole_size": (32, 8192),
    "tile_size": (32, 8192),
    "overlap": (0.0, 0.9),
    "bandwidth": (0.5, 100.0),
    "margin": (0.0, 10.0),
    "growth": (0.0, 1.0),
    "min_block": (16, 4096),
    "max_blocks": (0, 1024),
    "target_object": (4.0, 512.0),
    "look_every": (1, 1000),
    "look_scale": (0.05, 1.0),
    "memory": (1, 100),
    "budget_ms": (5.0, 60_000.0),
    "unseen_frames": (0, 1000),
    "most_enlarged": (1.0, 8.0),
    "class_balance": (0.0, 1.0),
}
"""Inclusive range of each number in ``PartitionSettings``."""


@dataclass(frozen=True, slots=True)
class PartitionContext:
    """What a method may use for one frame.

    Attributes:
        frame_size: (width, height) in pixels.
        slots: how many blocks the workers can take, at least 1.
        variants: networks that every worker offers; empty where that is unknown.
        speeds: work per time of each worker, relative to one another, in any order; empty where
            that is unknown.
        workers: slots of each worker by name, ``slots`` together; empty where that is unknown.
        profiles: what each worker can do, by name; none of those that are not ours.
        stamp_ns: the frame's time; None where it has none.
        thumbnail: the frame, small; see ``distribution.schedule.thumbnail``. None where nobody
            made one.

    Raises InputError where there is no slot or no pixel.
    """

    frame_size: tuple[int, int]
    slots: int
    variants: tuple[Variant, ...] = ()
    speeds: tuple[float, ...] = ()
    workers: Mapping[str, int] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    stamp_ns: int | None = None
    thumbnail: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise InputError(f"partitioning needs at least one worker slot, got {self.slots}")
        if min(self.frame_size) < 1:
            raise InputError(f"a frame of {self.frame_size} pixels cannot be partitioned")


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What came of one block of a plan; what nobody measured is None.

    Attributes:
        answered: whether its detections arrived, in time to be fused.
        compute_ms: the worker's own time for it.
        transfer_ms: the time it spent outside the worker, there and back.
        sent_bytes: size of its image.
        encode_ms: the robot's time for cropping and encoding it.
    """

    answered: bool = True
    compute_ms: float | None = None
    transfer_ms: float | None = None
    sent_bytes: int | None = None
    encode_ms: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutcome:
    """What came of one frame.

    Attributes:
        detections: fused, in full-image pixels; ``block`` indexes ``blocks``.
        blocks: those of the frame's plan.
        outcomes: one per block; empty where nothing is known, but that all were answered.
        stamp_ns: the frame's time; None where it has none.
        overhead_ms: the robot's own work for the frame, without encoding: planning and fusion.
        makespan_ms: from having the frame to having its detections; None where nobody measured it.
    """

    detections: Detections
    blocks: tuple[PlannedBlock, ...] = ()
    outcomes: tuple[BlockOutcome, ...] = ()
    stamp_ns: int | None = None
    overhead_ms: float | None = None
    makespan_ms: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where there are outcomes, but not as many as blocks."""
        if self.outcomes and len(self.outcomes) != len(self.blocks):
            raise ValueError(f"{len(self.outcomes)} outcomes of {len(self.blocks)} blocks")

    @property
    def answered(self) -> tuple[bool, ...]:
        """Per block, whether its detections arrived."""
        if not self.outcomes:
            return (True,) * len(self.blocks)
        return tuple(outcome.answered for outcome in self.outcomes)


class Partitioner(Protocol):
    """A method that chooses the blocks of a frame; deterministic in what it was given so far."""

    settings: PartitionSettings
    """May be replaced between frames."""

    @property
    def name(self) -> str:
        """As in the registry."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the last partition, one line each; mostly empty."""

    @property
    def expected(self) -> Expectation | None:
        """What is expected of the last partition; None of methods that expect nothing."""

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        """The blocks of the next frame, in the order in which they are to be sent.

        At least one, at most ``context.slots``; of one worker no more than it has slots.
        """

    def observe(self, outcome: FrameOutcome) -> None:
        """Take what came of the latest frame."""


def smallest_variant(variants: Sequence[Variant], input_size: float) -> Variant | None:
    """The smallest variant of at least ``input_size``, else the largest; None where none is known.

    Among variants of one input size the first is taken.
    """
    if not variants:
        return None
    large = [variant for variant in variants if variant.input_size >= input_size]
    if large:
        return min(large, key=lambda variant: variant.input_size)
    return max(variants, key=lambda variant: variant.input_size)
