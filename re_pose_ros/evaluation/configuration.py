"""The ways of working that one evaluation compares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from re_pose_ros.detection.model import Model
from re_pose_ros.errors import InputError
from re_pose_ros.fusion.fuse import FusionSettings
from re_pose_ros.parameters.table import Value
from re_pose_ros.parameters.tables import TABLES
from re_pose_ros.partition import PARTITIONERS
from re_pose_ros.partition.base import PartitionSettings
from re_pose_ros.pipeline import Pipeline

SIZED = {"whole": "whole_size", "uniform": "tile_size"}
"""Partitioners whose name may carry a size, as ``whole_1280``, and the setting that it is."""

_MERGING = {
    "merge_metric": "metric",
    "merge_threshold": "threshold",
    "merge_mode": "mode",
    "class_aware": "class_aware",
}


@dataclass(frozen=True)
class Configuration:
    """One method with everything that it is set to; the networks are given beside it.

    Attributes:
        name: in tables and plots; that of the partitioner, with its size where that was given.
        partitioner: of ``PARTITIONERS``.
        input_sizes: network inputs to choose from, in pixels.
        workers: detectors to plan for.
        slots: blocks that each takes per frame.
        jpeg_quality: of the blocks, 1 to 100; 0 hands them over as they are.
        partition: settings of the partitioner.
        fusion: how the blocks' answers become one.
    """

    name: str
    partitioner: str = "clusters"
    input_sizes: tuple[int, ...] = (320, 640)
    workers: int = 1
    slots: int = 8
    jpeg_quality: int = 90
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)

    def pipeline(self, models: Sequence[Model]) -> Pipeline:
        """A pipeline of its own; the models may be shared."""
        return Pipeline(
            models,
            partitioner=self.partitioner,
            input_sizes=self.input_sizes,
            workers=self.workers,
            slots=self.slots,
            partition=self.partition,
            fusion=self.fusion,
            jpeg_quality=self.jpeg_quality,
        )

    def described(self) -> dict[str, Any]:
        """All settings as JSON has them."""
        partition = {f.name: getattr(self.partition, f.name) for f in fields(self.partition)}
        merging = {ours: getattr(self.fusion.merge, theirs) for ours, theirs in _MERGING.items()}
        return {
            "partitioner": self.partitioner,
            "input_sizes": list(self.input_sizes),
            "workers": self.workers,
            "slots": self.slots,
            "jpeg_quality": self.jpeg_quality,
            "partition": partition,
            "fusion": {**merging, "cut_margin": self.fusion.cut_margin},
        }


def configurations(
    names: Sequence[str],
    *,
    input_sizes: Sequence[int] = (320, 640),
    workers: int = 1,
    slots: int = 8,
    jpeg_quality: int = 90,
    settings: Mapping[str, str] | None = None,
) -> list[Configuration]:
    """One configuration per name.

    Args:
        names: partitioners; ``whole_1280`` is ``whole`` on an input of 1280 pixels, ``uniform_400``
            has tiles of 400.
        input_sizes: network inputs to choose from in pixels; a size in a name is added.
        workers: detectors to plan for.
        slots: blocks that each takes per frame.
        jpeg_quality: of the blocks, 1 to 100; 0 hands them over as they are.
        settings: parameters of the nodes, as ``partitioner.margin``; see ``node_settings``.

    Raises:
        InputError: a name is unknown or given twice, or a setting cannot be used.
    """
    if not 0 <= jpeg_quality <= 100:
        raise InputError(f"JPEG quality is {jpeg_quality}; it has to be 1 to 100, or 0 for none")
    partition, fusion = node_settings(settings or {})
    made = []
    for name in names:
        kind, own, sizes = _sized(name, partition, input_sizes)
        made.append(
            Configuration(
                name, kind, sizes, workers, slots, jpeg_quality, partition=own, fusion=fusion
            )
        )
    twice = sorted({c.name for c in made if [d.name for d in made].count(c.name) > 1})
    if twice:
        raise InputError(f"partitioner '{twice[0]}' is given twice")
    if not made:
        raise InputError(f"no partitioner is given; choose from {', '.join(PARTITIONERS)}")
    return made


def _sized(
    name: str, partition: PartitionSettings, input_sizes: Sequence[int]
) -> tuple[str, PartitionSettings, tuple[int, ...]]:
    """Partitioner, its settings and its input sizes, with the size that the name carries."""
    sizes = tuple(input_sizes)
    match = re.fullmatch(rf"({'|'.join(SIZED)})_([0-9]{{2,4}})", name)
    if match is None:
        if name not in PARTITIONERS:
            every = ", ".join([*PARTITIONERS, *(f"{kind}_<pixels>" for kind in SIZED)])
            raise InputError(f"partitioner '{name}' is unknown; use one of {every}")
        return name, partition, sizes
    kind, size = match[1], int(match[2])
    return (
        kind,
        replace(partition, **{SIZED[kind]: size}),  # type: ignore[arg-type]
        sizes if size in sizes else tuple(sorted((*sizes, size))),
    )


def node_settings(settings: Mapping[str, str]) -> tuple[PartitionSettings, FusionSettings]:
    """The settings that parameters of the partitioner and fusion nodes stand for.

    Raises:
        InputError: a parameter that is not known, has no effect in process, or is out of range.
    """
    partition: dict[str, Value] = {}
    merging: dict[str, Value] = {}
    margin: dict[str, Value] = {}
    known = {f.name for f in fields(PartitionSettings)}
    usable = [f"partitioner.{name}" for name in TABLES["partitioner"].parameters if name in known]
    usable += [f"fusion.{name}" for name in (*_MERGING, "cut_margin")]
    for key, text in settings.items():
        if key not in usable:
            raise InputError(f"setting '{key}' has no effect here; known: {', '.join(usable)}")
        node, _, name = key.partition(".")
        value = TABLES[node][name].parse(text)
        if node == "partitioner":
            partition[name] = value
        elif name in _MERGING:
            merging[_MERGING[name]] = value
        else:
            margin[name] = value
    fusion = FusionSettings()
    merge = replace(fusion.merge, **merging)  # type: ignore[arg-type]
    return (
        replace(PartitionSettings(), **partition),  # type: ignore[arg-type]
        replace(fusion, merge=merge, **margin),  # type: ignore[arg-type]
    )
