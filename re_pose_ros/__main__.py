"""Commands: ``python -m re_pose_ros <command>``."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from re_pose_ros import __version__
from re_pose_ros.errors import EXIT_BAD_INPUT, InputError
from re_pose_ros.graph.description import ARGUMENTS, describe

_DATASETS = """\
datasets: a folder or file of VisDrone, MOT, COCO or YOLO annotations, a bag with ground_truth, or
a generated scene. A format before it where the content does not tell, options behind it:
  path/to/VisDrone2019-DET-val
  visdrone:photos?annotations=ann&count=100
  mot:gt.txt?images=film.mp4
  coco:instances_val.json?images=val2017
  "yolo:photos?names=car,bus"
  "bag:drive.mcap?images=/left/image_raw&ground_truth=/labels"
  "scene:plaza?seed=1&size=3840x2160&frames=150&step=5"
start=N, count=N and step=N choose frames of any of them.
the bag has image_raw/compressed, ground_truth and ground_truth/label_info; JPEG and PNG files go
in as they are. What was written before an interruption stays and is readable.
"""


def _up(arguments: argparse.Namespace) -> int:
    from re_pose_ros.graph.supervisor import Supervisor

    with Supervisor(describe(_pairs(arguments.argument), arguments.file)) as supervisor:
        supervisor.wait()
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from re_pose_ros.demo.run import MODEL, SOURCE, DemoOptions, run_demo

    options = DemoOptions(
        source=arguments.source or SOURCE,
        model=arguments.model or MODEL,
        workers=arguments.workers,
        partitioner=arguments.partitioner,
        frames=arguments.frames,
        out=arguments.out,
        mode=arguments.mode,
        robot=arguments.robot,
        settings=_pairs(arguments.set),
    )
    run_demo(options)
    return 0


def _train_detector(arguments: argparse.Namespace) -> int:
    from re_pose_ros.training import detector, report

    folder = Path(arguments.out)
    paths, training = [], {}
    for name in arguments.networks.split(","):
        settings = detector.TrainSettings(
            network=name,
            seed=arguments.seed,
            scenes=arguments.scenes,
            iterations=arguments.iterations,
            bfloat16=not arguments.float32,
        )
        training[name] = dataclasses.asdict(settings)
        paths.append(
            detector.train_detector(
                settings, folder, processes=arguments.processes, device=arguments.device
            )
        )
    result = report.report(paths, training)
    report.write(result, folder)
    print((folder / "README.md").read_text(encoding="utf-8"))
    return 0


def _profile(arguments: argparse.Namespace) -> int:
    from re_pose_ros.evaluation.profiling import (
        CropSettings,
        ProfileOptions,
        profile_table,
        run_profile,
    )

    options = ProfileOptions(
        models=tuple(filter(None, arguments.model.split(","))),
        input_sizes=tuple(_whole_numbers("--input-sizes", arguments.input_sizes)),
        data=tuple(arguments.data),
        class_map=arguments.class_map,
        out=Path(arguments.out) if arguments.out else None,
        batches=tuple(_whole_numbers("--batches", arguments.batches)),
        repeats=arguments.repeats,
        device=arguments.device,
        threads=arguments.threads,
        crops=CropSettings(arguments.crops, arguments.confidence, arguments.seed),
    )
    for path, profile in run_profile(options).items():
        print(f"{profile_table(profile)}\n\n{path}")
    return 0


def _whole_numbers(option: str, text: str) -> list[int]:
    """Of a list with commas; InputError for anything but numbers from 1 on."""
    numbers = [word.strip() for word in text.split(",") if word.strip()]
    for word in numbers:
        if not (word.isascii() and word.isdecimal() and int(word)):
            raise InputError(f"{option}: '{word}' is no whole number from 1 on")
    return [int(word) for word in numbers]


def _numbers(option: str, text: str) -> list[float]:
    """Of a list with commas; InputError for anything but numbers."""
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(f"{option}: '{text}' is no list of numbers") from error


def _convert(arguments: argparse.Namespace) -> int:
    from re_pose_ros.datasets import open_dataset, write_bag

    frames = open_dataset(arguments.dataset)
    write_bag(
        frames,
        arguments.bag,
        rate=arguments.fps,
        storage=arguments.format,
        jpeg_quality=arguments.jpeg_quality,
    )
    print(f"{arguments.bag}: {len(frames)} frames of {frames.name}")
    return 0


def _bench_partition(arguments: argparse.Namespace) -> int:
    from re_pose_ros.bench.command import bench_partition
    from re_pose_ros.bench.options import BenchOptions
    from re_pose_ros.bench.pool import Detector
    from re_pose_ros.evaluation.configuration import node_settings

    settings = _pairs(arguments.set)
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
        speeds=tuple(_numbers("--speed", arguments.speed)),
        slots=arguments.slots,
        input_sizes=tuple(_whole_numbers("--input-sizes", arguments.input_sizes)),
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


def _evaluate(arguments: argparse.Namespace) -> int:
    from re_pose_ros.evaluation.run import EvaluateOptions, evaluate

    options = EvaluateOptions(
        data=arguments.data,
        mode=arguments.mode,
        ground_truth=arguments.ground_truth,
        topic=arguments.topic,
        class_map=arguments.class_map,
        classes=tuple(filter(None, arguments.classes.split(","))),
        model=tuple(filter(None, arguments.model.split(","))),
        input_sizes=tuple(_whole_numbers("--input-sizes", arguments.input_sizes)),
        workers=arguments.workers,
        slots=arguments.slots,
        partitioner=tuple(filter(None, arguments.partitioner.split(","))),
        confidence=arguments.confidence,
        jpeg_quality=arguments.jpeg_quality,
        device=arguments.device,
        start=arguments.start,
        frames=arguments.frames,
        step=arguments.step,
        repeat=arguments.repeat,
        rate=arguments.rate,
        deadline=arguments.deadline,
        pictures=arguments.pictures,
        compare=arguments.compare,
        out=arguments.out,
        json=arguments.json,
        settings=_pairs(arguments.set),
    )
    evaluate(options)
    return 0


def _parameters(arguments: argparse.Namespace) -> int:
    from re_pose_ros.parameters.tables import TABLES

    for table in TABLES.values():
        print(f"### {table.node}\n\n{table.markdown()}\n")
    return 0


def _pairs(items: Sequence[str]) -> dict[str, str]:
    """``name:=value`` as ros2 launch writes it; InputError for anything else."""
    pairs = {}
    for item in items:
        name, mark, value = item.partition(":=")
        if not mark:
            raise InputError(f"'{item}' is no argument; write name:=value")
        pairs[name] = value
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m re_pose_ros", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    known = "\n".join(f"  {a.name + ':=' + a.default:<24} {a.doc}" for a in ARGUMENTS)
    up = commands.add_parser(
        "up",
        help="start the graph, where ros2 launch is not installed",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"arguments, as for ros2 launch:\n{known}\n  node.parameter:=value    any parameter",
    )
    up.add_argument("argument", nargs="*", metavar="name:=value")
    up.add_argument(
        "--file",
        choices=("re_pose", "detector", "partition"),
        default="re_pose",
        help="as the launch file of that name",
    )
    up.set_defaults(act=_up)

    demo = commands.add_parser("demo", help="run a source through the graph and show the result")
    demo.add_argument(
        "--source",
        default="",
        help="video, folder of images, bag, device, scene:<kind>?... or dataset:<dataset>; "
        "by default a generated plaza at 4K",
    )
    demo.add_argument(
        "--model",
        default="",
        help="scene-n, scene-s (the default), or weights that ultralytics loads; several: a,b",
    )
    demo.add_argument("--workers", type=int, default=2)
    demo.add_argument("--partitioner", default="clusters", help="clusters, elf, uniform or whole")
    demo.add_argument("--frames", type=int, default=0, help="at most so many; 0 is all")
    demo.add_argument("--out", default="out/demo", help="folder for the results")
    demo.add_argument(
        "--mode",
        default="lockstep",
        choices=("lockstep", "live"),
        help="lockstep: every frame; live: at the source's rate, the latest frame wins",
    )
    demo.add_argument(
        "--robot", action="store_true", help="camera, partitioner and fusion in one process"
    )
    demo.add_argument(
        "--set", action="append", default=[], metavar="node.parameter:=value", help="repeatable"
    )
    demo.set_defaults(act=_demo)

    train = commands.add_parser("train", help="make the weights that the package ships")
    what = train.add_subparsers(required=True, metavar="what")
    detector = what.add_parser(
        "detector",
        help="the embedded detectors, on generated scenes; goes on where it was interrupted",
    )
    detector.add_argument("--networks", default="scene-n,scene-s", metavar="NAME,...")
    detector.add_argument("--seed", type=int, default=0)
    detector.add_argument("--scenes", type=int, default=180, help="to cut training pictures from")
    detector.add_argument("--iterations", type=int, default=8000, help="batches")
    detector.add_argument("--processes", type=int, default=0, help="drawing scenes; 0: all cores")
    detector.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    detector.add_argument(
        "--float32", action="store_true", help="for CPUs without fast bfloat16 arithmetic"
    )
    detector.add_argument(
        "--out", default="out/train/detector", help="folder for pictures, checkpoints and weights"
    )
    detector.set_defaults(act=_train_detector)

    profile = commands.add_parser(
        "profile", help="measure networks: time here, and accuracy by object size"
    )
    profile.add_argument("--model", default="scene-n,scene-s", help="weights; several: a,b")
    profile.add_argument("--input-sizes", default="160,320,640", metavar="PIXELS,...")
    profile.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DATASET",
        help="annotated frames, for the accuracy; repeatable",
    )
    profile.add_argument("--class-map", default="", help="of the model's classes to the data's")
    profile.add_argument(
        "--out", default="", help="file; by default <weights>.profile.json beside each of them"
    )
    profile.add_argument("--crops", type=int, default=2, help="per frame and scale")
    profile.add_argument("--confidence", type=float, default=0.25, help="that recall is taken at")
    profile.add_argument("--seed", type=int, default=0, help="of where the crops are")
    profile.add_argument("--batches", default="2,4,8", help="blocks to time together")
    profile.add_argument("--repeats", type=int, default=10, help="timed runs per variant")
    profile.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    profile.add_argument("--threads", type=int, default=0, help="on a CPU; 0: one per core but one")
    profile.set_defaults(act=_profile)

    convert = commands.add_parser(
        "convert",
        help="write an annotated dataset or a generated scene as a rosbag2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_DATASETS,
    )
    convert.add_argument("dataset", metavar="DATASET", help="folder, file or scene; see below")
    convert.add_argument("bag", metavar="OUT_BAG", help="*.mcap for a bare file, else a folder")
    convert.add_argument("--format", default="mcap", choices=("mcap", "sqlite3"))
    convert.add_argument(
        "--fps", type=float, help="instead of the dataset's own stamps, or of 10 where it has none"
    )
    convert.add_argument(
        "--jpeg-quality",
        type=int,
        metavar="Q",
        help="1 to 100, for images that are no JPEG files; without it they become PNG, lossless",
    )
    convert.set_defaults(act=_convert)

    _add_bench(commands)

    _add_evaluate(commands)

    parameters = commands.add_parser("parameters", help="print the parameters of every node")
    parameters.set_defaults(act=_parameters)
    return parser


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser("bench", help="compare methods in one run")
    what = bench.add_subparsers(required=True, metavar="what")
    partition = what.add_parser(
        "partition",
        help="ways to look at a large frame, on the same frames and the same detector",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_DATASETS.partition("start=N")[0],
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


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="how accurate and how fast configurations are, with an HTML report",
        description="Runs every frame of annotated data, a scene, a bag or a video through one or "
        "several configurations and writes summary.json and report.html. Without ground truth it "
        "measures agreement with a slow reference: every native tile, tiles at half and double "
        "scale and the whole frame.",
    )
    add = evaluate.add_argument
    add(
        "data",
        nargs="+",
        help="dataset (visdrone:, mot:, coco:, yolo:, bag: and a path, or a path whose format is "
        "clear), scene:plaza?seed=1&frames=30, rosbag2, video, or folder of images",
    )
    add(
        "--ground-truth",
        default="",
        metavar="TOPIC|FILE",
        help="topic of the bag, or MOT text or COCO JSON for the bag, video or folder",
    )
    add("--topic", default="", help="image topic of a bag that has several")
    add(
        "--class-map",
        default="",
        metavar="MAP",
        help="built-in name, as 'coco->visdrone', or detector=dataset,..., or a JSON file of such "
        "pairs; default: what the class names tell",
    )
    add("--classes", default="", metavar="NAME,...", help="of the class map those to evaluate")
    add("--mode", default="offline", choices=("offline", "live"), help="live: the real graph")
    add("--model", default="scene-s", metavar="MODEL,...", help="weights that ultralytics loads")
    add("--input-sizes", default="320,640", metavar="N,...", help="network inputs to choose from")
    add(
        "--partitioner",
        default="clusters",
        metavar="NAME,...",
        help="what to compare; whole_1280 and uniform_400 set their size",
    )
    add("--workers", type=int, default=1, help="detectors to plan for")
    add("--slots", type=int, default=8, help="blocks per worker and frame")
    add("--confidence", type=float, default=0.25, help="least confidence of a detection")
    add("--jpeg-quality", type=int, default=90, help="of the blocks; 0: not compressed")
    add("--device", default="cpu", help="cpu, cuda:0, ...")
    add("--frames", type=int, default=0, help="at most so many; 0 is all")
    add("--start", type=int, default=0, help="first frame")
    add("--step", type=int, default=1, help="every so many frames")
    add(
        "--repeat",
        type=int,
        default=1,
        help="show each independent photo so often and count the last, so that methods that learn "
        "from the frame before have one",
    )
    add("--rate", type=float, default=0.0, help="live: frames per second; 0: as recorded")
    add("--deadline", type=float, default=0.0, help="live: seconds after which a result is late")
    add("--compare", nargs="+", default=[], metavar="FILE", help="earlier summary.json to show too")
    add("--pictures", type=int, default=6, help="worst frames to show per method")
    add("--out", default="out/evaluate", help="folder for the results")
    add("--json", default="", metavar="FILE", help="instead of summary.json in that folder")
    add("--set", action="append", default=[], metavar="node.parameter:=value", help="repeatable")
    evaluate.set_defaults(act=_evaluate)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    chosen, rest = parser.parse_known_args(arguments)
    # argparse leaves over what comes behind an option, as in: up source:=0 --file partition a:=b
    options = [word for word in rest if word.startswith("-")]
    if options or (rest and chosen.act is not _up):
        parser.error(f"unrecognized arguments: {' '.join(options or rest)}")
    if rest:
        chosen.argument += rest
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 where interrupted, 2 where something given cannot be used."""
    # A plain kill, or a terminal that is closed, has to stop the started processes too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        chosen = _parsed(arguments)
        return int(chosen.act(chosen))
    except InputError as error:
        print(f"re_pose_ros: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
