"""``train``: the weights that the package ships."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from re_pose_ros.commands.options import Commands


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """The command and its options."""
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
