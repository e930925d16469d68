"""``bench``: methods compared in one run, and what a planner costs the robot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from re_pose_ros.commands.options import (
    DATASETS,
    Commands,
    add_recordings,
    numbers,
    pairs,
    recordings,
    whole_numbers,
)
from re_pose_ros.errors import InputError

if TYPE_CHECKING:
    from re_pose_ros.bench.options import BenchOptions


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    bench = commands.add_parser("bench", help="compare methods in one run")
    what = bench.add_subparsers(required=True, metavar="what")
    _add_partition(what)
    _add_overhead(what)
    _add_environment(what)
    _add_link(what)
    _add_coinference(what)
    _add_fine_tuning(what)
    _add_ablation(what)


def _add_partition(what: Commands[argparse.ArgumentParser]) -> None:
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
        default="whole_640,whole_1280,tiles,sahi,ultralytics_tile,clusters,elf,greedy,re_pose,"
        "ground_truth",
        metavar="NAME,...",
        help="of these, whole_<size>, sahi_greedynmm, uniform, and planners: re_pose or greedy, "
        "then _no_agent, _no_tracking, _no_knapsack or _no_perspective, then _truth, then "
        "_latency or _balanced, then @<budget in ms> (default: %(default)s)",
    )
    add("--workers", type=int, default=4, help="to plan for; at most as many as cores really run")
    add("--speed", default="", metavar="S,...", help="of each worker; 1 is a core of this machine")
    add(
        "--slow",
        action="append",
        default=[],
        metavar="WORKER:FACTOR@FRAME",
        help="so much slower from that counted frame of each sequence on, computed; repeatable",
    )
    add("--plot", default="", metavar="FILE", help="mAP50 against makespan: .png, .svg or .pdf")
    _add_conditions(partition)
    partition.set_defaults(act=_bench_partition)


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    """What holds for all methods of a run."""
    add = parser.add_argument
    add(
        "--model",
        default="scene-n",
        metavar="MODEL,...",
        help="embedded, or weights that ultralytics loads; of several, planners choose from all, "
        "other methods have the first, and <method>/<network> that one alone",
    )
    add("--confidence", type=float, default=0.05, help="least that is evaluated")
    add(
        "--observed-confidence",
        type=float,
        default=0.25,
        help="least that methods learn from which do not weigh detections",
    )
    add("--input-sizes", default="320,640", metavar="PX,...", help="network inputs of blocks")
    add("--slots", type=int, default=8, help="blocks per worker and frame")
    add("--bandwidth", type=float, default=100.0, help="of a link, Mbit/s")
    add("--links", default="shared", choices=("shared", "own"), help="of the robot, or per worker")
    add(
        "--clock",
        default="wall",
        choices=("wall", "cpu"),
        help="of all times but the latency; cpu where other programs use the cores too",
    )
    add(
        "--times",
        default="",
        metavar="FILE",
        help="result of a bench partition on a quiet machine, whose times are taken in place of "
        "measured ones",
    )
    add("--jpeg-quality", type=int, default=90)
    add(
        "--budget",
        action="append",
        default=[],
        metavar="METHOD=MS",
        help="of a planner, where not partitioner.budget_ms; repeatable",
    )
    add("--set", action="append", default=[], metavar="node.parameter:=value", help="repeatable")
    add("--json", default="", metavar="FILE", help="for the result")


def _add_link(what: Commands[argparse.ArgumentParser]) -> None:
    link = what.add_parser(
        "link",
        help="robot and edge on two hosts, with a link whose rate changes",
        description="Plays a scene through the graph in two network namespaces while the rate of "
        "the link between them changes, with the tuner and with settings that stay. Needs root.",
    )
    add = link.add_argument
    add("--settings", default="", metavar="SETTING,...", help="tuner, full/jpeg90, p5/cut4/6bit")
    add("--phases", default="100:10,5:10,20:10", metavar="MBIT:S,...", help="0 cuts the link")
    add("--deadline", type=float, default=300.0, help="of a frame, in ms")
    add("--rate", type=float, default=2.0, help="frames per second")
    add("--model", default="scene-n", help="network on both hosts")
    add("--input-size", type=int, default=640, help="of the network, and side of blocks")
    add("--robot-cores", type=float, default=0.0, help="of the robot's nodes; 0: no limit")
    add("--json", metavar="FILE", help="for the result")
    add("--plot", metavar="FILE", help="latency over time")
    link.set_defaults(act=_bench_link)


def _add_coinference(what: Commands[argparse.ArgumentParser]) -> None:
    coinference = what.add_parser(
        "coinference",
        help="ways to choose exit, cut and bits, on held-out links and loads",
        description="Simulates robots, links and workers with the measured costs of every setting, "
        "on traces that no policy was trained on. Policies that train tuner left are taken; "
        "others are trained first.",
    )
    add = coinference.add_argument
    add("--quick", action="store_true", help="the shipped policies, one seed of the others")
    add("--graphs", default="alexnet,detector", metavar="NAME,...")
    add("--seeds", default="0,1,2,3,4", metavar="N,...", help="of trainings")
    add("--ablation-seeds", default="0,1", metavar="N,...", help="of what is varied")
    add("--traces", type=int, default=400, help="held-out ones")
    add("--blocks", type=int, default=256, help="of each trace")
    add("--no-training", action="store_true", help="leave out what is not trained yet")
    add("--trained", default="out/train/tuner", metavar="FOLDER", help="of train tuner")
    add(
        "--policy",
        action="append",
        default=[],
        metavar="FILE",
        help="another policy for the one graph of --graphs, compared under its file's name; "
        "repeatable",
    )
    add_recordings(coinference, "that policies are judged on as well")
    add("--json", default="", metavar="FILE", help="for the result")
    add("--plot", default="", metavar="FILE", help="regret and lateness: .png, .svg or .pdf")
    add(
        "--show",
        default="",
        metavar="FILE",
        help="print the tables of a result that is there, in Markdown; nothing is run",
    )
    coinference.set_defaults(act=_bench_coinference)


def _add_fine_tuning(what: Commands[argparse.ArgumentParser]) -> None:
    fine_tuning = what.add_parser(
        "fine-tuning",
        help="what fine-tuning of the tuner mends where costs are others than the table's",
    )
    add = fine_tuning.add_argument
    add("--drifts", default="", metavar="NAME,...", help="of what costs; default: all")
    add("--robots", type=int, default=8, help="simulated")
    add("--every", type=int, default=1000, help="blocks from one candidate to the next")
    add("--rounds", type=int, default=2, help="candidates of each robot")
    add("--json", default="", metavar="FILE", help="for the result")
    fine_tuning.set_defaults(act=_bench_fine_tuning)


def _add_overhead(what: Commands[argparse.ArgumentParser]) -> None:
    overhead = what.add_parser(
        "overhead",
        help="the robot's own time for a planner, without encoding; no network runs",
    )
    add = overhead.add_argument
    add("--data", action="append", default=[], metavar="DATASET", help="default: a scene per kind")
    add("--frames", type=int, default=120, help="at most so many of each --data; 0 is all")
    add("--method", default="re_pose", help="a planner as of bench partition")
    add("--model", default="scene-n", help="whose profile is beside its weights")
    add("--input-sizes", default="320,640,1280", metavar="PX,...", help="network inputs of blocks")
    add("--workers", type=int, default=4)
    add("--slots", type=int, default=8, help="blocks per worker and frame")
    add("--bandwidth", type=float, default=100.0, help="of the link that all share, Mbit/s")
    add("--seed", type=int, default=0, help="of what detectors are imagined to answer")
    add("--clock", choices=("wall", "cpu"), default="wall", help="that the planner goes by")
    add("--repeats", type=int, default=1, help="replays; each frame's fastest is reported, too")
    add("--set", action="append", default=[], metavar="node.parameter:=value", help="repeatable")
    add("--json", default="", metavar="FILE", help="for the result")
    overhead.set_defaults(act=_bench_overhead)


def _add_environment(what: Commands[argparse.ArgumentParser]) -> None:
    environment = what.add_parser(
        "environment", help="steps per second of what the partitioner's agent is trained in"
    )
    add = environment.add_argument
    add("--scenes", type=int, default=12, help="that drives go through")
    add("--drives", type=int, default=60, help="whose frames episodes begin in")
    add("--steps", type=int, default=1500, help="per replay")
    add("--repeats", type=int, default=6, help="replays")
    add("--seed", type=int, default=3)
    add("--json", default="", metavar="FILE", help="for the result")
    environment.set_defaults(act=_bench_environment)


def _add_ablation(what: Commands[argparse.ArgumentParser]) -> None:
    ablation = what.add_parser(
        "ablation",
        help="the planner and the planner without its parts, for several numbers of workers, frame "
        "sizes and kinds of scene; goes on where the file of --json ends",
    )
    add = ablation.add_argument
    add("--methods", default="", metavar="NAME,...", help="default: all that the planner has")
    add("--seeds", default="601,602", metavar="N,...", help="of the scenes")
    add("--frames", type=int, default=6, help="counted, of each scene")
    add("--quick", action="store_true", help="few frames and conditions, to see that it runs")
    add("--cross", action="store_true", help="all combinations of the conditions; takes hours")
    _add_conditions(ablation)
    ablation.set_defaults(act=_bench_ablation)


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _budgets(items: Sequence[str]) -> dict[str, float]:
    """``re_pose=120`` as a name with its number; InputError for anything else."""
    budgets: dict[str, float] = {}
    for item in items:
        name, mark, text = item.rpartition("=")
        if not mark or not name:
            raise InputError(f"'{item}' is no budget; write method=milliseconds")
        if name in budgets:
            raise InputError(f"method '{name}' has two budgets")
        value = numbers("--budget", text)
        if len(value) != 1:
            raise InputError(f"'{item}' is no budget; write method=milliseconds")
        budgets[name] = value[0]
    return budgets


def _conditions(arguments: argparse.Namespace, methods: tuple[str, ...]) -> BenchOptions:
    """Options with all that ``_add_conditions`` asks for."""
    from re_pose_ros.bench.options import BenchOptions
    from re_pose_ros.bench.pool import Detector
    from re_pose_ros.bench.reckoned import Reckoned
    from re_pose_ros.evaluation.configuration import node_settings

    settings = pairs(arguments.set)
    partition, fusion = node_settings(settings)
    weights = _names(arguments.model)
    if not weights:
        raise InputError("--model names no network")
    return BenchOptions(
        methods=methods,
        detector=Detector(
            weights[0],
            arguments.confidence,
            partition.tile_size,
            partition.overlap,
            arguments.clock,
            others=weights[1:],
        ),
        slots=arguments.slots,
        input_sizes=tuple(whole_numbers("--input-sizes", arguments.input_sizes)),
        bandwidth_mbit_s=arguments.bandwidth,
        links=arguments.links,
        jpeg_quality=arguments.jpeg_quality,
        observed_confidence=arguments.observed_confidence,
        partition=partition,
        changed=frozenset(name.partition(".")[2] for name in settings),
        fusion=fusion,
        budgets=_budgets(arguments.budget),
        reckoned=Reckoned.read(Path(arguments.times)) if arguments.times else None,
    )


def _file(name: str) -> Path | None:
    return Path(name) if name else None


def _bench_partition(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from re_pose_ros.bench.command import bench_partition
    from re_pose_ros.bench.slowdown import Slowdown

    options = replace(
        _conditions(arguments, _names(arguments.methods)),
        workers=arguments.workers,
        speeds=tuple(numbers("--speed", arguments.speed)),
        slow=tuple(map(Slowdown.parse, arguments.slow)),
        warm=arguments.warm,
        repeat=arguments.repeat,
        class_map=arguments.class_map,
    )
    bench_partition(
        arguments.data,
        options,
        frames=arguments.frames,
        step=arguments.step,
        file=_file(arguments.json),
        plot=_file(arguments.plot),
    )
    return 0


def _bench_link(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.link import LinkOptions, bench_link, phases_of

    usual = LinkOptions()
    settings = tuple(filter(None, arguments.settings.split(","))) or usual.settings
    options = LinkOptions(
        settings,
        phases_of(arguments.phases),
        arguments.deadline,
        arguments.rate,
        usual.source,
        arguments.model,
        arguments.input_size,
        arguments.robot_cores,
    )
    bench_link(options, file=_file(arguments.json), plot=_file(arguments.plot))
    return 0


def _bench_coinference(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.coinference import CoinferenceOptions, bench_coinference
    from re_pose_ros.bench.coinference_view import markdown, read
    from re_pose_ros.training.partitioner import numbers as seeds_of

    if arguments.show:
        for name, lines in markdown(read(Path(arguments.show))).items():
            print(f"{name}\n\n{lines}\n")
        return 0
    options = CoinferenceOptions(
        graphs=tuple(_names(arguments.graphs)),
        seeds=tuple(seeds_of(arguments.seeds)),
        ablation_seeds=tuple(seeds_of(arguments.ablation_seeds)),
        quick=arguments.quick,
        trains=not arguments.no_training,
        traces=arguments.traces,
        blocks=arguments.blocks,
        trained=Path(arguments.trained),
        policies=tuple(map(Path, arguments.policy)),
        recordings=recordings(arguments),
    )
    bench_coinference(options, file=_file(arguments.json), plot=_file(arguments.plot))
    return 0


def _bench_fine_tuning(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.fine_tuning import DRIFTS, FineTuningOptions, bench_fine_tuning

    options = FineTuningOptions(
        drifts=_names(arguments.drifts) or tuple(DRIFTS),
        robots=arguments.robots,
        every=arguments.every,
        rounds=arguments.rounds,
    )
    bench_fine_tuning(options, file=_file(arguments.json))
    return 0


def _bench_overhead(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.overhead import OverheadOptions, bench_overhead
    from re_pose_ros.evaluation.configuration import node_settings

    partition, fusion = node_settings(pairs(arguments.set))
    options = OverheadOptions(
        method=arguments.method,
        weights=arguments.model,
        input_sizes=tuple(whole_numbers("--input-sizes", arguments.input_sizes)),
        workers=arguments.workers,
        slots=arguments.slots,
        bandwidth_mbit_s=arguments.bandwidth,
        seed=arguments.seed,
        clock=arguments.clock,
        repeats=arguments.repeats,
        partition=partition,
        fusion=fusion,
    )
    bench_overhead(arguments.data, options, frames=arguments.frames, file=_file(arguments.json))
    return 0


def _bench_environment(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.environment import EnvironmentOptions, bench_environment

    options = EnvironmentOptions(
        arguments.scenes, arguments.drives, arguments.steps, arguments.repeats, arguments.seed
    )
    bench_environment(options, file=_file(arguments.json))
    return 0


def _bench_ablation(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.ablation import METHODS, Extent, bench_ablation

    options = _conditions(arguments, _names(arguments.methods) or METHODS)
    extent = Extent(
        seeds=tuple(whole_numbers("--seeds", arguments.seeds)),
        frames=arguments.frames,
        quick=arguments.quick,
        cross=arguments.cross,
    )
    bench_ablation(options, extent, file=_file(arguments.json))
    return 0
