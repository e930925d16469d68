"""``evaluate``: accuracy and latency of configurations."""

from __future__ import annotations

import argparse

from re_pose_ros.commands.options import Commands, pairs, whole_numbers


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
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
        input_sizes=tuple(whole_numbers("--input-sizes", arguments.input_sizes)),
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
        settings=pairs(arguments.set),
    )
    evaluate(options)
    return 0
