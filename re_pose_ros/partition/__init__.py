"""Which blocks of a frame are looked at, with which network, on which worker."""

from __future__ import annotations

from collections.abc import Callable

from re_pose_ros.errors import InputError
from re_pose_ros.partition.base import PartitionContext, Partitioner, PartitionSettings
from re_pose_ros.partition.clusters import Clusters
from re_pose_ros.partition.elf import Elf
from re_pose_ros.partition.tiles import Uniform, Whole

__all__ = [
    "PARTITIONERS",
    "PartitionContext",
    "PartitionSettings",
    "Partitioner",
    "make_partitioner",
]

PARTITIONERS: dict[str, Callable[[PartitionSettings], Partitioner]] = {
    kind.name: kind for kind in (Whole, Uniform, Clusters, Elf)
}
"""Every method by the name that users choose it by."""


def make_partitioner(name: str, settings: PartitionSettings | None = None) -> Partitioner:
    """A new partitioner; raises InputError where ``name`` is not one of ``PARTITIONERS``."""
    if name not in PARTITIONERS:
        raise InputError(f"partitioner '{name}' is unknown; use one of {', '.join(PARTITIONERS)}")
    return PARTITIONERS[name](settings or PartitionSettings())
