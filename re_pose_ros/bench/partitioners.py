"""Partitioners that only a bench has: what other software does, and those that know the truth."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from re_pose_ros.detections import Detections
from re_pose_ros.distribution import ObjectDistribution
from re_pose_ros.geometry import Block, box_areas, whole
from re_pose_ros.ground_truth import UNKNOWN_TRACK, GroundTruth
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    Partitioner,
    PartitionSettings,
    smallest_variant,
)
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.partition.tiles import whole_look
from re_pose_ros.plan import BlockRequest, Expectation


@runtime_checkable
class Knowing(Partitioner, Protocol):
    """A partitioner that can be told what there is."""

    def know(self, objects: ObjectDistribution) -> None:
        """What is to be found in the next frame."""


def true_objects(truth: GroundTruth, frame_size: tuple[int, int]) -> ObjectDistribution:
    """What one who knows everything believes, within the frame; not what is to be ignored.

    Objects have the truth's track ids where all of them have one.
    """
    boxes = truth.xyxy.clip(0, np.tile(frame_size, 2)).astype(np.float64)
    wanted = ~truth.ignore & (box_areas(boxes) > 0)
    tracks = truth.track_id[wanted]
    tracked = tracks if (tracks != UNKNOWN_TRACK).all() else None
    return ObjectDistribution.of(boxes[wanted], truth.class_id[wanted], track_id=tracked)


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
        self._objects = ObjectDistribution.empty()

    def know(self, objects: ObjectDistribution) -> None:
        self._objects = objects

    def partition(self, context: PartitionContext) -> list[BlockRequest]:
        objects = self._objects
        there = Detections.of(objects.xyxy, objects.weight, objects.class_id)
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
