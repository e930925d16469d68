"""Partitions that do not look at the content: the whole frame, and a uniform grid of tiles."""

from __future__ import annotations

import math

from re_pose_ros.geometry import Block, whole
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    PartitionSettings,
    smallest_variant,
)
from re_pose_ros.plan import BlockRequest, Expectation


def whole_look(context: PartitionContext, settings: PartitionSettings) -> BlockRequest:
    """The frame as one block, on an input of ``whole_size``."""
    variant = smallest_variant(context.variants, settings.whole_size)
    return BlockRequest(whole(*context.frame_size), variant)


def starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles of ``tile`` pixels begin along ``length`` pixels, evenly spread.

    The first begins at 0 and the last ends at ``length``; neighbours share at least ``overlap``
    of a tile. One start where the tile is as long as the length or longer.
    """
    if tile >= length:
        return [0]
    stride = max(1, math.floor(tile * (1 - overlap)))
    gaps = math.ceil((length - tile) / stride)
    return [round(k * (length - tile) / gaps) for k in range(gaps + 1)]


def grid(frame_size: tuple[int, int], tile: int, overlap: float) -> list[Block]:
    """Square tiles, row by row, that cover the frame; a tile is clipped to a smaller frame."""
    width, height = frame_size
    columns, rows = starts(width, tile, overlap), starts(height, tile, overlap)
    size = min(tile, width), min(tile, height)
    return [Block(x, y, *size) for y in rows for x in columns]


def fitting_tile(frame_size: tuple[int, int], tile: int, overlap: float, slots: int) -> int:
    """The smallest tile from ``tile`` upwards whose grid has at most ``slots`` tiles."""

    def fits(size: int) -> bool:
        across, down = (len(starts(length, size, overlap)) for length in frame_size)
        return across * down <= slots

    if fits(tile):
        return tile
    low, high = tile, max(frame_size)  # a larger tile never needs more of them: bisect
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


class Whole:
    """One block: the frame."""

    name = "whole"
    notes: tuple[str, ...] = ()
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        return [whole_look(context, self.settings)]

    def observe(self, outcome: FrameOutcome) -> None:
        """Nothing to learn."""


class Uniform:
    """A grid of overlapping tiles, each enlarged to the next input size there is.

    The last column and row end at the frame's edge, as in SAHI; the overlap is spread evenly.
    Where the grid has more tiles than there are slots the tiles grow until it fits, and ``notes``
    says so.
    """

    name = "uniform"
    expected: Expectation | None = None

    def __init__(self, settings: PartitionSettings) -> None:
        self.settings = settings
        self.notes: tuple[str, ...] = ()

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        settings, size = self.settings, context.frame_size
        look = settings.full_pass and context.slots > 1
        slots = context.slots - look
        tile = fitting_tile(size, settings.tile_size, settings.overlap, slots)
        self.notes = ()
        if tile != settings.tile_size:
            wanted = len(grid(size, settings.tile_size, settings.overlap))
            self.notes = (
                f"tiles of {settings.tile_size} px would be {wanted} blocks for {slots} slots; "
                f"grown to {tile} px (add workers or slots, or raise tile_size)",
            )
        blocks = grid(size, tile, settings.overlap)
        requests = [
            BlockRequest(b, smallest_variant(context.variants, max(b.width, b.height)))
            for b in blocks
        ]
        if look and len(blocks) > 1:
            requests.append(whole_look(context, settings))
        return requests

    def observe(self, outcome: FrameOutcome) -> None:
        """Nothing to learn."""
