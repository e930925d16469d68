"""What every partition method takes, gives and can be tuned by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from re_pose_ros.detections import Detections
from re_pose_ros.errors import InputError
from re_pose_ros.plan import BlockRequest, Variant


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

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"partition setting {name} = {value} is not in [{low}, {high}]")


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

    Raises InputError where there is no slot or no pixel.
    """

    frame_size: tuple[int, int]
    slots: int
    variants: tuple[Variant, ...] = ()
    speeds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise InputError(f"partitioning needs at least one worker slot, got {self.slots}")
        if min(self.frame_size) < 1:
            raise InputError(f"a frame of {self.frame_size} pixels cannot be partitioned")


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

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        """The blocks of the next frame: at least one, at most ``context.slots``."""

    def observe(self, detections: Detections) -> None:
        """Take the fused detections of the latest frame, in full-image pixels."""


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
