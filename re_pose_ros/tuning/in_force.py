"""A partitioner's parameters as the settings of its workers, and settings as parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from re_pose_ros.coinference.per_worker import settings_by_worker
from re_pose_ros.coinference.profile import ActionTable
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.parameters.table import Value

SHARED = tuple(f"coinference.{name}" for name in ("exit", "cut", "bits", "quality"))
"""What is set, with one value per worker."""

READ = ("workers", "jpeg_quality", "coinference.model", *SHARED)
"""What has to be known of a partitioner; parameters that it does not have are None."""


def obstacle(values: Mapping[str, Any], table: ActionTable, workers: Collection[str]) -> str:
    """Why a partitioner with these parameters cannot be tuned; empty where it can."""
    if any(values.get(name) is None for name in READ):
        return "the partitioner has no parameters coinference.*; start that of this package"
    model = Path(str(values["coinference.model"])).stem
    if not model:
        way_out = f"set coinference.model of the partitioner to {table.model}"
        return f"the robot has no network; {way_out}"
    if model != table.model:
        return (
            f"the robot's network is {model}, but the table of actions is of {table.model}; "
            "give the tuner the same model as the partitioner"
        )
    theirs = list(values["workers"])
    if set(theirs) != set(workers):
        return f"the partitioner's workers are {', '.join(theirs)}; give the tuner the same"
    return ""


def settings_of(values: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings by worker, from parameters without an ``obstacle``."""
    exits, cuts, bits, qualities = (list(values[name]) for name in SHARED)
    workers, usual = list(values["workers"]), int(values["jpeg_quality"])
    return settings_by_worker(workers, exits, cuts, bits, qualities, usual)


def parameters_of(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> dict[str, Value]:
    """Settings as parameters; what does not count for a worker stays as it is in ``values``."""
    workers = list(values["workers"])
    own: dict[str, list[Any]] = {}
    for name in SHARED:
        before = list(values[name])
        own[name] = before * len(workers) if len(before) == 1 else before
    exits, cuts, bits, qualities = (own[name] for name in SHARED)
    for k, worker in enumerate(workers):
        setting = settings[worker]
        exits[k], cuts[k] = setting.exit, setting.cut
        bits[k] = setting.bits or bits[k]
        qualities[k] = setting.quality or qualities[k]
    return {name: own[name] for name in SHARED}
