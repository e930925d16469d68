"""``bench ablation``: the planner without its parts, under many conditions, in one file.

Each part of the ablation is a ``bench partition`` on scenes of its own conditions. The file is
written after each, so that a run that ended early goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from re_pose_ros.bench import notes
from re_pose_ros.bench.command import check_writable
from re_pose_ros.bench.compare import compare
from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.planners import PARTS
from re_pose_ros.bench.table import aligned, three
from re_pose_ros.datasets import open_dataset
from re_pose_ros.errors import InputError

METHODS = (
    "whole_640",
    "whole_1280",
    "clusters",
    "greedy",
    "re_pose",
    *(f"re_pose_no_{part}" for part in PARTS),
)
"""What is compared when it is not told."""

WORKERS = (1, 2, 4, 8)
SIZES = ("1920x1080", "3840x2160", "7680x4320")
DENSITIES = {
    "sparse": ("plaza", "objects=0.3"),
    "clustered": ("plaza", ""),
    "uniform": ("yard", ""),
    "crowded": ("plaza", "objects=2.5"),
}
"""Kind of scene, and its options."""

BASE = (4, "3840x2160", "clustered")
"""Workers, size and density where another of them is varied."""

STEP = 5
"""Every so many frames of a scene, which has 25 a second."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is to be run.

    Attributes:
        seeds: of the scenes, at least one; each is a data set of every part.
        frames: counted, of each scene.
        quick: few frames and conditions, to see that it runs.
        cross: all combinations of the conditions, not only one varied at a time.
        warm: frames of each scene before those that count.

    Raises InputError for a value that cannot be used.
    """

    seeds: tuple[int, ...] = (601, 602)
    frames: int = 6
    quick: bool = False
    cross: bool = False
    warm: int = 2

    def __post_init__(self) -> None:
        if not self.seeds:
            raise InputError("an ablation needs at least one seed")
        if self.frames < 1:
            raise InputError(f"frames is {self.frames}; it has to be at least 1")


@dataclass(frozen=True, slots=True)
class Part:
    """One set of conditions.

    Attributes:
        workers: to plan for.
        size: of the frames, as scenes are told it.
        density: of ``DENSITIES``.
    """

    workers: int
    size: str
    density: str

    @property
    def name(self) -> str:
        return f"{self.workers} workers, {self.size}, {self.density}"

    def specs(self, extent: Extent) -> tuple[str, ...]:
        """The scenes."""
        kind, options = DENSITIES[self.density]
        frames = STEP * (extent.warm + (1 if extent.quick else extent.frames))
        more = f"&{options}" if options else ""
        seeds = extent.seeds[:1] if extent.quick else extent.seeds
        return tuple(
            f"scene:{kind}?seed={seed}&size={self.size}{more}&frames={frames}&step={STEP}"
            for seed in seeds
        )


def parts(extent: Extent) -> list[Part]:
    """All sets of conditions, each once, the base first unless all are combined."""
    if extent.quick:
        return [Part(1, SIZES[0], "clustered"), Part(4, SIZES[0], "sparse")]
    if extent.cross:
        return [Part(*of) for of in product(WORKERS, SIZES, DENSITIES)]
    workers, size, density = BASE
    found = [Part(*BASE)]
    found += [Part(count, size, density) for count in WORKERS]
    found += [Part(workers, other, density) for other in SIZES]
    found += [Part(workers, size, kind) for kind in DENSITIES]
    return list(dict.fromkeys(found))


def bench_ablation(
    options: BenchOptions, extent: Extent, *, file: Path | None = None
) -> dict[str, Any]:
    """Run what is missing in the file, keep it there, and print the table.

    Args:
        options: of every part, but for ``workers`` and ``warm``.
        extent: see there.
        file: results as JSON; what it holds of the same settings is not run again.

    Raises:
        InputError: something cannot be used, the file holds something else or the same parts with
            other settings, or a worker ended.
    """
    wanted = parts(extent)
    asked = {part.name: _asked(part, options, extent) for part in wanted}
    done: dict[str, Any] = {}
    if file is not None:
        done = _kept(file, asked)
        check_writable(file)
    for number, part in enumerate(wanted, 1):
        there = part.name in done
        print(f"{number} of {len(wanted)}: {part.name}" + (" (in the file)" if there else ""))
        if there:
            continue
        data = [(spec, open_dataset(spec)) for spec in part.specs(extent)]
        result = compare(data, _options(part, options, extent))
        done[part.name] = {"asked": asked[part.name], "result": result}
        if file is not None:
            _write(file, _content(done))
    content = _content({name: done[name] for name in asked} | done)
    if file is not None:
        _write(file, content)
    print(table(content))
    return content


def _content(done: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": "bench ablation",
        "version": 1,
        "summary": {name: summary(of["result"]) for name, of in done.items()},
        "parts": done,
    }


def _options(part: Part, options: BenchOptions, extent: Extent) -> BenchOptions:
    return replace(options, workers=part.workers, warm=extent.warm)


def _asked(part: Part, options: BenchOptions, extent: Extent) -> dict[str, Any]:
    """What a part is told, as JSON reads it back."""
    own = _options(part, options, extent)
    asked = {
        "data": part.specs(extent),
        "workers": part.workers,
        "bandwidth_mbit_s": own.bandwidth_mbit_s,
        "links": own.links,
        "settings": notes.settings(own, own.class_map),
    }
    read: dict[str, Any] = json.loads(json.dumps(asked))
    return read


def _kept(file: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that a file holds.

    Raises InputError where it is none of an ablation, or one of parts that are now asked for with
    other settings: what took hours is not overwritten.
    """
    if not file.exists() or not file.stat().st_size:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["kind"] != "bench ablation":
            raise KeyError("kind")
        parts: dict[str, Any] = content["parts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} holds no ablation to go on with; give another name") from error
    for name, of in parts.items():
        if name in asked and of["asked"] != asked[name]:
            raise InputError(f"{file} holds '{name}' with other settings; give another name")
    return parts


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """At once, so that an end in between leaves what was there."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, file)


def summary(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By method, its main figures and whether it ``pays``.

    It pays where no look at the whole frame that was compared is both as accurate and as fast.
    """
    methods = result["methods"]
    looks = [of for name, of in methods.items() if name.startswith("whole_")]

    def place(of: Mapping[str, Any]) -> tuple[float, float]:
        return of["map50"] or 0.0, of["makespan_ms"]["p50"]

    found = {}
    for name, of in methods.items():
        value, time = place(of)
        beaten = [v >= value and t <= time for v, t in map(place, looks)]
        budget = of["budget"]
        found[name] = {
            "map50": of["map50"],
            "makespan_p50_ms": time,
            "over_10_percent": budget and budget["over_10_percent"],
            **({} if name.startswith("whole_") else {"pays": not any(beaten)}),
        }
    return found


def table(content: Mapping[str, Any]) -> str:
    """mAP50 and median makespan of every method in every part; ``!`` marks what does not pay."""
    names = list(dict.fromkeys(name for of in content["summary"].values() for name in of))
    rows: list[Sequence[str]] = [("", *names)]
    for part, methods in content["summary"].items():
        cells = []
        for name in names:
            of = methods.get(name)
            mark = "" if of is None or of.get("pays", True) else "!"
            text = "-" if of is None else f"{three(of['map50'])} {of['makespan_p50_ms']:.0f}{mark}"
            cells.append(text)
        rows.append((part, *cells))
    return "\n".join([*aligned(rows), "mAP50 and makespan (median, ms); ! does not pay"])
