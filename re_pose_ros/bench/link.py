"""``bench link``: the whole graph on two hosts, with a link between them whose rate changes.

Real bytes of real messages cross a real interface; shared memory, by which DDS would go around it,
is off. The tuner is compared with settings that stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from re_pose_ros.bench.command import check_writable
from re_pose_ros.bench.namespaces import Link
from re_pose_ros.bench.table import aligned
from re_pose_ros.bench.throttle import Throttle
from re_pose_ros.coinference.setting import Setting
from re_pose_ros.errors import InputError
from re_pose_ros.provenance import commit, machine

TUNER = "tuner"
"""Among the settings: what the tuner chooses."""

SETTLING_S = 1.0
"""After a change of rate, frames are counted from then on."""

STOPPING_S = 30.0
"""That the graph has to end in."""

_ENVIRONMENT = {
    "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What is run.

    Attributes:
        settings: as of ``Setting.parse``, or ``TUNER``; what is named again is run again.
        phases: of each its rate in Mbit/s (0 cuts the link) and its length in seconds.
        deadline_ms: from a frame to its detections.
        rate: frames per second.
        source: with ground truth, endless.
        model: network, on both hosts.
        input_size: of the network, and side of the blocks.
        robot_cores: what the robot's nodes have of a core together; 0 for no limit.

    Raises InputError for what cannot be.
    """

    settings: tuple[str, ...] = (TUNER, "full/jpeg90", "full/cut5/4bit", "p5/device")
    phases: tuple[tuple[float, float], ...] = ((100.0, 10.0), (5.0, 10.0), (20.0, 10.0))
    deadline_ms: float = 300.0
    rate: float = 2.0
    source: str = "scene:street?seed=801&size=1280x640"
    model: str = "scene-n"
    input_size: int = 640
    robot_cores: float = 0.0

    def __post_init__(self) -> None:
        for text in self.settings:
            if text != TUNER:
                Setting.parse(text)
        if not self.settings or not self.phases:
            raise InputError("a link needs at least one setting and one phase")
        if any(rate < 0 or length <= SETTLING_S for rate, length in self.phases):
            raise InputError(f"phases need a rate from 0 on and more than {SETTLING_S:g} s")
        if self.robot_cores < 0:
            raise InputError("robot_cores is the part of a core that the robot has: from 0 on")


def phases_of(text: str) -> tuple[tuple[float, float], ...]:
    """Phases written as ``100:10,5:10``; raises InputError for other text."""
    try:
        parts = [item.split(":") for item in text.split(",")]
        return tuple((float(rate), float(length)) for rate, length in parts)
    except ValueError:
        raise InputError(f"phases '{text}': write Mbit/s:seconds, as 100:10,5:10,20:10") from None


def bench_link(
    options: LinkOptions, *, file: Path | None = None, plot: Path | None = None
) -> dict[str, Any]:
    """Run every setting, write the result and print its table.

    Raises:
        InputError: something cannot be used; this user cannot have network namespaces; a process
            of the graph failed.
    """
    for path in filter(None, (file, plot)):
        check_writable(path)
    content: dict[str, Any] = {
        "kind": "bench link",
        "version": 1,
        "machine": machine(),
        "commit": commit(),
        "options": asdict(options),
        "notes": {
            "hosts": "network namespaces joined by veth; what the robot sends is limited by "
            "tc-tbf, answers are not; both share the machine's cores",
            "hit": "all answers there and the detections out within the deadline, from the "
            f"camera's stamp on; frames of the first {SETTLING_S:g} s of a phase are not counted",
            "late": "frames of the whole phase that are no hit",
            "alone_s": "from the cut to the stamp of the first hit",
            "back_s": "from the link's return to the stamp of the first frame for which "
            "partitioner and tuner counted on the worker, whether or not they gave it blocks",
            "used_s": "the same to the first hit that the worker had a part in",
        },
        "settings": {},
    }
    for k, setting in enumerate(options.settings):
        again = options.settings[:k].count(setting)
        title = f"{setting} #{again + 1}" if again else setting
        content["settings"][title] = run_setting(setting, options)
        if file is not None:
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if plot is not None:
            save_plot(content, plot)
    print(table(content))
    return content


def run_setting(setting: str, options: LinkOptions) -> dict[str, Any]:
    """One run of the graph: its frames, and figures of each phase."""
    frames = round(options.rate * sum(length for _, length in options.phases)) + 2
    with Link() as link, Throttle(options.robot_cores) as throttle:
        link.limit(options.phases[0][0])
        spec = {
            "arguments": _arguments(setting, options, frames),
            "edge": link.edge,
            "robot": link.robot,
            "throttle": throttle.prefix,
            "phases": options.phases,
            "deadline_ms": options.deadline_ms,
            "frames": frames,
        }
        code, told = _played(link, spec)
    if code != 0:
        raise InputError(f"the run with '{setting}' failed with code {code}; see above")
    found: dict[str, Any] = json.loads(told)
    return {**found, "phases": phases_found(found, options)}


def _played(link: Link, spec: Mapping[str, Any]) -> tuple[int, str]:
    """Exit code and output of the robot's host; interrupted, it is given time to end its graph."""
    with subprocess.Popen(
        [*link.robot, sys.executable, "-m", "re_pose_ros.bench.link_side"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | _ENVIRONMENT,
    ) as side:
        try:
            told, _ = side.communicate(json.dumps(spec))
        except BaseException:
            side.terminate()
            side.wait(STOPPING_S)
            raise
    return side.returncode, told


def _arguments(setting: str, options: LinkOptions, frames: int) -> dict[str, str]:
    """Of ``describe``."""
    given = {
        "source": options.source,
        "camera.rate": f"{options.rate:g}",
        "camera.count": str(frames),
        "camera.loop": "true",
        "robot": "true",
        "mode": "live",
        "workers": "edge_0",
        "model": options.model,
        "input_sizes": str(options.input_size),
        "detector.threads": "1",
        "detector.profile_repeats": "1",
        "partitioner": "uniform",
        "partitioner.tile_size": str(options.input_size),
        "partitioner.overlap": "0.0",
        "partitioner.coinference.model": options.model,
        "partitioner.coinference.input_sizes": str(options.input_size),
        "log_level": "warn",
    }
    for node in ("partitioner", "fusion"):
        given[f"{node}.deadline"] = f"{options.deadline_ms / 1e3:g}"
    if setting == TUNER:
        return given | {"tuner": "true", "tuner.deadline_ms": f"{options.deadline_ms:g}"}
    fixed = Setting.parse(setting)
    return given | {
        "partitioner.coinference.exit": fixed.exit,
        "partitioner.coinference.cut": str(fixed.cut),
        "partitioner.coinference.bits": str(fixed.bits or 6),
        "partitioner.coinference.quality": str(fixed.quality),
        "detector.coinference.exit": fixed.exit,
    }


def phases_found(found: Mapping[str, Any], options: LinkOptions) -> list[dict[str, Any]]:
    """The figures of each phase, from what the robot's host gives."""
    ends = [*found["begun_ns"][1:], sys.maxsize]
    rows = []
    for k, (begin, end) in enumerate(zip(found["begun_ns"], ends, strict=True)):
        settled = begin + round(SETTLING_S * 1e9)
        whole = [f for f in found["frames"] if begin <= f["stamp_ns"] < end]
        own = [f for f in whole if f["stamp_ns"] >= settled]
        latencies = [f["latency_ms"] for f in own if f["latency_ms"] is not None]
        settings = [f["setting"] for f in own]
        rows.append(
            {
                "mbit_s": options.phases[k][0],
                "frames": len(own),
                "hit": _rounded(np.mean([f["hit"] for f in own])) if own else None,
                "late": sum(not f["hit"] for f in whole),
                "latency_ms": _percentiles(latencies),
                "bytes": round(float(np.mean([f["bytes"] for f in own]))) if own else None,
                "map50": found["map50"][k],
                "settings": {s: settings.count(s) for s in dict.fromkeys(settings)},
                **_outage(k, whole, begin, options),
            }
        )
    return rows


def _outage(
    k: int, frames: Sequence[Mapping[str, Any]], begin_ns: int, options: LinkOptions
) -> dict[str, float | None]:
    """How soon frames are in time again, of a phase without a link or after one."""

    def first(stamps: Iterable[int]) -> float | None:
        stamp = next(iter(stamps), None)
        return None if stamp is None else _rounded((stamp - begin_ns) / 1e9)

    if not options.phases[k][0]:
        return {"alone_s": first(f["stamp_ns"] for f in frames if f["hit"])}
    if k and not options.phases[k - 1][0]:
        return {
            "back_s": first(f["stamp_ns"] for f in frames if f["there"]),
            "used_s": first(f["stamp_ns"] for f in frames if f["hit"] and f["bytes"]),
        }
    return {}


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {f"p{q}": _rounded(np.percentile(values, q)) for q in (50, 95)}


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 3)


def table(content: Mapping[str, Any]) -> str:
    """The result for reading."""
    rows: list[Sequence[str]] = [
        (
            *("setting", "Mbit/s", "frames", "hit", "late", "p50 ms", "p95 ms", "kB", "mAP50"),
            "mostly",
        )
    ]
    for setting, found in content["settings"].items():
        for k, phase in enumerate(found["phases"]):
            latency = phase["latency_ms"] or {}
            used = phase["settings"]
            rows.append(
                (
                    setting if k == 0 else "",
                    f"{phase['mbit_s']:g}",
                    str(phase["frames"]),
                    "-" if phase["hit"] is None else f"{phase['hit']:.0%}",
                    str(phase["late"]),
                    f"{latency['p50']:.0f}" if latency else "-",
                    f"{latency['p95']:.0f}" if latency else "-",
                    "-" if phase["bytes"] is None else f"{phase['bytes'] / 1e3:.0f}",
                    "-" if phase["map50"] is None else f"{phase['map50']:.3f}",
                    max(used, key=used.__getitem__) if used else "-",
                )
            )
    return "\n".join([*aligned(rows), *_outages(content)])


def _outages(content: Mapping[str, Any]) -> list[str]:
    """A line for each time that the link was cut."""
    lines = []
    for setting, found in content["settings"].items():
        for cut, mended in pairwise(found["phases"]):
            if "alone_s" in cut and "back_s" in mended:
                alone, back, used = map(
                    _seconds, (cut["alone_s"], mended["back_s"], mended["used_s"])
                )
                lines.append(
                    f"{setting}: cut, in time alone after {alone}; mended, counted on the worker "
                    f"after {back}, gave it blocks after {used}"
                )
    return lines


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def save_plot(content: Mapping[str, Any], path: Path) -> None:
    """Latency of every frame over time, one row per setting, with the deadline and the rates."""
    from matplotlib.figure import Figure

    runs, deadline = content["settings"], content["options"]["deadline_ms"]
    figure = Figure(figsize=(9, 2.2 * len(runs) + 0.6), layout="constrained")
    rows = figure.subplots(len(runs), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (setting, found) in zip(rows, runs.items(), strict=True):
        begin = found["begun_ns"][0] if found["begun_ns"] else 0
        for hit, colour, label in ((True, "tab:blue", "in time"), (False, "tab:red", "late")):
            own = [f for f in found["frames"] if f["hit"] is hit and f["latency_ms"] is not None]
            times = [(f["stamp_ns"] - begin) / 1e9 for f in own]
            axes.plot(times, [f["latency_ms"] for f in own], ".", color=colour, label=label)
        axes.axhline(deadline, color="0.4", lw=0.8, ls="--")
        for k, at in enumerate(found["begun_ns"]):
            rate = content["options"]["phases"][k][0]
            axes.axvline((at - begin) / 1e9, color="0.7", lw=0.8)
            axes.text((at - begin) / 1e9 + 0.1, 0.0, f"{rate:g} Mbit/s", fontsize=8, color="0.3")
        axes.set_ylabel(f"{setting}\nlatency (ms)")
        axes.set_ylim(0, 2 * deadline)
    rows[-1].set_xlabel("time (s)")
    rows[0].legend(loc="upper right", fontsize=8)
    figure.savefig(path, dpi=110)
