"""What a bench was set to and what its figures mean, in words, for the result."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from re_pose_ros.bench.options import BenchOptions
from re_pose_ros.bench.reckoned import DECODE_MS, ENCODE_MS, FUSION_MS, PLANNING_MS


def settings(options: BenchOptions, class_map: str) -> dict[str, Any]:
    """All that a run was told; ``class_map`` is the name of the one in use."""
    detector, fusion = options.detector, asdict(options.fusion)
    return {
        "methods": list(options.methods),
        "weights": [detector.weights, *detector.others],
        "confidence": detector.confidence,
        "observed_confidence": options.observed_confidence,
        "input_sizes": list(options.input_sizes),
        "tile_size": detector.tile_size,
        "overlap": detector.overlap,
        "slots": options.slots,
        "jpeg_quality": options.jpeg_quality,
        "clock": detector.clock,
        "times": None if options.reckoned is None else options.reckoned.source,
        "warm": options.warm,
        "repeat": options.repeat,
        "class_map": class_map,
        "budgets": dict(options.budgets),
        "slow": [asdict(slowdown) for slowdown in options.slow],
        "partition": asdict(options.partition),
        "changed": sorted(options.changed),
        "fusion": {
            **fusion.pop("merge"),
            **{name: value for name, value in fusion.items() if name != "crop_workers"},
        },
    }


def notes(options: BenchOptions, cores: int) -> dict[str, str]:
    """How each figure was come by; ``cores`` worker processes ran at once."""
    return {**_times(options, cores), **_reckoned(options), **_methods(options), **_budgets()}


def _reckoned(options: BenchOptions) -> dict[str, str]:
    if options.reckoned is None:
        return {}
    return {
        "times": f"no time but the latency is measured: a block takes what its network's times in "
        f"{options.reckoned.source} say for the area of its input, in a straight line; decoding "
        f"{DECODE_MS:g} ms per pixel, encoding {ENCODE_MS:g}; every method's planning "
        f"{PLANNING_MS:g} ms per frame, fusion {FUSION_MS:g}"
    }


def _times(options: BenchOptions, cores: int) -> dict[str, str]:
    links = "one link per worker"
    if options.links == "shared":
        links = "one uplink that all blocks share, one after the other"
    clock = "processor time of the process that took them"
    if options.detector.clock == "wall":
        clock = "wall time"
    return {
        "latency_ms": f"measured by the clock with {cores} worker processes, each pinned to a core "
        "with one thread, over local pipes without a limit to bandwidth; all blocks are encoded "
        "before the first is sent; the pool places blocks for its own number of workers; all "
        "answers are waited for",
        "makespan_ms": f"computed for {options.workers} workers from times measured one block at a "
        "time on one pinned core (divided by the worker's speed), with transfer at "
        f"{options.bandwidth_mbit_s:g} Mbit/s over {links}; it includes learning from the frame "
        "before, planning, encoding and fusion on the robot; answers travel in no time; of methods "
        "with a budget, see late",
        "clock": f"all times but latency_ms are {clock}; robot and workers have one thread each",
        "held_up": "wall over processor time of the measured blocks, median: above 1 other "
        "programs used the cores and times by the wall clock are too long",
        "serial_ms": "measured: decoding and detecting all blocks one after the other on one core; "
        "mean over frames",
        "overhead_ms": "means over frames; partition (with learning from the frame before), encode "
        "and fusion are measured on the robot, transfer is computed, decode is measured on a "
        "worker and part of serial_ms",
        "bytes_per_frame": "JPEG sent to workers; mean over frames",
        "profile": "the network's times for an empty picture, measured on the pool's first core "
        "when the bench began; planners get it with the times divided by each worker's speed",
        "slow": "speeds are divided from that counted frame of each sequence on, in computation "
        "only; methods are not told",
    }


def _methods(options: BenchOptions) -> dict[str, str]:
    merging = "merged by GREEDYNMM at an IoS of 0.5"
    if options.detector.confidence < 0.1:
        merging = "at this confidence sahi merges by NMS at an IoU of 0.5 by its own choice"
    return {
        "accuracy": "COCO's, by pycocotools, of all detections from the confidence in settings; "
        "ignored objects and regions cost nothing; precision and recall at 0.25",
        "networks": "planners choose from all networks, block by block; other methods have the "
        "first. <method>/<network>: with that network alone",
        "sahi": "the sahi package around the same network on one worker, to which the whole frame "
        f"goes as one JPEG; slices in native batches; {merging} (sahi_greedynmm: GREEDYNMM at any "
        "confidence)",
        "elf": "after Elf (MobiCom 2021) and its authors' code: blocks and looks in the resolution "
        "of the frame, not limited to input_sizes; see re_pose_ros.partition.elf for what is ours",
        "ground_truth": "blocks of the clusters method around the objects that are there",
        "re_pose": "re_pose and greedy learn from all detections, weighed by their confidence; the "
        "other methods from those of at least observed_confidence. _truth: told the objects that "
        "are there. _no_<part>: without it. @<ms>: with this budget",
        "oracle": "re_pose_truth with the best of all ways to put up to 8 parts of the clusters "
        "together, by the planner's own score; exact_share: share of the frames that had few "
        "enough clusters, the others have the plan of re_pose_truth; the search is in latency_ms "
        "only",
        "seeds": "mean and sample standard deviation over the data given",
        "versus": "pairs of figures of the same data: map50 minus the reference's, median makespan "
        "over the reference's; mean and sample standard deviation over the data given",
    }


def _budgets() -> dict[str, str]:
    return {
        "late": "a method with a budget waits for answers until 1.1 times its budget less the time "
        "of fusion; by the computed times, what comes later is not fused and the frame takes 1.1 "
        "times the budget (all_answers_ms: had all been waited for); the method learns that it "
        "did not come, and how long it took",
        "budget": "over_10_percent: share of frames with a makespan above 1.1 times the budget; "
        "planned_over_10_percent: the same of all_answers_ms; error_ms: predicted against "
        "all_answers_ms; value: objects expected to be found, and found at an IoU of 0.5 with a "
        "confidence of at least 0.25",
    }
