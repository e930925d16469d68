"""The figures of a run, for people and as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from re_pose_ros.graph.records import FrameRecord, Recording
from re_pose_ros.plan_outcome import budget_figures, budget_line


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p95 and max, rounded to microseconds of the milliseconds given; empty for no values."""
    array = np.array(list(values), float)
    if not len(array):
        return {}
    p50, p95 = np.percentile(array, (50, 95))
    return {"p50": round(p50, 3), "p95": round(p95, 3), "max": round(float(array.max()), 3)}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 3) if known else None


def summarise(
    recording: Recording, options: Mapping[str, Any], workers: Sequence[str]
) -> dict[str, Any]:
    """The content of ``summary.json``; times in milliseconds but for ``wall_s``.

    ``options`` (source, model, partitioner, ...) is put in front as it is. ``budget`` is None where
    the partitioner expects nothing of its plans; see ``plan_outcome.budget_figures``.
    """
    fused = recording.fused()
    stages = _stages(fused, workers)
    total = [v for v in (r.value("fusion", "total_ms") for r in fused) if v is not None]
    counts = [len(r.detections) for r in fused if r.detections is not None]
    blocks = [len(r.plan.blocks) for r in fused if r.plan is not None]
    per_worker = {name: _worker(name, fused) for name in workers}
    expected = [outcome for outcome in (r.outcome for r in fused) if outcome is not None]
    published = recording.frames_published
    last = fused[-1] if fused else None
    wall = 0.0
    if last is not None:
        wall = (last.stamp_ns - fused[0].stamp_ns) / 1e9 + (total[-1] / 1e3 if total else 0.0)
    return {
        **options,
        "workers": len(workers),
        "frames_in": len(recording.frames) if published is None else published,
        "frames_fused": len(fused),
        "frames_partial": sum(bool(r.telemetry.get("fusion", {}).get("missing")) for r in fused),
        "detections": sum(counts),
        "detections_per_frame": round(float(np.mean(counts)), 3) if counts else 0.0,
        "latency_ms": percentiles(total),
        "budget": budget_figures(expected),
        "stages_ms": stages,
        "bytes_to_workers": sum(worker["bytes"] for worker in per_worker.values()),
        "blocks_per_frame": round(float(np.mean(blocks)), 3) if blocks else 0.0,
        "per_worker": per_worker,
        "wall_s": round(wall, 3),
    }


def _stages(fused: Sequence[FrameRecord], workers: Sequence[str]) -> dict[str, float | None]:
    """Medians over the frames. ``workers`` contains ``encode`` and ``detect``: blocks go out while
    the first are being worked on.
    """
    rows: dict[str, list[float | None]] = defaultdict(list)
    for record in fused:
        partition = record.value("partitioner", "partition_ms")
        answered = record.value("fusion", "workers_ms")
        merging = record.value("fusion", "fusion_ms")
        total = record.value("fusion", "total_ms")
        known = [v for v in (partition, answered, merging) if v is not None]
        if total is not None and len(known) == 3:
            rows["camera"].append(max(0.0, total - sum(known)))
        rows["partition"].append(partition)
        rows["encode"].append(record.value("partitioner", "encode_ms"))
        rows["workers"].append(answered)
        detect = [record.value(name, "detect_ms") for name in workers]
        rows["detect"].append(max((v for v in detect if v is not None), default=None))
        rows["fusion"].append(merging)
    return {stage: _median(values) for stage, values in rows.items()}


def _worker(name: str, fused: Sequence[FrameRecord]) -> dict[str, Any]:
    blocks = sent = missing = 0
    answered: list[float] = []
    for record in fused:
        if record.plan is not None:
            blocks += sum(planned.slot.worker == name for planned in record.plan.blocks)
        for key, text in record.telemetry.get("partitioner", {}).items():
            if key.startswith(f"bytes/{name}/"):
                sent += int(text)
        fusion = record.telemetry.get("fusion", {})
        answers = [float(v) for k, v in fusion.items() if k.startswith(f"answered_ms/{name}/")]
        if answers:
            answered.append(max(answers))
        lost = fusion.get("missing", "")
        missing += sum(slot.startswith(f"{name}/") for slot in lost.split(",") if slot)
    return {
        "blocks": blocks,
        "blocks_missing": missing,
        "bytes": sent,
        "processing_ms": _median(r.value(name, "processing_ms") for r in fused),
        "answered_ms": _median(answered),
    }


def table(summary: Mapping[str, Any]) -> str:
    """The short table that the command prints."""
    latency = summary["latency_ms"]
    stages = ", ".join(f"{k} {v:.0f}" for k, v in summary["stages_ms"].items() if v is not None)
    rows = [
        ("source", summary["source"]),
        ("model", summary["model"]),
        ("partitioner", f"{summary['partitioner']} on {summary['workers']} workers"),
        (
            "frames",
            f"{summary['frames_in']} in, {summary['frames_fused']} fused, "
            f"{summary['frames_partial']} partial, {summary['wall_s']:.1f} s",
        ),
        (
            "detections",
            f"{summary['detections']} ({summary['detections_per_frame']:.1f} per frame)",
        ),
        (
            "latency",
            f"p50 {latency['p50']:.0f} ms, p95 {latency['p95']:.0f} ms, max {latency['max']:.0f} ms"
            if latency
            else "-",
        ),
        ("stages (ms)", stages or "-"),
        (
            "sent",
            f"{summary['bytes_to_workers'] / 1e6:.2f} MB in "
            f"{summary['blocks_per_frame']:.1f} blocks per frame",
        ),
    ]
    if summary["budget"] is not None:
        rows.append(("budget", budget_line(summary["budget"])))
    if summary.get("map50") is not None:
        rows += _accuracy_rows(summary)
    for name, worker in summary["per_worker"].items():
        time_ms = worker["processing_ms"]
        shown = "-" if time_ms is None else f"{time_ms:.0f} ms per frame"
        lost = f", {worker['blocks_missing']} missing" if worker["blocks_missing"] else ""
        rows.append((name, f"{worker['blocks']} blocks, {shown}{lost}"))
    width = max(len(title) for title, _ in rows)
    return "\n".join(f"{title:<{width}}  {text}" for title, text in rows)


def _accuracy_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = [(name, summary[f"ap_{name}"]) for name in ("small", "medium", "large")]
    known = ", ".join(f"{name} {value:.3f}" for name, value in sizes if value is not None)
    return [
        ("accuracy", f"mAP50 {summary['map50']:.3f}, mAP {summary['map']:.3f}"),
        ("AP by size", known or "-"),
        (
            "found",
            f"recall {summary['recall']:.3f} of {summary['objects']} objects, "
            f"precision {summary['precision']:.3f}",
        ),
    ]
