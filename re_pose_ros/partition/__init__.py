"""Which blocks of a frame are looked at, with which network, on which worker."""

from __future__ import annotations

from collections.abc import Callable

from re_pose_ros.errors import InputError
from re_pose_ros.partition.base import (
    FrameOutcome,
    PartitionContext,
    Partitioner,
    PartitionSettings,
)
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.partition.elf import Elf
from re_pose_ros.partition.re_pose import RePose, RePoseOptions
from re_pose_ros.partition.tiles import Uniform, Whole

__all__ = [
    "PARTITIONERS",
    "FrameOutcome",
    "PartitionContext",
    "PartitionSettings",
    "Partitioner",
    "make_partitioner",
]

PARTITIONERS: dict[str, Callable[[PartitionSettings], Partitioner]] = {
    "whole": Whole,
    "uniform": Uniform,
    "clusters": Clusters,
    "elf": Elf,
    "greedy": lambda settings: RePose(settings, RePoseOptions("greedy"), "greedy"),
    "re_pose": RePose,
}
"""Every method by the name that users choose it by."""


def make_partitioner(name: str, settings: PartitionSettings | None = None) -> Partitioner:
    """A new partitioner; raises InputError where ``name`` is not one of ``PARTITIONERS``."""
    if name not in PARTITIONERS:
        raise InputError(f"partitioner '{name}' is unknown; use one of {', '.join(PARTITIONERS)}")
    return PARTITIONERS[name](settings or PartitionSettings())
