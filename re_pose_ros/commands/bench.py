"""``bench``: methods compared in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from re_pose_ros.commands.options import DATASETS, Commands, numbers, pairs, whole_numbers


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    bench = commands.add_parser("bench", help="compare methods in one run")
    what = bench.add_subparsers(required=True, metavar="what")
    partition = what.add_parser(
        "partition",
        help="ways to look at a large frame, on the same frames and the same detector",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=DATASETS,
    )
    add = partition.add_argument
    add("--data", action="append", required=True, metavar="DATASET", help="repeatable; see below")
    add("--frames", type=int, default=0, help="at most so many of each --data; 0 is all")
    add("--step", type=int, default=1, help="every so many frames")
    add("--warm", type=int, default=0, help="frames of each sequence that do not count at first")
    add("--repeat", type=int, default=1, help="show each photo so often; the last time counts")
    add("--class-map", default="", help="name, detector=dataset pairs with commas, or JSON file")
    add(
        "--methods",
        default="whole_640,whole_1280,tiles,sahi,ultralytics_tile,clusters,elf,ground_truth",
        metavar="NAME,...",
        help="of these, whole_<size>, sahi_greedynmm, uniform (default: %(default)s)",
    )
    add("--model", default="scene-n", help="embedded, or weights that ultralytics loads")
    add("--confidence", type=float, default=0.05, help="least that is evaluated")
    add("--observed-confidence", type=float, default=0.25, help="least that methods learn from")
    add("--input-sizes", default="320,640", metavar="PX,...", help="network inputs of blocks")
    add("--workers", type=int, default=4, help="to plan for; at most as many as cores really run")
    add("--speed", default="", metavar="S,...", help="of each worker; 1 is a core of this machine")
    add("--slots", type=int, default=8, help="blocks per worker and frame")
    add("--bandwidth", type=float, default=100.0, help="of a link, Mbit/s")
    add(
        "--clock",
        default="wall",
        choices=("wall", "cpu"),
        help="of all times but the latency; cpu where other programs use the cores too",
    )
    add("--links", default="shared", choices=("shared", "own"), help="of the robot, or per worker")
    add("--jpeg-quality", type=int, default=90)
    add("--set", action="append", default=[], metavar="node.parameter:=value", help="repeatable")
    add("--json", default="", metavar="FILE", help="for the result")
    add("--plot", default="", metavar="FILE", help="mAP50 against makespan: .png, .svg or .pdf")
    partition.set_defaults(act=_bench_partition)


def _bench_partition(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.command import bench_partition
    from re_pose_ros.bench.options import BenchOptions
    from re_pose_ros.bench.pool import Detector
    from re_pose_ros.evaluation.configuration import node_settings

    settings = pairs(arguments.set)
    partition, fusion = node_settings(settings)
    options = BenchOptions(
        methods=tuple(word.strip() for word in arguments.methods.split(",") if word.strip()),
        detector=Detector(
            arguments.model,
            arguments.confidence,
            partition.tile_size,
            partition.overlap,
            arguments.clock,
        ),
        workers=arguments.workers,
        speeds=tuple(numbers("--speed", arguments.speed)),
        slots=arguments.slots,
        input_sizes=tuple(whole_numbers("--input-sizes", arguments.input_sizes)),
        bandwidth_mbit_s=arguments.bandwidth,
        links=arguments.links,
        jpeg_quality=arguments.jpeg_quality,
        observed_confidence=arguments.observed_confidence,
        warm=arguments.warm,
        repeat=arguments.repeat,
        class_map=arguments.class_map,
        partition=partition,
        changed=frozenset(name.partition(".")[2] for name in settings),
        fusion=fusion,
    )
    bench_partition(
        arguments.data,
        options,
        frames=arguments.frames,
        step=arguments.step,
        file=Path(arguments.json) if arguments.json else None,
        plot=Path(arguments.plot) if arguments.plot else None,
    )
    return 0
